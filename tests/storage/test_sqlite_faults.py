"""A disk that is full, failing or damaged, a foreign program in the way, a file of another time: each has its error,
and what was there stays there."""

from __future__ import annotations

import random
import resource
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import anyio
import pytest
from kexkit.api import Change, Key
from kexkit.errors import StorageError, StoreBusy, StoreCorrupt, StoreNewer, StoreUnusable
from kexkit_storage_sqlite import _schema, _store, limits, open_store
from kexkit_storage_sqlite._opening import opened
from kexkit_storage_sqlite._rows import Rows
from kexkit_storage_sqlite._store import SqliteStore

from tests.storage.test_sqlite_power import at_once

KEY, OTHER = ("t", b"1"), ("t", b"2")
FILE = "kexkit.sqlite"


def value(store: SqliteStore, key: Key = KEY) -> bytes:
    return at_once(store.load([key]))[key].value


def everything(store: SqliteStore, table: str) -> dict[bytes, bytes]:
    async def scanned() -> dict[bytes, bytes]:
        return {key[1]: version.value async for key, version in store.scan(table)}

    return at_once(scanned())


# --- the disk ---


def test_a_full_disk_says_so_and_the_next_change_goes_through_once_there_is_room(tmp_path: Path) -> None:
    with opened({"path": str(tmp_path)}) as store:
        at_once(store.apply(Change({}, {KEY: b"kept"})))
        assert store._rows is not None
        store._rows.db.execute("PRAGMA max_page_count = 10").fetchall()
        with pytest.raises(StoreUnusable, match="disk is full"):
            at_once(store.apply(Change({KEY: 1}, {KEY: b"new", OTHER: bytes(100_000)})))
        assert (value(store), store.commits) == (b"kept", 1)
        store._rows.db.execute("PRAGMA max_page_count = 10000").fetchall()
        at_once(store.apply(Change({KEY: 1, OTHER: 0}, {KEY: b"new", OTHER: bytes(100_000)})))
        assert value(store) == b"new"


@contextmanager
def files_end_at(size: int) -> Iterator[None]:
    """Every write past this size fails, as on a disk that breaks."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_write_that_fails_is_an_error_of_ours_and_the_store_recovers_by_itself(tmp_path: Path) -> None:
    with opened({"path": str(tmp_path)}) as store:
        at_once(store.apply(Change({}, {KEY: b"kept"})))
        with files_end_at(100_000):
            for _ in range(3):
                with pytest.raises(StoreUnusable):
                    at_once(store.apply(Change({KEY: 1}, {KEY: b"new", OTHER: bytes(500_000)})))
                with suppress(StorageError):  # it may say so again, or know the row; it may not invent one
                    assert value(store) == b"kept"
        assert value(store) == b"kept"
        at_once(store.apply(Change({KEY: 1, OTHER: 0}, {KEY: b"new", OTHER: bytes(500_000)})))
    with opened({"path": str(tmp_path)}) as store:
        assert (value(store), len(value(store, OTHER))) == (b"new", 500_000)


def test_after_a_failure_of_the_disk_nothing_in_memory_is_believed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with opened({"path": str(tmp_path)}) as store:
        at_once(store.apply(Change({}, {KEY: b"kept"})))
        before = store._rows

        def fail(rows: Rows, change: Change) -> None:
            error = sqlite3.OperationalError("disk I/O error")
            error.sqlite_errorcode, error.sqlite_errorname = sqlite3.SQLITE_IOERR_FSYNC, "SQLITE_IOERR_FSYNC"
            raise error

        with monkeypatch.context() as broken:
            broken.setattr(Rows, "apply", fail)
            with pytest.raises(StoreUnusable, match="SQLITE_IOERR_FSYNC"):
                at_once(store.apply(Change({}, {KEY: b"lost"})))
        at_once(store.apply(Change({KEY: 1}, {KEY: b"new"})))
        assert store._rows is not before


# --- damage ---


@pytest.fixture(scope="module")
def intact(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, dict[bytes, bytes]]]:
    folder, chance = tmp_path_factory.mktemp("intact"), random.Random(1)
    rows: dict[Key, bytes] = {
        (table, chance.randbytes(8)): chance.randbytes(chance.choice((0, 20, 300, 6000)))
        for table in ("session", "text", "order")
        for _ in range(60)
    }
    with opened({"path": str(folder)}) as store:
        at_once(store.apply(Change({}, rows)))
    return folder / FILE, {
        table: {key[1]: content for key, content in sorted(rows.items()) if key[0] == table}
        for table in ("session", "text", "order")
    }


def look(folder: Path, damaged: bytes, expected: dict[str, dict[bytes, bytes]]) -> str:
    """'detected' or 'harmless'; anything else is a silent loss."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    (folder / FILE).write_bytes(damaged)
    try:
        with opened({"path": str(folder)}) as store:
            for table, rows in expected.items():
                loaded = at_once(store.load([(table, row) for row in rows]))
                assert {key[1]: version.value for key, version in loaded.items()} == rows
                assert everything(store, table) == rows
    except StorageError:
        return "detected"
    return "harmless"


