"""A store and a transport whose calls are counted, and the process's death at a chosen one of them."""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator, Collection, Mapping
from pathlib import Path

from kexkit import _records as records
from kexkit.api import Arrival, Change, Envelope, Key, Store, Transport, Versioned

from tests.crash.network import FileTransport

KILLED = 137


class Steps:
    """Counts the steps of a life, and dies at the one that `fatal` names: 'after apply 3', 'step 40'; empty: lives."""

    def __init__(self, folder: Path, whose: str, fatal: str = "") -> None:
        self.names: list[str] = []
        self._folder = folder
        self._whose = whose
        self._fatal = fatal

    def step(self, name: str) -> None:
        self.names.append(name)
        if self._fatal in (name + f" {self.names.count(name)}", f"step {len(self.names)}"):
            (self._folder / "killed_at").write_text(name)
            os._exit(KILLED)

    def write_down(self) -> None:
        (self._folder / f"{self._whose}.steps").write_text(json.dumps(self.names))


class CountedStore:
    def __init__(self, real: Store, steps: Steps) -> None:
        self._real = real
        self._step = steps.step

    async def load(self, keys: Collection[Key]) -> Mapping[Key, Versioned]:
        self._step("load")
        return await self._real.load(keys)

    async def apply(self, change: Change) -> None:
        self._step("before apply")
        await self._real.apply(change)
        self._step("after apply")

    async def scan(
        self,
        table: str,
        start: bytes = b"",
        stop: bytes | None = None,
        *,
        reverse: bool = False,
        limit: int | None = None,
    ) -> AsyncIterator[tuple[Key, Versioned]]:
        self._step("scan")
        async for row in self._real.scan(table, start, stop, reverse=reverse, limit=limit):
            yield row


class CountedTransport:
    def __init__(self, real: Transport, steps: Steps) -> None:
        self._real = real
        self._step = steps.step

    async def publish(self, envelope: Envelope) -> None:
        self._step("before publish")
        await self._real.publish(envelope)
        self._step("after publish")

    async def watch(self, topics: Mapping[str, bytes | None]) -> None:
        self._step("before watch")
        await self._real.watch(topics)
        self._step("after watch")

    async def unwatch(self, topics: Collection[str]) -> None:
        await self._real.unwatch(topics)

    async def arrivals(self) -> AsyncIterator[Arrival]:
        async for arrival in self._real.arrivals():
            self._step("arrival")
            yield arrival
            self._step("next arrival")


class Hasty:
    """Breaks the first promise on purpose: what a change would send leaves before the change is stored."""

    def __init__(self, real: Store, network: FileTransport, steps: Steps) -> None:
        self.load, self.scan = real.load, real.scan
        self._real = real
        self._network = network
        self._step = steps.step

    async def apply(self, change: Change) -> None:
        for key, row in change.put.items():
            if key[0] == "outbox":
                self._network.put(records.envelope_of(records.read_outgoing(row)))
                self._step("hasty")
        await self._real.apply(change)


class Forgetful:
    """Breaks the second on purpose: it says that a change is stored, and stores it when it is next asked something."""

    def __init__(self, real: Store) -> None:
        self._real = real
        self._owed: Change | None = None

    async def _pay(self) -> None:
        owed, self._owed = self._owed, None
        if owed is not None:
            await self._real.apply(owed)

    async def load(self, keys: Collection[Key]) -> Mapping[Key, Versioned]:
        await self._pay()
        return await self._real.load(keys)

    async def apply(self, change: Change) -> None:
        await self._pay()
        self._owed = change

    async def scan(
        self,
        table: str,
        start: bytes = b"",
        stop: bytes | None = None,
        *,
        reverse: bool = False,
        limit: int | None = None,
    ) -> AsyncIterator[tuple[Key, Versioned]]:
        await self._pay()
        async for row in self._real.scan(table, start, stop, reverse=reverse, limit=limit):
            yield row
