"""A network in memory that loses, doubles, reorders, delays, tampers and splits on demand, the same way for one seed.

It keeps a log of every topic, so `watch` from a cursor gives the past and then the live, as a relay would. Losing a
delivery leaves the log whole: `repair` (or `heal`, or watching again from the last cursor) brings it. Nothing here
waits for real time: with `automatic=True` a publication can be read at once, otherwise when the test calls `deliver`.
A cursor is honest under every fault: watching from it again misses nothing, what came early comes twice.
"""

from __future__ import annotations

import heapq
from random import Random

import anyio
import anyio.lowlevel
from attrs import define, evolve, field, frozen

from kexkit.api import Arrival, Envelope, TransportFactory
from kexkit.errors import TransportError
from kexkit.testing.memory_transport import Entry, Flight, MemoryTransport, Watched

LOG_LIMIT = 100_000
"""envelopes kept of one topic; the oldest go first. Ten times the longest history that the kit pages through"""
REORDER_WINDOW = 20
"""places by which a reordered delivery may fall behind: more than the skipped keys that small tests store"""


@frozen
class Faults:
    """How often a delivery goes wrong, each between 0 and 1. `delay` holds one back for 1 to `delay_rounds` rounds."""

    loss: float = 0.0
    duplication: float = 0.0
    reordering: float = 0.0
    delay: float = 0.0
    delay_rounds: int = 3
    tampering: float = 0.0


NO_FAULTS = Faults()


@define(eq=False)
class _Log:
    entries: list[Entry] = field(factory=list)
    last: int = 0

    def append(self, sender: str, envelope: Envelope, limit: int) -> Entry:
        self.last += 1
        entry = Entry(self.last, sender, envelope)
        self.entries.append(entry)
        if len(self.entries) > limit:
            del self.entries[: len(self.entries) - limit]
        return entry

    def after(self, sequence: int) -> list[Entry]:
        if not self.entries:
            return []
        return self.entries[max(0, sequence + 1 - self.entries[0].sequence) :]


@define(eq=False)
class _Order:
    """'Lose (or refuse) the next `count` that match.'"""

    count: int
    sender: str | None
    receiver: str | None

    def takes(self, sender: str, receiver: str | None) -> bool:
        if self.count < 1 or self.sender not in (None, sender) or self.receiver not in (None, receiver):
            return False
        self.count -= 1
        return True


