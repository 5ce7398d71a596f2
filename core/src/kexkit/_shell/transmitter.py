"""The one place that transmits. It knows committed outbox rows alone, and repeats the same bytes till they are had."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable

import anyio
from anyio.abc import TaskGroup

from kexkit import _records as records
from kexkit._engine.requests import Departure
from kexkit._shell.overlay import Recent
from kexkit._wire import waku
from kexkit._wire.topics import PUBSUB_DEFAULT
from kexkit.api import Envelope, Key, Store, Transport
from kexkit.errors import KexkitError, TransportError, TransportRefused
from kexkit.events import TransportTrouble
from kexkit.limits import BACKOFF_FIRST_S, BACKOFF_LAST_S, OUTBOX_PAGE, PUBLISH_WINDOW, RECENT_ENVELOPES


def foreign_failure(error: BaseException) -> TransportError:
    """A transport's bug must not look like ours, nor end what has nothing to do with it."""
    return TransportError(f"The transport raised {type(error).__name__}.", advice="This is a bug of that plugin.")


class Transmitter:
    """Publishes in order of the outbox, a few at once; what fails goes again after a while."""

    def __init__(
        self,
        store: Store,
        transport: Transport,
        *,
        leaving: Callable[[bytes, bytes], None],
        stored: Callable[[Key], None],
        trouble: Callable[[TransportTrouble], None],
    ) -> None:
        self._store = store
        self._transport = transport
        self._leaving = leaving
        self._stored = stored
        self._trouble = trouble
        self._queue: deque[Departure] = deque()
        self._busy: OrderedDict[Key, None] = OrderedDict()
        self._told: set[Key] = set()
        """of those that are busy or fail: their leaving is told once, however often it is tried"""
        self._bell = anyio.Event()
        self._recent: Recent[bytes, bool] = Recent(RECENT_ENVELOPES)
        self._backoff = BACKOFF_FIRST_S
        self._through = anyio.Event()
        self._failed = 0
        """how many wait to be tried again"""
        self._looks = 0
        """how often it was asked to look again and has not done it yet"""

    def look_again(self) -> None:
        """There may be outbox rows that nobody handed us."""
        self._looks += 1
        self._bell.set()

    def enqueue(self, departure: Departure) -> None:
        """A row that has just been committed."""
        self._queue.append(departure)
        self._bell.set()

    def is_echo(self, envelope: Envelope) -> bool:
        """Ours, come back on a shared topic."""
        return waku.message_hash(PUBSUB_DEFAULT, envelope) in self._recent

    @property
    def idle(self) -> bool:
        return not self._queue and not self._busy and not self._looks

    async def load_backlog(self) -> None:
        """What an earlier run committed and did not get rid of. What the network has already it may get again."""
        known = {item.key for item in self._queue} | self._busy.keys()
        start = b""
        while True:
            page = [row async for row in self._store.scan("outbox", start, limit=OUTBOX_PAGE)]
            for key, row in page:
                outgoing = records.read_outgoing(row.value)
                if key not in known:
                    self.enqueue(Departure(key, records.envelope_of(outgoing), outgoing.message, outgoing.peer))
            if len(page) < OUTBOX_PAGE:
                return
            start = page[-1][0][1] + b"\x00"

    async def run(self, tasks: TaskGroup) -> None:
        window = anyio.Semaphore(PUBLISH_WINDOW)
        while True:
            if self._looks:
                await self._look_again_now()
            while self._queue:
                await window.acquire()
                item = self._queue.popleft()
                self._busy[item.key] = None
                tasks.start_soon(self._publish, item, window)
            await self._bell.wait()
            self._bell = anyio.Event()

    async def _look_again_now(self) -> None:
        asked = self._looks
        try:
            await self.load_backlog()
            self._looks -= asked
        except Exception as failed:
            said = str(failed) if isinstance(failed, KexkitError) else f"The store raised {type(failed).__name__}."
            self._trouble(TransportTrouble(said, BACKOFF_FIRST_S))
            await anyio.sleep(BACKOFF_FIRST_S)
            self._bell.set()

    async def _publish(self, item: Departure, window: anyio.Semaphore) -> None:
        key, envelope = item.key, item.envelope
        try:
            self._recent.put(waku.message_hash(PUBSUB_DEFAULT, envelope), True)
            if item.message_id and key not in self._told:
                self._told.add(key)
                self._leaving(item.message_id, item.peer)
            await self._transport.publish(envelope)
        except TransportRefused as refused:
            self._trouble(TransportTrouble(str(refused), 0.0))
        except Exception as failed:
            window.release()
            await self._later(item, failed if isinstance(failed, KexkitError) else foreign_failure(failed))
            return
        else:
            self._backoff = BACKOFF_FIRST_S
            if self._failed:  # they need not wait any longer for what has come back
                self._through.set()
            self._stored(key)
        self._busy.pop(key, None)
        self._told.discard(key)
        window.release()

    async def _later(self, item: Departure, failed: KexkitError) -> None:
        wait = self._backoff
        self._backoff = min(self._backoff * 2, BACKOFF_LAST_S)
        self._trouble(TransportTrouble(str(failed), wait))
        await self._wait(wait)
        self._busy.pop(item.key, None)
        self._queue.append(item)
        self._bell.set()

    async def _wait(self, seconds: float) -> None:
        """Cut short, but not to nothing, when something gets through."""
        if self._through.is_set():
            self._through = anyio.Event()
        through = self._through
        self._failed += 1
        try:
            await anyio.sleep(BACKOFF_FIRST_S)
            with anyio.move_on_after(seconds - BACKOFF_FIRST_S):
                await through.wait()
        finally:
            self._failed -= 1
