"""The shell's bounds, at one less, at the bound, at one more; and its patience."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Mapping

import anyio
import pytest
from kexkit import DeliveryChanged, EventsMissed, TransportTrouble, Unreadable, open_node
from kexkit import _records as records
from kexkit._engine.requests import Draft, Flow, Outcome
from kexkit._shell import runtime, transmitter
from kexkit._shell.inbox import Inbox
from kexkit._shell.overlay import Recent
from kexkit._shell.transmitter import Transmitter
from kexkit._shell.writer import Writer
from kexkit.api import Arrival, Change, Envelope, Key
from kexkit.errors import Conflict, TransportError
from kexkit.events import Delivery, TextReceived
from kexkit.limits import (
    BACKOFF_FIRST_S,
    BACKOFF_LAST_S,
    CONFIRM_LAG_S,
    CONFLICT_RETRIES,
    EVENTS_KEPT,
    INBOX_PAGE,
    OUTBOX_PAGE,
    PUBLISH_WINDOW,
    RECENT_ENVELOPES,
    ROWS_CACHED,
    SESSIONS_CACHED,
    WATCH_CHUNK,
)
from kexkit.testing import MemoryStore
from kexkit_psk.exchange import Psk

from tests.engine.nodes import PATIENCE, flushed, so_many, told, two_nodes, until

AROUND = pytest.mark.parametrize("beyond", [-1, 0, 1])


class Deaf:
    """A transport that takes or refuses, and from which nothing comes."""

    def __init__(self, *, fails: bool = False, hangs: bool = False) -> None:
        self.fails, self.hangs = fails, hangs
        self.at_once = self.most_at_once = 0
        self.published: list[Envelope] = []
        self.watched: list[int] = []
        self.go = anyio.Event()

    async def publish(self, envelope: Envelope) -> None:
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            if self.hangs:
                await self.go.wait()
            if self.fails:
                raise TransportError
            await anyio.sleep(0.01)
            self.published.append(envelope)
        finally:
            self.at_once -= 1

    async def watch(self, topics: Mapping[str, bytes | None]) -> None:
        self.watched.append(len(topics))

    async def unwatch(self, topics: object) -> None:
        raise AssertionError

    async def arrivals(self) -> AsyncIterator[Arrival]:
        await anyio.sleep_forever()
        yield Arrival(Envelope("", b"", 1, 1), b"")


def envelope(number: int) -> Envelope:
    return Envelope("t", number.to_bytes(4, "big"), 1, number + 1)


async def with_backlog(store: MemoryStore, count: int) -> None:
    rows = {
        records.sequence_key("outbox", number + 1): records.write(records.outgoing_of(envelope(number)))
        for number in range(count)
    }
    await store.apply(Change({}, rows))


def made(store: MemoryStore, transport: Deaf, had: list[Key], trouble: list[TransportTrouble]) -> Transmitter:
    return Transmitter(store, transport, leaving=lambda *_: None, stored=had.append, trouble=trouble.append)


@pytest.mark.parametrize("limit", [ROWS_CACHED, SESSIONS_CACHED])
@AROUND
def test_what_is_remembered_is_bounded_and_the_oldest_goes(limit: int, beyond: int) -> None:
    writer = Writer(MemoryStore(), restore=lambda row: None, committed=lambda outcome: None)  # type: ignore[arg-type,return-value]  # never called
    assert {writer._rows._limit, writer._sessions._limit} == {ROWS_CACHED, SESSIONS_CACHED}
    recent: Recent[int, int] = Recent(limit)
    for number in range(limit + beyond):
        recent.put(number, number)
    assert len(recent) == min(limit + beyond, limit)
    assert (0 in recent) == (beyond <= 0)


@pytest.mark.anyio
@AROUND
async def test_an_operation_is_worked_out_so_often_when_rows_move(beyond: int) -> None:
    """Once in its batch, CONFLICT_RETRIES times alone."""
    store, told = MemoryStore(), list[Outcome]()
    conflicts = CONFLICT_RETRIES + beyond

    class Moving(MemoryStore):
        async def apply(self, change: Change) -> None:
            nonlocal conflicts
            if conflicts > 0:
                conflicts -= 1
                raise Conflict
            await super().apply(change)

    store = Moving()
    writer = Writer(store, restore=lambda row: None, committed=told.append)  # type: ignore[arg-type,return-value]  # never called

    def flow() -> Flow[Outcome]:
        draft = Draft()
        yield from ()
        draft.write(("t", b"x"), b"y")
        return draft.outcome()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(writer.run)
        if beyond > 0:
            with pytest.raises(Conflict):
                await writer.perform(flow)
        else:
            await writer.perform(flow)
        await writer.close()
    assert len(told) == (beyond <= 0)


@pytest.mark.anyio
@AROUND
async def test_told_once_events_are_kept_to_a_bound_and_what_is_missed_is_counted(beyond: int) -> None:
    inbox = Inbox(MemoryStore())
    for number in range(EVENTS_KEPT + beyond):
        inbox.note(DeliveryChanged(number.to_bytes(4, "big"), b"", Delivery.SENT))
    events = await told(inbox.events(), lambda found: len(found) >= min(EVENTS_KEPT + beyond, EVENTS_KEPT + 1))
    missed = [event for event in events if isinstance(event, EventsMissed)]
    assert missed == ([EventsMissed(1)] if beyond > 0 else [])
    assert len(events) - len(missed) == min(EVENTS_KEPT + beyond, EVENTS_KEPT)


@pytest.mark.anyio
@AROUND
async def test_an_inbox_of_several_pages_is_read_whole_and_in_order(beyond: int) -> None:
    store, count = MemoryStore(), INBOX_PAGE + beyond
    entry = records.write(records.Inbox(unreadable=records.Unreadable(cause="x")))
    await store.apply(Change({}, {("inbox", n.to_bytes(16, "big")): entry for n in range(count)}))
    events = await told(Inbox(store).events(), so_many(count, Unreadable))
    receipts = [int.from_bytes(event.receipt, "big") for event in events]  # type: ignore[attr-defined]  # placeholders only
    assert receipts == list(range(count))


@pytest.mark.anyio
@AROUND
async def test_a_backlog_of_several_pages_is_sent_whole_and_so_many_at_once(beyond: int) -> None:
    store, transport, had = MemoryStore(), Deaf(), list[Key]()
    count = OUTBOX_PAGE + beyond
    await with_backlog(store, count)
    sender = made(store, transport, had, [])
    await sender.load_backlog()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(sender.run, tasks)
        with anyio.fail_after(PATIENCE):
            while not sender.idle:
                await anyio.sleep(0.01)
        tasks.cancel_scope.cancel()
    assert len(had) == len(transport.published) == count
    assert transport.most_at_once == PUBLISH_WINDOW


@pytest.mark.anyio
@AROUND
async def test_the_echo_of_what_we_sent_lately_is_known(beyond: int) -> None:
    sender = made(MemoryStore(), Deaf(), [], [])
    async with anyio.create_task_group() as tasks:
        window = anyio.Semaphore(1)
        for number in range(RECENT_ENVELOPES + beyond):
            await window.acquire()
            from kexkit._engine.requests import Departure

            sender._transport.publish = nothing  # type: ignore[method-assign]  # quick
            await sender._publish(Departure(("outbox", b""), envelope(number)), window)
        tasks.cancel_scope.cancel()
    assert sender.is_echo(envelope(0)) == (beyond <= 0)


async def nothing(envelope: Envelope) -> None:
    """Published."""


@pytest.mark.anyio
async def test_what_fails_is_tried_again_sooner_first_and_never_later_than_the_bound(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ratio = BACKOFF_LAST_S / BACKOFF_FIRST_S
    monkeypatch.setattr(transmitter, "BACKOFF_FIRST_S", 0.001)
    monkeypatch.setattr(transmitter, "BACKOFF_LAST_S", 0.001 * ratio)
    store, transport, trouble = MemoryStore(), Deaf(fails=True), list[TransportTrouble]()
    await with_backlog(store, 1)
    sender = made(store, transport, [], trouble)
    await sender.load_backlog()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(sender.run, tasks)
        with anyio.fail_after(PATIENCE):
            while len(trouble) < 10:
                await anyio.sleep(0.001)
        tasks.cancel_scope.cancel()
    waits = [one.retry_in * 1000 for one in trouble]
    assert waits[:2] == [1, 2]
    assert max(waits) == ratio


@pytest.mark.anyio
async def test_what_failed_together_goes_as_soon_as_one_gets_through() -> None:
    """Else an outage of a second kept the last of a dozen texts for minutes."""
    store, transport, had = MemoryStore(), Deaf(fails=True), list[Key]()
    await with_backlog(store, 3 * PUBLISH_WINDOW)
    trouble: list[TransportTrouble] = []
    sender = made(store, transport, had, trouble)
    await sender.load_backlog()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(sender.run, tasks)
        with anyio.fail_after(PATIENCE):
            while len(trouble) < 3 * PUBLISH_WINDOW:
                await anyio.sleep(0.001)
        assert max(one.retry_in for one in trouble) == BACKOFF_LAST_S
        transport.fails = False
        with anyio.fail_after(10 * BACKOFF_FIRST_S):
            while len(had) < 3 * PUBLISH_WINDOW:
                await anyio.sleep(0.001)
        tasks.cancel_scope.cancel()


class Shaky(Deaf):
    """Whose arrivals break off when they are told to."""

    def __init__(self) -> None:
        super().__init__()
        self.breaks = anyio.Event()

    async def arrivals(self) -> AsyncIterator[Arrival]:
        await self.breaks.wait()
        raise TransportError
        yield  # it makes this a generator


@pytest.mark.anyio
async def test_a_transport_that_was_well_for_long_is_read_again_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a node that has been open for months waits a minute after each outage, however short."""
    monkeypatch.setattr(runtime, "BACKOFF_FIRST_S", 0.01)
    monkeypatch.setattr(runtime, "BACKOFF_LAST_S", 0.08)
    shaky, waits = Shaky(), list[float]()
    async with open_node(MemoryStore(), shaky, [Psk(bytes(32))]) as node:
        shaky.breaks.set()
        with anyio.fail_after(PATIENCE):
            async for event in node.events():
                waits += [event.retry_in] if isinstance(event, TransportTrouble) else []
                if len(waits) == 5:
                    shaky.breaks = anyio.Event()
                    await anyio.sleep(0.3)
                    shaky.breaks.set()
                if len(waits) == 7:
                    break
    assert waits[:5] == [0.01, 0.02, 0.04, 0.08, 0.08]
    assert 0.01 in waits[5:]


