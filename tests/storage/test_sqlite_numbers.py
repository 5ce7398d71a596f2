"""Ids of 8 bytes stand in places of their own, and nobody who uses the store can tell."""

from __future__ import annotations

import sqlite3
from itertools import product
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from kexkit.api import Change, Key
from kexkit.errors import Conflict, StoreCorrupt
from kexkit_storage_sqlite import _rows, _schema, limits
from kexkit_storage_sqlite._opening import opened
from kexkit_storage_sqlite._rows import Rows
from kexkit_storage_sqlite._store import SqliteStore

from tests.storage.test_sqlite_power import at_once

EDGES = [
    bytes(8),
    bytes(7) + b"\x01",
    b"\x7f" + b"\xff" * 7,
    b"\x80" + bytes(7),
    b"\xff" * 8,
    b"\xff" * 7 + b"\xfe",
]
AROUND = [b"", b"\x00", bytes(7), bytes(9), b"\x7f\xff", b"\x80", b"\x80" + bytes(8), b"\xff" * 7, b"\xff" * 9]
IDS = st.sampled_from(EDGES + AROUND) | st.binary(max_size=10) | st.binary(min_size=8, max_size=8)
TABLES = tuple("abcdef")


def place_of(table: str, store: SqliteStore) -> int | None:
    assert store._rows is not None
    row = store._rows.db.execute("SELECT place FROM numbered WHERE tbl = ?", (table,)).fetchone()
    return None if row is None else int(row[0])


@given(
    rows=st.dictionaries(IDS, st.binary(max_size=5), max_size=30),
    gone=st.lists(IDS, max_size=10),
    start=IDS,
    stop=st.none() | IDS,
    reverse=st.booleans(),
    limit=st.none() | st.integers(0, 12),
)
@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
def test_ids_of_all_lengths_are_one_table_in_one_order(
    quick_path: Path,
    rows: dict[bytes, bytes],
    gone: list[bytes],
    start: bytes,
    stop: bytes | None,
    reverse: bool,
    limit: int | None,
) -> None:
    with opened({"path": str(quick_path)}) as store:
        everything = at_once(all_of(store, "t"))
        at_once(store.apply(Change({}, {}, frozenset(key for key, _ in everything))))
        at_once(store.apply(Change({}, {("t", row): value for row, value in rows.items()})))
        kept = {row: value for row, value in rows.items() if row not in gone}
        at_once(store.apply(Change({}, {}, frozenset(("t", row) for row in gone))))
        expected = [
            (row, kept[row]) for row in sorted(kept, reverse=reverse) if row >= start and (stop is None or row < stop)
        ]
        found = at_once(all_of(store, "t", start, stop, reverse=reverse, limit=limit))
        assert [(key[1], value) for key, value in found] == expected[:limit]
        loaded = at_once(store.load([("t", row) for row in {*rows, *gone}]))
        assert {key[1]: each.value for key, each in loaded.items()} == kept


async def all_of(
    store: SqliteStore,
    table: str,
    start: bytes = b"",
    stop: bytes | None = None,
    *,
    reverse: bool = False,
    limit: int | None = None,
) -> list[tuple[Key, bytes]]:
    rows = store.scan(table, start, stop, reverse=reverse, limit=limit)
    return [(key, row.value) async for key, row in rows]


def test_pages_of_both_kinds_go_on_where_they_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kexkit_storage_sqlite._store.PAGE_ROWS", 3)
    ids = sorted([*EDGES, *AROUND])
    with opened({"path": str(tmp_path)}) as store:
        at_once(store.apply(Change({}, {("t", row): b"" for row in ids})))
        for start, stop, reverse in product(ids, [None, *ids], (False, True)):
            found = [key[1] for key, _ in at_once(all_of(store, "t", start, stop, reverse=reverse))]
            expected = [row for row in ids if row >= start and (stop is None or row < stop)]
            assert found == (expected[::-1] if reverse else expected)


