"""A process that forks lives of Alice, so that a test can end hundreds of them quickly.

A line of its input is an errand as JSON, a line of its output the exit status of the process that ran it:
`prepare` (what was before), `live` (Alice alone; dies at step `fatal`), `finish` (both, till all is said and heard).
"""

from __future__ import annotations

import gc
import json
import os
import sys
import traceback
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import anyio
from attrs import frozen
from kexkit import Node, TextReceived, Unreadable, open_node
from kexkit.api import KeyExchange
from kexkit.node import Contact
from kexkit_noise.exchange import NoiseExchange
from kexkit_storage_sqlite import open_store
from kexkit_x3dh.exchange import X3DH

from tests.crash.ledger import ALICE, BOB, Ledger
from tests.crash.network import FileTransport
from tests.crash.sealing import record_seals
from tests.crash.steps import CountedStore, CountedTransport, Forgetful, Hasty, Steps

PATIENCE = 20
PATIENCE_WITH_A_BREACH = 3
"""seconds: what a broken shell has lost never comes"""
QUIET_S = 0.04
"""how long nothing may come after all has come"""
EARLIER, LATER = ["alice before", "bob before"], ["alice at last", "bob at last"]
FROM_ALICE, FROM_BOB = ["alice 1", "alice 2"], ["bob 1", "bob 2"]


@frozen
class Scene:
    """`established`: they talked before. `hears`: Bob's texts wait for Alice, and she hears them before she writes.
    `healing`: with the default mechanism, and not with the one that needs no answer before the first text."""

    established: bool
    hears: bool
    healing: bool = False

    @classmethod
    def of(cls, name: str) -> Scene:
        return cls("established" in name, "hears" in name, "healing" in name)

    @property
    def exchange(self) -> KeyExchange:
        return NoiseExchange("healing-noise-xk1/1") if self.healing else X3DH()

    @property
    def together(self) -> bool:
        """Alice can do nothing alone: a handshake needs Bob's answer."""
        return self.healing and not self.established

    @property
    def planned(self) -> dict[str, list[str]]:
        before = EARLIER if self.established else [None, None]
        texts = {
            ALICE: [before[0], *FROM_ALICE, LATER[0]],
            BOB: [before[1], *(FROM_BOB if self.hears else []), LATER[1]],
        }
        return {author: [text for text in said if text is not None] for author, said in texts.items()}


class Person:
    """An application: it sends what it has not sent, hears, acknowledges, and writes all of it down."""

    def __init__(self, node: Node, ledger: Ledger, step: Callable[[str], None] = lambda name: None) -> None:
        self.node = node
        self._ledger = ledger
        self._step = step

    def _note(self, *entry: str) -> None:
        self._step("before ledger")
        self._ledger.write(*entry)
        self._step("after ledger")

    async def know(self, code: str) -> Contact:
        known = await self.node.contacts()
        return known[0] if known and known[0].added else await self.node.add(code)

    async def say(self, to: Contact, texts: list[str]) -> None:
        """After a restart, the history tells what was sent already."""
        said = {one.text for one in await self.node.history(to) if one.outgoing}
        for text in texts:
            if text not in said:
                sent = await self.node.send(to, text)
                self._note("sent", sent.message_id.hex(), text)

    async def hear(self, texts: list[str]) -> None:
        """Until all of them are told. What was told before a death comes again unless its ack was stored."""
        missing = set(texts) - self._ledger.heard_texts()
        if not missing:
            return
        async for event in self.node.events():
            if isinstance(event, Unreadable):
                self._note("unreadable", event.cause)
            elif isinstance(event, TextReceived):
                self._note("heard", event.message_id.hex(), event.text)
                await self.node.ack(event)
                self._note("acked", event.message_id.hex())
                missing.discard(event.text)
                if not missing:
                    return

    async def hear_nothing_more(self) -> None:
        with anyio.move_on_after(QUIET_S):
            await self.hear(["what nobody says"])

    async def history(self, names: dict[bytes, str], other: bytes) -> list[dict[str, str]]:
        found = await self.node.history(other)
        rows = [{"id": one.message_id.hex(), "author": names[one.author], "text": one.text} for one in found]
        return sorted(rows, key=lambda row: row["id"])