@pytest.mark.anyio
async def test_arrivals_that_come_to_an_end_are_not_asked_for_without_pause() -> None:
    """A transport that was closed, or whose author ends them with a connection."""
    asked = 0

    class Ended(Deaf):
        async def arrivals(self) -> AsyncIterator[Arrival]:
            nonlocal asked
            asked += 1
            for none in ():
                yield none

    async with open_node(MemoryStore(), Ended(), [Psk(bytes(32))]):
        await anyio.sleep(0.3)
    assert asked == 1


@pytest.mark.anyio
async def test_tasks_that_share_a_reader_share_its_events() -> None:
    """None is told twice, and none passed over."""
    count, heard = 3 * INBOX_PAGE, list[str]()
    stores = {"alice": MemoryStore(), "bob": MemoryStore(yields=True)}
    async with two_nodes(stores=stores) as pair:
        await pair.greet()
        for number in range(count):
            await pair.alice.send(pair.bob_for_alice, f"{number}")

        async def received() -> bool:
            return len(await pair.bob.history(pair.alice_for_bob, limit=2 * count)) == count + 2

        await until(received)
        events = pair.bob.events()

        async def read() -> None:
            async for event in events:
                if isinstance(event, TextReceived):
                    heard.append(event.text)

        async with anyio.create_task_group() as tasks:
            for _ in range(3):
                tasks.start_soon(read)
            with anyio.move_on_after(PATIENCE):
                while len(heard) < count:
                    await anyio.sleep(0.01)
            await anyio.sleep(0.05)
            tasks.cancel_scope.cancel()
    assert sorted(map(int, heard)) == list(range(count))


