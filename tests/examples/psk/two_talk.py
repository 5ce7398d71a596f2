"""Two devices with one pre-shared secret meet by a contact code and talk, in one process and without a network."""

import secrets

import anyio
from kexkit import WITHOUT_FORWARD_SECRECY, Node, TextReceived, load_plugins, open_node
from kexkit.testing import MemoryNetwork, MemoryStore


async def next_text(node: Node) -> TextReceived:
    async for event in node.events():
        if isinstance(event, TextReceived):
            await node.ack(event)
            return event
    raise AssertionError("the node was closed")


async def main() -> None:
    settings = {"psk": {"secret": secrets.token_hex(32)}}
    exchanges = load_plugins(["psk"], settings).key_exchanges
    network = MemoryNetwork()
    async with (
        network.transport("alice") as to_alice,
        network.transport("bob") as to_bob,
        open_node(MemoryStore(), to_alice, exchanges, policy=WITHOUT_FORWARD_SECRECY) as alice,
        open_node(MemoryStore(), to_bob, exchanges, policy=WITHOUT_FORWARD_SECRECY) as bob,
    ):
        await bob.add(await alice.contact_code())
        await bob.send(alice.identity, "Hello, Alice!")
        heard = await next_text(alice)
        print(f"Alice reads: {heard.text}   [{heard.grade.name}]")
        await alice.send(bob.identity, "Hello, Bob!")
        heard = await next_text(bob)
        print(f"Bob reads:   {heard.text}   [{heard.grade.name}]")


if __name__ == "__main__":
    anyio.run(main)
