"""Whose envelopes go when there are too many: who stored most gives way, and a flood displaces itself."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kexkit.api import Envelope
from kexkit_transport_relay import Quotas, serve
from kexkit_transport_relay.ledger import DATABASE, Ledger, LedgerFailed
from kexkit_transport_relay.limits import ARRIVAL_COST, EXPIRE_COUNT
from kexkit_transport_relay.quotas import source_of
from kexkit_transport_relay.shares import KEY_BYTES, Shares, give_way, share_of

from tests.transport.by_hand import TOPIC, by_hand, envelope, until
from tests.transport.test_relay_ledger import ALL, Clock, opened, sequences

MINE, YOURS = "/mine", "/yours"
EACH = 100 + ARRIVAL_COST


def store(ledger: Ledger, site: str, numbers: range, topic: str = TOPIC) -> None:
    envelopes = [envelope(number, 100, topic=topic) for number in numbers]
    assert all(ledger.append(envelopes, [site] * len(envelopes)))


def trim(ledger: Ledger) -> None:
    while ledger.expire():
        pass


@pytest.mark.parametrize("quotas", [Quotas(keep_count=100), Quotas(keep_bytes=100 * EACH)])
@pytest.mark.parametrize("honest", [49, 50, 51])
def test_a_flood_takes_half_the_room_from_one_other_and_no_more(tmp_path: Path, quotas: Quotas, honest: int) -> None:
    with opened(tmp_path / "r", quotas) as ledger:
        store(ledger, "192.0.2.1", range(honest), MINE)
        for start in range(0, 2000, 100):
            store(ledger, "198.51.100.1", range(start, start + 100), YOURS)
            trim(ledger)
        assert ledger.count == 100
        assert len(sequences(ledger, topic=MINE)) == min(honest, 50)
        assert sequences(ledger, topic=YOURS)[-1] == 2000


def test_many_flooding_sources_displace_one_another_and_nobody_smaller(tmp_path: Path) -> None:
    with opened(tmp_path / "r", Quotas(keep_count=100)) as ledger:
        store(ledger, "192.0.2.1", range(10), MINE)
        for source in range(8):
            store(ledger, f"198.51.100.{source}", range(100 * source, 100 * source + 100), YOURS)
            trim(ledger)
        assert sequences(ledger, topic=MINE) == list(range(1, 11))
        assert ledger.count == 100


def test_too_many_rows_are_not_paid_for_by_who_stored_large_ones(tmp_path: Path) -> None:
    with opened(tmp_path / "r", Quotas(keep_count=20)) as ledger:
        ledger.append([envelope(number, 100_000, topic=MINE) for number in range(5)], ["a"] * 5)
        ledger.append([envelope(number, 0, topic=YOURS) for number in range(100)], ["b"] * 100)
        trim(ledger)
        assert (len(sequences(ledger, topic=MINE)), len(sequences(ledger, topic=YOURS))) == (5, 15)


@pytest.mark.parametrize("over", [-1, 0, 1])
def test_giving_way_is_done_in_bites(tmp_path: Path, over: int) -> None:
    with opened(tmp_path / "r", Quotas(keep_count=1)) as ledger:
        store(ledger, "a", range(EXPIRE_COUNT + 1 + over))
        assert ledger.expire() == (over >= 0)
        assert ledger.count == 1 + max(0, over)


def test_shares_survive_a_restart_though_addresses_do_not(tmp_path: Path) -> None:
    quotas = Quotas(keep_count=20)
    with opened(tmp_path / "r", quotas) as ledger:
        store(ledger, "192.0.2.1", range(5), MINE)
        store(ledger, "198.51.100.1", range(15), YOURS)
    for path in (tmp_path / "r").iterdir():
        assert b"192.0.2.1" not in path.read_bytes()
    with opened(tmp_path / "r", quotas) as ledger:
        store(ledger, "203.0.113.1", range(10), "/third")
        trim(ledger)
        assert sequences(ledger, topic=MINE) == list(range(1, 6))
        assert len(sequences(ledger, topic=YOURS)) in (7, 8)


def test_a_share_tells_its_site_to_nobody_without_the_key() -> None:
    one, other = bytes(KEY_BYTES), b"k" * KEY_BYTES
    assert share_of("192.0.2.1", one) == share_of("192.0.2.1", one)
    assert len({share_of("192.0.2.1", one), share_of("192.0.2.1", other), share_of("192.0.2.2", one)}) == 3
    assert 0 <= share_of("", one) < 2**63


def test_what_could_not_be_stored_or_deleted_is_in_nobodys_share(tmp_path: Path) -> None:
    with opened(tmp_path / "r", Quotas(keep_count=3)) as ledger:
        store(ledger, "a", range(5))
        ledger._writer.execute("CREATE TRIGGER stuck BEFORE DELETE ON envelope BEGIN SELECT raise(ABORT, 'stuck'); END")
        ledger._writer.execute("CREATE TRIGGER full BEFORE INSERT ON envelope BEGIN SELECT raise(ABORT, 'full'); END")
        with pytest.raises(LedgerFailed):
            ledger.expire()
        with pytest.raises(LedgerFailed):
            ledger.append([envelope(9)], ["a"])
        assert (ledger.count, ledger.stored_bytes) == (5, 5 * EACH)
        ledger._writer.execute("DROP TRIGGER stuck")
        trim(ledger)
        assert (ledger.count, ledger.stored_bytes, sequences(ledger)) == (3, 3 * EACH, [3, 4, 5])


def test_a_share_that_the_database_does_not_know_is_forgotten(tmp_path: Path) -> None:
    """A commit that failed may have been one: the tally follows the database, and the relay goes on."""
    with opened(tmp_path / "r", Quotas(keep_count=3)) as ledger:
        store(ledger, "a", range(3))
        ledger._shares.add(7, 1000, 50)
        trim(ledger)
        assert (ledger.count, sequences(ledger)) == (3, [1, 2, 3])


VERSION_1 = """
CREATE TABLE relay (id BLOB NOT NULL, floor INTEGER NOT NULL);
CREATE TABLE topic (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, last INTEGER NOT NULL);
CREATE TABLE envelope (id INTEGER PRIMARY KEY, topic INTEGER NOT NULL, sequence INTEGER NOT NULL,
    hash BLOB NOT NULL UNIQUE, received INTEGER NOT NULL, size INTEGER NOT NULL, version INTEGER NOT NULL,
    timestamp INTEGER NOT NULL, payload BLOB NOT NULL, UNIQUE (topic, sequence));
