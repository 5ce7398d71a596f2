"""What is LMDB's own: where the files are, and its errors in our words."""

import stat
from importlib.metadata import entry_points
from pathlib import Path

import kexkit_storage_lmdb
import pytest
from kexkit.api import API_VERSION, Change
from kexkit.errors import InvalidInput, StorageError, StoreCorrupt, StoreNewer, StoreUnusable
from kexkit_storage_lmdb import limits, open_store, store

pytestmark = pytest.mark.anyio
KEY = ("t", b"1")


def test_an_installed_kexkit_finds_the_store_by_name() -> None:
    (entry,) = entry_points(group="kexkit", name="lmdb")
    plugin = entry.load()
    assert plugin.kexkit_api == API_VERSION
    (factory,) = plugin.kexkit_stores(config={})
    assert (factory.name, factory.open) == ("lmdb", open_store)


async def test_only_the_owner_may_read_the_files(tmp_path: Path) -> None:
    async with open_store({"path": str(tmp_path / "new")}) as opened:
        await opened.apply(Change({}, {KEY: b"secret"}))
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "new").iterdir()}
    assert modes == {"data.mdb": 0o600, "lease": 0o600}
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o700


async def test_a_path_is_needed() -> None:
    with pytest.raises(InvalidInput, match="path"):
        async with open_store({}):
            pass


async def test_a_full_map_refuses_a_change_and_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "MAP_BYTES", 256 * 1024)
    async with open_store({"path": str(tmp_path)}) as opened:
        await opened.apply(Change({}, {KEY: b"kept"}))
        with pytest.raises(StoreUnusable):
            await opened.apply(Change({KEY: 1}, {KEY: b"new", ("t", b"2"): bytes(limits.MAP_BYTES // 2048)}))
        assert (await opened.load([KEY]))[KEY].value == b"kept"
        await opened.apply(Change({KEY: 1}, {KEY: b"new"}))


@pytest.mark.parametrize(
    ("content", "error"), [(b"not a database" * 1000, StoreCorrupt), (b"", None), (b"\xff" * 8192, StorageError)]
)
async def test_a_file_that_is_not_ours_is_refused_in_our_words(
    tmp_path: Path, content: bytes, error: type[StorageError] | None
) -> None:
    (tmp_path / "data.mdb").write_bytes(content)
    if error is None:
        async with open_store({"path": str(tmp_path)}) as opened:
            await opened.apply(Change({}, {KEY: b"a new store"}))
    else:
        with pytest.raises(error):
            async with open_store({"path": str(tmp_path)}):
                pass


async def test_a_folder_that_cannot_be_made_is_an_unusable_store(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StoreUnusable):
        async with open_store({"path": str(tmp_path / "file" / "store")}):
            pass


async def test_a_newer_format_is_refused_and_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as later:
        later.setattr(store, "FORMAT", b"\x02")
        async with open_store({"path": str(tmp_path)}) as opened:
            await opened.apply(Change({}, {KEY: b"from the future"}))
    before = (tmp_path / "data.mdb").read_bytes()
    with pytest.raises(StoreNewer):
        async with open_store({"path": str(tmp_path)}):
            pass
    assert (tmp_path / "data.mdb").read_bytes() == before


def test_the_plugin_is_cheap_to_import() -> None:
    assert "lmdb" not in vars(kexkit_storage_lmdb)
