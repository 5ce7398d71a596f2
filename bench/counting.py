"""How many commits an operation costs under the shipped settings, counted in the database's own log.

In SQLite's write-ahead log the last frame of a transaction says how large the database is then; all other frames say
zero. So a transaction is counted by what it left on the disk, not by what the store says of itself.
"""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from pathlib import Path
from struct import Struct
from typing import Final

import anyio
from attrs import frozen

from bench.whole_path import Couple

_LOG: Final = Struct(">IIIIIIII")
_FRAME: Final = Struct(">IIII8x")
TOGETHER: Final = 50
"""operations that wait together: fewer than the writer takes into one batch"""


@frozen
class Count:
    name: str
    operations: int
    commits: int
    expected: int


def commits_in(log: Path) -> int:
    """Transactions that stand in a write-ahead log and are of its present life."""
    raw = log.read_bytes()
    _, _, page, _, salt, pepper, _, _ = _LOG.unpack_from(raw)
    found = 0
    for at in range(_LOG.size, len(raw) - page, _FRAME.size + page):
        _, pages_after, frame_salt, frame_pepper = _FRAME.unpack_from(raw, at)
        if (frame_salt, frame_pepper) != (salt, pepper):
            break
        found += pages_after != 0
    return found


def count() -> list[Count]:
    with ExitStack() as exits:
        folder = Path(exits.enter_context(tempfile.TemporaryDirectory()))
        couple = Couple(folder, "FULL", exits)
        alice, bob = couple.alice, couple.bob
        logs = {device: folder / name / "kexkit.sqlite-wal" for device, name in ((alice, "alice"), (bob, "bob"))}
        counts: list[Count] = []

        async def send_one() -> None:
            alice.left.clear()
            await alice.send(bob.me.identity, "one")

        async def receive_one() -> None:
            for envelope in alice.left:
                await bob.receive(envelope)

        async def send_many() -> None:
            async with anyio.create_task_group() as tasks:
                for _ in range(TOGETHER):
                    tasks.start_soon(alice.send, bob.me.identity, "one of many")

        for name, device, work, operations in (
            ("a send", alice, send_one, 1),
            ("a receive", bob, receive_one, 1),
            (f"{TOGETHER} sends that wait together", alice, send_many, TOGETHER),
        ):
            before = commits_in(logs[device])
            couple.run(work())
            counts.append(Count(name, operations, commits_in(logs[device]) - before, 1))
        return counts
