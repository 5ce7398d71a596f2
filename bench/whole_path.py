"""The whole path: a text becomes a signed envelope in a store; an envelope becomes a text in an inbox.

The real engine, driven by the real writer in an event loop, over SQLite. Nothing is left out but the network: what
`Node.send` does until it returns, and what a node does with an arrival until it is told.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Coroutine
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from kexkit._engine.chatting import Composed
from kexkit._engine.engine import Engine
from kexkit._engine.requests import Draft, Flow, Moment, Outcome
from kexkit._engine.setting import Setting
from kexkit._shell.writer import Writer
from kexkit.api import Context, Device, Envelope
from kexkit.contact import ContactCode
from kexkit.identity import SoftwareIdentity
from kexkit.node import GrowingNanoseconds
from kexkit.policy import Policy
from kexkit_storage_sqlite._opening import opened
from kexkit_storage_sqlite._store import SqliteStore
from kexkit_x3dh.exchange import X3DH

from bench.measuring import Contestant
from bench.seam import ALICE, BOB


def now() -> int:
    return time.time_ns() // 1_000_000


class Installation:
    """An engine, its writer, its store. What leaves is collected here instead of being published."""

    def __init__(self, installation: str, store: SqliteStore) -> None:
        self.identity = SoftwareIdentity.generate(os.urandom)
        self.me = Device(self.identity.public, installation)
        self.store = store
        self.engine = Engine(Setting(self.me, (X3DH(),), Policy()))
        self.left: list[Envelope] = []
        self.texts = 0
        self._sequence = GrowingNanoseconds(now, 0)

    def moment(self) -> Moment:
        return Moment(Context(self.me, now(), os.urandom, self.identity), self._sequence)

    async def start(self) -> None:
        """In the event loop that all the rest runs in."""
        self.writer = Writer(self.store, self.engine.restore, self._committed)
        self._running = asyncio.create_task(self.writer.run())
        await self.writer.perform(lambda: self.engine.start(self.moment()))

    async def stop(self) -> None:
        await self.writer.close()
        await self._running

    async def contact_code(self) -> ContactCode:
        def asking() -> Flow[Outcome]:
            return Draft().outcome((yield from self.engine.contact_code()))

        code: ContactCode = await self.writer.perform(asking)
        return code

    async def meet(self, code: ContactCode) -> None:
        await self.writer.perform(lambda: self.engine.meet(code, "", self.moment()))

    async def send(self, peer: bytes, text: str) -> None:
        """As `Node.send` does."""
        composed: list[Composed] = []

        def flow() -> Flow[Outcome]:
            moment = self.moment()
            again = bool(composed)
            if not again:
                composed.append((yield from self.engine.compose(peer, text, moment)))
            return (yield from self.engine.send(peer, composed[0], moment, again=again))

        await self.writer.perform(flow)

    async def receive(self, envelope: Envelope) -> None:
        await self.writer.perform(lambda: self.engine.receive(envelope, self.moment()))

    async def tick(self) -> None:
        while (await self.writer.perform(lambda: self.engine.tick(self.moment()))) <= now():
            pass

    def _committed(self, outcome: Outcome) -> None:
        self.engine.listen(outcome.channels)
        self.left += [departure.envelope for departure in outcome.leave]
        self.texts += sum(event.__class__.__name__ == "TextReceived" for event in outcome.events)


class Couple:
    """Two devices that have heard each other, on stores of their own, in an event loop of their own."""

    def __init__(self, folder: Path, synchronous: str, exits: ExitStack) -> None:
        stores = [
            exits.enter_context(opened({"path": str(folder / name), "synchronous": synchronous}))
            for name in ("alice", "bob")
        ]
        self.runner = exits.enter_context(asyncio.Runner())
        self.alice, self.bob = Installation(ALICE, stores[0]), Installation(BOB, stores[1])
        self.run(self._meet())
        exits.callback(lambda: self.run(self._stop()))

    def run(self, coroutine: Coroutine[Any, Any, None]) -> None:
        self.runner.run(coroutine)

    async def _meet(self) -> None:
        for device in (self.alice, self.bob):
            await device.start()
        await self.alice.meet(await self.bob.contact_code())
        await self.bob.meet(await self.alice.contact_code())
        for sender, reader in ((self.alice, self.bob), (self.bob, self.alice), (self.alice, self.bob)):
            for device in (self.alice, self.bob):
                await device.tick()
            await self.carry(sender, reader)
        assert (self.alice.texts, self.bob.texts) == (1, 2), "two devices that do not hear each other are measured"
        for device in (self.alice, self.bob):
            await device.tick()

    async def carry(self, sender: Installation, reader: Installation) -> None:
        sender.left.clear()
        await sender.send(reader.me.identity, "how do you do")
        for envelope in sender.left:
            await reader.receive(envelope)

    def count_commits(self, *, sends: int, together: int) -> dict[str, float]:
        """By the writers' own counts."""
        return self.runner.run(self._count(sends, together))

    async def _count(self, sends: int, together: int) -> dict[str, float]:
        alice, bob = self.alice, self.bob
        alice.left.clear()
        before = alice.writer.commits, bob.writer.commits
        for _ in range(sends):
            await alice.send(bob.me.identity, "one at a time")
        for envelope in alice.left:
            await bob.receive(envelope)
        after = alice.writer.commits, bob.writer.commits
        await asyncio.gather(*(alice.send(bob.me.identity, "at once") for _ in range(together)))
        return {
            "a send": (after[0] - before[0]) / sends,
            "a receipt": (after[1] - before[1]) / sends,
            f"{together} sends that wait together": float(alice.writer.commits - after[0]),
        }

    async def _stop(self) -> None:
        for device in (self.alice, self.bob):
            await device.stop()


def sending(couple: Couple, name: str, text: str) -> Contestant:
    async def send(times: int) -> None:
        couple.alice.left.clear()
        for _ in range(times):
            await couple.alice.send(couple.bob.me.identity, text)

    return Contestant(name, lambda times: couple.run(send(times)), most=400, least=200)


def receiving(couple: Couple, name: str, text: str) -> Contestant:
    waiting: list[Envelope] = []

    async def send(times: int) -> None:
        couple.alice.left.clear()
        for _ in range(times):
            await couple.alice.send(couple.bob.me.identity, text)
        waiting[:] = couple.alice.left

    async def receive() -> None:
        before = couple.bob.texts
        for envelope in waiting:
            await couple.bob.receive(envelope)
        assert couple.bob.texts == before + len(waiting)

    return Contestant(
        name, lambda times: couple.run(receive()), prepare=lambda times: couple.run(send(times)), most=400, least=200
    )
