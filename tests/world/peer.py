"""One device in a world without an event loop: the real engine and the real writer over a store in memory.

What the shell's tasks do by themselves, a peer here does one step at a time, so that a test can stop it between any
two: commit, transmit, note that the network has it, pull an arrival, move the cursor, tell the application, hear its
acknowledgement. `crash` forgets everything but the rows.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Coroutine
from random import Random
from typing import Any, TypeVar

from kexkit import _records as records
from kexkit._engine.engine import Engine
from kexkit._engine.requests import Departure, Flow, Moment, Outcome
from kexkit._engine.setting import Setting
from kexkit._shell.inbox import Inbox
from kexkit._shell.writer import Operation, Writer
from kexkit._wire import waku
from kexkit._wire.topics import PUBSUB_DEFAULT
from kexkit.api import Arrival, Change, Context, Device, Envelope, Key, Versioned
from kexkit.contact import ContactCode
from kexkit.errors import TransportError
from kexkit.events import DurableEvent, Event, FrameRefused
from kexkit.identity import SoftwareIdentity
from kexkit.node import GrowingNanoseconds, _sending
from kexkit.testing import MemoryNetwork, MemoryStore

from tests.world.mechanisms import Mechanism

T = TypeVar("T")
FIRST_NOW = 1_760_000_000_000


class Crash(BaseException):
    """The process is gone."""


class Clock:
    """One world's milliseconds; a peer's own may be off by its skew."""

    def __init__(self) -> None:
        self.now = FIRST_NOW


def at_once(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run what never has to wait."""
    try:
        coroutine.send(None)
    except StopIteration as done:
        result: T = done.value
        return result
    coroutine.close()
    raise AssertionError("something waited, and there is no event loop here")


class Disk:
    """The store as the writer sees it; told to, the process dies just before or just after the next commit."""

    def __init__(self, rows: MemoryStore) -> None:
        self.rows = rows
        self.crash: str | None = None
        self.changes: list[Change] = []
        """what has been committed since the process started"""
        self.reads: list[str] = []
        """the tables that were read since then"""

    async def load(self, keys: Collection[Key]) -> Any:
        self.reads += [key[0] for key in keys]
        return await self.rows.load(keys)

    def scan(self, *args: Any, **kwargs: Any) -> Any:
        self.reads.append(args[0])
        return self.rows.scan(*args, **kwargs)

    async def apply(self, change: Change) -> None:
        if self.crash == "before":
            raise Crash
        await self.rows.apply(change)
        self.changes.append(change)
        if self.crash == "after":
            raise Crash


