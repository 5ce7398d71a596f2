"""The relay's store: sequences that never go back, cursors that never skip, files that nobody else reads."""

from __future__ import annotations

import sqlite3
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st
from kexkit.api import Envelope
from kexkit_transport_relay.ledger import CHECK_BYTES, DATABASE, Ledger, LedgerFailed, LedgerUnusable, envelope_hash
from kexkit_transport_relay.limits import ARRIVAL_COST, CLOCK_SLACK, DAY, EXPIRE_COUNT, Quotas

from tests.transport.by_hand import TOPIC, envelope

ALL = 10**9


class Clock:
    now = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now


@contextmanager
def opened(folder: Path, quotas: Quotas | None = None, clock: Clock | None = None) -> Iterator[Ledger]:
    ledger = Ledger(folder, quotas or Quotas(), clock=clock or Clock())
    try:
        yield ledger
    finally:
        ledger.close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "relay"


def sequences(ledger: Ledger, after: int = 0, topic: str = TOPIC) -> list[int]:
    return [kept.sequence for kept in ledger.page(topic, after, count=ALL, size=ALL)[0]]


def test_envelopes_come_back_exactly_and_in_order_after_reopening(folder: Path) -> None:
    envelopes = [evolve(envelope(number, number), version=2**32 - 1, timestamp=-number) for number in range(20)]
    with opened(folder) as ledger:
        assert ledger.append(envelopes) == [True] * 20
        relay_id = ledger.relay_id
    with opened(folder) as ledger:
        kept, more = ledger.page(TOPIC, 0, count=100, size=ALL)
        assert [Envelope(TOPIC, one.payload, one.version, one.timestamp) for one in kept] == envelopes
        assert not more
        assert (ledger.relay_id, ledger.count) == (relay_id, 20)
        assert ledger.stored_bytes == sum(len(one.payload) + ARRIVAL_COST for one in envelopes)


def test_an_identical_envelope_is_stored_once_and_any_difference_counts(folder: Path) -> None:
    one = envelope(1)
    others = [
        evolve(one, topic=TOPIC + "2"),
        evolve(one, payload=one.payload + b"2"),
        evolve(one, version=2),
        evolve(one, timestamp=one.timestamp + 1),
    ]
    with opened(folder) as ledger:
        assert ledger.append([one, one, *others]) == [True, False, True, True, True, True]
        assert ledger.append([one, *others]) == [False] * 5
    assert envelope_hash(evolve(one, topic="ab", payload=b"c")) != envelope_hash(evolve(one, topic="a", payload=b"bc"))


def test_topics_have_sequences_of_their_own(folder: Path) -> None:
    with opened(folder) as ledger:
        ledger.append([envelope(1), envelope(1, topic="/other"), envelope(2), envelope(2, topic="/other")])
        assert sequences(ledger) == sequences(ledger, topic="/other") == [1, 2]


@pytest.mark.parametrize(("count", "given_back"), [(9, 9), (10, 10), (11, 10)])
def test_a_page_holds_so_many_arrivals_and_no_more(folder: Path, count: int, given_back: int) -> None:
    with opened(folder) as ledger:
        ledger.append([envelope(number) for number in range(count)])
        kept, more = ledger.page(TOPIC, 0, count=10, size=ALL)
        assert len(kept) == given_back
        assert more == (given_back == 10)


@pytest.mark.parametrize(("size", "given_back"), [(-1, 2), (0, 3), (1, 3)])
def test_a_page_holds_so_many_bytes_and_at_least_one_arrival(folder: Path, size: int, given_back: int) -> None:
    with opened(folder) as ledger:
        ledger.append([envelope(number, 100) for number in range(5)])
        kept, more = ledger.page(TOPIC, 0, count=10, size=3 * (100 + ARRIVAL_COST) + size)
        assert (len(kept), more) == (given_back, True)
        assert [one.sequence for one in ledger.page(TOPIC, 3, count=10, size=1)[0]] == [4]


def test_what_was_appended_survives_a_power_cut(folder: Path) -> None:
    """As far as SQLite can: with less than FULL (2), a commit in WAL mode returns before it is on the disk."""
    with opened(folder) as ledger:
        for connection in (ledger._writer, ledger._reader):
            assert connection.execute("PRAGMA synchronous").fetchone() == (2,)
            assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)


# --- cursors ---


def test_a_cursor_says_where_to_go_on(folder: Path) -> None:
    with opened(folder) as ledger:
        ledger.append([envelope(number) for number in range(5)])
        for kept in ledger.page(TOPIC, 0, count=10, size=ALL)[0]:
            assert ledger.resume(TOPIC, kept.cursor) == (kept.sequence, kept.cursor)
        beginning = ledger.resume(TOPIC, None)
        assert beginning[0] == 0
        assert ledger.resume(TOPIC, beginning[1]) == beginning


