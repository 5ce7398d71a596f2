"""The client: connects when needed, again when it must, says plainly why it cannot, and loses nothing meanwhile."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest
from anyio.abc import SocketAttribute, SocketListener, SocketStream
from kexkit.errors import TransportError, TransportRefused
from kexkit.testing.transport_kit import publish_all, read_until
from kexkit_transport_relay import Pace, Quotas, RelayTransport, open_relay, serve
from kexkit_transport_relay.limits import IN_FLIGHT, MAX_PAYLOAD, PATIENCE_SECONDS, RETRY_FIRST
from kexkit_transport_relay.messages import Refused, Stored, Welcome, encode_from_relay
from kexkit_transport_relay.websocket import Gone, NotARelay, Unreachable, WebSocket, accept

from tests.transport.by_hand import PATIENCE, TOPIC, envelope, envelopes, quick, until

pytestmark = pytest.mark.anyio
NOWHERE = "ws://127.0.0.1:9"


@asynccontextmanager
async def pretending(behaviour: Callable[[WebSocket], Awaitable[None]]) -> AsyncIterator[str]:
    """Something that shakes hands as a relay does, and then behaves as told."""
    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    only = listener.listeners[0]
    assert isinstance(only, SocketListener)

    async def serve_one(stream: SocketStream) -> None:
        async with stream:
            try:
                await behaviour(await accept(stream, None))
            except TransportError:
                return

    async with anyio.create_task_group() as group:
        group.start_soon(listener.serve, serve_one)
        yield f"ws://127.0.0.1:{only.extra(SocketAttribute.local_port)}"
        group.cancel_scope.cancel()
    await listener.aclose()


# --- coming back ---


async def test_nothing_is_connected_before_it_is_needed() -> None:
    async with serve() as relay, quick(relay.url) as alice:
        await anyio.sleep(0.1)
        assert relay.relay.sources.connections == 0
        await alice.publish(envelope(1))
        assert relay.relay.sources.connections == 1


async def test_a_relay_that_comes_back_finds_everything_watched_from_where_it_stood(tmp_path: Path) -> None:
    async with serve(tmp_path / "r") as relay:
        port = relay.port
        alice_, bob_ = quick(relay.url, patience="20"), quick(relay.url)
        async with alice_ as alice, bob_ as bob:
            await bob.watch({TOPIC: None})
            await alice.publish(envelope(0))
            seen = [(await anext(bob.arrivals())).envelope]
            for start in range(1, 21, 4):
                await stop_and_restart(relay.relay, port)
                await publish_all(alice, [envelope(number) for number in range(start, start + 4)])
            wanted = {envelope(number) for number in range(1, 21)}
            seen += [arrival.envelope for arrival in await read_until(bob, wanted)]
            assert len(seen) == len(set(seen)) == 21


async def stop_and_restart(relay: object, port: int) -> None:
    """Every connection is cut at once."""
    from kexkit_transport_relay.server import Relay

    assert isinstance(relay, Relay)
    for watchers in list(relay.watchers.values()):
        for connection in list(watchers):
            await anyio.aclose_forcefully(connection._socket._stream)
    await anyio.sleep(0.02)


async def test_a_relay_that_is_away_is_told_once_and_what_is_published_waits_for_it(tmp_path: Path) -> None:
    async with serve(tmp_path / "r") as relay:
        port = relay.port
    url = f"ws://127.0.0.1:{port}"
    async with quick(url, patience="20") as alice, quick(url) as bob:
        await bob.watch({TOPIC: None})
        with pytest.raises(Unreachable, match=r"No relay listens on .* Start one with `kexkit relay`"):
            await anext(bob.arrivals())
        with anyio.move_on_after(0.3) as nap:
            await anext(bob.arrivals())
        assert nap.cancelled_caught
        assert isinstance(bob.trouble, Unreachable)
        async with anyio.create_task_group() as group:
            group.start_soon(publish_all, alice, envelopes(0, 5))
            await anyio.sleep(0.1)
            async with serve(tmp_path / "r", port=port), anyio.create_task_group() as readers:
                readers.start_soon(read_until, bob, envelopes(0, 5))
        assert relay.relay.faults == 0


async def test_publishing_gives_up_after_its_patience_and_says_why() -> None:
    async with quick(NOWHERE, patience="0.2") as alice:
        await alice.watch({TOPIC: None})
        await until(lambda: alice.trouble is not None)  # else there is nothing yet to say, on a slow machine
        started = anyio.current_time()
        with pytest.raises(Unreachable, match=r"No relay listens on ws://127\.0\.0\.1:9"):
            await alice.publish(envelope(1))
        assert 0.15 < anyio.current_time() - started < PATIENCE_SECONDS


async def test_a_relay_of_another_database_is_read_from_the_beginning(tmp_path: Path) -> None:
    async with serve(tmp_path / "one") as relay, quick(relay.url) as alice:
        port = relay.port
        await alice.publish(envelope(1))
    async with quick(f"ws://127.0.0.1:{port}") as bob:
        async with serve(tmp_path / "one", port=port):
            await bob.watch({TOPIC: None})
            await read_until(bob, [envelope(1)])
        async with serve(tmp_path / "two", port=port) as relay, quick(relay.url) as alice:
            await alice.publish(envelope(2))
            await ignoring_trouble(bob, envelope(2))


async def ignoring_trouble(bob: RelayTransport, wanted: object) -> None:
    with anyio.fail_after(PATIENCE):
        while True:
            try:
                if (await anext(bob.arrivals())).envelope == wanted:
                    return
            except TransportError:
                continue


async def test_a_storm_of_clients_comes_back_and_none_misses_anything(tmp_path: Path) -> None:
    clients, restarts = 40, 3
    async with anyio.create_task_group() as group:
        port = 0
        heard: list[set[bytes]] = [set() for _ in range(clients)]

        async def follow(url: str, mine: set[bytes]) -> None:
            async with quick(url) as bob:
                await bob.watch({TOPIC: None})
                while len(mine) < restarts:
                    try:
                        mine.add((await anext(bob.arrivals())).envelope.payload)
                    except TransportError:
                        continue

        for restart in range(restarts):
            async with serve(tmp_path / "r", port=port) as relay, quick(relay.url) as alice:
                if not port:
                    port = relay.port
                    for mine in heard:
                        group.start_soon(follow, relay.url, mine)
                await alice.publish(envelope(restart))
                if restart < restarts - 1:
                    await until(lambda: relay.relay.sources.connections > clients // 2)
                else:
                    await until(lambda: all(len(mine) == restarts for mine in heard))


async def test_the_pauses_between_attempts_grow_and_are_drawn_from_the_jitter() -> None:
    slept: list[float] = []

    async def note(seconds: float) -> None:
        slept.append(seconds)
        await anyio.lowlevel.checkpoint()

    async with open_relay({"url": NOWHERE}, sleep=note, jitter=lambda: 0.5) as alice:
        await alice.watch({TOPIC: None})
        await until(lambda: len(slept) >= 8)
    pauses = [first + rest for first, rest in zip(slept[::2], slept[1::2], strict=False)]
    assert pauses[:4] == pytest.approx([RETRY_FIRST * 0.75 * 2**n for n in range(4)])


async def test_a_line_that_is_dead_on_the_other_side_is_given_up_after_an_unanswered_publication() -> None:
    sockets = []

    async def say_nothing(socket: WebSocket) -> None:
        socket.put(encode_from_relay(Welcome(bytes(8), MAX_PAYLOAD, 10)))
        await socket.flush()
        sockets.append(socket)
        while True:
            data = await socket.receive()
            if len(sockets) > 1:
                socket.put(encode_from_relay(Stored((data[3],))))
                await socket.flush()

    async with pretending(say_nothing) as url, quick(url, patience="0.3") as alice:
        await alice.watch({TOPIC: None})
        await until(lambda: alice.trouble is None and bool(sockets))
        with pytest.raises(Gone, match=r"has not confirmed the envelope in 0.3 seconds"):
            await alice.publish(envelope(1))
        await until(lambda: len(sockets) >= 2)


async def test_a_relay_that_falls_silent_is_left() -> None:
    attempts = []

    async def freeze(socket: WebSocket) -> None:
        attempts.append(socket)
        socket.put(encode_from_relay(Welcome(bytes(8), MAX_PAYLOAD, 10)))
        await socket.flush()
        await anyio.sleep_forever()

    async with pretending(freeze) as url:

        async def nap(seconds: float) -> None:
            await anyio.sleep(0.01)

        async with open_relay({"url": url}, pace=Pace(ping=0.05, silence=0.2), sleep=nap) as alice:
            await alice.watch({TOPIC: None})
            await until(lambda: len(attempts) >= 2)


# --- what a relay may answer ---


async def test_a_final_refusal_is_one_and_a_passing_one_is_waited_out() -> None:
    async with serve(quotas=Quotas(max_payload=1000, publish_burst=1, publish_rate=20)) as relay:
        async with quick(relay.url) as alice:
            await alice.publish(envelope(0))
            started = anyio.current_time()
            await publish_all(alice, envelopes(1, 5))
            assert anyio.current_time() - started > 0.1
            with pytest.raises(TransportRefused, match="1001 bytes; this relay carries 1000"):
                await alice.publish(envelope(1, 1001))
            alice._max_payload = MAX_PAYLOAD
            with pytest.raises(TransportRefused, match="1001 bytes; this relay carries 1000"):
                await alice.publish(envelope(1, 1001))
        async with quick(relay.url, patience="0.001") as alice:
            with pytest.raises(TransportError):
                await publish_all_flat(alice, 50)


async def publish_all_flat(alice: RelayTransport, count: int) -> None:
    for number in range(count):
        await alice.publish(envelope(number))


async def test_a_refusal_that_outlasts_the_patience_raises_and_stays_retryable() -> None:
    async with serve(quotas=Quotas(publish_burst=1, publish_rate=0.01)) as relay, quick(relay.url) as alice:
        await alice.publish(envelope(0))
        with pytest.raises(TransportError, match="so many publications a second") as caught:
            await alice.publish(envelope(1))
        assert not isinstance(caught.value, TransportRefused)


async def test_too_many_topics_are_refused_at_once_or_by_the_relay() -> None:
    async with serve(quotas=Quotas(topics=3)) as relay, quick(relay.url) as alice:
        await alice.watch({f"/t/{number}": None for number in range(4)})
        with pytest.raises(TransportRefused, match="lets one connection watch 3 topics"):
            await anext(alice.arrivals())
        await alice.unwatch(["/t/3"])
        with pytest.raises(TransportRefused, match="watch 3 topics"):
            await alice.watch({"/t/4": None})
        await alice.watch({"/t/0": None})
        await alice.publish(envelope(1, topic="/t/0"))
        await read_until(alice, [envelope(1, topic="/t/0")])


async def test_a_topic_that_the_relay_had_no_room_for_is_asked_for_again() -> None:
    async with serve(quotas=Quotas(watches=1)) as relay, quick(relay.url) as alice:
        await alice.watch({"/t/alice": None})
        await until(lambda: relay.relay.sources.watches == 1)
        async with open_relay({"url": relay.url}, pace=Pace(ping=0.1)) as bob:
            await bob.watch({TOPIC: None})
            with pytest.raises(TransportError, match=r"is not watched\. It is asked for again"):
                await anext(bob.arrivals())
            await alice.unwatch(["/t/alice"])
            await bob.publish(envelope(1))
            await ignoring_trouble(bob, envelope(1))


@pytest.mark.parametrize("over", [-1, 0, 1])
async def test_so_many_publications_are_under_way_and_others_wait(over: int) -> None:
    answers = anyio.Event()
    seen: list[bytes] = []

    async def hold(socket: WebSocket) -> None:
        socket.put(encode_from_relay(Welcome(bytes(8), MAX_PAYLOAD, 10)))
        await socket.flush()
        while len(seen) < IN_FLIGHT + over:
            data = await socket.receive()
            if data[0] == 0x0A:
                seen.append(data)
                if len(seen) == min(IN_FLIGHT, IN_FLIGHT + over):
                    answers.set()
                    await anyio.sleep(0.1)
                    socket.put(encode_from_relay(Stored(tuple(range(1, IN_FLIGHT + 5)))))
                    await socket.flush()
        socket.put(encode_from_relay(Stored(tuple(range(1, IN_FLIGHT + 5)))))
        await socket.flush()
        while True:
            await socket.receive()

    async with pretending(hold) as url, quick(url) as alice, anyio.create_task_group() as group:
        group.start_soon(publish_all, alice, envelopes(0, IN_FLIGHT + over))
        await answers.wait()
        await anyio.sleep(0.05)
        assert len(alice._publications) == min(IN_FLIGHT, IN_FLIGHT + over)


BREAKS = {
    "nonsense": b"\xff\xff",
    "a second welcome": encode_from_relay(Welcome(bytes(8), 1, 1)),
    "no answer": b"",
}


@pytest.mark.parametrize("kind", BREAKS)
async def test_a_relay_that_breaks_the_protocol_is_left_and_tried_again(kind: str) -> None:
    attempts = []

    async def misbehave(socket: WebSocket) -> None:
        attempts.append(1)
        socket.put(encode_from_relay(Welcome(bytes(8), MAX_PAYLOAD, 10)))
        if len(attempts) == 1:
            socket.put(BREAKS[kind])
        socket.put(encode_from_relay(Stored((1,))))
        socket.put(encode_from_relay(Refused("who?", True, request=77)))
        socket.put(encode_from_relay(Refused("who?", True, watch=77)))
        await socket.flush()
        while True:
            await socket.receive()

    async with pretending(misbehave) as url, quick(url) as alice:
        await alice.watch({TOPIC: None})
        await until(lambda: len(attempts) >= 2)


async def test_what_does_not_introduce_itself_is_no_relay() -> None:
    async def stranger(socket: WebSocket) -> None:
        socket.put(encode_from_relay(Stored((1,))))
        await socket.flush()
        await socket.receive()

    async with pretending(stranger) as url, quick(url) as alice:
        with pytest.raises(NotARelay, match="does not introduce itself"):
            await alice.publish(envelope(1))


async def test_a_relay_that_is_full_is_tried_again() -> None:
    async with (
        serve(quotas=Quotas(connections=1)) as relay,
        quick(relay.url, patience="20") as bob,
        anyio.create_task_group() as group,
    ):
        async with quick(relay.url) as alice:
            await alice.publish(envelope(1))
            group.start_soon(bob.publish, envelope(2))
            await until(lambda: "takes no more connections" in str(bob.trouble))
        await until(lambda: relay.relay.ledger.count == 2)