class Peer:
    """`boot` is the process starting; everything it sets is lost in a crash."""

    def __init__(
        self, name: str, mechanism: Mechanism, network: MemoryNetwork, clock: Clock, seed: str, secret: bytes = b""
    ) -> None:
        self.name, self.mechanism, self.network, self.clock = name, mechanism, network, clock
        self.random = Random(f"{seed} {name}")
        self.skew = 0
        self.identity = SoftwareIdentity(secret) if secret else SoftwareIdentity.generate(self.random.randbytes)
        self.rows = MemoryStore()
        self.told_once: list[Event] = []
        self.told_ever: list[Event] = []
        self.inbox_told: dict[bytes, bytes] = {}
        self.acked: set[bytes] = set()
        self.boot()

    # --- the process -------------------------------------------------------------------------------------------------

    def boot(self) -> None:
        self.me = Device(self.identity.public, self._installation())
        self.disk = Disk(self.rows)
        self.engine = Engine(Setting(self.me, tuple(self.mechanism.make()), self.mechanism.policy))
        self.sequence = GrowingNanoseconds(self.now, self._last_sequence())
        self.writer = Writer(self.disk, self.engine.restore, self._committed, self._doubted)
        self.doubts = False
        self.queue: list[Departure] = []
        self.had: list[Key] = []
        self.cursors: dict[str, bytes] = {}
        self.echoes: set[bytes] = set()
        self.transport = self.network.transport(self.name)
        self.topics: list[str] = []
        self.left: list[str] = []
        self._look_at_everything()

    def _look_at_everything(self) -> None:
        """At the start, and after a commit of unknown outcome: the store knows what is to be done."""
        self.doubts = False
        self.perform(lambda: self.engine.start(self.moment()))
        known = {departure.key for departure in self.queue} | set(self.had)
        for key, row in self.rows.rows("outbox"):
            out = records.read_outgoing(row.value)
            if key not in known:
                self.queue.append(Departure(key, records.envelope_of(out), out.message, out.peer))

    def _doubted(self) -> None:
        self.doubts = True

    def crash(self) -> None:
        """Killed, and started again from its rows."""
        self.boot()

    def lose_store(self) -> None:
        """Reinstalled: the same person, a new installation, nothing remembered."""
        self.rows = MemoryStore()
        self.inbox_told, self.acked = {}, set()
        self.boot()

    def now(self) -> int:
        return self.clock.now + self.skew

    def moment(self) -> Moment:
        return Moment(Context(self.me, self.now(), self.random.randbytes, self.identity), self.sequence)

    def _installation(self) -> str:
        found = self.rows.read((records.SELF,)).get(records.SELF)
        if found is not None:
            return records.read_self(found.value).installation
        raw = bytearray(self.random.randbytes(16))
        raw[6], raw[8] = raw[6] & 0x0F | 0x40, raw[8] & 0x3F | 0x80
        digits = raw.hex()
        name = "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))
        self.rows.commit(records.first_row(records.SELF, records.write(records.Self(format=1, installation=name))))
        return name

    def _last_sequence(self) -> int:
        last = 0
        for table in ("outbox", "inbox"):
            for key, _ in self.rows.rows(table, reverse=True, limit=1):
                last = max(last, records.split_sequence(key[1]))
        return last

    # --- the writer --------------------------------------------------------------------------------------------------

    def perform(self, flow: Callable[[], Flow[Outcome]]) -> Any:
        return self.perform_together([flow])[0]

    def perform_together(self, flows: list[Callable[[], Flow[Outcome]]]) -> list[Any]:
        """Operations that wait together. The first error is raised, after all have been worked off."""
        operations = [Operation(flow, done=None) for flow in flows]
        self.writer._waiting.extend(operations)
        at_once(self.writer._work())
        if self.doubts:
            self._look_at_everything()
        if self.left:
            left, self.left = self.left, []
            self.perform(lambda: self.engine.leave(left))
        for operation in operations:
            if operation.error is not None:
                raise operation.error
        return [operation.outcome.result for operation in operations if operation.outcome is not None]

    def _committed(self, outcome: Outcome) -> None:
        self.told_once += outcome.events
        self.told_ever += outcome.events
        self.left += outcome.left
        if outcome.unheard:
            self.engine.unlisten(outcome.unheard)
            for topic in outcome.unheard:
                self.transport.watches.pop(topic, None)
        if outcome.channels:
            self._watch(self.engine.listen(outcome.channels))
        for departure in outcome.leave:
            assert departure.key in self.rows.read((departure.key,)), "an envelope leaves that is not committed"
            self.queue.append(departure)

    def _watch(self, topics: list[str]) -> None:
        for topic in topics:
            row = self.rows.read((records.cursor_key(topic),)).get(records.cursor_key(topic))
            self.network.watch(self.transport, topic, row.value if row is not None else None)
            self.topics.append(topic)

    # --- what a person does ------------------------------------------------------------------------------------------

    def code(self) -> ContactCode:
        code: ContactCode = self.ask(self.engine.contact_code)
        return code

    def ask(self, flow: Callable[[], Flow[T]]) -> T:
        def asking() -> Flow[Outcome]:
            return Outcome(Change({}, {}), result=(yield from flow()))

        answer: T = self.perform(asking)
        return answer

    def add(self, code: ContactCode) -> None:
        self.perform(lambda: self.engine.meet(code, "", self.moment()))

    def sending(self, peer: bytes, text: str) -> Callable[[], Flow[Outcome]]:
        return _sending(self, peer, text)  # type: ignore[arg-type]  # a runtime, as far as it goes

    def send(self, peer: bytes, text: str) -> bytes:
        message_id: bytes = self.perform(self.sending(peer, text))
        return message_id

    def read_inbox(self) -> list[DurableEvent]:
        """All that the application is told now: everything in the inbox."""
        inbox = Inbox(self.disk)
        found = [at_once(inbox.read(key, row)) for key, row in list(self.rows.rows("inbox"))]
        return [event for event in found if event is not None]

    def ack(self, receipt: bytes) -> None:
        self.perform(lambda: self.engine.acknowledge(receipt))
        self.acked.add(receipt)

    # --- the wire ----------------------------------------------------------------------------------------------------

    def transmit(self) -> Envelope | None:
        """One envelope to the network. None: there is none, or the network did not take it."""
        if not self.queue:
            return None
        departure = self.queue.pop(0)
        self.echoes.add(_hash(departure.envelope))
        try:
            self.network.publish(self.name, departure.envelope)
        except TransportError:
            self.queue.append(departure)
            return None
        self.had.append(departure.key)
        return departure.envelope

    def note_had(self) -> None:
        """What the network has leaves the outbox."""
        had, self.had = tuple(self.had), []
        if had:
            self.perform(lambda: self.engine.stored(had))

    def pull(self) -> Arrival | None:
        """One arrival is taken in and committed. Its cursor is noted, not yet written."""
        arrival = self.transport.take()
        if arrival is None:
            return None
        if _hash(arrival.envelope) not in self.echoes:
            self.receive(arrival.envelope)
        self.cursors[arrival.envelope.topic] = arrival.cursor
        return arrival

    def receive(self, envelope: Envelope) -> None:
        self.perform(lambda: self.engine.receive(envelope, self.moment()))

    def move_cursors(self) -> None:
        cursors, self.cursors = self.cursors, {}
        if cursors:
            self.perform(lambda: self.engine.mark(cursors))

    def tick(self) -> int | None:
        """Work off one due timer; when the next is due."""
        due: int | None = self.perform(lambda: self.engine.tick(self.moment()))
        return due

    # --- what tests look at ------------------------------------------------------------------------------------------

    def take_events(self) -> list[Event]:
        told, self.told_once = self.told_once, []
        return told

    def refusals(self) -> list[str]:
        return [event.cause for event in self.told_once if isinstance(event, FrameRefused)]

    def table(self, name: str) -> dict[bytes, Versioned]:
        return {key[1]: row for key, row in self.rows.rows(name)}

    def person(self, identity: bytes) -> records.Peer:
        return records.read_peer(self.table("peer")[identity].value)

    def history(self, peer: bytes) -> list[bytes]:
        """Message ids in the order in which they are shown."""
        prefix = records.order_prefix(peer)
        return [key[1][-32:] for key, _ in self.rows.rows("order", prefix, records.prefix_end(prefix))]

    def __repr__(self) -> str:
        return f"<Peer {self.name}>"


def _hash(envelope: Envelope) -> bytes:
    return waku.message_hash(PUBSUB_DEFAULT, envelope)
