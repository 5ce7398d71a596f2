"""Who may do how much, at the last one allowed and the first one refused."""

from __future__ import annotations

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kexkit.errors import InvalidInput
from kexkit_transport_relay import limits
from kexkit_transport_relay.backoff import Backoff
from kexkit_transport_relay.inbox import Inbox
from kexkit_transport_relay.limits import (
    MAX_ADDRESSES,
    MAX_MESSAGE,
    MAX_PAYLOAD,
    SITE_SHARE,
    STORED_COST,
    WINDOW,
    Quotas,
)
from kexkit_transport_relay.messages import Delivered
from kexkit_transport_relay.quotas import Sources, TokenBucket, charge_of, site_of, source_of


@pytest.mark.parametrize("calls", [9, 10, 11])
def test_a_bucket_gives_its_burst_at_once_and_then_says_how_long_to_wait(calls: int) -> None:
    bucket = TokenBucket(rate=5.0, burst=10, then=0.0)
    waits = [bucket.take(0.0) for _ in range(calls)]
    assert waits == [0.0] * min(calls, 10) + [0.2] * (calls - 10)
    if calls == 11:
        assert bucket.take(0.19) > 0
        assert bucket.take(0.2) == 0.0


@settings(max_examples=100, derandomize=True)
@given(steps=st.lists(st.floats(-5, 5), max_size=60))
def test_no_course_of_the_clock_gives_more_than_rate_and_burst(steps: list[float]) -> None:
    bucket, now, granted, forward = TokenBucket(rate=2.0, burst=3, then=0.0), 0.0, 0, 0.0
    for step in steps:
        now, forward = now + step, forward + max(0.0, step)
        granted += bucket.take(now) == 0.0
    assert granted <= 3 + 2.0 * forward + 1e-6


@pytest.mark.parametrize("over", [-1, 0, 1])
def test_an_address_stores_so_many_bytes_in_a_window(over: int) -> None:
    sources = Sources(Quotas(address_bytes=10_000, address_window=60.0))
    all_at_once = 10_000 - limits.ARRIVAL_COST
    assert sources.store("a", 4000 - limits.ARRIVAL_COST, 0.0) == 0.0
    assert sources.store("a", 6000 - limits.ARRIVAL_COST + over, 10.0) == (50.0 if over > 0 else 0.0)
    assert sources.store("b", all_at_once, 10.0) == 0.0
    assert sources.store("a", all_at_once, 59.9) > 0
    assert sources.store("a", all_at_once, 60.0) == 0.0


@pytest.mark.parametrize("over", [-1, 0, 1])
def test_even_nothing_is_charged_as_a_row(over: int) -> None:
    assert charge_of(STORED_COST - limits.ARRIVAL_COST + over) == STORED_COST + max(0, over)
    assert charge_of(0) == STORED_COST
    sources = Sources(Quotas(address_bytes=10 * STORED_COST))
    waits = [sources.store("a", 0, 0.0) for _ in range(10 + over)]
    assert [wait == 0.0 for wait in waits] == [True] * min(10 + over, 10) + [False] * max(0, over)


@pytest.mark.parametrize("over", [-1, 0, 1])
def test_an_address_stores_so_many_envelopes_in_a_window(over: int) -> None:
    sources = Sources(Quotas(address_count=10, address_window=60.0))
    waits = [sources.store("a", 0, 1.0) for _ in range(10 + over)]
    assert waits == [0.0] * min(10 + over, 10) + [60.0] * max(0, over)
    assert sources.store("b", 0, 1.0) == 0.0
    assert sources.store("a", 0, 61.0) == 0.0


def test_one_address_fills_but_a_small_part_of_a_relay_in_a_window() -> None:
    quotas = Quotas()
    assert quotas.address_count * SITE_SHARE <= quotas.keep_count / 10
    assert quotas.address_bytes / STORED_COST <= quotas.keep_count


NEIGHBOURS = [f"2001:db8:0:{number:x}::/64" for number in range(5)]
ELSEWHERE = "2001:db8:1::/64"


@pytest.mark.parametrize("quotas", [Quotas(address_count=10), Quotas(address_bytes=10 * STORED_COST)])
@pytest.mark.parametrize("over", [-1, 0, 1])
def test_the_addresses_of_one_ipv6_site_share_what_they_store(over: int, quotas: Quotas) -> None:
    """Each within its own limit, of which the site has SITE_SHARE."""
    sources, most = Sources(quotas), 10 * SITE_SHARE
    waits = [sources.store(NEIGHBOURS[number % 5], 0, 0.0) for number in range(most + over)]
    assert [wait == 0.0 for wait in waits] == [True] * min(most + over, most) + [False] * max(0, over)
    assert sources.store(ELSEWHERE, 0, 0.0) == 0.0
    assert sources.store("192.0.2.1", 0, 0.0) == 0.0


