"""The tasks of an open node: write, receive, transmit, keep time."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Any, TypeVar

import anyio
import anyio.lowlevel

from kexkit import _records as records
from kexkit._engine.engine import Engine
from kexkit._engine.requests import Draft, Flow, Moment, Outcome
from kexkit._logging import Log
from kexkit._shell.inbox import Inbox
from kexkit._shell.transmitter import Transmitter, foreign_failure
from kexkit._shell.writer import Writer
from kexkit.api import Arrival, Envelope, Key, Store, Transport, Unpicklable
from kexkit.errors import (
    Conflict,
    KexkitError,
    NodeClosed,
    StorageError,
    StoreCorrupt,
    StoreNewer,
    TransportError,
    TransportRefused,
)
from kexkit.events import Delivery, DeliveryChanged, Event, FrameRefused, TransportTrouble
from kexkit.limits import (
    BACKOFF_FIRST_S,
    BACKOFF_LAST_S,
    CLOCK_BACK_MS,
    CLOSE_GRACE_S,
    CONFIRM_LAG_S,
    SLEEP_LONGEST_S,
    WATCH_CHUNK,
)

T = TypeVar("T")
OF_ONE_ROW = (StoreCorrupt, StoreNewer, Conflict)
"""troubles of a row, not of the whole store"""


class Runtime(Unpicklable):
    """Wires the engine to a store and a transport. Nothing in it decides anything about the protocol."""

    def __init__(self, store: Store, transport: Transport, engine: Engine, moment: Callable[[], Moment]) -> None:
        self._store = store
        self.engine = engine
        self.moment = moment
        self.inbox = Inbox(store)
        self.writer = Writer(store, engine.restore, self._committed, self._doubted)
        self._transport = transport
        self._transmitter = Transmitter(
            store, transport, leaving=self._leaving, stored=self._stored, trouble=self._tell
        )
        self._log = Log()
        self._timers = anyio.Event()
        self._riders = anyio.Event()
        self._topics = anyio.Event()
        self._doubts = anyio.Event()
        self._looking = False
        self._new_topics: list[str] = []
        self._old_topics: set[str] = set()
        self._still_watched: set[str] = set()
        """topics that the transport failed to unwatch"""
        self._cursors: dict[str, bytes] | None = None
        self._had: list[Key] | None = None
        self._latest = 0
        self._open = False

    # --- for the node ------------------------------------------------------------------------------------------------

    async def perform(self, flow: Callable[[], Flow[Outcome]]) -> Any:
        try:
            if not self._open:
                raise NodeClosed()
            return await self.writer.perform(flow)
        except NodeClosed:  # closed by a cancellation that is the caller's too: it is that which they shall see
            await anyio.lowlevel.checkpoint_if_cancelled()
            raise

    @property
    def store(self) -> Store:
        """For reading what is settled."""
        if not self._open:
            raise NodeClosed()
        return self._store

    async def ask(self, flow: Callable[[], Flow[T]]) -> T:
        """A question that changes nothing."""

        def asking() -> Flow[Outcome]:
            result = yield from flow()
            return Draft().outcome(result)

        answer: T = await self.perform(asking)
        return answer

    async def flushed(self) -> None:
        while not self._is_flushed():
            if not self._open:
                raise NodeClosed()
            await anyio.sleep(CONFIRM_LAG_S / 5)

    def _is_flushed(self) -> bool:
        sure = not self._doubts.is_set() and not self._looking
        return sure and self._had is None and not self.writer.has_riders and self._transmitter.idle

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """All tasks live as long as this context. Closing finishes what has begun, and stops."""
        try:
            async with self._tasks():
                yield
        except BaseExceptionGroup as group:  # what the application raised inside comes out as it was
            raise _innermost(group) from None

    @asynccontextmanager
    async def _tasks(self) -> AsyncIterator[None]:
        """The writer outlives the others, so that whatever they have begun is answered."""
        async with anyio.create_task_group() as lasting:
            lasting.start_soon(self.writer.run)
            try:
                self._open = True
                await self.perform(lambda: self.engine.start(self.moment()))
                await self._transmitter.load_backlog()
                async with anyio.create_task_group() as tasks:
                    for task in (self._keep_time, self._let_riders_go, self._make_sure, self._watch, self._receive):
                        tasks.start_soon(task)
                    tasks.start_soon(self._transmitter.run, tasks)
                    self._log.info("node opened")
                    try:
                        yield
                        with anyio.move_on_after(CLOSE_GRACE_S):
                            await self.flushed()
                    finally:
                        tasks.cancel_scope.cancel()
            finally:
                self._open = False
                with anyio.CancelScope(shield=True):
                    await self.writer.close()
                self.inbox.close()

    # --- after a commit ----------------------------------------------------------------------------------------------

    def _committed(self, outcome: Outcome) -> None:
        """The one place where anything that an operation did becomes visible."""
        for event in outcome.events:
            self._tell(event)
        if outcome.left:
            self._look_whether_left(outcome.left)
        if outcome.unheard:
            self._unlisten(outcome.unheard)
        if outcome.channels:
            self._new_topics += self.engine.listen(outcome.channels)
            self._topics.set()
        for departure in outcome.leave:
            self._transmitter.enqueue(departure)
        if any(key[0] == "timer" for key in outcome.change.put):
            self._timers.set()

    def _doubted(self) -> None:
        """A commit may have happened that we were told failed. The store knows: look for all that it would set off."""
        self._doubts.set()
        self.inbox.ring()
        self._timers.set()

    def _tell(self, event: Event) -> None:
        if isinstance(event, FrameRefused):
            self._log.info("frame refused", cause=event.cause, peer=event.peer)
        elif isinstance(event, TransportTrouble):
            self._log.warning("transport trouble", cause=event.cause, seconds=event.retry_in)
        self.inbox.note(event)

    def _leaving(self, message_id: bytes, peer: bytes) -> None:
        self.inbox.note(DeliveryChanged(message_id, peer, Delivery.SENT))

    def _stored(self, key: Key) -> None:
        """The network has it: written down along with whatever is written next."""
        if self._had is not None:
            self._had.append(key)
            return
        had = self._had = [key]

        def flow() -> Flow[Outcome]:
            self._had = None if self._had is had else self._had
            return self.engine.stored(tuple(had))

        self.writer.ride(flow)
        self._riders.set()

    def _read_up_to(self, topic: str, cursor: bytes) -> None:
        if self._cursors is not None:
            self._cursors[topic] = cursor
            return
        cursors = self._cursors = {topic: cursor}

        def flow() -> Flow[Outcome]:
            self._cursors = None if self._cursors is cursors else self._cursors
            return self.engine.mark(cursors)

        self.writer.ride(flow)
        self._riders.set()

    def _look_whether_left(self, topics: tuple[str, ...]) -> None:
        self.writer.ride(lambda: self.engine.leave(topics))
        self._riders.set()

    def _unlisten(self, topics: tuple[str, ...]) -> None:
        """Who listens there later is told of as new, and is watched for again: old topics have their turn first."""
        self.engine.unlisten(topics)
        self._old_topics.update(topics)
        self._new_topics = [topic for topic in self._new_topics if topic not in topics]
        self._topics.set()

    # --- tasks -------------------------------------------------------------------------------------------------------

    async def _let_riders_go(self) -> None:
        while True:
            await self._riders.wait()
            self._riders = anyio.Event()
            await anyio.sleep(CONFIRM_LAG_S)
            if self.writer.has_riders:
                self.writer.ring()

    async def _make_sure(self) -> None:
        """Look what became of commits in doubt: soon, and while more follow, as of a full disk, ever more seldom. For
        each look may end in one, and sends again what the network has already."""
        wait = CONFIRM_LAG_S
        while True:
            begun = anyio.current_time()
            await self._doubts.wait()
            wait = wait * 2 if anyio.current_time() - begun < BACKOFF_FIRST_S else CONFIRM_LAG_S
            self._doubts, self._looking = anyio.Event(), True
            try:
                await self.perform(lambda: self.engine.start(self.moment()))
            except KexkitError as error:
                self._log.warning("work put off", cause=str(error), plugin=getattr(error, "plugin", ""))
                if isinstance(error, StorageError) and not isinstance(error, OF_ONE_ROW):
                    self._doubts.set()
            self._transmitter.look_again()
            self._looking = False
            wait = min(wait, BACKOFF_LAST_S)
            await anyio.sleep(wait)

    async def _keep_time(self) -> None:
        """Sleep until the first timer row is due. There is no other timer."""
        while True:
            self._timers = anyio.Event()
            try:
                await self._look_at_the_clock()
                again = await self.perform(lambda: self.engine.tick(self.moment()))
            except KexkitError as error:
                await self._put_off(error)
                continue
            now = self.moment().now
            if again is not None and again <= now:
                continue
            wait = SLEEP_LONGEST_S if again is None else min((again - now) / 1000, SLEEP_LONGEST_S)
            with anyio.move_on_after(wait):
                await self._timers.wait()

    async def _look_at_the_clock(self) -> None:
        """Set back while we ran: what was planned by it is looked at anew, as at a start."""
        moment = self.moment()
        if moment.now + CLOCK_BACK_MS < self._latest:
            await self.perform(lambda: self.engine.start(moment, set_back=True))
        self._latest = moment.now

    async def _put_off(self, error: KexkitError) -> None:
        """What fails may not keep the rest from its turn; and a store in trouble is asked again a little later."""
        self._log.warning("work put off", cause=str(error), plugin=getattr(error, "plugin", ""))
        if not isinstance(error, StorageError) or isinstance(error, OF_ONE_ROW):
            with suppress(KexkitError):
                await self.perform(lambda: self.engine.put_off(self.moment()))
        await anyio.sleep(BACKOFF_FIRST_S)

    async def _watch(self) -> None:
        """Listen to topics as they become known, from where they were left; and no more where nobody does."""
        while True:
            if self._old_topics or self._new_topics:
                old, self._old_topics = self._old_topics | self._still_watched, set()
                topics, self._new_topics = self._new_topics, []
                await self._unwatch(old)
                await self._persist(partial(self._watch_from_cursors, topics))
                continue
            self._topics = anyio.Event()
            await self._topics.wait()

    async def _unwatch(self, topics: set[str]) -> None:
        """What still comes there does no harm, so a transport that fails to is asked again with the next."""
        self._still_watched = set()
        for chunk in batched(sorted(topics), WATCH_CHUNK):
            try:
                await self._transport.unwatch(chunk)
            except Exception as failed:
                error = failed if isinstance(failed, KexkitError) else foreign_failure(failed)
                self._tell(TransportTrouble(str(error), 0.0))
                self._still_watched.update(topic for topic in chunk if not self.engine.channels_of(topic))

    async def _watch_from_cursors(self, topics: list[str]) -> None:
        keys = [records.cursor_key(topic) for topic in topics]
        rows = await self._store.load(keys)
        cursors = {topic: rows.get(key) for topic, key in zip(topics, keys, strict=True)}
        wanted = [(topic, row.value if row is not None else None) for topic, row in cursors.items()]
        for chunk in batched(wanted, WATCH_CHUNK):
            try:
                await self._transport.watch(dict(chunk))
            except TransportRefused as refused:  # for good: the others need not suffer for these
                self._tell(TransportTrouble(str(refused), 0.0))

    async def _receive(self) -> None:
        """Pull, work out, commit; only then pull the next: a busy node presses back on the transport."""

        async def read() -> None:
            arrivals = self._transport.arrivals()
            try:
                async for arrival in arrivals:
                    await self._take(arrival)
            finally:  # one that is left to be collected is cleaned up somewhere else, some time
                if isinstance(arrivals, AsyncGenerator):
                    await arrivals.aclose()
            raise TransportError("The transport's arrivals came to an end.")  # which is no reason to ask without pause

        while True:
            await self._persist(read)

    async def _take(self, arrival: Arrival) -> None:
        """The cursor moves only past what was dealt with: a store in trouble makes the arrival wait."""
        envelope = arrival.envelope
        wait = BACKOFF_FIRST_S
        while True:
            try:
                if not self._transmitter.is_echo(envelope):
                    await self.perform(lambda: self.engine.receive(envelope, self.moment()))
                break
            except KexkitError as error:
                if await self._set_aside(envelope, error):
                    break
                self._tell(FrameRefused(str(error), None))
                await anyio.sleep(wait)
                wait = min(wait * 2, BACKOFF_LAST_S)
        self._read_up_to(envelope.topic, arrival.cursor)

    async def _set_aside(self, envelope: Envelope, error: KexkitError) -> bool:
        """A damaged row or a broken plugin concerns one arrival: it is held. False: the whole store is in trouble."""
        if isinstance(error, StorageError) and not isinstance(error, OF_ONE_ROW):
            return False
        try:
            await self.perform(lambda: self.engine.set_aside(envelope, error, self.moment()))
        except StorageError:
            return False
        return True

    async def _persist(self, call: Callable[[], Any]) -> None:
        """Call until the transport does it, and the store does. After a long calm the waits begin short again."""
        wait = BACKOFF_FIRST_S
        while True:
            begun = anyio.current_time()
            try:
                await call()
                return
            except Exception as error:
                ours = isinstance(error, (TransportError, StorageError))
                said = str(error if ours else foreign_failure(error))
            if anyio.current_time() - begun > BACKOFF_LAST_S:
                wait = BACKOFF_FIRST_S
            self._tell(TransportTrouble(said, wait))
            await anyio.sleep(wait)
            wait = min(wait * 2, BACKOFF_LAST_S)


def batched(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]


def _innermost(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error
