"""What a commit costs in the event loop's own thread, and behind a thread hop. Run by hand; ADR 0003 quotes it.

python -m tests.storage.measure_inline
"""

from __future__ import annotations

import sqlite3
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

import anyio
import anyio.to_thread
from kexkit.api import Change, Key
from kexkit_storage_sqlite._opening import opened
from kexkit_storage_sqlite._store import SqliteStore

ROUNDS, COMMITS = 9, 300
KEYS: tuple[Key, ...] = tuple(("t", bytes([n]) * 32) for n in range(5))


async def spent(work: Callable[[int], Awaitable[object]]) -> list[float]:
    """Microseconds of each of one round's commits."""
    times = []
    for number in range(COMMITS):
        begun = time.perf_counter()
        await work(number)
        times.append((time.perf_counter() - begun) * 1e6)
    return times


class Bare:
    """One update of one row of 1 KiB in a transaction of its own: what SQLite asks for a commit."""

    def __init__(self, file: Path, synchronous: str) -> None:
        self.db = sqlite3.connect(file, isolation_level=None, check_same_thread=False)
        for statement in ("PRAGMA journal_mode = WAL", f"PRAGMA synchronous = {synchronous}", "CREATE TABLE x (a)"):
            self.db.execute(statement).fetchall()
        self.db.execute("INSERT INTO x VALUES (?)", (bytes(1024),))

    def commit(self, number: int) -> None:
        self.db.execute("BEGIN IMMEDIATE")
        self.db.execute("UPDATE x SET a = ?", (number.to_bytes(1024, "big"),))
        self.db.execute("COMMIT")

    async def inline(self, number: int) -> None:
        self.commit(number)

    async def in_thread(self, number: int) -> None:
        await anyio.to_thread.run_sync(partial(self.commit, number))


class Whole:
    """Five rows given and put, through the store."""

    def __init__(self, store: SqliteStore) -> None:
        self.store, self.revision = store, 0

    async def inline(self, number: int) -> None:
        value = number.to_bytes(2, "big") * 100
        await self.store.apply(Change(dict.fromkeys(KEYS, self.revision), dict.fromkeys(KEYS, value)))
        self.revision += 1


async def main(backend: str) -> None:
    with tempfile.TemporaryDirectory(dir=".") as folder:
        for synchronous in ("NORMAL", "FULL"):
            bare = Bare(Path(folder) / f"{synchronous}.db", synchronous)
            with opened({"path": f"{folder}/{synchronous}", "synchronous": synchronous}) as store:
                cases = {"bare": bare.inline, "bare in a thread": bare.in_thread, "five rows": Whole(store).inline}
                rounds: dict[str, list[float]] = {name: [] for name in cases}
                slowest = dict.fromkeys(cases, 0.0)
                for turn in range(ROUNDS):
                    for name in list(cases)[:: 1 if turn % 2 else -1]:
                        times = await spent(cases[name])
                        rounds[name].append(statistics.median(times))
                        slowest[name] = max(slowest[name], *times)
            bare.db.close()
            base = statistics.median(rounds["bare"])
            for name, medians in rounds.items():
                middle = statistics.median(medians)
                print(
                    f"{backend:8} {synchronous:7} {name:17} {middle:7.1f} us  x {middle / base:5.2f}"
                    f"  rounds {min(medians):.1f} to {max(medians):.1f}  slowest {slowest[name]:.0f}"
                )


if __name__ == "__main__":
    for loop in ("asyncio", "trio"):
        anyio.run(main, loop, backend=loop)
