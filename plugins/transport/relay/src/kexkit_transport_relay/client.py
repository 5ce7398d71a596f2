"""The client: a Transport that connects when it is first needed, and again whenever it must.

What is watched and what is not yet confirmed belongs to the transport, not to a connection: a new connection takes
both up where the last one stood.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping
from contextlib import asynccontextmanager

import anyio
import anyio.lowlevel
from attrs import frozen
from kexkit.api import Arrival, Envelope
from kexkit.errors import InvalidInput, Malformed, TransportError, TransportRefused

from kexkit_transport_relay.backoff import Backoff
from kexkit_transport_relay.inbox import Inbox
from kexkit_transport_relay.limits import (
    CONNECT_SECONDS,
    IN_FLIGHT,
    MAX_PAYLOAD,
    PACE,
    PATIENCE_SECONDS,
    WATCHES_PER_MESSAGE,
    Pace,
)
from kexkit_transport_relay.messages import (
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
    check_envelope,
    check_topic,
    decode_from_relay,
    encode_to_relay,
)
from kexkit_transport_relay.untold import Publication, TurnedAway, not_watched
from kexkit_transport_relay.websocket import (
    Address,
    BadAddress,
    Gone,
    NotARelay,
    Unreachable,
    Violation,
    WebSocket,
    connect,
    read_address,
    until_one_ends,
)


class RelayTransport:
    """Made by `open_relay`. `trouble` says why there is no connection, if there is none."""

    def __init__(self, address: Address, *, patience: float, pace: Pace, backoff: Backoff) -> None:
        self.address = address
        self.trouble: TransportError | None = None
        self._patience, self._pace, self._backoff = patience, pace, backoff
        self._open = True
        self._needed = anyio.Event()
        self._socket: WebSocket | None = None
        self._max_payload = MAX_PAYLOAD
        self._max_topics: int | None = None
        """not known before a relay said so"""
        self._inbox = Inbox()
        self._publications: dict[int, Publication] = {}
        self._slots = anyio.CapacityLimiter(IN_FLIGHT)
        self._request = 0
        self._news: anyio.Event | None = None
        self._bad_news: TransportError | None = None
        self._told = ""
        self._turned_away = TurnedAway()
        self._connections = 0
        self._unserved: set[int] = set()
        self._asked_again = 0.0
        self._outgoing: deque[ToRelay] = deque()
        self._bell = anyio.Event()
        self._suspicion = anyio.Event()

    # --- the contract ---

    async def publish(self, envelope: Envelope) -> None:
        """Returned: the relay has it on stable storage. It sends the same bytes again until then, or gives up."""
        self._must_be_open()
        check_envelope(envelope, self._max_payload)
        publication = Publication(envelope)
        with anyio.move_on_after(self._patience):
            async with self._slots:
                await self._until_stored(publication)
                return
        if publication.refusal is not None:
            raise TransportError(publication.refusal.reason)
        if self._socket is None:
            raise self.trouble or Unreachable(f"{self.address} has not answered in {self._patience:g} seconds.")
        if anyio.current_time() - self._socket.heard > self._patience / 2:
            self._suspicion.set()  # a line that is dead on the other side looks like this, often for minutes
        raise Gone(f"{self.address} has not confirmed the envelope in {self._patience:g} seconds.")

    async def _until_stored(self, publication: Publication) -> None:
        while True:
            await self._ask(publication)
            if publication.failure is not None:
                raise publication.failure
            refusal = publication.refusal
            if refusal is None:
                return
            if refusal.final:
                raise TransportRefused(refusal.reason)
            if not 0 < refusal.retry_after_ms < self._patience * 1000:
                raise TransportError(refusal.reason)
            await anyio.sleep(refusal.retry_after_ms / 1000)
            publication.done, publication.refusal = anyio.Event(), None

    async def _ask(self, publication: Publication) -> None:
        self._request += 1
        request = self._request
        self._publications[request] = publication
        try:
            self._say(Publish(request, publication.envelope))
            await publication.done.wait()
        finally:
            del self._publications[request]

    async def watch(self, topics: Mapping[str, bytes | None]) -> None:
        """Topics watched already begin again at the cursor given now.

        TransportRefused: some are more than the relay watches for one connection; all others are watched. Before the
        first connection nobody knows that number; then `arrivals` says the same, and those are not asked for again.
        """
        self._must_be_open()
        for topic in topics:
            check_topic(topic)
        fitting = self._inbox.fitting(topics, self._max_topics)
        self._forget(fitting)
        self._ask_for(self._inbox.add(fitting))
        await anyio.lowlevel.checkpoint()
        if len(fitting) < len(topics):
            reason = f"This relay lets one connection watch {self._max_topics} topics."
            raise not_watched(reason, len(topics) - len(fitting))

    async def unwatch(self, topics: Collection[str]) -> None:
        self._must_be_open()
        self._forget(topics)
        await anyio.lowlevel.checkpoint()

    def arrivals(self) -> AsyncIterator[Arrival]:
        return _Arrivals(self)

    async def next(self) -> Arrival:
        """What `arrivals` gives. Raises once for each outage and for topics refused; reading on is always possible."""
        if self._news is not None:
            raise InvalidInput("These arrivals have a reader already: a transport has one.")
        await anyio.lowlevel.checkpoint()
        while (arrival := self._inbox.pop()) is None:
            if not self._open:
                raise StopAsyncIteration
            self._turned_away.tell()
            if self._bad_news is not None:
                error, self._bad_news = self._bad_news, None
                raise error
            self._news = anyio.Event()
            try:
                await self._news.wait()
            finally:
                self._news = None
        self._give_back()
        return arrival

    # --- inside ---

    def close(self) -> None:
        self._open = False
        for publication in self._publications.values():
            publication.settle(failure=_closed())
        self._wake_reader()

    def _must_be_open(self) -> None:
        if not self._open:
            raise _closed()

    def _say(self, message: ToRelay) -> None:
        """Now if there is a connection; a new connection says all that still matters by itself."""
        self._needed.set()
        if self._socket is not None:
            self._outgoing.append(message)
            self._bell.set()

    def _ask_for(self, topics: list[WatchTopic]) -> None:
        for start in range(0, len(topics), WATCHES_PER_MESSAGE):
            self._say(Watch(tuple(topics[start : start + WATCHES_PER_MESSAGE])))

    def _forget(self, topics: Collection[str]) -> None:
        numbers = self._inbox.remove(topics)
        for start in range(0, len(numbers), WATCHES_PER_MESSAGE):
            self._say(Unwatch(tuple(numbers[start : start + WATCHES_PER_MESSAGE])))
        self._give_back()

    def _give_back(self) -> None:
        grant = self._inbox.next_grant() if self._socket is not None else 0
        if grant:
            self._say(Grant(grant))

    def _wake_reader(self) -> None:
        if self._news is not None:
            self._news.set()

    def _tell_reader(self, error: TransportError) -> None:
        self._bad_news = error
        self._wake_reader()

    # --- connections ---

    async def run(self) -> None:
        """Connect when needed, for ever."""
        await self._needed.wait()
        while True:
            begun = self._connections
            self.trouble = trouble = await self._one_connection()
            if self._connections == begun and str(trouble) != self._told:
                self._told = str(trouble)
                self._tell_reader(trouble)
            if isinstance(trouble, NotARelay):
                for publication in self._publications.values():
                    publication.settle(failure=trouble)
            await self._backoff.pause(self._needed)

    async def _one_connection(self) -> TransportError:
        socket: WebSocket | None = None
        try:
            with anyio.fail_after(CONNECT_SECONDS):
                socket = await connect(self.address, self._pace)
                welcome = _understood(await socket.receive())
            if not isinstance(welcome, Welcome):
                raise NotARelay(f"What answers on {self.address} does not introduce itself as a relay.")
            self._begin(welcome, socket)
            return await until_one_ends(
                lambda: self._read(socket), lambda: self._write(socket), lambda: self._distrust(socket)
            )
        except TimeoutError:
            return Unreachable(f"{self.address} has not answered in {CONNECT_SECONDS:g} seconds.")
        except TransportError as error:
            return error
        finally:
            self._socket, self._needed = None, anyio.Event()
            if socket is not None:
                await socket.close(1000, "")

    def _begin(self, welcome: Welcome, socket: WebSocket) -> None:
        socket.on_control = self._ring
        self._max_payload, self._max_topics = welcome.max_payload, welcome.max_topics
        self.trouble, self._socket, self._suspicion = None, socket, anyio.Event()
        self._bad_news, self._told = None, ""
        self._connections += 1
        self._backoff.connected()
        self._outgoing.clear()
        self._unserved, self._asked_again = set(), anyio.current_time()
        room = self._inbox.first_grant()
        if room:
            self._say(Grant(room))
        self._ask_for(self._inbox.wanted())
        for request, publication in self._publications.items():
            self._say(Publish(request, publication.envelope))

    def _ring(self) -> None:
        self._bell.set()

    async def _distrust(self, socket: WebSocket) -> None:
        await self._suspicion.wait()
        socket.dead = True
        raise Gone(f"{self.address} stopped answering.")

    async def _write(self, socket: WebSocket) -> None:
        while True:
            while self._outgoing:
                message = self._outgoing.popleft()
                if not isinstance(message, Publish) or message.request in self._publications:
                    socket.put(encode_to_relay(message))
                    await socket.flush()
            await socket.flush()
            with anyio.move_on_after(self._pace.ping):
                await self._bell.wait()
            self._bell = anyio.Event()
            socket.ask_if_silent()
            self._ask_again()

    def _ask_again(self) -> None:
        """For topics that the relay had no room for, from time to time."""
        now = anyio.current_time()
        if not self._unserved or now - self._asked_again < self._pace.ping:
            return
        unserved, self._unserved, self._asked_again = self._unserved, set(), now
        self._ask_for([topic for topic in self._inbox.wanted() if topic.watch in unserved])

    async def _read(self, socket: WebSocket) -> None:
        while True:
            message = _understood(await socket.receive())
            if isinstance(message, Stored):
                for request in message.requests:
                    self._settle(request, None)
            elif isinstance(message, Page):
                for delivered in message.arrivals:
                    if not self._inbox.take(delivered):
                        raise Violation("The relay sends more than it was granted.")
                self._give_back()
                self._wake_reader()
            elif isinstance(message, Refused):
                self._refused(message)
            else:
                raise Violation("The relay introduced itself twice.")

    def _settle(self, request: int, refusal: Refused | None) -> None:
        publication = self._publications.get(request)
        if publication is not None:
            publication.settle(refusal=refusal)

    def _refused(self, refusal: Refused) -> None:
        if refusal.request is not None:
            self._settle(refusal.request, refusal)
            return
        watch = refusal.watch or 0
        topic = self._inbox.topic_of(watch)
        if topic is None:
            return
        if refusal.final:
            self._inbox.abandon(watch)
            self._turned_away.add(refusal.reason)
            self._wake_reader()
        else:
            self._unserved.add(watch)
            said = f"{refusal.reason} {topic} is not watched."
            self._tell_reader(TransportError(said, advice="It is asked for again."))


@frozen
class _Arrivals:
    """Not an async generator: a reader that is cancelled or leaves its loop loses nothing and can come back."""

    _transport: RelayTransport

    def __aiter__(self) -> _Arrivals:
        return self

    async def __anext__(self) -> Arrival:
        return await self._transport.next()


def _closed() -> TransportError:
    return TransportError("This transport is closed.", advice="Open it again.")


def _understood(data: bytes) -> FromRelay:
    try:
        return decode_from_relay(data)
    except Malformed as error:
        raise Violation(str(error)) from None


@asynccontextmanager
async def open_relay(
    settings: Mapping[str, str],
    *,
    pace: Pace = PACE,
    jitter: Callable[[], float] = random.random,
    sleep: Callable[[float], Awaitable[None]] = anyio.sleep,
) -> AsyncIterator[RelayTransport]:
    """`url` (ws:// or wss://), and perhaps `ca` (a PEM file) and `patience` (seconds for `publish`)."""
    if unknown := sorted(settings.keys() - {"url", "ca", "patience"}):
        raise BadAddress(f"The relay transport has no setting {unknown[0]!r}.", advice="It has: url, ca, patience.")
    if "url" not in settings:
        raise BadAddress("The relay transport needs a 'url'.", advice="It looks like ws://127.0.0.1:8765.")
    try:
        patience = float(settings.get("patience", PATIENCE_SECONDS))
    except ValueError:
        patience = 0.0
    if not patience > 0:
        raise BadAddress(f"The relay transport's 'patience' is seconds, not {settings['patience']!r}.")
    address = read_address(settings["url"], settings.get("ca"))
    transport = RelayTransport(address, patience=patience, pace=pace, backoff=Backoff(jitter, sleep))
    failure: Exception | None = None
    async with anyio.create_task_group() as group:
        group.start_soon(transport.run)
        try:
            yield transport
        except Exception as error:  # the caller's, which a task group would wrap
            failure = error
        transport.close()
        group.cancel_scope.cancel()
    if failure is not None:
        raise failure
