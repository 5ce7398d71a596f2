"""What a store promises of an open store: rows, revisions, changes that happen whole, order."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest

from kexkit.api import Change, Key, Store, Versioned
from kexkit.errors import Conflict, InvalidInput
from kexkit.testing.cancelling import CancelledAt
from kexkit.testing.memory_store import ID_MAX, TABLE_MAX
from kexkit.testing.store_model import ending, everything, plain, puts

VALUE_AT_LEAST = 1024 * 1024
"""bytes that one value may have in every store; more is the store's own business"""

# 0x00 and 0xff at every place where an order that is not bytewise would show; also letters beyond ASCII
_HARD = "00 0000 00ff 25 41 5a 61 6100 610062 61ff 6161 62 7f 80 c3a4 e697a5 fe ff ff00 ffff"
HARD_IDS = sorted([b"", *map(bytes.fromhex, _HARD.split()), b"'; DROP TABLE row; --", b"\xff" * ID_MAX])


@pytest.mark.anyio
class StoreRules:
    """The larger part of `StoreKit`."""

    durable = True
    """False: rows live while the store is open, so closing, crashing and second openers are not tried"""
    exclusive = True
    """False: several may hold it at once (a server), and `given` alone keeps them apart"""

    def open(self, path: Path) -> AbstractAsyncContextManager[Store]:
        """Your store, opened at `path`. At a new path nothing is there yet; at an old one is what was left there."""
        raise AssertionError("say in your subclass how the store is opened")

    @pytest.fixture(params=["asyncio", "trio"])
    def anyio_backend(self, request: pytest.FixtureRequest) -> str:
        return str(request.param)

    @pytest.fixture
    def path(self, tmp_path: Path) -> Path:
        return tmp_path / "store"

    # --- rows and revisions ---

    async def test_what_was_put_is_loaded_and_what_was_not_is_absent(self, path: Path) -> None:
        async with self.open(path) as store:
            await store.apply(puts({("t", b"1"): b"one", ("u", b"1"): b"other table", ("t", b"2"): b""}))
            asked = [("t", b"1"), ("u", b"1"), ("t", b"2"), ("t", b"3"), ("v", b"1")]
            assert plain(await store.load(asked)) == {
                ("t", b"1"): (b"one", 1),
                ("u", b"1"): (b"other table", 1),
                ("t", b"2"): (b"", 1),
            }
            assert await store.load([]) == {}

    async def test_tables_do_not_run_into_one_another(self, path: Path) -> None:
        keys = [("", b"tt1"), ("t", b"t1"), ("tt", b"1"), ("tt1", b""), ("t", b"\0t"), ("t\0", b"t")]
        async with self.open(path) as store:
            await store.apply(puts({key: b"%d" % at for at, key in enumerate(keys)}))
            assert plain(await store.load(keys)) == {key: (b"%d" % at, 1) for at, key in enumerate(keys)}
            for table in {key[0] for key in keys}:
                assert [key for key, _ in await everything(store, table)] == sorted(k for k in keys if k[0] == table)

    async def test_a_revision_starts_at_1_grows_by_1_and_starts_again_after_a_drop(self, path: Path) -> None:
        key = ("t", b"1")
        async with self.open(path) as store:
            for expected in (1, 2, 3):
                await store.apply(puts({key: b"%d" % expected}))
                assert plain(await store.load([key])) == {key: (b"%d" % expected, expected)}
            await store.apply(Change({key: 3}, {}, frozenset([key])))
            assert await store.load([key]) == {}
            await store.apply(Change({key: 0}, {key: b"again"}))
            assert plain(await store.load([key])) == {key: (b"again", 1)}

    async def test_dropping_an_absent_row_is_no_error(self, path: Path) -> None:
        async with self.open(path) as store:
            await store.apply(Change({}, {("t", b"1"): b"kept"}, frozenset([("t", b"2"), ("u", b"1")])))
            assert await everything(store, "t") == [(("t", b"1"), (b"kept", 1))]

    async def test_an_empty_change_changes_nothing(self, path: Path) -> None:
        async with self.open(path) as store:
            await store.apply(puts({("t", b"1"): b"one"}))
            await store.apply(Change({}, {}))
            assert await everything(store, "t") == [(("t", b"1"), (b"one", 1))]

    @pytest.mark.parametrize("size", [0, 1, 255, 4096, 65537, VALUE_AT_LEAST])
    async def test_values_are_opaque_bytes_of_any_size_up_to_a_mebibyte(self, path: Path, size: int) -> None:
        value = bytes(range(256)) * (size // 256) + bytes(size % 256)
        async with self.open(path) as store:
            await store.apply(puts({("t", b"1"): value, ("t", b"2"): b"beside it"}))
            found = await store.load([("t", b"1")])
            assert found[("t", b"1")].value == value
            assert type(found[("t", b"1")].value) is bytes
            assert [len(row[0]) for _, row in await everything(store, "t")] == [size, 9]

    async def test_tables_and_ids_have_their_bounds_and_past_them_nothing_is_written(self, path: Path) -> None:
        widest: Key = ("t" * TABLE_MAX, b"\xff" * ID_MAX)
        async with self.open(path) as store:
            await store.apply(Change({widest: 0}, {widest: b"widest"}))
            assert plain(await store.load([widest])) == {widest: (b"widest", 1)}
            for wrong in (("t" * (TABLE_MAX + 1), b"1"), ("tä", b"1"), ("t", b"\xff" * (ID_MAX + 1))):
                for change in (
                    puts({("t", b"1"): b"", wrong: b""}),
                    Change({wrong: 0}, {("t", b"1"): b""}),
                    Change({}, {("t", b"1"): b""}, frozenset([wrong])),
                ):
                    with pytest.raises(InvalidInput):
                        await store.apply(change)
                with pytest.raises(InvalidInput):
                    await store.load([wrong])
            assert await everything(store, "t") == []

    # --- a change is relied upon, and happens whole ---

    @pytest.mark.parametrize("written", [False, True])
    @pytest.mark.parametrize("there", [0, 1, 3])
    @pytest.mark.parametrize("given", [0, 1, 2, 3, 4])
    async def test_a_change_happens_only_if_each_row_is_as_given(
        self, path: Path, there: int, given: int, written: bool
    ) -> None:
        key, other, gone = ("t", b"key"), ("t", b"other"), ("t", b"gone")
        async with self.open(path) as store:
            await store.apply(puts({gone: b"old"}))
            for _ in range(there):
                await store.apply(puts({key: b"old"}))
            before = await everything(store, "t")
            change = Change(
                {gone: 1, key: given}, {other: b"new"} | ({key: b"new"} if written else {}), frozenset([gone])
            )
            if there == given:
                await store.apply(change)
                rows = {key: (b"old", there)} if there else {}
                rows |= {other: (b"new", 1)} | ({key: (b"new", there + 1)} if written else {})
                assert plain(await store.load([key, other, gone])) == rows
            else:
                with pytest.raises(Conflict):
                    await store.apply(change)
                assert await everything(store, "t") == before

    @pytest.mark.parametrize("position", [0, 1, 2])
    async def test_one_moved_row_among_several_is_enough_for_a_conflict(self, path: Path, position: int) -> None:
        keys = [("a", b"1"), ("b", b"2"), ("c", b"3")]
        async with self.open(path) as store:
            await store.apply(puts(dict.fromkeys(keys, b"old")))
            await store.apply(puts({keys[position]: b"moved"}))
            for put in (dict.fromkeys(keys, b"new"), {("d", b"4"): b"new"}):
                with pytest.raises(Conflict):
                    await store.apply(Change(dict.fromkeys(keys, 1), put, frozenset([("a", b"9")])))
            found = await store.load([*keys, ("d", b"4")])
            assert [found[key].value for key in keys] == [b"moved" if at == position else b"old" for at in range(3)]
            assert ("d", b"4") not in found

    async def test_a_row_may_be_given_without_being_written_and_written_without_being_given(self, path: Path) -> None:
        lease, row = ("lease", b""), ("t", b"1")
        async with self.open(path) as store:
            await store.apply(puts({lease: b"mine", row: b"old"}))
            await store.apply(Change({lease: 1}, {row: b"new"}))
            assert plain(await store.load([lease, row])) == {lease: (b"mine", 1), row: (b"new", 2)}
            await store.apply(puts({lease: b"theirs"}))
            with pytest.raises(Conflict):
                await store.apply(Change({lease: 1}, {row: b"too late"}))

    async def test_of_many_racing_writers_one_wins_each_round(self, path: Path) -> None:
        key, conflicts = ("t", b"counter"), 0

        async def add(store: Store) -> None:
            nonlocal conflicts
            while True:
                row = (await store.load([key])).get(key, Versioned(b"0", 0))
                await anyio.lowlevel.checkpoint()
                try:
                    return await store.apply(Change({key: row.revision}, {key: b"%d" % (int(row.value) + 1)}))
                except Conflict:
                    conflicts += 1

        async with self.open(path) as store:
            async with anyio.create_task_group() as tasks:
                for _ in range(8):
                    tasks.start_soon(add, store)
            assert plain(await store.load([key])) == {key: (b"8", 8)}
        assert conflicts > 0

    async def test_an_apply_cancelled_at_any_await_is_whole_or_nothing(self, path: Path) -> None:
        keys = [("a", b"1"), ("b", b"2")]
        async with self.open(path) as store:
            await store.apply(puts(dict.fromkeys(keys, b"0")))
            revision, at, ran_through = 1, 0, False
            while not ran_through:
                change = Change(dict.fromkeys(keys, revision), dict.fromkeys(keys, b"%d" % revision))
                with anyio.CancelScope() as scope:
                    if at == 0:
                        scope.cancel()
                    ran_through = await CancelledAt(store.apply(change), scope, at)
                rows = plain(await store.load(keys))
                assert set(rows.values()) in ({(b"%d" % (revision - 1), revision)}, {(b"%d" % revision, revision + 1)})
                revision, at = rows[keys[0]][1], at + 1

    # --- order ---

    @pytest.mark.parametrize("reverse", [False, True])
    async def test_rows_come_in_the_order_of_their_bytes(self, path: Path, reverse: bool) -> None:
        async with self.open(path) as store:
            for row in HARD_IDS[::2] + HARD_IDS[1::2]:
                await store.apply(puts({("t", row): b"v", ("s", row): b"", ("tt", row): b""}))
            found = [key[1] for key, _ in await everything(store, "t", reverse=reverse)]
            assert found == (HARD_IDS[::-1] if reverse else HARD_IDS)
            assert plain(await store.load([("t", row) for row in HARD_IDS])).keys() == {("t", row) for row in HARD_IDS}

    @pytest.mark.parametrize("limit", [None, 0, 1, 3, 1000])
    @pytest.mark.parametrize("reverse", [False, True])
    async def test_a_scan_is_from_start_up_to_but_not_stop(self, path: Path, reverse: bool, limit: int | None) -> None:
        places = [b"", b"\0", b"a", b"a\0", b"a\0\0", b"b", b"\xff", b"\xff" * ID_MAX, b"\xff" * (ID_MAX + 2)]
        async with self.open(path) as store:
            await store.apply(puts({(table, row): row for row in HARD_IDS for table in ("s", "t", "u")}))
            for start in places:
                for stop in (None, *places):
                    found = [
                        key[1] for key, _ in await everything(store, "t", start, stop, reverse=reverse, limit=limit)
                    ]
                    expected = [row for row in HARD_IDS if row >= start and (stop is None or row < stop)]
                    assert found == (expected[::-1] if reverse else expected)[:limit], (start, stop)

    async def test_all_ids_with_a_prefix_are_one_scan(self, path: Path) -> None:
        async with self.open(path) as store:
            await store.apply(
                puts({("t", chat + bytes([n])): b"" for chat in (b"c1", b"c2", b"c2\xff") for n in (0, 255)})
            )
            found = [key[1] for key, _ in await everything(store, "t", b"c2", b"c3")]
            assert found == [b"c2\x00", b"c2\xff", b"c2\xff\x00", b"c2\xff\xff"]

    @pytest.mark.parametrize("reverse", [False, True])
    async def test_thousands_of_rows_go_in_with_one_change_and_come_out_once_each(
        self, path: Path, reverse: bool
    ) -> None:
        ids = [number.to_bytes(2, "big") for number in range(3000)]
        async with self.open(path) as store:
            await store.apply(Change({("t", row): 0 for row in ids}, {("t", row): row * 20 for row in ids}))
            expected = [(("t", row), (row * 20, 1)) for row in (reversed(ids) if reverse else ids)]
            assert await everything(store, "t", reverse=reverse) == expected
            assert await everything(store, "t", reverse=reverse, limit=2999) == expected[:2999]
            await store.apply(Change({}, {}, frozenset(("t", row) for row in ids)))
            assert await everything(store, "t") == []

    @pytest.mark.parametrize("reverse", [False, True])
    async def test_writing_between_two_rows_of_a_scan_harms_neither(self, path: Path, reverse: bool) -> None:
        ids = [number.to_bytes(2, "big") for number in range(1000)]
        async with self.open(path) as store:
            await store.apply(puts({("t", row): b"old" for row in ids}))
            seen: list[bytes] = []
            async for (_, row), _version in ending(store.scan("t", reverse=reverse)):
                seen.append(row)
                number = int.from_bytes(row[:2], "big")
                if number % 100 == 50 and len(row) == 2:
                    near, far = ("t", ids[number - 1] + b"+"), ("t", ids[number] + b"+")
                    await store.apply(Change({}, {near: b"new", far: b"new", ("t", row): b"moved"}))
            assert [row for row in seen if len(row) == 2] == (ids[::-1] if reverse else ids)
            assert seen == sorted(seen, reverse=reverse)
            assert len(seen) == len(set(seen))

    async def test_a_row_dropped_well_ahead_of_a_scan_is_not_told_as_something_else(self, path: Path) -> None:
        ids = [number.to_bytes(2, "big") for number in range(1000)]
        async with self.open(path) as store:
            await store.apply(puts({("t", row): row for row in ids}))
            seen: list[bytes] = []
            async for (_, row), version in ending(store.scan("t")):
                if not seen:
                    await store.apply(Change({}, {}, frozenset(("t", gone) for gone in ids[500:])))
                assert version.value == row
                seen.append(row)
            assert seen[:500] == ids[:500]
            assert await everything(store, "t") == [(("t", row), (row, 1)) for row in ids[:500]]

    async def test_an_abandoned_scan_and_two_at_once_leave_the_store_free(self, path: Path) -> None:
        async with self.open(path) as store:
            await store.apply(puts({("t", bytes([n])): b"" for n in range(10)}))
            first, second = aiter(store.scan("t")), aiter(store.scan("t", reverse=True))
            assert [(await anext(first))[0][1], (await anext(second))[0][1]] == [b"\0", b"\x09"]
            await store.apply(Change({}, {("t", b"\x01"): b"new"}))
            assert [(await anext(first))[0][1], (await anext(second))[0][1]] == [b"\x01", b"\x08"]
            for half_read in (first, second):
                await half_read.aclose()  # type: ignore[attr-defined]  # async generators have it, iterators need not
            await store.apply(Change({("t", b"\x01"): 2}, {("t", b"\x01"): b"newer"}))
