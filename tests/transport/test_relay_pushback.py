"""Whoever is slow waits, or is dropped, and loses nothing; the relay's memory stays bounded."""

from __future__ import annotations

import socket
import threading

import anyio
import pytest
from anyio.abc import SocketAttribute
from kexkit_transport_relay import Pace, serve
from kexkit_transport_relay.connection import Connection, Watchers
from kexkit_transport_relay.limits import (
    ARRIVAL_COST,
    BATCH_COUNT,
    MAX_GRANT,
    MAX_PAYLOAD,
    PENDING_BYTES,
    PENDING_COUNT,
    SEND_BUFFER,
)
from kexkit_transport_relay.messages import (
    Grant,
    Page,
    Publish,
    Stored,
)

from tests.transport.by_hand import GENEROUS, PATIENCE, TOPIC, ByHand, by_hand, envelope, narrow, until

pytestmark = pytest.mark.anyio


async def test_nothing_comes_without_a_grant_and_answers_do() -> None:
    async with serve() as relay, by_hand(relay.url) as alice:
        await alice.watch()
        assert await alice.publish(envelope(1, 1000), envelope(2, 1000)) == [None, None]
        assert await alice.silent()
        assert len(await alice.read(1, grant=1)) == 1
        assert await alice.silent()
        assert len(await alice.read(1, grant=1000 + ARRIVAL_COST)) == 1


@pytest.mark.parametrize("over", [-1, 0, 1])
async def test_a_page_is_cut_to_what_was_granted(over: int) -> None:
    async with serve() as relay, by_hand(relay.url) as alice:
        await alice.publish(*(envelope(number, 1000) for number in range(6)))
        await alice.watch()
        await alice.say(Grant(3 * (1000 + ARRIVAL_COST) + over))
        page = await alice.hear()
        assert isinstance(page, Page)
        assert len(page.arrivals) == (2 if over < 0 else 3)


async def test_grants_beyond_the_bound_are_not_remembered() -> None:
    async with serve(quotas=GENEROUS) as relay, by_hand(relay.url) as alice:
        await alice.say(*[Grant(2**32 - 1)] * 5)
        await alice.publish(envelope(0))
        (connection,) = await connections_of(relay.relay.watchers, alice)
        assert connection._allowance == MAX_GRANT


async def connections_of(watchers: Watchers, alice: ByHand) -> list[Connection]:
    await alice.watch("/to/be/found")
    await until(lambda: "/to/be/found" in watchers)
    return list(watchers["/to/be/found"])


async def test_a_reader_that_reads_nothing_at_all_is_dropped_and_misses_nothing_later() -> None:
    async with serve(quotas=GENEROUS, pace=Pace(stall=0.3)) as relay, by_hand(relay.url) as alice:
        await alice.publish(*(envelope(number, MAX_PAYLOAD) for number in range(12)))
        async with by_hand(relay.url) as bob:
            await until(lambda: relay.relay.sources.connections == 2)
            await bob.watch()
            await bob.say(Grant(MAX_GRANT))
            await until(lambda: relay.relay.sources.connections == 1)
        async with by_hand(relay.url) as bob:
            await bob.watch()
            assert len(await bob.read(12)) == 12


async def test_a_slow_reader_that_moves_is_kept() -> None:
    """It takes longer over all than it may over one CHUNK."""
    stall, sips = 1.25, 3 * MAX_PAYLOAD // 8192
    async with serve(quotas=GENEROUS, pace=Pace(stall=stall)) as relay, by_hand(relay.url) as alice:
        await alice.publish(*(envelope(number, MAX_PAYLOAD) for number in range(3)))
        async with narrow(relay.url) as (bob, stream):
            await bob.watch()
            await bob.say(Grant(MAX_GRANT))
            receive, started = stream.receive, anyio.current_time()

            async def sip(max_bytes: int = 65536) -> bytes:
                await anyio.sleep(1.6 * stall / sips)
                return await receive(min(max_bytes, 8192))

            stream.receive = sip  # type: ignore[method-assign]  # a slow line
            assert len(await bob.read(3, grant=0)) == 3
            assert anyio.current_time() - started > 1.5 * stall


