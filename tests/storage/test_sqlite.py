"""The SQLite store keeps every promise of a store, within its bounds, and builds no statement from what it is given."""

from __future__ import annotations

import ast
import subprocess
import sys
from contextlib import AbstractAsyncContextManager
from importlib.metadata import entry_points
from pathlib import Path

import kexkit_storage_sqlite
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from kexkit.api import API_VERSION, Change, Key, Store
from kexkit.errors import InvalidInput
from kexkit.testing import StoreKit, memory_store
from kexkit_storage_sqlite import _schema, limits, open_store
from kexkit_storage_sqlite._opening import opened
from kexkit_storage_sqlite._rows import Rows

from tests.storage.test_sqlite_power import at_once

KEY = ("t", b"1")
SOURCES = sorted(Path(kexkit_storage_sqlite.__file__).parent.glob("*.py"))


class TestSqlite(StoreKit):
    def open(self, path: Path) -> AbstractAsyncContextManager[Store]:
        return open_store({"path": str(path)})


# --- the plugin ---


def test_an_installed_kexkit_finds_the_store_by_name() -> None:
    (entry,) = entry_points(group="kexkit", name="sqlite")
    plugin = entry.load()
    assert plugin.kexkit_api == API_VERSION
    (factory,) = plugin.kexkit_stores(config={})
    assert (factory.name, factory.open) == ("sqlite", open_store)


@pytest.mark.parametrize(("module", "later"), [("kexkit_storage_sqlite", "sqlite3"), ("kexkit_storage_lmdb", "lmdb")])
def test_a_store_that_is_not_opened_costs_no_import_of_its_database(module: str, later: str) -> None:
    program = f"import sys, {module}; print({later!r} in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=True, capture_output=True).stdout == b"False\n"


def test_the_store_counts_its_commits_and_only_those(tmp_path: Path) -> None:
    with opened({"path": str(tmp_path)}) as store:
        at_once(store.apply(Change({}, {KEY: b"1"})))
        at_once(store.load([KEY]))
        with pytest.raises(Exception, match="moved"):
            at_once(store.apply(Change({KEY: 7}, {KEY: b"2"})))
        at_once(store.apply(Change({KEY: 1}, {KEY: b"2"})))
        assert store.commits == 2
        assert repr(store) == "SqliteStore(commits=2, closed=False)"


@pytest.mark.parametrize(("setting", "level"), [({}, 2), ({"synchronous": "FULL"}, 2), ({"synchronous": "normal"}, 1)])
def test_full_is_the_default_and_normal_is_asked_for(tmp_path: Path, setting: dict[str, str], level: int) -> None:
    with opened({"path": str(tmp_path), **setting}) as store:
        assert store._rows is not None
        asked = {
            name: store._rows.db.execute(f"PRAGMA {name}").fetchall()[0][0] for name in ("synchronous", "secure_delete")
        }
        assert asked == {"synchronous": level, "secure_delete": 1}
        assert store._rows.db.execute("PRAGMA journal_mode").fetchall() == [(b"wal",)]
        assert store._rows.db.execute("PRAGMA wal_autocheckpoint").fetchall() == [(limits.WAL_PAGES,)]
        assert store._rows.db.execute("PRAGMA page_size").fetchall() == [(limits.PAGE_SIZE,)]


# --- bounds ---


def test_the_bounds_of_a_key_are_those_of_the_kit() -> None:
    assert (limits.TABLE_MAX, limits.ID_MAX) == (memory_store.TABLE_MAX, memory_store.ID_MAX)


def test_a_value_has_at_most_its_bound(tmp_path: Path) -> None:
    with opened({"path": str(tmp_path)}) as store:
        for size in (limits.VALUE_MAX - 1, limits.VALUE_MAX):
            at_once(store.apply(Change({}, {KEY: bytes(size)})))
            assert len(at_once(store.load([KEY]))[KEY].value) == size
        with pytest.raises(InvalidInput, match="value"):
            at_once(store.apply(Change({}, {("t", b"2"): b"", KEY: bytes(limits.VALUE_MAX + 1)})))
        assert at_once(store.load([KEY, ("t", b"2")])).keys() == {KEY}


def test_a_row_both_put_and_dropped_is_refused_and_nothing_is_written(tmp_path: Path) -> None:
    with opened({"path": str(tmp_path)}) as store:
        with pytest.raises(InvalidInput):
            at_once(store.apply(Change({}, {KEY: b"1", ("t", b"2"): b""}, frozenset([KEY]))))
        assert at_once(store.load([KEY, ("t", b"2")])) == {}