class MemoryNetwork:
    """`network.transport("alice")` gives alice's transport. Peers are told apart by name, and only here."""

    def __init__(self, seed: int = 0, *, automatic: bool = True, log_limit: int = LOG_LIMIT) -> None:
        self._random = Random(seed)  # noqa: S311  a test must run the same way again; nothing secret comes of it
        self._id = self._random.randbytes(8)
        self._automatic = automatic
        self._log_limit = log_limit
        self._logs: dict[str, _Log] = {}
        self._peers: dict[str, MemoryTransport] = {}
        self._faults: dict[tuple[str | None, str | None], Faults] = {}
        self._islands: dict[str, int] = {}
        self._offline: set[str] = set()
        self._held: set[str] = set()
        self._drops: list[_Order] = []
        self._vanish: list[_Order] = []
        self._refuse: list[tuple[_Order, bool]] = []
        self._number = 0
        self._round = 0

    # --- peers ---

    def transport(self, name: str) -> MemoryTransport:
        """A fresh transport. An older one of the same name is cut off, as if its process had been killed."""
        if name in self._peers:
            self._peers[name].close()
        self._peers[name] = MemoryTransport(self, name)
        return self._peers[name]

    def factory(self) -> TransportFactory:
        """The network as a plugin would bring it: `open({'name': 'alice'})`."""
        return TransportFactory(name="memory", open=lambda settings: self.transport(settings["name"]))

    def logged(self, topic: str | None = None) -> list[Envelope]:
        """What the log holds of one topic, or of all."""
        topics = list(self._logs) if topic is None else [topic] if topic in self._logs else []
        return [entry.envelope for name in topics for entry in self._logs[name].entries]

    # --- what goes wrong ---

    def set_faults(self, faults: Faults, *, sender: str | None = None, receiver: str | None = None) -> None:
        """For one link, for all links of one peer, or (naming nobody) everywhere. The narrowest setting counts."""
        self._faults[sender, receiver] = faults

    def partition(self, *names: str) -> None:
        """These peers hear one another and nobody else. What they publish is kept for the others until `heal`."""
        island = max(self._islands.values(), default=0) + 1
        for name in names:
            self._islands[name] = island

    def offline(self, *names: str) -> None:
        """These peers reach nothing: publishing raises TransportError, and nothing is delivered until `online`."""
        self._offline.update(names)

    def online(self, *names: str) -> None:
        self._offline.difference_update(names)
        self._wake()

    def hold(self, *names: str) -> None:
        """Deliver nothing to these peers until `release`; they can publish."""
        self._held.update(names)

    def release(self, *names: str) -> None:
        self._held.difference_update(names)
        self._wake()

    def drop_next(self, count: int = 1, *, sender: str | None = None, receiver: str | None = None) -> None:
        """Lose the next deliveries on matching links. The log keeps them."""
        self._drops.append(_Order(count, sender, receiver))

    def lose_publications(self, count: int = 1, *, sender: str | None = None) -> None:
        """The next publications return normally, reach nobody and are not in the log."""
        self._vanish.append(_Order(count, sender, None))

    def fail_publications(self, count: int = 1, *, sender: str | None = None, stored: bool = False) -> None:
        """The next publications raise TransportError; with `stored`, after the network has taken them."""
        self._refuse.append((_Order(count, sender, None), stored))

    def inject(self, envelope: Envelope, *, receiver: str | None = None, logged: bool = False) -> None:
        """An envelope out of nowhere, faultlessly, to everyone who watches its topic or to one of them."""
        entry = Entry(0, "", envelope)
        if logged:
            entry = self._logs.setdefault(envelope.topic, _Log()).append("", envelope, self._log_limit)
        for name, peer in self._peers.items():
            watch = peer.watches.get(envelope.topic)
            if watch is not None and receiver in (None, name):
                self._fly(peer, watch, entry, genuine=True, due=self._next_due(), place=0.0)
        self._wake()

    def repair(self) -> None:
        """Send everyone again what was lost on the way to them, from the log."""
        for peer in self._peers.values():
            for watch in peer.watches.values():
                self._catch_up(peer, watch)
        self._wake()

    def heal(self) -> None:
        """End every fault, partition, hold and outage, and repair."""
        for broken in (self._faults, self._islands, self._offline, self._held):
            broken.clear()
        for orders in (self._drops, self._vanish, self._refuse):
            orders.clear()
        self.repair()

    # --- time ---

    async def deliver(self, rounds: int | None = None) -> None:
        """Let readers have what is due after so many rounds, or (None) all that is under way and not held."""
        self.advance(rounds)
        await anyio.lowlevel.checkpoint()

    def advance(self, rounds: int | None = None) -> None:
        """`deliver` without an event loop, for tests that read with `take`."""
        furthest = max((flight.due for peer in self._peers.values() for flight in peer.flights), default=self._round)
        self._round = self._round + rounds if rounds is not None else max(self._round, furthest)
        self._wake()

    async def settle(self, patience: float = 30.0) -> None:
        """Deliver until every reader has taken all there is and waits for more, answers to answers included."""
        with anyio.fail_after(patience):
            quiet = 0
            while quiet < 2:
                await self.deliver()
                idle = all(peer.idle for peer in self._peers.values())
                quiet = quiet + 1 if idle else 0

    # --- for MemoryTransport ---

    def publish(self, sender: str, envelope: Envelope) -> None:
        if sender in self._offline:
            raise TransportError(f"{sender} is offline.")
        if any(order.takes(sender, None) for order in self._vanish):
            return
        refusal = next((stored for order, stored in self._refuse if order.takes(sender, None)), None)
        if refusal is False:
            raise TransportError("The network did not take the envelope.")
        self._spread(sender, envelope)
        if refusal is True:
            raise TransportError("The network's answer was lost.")

    def watch(self, peer: MemoryTransport, topic: str, cursor: bytes | None) -> None:
        log = self._logs.get(topic, _Log())
        known = cursor is not None and len(cursor) == 16 and cursor[:8] == self._id
        floor = int.from_bytes(cursor[8:], "big") if cursor is not None and known else 0
        peer.watches[topic] = watch = Watched(topic, floor if floor <= log.last else 0)
        self._catch_up(peer, watch)
        self._wake()

    def take(self, peer: MemoryTransport) -> Arrival | None:
        """The next arrival that may be handed to this peer now."""
        if peer.name in self._offline or peer.name in self._held:
            return None
        if self._automatic and peer.flights and peer.flights[0].due > self._round:
            self._round = peer.flights[0].due
        blocked: list[Flight] = []
        found: Flight | None = None
        while found is None and peer.flights and peer.flights[0].due <= self._round:
            flight = heapq.heappop(peer.flights)
            if peer.watches.get(flight.watch.topic) is not flight.watch:
                continue
            if self._parted(flight.entry.sender, peer.name):
                blocked.append(flight)
            else:
                found = flight
        for flight in blocked:
            heapq.heappush(peer.flights, flight)
        if found is None:
            return None
        if found.genuine and found.entry.sequence:
            found.watch.handed(found.entry.sequence)
        return Arrival(found.entry.envelope, self._id + found.watch.floor.to_bytes(8, "big"))

    # --- inside ---

    def _spread(self, sender: str, envelope: Envelope) -> None:
        if envelope.ephemeral:
            entry = Entry(0, sender, envelope)
        else:
            entry = self._logs.setdefault(envelope.topic, _Log()).append(sender, envelope, self._log_limit)
        for peer in self._peers.values():
            watch = peer.watches.get(envelope.topic)
            if watch is not None:
                self._send(peer, watch, entry)
        self._wake()

    def _catch_up(self, peer: MemoryTransport, watch: Watched) -> None:
        log = self._logs.get(watch.topic)
        for entry in log.after(watch.floor) if log else []:
            if entry.sequence not in watch.above and entry.sequence not in watch.flying:
                self._send(peer, watch, entry)

    def _send(self, peer: MemoryTransport, watch: Watched, entry: Entry) -> None:
        """One delivery, with what the link does to it."""
        faults, chance = self._link(entry.sender, peer.name), self._random.random
        if any(order.takes(entry.sender, peer.name) for order in self._drops) or chance() < faults.loss:
            return
        for _ in range(2 if chance() < faults.duplication else 1):
            due = self._next_due()
            if chance() < faults.delay:
                due += self._random.randint(1, max(1, faults.delay_rounds))
            place = self._random.uniform(0, REORDER_WINDOW) if chance() < faults.reordering else 0.0
            tampered = chance() < faults.tampering
            copy = evolve(entry, envelope=self._tampered(entry.envelope)) if tampered else entry
            self._fly(peer, watch, copy, genuine=not tampered, due=due, place=place)

    def _fly(
        self, peer: MemoryTransport, watch: Watched, entry: Entry, *, genuine: bool, due: int, place: float
    ) -> None:
        self._number += 1
        if genuine and entry.sequence:
            watch.flying.add(entry.sequence)
        heapq.heappush(peer.flights, Flight(due, self._number + place, self._number, watch, entry, genuine))

    def _link(self, sender: str, receiver: str) -> Faults:
        for link in ((sender, receiver), (None, receiver), (sender, None), (None, None)):
            if link in self._faults:
                return self._faults[link]
        return NO_FAULTS

    def _tampered(self, envelope: Envelope) -> Envelope:
        """One bit turned, or an end cut off, or bytes added: what a hostile network can do without any key."""
        payload = bytearray(envelope.payload)
        kind = self._random.choice(("turn", "cut", "add")) if payload else "add"
        if kind == "turn":
            payload[self._random.randrange(len(payload))] ^= 1 << self._random.randrange(8)
        elif kind == "cut":
            del payload[self._random.randrange(len(payload)) :]
        else:
            payload += self._random.randbytes(self._random.randint(1, 16))
        return evolve(envelope, payload=bytes(payload))

    def _parted(self, sender: str, receiver: str) -> bool:
        return bool(sender) and self._islands.get(sender, 0) != self._islands.get(receiver, 0)

    def _next_due(self) -> int:
        return self._round if self._automatic else self._round + 1

    def _wake(self) -> None:
        for peer in self._peers.values():
            peer.wake()
