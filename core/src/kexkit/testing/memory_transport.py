"""One peer's end of a `MemoryNetwork`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Iterator, Mapping
from types import TracebackType
from typing import Protocol

import anyio
import anyio.lowlevel
from attrs import define, field, frozen

from kexkit.api import Arrival, Envelope
from kexkit.errors import InvalidInput, TransportError


@frozen
class Entry:
    """A publication; sequence 0: not in the log."""

    sequence: int
    sender: str
    envelope: Envelope


@define(eq=False)
class Watched:
    """What one peer has been handed of one topic: all up to `floor`, and some above it."""

    topic: str
    floor: int
    above: set[int] = field(factory=set)
    flying: set[int] = field(factory=set)

    def handed(self, sequence: int) -> None:
        self.flying.discard(sequence)
        if sequence <= self.floor:
            return
        self.above.add(sequence)
        while self.floor + 1 in self.above:
            self.floor += 1
            self.above.discard(self.floor)


@define(order=True)
class Flight:
    """One copy under way to one peer. A tampered copy does not count as its original's arrival."""

    due: int
    place: float
    number: int
    watch: Watched = field(order=False)
    entry: Entry = field(order=False)
    genuine: bool = field(order=False)


class Hub(Protocol):
    """What a transport needs of the network it belongs to."""

    def publish(self, sender: str, envelope: Envelope) -> None: ...

    def watch(self, peer: MemoryTransport, topic: str, cursor: bytes | None) -> None: ...

    def take(self, peer: MemoryTransport) -> Arrival | None: ...


class MemoryTransport:
    """One peer's transport. `take` is `arrivals` without an event loop."""

    def __init__(self, network: Hub, name: str) -> None:
        self.name = name
        self.watches: dict[str, Watched] = {}
        self.flights: list[Flight] = []
        self._network = network
        self._open = True
        self._reading = False
        self._waiting: anyio.Event | None = None

    async def publish(self, envelope: Envelope) -> None:
        await anyio.lowlevel.checkpoint()
        self._must_be_open()
        self._network.publish(self.name, envelope)

    async def watch(self, topics: Mapping[str, bytes | None]) -> None:
        await anyio.lowlevel.checkpoint()
        self._must_be_open()
        for topic, cursor in topics.items():
            self._network.watch(self, topic, cursor)

    async def unwatch(self, topics: Collection[str]) -> None:
        await anyio.lowlevel.checkpoint()
        self._must_be_open()
        for topic in topics:
            self.watches.pop(topic, None)

    def arrivals(self) -> AsyncIterator[Arrival]:
        return _Arrivals(self)

    def take(self) -> Arrival | None:
        return self._network.take(self) if self._open else None

    def drain(self) -> Iterator[Arrival]:
        while (arrival := self.take()) is not None:
            yield arrival

    async def next(self) -> Arrival:
        """Wait for the next arrival; StopAsyncIteration when the transport is closed."""
        if self._waiting is not None:
            raise InvalidInput(f"{self.name}'s arrivals have a reader already: a transport has one.")
        await anyio.lowlevel.checkpoint()
        self._reading = True
        while (arrival := self.take()) is None:
            if not self._open:
                raise StopAsyncIteration
            self._waiting = anyio.Event()
            try:
                await self._waiting.wait()
            finally:
                self._waiting = None
        return arrival

    @property
    def idle(self) -> bool:
        """Nothing is left for this peer's reader, or nobody has begun to read."""
        return not (self._open and self._reading) or (self._waiting is not None and not self._waiting.is_set())

    def wake(self) -> None:
        if self._waiting is not None:
            self._waiting.set()

    def close(self) -> None:
        self._open = False
        self.watches.clear()
        self.flights.clear()
        self.wake()

    async def __aenter__(self) -> MemoryTransport:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _must_be_open(self) -> None:
        if not self._open:
            raise TransportError(f"{self.name}'s transport is closed.")


@frozen
class _Arrivals:
    """Not an async generator: a reader that is cancelled or leaves its loop loses nothing and can come back."""

    _transport: MemoryTransport

    def __aiter__(self) -> _Arrivals:
        return self

    async def __anext__(self) -> Arrival:
        return await self._transport.next()
