"""The store in memory keeps the promises that hold without a disk, and fails when it is told to."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager, nullcontext
from pathlib import Path

import pytest
from kexkit.api import Change, Store
from kexkit.errors import InvalidInput, StorageError, StoreBusy
from kexkit.testing import MemoryStore, StoreKit

ONE, TWO = ("t", b"1"), ("t", b"2")


class TestMemoryStore(StoreKit):
    durable = False

    def open(self, path: Path) -> AbstractAsyncContextManager[Store]:
        return nullcontext(MemoryStore())


class TestMemoryStoreThatYields(StoreKit):
    durable = False

    def open(self, path: Path) -> AbstractAsyncContextManager[Store]:
        return nullcontext(MemoryStore(yields=True))


def test_a_dump_is_equal_exactly_when_rows_and_revisions_are() -> None:
    store, other = MemoryStore(), MemoryStore()
    for each in (store, other):
        each.commit(Change({}, {TWO: b"two", ONE: b"one"}))
    assert store.dump() == other.dump() == {ONE: (b"one", 1), TWO: (b"two", 1)}
    assert list(store.dump()) == [ONE, TWO]
    other.commit(Change({}, {ONE: b"one"}))
    assert store.dump() != other.dump()


def test_a_copy_goes_its_own_way() -> None:
    store = MemoryStore()
    store.commit(Change({}, {ONE: b"one"}, words={ONE: "word"}))
    twin = store.copy()
    twin.commit(Change({ONE: 1}, {TWO: b"two"}, frozenset([ONE])))
    assert store.dump() == {ONE: (b"one", 1)}
    assert store.words == {ONE: "word"}
    assert (twin.dump(), twin.words, twin.commits) == ({TWO: (b"two", 1)}, {}, 1)


def test_a_call_that_fails_before_has_done_nothing_and_one_that_fails_after_has_done_all() -> None:
    store = MemoryStore()
    store.fail("apply", nth=2)
    store.fail("apply", nth=3, after=True, error=StoreBusy())
    store.commit(Change({}, {ONE: b"1"}))
    with pytest.raises(StorageError):
        store.commit(Change({}, {ONE: b"2"}))
    assert store.dump() == {ONE: (b"1", 1)}
    with pytest.raises(StoreBusy):
        store.commit(Change({}, {ONE: b"3"}))
    assert store.dump() == {ONE: (b"3", 2)}
    store.commit(Change({}, {ONE: b"4"}))
    assert store.commits == 3
    assert store.calls["apply"] == 4


def test_reads_fail_when_told_and_only_then() -> None:
    store = MemoryStore()
    store.commit(Change({}, {ONE: b"1"}))
    store.fail("load")
    store.fail("scan")
    with pytest.raises(StorageError):
        store.read([ONE])
    with pytest.raises(StorageError):
        next(store.rows("t"))
    assert list(store.rows("t")) == list(store.read([ONE]).items())


def test_a_row_both_put_and_dropped_is_refused() -> None:
    store = MemoryStore()
    with pytest.raises(InvalidInput):
        store.commit(Change({}, {ONE: b"1"}, frozenset([ONE])))
    assert store.dump() == {}
