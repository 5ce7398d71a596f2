"""The promises of `kexkit.api.Store` as tests: what our own stores pass, and what a stranger's must.

    class TestMyStore(StoreKit):
        def open(self, path):
            return open_my_store({"path": str(path)})

Run it with pytest. Each test is named after the promise it checks, and runs on both event loops.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kexkit.api import Change
from kexkit.errors import Conflict, StorageError, StoreBusy
from kexkit.testing.store_child import TWINS, child
from kexkit.testing.store_model import STEPS, Model, Step, everything, follow, plain, puts
from kexkit.testing.store_rules import StoreRules


class StoreKit(StoreRules):
    """Subclass it, say in `open` how your store is opened, and let pytest run it.

    A store that forgets says `durable = False`; one that lets several openers in at once says `exclusive = False`.
    """

    # --- everything at once ---

    @settings(
        max_examples=40,
        deadline=None,
        derandomize=True,
        suppress_health_check=[
            HealthCheck.function_scoped_fixture,
            HealthCheck.too_slow,
            HealthCheck.differing_executors,
        ],
    )
    @given(steps=st.lists(STEPS, max_size=25))
    async def test_any_history_leaves_what_a_dictionary_would_hold(self, tmp_path: Path, steps: list[Step]) -> None:
        folder = Path(tempfile.mkdtemp(dir=tmp_path))
        model = Model()
        async with self.open(folder / "store") as store:
            for step in steps:
                await follow(store, model, step)
        if self.durable:
            async with self.open(folder / "store") as store:
                await model.compare(store)

    # --- durability, and being alone ---

    async def test_what_one_opening_wrote_the_next_one_reads(self, path: Path) -> None:
        if not self.durable:
            return
        for opening in range(1, 4):
            async with self.open(path) as store:
                await store.apply(Change({("t", b"1"): opening - 1}, {("t", b"1"): b"%d" % opening}))
        async with self.open(path) as store:
            assert await everything(store, "t") == [(("t", b"1"), (b"3", 3))]

    async def test_a_closed_store_says_so_in_our_words(self, path: Path) -> None:
        async with self.open(path) as store:
            await store.apply(puts({("t", b"1"): b""}))
        if self.durable:
            with pytest.raises(StorageError):
                await store.load([("t", b"1")])
            with pytest.raises(StorageError):
                await store.apply(puts({("t", b"1"): b""}))
            with pytest.raises(StorageError):
                await everything(store, "t")

    @pytest.mark.parametrize("error", [ValueError("theirs"), BlockingIOError("theirs"), Conflict()])
    async def test_an_error_of_whoever_uses_the_store_passes_through_as_it_is(
        self, path: Path, error: Exception
    ) -> None:
        async def use() -> None:
            async with self.open(path) as store:
                await store.apply(puts({("t", b"1"): b"kept"}))
                raise error

        with pytest.raises(type(error)) as caught:
            await use()
        assert caught.value is error
        if self.durable:
            async with self.open(path) as store:
                assert await everything(store, "t") == [(("t", b"1"), (b"kept", 1))]

    async def test_a_second_opener_is_refused_at_once_and_let_in_afterwards(self, path: Path) -> None:
        if not (self.durable and self.exclusive):
            return
        async with self.open(path) as store:
            await store.apply(puts({("t", b"1"): b"held"}))
            with pytest.raises(StoreBusy):
                async with self.open(path):
                    pass
            with child(self, path, writes=0) as other:
                assert other.communicate(timeout=60)[0].split() == ["busy"]
            await store.apply(Change({("t", b"1"): 1}, {("t", b"1"): b"still held"}))
        with child(self, path, writes=0) as other:
            assert other.communicate(timeout=60)[0].split() == ["open"]

    async def test_what_it_keeps_is_its_owners_alone_whatever_the_umask(self, path: Path) -> None:
        """There are keys in it. Of a store whose files are elsewhere this sees nothing."""
        if os.name != "posix":
            return
        usual = os.umask(0)
        try:
            async with self.open(path) as store:
                await store.apply(puts({("t", b"1"): b"a key"}))
                exposed = sorted(str(place) for place in path.parent.rglob("*") if _anybodys(place, path.parent))
        finally:
            os.umask(usual)
        assert exposed == [], "other users of the machine can read or write what the store keeps"

    async def test_what_apply_returned_from_outlives_the_process(self, path: Path) -> None:
        if not self.durable:
            return
        for opening in (1, 2):
            with child(self, path, writes=5) as writer:
                assert writer.communicate(timeout=60)[0].split() == [
                    str(n) for n in range(opening * 5 - 4, opening * 5 + 1)
                ]
        async with self.open(path) as store:
            assert set(plain(await store.load(TWINS)).values()) == {(b"10", 10)}

    @pytest.mark.parametrize("survived", [1, 7, 40])
    async def test_a_killed_writer_loses_nothing_it_was_told_is_kept(self, path: Path, survived: int) -> None:
        if not self.durable:
            return
        with child(self, path, writes=1_000_000) as writer:
            assert writer.stdout is not None
            for _ in range(survived):
                writer.stdout.readline()
            writer.kill()
            told = [survived, *(int(line) for line in writer.stdout if line.endswith("\n"))][-1]
        async with self.open(path) as store:
            kept = set(plain(await store.load(TWINS)).values())
            assert kept in ({(b"%d" % told, told)}, {(b"%d" % (told + 1), told + 1)})
            await store.apply(Change(dict.fromkeys(TWINS, kept.pop()[1]), dict.fromkeys(TWINS, b"0")))


def _anybodys(place: Path, above: Path) -> bool:
    """A file that others may read or write, in folders that let them pass."""
    folders = place.relative_to(above).parents
    return (
        place.is_file()
        and bool(place.stat().st_mode & 0o066)
        and all((above / folder).stat().st_mode & 0o011 for folder in folders if folder != Path())
    )
