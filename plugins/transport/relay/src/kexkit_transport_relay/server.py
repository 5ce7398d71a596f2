"""The relay itself: listens, admits connections, and keeps what they share."""

from __future__ import annotations

import errno
import logging
import socket
import ssl
import time
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack, asynccontextmanager, suppress
from http import HTTPStatus
from pathlib import Path
from tempfile import TemporaryDirectory

import anyio
from anyio.abc import ByteStream, SocketAttribute, SocketListener, SocketStream
from anyio.streams.tls import TLSStream
from attrs import field, frozen
from kexkit.errors import TransportError

from kexkit_transport_relay.committer import Committer
from kexkit_transport_relay.connection import Connection, Watchers
from kexkit_transport_relay.ledger import Ledger
from kexkit_transport_relay.limits import HANDSHAKES_BEYOND, PACE, SEND_BUFFER, Pace, Quotas
from kexkit_transport_relay.quotas import Sources, source_of
from kexkit_transport_relay.websocket import Gone, accept

LOG = logging.getLogger("kexkit_transport_relay")
LOOPBACK = "127.0.0.1"
DEFAULT_QUOTAS = Quotas()
NO_FILES = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.ECONNABORTED})
"""what accepting a connection may fail with although the listener is well"""
BREATH = 0.1
"""seconds before accepting again after one of those"""


class CannotListen(TransportError):
    """The relay cannot listen there."""


@frozen
class Serving:
    """A relay that listens."""

    url: str
    host: str
    port: int
    folder: Path
    relay: Relay = field(repr=False)


class Relay:
    """What all connections share. `faults` counts connections that ended in an error of our own making."""

    def __init__(self, ledger: Ledger, quotas: Quotas, pace: Pace, tls: ssl.SSLContext | None) -> None:
        self.ledger, self.quotas, self.pace, self._tls = ledger, quotas, pace, tls
        self.sources = Sources(quotas)
        self.watchers: Watchers = {}
        self.committer = Committer(ledger, self._tell)
        self.faults = 0
        self._streams = 0

    def _tell(self, topics: set[str]) -> None:
        for topic in topics:
            for connection, watch in self.watchers.get(topic, {}).items():
                connection.tell(watch)

    async def listen(self, listener: SocketListener) -> None:
        async with anyio.create_task_group() as group:
            while True:
                try:
                    stream = await listener.accept()
                except OSError as error:
                    if error.errno not in NO_FILES:
                        raise
                    await anyio.sleep(BREATH)
                    continue
                if self._streams >= self.quotas.connections + HANDSHAKES_BEYOND:
                    await anyio.aclose_forcefully(stream)
                    continue
                self._streams += 1
                group.start_soon(self._meet, stream)

    async def _meet(self, stream: SocketStream) -> None:
        host = stream.extra(SocketAttribute.remote_address, ("", 0))[0]  # noqa: S610  anyio's extra, not Django's
        source = source_of(str(host))
        _bound_send_buffer(stream)
        refusal = self.sources.enter(source)
        try:
            await self._serve(stream, source, refusal)
        except TransportError as error:
            LOG.debug("a connection from %s ended: %s", source, error)
        except Exception:  # one connection must never end the others, whatever it met
            self.faults += 1
            LOG.exception("a connection from %s ended in a fault of the relay", source)
        finally:
            self._streams -= 1
            if refusal is None:
                self.sources.leave(source)
            with anyio.CancelScope(shield=True):
                await anyio.aclose_forcefully(stream)

    async def _serve(self, plain: SocketStream, source: str, refusal: str | None) -> None:
        stream = plain if self._tls is None else await self._secure(plain, self._tls)
        turned_away = None if refusal is None else (HTTPStatus.SERVICE_UNAVAILABLE, refusal + "\n")
        await Connection(self, await accept(stream, turned_away, self.pace), source).run()

    async def _secure(self, plain: SocketStream, tls: ssl.SSLContext) -> ByteStream:
        try:
            with anyio.fail_after(self.pace.handshake):
                return await TLSStream.wrap(plain, server_side=True, ssl_context=tls, standard_compatible=False)
        except (ssl.SSLError, anyio.BrokenResourceError, anyio.EndOfStream, OSError):
            raise Gone("The TLS handshake failed.") from None


def _bound_send_buffer(stream: SocketStream) -> None:
    with suppress(
        OSError, anyio.TypedAttributeLookupError
    ):  # the connection is gone already, which its first use will say
        raw: socket.socket = stream.extra(SocketAttribute.raw_socket)  # noqa: S610  anyio's extra, not Django's
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)


@asynccontextmanager
async def serve(
    folder: Path | None = None,
    *,
    host: str = LOOPBACK,
    port: int = 0,
    quotas: Quotas = DEFAULT_QUOTAS,
    tls: ssl.SSLContext | None = None,
    clock: Callable[[], float] = time.time,
    pace: Pace = PACE,
) -> AsyncIterator[Serving]:
    """A relay that serves until the block is left. Port 0: any free one. No folder: one that is deleted afterwards."""
    failure: Exception | None = None
    with ExitStack() as undo:
        home = folder or Path(undo.enter_context(TemporaryDirectory(prefix="kexkit-relay-")))
        ledger = Ledger(home, quotas, clock=clock)
        undo.callback(ledger.close)
        listeners = await _listen(host, port)
        relay = Relay(ledger, quotas, pace, tls)
        try:
            async with anyio.create_task_group() as group:
                group.start_soon(relay.committer.run)
                group.start_soon(relay.committer.keep_house)
                for listener in listeners:
                    group.start_soon(relay.listen, listener)
                real = int(listeners[0].extra(SocketAttribute.local_port))  # noqa: S610  as above
                shown = f"[{host}]" if ":" in host else host
                try:
                    yield Serving(f"{'wss' if tls else 'ws'}://{shown}:{real}", host, real, home, relay)
                except Exception as error:  # the caller's, which a task group would wrap
                    failure = error
                group.cancel_scope.cancel()
        finally:
            with anyio.CancelScope(shield=True):
                for listener in listeners:
                    await listener.aclose()
    if failure is not None:
        raise failure


async def _listen(host: str, port: int) -> list[SocketListener]:
    if not 0 <= port <= 65535:
        raise CannotListen(f"{port} is no port: 0 to 65535.")
    try:
        several = await anyio.create_tcp_listener(local_host=host, local_port=port)
        return [listener for listener in several.listeners if isinstance(listener, SocketListener)]
    except (socket.gaierror, UnicodeError):
        raise CannotListen(f"There is no address called {host!r} here.") from None
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise CannotListen(f"Port {port} of {host} is in use.", advice="Choose another with --port.") from None
        raise CannotListen(f"The relay cannot listen on port {port} of {host} ({error.strerror}).") from None