@pytest.mark.parametrize("rows", [limits.PAGE_ROWS - 1, limits.PAGE_ROWS, limits.PAGE_ROWS + 1])
def test_a_scan_reads_a_page_and_goes_back_for_more(tmp_path: Path, rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    pages = []

    def page(rows: object, *args: object, **kwargs: object) -> object:
        pages.append(_page(rows, *args, **kwargs))  # type: ignore[arg-type]  # passed on as it came
        return pages[-1]

    _page = Rows.page
    monkeypatch.setattr(Rows, "page", page)
    with opened({"path": str(tmp_path)}) as store:
        at_once(store.apply(Change({}, {("t", n.to_bytes(2, "big")): b"" for n in range(rows)})))

        async def count() -> int:
            return len([row async for row in store.scan("t")])

        assert at_once(count()) == rows
    assert [len(found) for found, _ in pages] == [
        part for part in (min(rows, limits.PAGE_ROWS), rows - limits.PAGE_ROWS) if part >= 0
    ]


@pytest.mark.parametrize(
    ("size", "rows"), [(limits.PAGE_BYTES - 1, 2), (limits.PAGE_BYTES, 1), (limits.PAGE_BYTES + 1, 1)]
)
def test_a_page_of_large_rows_ends_early(tmp_path: Path, size: int, rows: int) -> None:
    with opened({"path": str(tmp_path)}) as store:
        at_once(store.apply(Change({}, {("t", bytes([n])): bytes(size) for n in range(3)})))
        assert store._rows is not None
        page, more = store._rows.page("t", b"", None, reverse=False, ask=10)
        assert (len(page), more) == (rows, True)


def test_a_file_past_the_bound_opens_without_reading_all_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with opened({"path": str(tmp_path)}) as store:
        at_once(store.apply(Change({}, {("t", bytes([n])): bytes(9000) for n in range(20)})))
    file = tmp_path / "kexkit.sqlite"
    size = file.stat().st_size

    class Watched:
        def __init__(self) -> None:
            self.asked: list[str] = []

        def execute(self, statement: str) -> Watched:
            self.asked.append(statement)
            return self

        def fetchall(self) -> list[tuple[bytes]]:
            return [(b"ok",)]

    for bound, asked in ((size - 1, 0), (size, 1), (size + 1, 1)):
        monkeypatch.setattr(_schema, "WHOLE_CHECK_BYTES", bound)
        db = Watched()
        _schema.check_intact(db, str(file))  # type: ignore[arg-type]  # as much of a connection as it needs
        assert len(db.asked) == asked, bound


# --- statements ---


def test_no_statement_is_put_together_while_the_store_runs() -> None:
    """What a connection is given to execute is a name, or a text as it stands."""
    verbs, calls = {"execute", "executemany", "executescript"}, 0
    for source in SOURCES:
        for node in ast.walk(ast.parse(source.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in verbs:
                calls += 1
                for part in ast.walk(node.args[0]):
                    assert not isinstance(part, ast.JoinedStr | ast.BinOp | ast.Call), ast.unparse(node)
    assert calls > 10


HOSTILE = st.sampled_from(
    [
        "'; DROP TABLE row; --",
        '" OR 1=1',
        "row",
        "?1",
        ":id",
        "%",
        "_",
        "\0",
        "--",
        "/*",
        "x' UNION SELECT",
        "sqlite_master",
    ]
)


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(table=HOSTILE.map(lambda text: text[: limits.TABLE_MAX]), row=HOSTILE | st.text(max_size=20), value=st.binary())
def test_hostile_names_are_only_names(quick_path: Path, table: str, row: str, value: bytes) -> None:
    key: Key = (table, row.encode())
    with opened({"path": str(quick_path)}) as store:
        before = at_once(store.load([KEY, key]))
        given = {KEY: before[KEY].revision if KEY in before else 0, key: before[key].revision if key in before else 0}
        at_once(store.apply(Change(given, {KEY: b"bystander", key: value})))
        after = at_once(store.load([KEY, key]))
        assert {k: (v.value, v.revision) for k, v in after.items()} == {
            KEY: (b"bystander", given[KEY] + 1),
            key: (value, given[key] + 1),
        }
