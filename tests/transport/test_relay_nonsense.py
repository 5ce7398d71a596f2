"""Nobody's nonsense ends anything but their own connection."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import suppress
from random import Random

import anyio
import pytest
from kexkit_transport_relay import Pace, serve
from kexkit_transport_relay.limits import (
    MAX_GRANT,
    MAX_MESSAGE,
    MAX_PAYLOAD,
)
from kexkit_transport_relay.messages import (
    Grant,
    Page,
    Publish,
    Stored,
    Watch,
    WatchTopic,
    Welcome,
    encode_from_relay,
    encode_to_relay,
)

from tests.transport.by_hand import GENEROUS, HELLO, PATIENCE, REQUEST, by_hand, envelope, narrow, until

pytestmark = pytest.mark.anyio


NONSENSE: dict[str, Callable[[], bytes]] = {
    "no message": lambda: b"\xff\xff\xff",
    "no verb": lambda: b"",
    "a watch number twice": lambda: encode_to_relay(Watch((WatchTopic(1, "/a", None), WatchTopic(1, "/b", None)))),
    "no topic": lambda: encode_to_relay(Publish(1, envelope(1, topic=""))),
    "what only a relay says": lambda: encode_from_relay(Welcome(bytes(8), 1, 1))[:-1],
}


@pytest.mark.parametrize("kind", NONSENSE)
async def test_nonsense_ends_that_connection_with_a_reason_and_no_other(kind: str) -> None:
    async with serve() as relay, by_hand(relay.url) as alice, by_hand(relay.url) as mallory:
        await mallory.say_bytes(NONSENSE[kind]())
        assert "closed the connection: " in await mallory.ending()
        assert await alice.publish(envelope(1)) == [None]
        assert relay.relay.faults == 0


@pytest.mark.parametrize("over", [-1, 0, 1])
async def test_a_message_over_the_limit_ends_the_connection(over: int) -> None:
    async with serve() as relay, by_hand(relay.url) as alice:
        message = encode_to_relay(Publish(1, envelope(1, MAX_PAYLOAD)))
        filler = MAX_MESSAGE + over - len(message) - 5
        await alice.say_bytes(message + b"\xfa\x7f" + varint(filler) + bytes(filler))
        if over <= 0:
            assert await alice.hear() == Stored((1,))
        else:
            assert "closed" in await alice.ending()


def varint(number: int) -> bytes:
    out = bytearray()
    for _ in range(2):
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


async def test_a_text_message_ends_the_connection() -> None:
    async with serve() as relay, by_hand(relay.url) as alice:
        alice.socket._protocol.send_text(b"hello")
        await alice.say_bytes(b"")
        assert "binary" in await alice.ending()


async def test_a_fragmented_message_is_put_together_and_pings_are_answered() -> None:
    async with serve() as relay, by_hand(relay.url) as alice:
        message = encode_to_relay(Publish(1, envelope(1)))
        protocol = alice.socket._protocol
        protocol.send_binary(message[:5], fin=False)
        protocol.send_ping(b"between")
        protocol.send_continuation(b"", fin=False)
        protocol.send_continuation(message[5:], fin=True)
        alice.socket._outgoing += b"".join(protocol.data_to_send())
        await alice.socket.flush()
        assert await alice.hear() == Stored((1,))


async def test_who_pings_and_never_reads_is_cut_off() -> None:
    async with serve() as relay, by_hand(relay.url) as alice, narrow(relay.url) as (mallory, stream):
        await until(lambda: relay.relay.sources.connections == 2)
        protocol = mallory.socket._protocol
        with anyio.fail_after(PATIENCE), suppress(anyio.BrokenResourceError):
            while relay.relay.sources.connections == 2:
                for _ in range(500):
                    protocol.send_ping(b"x" * 125)
                await stream.send(b"".join(protocol.data_to_send()))
        await until(lambda: relay.relay.sources.connections == 1)
        assert await alice.publish(envelope(1)) == [None]


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (HELLO, b"101"),
        (HELLO[:-2] + b"Origin: https://example.org\r\n\r\n", b"403"),
        (REQUEST + b"\r\n", b"400"),
        (REQUEST + b"Sec-WebSocket-Protocol: chat\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"426"),
        (b"POST / HTTP/1.1\r\nHost: x\r\n\r\n", b""),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", b""),
        (HELLO + b"\xff\xff\xff\xff\xff\xff", b""),
        (b"GET / HTTP/1.1\r\n\r\n\x88\x80\x00\x00\x00\x00", b""),
    ],
)
async def test_only_our_own_handshake_is_accepted_and_no_web_page(request_bytes: bytes, status: bytes) -> None:
    async with serve() as relay:
        async with await anyio.connect_tcp("127.0.0.1", relay.port) as stream:
            await stream.send(request_bytes)
            answer = b""
            with anyio.move_on_after(PATIENCE):
                try:
                    while not answer:
                        answer += await stream.receive()
                except (anyio.EndOfStream, anyio.BrokenResourceError):
                    pass
            assert answer.startswith(b"HTTP/1.1 " + status if status else b"")
            assert answer.startswith(b"HTTP/1.1 101") == (status == b"101")
        assert relay.relay.faults == 0


async def test_a_handshake_that_does_not_come_is_not_waited_for() -> None:
    async with serve(pace=Pace(handshake=0.2)) as relay:
        async with await anyio.connect_tcp("127.0.0.1", relay.port) as stream:
            with anyio.fail_after(PATIENCE), suppress(anyio.EndOfStream, anyio.BrokenResourceError):
                for byte in REQUEST:
                    await stream.send(bytes([byte]))
                    await anyio.sleep(0.02)
                assert await stream.receive() == b""
        await until(lambda: relay.relay._streams == 0)


@pytest.mark.parametrize("after_handshake", [False, True])
async def test_ten_thousand_spoiled_inputs_hurt_nobody_else(
    after_handshake: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """Half of the 1e4 before the handshake, half after it; several to a connection, cut at random."""
    random = Random(after_handshake)
    genuine = encode_to_relay(Publish(3, envelope(3, 60)))

    def spoiled() -> bytes:
        kind = random.randrange(3)
        if kind == 0:
            return random.randbytes(random.randrange(1, 40))
        base = bytearray(bytes([0x82, 0x80 | len(genuine)]) + bytes(4) + genuine if after_handshake else REQUEST)
        base[random.randrange(len(base))] ^= 1 << random.randrange(8)
        return bytes(base if kind == 1 else base[: random.randrange(len(base))])

    async def attack(port: int) -> None:
        for _ in range(10):
            async with await anyio.connect_tcp("127.0.0.1", port) as stream:
                try:
                    if after_handshake:
                        await stream.send(HELLO)
                        await stream.receive()
                    await stream.send(b"".join(spoiled() for _ in range(20)))
                    with anyio.move_on_after(0.01 if random.random() < 0.2 else 0):
                        await stream.receive()
                except (anyio.EndOfStream, anyio.BrokenResourceError):
                    pass

    with caplog.at_level(logging.ERROR):
        async with serve(quotas=GENEROUS) as relay, by_hand(relay.url) as alice, by_hand(relay.url) as bob:
            await bob.watch()
            await bob.say(Grant(MAX_GRANT))
            async with anyio.create_task_group() as group:
                for _ in range(25):
                    group.start_soon(attack, relay.port)
                for number in range(50):
                    assert await alice.publish(envelope(number)) == [None]
            got = 0
            while got < 50:
                page = await bob.hear()
                assert isinstance(page, Page)
                got += sum(one.payload.startswith(b"payload") for one in page.arrivals)
            await until(lambda: relay.relay.sources.connections == 2)
            assert relay.relay.faults == 0
    assert caplog.records == []
