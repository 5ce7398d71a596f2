"""Whole binary messages over a byte stream: websockets' I/O-free protocol in the middle, anyio around it.

One task receives and one sends; answers to pings and closes are left for the sender, so that receiving never waits for
the other side to read. Whatever goes wrong is `Gone` (the line) or `Violation` (the other side).
"""

from __future__ import annotations

import logging
import ssl
from collections import deque
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from urllib.parse import urlsplit

import anyio
from anyio.abc import ByteStream
from attrs import field, frozen
from kexkit.api import Unpicklable
from kexkit.errors import InvalidInput, TransportError
from websockets.client import ClientProtocol
from websockets.exceptions import InvalidHandshake, InvalidStatus, InvalidURI
from websockets.frames import Frame, Opcode
from websockets.http11 import Request, Response
from websockets.protocol import Event, Protocol, State
from websockets.server import ServerProtocol
from websockets.typing import Subprotocol
from websockets.uri import WebSocketURI, parse_uri

from kexkit_transport_relay.limits import (
    CHUNK,
    CLOSE_SECONDS,
    CONTROL_BYTES,
    MAX_MESSAGE,
    PACE,
    Pace,
)
from kexkit_transport_relay.messages import SUBPROTOCOL

LOG = logging.getLogger("kexkit_transport_relay.websocket")
LOG.setLevel(logging.WARNING)  # websockets' debug lines show frames, topics and a password that the URL may hold
CLOSE_REASON_BYTES = 123
"""what RFC 6455 leaves for a reason in a close frame"""


class Gone(TransportError):
    """The connection to the relay ended."""


class Violation(TransportError):
    """The other side of a relay connection broke the protocol."""


class NotARelay(TransportError):
    """What answers there is no relay of kexkit."""


class Unreachable(TransportError):
    """Nothing answers there."""


class BadAddress(InvalidInput, TransportError):
    """The relay's address, or another setting, cannot be used."""


async def until_one_ends(*loops: Callable[[], Awaitable[None]]) -> TransportError:
    """Run them together until the first ends; say how it ended."""
    endings: list[TransportError] = []

    async with anyio.create_task_group() as group:

        async def run(loop: Callable[[], Awaitable[None]]) -> None:
            try:
                await loop()
            except TransportError as error:
                endings.append(error)
            group.cancel_scope.cancel()

        for loop in loops:
            group.start_soon(run, loop)
    return endings[0] if endings else Gone()


