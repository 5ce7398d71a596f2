import sys

import anyio
from kexkit import TextReceived, load_plugins, open_node


async def main(folder: str, url: str) -> None:
    plugins = load_plugins(["x3dh", "noise", "sqlite", "relay"])
    async with (
        plugins.store("sqlite").open({"path": folder}) as store,
        plugins.transport("relay").open({"url": url}) as transport,
        open_node(store, transport, plugins.key_exchanges) as node,
    ):
        print(await node.contact_code(), flush=True)
        async for event in node.events():
            if isinstance(event, TextReceived):
                await node.send(event.peer, f"You said: {event.text}")
                await node.ack(event)


if __name__ == "__main__":
    anyio.run(main, *sys.argv[1:])
