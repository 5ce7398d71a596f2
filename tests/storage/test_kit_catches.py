"""The kit finds stores that break a promise: one seeded defect at a time, and the promise that must notice it."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from kexkit.api import Change, Key, Store, Versioned
from kexkit.errors import Conflict
from kexkit.testing import MemoryStore, StoreKit
from kexkit.testing.memory_store import ID_MAX
from kexkit_storage_sqlite import _store, open_store

pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


class WritesBeforeItChecks(MemoryStore):
    async def apply(self, change: Change) -> None:
        self.commit(Change({}, change.put, change.drop))
        self.commit(Change({key: revision + (key in change.put) for key, revision in change.given.items()}, {}))


class IgnoresUnwrittenGivens(MemoryStore):
    async def apply(self, change: Change) -> None:
        self.commit(Change({k: r for k, r in change.given.items() if k in change.put}, change.put, change.drop))


class IgnoresGivenAbsence(MemoryStore):
    async def apply(self, change: Change) -> None:
        self.commit(Change({key: r for key, r in change.given.items() if r}, change.put, change.drop))


class ForgetsToDrop(MemoryStore):
    async def apply(self, change: Change) -> None:
        self.commit(Change(change.given, change.put))


class RemembersDroppedRevisions(MemoryStore):
    async def load(self, keys: Collection[Key]) -> Mapping[Key, Versioned]:
        return {key: Versioned(row.value, self.commits) for key, row in self.read(keys).items()}


class SortsAsText(MemoryStore):
    async def scan(self, table: str, *bounds: Any, **how: Any) -> AsyncIterator[tuple[Key, Versioned]]:
        rows = list(self.rows(table, *bounds, **how))
        for row in sorted(rows, key=lambda row: row[0][1].decode("latin-1").lower(), reverse=how.get("reverse", False)):
            yield row


class IncludesStop(MemoryStore):
    async def scan(
        self, table: str, start: bytes = b"", stop: bytes | None = None, **how: Any
    ) -> AsyncIterator[tuple[Key, Versioned]]:
        for row in self.rows(table, start, None if stop is None else stop + b"\0", **how):
            yield row


class LimitsBeforeItReverses(MemoryStore):
    async def scan(
        self, table: str, *bounds: Any, reverse: bool = False, limit: int | None = None
    ) -> AsyncIterator[tuple[Key, Versioned]]:
        rows = list(self.rows(table, *bounds, limit=limit))
        for row in reversed(rows) if reverse else rows:
            yield row


class CountsItsPagesByRow(MemoryStore):
    """The classic: OFFSET."""

    async def scan(
        self, table: str, *bounds: Any, reverse: bool = False, limit: int | None = None
    ) -> AsyncIterator[tuple[Key, Versioned]]:
        told = 0
        while page := list(self.rows(table, *bounds, reverse=reverse, limit=limit))[told : told + 100]:
            for row in page:
                yield row
            told += len(page)


class GoesRoundInCircles(MemoryStore):
    """A page starts where the last one ended, that row included."""

    async def scan(self, table: str, *bounds: Any, **how: Any) -> AsyncIterator[tuple[Key, Versioned]]:
        start = b""
        while page := list(self.rows(table, start, limit=100)):
            for row in page:
                yield row
            start = page[-1][0][1]


class AppliesRowByRow(MemoryStore):
    async def apply(self, change: Change) -> None:
        self.commit(Change(change.given, {}))
        for key, value in change.put.items():
            self.commit(Change({}, {key: value}))
            await anyio.lowlevel.checkpoint()
        self.commit(Change({}, {}, change.drop))


class ChecksAndThenWaits(MemoryStore):
    async def apply(self, change: Change) -> None:
        self.commit(Change(change.given, {}))
        await anyio.lowlevel.checkpoint()
        self.commit(Change({}, change.put, change.drop))


class CutsLongValues(MemoryStore):
    async def apply(self, change: Change) -> None:
        self.commit(Change(change.given, {key: value[:65536] for key, value in change.put.items()}, change.drop))


class GluesTableAndId(MemoryStore):
    """So that ("t", b"t1") and ("tt", b"1") are one row."""

    @staticmethod
    def _glued(key: Key) -> Key:
        return ("", (key[0].encode() + key[1])[:ID_MAX])

    async def apply(self, change: Change) -> None:
        given = {self._glued(key): revision for key, revision in change.given.items()}
        put = {self._glued(key): value for key, value in change.put.items()}
        self.commit(Change(given, put, frozenset(map(self._glued, change.drop))))

    async def load(self, keys: Collection[Key]) -> Mapping[Key, Versioned]:
        return {key: row for key in keys for row in self.read([self._glued(key)]).values()}


class AcceptsAnyKey(MemoryStore):
    async def apply(self, change: Change) -> None:
        self.commit(Change({}, {(table[:16], row[:240]): value for (table, row), value in change.put.items()}))

    async def load(self, keys: Collection[Key]) -> Mapping[Key, Versioned]:
        return {key: row for key in keys for row in self.read([(key[0][:16], key[1][:240])]).values()}


def _kit(make: Callable[[], Store]) -> StoreKit:
    class Kit(StoreKit):
        durable = False

        @asynccontextmanager
        async def open(self, path: Path) -> AsyncIterator[Store]:
            yield make()

    return Kit()


@pytest.mark.parametrize(
    ("defect", "promise", "case"),
    [
        (WritesBeforeItChecks, "test_a_change_happens_only_if_each_row_is_as_given", (1, 2, True)),
        (IgnoresUnwrittenGivens, "test_a_row_may_be_given_without_being_written_and_written_without_being_given", ()),
        (IgnoresGivenAbsence, "test_a_change_happens_only_if_each_row_is_as_given", (1, 0, False)),
        (ForgetsToDrop, "test_a_change_happens_only_if_each_row_is_as_given", (0, 0, False)),
        (RemembersDroppedRevisions, "test_a_revision_starts_at_1_grows_by_1_and_starts_again_after_a_drop", ()),
        (SortsAsText, "test_rows_come_in_the_order_of_their_bytes", (False,)),
        (IncludesStop, "test_a_scan_is_from_start_up_to_but_not_stop", (False, None)),
        (LimitsBeforeItReverses, "test_a_scan_is_from_start_up_to_but_not_stop", (True, 3)),
        (CountsItsPagesByRow, "test_writing_between_two_rows_of_a_scan_harms_neither", (False,)),
        (GoesRoundInCircles, "test_thousands_of_rows_go_in_with_one_change_and_come_out_once_each", (False,)),
        (GoesRoundInCircles, "test_writing_between_two_rows_of_a_scan_harms_neither", (False,)),
        (AppliesRowByRow, "test_an_apply_cancelled_at_any_await_is_whole_or_nothing", ()),
        (ChecksAndThenWaits, "test_of_many_racing_writers_one_wins_each_round", ()),
        (CutsLongValues, "test_values_are_opaque_bytes_of_any_size_up_to_a_mebibyte", (65537,)),
        (GluesTableAndId, "test_tables_do_not_run_into_one_another", ()),
        (AcceptsAnyKey, "test_tables_and_ids_have_their_bounds_and_past_them_nothing_is_written", ()),
    ],
)
def test_a_defect_in_memory_is_caught(
    defect: type[MemoryStore], promise: str, case: tuple[object, ...], tmp_path: Path, anyio_backend: str
) -> None:
    caught = (AssertionError, Conflict, pytest.fail.Exception)
    check = partial(getattr(StoreKit, promise), _kit(defect), tmp_path / "store", *case)
    with pytest.raises(caught):
        anyio.run(check, backend=anyio_backend)
    anyio.run(partial(getattr(StoreKit, promise), _kit(MemoryStore), tmp_path / "store", *case), backend=anyio_backend)


class SaysKeptBeforeItIs:
    """An SQLite store that acknowledges a change and writes it with the next one."""

    def __init__(self, store: _store.SqliteStore) -> None:
        self._store, self._late = store, Change({}, {})
        self.load, self.scan = store.load, store.scan

    async def apply(self, change: Change) -> None:
        late, self._late = self._late, change
        await self._store.apply(late)


class AckBeforeCommit(StoreKit):
    @asynccontextmanager
    async def open(self, path: Path) -> AsyncIterator[Store]:
        async with open_store({"path": str(path)}) as store:
            assert isinstance(store, _store.SqliteStore)
            yield SaysKeptBeforeItIs(store)


class WithoutALease(StoreKit):
    def open(self, path: Path) -> AbstractAsyncContextManager[Store]:
        return open_store({"path": str(path) + str(os.getpid())})


class ReadableByAll(StoreKit):
    def open(self, path: Path) -> AbstractAsyncContextManager[Store]:
        path.mkdir(mode=0o755, exist_ok=True)
        (path / "rows").touch(mode=0o644)
        return _kit(MemoryStore).open(path)


@pytest.mark.parametrize(
    ("defect", "promise"),
    [
        (ReadableByAll, "test_what_it_keeps_is_its_owners_alone_whatever_the_umask"),
        (AckBeforeCommit, "test_what_apply_returned_from_outlives_the_process"),
        (AckBeforeCommit, "test_what_one_opening_wrote_the_next_one_reads"),
        (WithoutALease, "test_a_second_opener_is_refused_at_once_and_let_in_afterwards"),
    ],
)
def test_a_defect_on_disk_is_caught(defect: type[StoreKit], promise: str, tmp_path: Path) -> None:
    with pytest.raises((AssertionError, Conflict)):
        anyio.run(getattr(defect, promise), defect(), tmp_path / "store")