@pytest.mark.anyio
async def test_events_that_are_told_once_keep_no_text_from_its_reader_however_many_come() -> None:
    async with two_nodes() as pair:
        await pair.greet()
        await pair.alice.send(pair.bob_for_alice, "among them")
        await flushed(pair.alice)
        read = 0
        with anyio.fail_after(PATIENCE):
            async for event in pair.bob.events():
                pair.bob._runtime.inbox.note(TransportTrouble("and another", 0.0))
                if isinstance(event, TextReceived) and event.text == "among them":
                    break
                read += 1
        assert read < 4 * INBOX_PAGE


@pytest.mark.anyio
async def test_that_the_network_has_it_is_written_down_by_itself() -> None:
    """CONFIRM_LAG_S after the publication, if nothing else is committed before."""
    async with two_nodes() as pair:
        await pair.greet()
        await anyio.sleep(CONFIRM_LAG_S * 4)
        began = time.monotonic()
        await pair.alice.send(pair.bob_for_alice, "x")
        with anyio.fail_after(PATIENCE):
            while [key for key in pair.stores["alice"].dump() if key[0] == "outbox"]:
                await anyio.sleep(0.005)
        assert time.monotonic() - began >= CONFIRM_LAG_S / 2


@pytest.mark.anyio
@AROUND
async def test_topics_are_asked_for_in_portions(beyond: int) -> None:
    count = WATCH_CHUNK + beyond
    portions = [len(part) for part in runtime.batched(list(range(count)), WATCH_CHUNK)]
    assert sum(portions) == count
    assert max(portions) <= WATCH_CHUNK
    assert len(portions) == (1 if beyond <= 0 else 2)


@pytest.mark.anyio
async def test_a_clock_that_was_set_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """SLEEP_LONGEST_S: whatever is planned for next week is found due when the clock jumps there."""
    monkeypatch.setattr(runtime, "SLEEP_LONGEST_S", 0.05)
    now, store = 1_800_000_000_000, MemoryStore()
    transport = Deaf()
    async with open_node(store, transport, [Psk(bytes(32))], clock=lambda: now):
        await anyio.sleep(0.2)
        before = len(transport.published)
        now += 7 * 3600 * 1000  # an advertisement is due every six hours
        with anyio.fail_after(PATIENCE):
            while len(transport.published) == before:
                await anyio.sleep(0.01)


@pytest.mark.anyio
async def test_closing_does_not_wait_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """CLOSE_GRACE_S: a publication that hangs is left in the outbox."""
    monkeypatch.setattr(runtime, "CLOSE_GRACE_S", 0.1)
    store = MemoryStore()
    with anyio.fail_after(PATIENCE):
        async with open_node(store, Deaf(hangs=True), [Psk(bytes(32))]):
            await anyio.sleep(0.1)
    assert [key for key in store.dump() if key[0] == "outbox"]
