"""What is in the file, and how an older file becomes the present one."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Mapping
from contextlib import closing

from kexkit.errors import StoreCorrupt, StoreNewer, StoreUnusable

from kexkit_storage_sqlite.limits import PAGE_SIZE, WAL_PAGES, WHOLE_CHECK_BYTES

HEADER = 100  # bytes before the first page's content, in every SQLite file
APPLICATION_ID = 0x6B65786B  # "kexk"

# Migration n (from 0) makes version n + 1 of version n, in one transaction; nothing in this list ever changes again.
#
# One table of rows, new ones at its end, and an index of their keys. A table that is its own index (WITHOUT ROWID)
# would spare a lookup, but new rows then go between old ones, whose pages are split for them, and rows above a quarter
# of a page spill over into pages of their own: a sent text takes a sixth longer, a received one a tenth (ADR 7).
#
# Numbers, ids of 8 bytes, stand in tables of their own (`_rows`); `numbered` says whose place is which.
#
# `sum` is the CRC-32 of table, id and value: SQLite does not notice a changed bit inside a value.
MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        "CREATE TABLE row (tbl TEXT NOT NULL, id BLOB NOT NULL, revision INTEGER NOT NULL, sum INTEGER NOT NULL,"
        " value BLOB NOT NULL, PRIMARY KEY (tbl, id))",
        *(
            f"CREATE TABLE number_{place} (id INTEGER PRIMARY KEY, revision INTEGER NOT NULL, sum INTEGER NOT NULL,"
            " value BLOB NOT NULL)"
            for place in range(4)
        ),
        "CREATE TABLE numbered (place INTEGER PRIMARY KEY, tbl TEXT NOT NULL UNIQUE)",
        "PRAGMA application_id = 0x6B65786B",
        "PRAGMA user_version = 1",
    ),
)

_SYNCHRONOUS: Mapping[str, str] = {
    "FULL": "PRAGMA synchronous = FULL",
    "NORMAL": "PRAGMA synchronous = NORMAL",
}


_PAGE_SIZE = "PRAGMA page_size = " + str(PAGE_SIZE)
_SCHEMA = (
    "SELECT type, name, tbl_name, sql FROM sqlite_master"
    " WHERE name NOT LIKE 'sqlite!_stat_' ESCAPE '!' ORDER BY name"  # what ANALYZE leaves does no harm
)
_CHECKPOINT = "PRAGMA wal_autocheckpoint = " + str(WAL_PAGES)


def chosen_synchronous(name: str) -> str | None:
    return _SYNCHRONOUS.get(name.upper())


def keep_others_out(db: sqlite3.Connection) -> None:
    """Before anything is read: the locks that the first transaction takes are then kept until the connection closes.

    One process has the store in any case. So no other program writes behind its back, the log needs no index that
    processes share, and a commit spares six calls of the system.
    """
    db.execute("PRAGMA locking_mode = EXCLUSIVE").fetchall()


def check_ours(db: sqlite3.Connection, path: str) -> None:
    """Reads only, so that a database which is not ours, or not for us, stays as it is."""
    if os.path.getsize(path) < HEADER:  # SQLite would take it for a new database
        raise StoreCorrupt(f"{path} has lost its content.", advice="Restore a backup, or delete it to start anew.")
    if _number(db, "PRAGMA application_id") != APPLICATION_ID:
        raise StoreUnusable("This SQLite database belongs to another application.", advice="Use another path.")
    version = _number(db, "PRAGMA user_version")
    if version > len(MIGRATIONS):
        raise StoreNewer(
            f"The store has format {version}; this kexkit-storage-sqlite knows formats up to {len(MIGRATIONS)}.",
            advice="Upgrade kexkit-storage-sqlite.",
        )


def size_pages(db: sqlite3.Connection) -> None:
    """Of a database that has none yet."""
    db.execute(_PAGE_SIZE).fetchall()


def configure(db: sqlite3.Connection, synchronous: str) -> None:
    """What SQLite forgets with each connection."""
    for statement in (
        synchronous,
        "PRAGMA fullfsync = ON",  # macOS: without it "durable" means "handed to the disk"
        "PRAGMA checkpoint_fullfsync = ON",
        "PRAGMA secure_delete = ON",  # a dropped row is overwritten with zeros
        "PRAGMA cell_size_check = ON",  # a damaged page is noticed when it is read
        "PRAGMA trusted_schema = OFF",
        "PRAGMA temp_store = MEMORY",
        _CHECKPOINT,
    ):
        db.execute(statement).fetchall()


def use_log(db: sqlite3.Connection) -> None:
    """Write-ahead log: one sync a commit."""
    mode = db.execute("PRAGMA journal_mode = WAL").fetchall()[0][0]
    if mode not in (b"wal", "wal"):
        raise StoreUnusable("This file system cannot hold a write-ahead log.", advice="Use a local disk.")


def check_intact(db: sqlite3.Connection, path: str) -> bool:
    """False: the file is too large to be looked through."""
    if os.path.getsize(path) > WHOLE_CHECK_BYTES:
        return False
    # not quick_check, which does not compare the rows with their index: a flipped bit there would hide a row
    if db.execute("PRAGMA integrity_check(1)").fetchall()[0][0] not in (b"ok", "ok"):
        raise StoreCorrupt("The database's structure is damaged.", advice="Restore a backup.")
    return True


def migrate(db: sqlite3.Connection) -> None:
    """All missing steps, or none."""
    pending = MIGRATIONS[_number(db, "PRAGMA user_version") :]
    if not pending:
        return
    db.execute("BEGIN IMMEDIATE")
    try:
        for migration in pending:
            for statement in migration:
                db.execute(statement)
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise


def check_nothing_else(db: sqlite3.Connection) -> None:
    """A trigger or a view that somebody put there would lose or invent rows, and no checksum would notice."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as fresh:
        fresh.text_factory = bytes
        migrate(fresh)
        if db.execute(_SCHEMA).fetchall() != fresh.execute(_SCHEMA).fetchall():
            raise StoreCorrupt("The database has another schema than a store's.", advice="Restore a backup.")


def _number(db: sqlite3.Connection, query: str) -> int:
    return int(db.execute(query).fetchall()[0][0])