async def test_the_system_holds_little_for_one_reader() -> None:
    async with serve() as relay, by_hand(relay.url) as alice:
        await alice.watch()
        await until(lambda: TOPIC in relay.relay.watchers)
        (connection,) = relay.relay.watchers[TOPIC]
        raw = connection._socket._stream.extra(SocketAttribute.raw_socket)
        assert raw.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) <= 2 * SEND_BUFFER


async def test_a_client_that_publishes_and_reads_no_answers_is_not_read_beyond_a_bound(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with serve(quotas=GENEROUS) as relay, by_hand(relay.url) as alice, by_hand(relay.url) as bob:
        release = threading.Event()
        append = relay.relay.ledger.append
        monkeypatch.setattr(
            relay.relay.ledger, "append", lambda batch, sites: release.wait(PATIENCE) and append(batch, sites)
        )
        await alice.say(*(Publish(number, envelope(number)) for number in range(PENDING_COUNT * 3)))
        committer = relay.relay.committer
        await until(lambda: len(committer._queue) >= PENDING_COUNT - BATCH_COUNT - 1)
        await anyio.sleep(0.2)
        assert len(committer._queue) <= PENDING_COUNT
        small = committer._bytes
        async with anyio.create_task_group() as group:
            group.start_soon(bob.say, *(Publish(number, envelope(number, MAX_PAYLOAD)) for number in range(12)))
            await until(lambda: committer._bytes - small >= PENDING_BYTES)
            await anyio.sleep(0.2)
            assert committer._bytes - small == PENDING_BYTES
            release.set()
        answered = 0
        while answered < PENDING_COUNT * 3:
            said = await alice.hear()
            assert isinstance(said, Stored)
            answered += len(said.requests)


async def test_publishers_wait_while_too_much_waits_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kexkit_transport_relay.committer.PENDING_TOTAL", 5000)
    async with (
        serve(quotas=GENEROUS) as relay,
        by_hand(relay.url) as alice,
        by_hand(relay.url) as bob,
        by_hand(relay.url) as carol,
        anyio.create_task_group() as group,
    ):
        release = threading.Event()
        append = relay.relay.ledger.append
        monkeypatch.setattr(
            relay.relay.ledger, "append", lambda batch, sites: release.wait(PATIENCE) and append(batch, sites)
        )
        for who, publisher in enumerate((alice, bob, carol)):
            group.start_soon(publisher.publish, *(envelope(100 * who + number, 1000) for number in range(20)))
        await until(lambda: relay.relay.committer._bytes > 5000)
        await anyio.sleep(0.2)
        assert relay.relay.committer._bytes <= 5000 + 3 * 1000
        release.set()


async def test_who_publishes_nothing_does_not_wait_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """A flood is felt by publishers alone: a reader may still watch, and is read."""
    monkeypatch.setattr("kexkit_transport_relay.committer.PENDING_TOTAL", 1000)
    async with (
        serve(quotas=GENEROUS) as relay,
        by_hand(relay.url) as alice,
        by_hand(relay.url) as bob,
        anyio.create_task_group() as group,
    ):
        await alice.publish(envelope(0, topic="/kept"))
        release = threading.Event()
        append = relay.relay.ledger.append
        monkeypatch.setattr(
            relay.relay.ledger, "append", lambda batch, sites: release.wait(PATIENCE) and append(batch, sites)
        )
        group.start_soon(alice.publish, *(envelope(number, 1000) for number in range(1, 5)))
        await until(lambda: relay.relay.committer._bytes > 1000)
        try:
            await bob.watch("/other", watch=1)
            await bob.watch("/kept", watch=2)
            assert [one.payload for one in await bob.read(1)] == [b"payload 0"]
        finally:
            release.set()
