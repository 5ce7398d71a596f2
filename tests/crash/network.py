"""A network in one append-only file: what was published before a process died is there afterwards."""

from __future__ import annotations

import json
import os
from collections import deque
from collections.abc import AsyncIterator, Collection, Mapping
from pathlib import Path

import anyio
from kexkit.api import Arrival, Envelope

POLL_S = 0.002


class FileTransport:
    """One peer's end. A topic's cursor is a place in the file, so watching from it misses nothing after it."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._lines: list[tuple[int, Envelope]] = []
        self._read = 0
        self._watched: set[str] = set()
        self._queue: deque[tuple[int, Envelope]] = deque()

    async def publish(self, envelope: Envelope) -> None:
        self.put(envelope)

    def put(self, envelope: Envelope) -> None:
        line = json.dumps([envelope.topic, envelope.payload.hex(), envelope.version, envelope.timestamp]).encode()
        log = os.open(self._file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            os.write(log, line + b"\n")
        finally:
            os.close(log)

    async def watch(self, topics: Mapping[str, bytes | None]) -> None:
        self._refresh()
        for topic, cursor in topics.items():
            after = int.from_bytes(cursor or b"", "big")
            self._watched.add(topic)
            self._queue += [line for line in self._lines if line[1].topic == topic and line[0] > after]

    async def unwatch(self, topics: Collection[str]) -> None:
        self._watched.difference_update(topics)

    async def arrivals(self) -> AsyncIterator[Arrival]:
        while True:
            self._refresh()
            while self._queue:
                place, envelope = self._queue.popleft()
                if envelope.topic in self._watched:
                    yield Arrival(envelope, place.to_bytes(8, "big"))
            await anyio.sleep(POLL_S)

    def _refresh(self) -> None:
        try:
            with self._file.open("rb") as log:
                log.seek(self._read)
                fresh = log.read()
        except FileNotFoundError:
            return
        for line in fresh[: fresh.rfind(b"\n") + 1].splitlines(keepends=True):
            topic, payload, version, timestamp = json.loads(line)
            self._read += len(line)
            self._lines.append((self._read, Envelope(topic, bytes.fromhex(payload), version, timestamp)))
            if topic in self._watched:
                self._queue.append(self._lines[-1])
