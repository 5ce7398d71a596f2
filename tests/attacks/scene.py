"""Three whole nodes on a network in memory, and what an attacker does between them."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import anyio
from attrs import define, field
from kexkit import Node, SoftwareIdentity, open_node
from kexkit._wire import payload26, topics
from kexkit._wire.protocol_message import ProtocolMessage, encode, parse
from kexkit.api import Envelope
from kexkit.errors import Refusal
from kexkit.testing import MemoryNetwork, MemoryStore

from tests.engine.nodes import flushed, heard
from tests.engine.test_strangers_and_trouble import ticking
from tests.world.ledger import Dump, assert_quarantine_only
from tests.world.mechanisms import Mechanism

BOB_HEARS = 0.1
"""seconds in which he writes what he has to"""


@define(eq=False)
class Scene:
    mechanism: Mechanism
    network: MemoryNetwork = field(factory=MemoryNetwork)
    identities: dict[str, SoftwareIdentity] = field(factory=dict)
    stores: dict[str, MemoryStore] = field(factory=dict)
    nodes: dict[str, Node] = field(factory=dict)
    told: list[str] = field(factory=list)
    attempts: int = 0

    async def text(self, sender: str, text: str) -> None:
        """Sent to Bob and heard."""
        await self.nodes[sender].send(self.identities["bob"].public, text)
        await self.hear(text)

    async def hear(self, text: str) -> None:
        await self.nodes["bob"].ack(await heard(self.nodes["bob"], text))
        self.told.append(text)

    async def genuine(self, text: str = "genuine") -> Envelope:
        """An envelope of Alice's that has not reached Bob."""
        before = self.network.logged()
        self.network.drop_next(sender="alice", receiver="bob")
        await self.nodes["alice"].send(self.identities["bob"].public, text)
        await flushed(self.nodes["alice"])
        (envelope,) = [one for one in self.network.logged() if one not in before]
        await self.quiet()
        return envelope

    async def quiet(self) -> None:
        """Until Bob has nothing left to write."""
        before: Dump | None = None
        while before != (before := self.stores["bob"].dump()):
            await flushed(self.nodes["bob"])
            await self.network.settle()
            await anyio.sleep(BOB_HEARS)
            await anyio.wait_all_tasks_blocked()  # on a machine that stood still, his time is over before he is

    def dump(self) -> Dump:
        return {key: row for key, row in self.stores["bob"].dump().items() if key[0] != "cursor"}

    async def strike(self, envelope: Envelope) -> tuple[Dump, Dump]:
        self.attempts += 1
        before = self.dump()
        self.network.inject(envelope, receiver="bob")
        await self.network.settle()
        return before, self.dump()

    async def assert_withstood(self, envelope: Envelope) -> None:
        before, after = await self.strike(envelope)
        assert_quarantine_only(before, after)

    async def assert_untroubled(self, genuine: Envelope) -> None:
        """The genuine envelope opens after all attempts, the next one does, and nothing else was ever told."""
        assert self.attempts
        self.network.inject(genuine, receiver="bob")
        await self.hear("genuine")
        await self.text("alice", "the next")
        await self.text("mallory", "mallory is heard as well")
        texts = [key for key in self.stores["bob"].dump() if key[0] == "text"]
        assert len(texts) == len(self.told)

    def inside(self, envelope: Envelope) -> ProtocolMessage:
        """Opened with Bob's key."""
        bob, alice = self.identities["bob"], self.identities["alice"]
        try:
            return parse(payload26.open_asymmetric(envelope.payload, bob).data)
        except Refusal:
            key = topics.symmetric_key(topics.negotiated_name(bob.agree(alice.public)))
            return parse(payload26.open_symmetric(envelope.payload, key).data)

    def post(self, maker: str, message: ProtocolMessage | bytes) -> Envelope:
        bob = self.identities["bob"].public
        data = message if isinstance(message, bytes) else encode(message)
        payload = payload26.seal_asymmetric(data, bob, sign=self.identities[maker], rng=os.urandom)
        return Envelope(topics.content_topic(topics.partitioned_name(bob)), payload, 1, ticking() * 10**6)


@asynccontextmanager
async def scene(mechanism: Mechanism, *, alone: bool = False) -> AsyncIterator[Scene]:
    """Alice and Mallory have each written to Bob, and he to them: all sessions are past their beginnings."""
    made = Scene(mechanism)
    async with AsyncExitStack() as stack:
        for name in ("alice", "bob", "mallory"):
            identity, store = SoftwareIdentity.generate(os.urandom), MemoryStore()
            opening = open_node(
                store,
                made.network.transport(name),
                list(mechanism.make()),
                policy=mechanism.policy,
                identity=identity,
                clock=ticking,
            )
            made.identities[name], made.stores[name] = identity, store
            made.nodes[name] = await stack.enter_async_context(opening)
        code = await made.nodes["bob"].contact_code()
        for name in ("alice", "mallory"):
            node = made.nodes[name]
            await node.add(code)
            await made.nodes["bob"].add(await node.contact_code())
            if not alone:
                await made.text(name, f"{name} begins")
                await made.nodes["bob"].send(node.identity, f"hello {name}")
                await node.ack(await heard(node, f"hello {name}"))
                await made.text(name, f"{name} goes on")
                made.told += [f"hello {name}"]
        await made.quiet()
        yield made
