"""Where the relay listens, whom it lets go, how it stops."""

from __future__ import annotations

from contextlib import suppress

import anyio
import pytest
from anyio.abc import SocketAttribute
from kexkit_transport_relay import Pace, Serving, open_relay, serve
from kexkit_transport_relay.messages import (
    Publish,
)
from kexkit_transport_relay.server import CannotListen
from kexkit_transport_relay.websocket import Gone, NotARelay, connect, read_address

from tests.transport.by_hand import HELLO, PATIENCE, by_hand, envelope, until

pytestmark = pytest.mark.anyio


async def test_a_client_that_fell_silent_is_asked_and_then_dropped_and_one_that_answers_stays() -> None:
    pace = Pace(ping=0.2, silence=2.0)
    async with serve(pace=pace) as relay, open_relay({"url": relay.url, "patience": "20"}) as alice:
        await alice.publish(envelope(1))
        async with await anyio.connect_tcp("127.0.0.1", relay.port) as dead:
            await dead.send(HELLO)
            heard = b""
            with anyio.fail_after(PATIENCE), suppress(anyio.EndOfStream, anyio.BrokenResourceError):
                while True:
                    heard += await dead.receive()
            assert b"\x89\x00" in heard
        await until(lambda: relay.relay.sources.connections == 1)
        connections = alice._connections
        await alice.publish(envelope(2))
        assert alice._connections == connections == 1


async def test_a_fault_of_our_own_ends_one_connection_and_is_counted(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with serve() as relay, by_hand(relay.url) as alice, by_hand(relay.url) as bob:
        with monkeypatch.context() as patch:
            patch.setattr("kexkit_transport_relay.quotas.Sources.store", lambda *_: 1 / 0)
            await alice.say(Publish(1, envelope(1)))
            assert "a fault of its own" in await alice.ending()
            await alice.socket.close(1000, "")
            await until(lambda: relay.relay.faults == 1)
        assert "ZeroDivisionError" in caplog.text
        assert await bob.publish(envelope(1)) == [None]


async def test_a_port_in_use_and_a_host_that_is_not_here_are_said_plainly() -> None:
    async with serve() as relay:
        with pytest.raises(CannotListen, match=f"Port {relay.port} .* in use"):
            async with serve(port=relay.port):
                pass
    for host in ("no.such.host.invalid", "203.0.113.1", "x" * 300):
        with pytest.raises(CannotListen):
            async with serve(host=host):
                pass
    with pytest.raises(CannotListen):
        async with serve(port=70_000):
            pass


async def test_the_relay_listens_on_loopback_unless_told_otherwise() -> None:
    async with serve() as relay:
        assert relay.url == f"ws://127.0.0.1:{relay.port}"
        assert relay.port > 0


async def test_what_the_block_raises_comes_out_as_it_is_and_the_port_is_free_again() -> None:
    seen: list[Serving] = []

    async def stumble() -> None:
        async with serve() as relay:
            seen.append(relay)
            raise KeyError("mine")

    with pytest.raises(KeyError):
        await stumble()
    assert not seen[0].folder.exists()
    async with serve(port=seen[0].port):
        pass


async def test_a_relay_that_stops_says_goodbye() -> None:
    endings: list[str] = []
    async with anyio.create_task_group() as group, serve() as relay:
        alice = by_hand(relay.url)
        socket = (await alice.__aenter__()).socket

        async def listen() -> None:
            try:
                await socket.receive()
            except Gone as error:
                endings.append(str(error))
            await alice.__aexit__(None, None, None)

        group.start_soon(listen)
        await anyio.wait_all_tasks_blocked()
    assert endings == ["The other side closed the connection: The relay stops."]


async def test_something_else_that_listens_is_no_relay() -> None:
    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    port = listener.listeners[0].extra(SocketAttribute.local_port)

    async def web_server(stream: anyio.abc.SocketStream) -> None:
        async with stream:
            await stream.receive()
            await stream.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    async with anyio.create_task_group() as group:
        group.start_soon(listener.serve, web_server)
        with pytest.raises(NotARelay, match="no kexkit relay"):
            await connect(read_address(f"ws://127.0.0.1:{port}"))
        async with open_relay({"url": f"ws://127.0.0.1:{port}", "patience": "20"}) as transport:
            with pytest.raises(NotARelay), anyio.fail_after(PATIENCE):
                await transport.publish(envelope(1))
        group.cancel_scope.cancel()
    await listener.aclose()
