"""Where a row stands in the database, and the statements that read and write it.

Rows stand in one SQL table, with an index of their keys. But an id of 8 bytes is a number, and a number can be a row's
own place: such rows have an SQL table without an index for each table of the store's, given to the first few of these
when a number of theirs comes. They are what comes and goes most, queues, and each spares a commit a page (ADR 7).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Generator
from contextlib import closing
from functools import lru_cache
from heapq import merge
from operator import itemgetter
from typing import Final, TypeAlias
from zlib import crc32

from attrs import frozen
from kexkit.api import Change, Key, Unpicklable, Versioned
from kexkit.errors import Conflict, InvalidInput, StoreCorrupt

from kexkit_storage_sqlite.limits import NUMBERED_TABLES, PAGE_BYTES, TABLE_MAX

NUMBER_BYTES: Final = 8
_LEAST: Final = -(1 << 63)
"""The place of the number 0: SQLite's have a sign, ours have none."""
_MOST: Final = (1 << 63) - 1
_ALL: Final = -1
"""SQLite's word for no limit"""

Page: TypeAlias = list[tuple[Key, Versioned]]
Found: TypeAlias = tuple[bytes, bytes, int, int]
"""id, value, revision, sum"""


@frozen
class Statements:
    """Of one SQL table. `place` is what stands for an id."""

    get: str
    revision: str
    make: str
    move: str
    put: str
    drop: str
    scan: tuple[str, str]
    """between two places, both included: upwards, downwards"""


_GET: Final = "SELECT value, revision, sum FROM @table WHERE @here"
_REVISION: Final = "SELECT revision FROM @table WHERE @here"
_MAKE: Final = "INSERT INTO @table (value, sum, @names, revision) VALUES (?, ?, @values, 1) ON CONFLICT DO NOTHING"
_MOVE: Final = "UPDATE @table SET value = ?, sum = ?, revision = revision + 1 WHERE @here AND revision = ?"
_PUT: Final = (
    "INSERT INTO @table (value, sum, @names, revision) VALUES (?, ?, @values, 1) ON CONFLICT (@names)"
    " DO UPDATE SET value = excluded.value, sum = excluded.sum, revision = revision + 1"
)
_DROP: Final = "DELETE FROM @table WHERE @here"
_UP: Final = "SELECT id, value, revision, sum FROM @table WHERE @between ORDER BY id LIMIT ?"
_DOWN: Final = "SELECT id, value, revision, sum FROM @table WHERE @between ORDER BY id DESC LIMIT ?"


def _statements(table: str, place: tuple[str, ...], between: str) -> Statements:
    """Put together once, of what stands in this file alone."""

    def of_it(text: str) -> str:
        text = text.replace("@here", " AND ".join(f"{name} = ?" for name in place))
        text = text.replace("@names", ", ".join(place)).replace("@values", ", ".join("?" * len(place)))
        return text.replace("@between", between).replace("@table", table)

    scan = of_it(_UP), of_it(_DOWN)
    return Statements(of_it(_GET), of_it(_REVISION), of_it(_MAKE), of_it(_MOVE), of_it(_PUT), of_it(_DROP), scan)


BY_KEY: Final = _statements("row", ("tbl", "id"), "tbl = ? AND id >= ? AND id < ?")
_TO_THE_END: Final = _statements("row", ("tbl", "id"), "tbl = ? AND id >= ?").scan
BY_NUMBER: Final = tuple(_statements(f"number_{n}", ("id",), "id >= ? AND id <= ?") for n in range(NUMBERED_TABLES))