@pytest.mark.parametrize("seed", range(4))
def test_a_flipped_bit_is_detected_or_harmless(
    quick_path: Path, intact: tuple[Path, dict[str, dict[bytes, bytes]]], seed: int
) -> None:
    file, expected = intact
    whole, chance, outcomes = file.read_bytes(), random.Random(seed), set()
    for _ in range(100):
        place = chance.choice((chance.randrange(200), chance.randrange(len(whole))))
        damaged = bytearray(whole)
        damaged[place] ^= 1 << chance.randrange(8)
        outcomes.add(look(quick_path / "x", bytes(damaged), expected))
    assert outcomes == {"detected", "harmless"}


def test_a_zeroed_or_missing_page_is_detected(
    quick_path: Path, intact: tuple[Path, dict[str, dict[bytes, bytes]]]
) -> None:
    file, expected = intact
    whole, zeroed = file.read_bytes(), []
    size = limits.PAGE_SIZE
    for page in range(0, len(whole), size):
        zeroed.append(look(quick_path / "x", whole[:page] + bytes(size) + whole[page + size :], expected))
        assert look(quick_path / "x", whole[:page], expected) == "detected", page
    assert zeroed.count("detected") > 0.9 * len(zeroed)  # the others hold no row


@pytest.mark.parametrize("content", [b"x", b"not a database" * 1000, b"SQLite format 3\0" + bytes(84), bytes(8192)])
def test_what_is_no_database_is_a_corrupt_store_and_is_left_alone(tmp_path: Path, content: bytes) -> None:
    (tmp_path / FILE).write_bytes(content)
    with pytest.raises(StoreCorrupt), opened({"path": str(tmp_path)}):
        pass
    assert (tmp_path / FILE).read_bytes() == content


def test_a_damaged_row_is_named_by_its_table_and_shows_nothing_of_itself(tmp_path: Path) -> None:
    with opened({"path": str(tmp_path)}) as store:
        at_once(store.apply(Change({}, {("session", b"secret id"): b"secret key"})))
    with sqlite3.connect(tmp_path / FILE) as db:
        db.execute("UPDATE row SET value = 'other'")
    db.close()
    with opened({"path": str(tmp_path)}) as store:
        with pytest.raises(StoreCorrupt, match="session") as caught:
            at_once(store.load([("session", b"secret id")]))
        assert "secret" not in str(caught.value)


# --- other times, other owners ---


def test_a_newer_format_is_refused_and_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as later:
        later.setattr(_schema, "MIGRATIONS", (*_schema.MIGRATIONS, ("PRAGMA user_version = 2",)))
        with opened({"path": str(tmp_path)}) as store:
            at_once(store.apply(Change({}, {KEY: b"from the future"})))
    before = (tmp_path / FILE).read_bytes()
    with pytest.raises(StoreNewer, match="format 2"), opened({"path": str(tmp_path)}):
        pass
    assert (tmp_path / FILE).read_bytes() == before


def test_an_older_format_is_brought_forward_whole_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with opened({"path": str(tmp_path)}) as store:
        at_once(store.apply(Change({}, {KEY: b"old"})))
    step = ("CREATE TABLE more (x)", "PRAGMA user_version = 2")
    for migration, happens in (((*step, "a slip"), False), (step, True)):
        with monkeypatch.context() as later:
            later.setattr(_schema, "MIGRATIONS", (*_schema.MIGRATIONS, migration))
            if happens:
                with opened({"path": str(tmp_path)}) as store:
                    assert value(store) == b"old"
            else:
                with pytest.raises(StoreUnusable), opened({"path": str(tmp_path)}):
                    pass
                with sqlite3.connect(tmp_path / FILE) as db:
                    assert db.execute("PRAGMA user_version").fetchall() == [(1,)]
                    assert "more" not in {name for (name,) in db.execute("SELECT name FROM sqlite_schema")}
                db.close()
    with pytest.raises(StoreNewer), opened({"path": str(tmp_path)}):
        pass


def test_a_store_of_the_first_release_opens(tmp_path: Path) -> None:
    """Made by version 0.1.0 and never changed since: the stored format is pinned."""
    shutil.copy(Path(__file__).parent / "store-0.1.0.sqlite", tmp_path / FILE)
    with opened({"path": str(tmp_path)}) as store:
        assert everything(store, "t") == {
            b"": b"empty id",
            b"\0\xff": bytes(range(256)),
            b"last": b"",
            b"number 8": b"8",
        }
        at_once(store.apply(Change({("t", b"last"): 3, ("u", b"1"): 1}, {("t", b"last"): b"moved"})))
        assert value(store, ("t", b"last")) == b"moved"


def test_the_mark_in_the_file_is_the_one_in_the_code(tmp_path: Path) -> None:
    with opened({"path": str(tmp_path)}):
        pass
    header = (tmp_path / FILE).read_bytes()[:100]
    assert header[68:72] == b"kexk" == _schema.APPLICATION_ID.to_bytes(4, "big")
    assert int.from_bytes(header[60:64], "big") == len(_schema.MIGRATIONS) == 1


