"""The three verbs over one connection.

Every verb does its work at once, in the caller's task: a change is never interrupted between its first statement and
its commit, and no thread stands between (docs/adr/0003-commits-run-inline.md has the measurements).
"""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Mapping
from contextlib import suppress
from typing import Concatenate, ParamSpec, TypeVar

import anyio
from kexkit.api import Change, Key, Unpicklable, Versioned
from kexkit.errors import InvalidInput, StoreBusy, StoreUnusable

from kexkit_storage_sqlite._errors import typed
from kexkit_storage_sqlite._fork import OneProcess, never_collect, watch
from kexkit_storage_sqlite._rows import Rows, seed
from kexkit_storage_sqlite.limits import BUSY_PAUSE, BUSY_SECONDS, ID_MAX, PAGE_ROWS, VALUE_MAX

ID_TOO_LONG = f"A row's id has at most {ID_MAX} bytes."

Answer = TypeVar("Answer")
P = ParamSpec("P")


class SqliteStore(Unpicklable):
    """`kexkit.api.Store`. `commits` counts the changes made durable."""

    def __init__(self, connect: Callable[[], sqlite3.Connection]) -> None:
        """`connect` is called by the first verb, and again after a failure of the disk."""
        self.commits = 0
        self._connect = connect
        self._process = OneProcess()
        self._closed = False
        self._rows: Rows | None = None
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
        return await self._patiently(Rows.load, keys)

    async def apply(self, change: Change) -> None:
        _check_change(change)
        try:
            self._at_once(Rows.apply, change)
        except StoreBusy:
            await self._patiently(Rows.apply, change)
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
            page, more = await self._patiently(Rows.page, table, start, stop, reverse=reverse, ask=ask)
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
        rows, self._rows, self._closed = self._rows, None, True
        if rows is not None and self._process.is_this():
            with suppress(sqlite3.Error):  # every change is durable in the log already
                rows.db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
            with suppress(sqlite3.Error):
                rows.db.close()

    def forget_in_child(self) -> None:
        if self._rows is not None:
            never_collect(self._rows.db)

    async def _patiently(
        self, work: Callable[Concatenate[Rows, P], Answer], *args: P.args, **kwargs: P.kwargs
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

    def _at_once(self, work: Callable[Concatenate[Rows, P], Answer], *args: P.args, **kwargs: P.kwargs) -> Answer:
        self._process.check()
        rows = self._connected()
        try:
            return work(rows, *args, **kwargs)
        except sqlite3.Error as error:
            if _is_suspect(error) or rows.db.in_transaction:
                self._disconnect()
            raise typed(error) from None

    def _connected(self) -> Rows:
        if self._closed:
            raise StoreUnusable("The store is closed.", advice="Open it again.")
        if self._rows is None:
            self._rows = _rows_of(self._connect())
        return self._rows

    def _disconnect(self) -> None:
        """After a failure of the disk, nothing in this connection's memory is to be trusted.

        The next verb connects anew, which moves the log into the database and syncs both: no later change stands on
        a write that was lost.
        """
        rows, self._rows = self._rows, None
        if rows is not None:
            with suppress(sqlite3.Error):
                rows.db.close()


def _rows_of(db: sqlite3.Connection) -> Rows:
    try:
        return Rows(db)
    except BaseException as error:
        db.close()
        if isinstance(error, sqlite3.Error):
            raise typed(error) from None
        raise


def _is_suspect(error: sqlite3.Error) -> bool:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in {sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CORRUPT}


def _nothing(rows: Rows) -> None:
    """A verb that only wants the database open."""


def _check_change(change: Change) -> None:
    """Before anything is locked."""
    put, given, drop = change.put, change.given, change.drop
    for (table, row), value in put.items():
        seed(table)
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


def _check(keys: Iterable[Key]) -> None:
    for table, row in keys:
        seed(table)
        if len(row) > ID_MAX:
            raise InvalidInput(ID_TOO_LONG)
