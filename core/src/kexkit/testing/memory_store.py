"""A store in memory that can be told to fail: what tests and property tests put under an engine.

It keeps every promise of `kexkit.api.Store` except durability. `read`, `commit` and `rows` are the same three verbs
without an event loop, for tests that drive generators by hand; the awaited verbs call them, so faults and counts work
either way.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import Counter
from collections.abc import AsyncIterator, Collection, Iterator, Mapping
from typing import Literal, TypeAlias

import anyio.lowlevel
from attrs import define, field, frozen

from kexkit.api import Change, Key, Unpicklable, Versioned
from kexkit.errors import Conflict, InvalidInput, StorageError, StoreUnusable

TABLE_MAX = 16
"""characters of a table's name, all ASCII: `kexkit.api.Key`"""
ID_MAX = 240
"""bytes of an id: with the table it fits LMDB's 511-byte keys, the smallest of the stores thought of"""

Verb: TypeAlias = Literal["load", "apply", "scan"]


@frozen
class Fault:
    """The `nth` call of `verb` from now on raises `error`; an `after` one has done its work first."""

    verb: Verb
    nth: int
    after: bool
    error: StorageError


@define(eq=False)
class MemoryStore(Unpicklable):
    """Sorted, deterministic, alone. With `yields`, each verb lets other tasks run before and after it."""

    yields: bool = False
    commits: int = field(default=0, init=False)
    """how many changes were applied, empty ones included"""
    calls: Counter[str] = field(factory=Counter, init=False)
    """how often each verb was called"""
    words: dict[Key, str] = field(factory=dict, init=False, repr=False)
    """what `Change.words` said of the rows that are here"""
    _rows: dict[Key, Versioned] = field(factory=dict, init=False, repr=False)
    _order: list[Key] = field(factory=list, init=False, repr=False)
    _faults: list[Fault] = field(factory=list, init=False)

    # --- for tests ---

    def dump(self) -> dict[Key, tuple[bytes, int]]:
        """Every row as (value, revision), in order: equal dumps, equal stores."""
        return {key: (row.value, row.revision) for key in self._order for row in (self._rows[key],)}

    def copy(self) -> MemoryStore:
        """Another store with the same rows; no faults, counts at nought."""
        twin = MemoryStore(self.yields)
        twin.words = dict(self.words)
        twin._rows = {key: Versioned(row.value, row.revision) for key, row in self._rows.items()}
        twin._order = list(self._order)
        return twin

    def fail(self, verb: Verb, nth: int = 1, *, after: bool = False, error: StorageError | None = None) -> None:
        """Let the `nth` next call of `verb` raise, once.

        `after=True` is the case most callers forget: the commit happened, but they saw an error.
        """
        if nth < 1:
            raise InvalidInput("The first call is number 1.")
        chosen = error or StoreUnusable("This store was told to fail.")
        self._faults.append(Fault(verb, self.calls[verb] + nth, after, chosen))

    # --- the three verbs, at once ---

    def read(self, keys: Collection[Key]) -> dict[Key, Versioned]:
        """`load` without an event loop."""
        self._count("load")
        for key in keys:
            _check(key)
        found = {key: self._rows[key] for key in keys if key in self._rows}
        self._raise_if_told("load", after=True)
        return found

    def commit(self, change: Change) -> None:
        """`apply` without an event loop."""
        self._count("apply")
        for key in (*change.given, *change.put, *change.drop):
            _check(key)
        if not change.drop.isdisjoint(change.put):
            raise InvalidInput("A row cannot be both put and dropped by one change.")
        for key, revision in change.given.items():
            row = self._rows.get(key)
            if (row.revision if row else 0) != revision:
                raise Conflict
        for key, value in change.put.items():
            self._put(key, value)
        for key in change.drop:
            self._drop(key)
        self.words.update({key: text for key, text in change.words.items() if key in self._rows})
        self.commits += 1
        self._raise_if_told("apply", after=True)

    def rows(
        self,
        table: str,
        start: bytes = b"",
        stop: bytes | None = None,
        *,
        reverse: bool = False,
        limit: int | None = None,
    ) -> Iterator[tuple[Key, Versioned]]:
        """`scan` without an event loop. Each row is looked up when it is asked for, so writes between are no harm."""
        self._count("scan")
        _check((table, b""))  # start and stop are places between ids, so they may be longer than any id
        first, last = (table, start), (table + "\0", b"") if stop is None else (table, stop)
        while limit is None or limit > 0:
            key = self._last_in(first, last) if reverse else self._first_in(first, last)
            if key is None:
                return
            yield key, self._rows[key]
            limit = None if limit is None else limit - 1
            if reverse:
                last = key
            else:
                first = (table, key[1] + b"\0")  # the very next id there can be

    # --- the store ---

    async def load(self, keys: Collection[Key]) -> Mapping[Key, Versioned]:
        await self._let_others_run()
        found = self.read(keys)
        await self._let_others_run()
        return found

    async def apply(self, change: Change) -> None:
        await self._let_others_run()
        self.commit(change)
        await self._let_others_run()

    async def scan(
        self,
        table: str,
        start: bytes = b"",
        stop: bytes | None = None,
        *,
        reverse: bool = False,
        limit: int | None = None,
    ) -> AsyncIterator[tuple[Key, Versioned]]:
        await self._let_others_run()
        for row in self.rows(table, start, stop, reverse=reverse, limit=limit):
            yield row
            await self._let_others_run()

    # --- inside ---

    def _put(self, key: Key, value: bytes) -> None:
        row = self._rows.get(key)
        if row is None:
            insort(self._order, key)
        self._rows[key] = Versioned(bytes(value), row.revision + 1 if row else 1)

    def _drop(self, key: Key) -> None:
        if self._rows.pop(key, None) is not None:
            del self._order[bisect_left(self._order, key)]
            self.words.pop(key, None)

    def _first_in(self, first: Key, last: Key) -> Key | None:
        at = bisect_left(self._order, first)
        return self._order[at] if at < len(self._order) and self._order[at] < last else None

    def _last_in(self, first: Key, last: Key) -> Key | None:
        at = bisect_left(self._order, last) - 1
        return self._order[at] if at >= 0 and self._order[at] >= first else None

    def _count(self, verb: Verb) -> None:
        self.calls[verb] += 1
        self._raise_if_told(verb, after=False)

    def _raise_if_told(self, verb: Verb, *, after: bool) -> None:
        for fault in self._faults:
            if (fault.verb, fault.nth, fault.after) == (verb, self.calls[verb], after):
                self._faults.remove(fault)
                raise fault.error

    async def _let_others_run(self) -> None:
        if self.yields:
            await anyio.lowlevel.checkpoint()


def _check(key: Key) -> None:
    table, row = key
    if len(table) > TABLE_MAX or not table.isascii():
        raise InvalidInput(f"A table's name has at most {TABLE_MAX} characters, all ASCII.")
    if len(row) > ID_MAX:
        raise InvalidInput(f"A row's id has at most {ID_MAX} bytes.")