class Rows(Unpicklable):
    """All rows of one connection."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self.db = db
        self._cursor = db.cursor()
        self._numbers = _placed(db)

    def check_numbers(self) -> None:
        """No index knows which numbers there are, so a bit that flips in one would hide its row."""
        for table, statements in self._numbers.items():
            for place, *row in self.db.execute(statements.scan[0], (_LEAST, _MOST, _ALL)):
                _versioned((table, _number_at(place)), *row)

    # --- three verbs ---

    def load(self, keys: Collection[Key]) -> dict[Key, Versioned]:
        """Nobody writes meanwhile, so no transaction holds the rows together."""
        cursor = self.db.cursor()
        found = {}
        for key in keys:
            statements, place = self._place(key)
            row = cursor.execute(statements.get, place).fetchone()
            if row is not None:
                found[key] = _versioned(key, *row)
        return found

    def apply(self, change: Change) -> None:
        cursor, placed = self._cursor, len(self._numbers)
        cursor.execute("BEGIN IMMEDIATE")
        try:
            self.write(cursor, change)
            cursor.execute("COMMIT")
        except BaseException as error:
            undone = self.db.in_transaction or isinstance(error, sqlite3.Error)  # else an interrupt after the commit
            while undone and len(self._numbers) > placed:  # what this change placed, the last first
                self._numbers.popitem()
            if self.db.in_transaction:
                cursor.execute("ROLLBACK")
            raise

    def write(self, cursor: sqlite3.Cursor, change: Change) -> None:
        """A put whose revision is given is checked by the statement that makes it; other givens are read."""
        given, put, execute = change.given, change.put, cursor.execute
        for key, revision in given.items():
            if key not in put and self._revision(cursor, key) != revision:
                raise Conflict
        for key, value in put.items():
            table, row = key
            place: tuple[object, ...] = key
            statements = BY_KEY
            if len(row) == NUMBER_BYTES:
                numbered = self._numbers.get(table) or self._number(cursor, table)
                if numbered is not None:
                    statements, place = numbered, (int.from_bytes(row, "big") + _LEAST,)
            expected = given.get(key)
            checksum = crc32(value, crc32(row, seed(table)))
            if expected is None:
                execute(statements.put, (value, checksum, *place))
            elif expected == 0:
                if execute(statements.make, (value, checksum, *place)).rowcount != 1:
                    raise Conflict
            elif execute(statements.move, (value, checksum, *place, expected)).rowcount != 1:
                raise Conflict
        for key in change.drop:
            statements, place = self._place(key)
            execute(statements.drop, place)

    def page(self, table: str, start: bytes, stop: bytes | None, *, reverse: bool, ask: int) -> tuple[Page, bool]:
        """Up to `ask` rows in the order of their ids, and whether there may be more after them."""
        page: Page = []
        size = 0
        keyed = self._by_key(table, start, stop, reverse, ask)
        numbered = self._by_number(table, start, stop, reverse, ask)
        with closing(keyed), closing(numbered):
            both = merge(keyed, numbered, key=itemgetter(0), reverse=reverse) if table in self._numbers else keyed
            for row, value, revision, checksum in both:
                key = (table, row)
                page.append((key, _versioned(key, value, revision, checksum)))
                size += len(value)
                if size >= PAGE_BYTES or len(page) == ask:
                    return page, True
        return page, False

    def _by_key(self, table: str, start: bytes, stop: bytes | None, reverse: bool, ask: int) -> Generator[Found]:
        if stop is None:
            cursor = self.db.execute(_TO_THE_END[reverse], (table, start, ask))
        else:
            cursor = self.db.execute(BY_KEY.scan[reverse], (table, start, stop, ask))
        with closing(cursor):
            yield from cursor

    def _by_number(self, table: str, start: bytes, stop: bytes | None, reverse: bool, ask: int) -> Generator[Found]:
        first = _first_from(start)
        last = _MOST if stop is None else _first_from(stop) - 1
        statements = self._numbers.get(table)
        if statements is None or first > last:
            return
        with closing(self.db.execute(statements.scan[reverse], (first, last, ask))) as cursor:
            for number, value, revision, checksum in cursor:
                yield _number_at(number), value, revision, checksum

    # --- where they stand ---

    def _place(self, key: Key) -> tuple[Statements, tuple[object, ...]]:
        table, row = key
        if len(row) == NUMBER_BYTES and table in self._numbers:
            return self._numbers[table], (int.from_bytes(row, "big") + _LEAST,)
        return BY_KEY, key

    def _revision(self, cursor: sqlite3.Cursor, key: Key) -> int:
        statements, place = self._place(key)
        found = cursor.execute(statements.revision, place).fetchone()
        return int(found[0]) if found else 0

    def _number(self, cursor: sqlite3.Cursor, table: str) -> Statements | None:
        """The first number of a table: it gets a place for them, while there is one, and keeps it for good."""
        place = len(self._numbers)
        if place == NUMBERED_TABLES:
            return None
        cursor.execute("INSERT INTO numbered (place, tbl) VALUES (?, ?)", (place, table))
        self._numbers[table] = BY_NUMBER[place]
        return BY_NUMBER[place]


def _placed(db: sqlite3.Connection) -> dict[str, Statements]:
    """Which tables have places for their numbers. They were given in order, and where none was given nothing stands:
    else a place is lost or another's, and with it all that nobody would miss."""
    found = db.execute("SELECT place, tbl FROM numbered ORDER BY place").fetchall()
    names = [name.decode("ascii", "replace") for _, name in found if type(name) is bytes]
    unused = [statements.scan[0] for statements in BY_NUMBER[len(found) :]]
    in_order = [place for place, _ in found] == list(range(len(names))) and len(names) <= NUMBERED_TABLES
    readable = all(len(name) <= TABLE_MAX and name.isascii() for name in names)
    if not (in_order and readable) or any(db.execute(scan, (_LEAST, _MOST, 1)).fetchall() for scan in unused):
        raise StoreCorrupt("The places of numbers are damaged.", advice="Restore a backup.")
    return dict(zip(names, BY_NUMBER, strict=False))


def _number_at(place: int) -> bytes:
    return (place - _LEAST).to_bytes(NUMBER_BYTES, "big")


def _first_from(start: bytes) -> int:
    """The place of the first number whose bytes do not sort before these. What is longer than a number and begins with
    it sorts after it. The place may be one beyond the last."""
    number = int.from_bytes(start[:NUMBER_BYTES].ljust(NUMBER_BYTES, b"\0"), "big")
    return number + _LEAST + (len(start) > NUMBER_BYTES)


def _versioned(key: Key, value: bytes, revision: int, checksum: int) -> Versioned:
    if type(value) is not bytes or type(revision) is not int or crc32(value, crc32(key[1], seed(key[0]))) != checksum:
        raise StoreCorrupt(f"A row of the table {key[0]} is damaged.", advice="Restore a backup.")
    return Versioned(value, revision)


@lru_cache(maxsize=256)  # of table names, of which there are a dozen
def seed(table: str) -> int:
    if len(table) > TABLE_MAX or not table.isascii():
        raise InvalidInput(f"A table's name has at most {TABLE_MAX} characters, all ASCII.")
    return crc32(table.encode())