"""


def make_version_1(folder: Path) -> None:
    """What a relay of version 1 left behind: the same rows without their shares."""
    with opened(folder) as ledger:
        store(ledger, "a", range(4), MINE)
        store(ledger, "a", range(8), YOURS)
    with sqlite3.connect(folder / DATABASE) as database:
        kept = [
            database.execute(f"SELECT {columns} FROM {table}").fetchall()
            for table, columns in (
                ("relay", "*"),
                ("topic", "*"),
                ("envelope", "id, topic, sequence, hash, received, size, version, timestamp, payload"),
            )
        ]
    database.close()
    for path in folder.glob(DATABASE + "*"):
        path.unlink()
    with sqlite3.connect(folder / DATABASE) as database:
        database.executescript(VERSION_1)
        for table, rows in zip(("relay", "topic", "envelope"), kept, strict=True):
            marks = ", ".join("?" * len(rows[0]))
            database.executemany(f"INSERT INTO {table} VALUES ({marks})", rows)
        database.execute("PRAGMA user_version = 1")
    database.close()


def test_a_database_of_version_1_is_taken_over_with_its_cursors_and_each_topic_is_a_share(tmp_path: Path) -> None:
    folder = tmp_path / "r"
    make_version_1(folder)
    for _ in range(2):
        with opened(folder, Quotas(keep_count=12)) as ledger:
            kept, _ = ledger.page(MINE, 0, count=ALL, size=ALL)
            assert [Envelope(MINE, one.payload, one.version, one.timestamp) for one in kept] == [
                envelope(number, 100, topic=MINE) for number in range(4)
            ]
            assert ledger.resume(MINE, kept[-1].cursor) == (4, kept[-1].cursor)
            assert (ledger.count, ledger.stored_bytes) == (12, 12 * EACH)
            assert not any(ledger.append([envelope(3, 100, topic=MINE)]))
    with opened(folder, Quotas(keep_count=12)) as ledger:
        store(ledger, "a", range(50, 54), "/new")
        trim(ledger)
        assert (sequences(ledger, topic=MINE), sequences(ledger, topic=YOURS)) == ([1, 2, 3, 4], [5, 6, 7, 8])
        assert len(sequences(ledger, topic="/new")) == 4


@settings(max_examples=60, derandomize=True, deadline=None)
@given(
    stored=st.lists(st.tuples(st.integers(0, 4), st.integers(0, 300)), max_size=40),
    keep_count=st.integers(1, 20),
    keep_bytes=st.integers(1, 4000),
)
def test_what_is_kept_fits_and_the_tally_is_the_databases(
    stored: list[tuple[int, int]], keep_count: int, keep_bytes: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    quotas = Quotas(keep_count=keep_count, keep_bytes=keep_bytes)
    with opened(tmp_path_factory.mktemp("shares"), quotas, Clock()) as ledger:
        for number, (source, size) in enumerate(stored):
            ledger.append([envelope(number, size, topic=f"/{source}")], [str(source)])
            trim(ledger)
            assert not ledger.overfull
            real = Shares()
            for share, its_size in ledger._reader.execute("SELECT share, size FROM envelope"):
                real.add(share, its_size)
            assert ledger._shares == real


@settings(max_examples=200, derandomize=True)
@given(st.dictionaries(st.integers(0, 9), st.integers(1, 30)), st.integers(0, 100), st.integers(0, 100))
def test_each_that_gives_way_was_the_largest_then(amounts: dict[int, int], keep: int, most: int) -> None:
    shares = Shares()
    for share, amount in amounts.items():
        shares.add(share, amount, amount)

    def drop(share: int) -> None:
        assert shares.counts[share] == max(shares.counts.values())
        shares.remove(share, 1)

    dropped = give_way(shares.counts, lambda: shares.count > keep, drop, most)
    assert dropped == min(most, max(0, sum(amounts.values()) - keep))
    assert shares.count == shares.size == sum(amounts.values()) - dropped


@pytest.mark.anyio
async def test_who_published_little_keeps_it_while_the_addresses_of_one_site_flood(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Over the wire: an IPv4 address and two /64s of one /48, told apart by where they connect from."""
    addresses = iter(["192.0.2.1", "2001:db8::1", "2001:db8:0:1::1"])
    monkeypatch.setattr("kexkit_transport_relay.server.source_of", lambda host: source_of(next(addresses)))
    async with (
        serve(quotas=Quotas(keep_count=50)) as relay,
        by_hand(relay.url) as alice,
        by_hand(relay.url) as mallory,
        by_hand(relay.url) as also_mallory,
    ):
        assert await alice.publish(*(envelope(number) for number in range(20))) == [None] * 20
        for start in range(0, 400, 100):
            await mallory.publish(*(envelope(number, topic=YOURS) for number in range(start, start + 50)))
            await also_mallory.publish(*(envelope(number, topic=YOURS) for number in range(start + 50, start + 100)))
        await until(lambda: not relay.relay.ledger.overfull)
        assert len(sequences(relay.relay.ledger)) == 20
        await alice.watch()
        assert [one.payload for one in await alice.read(20)] == [envelope(number).payload for number in range(20)]
