"""A relay's client by hand: says exactly what a test says, and hears everything."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import anyio
from anyio.abc import SocketAttribute, SocketStream
from kexkit.api import Envelope
from kexkit_transport_relay import RelayTransport, open_relay
from kexkit_transport_relay.limits import PACE, Quotas
from kexkit_transport_relay.messages import (
    Delivered,
    FromRelay,
    Grant,
    Page,
    Publish,
    Refused,
    Stored,
    ToRelay,
    Watch,
    WatchTopic,
    Welcome,
    decode_from_relay,
    encode_to_relay,
)
from kexkit_transport_relay.websocket import WebSocket, _introduce, connect, read_address

TOPIC = "/kexkit/1/by-hand/proto"
PATIENCE = 30.0
"""seconds for what must come; nothing is measured by it"""
MANY = 16 * 1024 * 1024
GENEROUS = Quotas(publish_rate=1e9, publish_burst=10**9)
REQUEST = (
    b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
)
HELLO = REQUEST + b"Sec-WebSocket-Protocol: kexkit-relay.v1\r\n\r\n"


def envelope(number: int, size: int | None = None, *, topic: str = TOPIC, ephemeral: bool = False) -> Envelope:
    payload = b"payload %d" % number if size is None else number.to_bytes(4, "big") * (size // 4) + bytes(size % 4)
    return Envelope(topic, payload, 1, 1_700_000_000_000_000_000 + number, ephemeral)


def envelopes(first: int, stop: int) -> list[Envelope]:
    return [envelope(number) for number in range(first, stop)]


class ByHand:
    def __init__(self, socket: WebSocket, welcome: Welcome) -> None:
        self.socket, self.welcome = socket, welcome

    async def say(self, *messages: ToRelay) -> None:
        await self.say_bytes(*map(encode_to_relay, messages))

    async def say_bytes(self, *messages: bytes) -> None:
        with anyio.fail_after(PATIENCE):
            for message in messages:
                self.socket.put(message)
            await self.socket.flush()

    async def hear(self) -> FromRelay:
        with anyio.fail_after(PATIENCE):
            return decode_from_relay(await self.socket.receive())

    async def publish(self, *envelopes: Envelope) -> list[Refused | None]:
        """None where it was stored; answers in order of the envelopes."""
        await self.say(*(Publish(request, one) for request, one in enumerate(envelopes)))
        answers: dict[int, Refused | None] = {}
        while len(answers) < len(envelopes):
            said = await self.hear()
            if isinstance(said, Stored):
                answers.update(dict.fromkeys(said.requests))
            elif isinstance(said, Refused) and said.request is not None:
                answers[said.request] = said
        return [answers[request] for request in range(len(envelopes))]

    async def watch(self, topic: str = TOPIC, cursor: bytes | None = None, *, watch: int = 1) -> None:
        await self.say(Watch((WatchTopic(watch, topic, cursor),)))

    async def read(self, count: int, *, grant: int = MANY) -> list[Delivered]:
        if grant:
            await self.say(Grant(grant))
        arrivals: list[Delivered] = []
        while len(arrivals) < count:
            said = await self.hear()
            assert isinstance(said, Page), said
            arrivals += said.arrivals
        return arrivals

    async def silent(self, seconds: float = 0.15) -> bool:
        """Nothing comes for a while."""
        with anyio.move_on_after(seconds) as nap:
            await self.socket.receive()
        return nap.cancelled_caught

    async def ending(self) -> str:
        """Read to the end; what the relay said it ended for."""
        with anyio.fail_after(PATIENCE):
            while True:
                try:
                    await self.socket.receive()
                except Exception as error:
                    return str(error)


@asynccontextmanager
async def by_hand(url: str) -> AsyncIterator[ByHand]:
    with anyio.fail_after(PATIENCE):
        socket = await connect(read_address(url))
        welcome = decode_from_relay(await socket.receive())
    assert isinstance(welcome, Welcome)
    try:
        yield ByHand(socket, welcome)
    finally:
        await socket.close(1000, "")


@asynccontextmanager
async def quick(url: str, **settings: str) -> AsyncIterator[RelayTransport]:
    """A client whose pauses are over in no time."""

    async def nap(seconds: float) -> None:
        await anyio.sleep(min(seconds, 0.02))

    chosen = {"url": url, "patience": "20", **settings}
    async with open_relay(chosen, sleep=nap, jitter=lambda: 0.0) as transport:
        yield transport


@asynccontextmanager
async def narrow(url: str) -> AsyncIterator[tuple[ByHand, SocketStream]]:
    """By hand over a line whose other end holds little: what is not read is soon felt by who sends it."""
    address = read_address(url)
    async with await anyio.connect_tcp(address.uri.host, address.uri.port) as stream:
        raw = stream.extra(SocketAttribute.raw_socket)
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16384)
        upgraded = await _introduce(stream, address, PACE)
        welcome = decode_from_relay(await upgraded.receive())
        assert isinstance(welcome, Welcome)
        yield ByHand(upgraded, welcome), stream


async def until(condition: Callable[[], bool]) -> None:
    with anyio.fail_after(PATIENCE):
        while not condition():
            await anyio.sleep(0.005)