@pytest.mark.parametrize("row", EDGES)
def test_a_number_has_revisions_and_conditions_like_any_id(tmp_path: Path, row: bytes) -> None:
    key = ("t", row)
    with opened({"path": str(tmp_path)}) as store:
        at_once(store.apply(Change({key: 0}, {key: b"1"})))
        for wrong in (0, 2):
            with pytest.raises(Conflict):
                at_once(store.apply(Change({key: wrong}, {key: b"2"})))
            with pytest.raises(Conflict):
                at_once(store.apply(Change({key: wrong}, {("other", b""): b""})))
        at_once(store.apply(Change({key: 1}, {key: b"2"})))
        at_once(store.apply(Change({}, {key: b"3"})))
        found = at_once(store.load([key]))[key]
        assert (found.value, found.revision) == (b"3", 3)


def test_one_number_in_two_tables_is_two_rows(tmp_path: Path) -> None:
    keys: list[Key] = [(table, EDGES[0]) for table in TABLES]
    with opened({"path": str(tmp_path)}) as store:
        at_once(store.apply(Change(dict.fromkeys(keys, 0), {key: key[0].encode() for key in keys})))
    with opened({"path": str(tmp_path)}) as store:
        at_once(store.apply(Change({}, {}, frozenset(keys[::2]))))
        found = at_once(store.load(keys))
        assert {key: row.value for key, row in found.items()} == {key: key[0].encode() for key in keys[1::2]}


def test_so_many_tables_have_places_for_numbers_and_the_others_do_without(tmp_path: Path) -> None:
    assert limits.NUMBERED_TABLES == len(_rows.BY_NUMBER) == 4
    with opened({"path": str(tmp_path)}) as store:
        for table in TABLES:
            at_once(store.apply(Change({}, {(table, EDGES[1]): b"first", (table, b"name"): b"no number"})))
        assert [place_of(table, store) for table in TABLES] == [0, 1, 2, 3, None, None]
    with opened({"path": str(tmp_path)}) as store:
        for table in TABLES:
            at_once(store.apply(Change({(table, EDGES[1]): 1}, {(table, EDGES[1]): b"second", (table, EDGES[0]): b""})))
            assert [key[1] for key, _ in at_once(all_of(store, table))] == [EDGES[0], EDGES[1], b"name"]
        assert [place_of(table, store) for table in TABLES] == [0, 1, 2, 3, None, None]


def test_a_table_without_numbers_takes_no_place(tmp_path: Path) -> None:
    with opened({"path": str(tmp_path)}) as store:
        at_once(
            store.apply(Change({}, {("t", b"7 bytes"): b"", ("t", b"9 bytes..."): b""}, frozenset({("t", EDGES[0])})))
        )
        assert at_once(store.load([("t", EDGES[0])])) == {}
        assert place_of("t", store) is None


def test_a_place_that_was_damaged_is_told_in_our_words(tmp_path: Path) -> None:
    with opened({"path": str(tmp_path)}):
        pass
    db = sqlite3.connect(tmp_path / "kexkit.sqlite")
    db.execute("DROP TABLE numbered")
    db.close()
    with pytest.raises(StoreCorrupt), opened({"path": str(tmp_path)}):
        pass


def test_a_change_that_fails_takes_no_place(tmp_path: Path) -> None:
    with opened({"path": str(tmp_path)}) as store:
        with pytest.raises(Conflict):
            at_once(store.apply(Change({("t", b"absent"): 1}, {("t", EDGES[0]): b"", ("t", b"absent"): b""})))
        assert place_of("t", store) is None
        at_once(store.apply(Change({}, {("u", EDGES[0]): b"u"})))
        at_once(store.apply(Change({}, {("t", EDGES[0]): b"t"})))
        assert (place_of("u", store), place_of("t", store)) == (0, 1)
    with opened({"path": str(tmp_path)}) as store:
        assert [row.value for row in at_once(store.load([("u", EDGES[0]), ("t", EDGES[0])])).values()] == [b"u", b"t"]


class Interrupted:
    """A cursor whose user is interrupted as soon as a commit is done."""

    def __init__(self, real: sqlite3.Cursor) -> None:
        self._real = real

    def execute(self, statement: str, *args: object) -> sqlite3.Cursor:
        done = self._real.execute(statement, *args)  # type: ignore[arg-type]  # parameters, if there are any
        if statement == "COMMIT":
            raise KeyboardInterrupt
        return done


