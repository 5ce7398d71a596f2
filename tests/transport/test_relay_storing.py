"""The relay stores before it says so, forwards what is new, and pages the past."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from kexkit_transport_relay import serve
from kexkit_transport_relay.committer import Pending
from kexkit_transport_relay.ledger import LedgerFailed
from kexkit_transport_relay.limits import (
    ARRIVAL_COST,
    BATCH_BYTES,
    BATCH_COUNT,
    EPHEMERAL_BYTES,
    EPHEMERAL_COUNT,
    MAX_GRANT,
    MAX_PAYLOAD,
    PAGE_BYTES,
    PAGE_COUNT,
)
from kexkit_transport_relay.messages import (
    Grant,
    Page,
    Publish,
    Stored,
    Unwatch,
)

from tests.transport.by_hand import GENEROUS, PATIENCE, TOPIC, by_hand, envelope, until

pytestmark = pytest.mark.anyio


async def test_pages_hold_so_many_arrivals_and_the_next_one_goes_on() -> None:
    async with serve(quotas=GENEROUS) as relay, by_hand(relay.url) as alice:
        assert alice.welcome.relay == relay.relay.ledger.relay_id
        await alice.publish(*(envelope(number) for number in range(PAGE_COUNT * 2 + 1)))
        await alice.watch()
        await alice.say(Grant(MAX_GRANT))
        sizes = []
        while sum(sizes) < PAGE_COUNT * 2 + 1:
            page = await alice.hear()
            assert isinstance(page, Page)
            sizes.append(len(page.arrivals))
        assert sizes == [PAGE_COUNT, PAGE_COUNT, 1]
        assert await alice.silent()


async def test_pages_hold_so_many_bytes() -> None:
    size = PAGE_BYTES // 4 - ARRIVAL_COST
    async with serve(quotas=GENEROUS) as relay, by_hand(relay.url) as alice:
        await alice.publish(*(envelope(number, size) for number in range(5)))
        await alice.watch()
        await alice.say(Grant(MAX_GRANT))
        pages = [await alice.hear(), await alice.hear()]
        assert [len(page.arrivals) for page in pages if isinstance(page, Page)] == [4, 1]


async def test_ten_thousand_envelopes_are_paged_by_cursor_across_connections() -> None:
    total = 10_000
    async with serve(quotas=GENEROUS) as relay, by_hand(relay.url) as alice:
        for start in range(0, total, 500):
            await alice.publish(*(envelope(number) for number in range(start, start + 500)))
        cursor, seen = None, []
        for count in (1, 63, 64, 65, 1000, 5000, total):
            async with by_hand(relay.url) as bob:
                await bob.watch(cursor=cursor)
                arrivals = await bob.read(min(count, total - len(seen)))
                kept = arrivals[:count]
                seen += [one.payload for one in kept]
                cursor = kept[-1].cursor
                if len(seen) == total:
                    break
        assert seen == [envelope(number).payload for number in range(total)]


async def test_what_was_published_twice_is_stored_and_forwarded_once() -> None:
    async with serve() as relay, by_hand(relay.url) as alice, by_hand(relay.url) as bob:
        await bob.watch()
        assert await alice.publish(envelope(1), envelope(1)) == [None, None]
        assert await bob.publish(envelope(1), envelope(2)) == [None, None]
        await alice.watch()
        assert [one.payload for one in await alice.read(2)] == [b"payload 1", b"payload 2"]
        assert await alice.silent()
        assert relay.relay.ledger.count == 2


async def test_a_stored_answer_comes_after_the_commit(monkeypatch: pytest.MonkeyPatch) -> None:
    async with serve() as relay, by_hand(relay.url) as alice:
        release = threading.Event()
        append = relay.relay.ledger.append
        monkeypatch.setattr(
            relay.relay.ledger, "append", lambda batch, sites: release.wait(PATIENCE) and append(batch, sites)
        )
        await alice.say(Publish(1, envelope(1)))
        assert await alice.silent()
        release.set()
        assert await alice.hear() == Stored((1,))
        assert relay.relay.ledger.count == 1


@pytest.mark.parametrize("over", [-1, 0, 1])
async def test_publications_that_wait_together_are_one_commit_up_to_a_number(
    over: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serve(quotas=GENEROUS) as relay, by_hand(relay.url) as alice:
        batches: list[int] = []
        first, append = threading.Event(), relay.relay.ledger.append

        def slow(batch: list[object], sites: list[str]) -> list[bool]:
            if not batches:
                first.wait(PATIENCE)
            batches.append(len(batch))
            return append(batch, sites)  # type: ignore[arg-type]  # what the committer gave

        monkeypatch.setattr(relay.relay.ledger, "append", slow)
        await alice.say(Publish(0, envelope(0)))
        await until(lambda: not relay.relay.committer._queue and relay.relay.committer._bytes > 0)
        many = BATCH_COUNT + over
        await alice.say(*(Publish(number, envelope(number)) for number in range(1, many + 1)))
        await until(lambda: len(relay.relay.committer._queue) == many)
        first.set()
        await until(lambda: sum(batches) == many + 1)
        assert batches == ([1, many] if over <= 0 else [1, BATCH_COUNT, 1])


async def test_a_commit_takes_no_more_when_it_has_its_bytes() -> None:
    async with serve() as relay:
        committer = relay.relay.committer
        sizes = [MAX_PAYLOAD] * (BATCH_BYTES // MAX_PAYLOAD) + [1]
        for number, size in enumerate(sizes):
            committer._queue.append(Pending(envelope(number, size), lambda failure: None))
        assert [len(committer._next_batch()), len(committer._next_batch())] == [len(sizes) - 1, 1]


async def test_a_relay_that_cannot_store_says_try_again_and_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    async with serve() as relay, by_hand(relay.url) as alice:

        def fail(batch: object, sites: object) -> None:
            raise LedgerFailed("disk full")

        with monkeypatch.context() as patch:
            patch.setattr(relay.relay.ledger, "append", fail)
            (refused,) = await alice.publish(envelope(1))
        assert refused is not None
        assert not refused.final
        assert "disk" not in refused.reason
        assert await alice.publish(envelope(1)) == [None]


async def test_a_restart_keeps_envelopes_cursors_and_identity(tmp_path: Path) -> None:
    async with serve(tmp_path / "r") as relay, by_hand(relay.url) as alice:
        await alice.publish(*(envelope(number) for number in range(5)))
        await alice.watch()
        arrivals = await alice.read(5)
    async with serve(tmp_path / "r") as relay, by_hand(relay.url) as bob:
        await bob.watch(cursor=arrivals[2].cursor)
        assert [one.payload for one in await bob.read(2)] == [b"payload 3", b"payload 4"]
    async with serve(tmp_path / "other") as relay, by_hand(relay.url) as bob:
        await bob.publish(envelope(7))
        await bob.watch(cursor=arrivals[4].cursor)
        assert [one.payload for one in await bob.read(1)] == [b"payload 7"]


async def test_unwatching_by_number_stops_and_its_number_can_be_used_again() -> None:
    async with serve() as relay, by_hand(relay.url) as alice:
        await alice.watch(watch=5)
        await alice.publish(envelope(1))
        await alice.read(1)
        await alice.say(Unwatch((5, 6)))
        await alice.publish(envelope(2))
        assert await alice.silent()
        assert relay.relay.watchers == {}
        await alice.watch(watch=5)
        assert len(await alice.read(2)) == 2


async def test_ephemeral_envelopes_are_forwarded_and_not_stored() -> None:
    async with serve() as relay, by_hand(relay.url) as alice, by_hand(relay.url) as bob:
        await bob.watch()
        await bob.say(Grant(MAX_GRANT))
        await until(lambda: TOPIC in relay.relay.watchers)
        assert await alice.publish(envelope(1, ephemeral=True), envelope(2)) == [None, None]
        arrivals = await bob.read(2)
        assert {(one.payload, one.ephemeral) for one in arrivals} == {(b"payload 1", True), (b"payload 2", False)}
        assert relay.relay.ledger.count == 1
        for one in arrivals:
            await bob.watch(cursor=one.cursor, watch=2)
            expected = 1 if one.ephemeral else 0
            assert len(await bob.read(expected)) == expected
            await bob.say(Unwatch((2,)))


@pytest.mark.parametrize("over", [-1, 0, 1])
async def test_only_so_many_ephemeral_envelopes_wait_for_a_reader_and_the_oldest_go(over: int) -> None:
    async with serve(quotas=GENEROUS) as relay, by_hand(relay.url) as bob:
        await bob.watch()
        sent = [envelope(number, ephemeral=True) for number in range(EPHEMERAL_COUNT + over)]
        await bob.publish(*sent)
        arrivals = await bob.read(min(len(sent), EPHEMERAL_COUNT))
        assert [one.payload for one in arrivals] == [one.payload for one in sent][max(0, over) :]
        large = [envelope(number, EPHEMERAL_BYTES // 4 + max(0, over), ephemeral=True) for number in range(4)]
        await bob.say(Unwatch((1,)))
    async with serve(quotas=GENEROUS) as relay, by_hand(relay.url) as bob:
        await bob.watch()
        await bob.publish(*large)
        arrivals = await bob.read(3 if over > 0 else 4)
        assert arrivals[0].payload == large[1 if over > 0 else 0].payload


async def test_a_topic_is_watched_once_on_a_connection_however_often_it_is_asked_for() -> None:
    """Or one publication would be work for thousands of watches, at no cost to who made them."""
    async with serve(quotas=GENEROUS) as relay, by_hand(relay.url) as alice:
        for watch in range(1, 6):
            await alice.watch(watch=watch)
        await until(lambda: list(relay.relay.watchers.get(TOPIC, {}).values()) == [5])
        assert relay.relay.sources.watches == 1
        await alice.publish(envelope(1, ephemeral=True), envelope(2))
        arrivals = await alice.read(2)
        assert [(one.watch, one.payload) for one in arrivals] == [(5, b"payload 1"), (5, b"payload 2")]
        assert await alice.silent()
