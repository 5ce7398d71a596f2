"""How long either side waits, and how much it lets wait, at the last moment allowed and the first one refused."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import anyio
import pytest
from anyio.abc import ByteStream, SocketAttribute, SocketListener, SocketStream
from kexkit_transport_relay import Pace, open_relay, serve
from kexkit_transport_relay.limits import (
    CHUNK,
    CONNECT_SECONDS,
    CONTROL_BYTES,
    HANDSHAKE_SECONDS,
    HOUSEKEEPING_SECONDS,
    PATIENCE_SECONDS,
    PING_SECONDS,
    SILENCE_SECONDS,
    STALL_SECONDS,
)
from kexkit_transport_relay.websocket import Gone, Unreachable, Violation, WebSocket
from websockets.frames import Frame, Opcode
from websockets.protocol import OPEN, SERVER, Protocol

from tests.transport.by_hand import PATIENCE, by_hand, envelope, until

pytestmark = pytest.mark.anyio


class Line(ByteStream):
    """What comes is `incoming`, then nothing; what is sent is noted, or never taken."""

    def __init__(self, incoming: bytes = b"", *, stuck: bool = False) -> None:
        self.incoming, self.stuck = incoming, stuck
        self.sent: list[bytes] = []

    async def receive(self, max_bytes: int = 65536) -> bytes:
        if not self.incoming:
            await anyio.sleep_forever()
        piece, self.incoming = self.incoming[:max_bytes], self.incoming[max_bytes:]
        return piece

    async def send(self, item: bytes) -> None:
        if self.stuck:
            await anyio.sleep_forever()
        self.sent.append(item)

    async def send_eof(self) -> None:
        return

    async def aclose(self) -> None:
        return

    @property
    def extra_attributes(self) -> Mapping[Any, Callable[[], Any]]:
        return {}


def socket_on(line: Line, pace: Pace | None = None) -> WebSocket:
    return WebSocket(line, Protocol(SERVER, state=OPEN, max_size=None), [], pace or Pace())


def test_the_usual_pace_is_the_one_with_the_reasons() -> None:
    assert Pace() == Pace(HANDSHAKE_SECONDS, STALL_SECONDS, PING_SECONDS, SILENCE_SECONDS)
    assert SILENCE_SECONDS >= 2 * PING_SECONDS


@pytest.mark.parametrize("over", [-1, 0, 1])
async def test_so_many_bytes_of_answers_to_pings_may_wait(over: int) -> None:
    wanted, pings = CONTROL_BYTES + over, b""
    sizes = [120] * (wanted // 122 - 1)
    rest = wanted - 122 * len(sizes)
    for size in [*sizes, rest // 2 - 2, rest - rest // 2 - 2]:
        pings += Frame(Opcode.PING, bytes(size)).serialize(mask=True)
    message = Frame(Opcode.BINARY, b"after").serialize(mask=True)
    socket = socket_on(Line(pings + message))
    if over <= 0:
        assert await socket.receive() == b"after"
        assert len(socket._outgoing) == wanted
    else:
        with pytest.raises(Violation, match="pings faster"):
            await socket.receive()


@pytest.mark.parametrize("over", [-1, 0, 1])
async def test_the_system_is_handed_so_many_bytes_at_once(over: int) -> None:
    line = Line()
    socket = socket_on(line)
    socket._outgoing += bytes(2 * CHUNK + over)
    await socket.flush()
    assert [len(piece) for piece in line.sent] == [CHUNK, CHUNK + min(over, 0), *([over] if over > 0 else [])]


@pytest.mark.parametrize(("silent", "asks"), [(-0.1, 0), (0.0, 1), (0.1, 1)])
async def test_a_silent_line_is_asked_once_after_a_while(
    silent: float, asks: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    socket = socket_on(Line())
    now = socket.heard
    monkeypatch.setattr("kexkit_transport_relay.websocket.anyio.current_time", lambda: now + PING_SECONDS + silent)
    for _ in range(3):
        socket.ask_if_silent()
    assert len(socket._outgoing) == 2 * asks


@pytest.mark.parametrize(("silent", "gone"), [(-0.1, False), (0.0, False), (0.1, True)])
async def test_a_silent_line_is_given_up_in_the_end(silent: float, gone: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    socket = socket_on(Line())
    now = socket.heard
    monkeypatch.setattr("kexkit_transport_relay.websocket.anyio.current_time", lambda: now + SILENCE_SECONDS + silent)
    if not gone:
        socket.ask_if_silent()
        return
    with pytest.raises(Gone, match="fell silent"):
        socket.ask_if_silent()
    assert socket.dead


async def test_a_line_that_takes_nothing_is_given_up_and_needs_no_goodbye(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kexkit_transport_relay.websocket.CLOSE_SECONDS", 2 * PATIENCE)
    socket = socket_on(Line(stuck=True), Pace(stall=0.05))
    socket.put(b"hello")
    with pytest.raises(Gone, match=r"did not read for 0\.05 seconds"):
        await socket.flush()
    with anyio.fail_after(PATIENCE):
        await socket.close(1000, "")


async def test_a_goodbye_is_not_waited_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kexkit_transport_relay.websocket.CLOSE_SECONDS", 0.1)
    socket = socket_on(Line())
    started = anyio.current_time()
    with anyio.fail_after(PATIENCE):
        await socket.close(1000, "x" * 500)
    assert anyio.current_time() - started > 0.05


async def test_the_relay_looks_for_old_envelopes_from_time_to_time(monkeypatch: pytest.MonkeyPatch) -> None:
    assert HOUSEKEEPING_SECONDS >= 1
    monkeypatch.setattr("kexkit_transport_relay.committer.HOUSEKEEPING_SECONDS", 0.05)
    now = [1_700_000_000.0]
    async with serve(clock=lambda: now[0]) as relay, by_hand(relay.url) as alice:
        await alice.publish(envelope(1))
        await anyio.sleep(0.12)
        assert relay.relay.ledger.count == 1
        now[0] += relay.relay.quotas.keep_seconds + 1
        await until(lambda: relay.relay.ledger.count == 0)


async def test_what_accepts_and_says_nothing_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    assert CONNECT_SECONDS > PATIENCE_SECONDS
    monkeypatch.setattr("kexkit_transport_relay.client.CONNECT_SECONDS", 0.1)
    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    only = listener.listeners[0]
    assert isinstance(only, SocketListener)

    async def mute(stream: SocketStream) -> None:
        async with stream:
            await anyio.sleep_forever()

    async with anyio.create_task_group() as group:
        group.start_soon(listener.serve, mute)
        url = f"ws://127.0.0.1:{only.extra(SocketAttribute.local_port)}"
        async with open_relay({"url": url}) as alice:
            assert alice._patience == PATIENCE_SECONDS
            await alice.watch({"/t": None})
            with pytest.raises(Unreachable, match=r"has not answered in 0\.1 seconds"):
                await anext(alice.arrivals())
        group.cancel_scope.cancel()
    await listener.aclose()