def test_cursors_of_another_relay_from_the_future_or_of_lost_history_begin_again(folder: Path, tmp_path: Path) -> None:
    with opened(folder) as ledger, opened(tmp_path / "other") as other:
        for each in (ledger, other):
            each.append([envelope(number) for number in range(5)])
        theirs = other.page(TOPIC, 0, count=10, size=ALL)[0][2].cursor
        ours = ledger.page(TOPIC, 0, count=10, size=ALL)[0][2].cursor
        bad = [
            theirs,
            ours[:8] + (6).to_bytes(8, "big") + ours[16:],
            ours[:8] + b"\xff" * 8 + ours[16:],
            ours[:16] + bytes(CHECK_BYTES),
            ours[:-1],
            ours + b"\0",
            b"",
        ]
        assert [ledger.resume(TOPIC, cursor)[0] for cursor in bad] == [0] * len(bad)
        assert ledger.resume("/never/seen", ours)[0] == 0


@settings(max_examples=300, derandomize=True, deadline=None)
@given(cursor=st.binary(max_size=40))
def test_any_bytes_are_a_cursor_or_the_beginning(cursor: bytes, tmp_path_factory: pytest.TempPathFactory) -> None:
    with opened(_shared(tmp_path_factory)) as ledger:
        for said in (cursor, ledger.relay_id + cursor):
            assert ledger.resume(TOPIC, said)[0] in range(4)


def _shared(factory: pytest.TempPathFactory) -> Path:
    folder = factory.getbasetemp() / "shared-ledger"
    if not folder.exists():
        with opened(folder) as ledger:
            ledger.append([envelope(number) for number in range(3)])
    return folder


# --- retention ---


def test_what_is_too_old_goes_and_its_sequences_never_come_again(folder: Path) -> None:
    clock = Clock()
    with opened(folder, Quotas(keep_seconds=DAY), clock) as ledger:
        ledger.append([envelope(number) for number in range(3)])
        cursor = ledger.page(TOPIC, 0, count=10, size=ALL)[0][-1].cursor
        clock.now += DAY - 1
        ledger.append([envelope(9)])
        assert not ledger.expire()
        assert sequences(ledger) == [1, 2, 3, 4]
        clock.now += 1
        ledger.expire()
        assert sequences(ledger) == [4]
        assert ledger.resume(TOPIC, cursor)[0] == 3
        clock.now += DAY
        ledger.expire()
        assert (ledger.count, ledger.stored_bytes, sequences(ledger)) == (0, 0, [])
        assert ledger.resume(TOPIC, cursor)[0] == 3
        ledger.append([envelope(10)])
        assert sequences(ledger, after=3) == [5]


@pytest.mark.parametrize("over", [-1, 0, 1])
def test_what_is_too_many_or_too_much_of_one_source_goes_oldest_first(folder: Path, over: int) -> None:
    with opened(folder, Quotas(keep_count=10)) as ledger:
        ledger.append([envelope(number) for number in range(10 + over)])
        assert ledger.overfull == (over > 0)
        ledger.expire()
        assert ledger.count == min(10 + over, 10)
        assert sequences(ledger)[0] == max(1, 1 + over)
    with opened(folder.with_name("sized"), Quotas(keep_bytes=5 * (100 + ARRIVAL_COST))) as ledger:
        ledger.append([envelope(number, 100) for number in range(5 + over)])
        assert ledger.overfull == (over > 0)
        ledger.expire()
        assert len(sequences(ledger)) == min(5 + over, 5)
        assert sequences(ledger)[0] == max(1, 1 + over)


@pytest.mark.parametrize("over", [-1, 0, 1])
def test_expiry_is_done_in_bites(folder: Path, over: int) -> None:
    clock = Clock()
    with opened(folder, Quotas(keep_seconds=1), clock) as ledger:
        ledger.append([envelope(number) for number in range(EXPIRE_COUNT + over)])
        clock.now += 2
        assert ledger.expire() == (over >= 0)
        assert ledger.count == max(0, over)


# --- files ---


def test_nobody_else_can_read_the_folder_or_its_files(folder: Path) -> None:
    with opened(folder) as ledger:
        ledger.append([envelope(1)])
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()}
        assert modes == dict.fromkeys(("relay.db", "relay.db-wal", "relay.db-shm", "relay.lock"), 0o600)


def test_an_open_folder_is_closed_to_others_and_a_foreign_one_is_left_alone(folder: Path, tmp_path: Path) -> None:
    folder.mkdir(mode=0o755)
    with opened(folder):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    foreign = tmp_path / "foreign"
    foreign.mkdir(mode=0o755)
    (foreign / "thesis.txt").touch()
    with pytest.raises(LedgerUnusable, match="other files"), opened(foreign):
        pass
    assert stat.S_IMODE(foreign.stat().st_mode) == 0o755
    assert [path.name for path in foreign.iterdir()] == ["thesis.txt"]


