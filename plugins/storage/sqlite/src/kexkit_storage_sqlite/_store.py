"""The three verbs over one connection.

Every verb does its work at once, in the caller's task: a change is never interrupted between its first statement and
its commit, and no thread stands between (docs/adr/0003-commits-run-inline.md has the measurements).
"""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Mapping
from contextlib import suppress
from functools import lru_cache
from typing import Concatenate, ParamSpec, TypeVar
from zlib import crc32

import anyio
from kexkit.api import Change, Key, Versioned
from kexkit.errors import Conflict, InvalidInput, StoreBusy, StoreCorrupt, StoreUnusable

from kexkit_storage_sqlite._errors import typed
from kexkit_storage_sqlite._fork import OneProcess, never_collect, watch
from kexkit_storage_sqlite.limits import BUSY_PAUSE, BUSY_SECONDS, ID_MAX, PAGE_BYTES, PAGE_ROWS, TABLE_MAX, VALUE_MAX

GET = "SELECT value, revision, sum FROM row WHERE tbl = ? AND id = ?"
REVISION = "SELECT revision FROM row WHERE tbl = ? AND id = ?"
MAKE = "INSERT INTO row (value, sum, tbl, id, revision) VALUES (?, ?, ?, ?, 1) ON CONFLICT DO NOTHING"
MOVE = "UPDATE row SET value = ?, sum = ?, revision = revision + 1 WHERE tbl = ? AND id = ? AND revision = ?"
SET = (
    "INSERT INTO row (value, sum, tbl, id, revision) VALUES (?, ?, ?, ?, 1) ON CONFLICT (tbl, id)"
    " DO UPDATE SET value = excluded.value, sum = excluded.sum, revision = revision + 1"
)
DROP = "DELETE FROM row WHERE tbl = ? AND id = ?"
FROM = "SELECT id, value, revision, sum FROM row WHERE tbl = ? AND id >= ? ORDER BY id LIMIT ?"
BETWEEN = "SELECT id, value, revision, sum FROM row WHERE tbl = ? AND id >= ? AND id < ? ORDER BY id LIMIT ?"
FROM_BACK = "SELECT id, value, revision, sum FROM row WHERE tbl = ? AND id >= ? ORDER BY id DESC LIMIT ?"
BETWEEN_BACK = "SELECT id, value, revision, sum FROM row WHERE tbl = ? AND id >= ? AND id < ? ORDER BY id DESC LIMIT ?"

ID_TOO_LONG = f"A row's id has at most {ID_MAX} bytes."

Answer = TypeVar("Answer")
P = ParamSpec("P")


class SqliteStore:
    """`kexkit.api.Store`. `commits` counts the changes made durable."""

    def __init__(self, connect: Callable[[], sqlite3.Connection]) -> None:
        """`connect` is called by the first verb, and again after a failure of the disk."""
        self.commits = 0
        self._connect = connect
        self._process = OneProcess()
        self._closed = False
        self._db: sqlite3.Connection | None = None
        watch(self)

    def __repr__(self) -> str:
        return f"SqliteStore(commits={self.commits}, closed={self._closed})"

    async def ready(self) -> None:
        """The database is open, as before any verb, and ours: another program may have to finish first."""
        await self._patiently(_nothing)

    def ready_at_once(self) -> None:
        self._at_once(_nothing)

    async def load(self, keys: Collection[Key]) -> Mapping[Key, Versioned]:
        _check(keys)
        return await self._patiently(_load, keys)

    async def apply(self, change: Change) -> None:
        _check_change(change)
        try:
            self._at_once(_apply, change)
        except StoreBusy:
            await self._patiently(_apply, change)
        self.commits += 1

    async def scan(
        self,
        table: str,
        start: bytes = b"",
        stop: bytes | None = None,
        *,
        reverse: bool = False,
        limit: int | None = None,
    ) -> AsyncIterator[tuple[Key, Versioned]]:
        """Page by page: no statement stays open while the reader does other things, such as writing."""
        _check([(table, b"")])
        while limit is None or limit > 0:
            ask = PAGE_ROWS if limit is None else min(limit, PAGE_ROWS)
            page, more = await self._patiently(_page, table=table, start=start, stop=stop, reverse=reverse, ask=ask)
            for row in page:
                yield row
            if not more:
                return
            limit = None if limit is None else limit - len(page)
            if reverse:
                stop = page[-1][0][1]
            else:
                start = page[-1][0][1] + b"\0"  # the very next id there can be

    def close(self) -> None:
        """Moves the log into the database, so that what was dropped is gone from both."""
        db, self._db, self._closed = self._db, None, True
        if db is not None and self._process.is_this():
            with suppress(sqlite3.Error):  # every change is durable in the log already
                db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
            with suppress(sqlite3.Error):
                db.close()

    def forget_in_child(self) -> None:
        if self._db is not None:
            never_collect(self._db)

    async def _patiently(
        self, work: Callable[Concatenate[sqlite3.Connection, P], Answer], *args: P.args, **kwargs: P.kwargs
    ) -> Answer:
        """A foreign program may be in the way when the database is opened; it is the event loop that waits."""
        waited = 0.0
        while True:
            try:
                return self._at_once(work, *args, **kwargs)
            except StoreBusy:
                if waited >= BUSY_SECONDS:
                    raise
            await anyio.sleep(BUSY_PAUSE)
            waited += BUSY_PAUSE

    def _at_once(
        self, work: Callable[Concatenate[sqlite3.Connection, P], Answer], *args: P.args, **kwargs: P.kwargs
    ) -> Answer:
        self._process.check()
        db = self._connection()
        try:
            return work(db, *args, **kwargs)
        except sqlite3.Error as error:
            if _is_suspect(error) or db.in_transaction:
                self._disconnect()
            raise typed(error) from None

    def _connection(self) -> sqlite3.Connection:
        if self._closed:
            raise StoreUnusable("The store is closed.", advice="Open it again.")
        if self._db is None:
            self._db = self._connect()
        return self._db

    def _disconnect(self) -> None:
        """After a failure of the disk, nothing in this connection's memory is to be trusted.

        The next verb connects anew, which moves the log into the database and syncs both: no later change stands on
        a write that was lost.
        """
        db, self._db = self._db, None
        if db is not None:
            with suppress(sqlite3.Error):
                db.close()


