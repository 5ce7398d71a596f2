"""One client at the relay: what it may do, what it is owed.

A reader is pushed back twice. It gets no more arrivals than it granted bytes for; those are read from the ledger when
they are sent, so a paused reader costs the relay nothing and loses nothing. And answers go out on the same connection
without waiting for grants, so a client that publishes while it does not read still hears that its envelope is stored.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from typing import Protocol, TypeAlias

import anyio
from attrs import define, field
from kexkit.api import Envelope
from kexkit.errors import Malformed

from kexkit_transport_relay.committer import Committer, Pending
from kexkit_transport_relay.ledger import Ledger, LedgerFailed
from kexkit_transport_relay.limits import (
    EPHEMERAL_BYTES,
    EPHEMERAL_COUNT,
    MAX_GRANT,
    PAGE_BYTES,
    PAGE_COUNT,
    PENDING_BYTES,
    PENDING_COUNT,
    Pace,
    Quotas,
)
from kexkit_transport_relay.messages import (
    Delivered,
    FromRelay,
    Grant,
    Page,
    Publish,
    Refused,
    Stored,
    ToRelay,
    Unwatch,
    Watch,
    WatchTopic,
    Welcome,
    decode_to_relay,
    encode_from_relay,
)
from kexkit_transport_relay.quotas import Sources, TokenBucket, site_of
from kexkit_transport_relay.websocket import Violation, WebSocket, until_one_ends

Watchers: TypeAlias = dict[str, dict["Connection", int]]
"""topic -> who watches it, under which number"""


class Hub(Protocol):
    """What all connections of one relay share."""

    quotas: Quotas
    pace: Pace
    ledger: Ledger
    committer: Committer
    sources: Sources
    watchers: Watchers


@define
class _Watched:
    topic: str
    sequence: int
    """handed over so far"""
    cursor: bytes


@define(eq=False)
class _Ephemerals:
    """Waiting for a grant, the oldest lost first."""

    waiting: deque[tuple[int, Envelope]] = field(factory=deque)
    size: int = 0

    def add(self, watch: int, envelope: Envelope) -> None:
        self.waiting.append((watch, envelope))
        self.size += len(envelope.payload)
        while len(self.waiting) > EPHEMERAL_COUNT or self.size > EPHEMERAL_BYTES:
            self.pop()

    def pop(self) -> tuple[int, Envelope]:
        watch, envelope = self.waiting.popleft()
        self.size -= len(envelope.payload)
        return watch, envelope


class Connection:
    def __init__(self, hub: Hub, socket: WebSocket, source: str) -> None:
        self._hub, self._socket, self._source = hub, socket, source
        socket.on_control = self._ring
        self._bucket = TokenBucket(hub.quotas.publish_rate, hub.quotas.publish_burst, anyio.current_time())
        self._watched: dict[int, _Watched] = {}
        self._behind: OrderedDict[int, None] = OrderedDict()
        self._ephemerals = _Ephemerals()
        self._allowance = 0
        self._stored: list[int] = []
        self._answers: deque[FromRelay] = deque()
        self._unanswered = 0
        self._unanswered_bytes = 0
        self._bell = anyio.Event()
        self._room = anyio.Event()

    async def run(self) -> None:
        """Until one side ends it."""
        quotas = self._hub.quotas
        self._answers.append(Welcome(self._hub.ledger.relay_id, quotas.max_payload, quotas.topics))
        self._ring()
        code, reason = 1011, "The relay met a fault of its own."
        try:
            ending = await until_one_ends(self._read, self._write)
            code = 1008 if isinstance(ending, Violation) else 1011 if isinstance(ending, LedgerFailed) else 1000
            reason = str(ending.args[0])
        except anyio.get_cancelled_exc_class():
            code, reason = 1001, "The relay stops."
            raise
        finally:
            for watch in list(self._watched):
                self._forget(watch)
            await self._socket.close(code, reason)

    # --- what it says ---

    async def _read(self) -> None:
        while True:
            data = await self._socket.receive()
            try:
                message = decode_to_relay(data)
            except Malformed as error:
                raise Violation(str(error)) from None
            self._obey(message)
            if isinstance(message, Publish):
                await self._hub.committer.wait_for_room()
            while self._crowded():
                self._room = anyio.Event()
                await self._room.wait()

    def _crowded(self) -> bool:
        waiting = self._unanswered + len(self._stored) + len(self._answers)
        return waiting >= PENDING_COUNT or self._unanswered_bytes >= PENDING_BYTES

    def _obey(self, message: ToRelay) -> None:
        if isinstance(message, Publish):
            self._publish(message)
        elif isinstance(message, Watch):
            for topic in message.topics:
                self._watch(topic)
        elif isinstance(message, Unwatch):
            for watch in message.watches:
                self._forget(watch)
        elif isinstance(message, Grant):
            self._allowance = min(self._allowance + message.amount, MAX_GRANT)
        self._ring()

    def _publish(self, message: Publish) -> None:
        refused = self._refusal(message)
        if refused is not None:
            self._answers.append(refused)
        elif message.envelope.ephemeral:
            for connection, watch in self._hub.watchers.get(message.envelope.topic, {}).items():
                connection.pass_on(watch, message.envelope)
            self._stored.append(message.request)
        else:
            self._store(message)

    def _refusal(self, message: Publish) -> Refused | None:
        envelope, quotas, now = message.envelope, self._hub.quotas, anyio.current_time()
        size = len(envelope.payload)
        if size > quotas.max_payload:
            reason = f"The envelope has {size} bytes; this relay carries {quotas.max_payload}."
            return Refused(reason, final=True, request=message.request)
        wait = self._bucket.take(now)
        if wait:
            return self._later("This relay takes so many publications a second and no more.", wait, message)
        if not envelope.ephemeral:
            wait = self._hub.sources.store(self._source, size, now)
            if wait:
                return self._later("This address has stored as much as this relay allows for now.", wait, message)
        return None

    def _later(self, reason: str, seconds: float, message: Publish) -> Refused:
        milliseconds = min(int(seconds * 1000) + 1, 2**32 - 1)
        return Refused(reason, final=False, retry_after_ms=milliseconds, request=message.request)

    def _store(self, message: Publish) -> None:
        request, size = message.request, len(message.envelope.payload)
        self._unanswered += 1
        self._unanswered_bytes += size

        def answer(failure: LedgerFailed | None) -> None:
            self._unanswered -= 1
            self._unanswered_bytes -= size
            if failure is None:
                self._stored.append(request)
            else:
                reason = "The relay cannot store anything at the moment."
                self._answers.append(Refused(reason, final=False, request=request))
            self._ring()

        self._hub.committer.submit(Pending(message.envelope, answer, site_of(self._source)))

    def _watch(self, wanted: WatchTopic) -> None:
        if wanted.watch in self._watched:
            raise Violation("A watch number is in use already.")
        before = self._hub.watchers.get(wanted.topic, {}).get(self)
        if before is not None:  # once is enough: each watch more would be work at every publication
            self._forget(before)
        limit = self._hub.quotas.topics
        final = len(self._watched) >= limit
        reason = (
            f"This relay lets one connection watch {limit} topics." if final else self._hub.sources.watch(self._source)
        )
        if reason is not None:
            self._answers.append(Refused(reason, final=final, watch=wanted.watch))
            return
        sequence, cursor = self._hub.ledger.resume(wanted.topic, wanted.cursor)
        self._watched[wanted.watch] = _Watched(wanted.topic, sequence, cursor)
        self._hub.watchers.setdefault(wanted.topic, {})[self] = wanted.watch
        self._behind[wanted.watch] = None

    def _forget(self, watch: int) -> None:
        watched = self._watched.pop(watch, None)
        if watched is None:
            return
        self._hub.sources.unwatch(self._source)
        self._behind.pop(watch, None)
        watchers = self._hub.watchers[watched.topic]
        del watchers[self]
        if not watchers:
            del self._hub.watchers[watched.topic]

    # --- what it hears ---

    def tell(self, watch: int) -> None:
        """Its topic has something new."""
        self._behind[watch] = None
        self._ring()

    def pass_on(self, watch: int, envelope: Envelope) -> None:
        self._ephemerals.add(watch, envelope)
        self._ring()

    def _ring(self) -> None:
        self._bell.set()

    async def _write(self) -> None:
        while True:
            with anyio.move_on_after(self._hub.pace.ping):
                await self._bell.wait()
            self._socket.ask_if_silent()
            self._bell = anyio.Event()
            while self._put_some():
                await self._socket.flush()
                self._room.set()
            await self._socket.flush()

    def _put_some(self) -> bool:
        """Answers first, then at most one page; False when there is nothing to say."""
        answers = [*self._answers, *([Stored(tuple(self._stored))] if self._stored else [])]
        self._answers.clear()
        self._stored.clear()
        page = self._next_page() if self._allowance > 0 else None
        for message in [*answers, *([page] if page else [])]:
            self._socket.put(encode_from_relay(message))
        return bool(answers or page)

    def _next_page(self) -> Page | None:
        while self._ephemerals.waiting:
            watch, envelope = self._ephemerals.pop()
            watched = self._watched.get(watch)
            if watched is not None:
                return self._spend([_delivered(watch, watched.cursor, envelope)])
        while self._behind:
            watch, _ = self._behind.popitem(last=False)
            watched = self._watched[watch]
            size = min(PAGE_BYTES, self._allowance)
            kept, more = self._hub.ledger.page(watched.topic, watched.sequence, count=PAGE_COUNT, size=size)
            if more:
                self._behind[watch] = None
            if kept:
                watched.sequence, watched.cursor = kept[-1].sequence, kept[-1].cursor
                return self._spend(
                    [Delivered(watch, one.cursor, one.payload, one.version, one.timestamp, False) for one in kept]
                )
        return None

    def _spend(self, arrivals: list[Delivered]) -> Page:
        self._allowance -= sum(one.cost for one in arrivals)
        return Page(tuple(arrivals))


def _delivered(watch: int, cursor: bytes, envelope: Envelope) -> Delivered:
    return Delivered(watch, cursor, envelope.payload, envelope.version, envelope.timestamp, envelope.ephemeral)