class WebSocket:
    """An open connection. `on_control` is called when answers wait to be flushed."""

    def __init__(self, stream: ByteStream, protocol: Protocol, events: list[Event], pace: Pace) -> None:
        self._stream = stream
        self._protocol = protocol
        self._pace = pace
        self._frames: deque[Frame] = deque(event for event in events if isinstance(event, Frame))
        self._message = bytearray()
        self._outgoing = bytearray()
        self._control = 0
        self.on_control: Callable[[], None] = lambda: None
        self.heard = self._asked = anyio.current_time()
        self.dead = False
        """nobody answers there, so that no goodbye is worth waiting for"""

    async def receive(self) -> bytes:
        """The next whole message, or Gone, or Violation."""
        while True:
            while self._frames:
                frame = self._frames.popleft()
                if frame.opcode is Opcode.TEXT:
                    raise Violation("A relay's messages are binary; this one is text.")
                if frame.opcode is Opcode.BINARY or frame.opcode is Opcode.CONT:
                    self._message += frame.data
                    if frame.fin:
                        message, self._message = bytes(self._message), bytearray()
                        return message
            self._raise_if_over()
            await self._feed()

    async def _feed(self) -> None:
        try:
            data = await self._stream.receive()
        except (anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError, OSError):
            raise Gone() from None
        self.heard = anyio.current_time()
        self._protocol.receive_data(data)
        self._frames.extend(event for event in self._protocol.events_received() if isinstance(event, Frame))
        answers = b"".join(self._protocol.data_to_send())
        if answers:
            self._outgoing += answers
            self._control += len(answers)
            if self._control > CONTROL_BYTES:
                raise Violation("It pings faster than it reads the answers.")
            self.on_control()

    def _raise_if_over(self) -> None:
        if self._protocol.parser_exc is not None:
            raise Violation(f"A frame breaks the WebSocket protocol: {self._protocol.parser_exc}.")
        if self._protocol.state is not State.OPEN:
            said = self._protocol.close_rcvd
            reason = "".join(char for char in said.reason if char.isprintable()) if said else ""
            raise Gone(f"The other side closed the connection{': ' + reason if reason else '.'}")

    def put(self, message: bytes) -> None:
        """To be sent by the next flush."""
        if self._protocol.state is State.OPEN:
            self._protocol.send_binary(message)
            self._outgoing += b"".join(self._protocol.data_to_send())

    def ask_if_silent(self) -> None:
        """A ping if nothing was heard for a while; Gone if for too long."""
        now = anyio.current_time()
        if now - self.heard > self._pace.silence:
            self.dead = True
            raise Gone("The other side fell silent.")
        if now - max(self.heard, self._asked) >= self._pace.ping and self._protocol.state is State.OPEN:
            self._asked = now
            self._protocol.send_ping(b"")
            self._outgoing += b"".join(self._protocol.data_to_send())

    async def flush(self) -> None:
        """Send what waits. Gone, if the other side does not read."""
        self._control = 0
        try:
            while self._outgoing:
                piece = bytes(self._outgoing[:CHUNK])
                with anyio.fail_after(self._pace.stall):
                    await self._stream.send(piece)
                del self._outgoing[: len(piece)]  # only now: a flush that is cancelled leaves its words to `close`
        except TimeoutError:
            self.dead = True
            raise Gone(f"The other side did not read for {self._pace.stall:g} seconds.") from None
        except (anyio.BrokenResourceError, anyio.ClosedResourceError, OSError):
            raise Gone() from None

    async def close(self, code: int, reason: str) -> None:
        """Say goodbye if that goes quickly, and let the line go."""
        with anyio.move_on_after(0 if self.dead else CLOSE_SECONDS, shield=True):
            if self._protocol.state is State.OPEN:
                self._protocol.send_close(code, reason.encode()[:CLOSE_REASON_BYTES].decode(errors="ignore"))
            self._outgoing += b"".join(self._protocol.data_to_send())
            await hang_up(self._stream, bytes(self._outgoing))
        with anyio.CancelScope(shield=True):
            await anyio.aclose_forcefully(self._stream)


async def hang_up(stream: ByteStream, last_words: bytes) -> None:
    """Send the last bytes and read until the other side is done: closing over unread bytes would take them back."""
    try:
        if last_words:
            await stream.send(last_words)
        await stream.send_eof()
        while True:
            await stream.receive()
    except (anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError, OSError, NotImplementedError):
        return  # a TLS stream cannot send its end alone


# --- the relay's side ---------------------------------------------------------------------------------------------


async def accept(stream: ByteStream, turned_away: tuple[HTTPStatus, str] | None, pace: Pace = PACE) -> WebSocket:
    """Answer a WebSocket handshake. Browsers' pages (anything with an Origin) are refused: this is no web service."""
    protocol = ServerProtocol(origins=[None], subprotocols=[Subprotocol(SUBPROTOCOL)], max_size=MAX_MESSAGE, logger=LOG)
    try:
        with anyio.fail_after(pace.handshake):
            events = await _first_events(stream, protocol)
            request = events.pop(0) if events else None
            if not isinstance(request, Request) or protocol.eof_sent or protocol.parser_exc is not None:
                await hang_up(stream, b"".join(protocol.data_to_send()))
                raise Violation("What came was no WebSocket handshake.")
            response = protocol.reject(*turned_away) if turned_away else protocol.accept(request)
            protocol.send_response(response)
            if response.status_code != HTTPStatus.SWITCHING_PROTOCOLS:
                await hang_up(stream, b"".join(protocol.data_to_send()))
                raise Violation(f"The handshake was refused with status {response.status_code}.")
            await stream.send(b"".join(protocol.data_to_send()))
    except TimeoutError:
        raise Gone("The handshake did not come in time.") from None
    except (anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError, OSError):
        raise Gone() from None
    return WebSocket(stream, protocol, events, pace)