def _is_suspect(error: sqlite3.Error) -> bool:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in {sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CORRUPT}


def _nothing(db: sqlite3.Connection) -> None:
    """A verb that only wants the database open."""


def _load(db: sqlite3.Connection, keys: Collection[Key]) -> dict[Key, Versioned]:
    """Nobody writes meanwhile, so no transaction holds the rows together."""
    cursor = db.cursor()
    found = {}
    for key in keys:
        row = cursor.execute(GET, key).fetchone()
        if row is not None:
            found[key] = _versioned(key, *row)
    return found


def _check_change(change: Change) -> None:
    """Before anything is locked."""
    put, given, drop = change.put, change.given, change.drop
    for (table, row), value in put.items():
        _seed(table)
        if len(row) > ID_MAX:
            raise InvalidInput(ID_TOO_LONG)
        if len(value) > VALUE_MAX:
            raise InvalidInput(f"A value has at most {VALUE_MAX} bytes.")
    if not given.keys() <= put.keys():
        _check(given)
    if drop:
        _check(drop)
        if not drop.isdisjoint(put):
            raise InvalidInput("A row cannot be both put and dropped by one change.")


def _apply(db: sqlite3.Connection, change: Change) -> None:
    cursor = db.cursor()
    cursor.execute("BEGIN IMMEDIATE")
    try:
        _write(cursor, change)
        cursor.execute("COMMIT")
    except BaseException:
        if db.in_transaction:
            cursor.execute("ROLLBACK")
        raise


def _write(cursor: sqlite3.Cursor, change: Change) -> None:
    """A put whose revision is given is checked by the statement that makes it; other givens are read."""
    given, put, execute = change.given, change.put, cursor.execute
    for key, revision in given.items():
        if key not in put:
            found = execute(REVISION, key).fetchone()
            if (found[0] if found else 0) != revision:
                raise Conflict
    for key, value in put.items():
        table, row = key
        expected = given.get(key)
        checksum = crc32(value, crc32(row, _seed(table)))
        if expected is None:
            execute(SET, (value, checksum, table, row))
        elif expected == 0:
            if execute(MAKE, (value, checksum, table, row)).rowcount != 1:
                raise Conflict
        elif execute(MOVE, (value, checksum, table, row, expected)).rowcount != 1:
            raise Conflict
    for key in change.drop:
        execute(DROP, key)


def _page(
    db: sqlite3.Connection, table: str, start: bytes, stop: bytes | None, reverse: bool, ask: int
) -> tuple[list[tuple[Key, Versioned]], bool]:
    """Up to `ask` rows, and whether there may be more after them."""
    page: list[tuple[Key, Versioned]] = []
    size = 0
    if stop is None:
        cursor = db.execute(FROM_BACK if reverse else FROM, (table, start, ask))
    else:
        cursor = db.execute(BETWEEN_BACK if reverse else BETWEEN, (table, start, stop, ask))
    for row, value, revision, checksum in cursor:
        key = (table, row)
        page.append((key, _versioned(key, value, revision, checksum)))
        size += len(value)
        if size >= PAGE_BYTES:
            cursor.close()
            return page, True
    return page, len(page) == ask


def _versioned(key: Key, value: bytes, revision: int, checksum: int) -> Versioned:
    if type(value) is not bytes or type(revision) is not int or crc32(value, crc32(key[1], _seed(key[0]))) != checksum:
        raise StoreCorrupt(f"A row of the table {key[0]} is damaged.", advice="Restore a backup.")
    return Versioned(value, revision)


@lru_cache(maxsize=256)  # of table names, of which there are a dozen
def _seed(table: str) -> int:
    if len(table) > TABLE_MAX or not table.isascii():
        raise InvalidInput(f"A table's name has at most {TABLE_MAX} characters, all ASCII.")
    return crc32(table.encode())


def _check(keys: Iterable[Key]) -> None:
    for table, row in keys:
        _seed(table)
        if len(row) > ID_MAX:
            raise InvalidInput(ID_TOO_LONG)