@pytest.mark.parametrize("over", [-1, 0, 1])
def test_the_addresses_of_one_ipv6_site_share_connections_and_topics(over: int) -> None:
    sources, most = Sources(Quotas(address_connections=10, address_topics=10)), 10 * SITE_SHARE
    for take, give_back in ((sources.enter, sources.leave), (sources.watch, sources.unwatch)):
        refusals = [take(NEIGHBOURS[number % 5]) for number in range(most + over)]
        assert [refusal is None for refusal in refusals] == [True] * min(most + over, most) + [False] * max(0, over)
        assert take(ELSEWHERE) is None
        give_back(NEIGHBOURS[0])
        assert take(NEIGHBOURS[1]) is None
    assert [take(ELSEWHERE) is None for _ in range(10)] == [True] * 9 + [False]


def test_a_site_does_not_get_rid_of_its_window_by_using_many_addresses() -> None:
    sources = Sources(Quotas(address_count=MAX_ADDRESSES // SITE_SHARE))
    for number in range(MAX_ADDRESSES):
        assert sources.store(f"2001:db8:0:{number:x}::/64", 0, 0.0) == 0.0
    assert sources.store("192.0.2.1", 0, 0.0) == 0.0
    assert sources.store("2001:db8:0:ffff::/64", 0, 0.0) > 0
    assert sources.store(NEIGHBOURS[0], 0, 0.0) > 0


@pytest.mark.parametrize("tries", [4, 5, 6])
def test_connections_are_counted_by_address(tries: int) -> None:
    sources = Sources(Quotas(address_connections=5))
    refusals = [sources.enter("a") for _ in range(tries)]
    assert [refusal is None for refusal in refusals] == [True] * min(tries, 5) + [False] * (tries - 5)
    assert sources.enter("b") is None
    sources.leave("a")
    assert sources.enter("a") is None


@pytest.mark.parametrize("tries", [7, 8, 9])
def test_connections_are_counted_in_all(tries: int) -> None:
    sources = Sources(Quotas(connections=8))
    refusals = [sources.enter(str(number)) for number in range(tries)]
    assert [refusal is None for refusal in refusals] == [True] * min(tries, 8) + [False] * (tries - 8)
    sources.leave("0")
    assert sources.enter("late") is None


@pytest.mark.parametrize("tries", [4, 5, 6])
@pytest.mark.parametrize("quotas", [Quotas(address_topics=5), Quotas(watches=5)])
def test_watches_are_counted_by_address_and_in_all(quotas: Quotas, tries: int) -> None:
    sources = Sources(quotas)
    refusals = [sources.watch("a") for _ in range(tries)]
    assert [refusal is None for refusal in refusals] == [True] * min(tries, 5) + [False] * (tries - 5)
    assert (sources.watch("b") is None) == (quotas.watches > 5 or tries < 5)
    sources.unwatch("a")
    assert sources.watch("a") is None


@pytest.mark.parametrize("over", [-1, 0, 1])
def test_only_so_many_addresses_are_remembered(over: int) -> None:
    sources = Sources(Quotas(address_bytes=STORED_COST))
    for number in range(MAX_ADDRESSES + over):
        assert sources.store(str(number), 10, 0.0) == 0.0
    assert (sources.store("1", 1, 0.0) == 0.0) is False
    assert (sources.store("0", 1, 0.0) == 0.0) is (over > 0)


def test_one_ipv6_customer_is_one_source() -> None:
    assert source_of("2001:db8::1") == source_of("2001:db8::ffff:1") == "2001:db8::/64"
    assert source_of("2001:db8:0:1::1") != source_of("2001:db8::1")
    assert source_of("::ffff:192.0.2.1") == source_of("192.0.2.1") == "192.0.2.1"
    assert source_of("fe80::1%eth0") == "fe80::/64"
    assert source_of("") == ""
    assert site_of("2001:db8:1:2::/64") == site_of("2001:db8:1:3::/64") == "2001:db8:1::/48"
    assert site_of("192.0.2.1") == "192.0.2.1"
    assert site_of("") == ""


@pytest.mark.parametrize("field", [attribute.name for attribute in Quotas.__attrs_attrs__])
def test_a_quota_is_above_zero(field: str) -> None:
    Quotas(**{field: 1})
    for bad in (0, -1):
        with pytest.raises(InvalidInput):
            Quotas(**{field: bad})


@pytest.mark.parametrize(("size", "fits"), [(MAX_PAYLOAD - 1, True), (MAX_PAYLOAD, True), (MAX_PAYLOAD + 1, False)])
def test_no_relay_promises_more_than_a_message_carries(size: int, fits: bool) -> None:
    if fits:
        assert Quotas(max_payload=size).max_payload == size
    else:
        with pytest.raises(InvalidInput):
            Quotas(max_payload=size)


# --- what a client has room for ---


def arrival(watch: int, size: int) -> Delivered:
    return Delivered(watch, b"cursor", bytes(size - limits.ARRIVAL_COST), 1, 1, False)


@pytest.mark.parametrize("over", [-1, 0, 1])
def test_room_is_granted_again_when_a_quarter_of_the_window_was_read(over: int) -> None:
    inbox = Inbox()
    (wanted,) = inbox.add({"/t": None})
    assert inbox.first_grant() == WINDOW
    inbox.take(arrival(wanted.watch, WINDOW // 4 + over))
    assert inbox.next_grant() == 0
    assert inbox.pop() is not None
    assert inbox.next_grant() == (WINDOW // 4 + over if over >= 0 else 0)


@pytest.mark.parametrize("over", [-1, 0, 1])
def test_a_relay_that_sends_beyond_its_grants_is_noticed(over: int) -> None:
    inbox = Inbox()
    (wanted,) = inbox.add({"/t": None})
    assert inbox.take(arrival(wanted.watch, WINDOW + MAX_MESSAGE))
    assert inbox.take(arrival(wanted.watch, MAX_MESSAGE + over)) == (over <= 0)


def test_what_is_unread_of_a_topic_goes_when_it_is_no_longer_watched_and_its_room_comes_back() -> None:
    inbox = Inbox()
    here, there = inbox.add({"/here": None, "/there": b"old"})
    inbox.take(arrival(here.watch, WINDOW // 2))
    inbox.take(arrival(there.watch, 1000))
    assert inbox.remove(["/here", "/unknown"]) == [here.watch]
    assert inbox.next_grant() == WINDOW // 2
    inbox.take(arrival(here.watch, WINDOW // 4))
    assert inbox.next_grant() == WINDOW // 4
    assert [(one.topic, one.cursor) for one in inbox.wanted()] == [("/there", b"cursor")]
    popped = inbox.pop()
    assert popped is not None
    assert popped.envelope.topic == "/there"
    assert inbox.pop() is None


def test_a_new_watch_of_a_topic_is_not_moved_by_what_still_comes_of_the_old_one() -> None:
    inbox = Inbox()
    (old,) = inbox.add({"/t": None})
    inbox.remove(["/t"])
    inbox.add({"/t": b"from here"})
    inbox.take(arrival(old.watch, 100))
    assert [one.cursor for one in inbox.wanted()] == [b"from here"]
    assert inbox.pop() is None


# --- when a client comes back ---


@pytest.mark.anyio
async def test_pauses_double_between_half_and_whole_up_to_the_longest() -> None:
    async def no_sleep(seconds: float) -> None:
        raise AssertionError(seconds)

    for jitter, share in ((0.0, 0.5), (0.5, 0.75), (0.999999, 1.0)):
        backoff = Backoff(lambda jitter=jitter: jitter, no_sleep)  # type: ignore[misc]  # bound at once
        pauses = [backoff.next() for _ in range(10)]
        expected = [min(limits.RETRY_MOST, limits.RETRY_FIRST * 2**n) * share for n in range(10)]
        assert pauses == pytest.approx(expected, rel=1e-5)


@pytest.mark.anyio
async def test_only_a_connection_that_lasted_starts_the_pauses_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr("kexkit_transport_relay.backoff.anyio.current_time", lambda: now)
    backoff = Backoff(lambda: 0.0, anyio.sleep)
    for lasted, grows in ((limits.STEADY_SECONDS - 0.1, True), (limits.STEADY_SECONDS, False)):
        before = [backoff.next() for _ in range(3)][-1]
        backoff.connected()
        now += lasted
        assert (backoff.next() > before) == grows


@pytest.mark.anyio
async def test_a_pause_is_cut_short_when_somebody_needs_the_connection_but_not_to_nothing() -> None:
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        await anyio.sleep(0 if len(slept) % 2 else 3600)

    backoff = Backoff(lambda: 0.0, sleep)
    for _ in range(6):
        backoff.next()
    needed = anyio.Event()
    needed.set()
    with anyio.fail_after(30):
        await backoff.pause(needed)
    assert slept[0] == limits.RETRY_FIRST / 2


@pytest.mark.parametrize("over", [-1, 0, 1])
def test_a_cursor_that_no_relay_can_have_given_is_not_sent_to_one(over: int) -> None:
    """Another transport's, from a store that was used with it: 256 long ones would be more than one message."""
    inbox = Inbox()
    (wanted,) = inbox.add({"/t": bytes(limits.MAX_CURSOR + over)})
    assert wanted.cursor == (bytes(limits.MAX_CURSOR + over) if over <= 0 else None)
    assert inbox.wanted() == [wanted]