def test_the_database_of_another_application_is_refused_and_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "theirs.db"
    with sqlite3.connect(file) as db:
        db.execute("CREATE TABLE row (tbl, id, revision, sum, value)")
    db.close()
    file.chmod(0o644)
    before = file.read_bytes()
    with pytest.raises(StoreUnusable, match="another application"), opened({"path": str(file)}):
        pass
    assert (file.read_bytes(), file.stat().st_mode & 0o777) == (before, 0o644)


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TRIGGER x AFTER INSERT ON row BEGIN DELETE FROM number_0; END",
        "CREATE VIEW x AS SELECT 1",
        "CREATE TABLE x (y)",
        "CREATE INDEX x ON row (sum)",
        "DROP TABLE number_3",
        "ALTER TABLE row ADD COLUMN more",
    ],
)
def test_what_no_store_makes_is_damage(tmp_path: Path, statement: str) -> None:
    """A trigger from a file that went through other hands would lose texts, and nothing would be noticed."""
    with opened({"path": str(tmp_path)}) as store:
        at_once(store.apply(Change({}, {("t", bytes(8)): b"a text"})))
    with sqlite3.connect(tmp_path / FILE) as db:
        db.execute(statement)
    db.close()
    with pytest.raises(StoreCorrupt, match="another schema"), opened({"path": str(tmp_path)}):
        pass


def test_what_analyze_leaves_is_no_damage(tmp_path: Path) -> None:
    with opened({"path": str(tmp_path)}) as store:
        at_once(store.apply(Change({}, {KEY: b"a text"})))
    with sqlite3.connect(tmp_path / FILE) as db:
        db.execute("ANALYZE")
    db.close()
    with opened({"path": str(tmp_path)}) as store:
        assert value(store) == b"a text"


# --- a foreign program in the way ---


@contextmanager
def foreign(file: Path, *statements: str) -> Iterator[sqlite3.Connection]:
    db = sqlite3.connect(file, isolation_level=None, timeout=0)
    try:
        for statement in statements:
            db.execute(statement).fetchall()
        yield db
    finally:
        db.close()


READS = ("BEGIN", "SELECT count(*) FROM row")
READ = READS[1:]
WRITES = ("BEGIN IMMEDIATE", "DELETE FROM row")


@pytest.mark.anyio
@pytest.mark.parametrize("does", [READS, READ, WRITES], ids=["reads", "has read", "writes"])
async def test_while_a_foreign_program_has_the_database_an_opener_waits_and_other_tasks_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, does: tuple[str, ...]
) -> None:
    monkeypatch.setattr(_store, "BUSY_PAUSE", 0.001)
    with opened({"path": str(tmp_path)}) as store:
        await store.apply(Change({}, {KEY: b"kept"}))
    found = []

    async def look() -> None:
        async with open_store({"path": str(tmp_path)}) as store:
            found.append((await store.load([KEY]))[KEY].value)

    async with anyio.create_task_group() as tasks:
        with foreign(tmp_path / FILE, *does):
            tasks.start_soon(look)
            for _ in range(5):
                await anyio.sleep(0.001)
            assert found == []
    assert found == [b"kept"]


@pytest.mark.anyio
async def test_a_foreign_program_that_does_not_end_is_named_after_the_bound_and_the_lease_is_free(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses = []

    async def pause(seconds: float) -> None:
        pauses.append(seconds)

    with opened({"path": str(tmp_path)}):
        pass
    with monkeypatch.context() as quick, foreign(tmp_path / FILE, *READS):
        quick.setattr(anyio, "sleep", pause)
        with pytest.raises(StoreBusy, match="Another program"):
            async with open_store({"path": str(tmp_path)}):
                pass
    assert limits.BUSY_SECONDS <= sum(pauses) < limits.BUSY_SECONDS + 2 * limits.BUSY_PAUSE
    async with open_store({"path": str(tmp_path)}) as store:
        assert await store.load([KEY]) == {}


@pytest.mark.parametrize("does", [READ, WRITES], ids=["reads", "writes"])
def test_no_foreign_program_reads_or_writes_while_the_store_is_open(tmp_path: Path, does: tuple[str, ...]) -> None:
    """In another process: within this one, the library itself would see to it."""
    program = (
        "import sqlite3, sys\n"
        "db = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=0)\n"
        "try:\n"
        "    for statement in sys.argv[2:]: db.execute(statement).fetchall()\n"
        "    print('done')\n"
        "except sqlite3.OperationalError as error:\n"
        "    print(error)\n"
    )

    def said() -> str:
        words = [sys.executable, "-c", program, str(tmp_path / FILE), *does]
        return subprocess.run(words, check=True, capture_output=True, text=True).stdout.strip()

    with opened({"path": str(tmp_path)}) as store:
        assert said() == "database is locked"
        at_once(store.apply(Change({}, {KEY: b"ours"})))
        assert said() == "database is locked"
        at_once(store.apply(Change({KEY: 1}, {KEY: b"ours still"})))
    assert said() == "done"
    with opened({"path": str(tmp_path)}) as store:
        assert value(store) == b"ours still"  # what the foreign program wrote, it did not commit