def test_one_relay_at_a_time_uses_a_folder(folder: Path) -> None:
    with opened(folder), pytest.raises(LedgerUnusable, match="Another relay uses"), opened(folder):
        pass
    with opened(folder):
        pass


@pytest.mark.parametrize("spoil", ["newer", "garbage", "no folder"])
def test_a_folder_that_cannot_be_used_is_said_plainly(folder: Path, spoil: str) -> None:
    if spoil == "no folder":
        folder.touch()
    else:
        with opened(folder):
            pass
        if spoil == "newer":
            database = sqlite3.connect(folder / DATABASE)
            database.execute("PRAGMA user_version = 3")
            database.close()
        else:
            (folder / DATABASE).write_bytes(b"not a database, but long enough to be looked at" * 100)
    with pytest.raises(LedgerUnusable, match=r"newer|cannot"), opened(folder):
        pass


def test_a_failing_disk_is_typed_and_leaves_the_ledger_as_it_was(folder: Path) -> None:
    with opened(folder) as ledger:
        ledger.append([envelope(1)])
        pages = ledger._writer.execute("PRAGMA page_count").fetchone()[0]
        ledger._writer.execute(f"PRAGMA max_page_count = {pages}")
        before = (ledger.count, ledger.stored_bytes)
        with pytest.raises(LedgerFailed):
            ledger.append([envelope(2), envelope(3, 1_000_000)])
        assert (ledger.count, ledger.stored_bytes) == before
        ledger._writer.execute("PRAGMA max_page_count = 1000000")
        assert ledger.append([envelope(2), envelope(3, 1_000_000)]) == [True, True]
        assert sequences(ledger) == [1, 2, 3]


def test_a_ledger_that_cannot_be_read_is_typed(folder: Path) -> None:
    with opened(folder) as ledger:
        ledger._reader.execute("PRAGMA query_only = OFF")
        ledger._reader.execute("DROP TABLE topic")
        with pytest.raises(LedgerFailed):
            ledger.page(TOPIC, 0, count=1, size=1)
        with pytest.raises(LedgerFailed):
            ledger.resume(TOPIC, ledger.relay_id + bytes(16))
        with pytest.raises(LedgerFailed):
            ledger.append([envelope(1)])


@pytest.mark.parametrize("over", [-1, 0, 1])
def test_what_came_while_the_clock_was_ahead_keeps_nothing_for_ever(folder: Path, over: int) -> None:
    """Its time begins when the clock is right again; what was stored after it goes at its own age."""
    clock = Clock()
    with opened(folder, Quotas(keep_seconds=30 * DAY), clock) as ledger:
        clock.now += CLOCK_SLACK + over
        ledger.append([envelope(1)])
        clock.now = Clock.now
        ledger.append([envelope(2)])
        ledger.expire()
        assert sequences(ledger) == [1, 2]
        clock.now += 30 * DAY + 1
        ledger.expire()
        assert sequences(ledger) == ([] if over > 0 else [1, 2])


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE topic SET last = 'x'",
        "UPDATE topic SET last = 9223372036854775807",
        "UPDATE envelope SET payload = 5",
        "UPDATE envelope SET hash = 5",
        "UPDATE envelope SET received = 'x'",
        "UPDATE envelope SET size = 'x'",
    ],
)
def test_a_row_that_no_relay_wrote_is_a_failure_of_the_ledger_and_nothing_else(folder: Path, damage: str) -> None:
    """Anything else would end the one task that stores, and with it the relay."""
    with opened(folder) as ledger:
        ledger.append([envelope(1)])
        cursor = ledger.page(TOPIC, 0, count=1, size=ALL)[0][0].cursor
    with sqlite3.connect(folder / DATABASE) as database:
        database.execute(damage)
    database.close()
    with opened(folder, Quotas(keep_count=1)) as ledger:
        for call in (
            lambda: ledger.append([envelope(2)]),
            lambda: ledger.page(TOPIC, 0, count=9, size=ALL),
            lambda: ledger.resume(TOPIC, cursor),
            ledger.expire,
        ):
            with suppress(LedgerFailed):
                call()
        ledger.append([envelope(3, topic="/another")])


@pytest.mark.parametrize(
    "damage", ["DELETE FROM relay", "UPDATE relay SET id = 'a text'", "UPDATE relay SET id = x'00'"]
)
def test_a_relay_that_does_not_know_itself_does_not_start(folder: Path, damage: str) -> None:
    with opened(folder):
        pass
    with sqlite3.connect(folder / DATABASE) as database:
        database.execute(damage)
    database.close()
    with pytest.raises(LedgerUnusable, match="its own id"), opened(folder):
        pass