@asynccontextmanager
async def person(folder: Path, name: str, scene: Scene, fatal: str = "", breach: str = "") -> AsyncIterator[Person]:
    steps = Steps(folder, name, fatal)
    network = FileTransport(folder / "network")
    async with open_store({"path": str(folder / name), "synchronous": "NORMAL"}) as real:
        store = {"": real, "hasty": Hasty(real, network, steps), "forgetful": Forgetful(real)}[breach]
        counted = CountedStore(store, steps), CountedTransport(network, steps)
        async with open_node(*counted, [scene.exchange]) as node:
            yield Person(node, Ledger(folder, name), steps.step)
    steps.write_down()


async def prepare(folder: Path, scene: Scene) -> None:
    async with person(folder, BOB, scene) as bob:
        (folder / "bob.code").write_text(await bob.node.contact_code())
        if not scene.established and not scene.hears:
            return  # Alice was never there
        async with person(folder, ALICE, scene) as alice:
            for_bob = await bob.know(await alice.node.contact_code())
            if scene.established:
                for_alice = await alice.know(await bob.node.contact_code())
                await alice.say(for_alice, EARLIER[:1])
                await bob.hear(EARLIER[:1])
                await bob.say(for_bob, EARLIER[1:])
                await alice.hear(EARLIER[1:])
        if scene.hears:
            await bob.say(for_bob, FROM_BOB)


async def live(folder: Path, scene: Scene, fatal: str, breach: str) -> None:
    async with AsyncExitStack() as stack:
        if scene.together:
            await stack.enter_async_context(person(folder, BOB, scene))
        await on_with(await stack.enter_async_context(person(folder, ALICE, scene, fatal, breach)), folder, scene)


async def on_with(alice: Person, folder: Path, scene: Scene) -> Contact:
    to_bob = await alice.know((folder / "bob.code").read_text())
    if scene.hears:
        await alice.hear(FROM_BOB)
    await alice.say(to_bob, FROM_ALICE)
    await alice.node.flushed()
    return to_bob


async def finish(folder: Path, scene: Scene, patience: float) -> None:
    """What they cannot finish in time is not waited for: the ledgers and the histories tell what is wrong."""
    with anyio.move_on_after(patience):
        async with person(folder, ALICE, scene) as alice, person(folder, BOB, scene) as bob:
            await talk_it_out(alice, bob, folder, scene)
    async with person(folder, ALICE, scene) as alice, person(folder, BOB, scene) as bob:
        await alice.hear_nothing_more()
        await bob.hear_nothing_more()
        names = {alice.node.identity: ALICE, bob.node.identity: BOB}
        histories = {
            ALICE: await alice.history(names, bob.node.identity),
            BOB: await bob.history(names, alice.node.identity),
        }
    (folder / "histories").write_text(json.dumps(histories))


async def talk_it_out(alice: Person, bob: Person, folder: Path, scene: Scene) -> None:
    to_bob = await on_with(alice, folder, scene)
    await bob.hear(FROM_ALICE)
    await bob.say(await bob.know(alice.node.identity.hex()), LATER[1:])
    await alice.hear(LATER[1:])
    await alice.say(to_bob, LATER[:1])
    await bob.hear(LATER[:1])
    await alice.hear_nothing_more()
    await bob.hear_nothing_more()


async def run(errand: dict[str, str]) -> None:
    folder, scene = Path(errand["folder"]), Scene.of(errand["scene"])
    record_seals(folder)
    patience = PATIENCE_WITH_A_BREACH if errand["breach"] else PATIENCE
    with anyio.fail_after(2 * patience):
        if errand["do"] == "prepare":
            await prepare(folder, scene)
        elif errand["do"] == "live":
            await live(folder, scene, errand["fatal"], errand["breach"])
        else:
            await finish(folder, scene, patience)


def main() -> None:
    gc.freeze()
    for line in sys.stdin:
        process = os.fork()
        if not process:
            status = 1
            try:
                anyio.run(run, json.loads(line))
                status = 0
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(status)
        _, ended = os.waitpid(process, 0)
        print(os.waitstatus_to_exitcode(ended), flush=True)


if __name__ == "__main__":
    main()