def test_a_place_that_was_committed_stays_though_its_maker_was_interrupted_then(tmp_path: Path) -> None:
    with opened({"path": str(tmp_path)}) as store:
        at_once(store.ready())
        assert store._rows is not None
        real = store._rows._cursor
        store._rows._cursor = Interrupted(real)  # type: ignore[assignment]  # as far as a commit goes
        with pytest.raises(KeyboardInterrupt):
            at_once(store.apply(Change({}, {("t", EDGES[0]): b"first"})))
        store._rows._cursor = real
        assert at_once(store.load([("t", EDGES[0])]))[("t", EDGES[0])].value == b"first"
        at_once(store.apply(Change({("t", EDGES[0]): 1}, {("t", EDGES[1]): b"second"})))
        assert place_of("t", store) == 0


@pytest.mark.parametrize("large", [False, True])
@pytest.mark.parametrize(
    "damage",
    [
        "DELETE FROM numbered WHERE place = 0",
        "DELETE FROM numbered WHERE place = 1",
        "UPDATE numbered SET place = 7 WHERE place = 0",
        "UPDATE numbered SET place = -1 WHERE place = 1",
        "UPDATE numbered SET tbl = x'ff00' WHERE place = 0",
        "UPDATE numbered SET tbl = 'much longer than a name' WHERE place = 0",
        "INSERT INTO numbered VALUES (2, 'v'), (3, 'w'), (4, 'x')",
    ],
)
def test_places_that_cannot_have_been_given_so_are_noticed_when_the_store_opens(
    tmp_path: Path, damage: str, large: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    with opened({"path": str(tmp_path)}) as store:
        for table in "tu":
            at_once(store.apply(Change({}, {(table, EDGES[1]): b""})))
    db = sqlite3.connect(tmp_path / "kexkit.sqlite")
    with db:
        db.execute(damage)
    db.close()
    if large:
        monkeypatch.setattr(_schema, "WHOLE_CHECK_BYTES", 1)
    with pytest.raises(StoreCorrupt), opened({"path": str(tmp_path)}):
        pass


@pytest.mark.parametrize("damage", ["value = x'00'", "sum = sum + 1", "id = id + 1", "value = 'text'"])
def test_a_damaged_number_is_noticed(tmp_path: Path, damage: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with opened({"path": str(tmp_path)}) as store:
        at_once(store.apply(Change({}, {("t", EDGES[1]): b"\x01"})))
    db = sqlite3.connect(tmp_path / "kexkit.sqlite")
    with db:
        db.execute(f"UPDATE number_0 SET {damage}")
    db.close()
    with pytest.raises(StoreCorrupt, match="table t is damaged"), opened({"path": str(tmp_path)}):
        pass
    monkeypatch.setattr(_schema, "WHOLE_CHECK_BYTES", 1)  # as of a large file
    with opened({"path": str(tmp_path)}) as store, pytest.raises(StoreCorrupt, match="table t is damaged"):
        at_once(all_of(store, "t"))


def test_no_row_takes_two_places(tmp_path: Path) -> None:
    """A number stands with the numbers alone."""
    with opened({"path": str(tmp_path)}) as store:
        at_once(store.apply(Change({}, {("t", row): b"" for row in EDGES + AROUND})))
        rows = store._rows
        assert isinstance(rows, Rows)
        keyed = {row for (row,) in rows.db.execute("SELECT id FROM row WHERE tbl = 't'")}
        assert keyed == set(AROUND)
        assert rows.db.execute("SELECT count(*) FROM number_0").fetchone() == (len(EDGES),)


@pytest.mark.parametrize(
    "change", ["number_1 SET id = id + 1", "number_1 SET id = id - 1", "numbered SET tbl = 'v' WHERE tbl = 'u'"]
)
def test_a_number_that_became_another_is_noticed_when_the_store_opens(tmp_path: Path, change: str) -> None:
    """No index misses it, and whoever looks for it would find nothing."""
    with opened({"path": str(tmp_path)}) as store:
        at_once(store.apply(Change({}, {("t", EDGES[1]): b"1", ("u", EDGES[1]): b"2"})))
    db = sqlite3.connect(tmp_path / "kexkit.sqlite")
    with db:
        db.execute(f"UPDATE {change}")
    db.close()
    with pytest.raises(StoreCorrupt, match="damaged"), opened({"path": str(tmp_path)}):
        pass
