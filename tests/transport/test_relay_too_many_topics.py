"""More topics than a relay watches for one connection: those that fit are watched, and it is said how many did not."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import anyio
import pytest
from kexkit.errors import InvalidInput, TransportError, TransportRefused
from kexkit.testing.transport_kit import read_until
from kexkit_transport_relay import Quotas, RelayTransport, serve
from kexkit_transport_relay.inbox import Inbox
from kexkit_transport_relay.messages import Delivered
from kexkit_transport_relay.server import Serving

from tests.transport.by_hand import PATIENCE, envelope, quick, until
from tests.transport.test_relay_client import stop_and_restart

pytestmark = pytest.mark.anyio
LIMIT = 10
SMALL = Quotas(topics=LIMIT)


def topics(start: int, stop: int) -> dict[str, bytes | None]:
    return {f"/t/{number}": None for number in range(start, stop)}


def watched(relay: Serving) -> set[str]:
    return set(relay.relay.watchers)


async def met(relay: Serving, transport: RelayTransport, wanted: Collection[str] = ("/t/0",)) -> None:
    await transport.watch(dict.fromkeys(wanted))
    await until(lambda: watched(relay) == set(wanted))


@pytest.mark.parametrize("over", [-1, 0, 1, 5])
async def test_watch_takes_what_fits_and_says_how_many_did_not(over: int) -> None:
    async with serve(quotas=SMALL) as relay, quick(relay.url) as alice:
        await met(relay, alice)
        if over > 0:
            with pytest.raises(TransportRefused, match=rf"watch {LIMIT} topics\. {over} did not fit and (is|are) not"):
                await alice.watch(topics(1, LIMIT + over))
        else:
            await alice.watch(topics(1, LIMIT + over))
        await until(lambda: watched(relay) == set(topics(0, min(LIMIT, LIMIT + over))))
        last = envelope(1, topic=f"/t/{min(LIMIT, LIMIT + over) - 1}")
        await alice.publish(last)
        await read_until(alice, [last])


async def test_a_call_that_is_refused_leaves_the_earlier_ones_and_room_that_comes_back_is_used() -> None:
    async with serve(quotas=SMALL) as relay, quick(relay.url) as alice:
        await met(relay, alice, topics(0, 8))
        with pytest.raises(TransportRefused, match="2 did not fit and are"):
            await alice.watch(topics(8, 12))
        with pytest.raises(TransportRefused, match="4 did not fit and are"):
            await alice.watch(topics(12, 16))
        await until(lambda: watched(relay) == set(topics(0, 10)))
        await alice.watch(topics(0, 10))
        await alice.unwatch(["/t/3", "/t/4"])
        await alice.watch(topics(14, 16))
        await until(lambda: watched(relay) == set(topics(0, 16)) - set(topics(10, 14)) - {"/t/3", "/t/4"})


async def test_what_is_watched_already_begins_again_though_there_is_no_room_for_others() -> None:
    async with serve(quotas=SMALL) as relay, quick(relay.url) as alice:
        await alice.publish(envelope(1, topic="/t/9"))
        await met(relay, alice, topics(0, 10))
        await read_until(alice, [envelope(1, topic="/t/9")])
        with pytest.raises(TransportRefused, match="1 did not fit and is"):
            await alice.watch({"/more": None, "/t/9": None})
        await read_until(alice, [envelope(1, topic="/t/9")])


async def test_one_bad_topic_watches_nothing() -> None:
    async with serve(quotas=SMALL) as relay, quick(relay.url) as alice:
        await met(relay, alice)
        with pytest.raises(InvalidInput):
            await alice.watch({"/t/1": None, "": None})
        await alice.publish(envelope(1))
        assert watched(relay) == {"/t/0"}


async def refusals(transport: RelayTransport, wanted: int) -> int:
    """How many topics its arrivals say were turned away, until they are that many."""
    told = 0
    with anyio.fail_after(PATIENCE):
        while told < wanted:
            with pytest.raises(TransportError) as caught:
                await anext(transport.arrivals())
            if isinstance(caught.value, TransportRefused):
                told += int(str(caught.value).partition("topics. ")[2].partition(" ")[0])
    return told


@pytest.mark.parametrize("number", [LIMIT - 1, LIMIT, LIMIT + 1, LIMIT + 300])
async def test_before_the_relay_said_its_limit_the_first_that_fit_are_watched_and_arrivals_say_the_rest(
    number: int,
) -> None:
    async with serve(quotas=SMALL) as relay, quick(relay.url) as alice:
        await alice.watch(topics(0, number))
        over = max(0, number - LIMIT)
        assert await refusals(alice, over) == over
        await until(lambda: watched(relay) == set(topics(0, min(number, LIMIT))))
        with anyio.move_on_after(0.1) as nap:
            await anext(alice.arrivals())
        assert nap.cancelled_caught


async def test_a_relay_that_allows_more_than_usual_is_used_to_the_full() -> None:
    async with serve(quotas=Quotas(topics=5000)) as relay, quick(relay.url) as alice:
        await alice.watch(topics(0, 5000))
        await until(lambda: relay.relay.sources.watches == 5000)


async def test_what_was_turned_away_is_not_asked_for_again_on_the_next_connection() -> None:
    async with serve(quotas=SMALL) as relay, quick(relay.url) as alice:
        await alice.watch(topics(0, LIMIT + 3))
        assert await refusals(alice, 3) == 3
        for number in range(3):
            await stop_and_restart(relay.relay, relay.port)
            await until(lambda: watched(relay) == set(topics(0, LIMIT)))
            await alice.publish(envelope(number, topic="/t/0"))
            while (await anext(alice.arrivals())).envelope != envelope(number, topic="/t/0"):
                pass


async def test_that_topics_were_turned_away_is_told_though_the_connection_was_lost_before_it_was_read(
    tmp_path: Path,
) -> None:
    async with serve(tmp_path / "r", quotas=SMALL) as relay, quick(relay.url) as alice:
        await alice.watch(topics(0, LIMIT + 3))
        await until(lambda: alice._turned_away.topics == 3)
        await stop_and_restart(relay.relay, relay.port)
        await until(lambda: watched(relay) == set(topics(0, LIMIT)))
        assert await refusals(alice, 3) == 3


async def test_a_relay_that_comes_back_with_a_lower_limit_keeps_what_fits(tmp_path: Path) -> None:
    async with serve(tmp_path / "r") as relay, quick(relay.url) as alice:
        port = relay.port
        await alice.publish(envelope(1))
    async with quick(f"ws://127.0.0.1:{port}") as alice:
        async with serve(tmp_path / "r", port=port) as relay:
            await met(relay, alice, topics(0, LIMIT + 3))
        async with serve(tmp_path / "r", port=port, quotas=SMALL) as relay:
            assert await refusals(alice, 3) == 3
            await until(lambda: watched(relay) == set(topics(0, LIMIT)))


async def test_what_came_of_a_topic_before_it_was_turned_away_stays_to_be_read() -> None:
    inbox = Inbox()
    here, there = inbox.add({"/here": None, "/there": None})
    inbox.take(Delivered(here.watch, b"cursor", b"payload", 1, 1, False))
    assert inbox.abandon(here.watch) == "/here"
    assert inbox.abandon(here.watch) is None
    assert [one.topic for one in inbox.wanted()] == ["/there"]
    assert inbox.remove(["/here", "/there"]) == [there.watch]
    arrival = inbox.pop()
    assert arrival is not None
    assert arrival.envelope.topic == "/here"