async def _first_events(stream: ByteStream, protocol: Protocol) -> list[Event]:
    while not (events := protocol.events_received()) and protocol.handshake_exc is None:
        protocol.receive_data(await stream.receive())
    return events


# --- the client's side --------------------------------------------------------------------------------------------


@frozen
class Address(Unpicklable):
    """Where a relay is. Its text never shows a password that the URL may hold."""

    uri: WebSocketURI = field(repr=False)
    trust: ssl.SSLContext | None = field(default=None, repr=False)

    def __str__(self) -> str:
        host = f"[{self.uri.host}]" if ":" in self.uri.host else self.uri.host
        return f"{'wss' if self.uri.secure else 'ws'}://{host}:{self.uri.port}"


def read_address(url: str, ca: str | None = None) -> Address:
    """`ws://host:port`, or `wss://` for TLS; `ca` is a file of certificates to trust instead of the system's."""
    try:
        uri = parse_uri(url)
    except (InvalidURI, ValueError, UnicodeError):
        shown = url if "@" not in url else f"{urlsplit(url).scheme}://…"
        raise BadAddress(f"{shown!r} is no relay's address.", advice="It looks like ws://127.0.0.1:8765.") from None
    try:
        trust = ssl.create_default_context(cafile=ca) if uri.secure else None
    except (OSError, ssl.SSLError):
        raise BadAddress(f"The certificates in {ca!r} cannot be read.", advice="Give a PEM file.") from None
    return Address(uri, trust)


async def connect(address: Address, pace: Pace = PACE) -> WebSocket:
    """One attempt, without a time limit of its own: TCP, TLS, handshake."""
    stream = await _dial(address)
    try:
        return await _introduce(stream, address, pace)
    except BaseException:
        with anyio.CancelScope(shield=True):
            await anyio.aclose_forcefully(stream)
        raise


async def _dial(address: Address) -> ByteStream:
    host, port = address.uri.host, address.uri.port
    try:
        if address.trust is None:
            return await anyio.connect_tcp(host, port)
        return await anyio.connect_tcp(
            host, port, tls=True, ssl_context=address.trust, tls_hostname=host, tls_standard_compatible=False
        )
    except ssl.SSLCertVerificationError as error:
        raise NotARelay(
            f"The certificate of {address} is not trusted ({error.verify_message}).",
            advice="Check the address; for a private authority give its certificate as 'ca'.",
        ) from None
    except (ssl.SSLError, anyio.BrokenResourceError, anyio.EndOfStream):
        raise NotARelay(f"{address} does not speak TLS.", advice="Try ws:// instead of wss://.") from None
    except OSError as error:
        if isinstance(error.__cause__, ConnectionRefusedError):
            raise Unreachable(f"No relay listens on {address}.", advice="Start one with `kexkit relay`.") from None
        raise Unreachable(f"{address} cannot be reached ({error}).", advice="Check address and network.") from None


async def _introduce(stream: ByteStream, address: Address, pace: Pace) -> WebSocket:
    protocol = ClientProtocol(address.uri, subprotocols=[Subprotocol(SUBPROTOCOL)], max_size=MAX_MESSAGE, logger=LOG)
    protocol.send_request(protocol.connect())
    try:
        await stream.send(b"".join(protocol.data_to_send()))
        events = await _first_events(stream, protocol)
    except (anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError, OSError):
        raise Gone(f"{address} closed the connection during the handshake.") from None
    refusal = protocol.handshake_exc
    if isinstance(refusal, InvalidStatus) and refusal.response.status_code in (
        HTTPStatus.TOO_MANY_REQUESTS,
        HTTPStatus.SERVICE_UNAVAILABLE,
    ):
        raise Unreachable(f"{address} takes no more connections now.", advice="It is tried again.")
    if isinstance(refusal, InvalidHandshake) or refusal is not None or protocol.subprotocol != SUBPROTOCOL:
        raise NotARelay(f"What answers on {address} is no kexkit relay.", advice="Check the address.") from None
    assert isinstance(events[0], Response)
    return WebSocket(stream, protocol, events[1:], pace)
