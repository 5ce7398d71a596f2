"""Where the SQLite store is, who may read it, and who holds it."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from kexkit.api import Change
from kexkit.errors import InvalidInput, StoreBusy, StoreCorrupt, StoreUnusable
from kexkit_storage_sqlite._opening import opened

from tests.storage.test_sqlite_power import at_once

KEY = ("t", b"1")
POSIX = pytest.mark.skipif(os.name != "posix", reason="modes and forks are POSIX's")


@pytest.fixture(params=[0o000, 0o022, 0o077, 0o777])
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def modes(folder: Path) -> dict[str, int]:
    return {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()}


# --- places ---


@pytest.mark.parametrize(
    ("path", "file"),
    [
        ("new", "new/kexkit.sqlite"),
        ("new/deeper", "new/deeper/kexkit.sqlite"),
        ("my.db", "my.db"),
        ("new/my.sqlite", "new/my.sqlite"),
        ("new/my.sqlite3", "new/my.sqlite3"),
        ("old.db", "old.db/kexkit.sqlite"),
    ],
)
def test_a_path_means_a_file_when_it_is_one_or_ends_like_one_and_else_a_folder(
    tmp_path: Path, path: str, file: str
) -> None:
    (tmp_path / "old.db").mkdir()
    for opening in (0, 1):
        with opened({"path": str(tmp_path / path)}) as store:
            at_once(store.apply(Change({KEY: opening}, {KEY: b""})))
    assert sorted(p.name for p in (tmp_path / file).parent.iterdir() if p.is_file()) == sorted(
        [Path(file).name, Path(file).name + ".lock"]
    )


def test_a_file_keeps_its_name_whatever_its_ending(tmp_path: Path) -> None:
    with opened({"path": str(tmp_path / "a.db")}):
        pass
    (tmp_path / "a.db").rename(tmp_path / "renamed")
    with opened({"path": str(tmp_path / "renamed")}):
        pass
    assert (tmp_path / "renamed").is_file()


def test_a_link_that_leads_to_nothing_is_no_new_store(tmp_path: Path) -> None:
    """Its disk is not mounted: who is in it must not be replaced by somebody new."""
    file = tmp_path / "kexkit.sqlite"
    file.symlink_to(tmp_path / "unmounted" / "kexkit.sqlite")
    with pytest.raises(StoreUnusable, match="leads to nothing"), opened({"path": str(tmp_path)}):
        pass
    assert file.is_symlink()
    with opened({"path": str(tmp_path / "unmounted")}):
        pass
    with opened({"path": str(tmp_path)}):
        assert file.is_symlink()


def test_a_link_leads_to_one_store_with_one_lease(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "real", target_is_directory=True)
    (tmp_path / "real").mkdir()
    with (
        opened({"path": str(tmp_path / "real")}),
        pytest.raises(StoreBusy),
        opened({"path": str(tmp_path / "link")}),
    ):
        pass


@pytest.mark.parametrize(
    "settings", [{}, {"path": ""}, {"path": "x", "synchronous": "OFF"}, {"path": "x", "password": "secret"}]
)
def test_settings_that_mean_nothing_are_refused_before_anything_is_made(
    tmp_path: Path, settings: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InvalidInput) as caught, opened(settings):
        pass
    assert "secret" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("path", ["file/below", "\0", "file/below/my.db", "loop/x"])
def test_a_place_that_cannot_be_is_an_unusable_store(tmp_path: Path, path: str) -> None:
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    with pytest.raises(StoreUnusable), opened({"path": f"{tmp_path}/{path}"}):
        pass


@POSIX
@pytest.mark.parametrize("mode", [0o000, 0o500])
def test_a_folder_that_others_own_is_an_unusable_store(tmp_path: Path, mode: int) -> None:
    """In a process without root's rights, since root may write anywhere."""
    folder = tmp_path / "theirs"
    folder.mkdir()
    program = """
import os, sys
from kexkit.errors import StoreUnusable
from kexkit_storage_sqlite._opening import opened
if os.getuid() == 0:
    os.setuid(65534)
try:
    with opened({"path": sys.argv[1]}):
        print("opened")
except StoreUnusable as error:
    print("unusable:", error)
"""
    for parent in tmp_path.parents:
        if parent.stat().st_uid == os.getuid() and parent != Path("/"):
            parent.chmod(parent.stat().st_mode | 0o011)
    tmp_path.chmod(0o711)
    folder.chmod(mode)
    said = subprocess.run(
        [sys.executable, "-c", program, str(folder / "my.db")], capture_output=True, text=True, check=True
    ).stdout
    folder.chmod(0o700)
    assert said.startswith("unusable:")


# --- modes ---


@POSIX
def test_only_the_owner_may_read_any_file_whatever_the_umask(tmp_path: Path, umask: int) -> None:
    folder = tmp_path / "made" / "store"
    with opened({"path": str(folder)}) as store:
        at_once(store.apply(Change({}, {KEY: b"secret"})))
        assert modes(folder) == {
            "kexkit.sqlite": 0o600,
            "kexkit.sqlite-wal": 0o600,
            "kexkit.sqlite.lock": 0o600,
        }
    assert modes(folder) == {"kexkit.sqlite": 0o600, "kexkit.sqlite.lock": 0o600}
    assert modes(tmp_path) == {"made": 0o700}
    assert modes(tmp_path / "made") == {"store": 0o700}


@POSIX
@pytest.mark.parametrize("umask", [0o000], indirect=True)
def test_a_file_is_private_from_its_first_moment_and_not_only_afterwards(
    tmp_path: Path, umask: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "fchmod", lambda fd, mode: None)
    monkeypatch.setattr(Path, "chmod", lambda path, mode: None)
    with opened({"path": str(tmp_path / "new" / "my.db")}) as store:
        at_once(store.apply(Change({}, {KEY: b"secret"})))
        assert set(modes(tmp_path / "new").values()) == {0o600}
    assert modes(tmp_path) == {"new": 0o700}


@POSIX
def test_a_store_that_became_readable_for_others_is_made_private_again(tmp_path: Path) -> None:
    folder = tmp_path / "store"
    with opened({"path": str(folder)}):
        pass
    folder.chmod(0o755)
    for file in folder.iterdir():
        file.chmod(0o644)
    with opened({"path": str(folder)}) as store:
        at_once(store.apply(Change({}, {KEY: b"secret"})))
        assert set(modes(folder).values()) == {0o600}
    assert modes(tmp_path) == {"store": 0o700}


@POSIX
def test_the_folder_of_a_file_is_left_as_its_owner_made_it(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    with opened({"path": str(tmp_path / "my.db")}):
        pass
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o755


def test_what_was_dropped_is_in_no_file_after_closing(tmp_path: Path) -> None:
    secret = b"a ratchet key that is spent"
    with opened({"path": str(tmp_path)}) as store:
        at_once(store.apply(Change({}, {KEY: secret, ("t", b"2"): b"stays" + secret[:3]})))
        assert any(secret in path.read_bytes() for path in tmp_path.iterdir())
        at_once(store.apply(Change({}, {}, frozenset([KEY]))))
    assert not any(secret in path.read_bytes() for path in tmp_path.iterdir())


# --- the lease ---


def test_a_second_opener_is_told_who_holds_the_store(tmp_path: Path) -> None:
    with opened({"path": str(tmp_path)}) as store:
        with pytest.raises(StoreBusy, match=str(os.getpid())), opened({"path": str(tmp_path)}):
            pass
        at_once(store.apply(Change({}, {KEY: b"the refused one disturbed nothing"})))


def test_a_disk_without_room_for_a_name_does_not_keep_a_store_shut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with opened({"path": str(tmp_path)}) as store:
        at_once(store.apply(Change({}, {KEY: b"here"})))

    def no_room(fd: int, data: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "write", no_room)
    with opened({"path": str(tmp_path)}) as store:
        assert at_once(store.load([KEY]))[KEY].value == b"here"
        with pytest.raises(StoreBusy, match="another process"), opened({"path": str(tmp_path)}):
            pass


def test_a_failed_opening_lets_go_of_the_lease(tmp_path: Path) -> None:
    (tmp_path / "kexkit.sqlite").write_bytes(b"not a database" * 100)
    for _ in range(2):
        with pytest.raises(StoreCorrupt), opened({"path": str(tmp_path)}):
            pass
    os.remove(tmp_path / "kexkit.sqlite")
    with opened({"path": str(tmp_path)}):
        pass


HOLDER = """
import sys, time
from kexkit.api import Change
from kexkit_storage_sqlite._opening import opened
with opened({"path": sys.argv[1]}) as store:
    try:
        store.apply(Change({}, {("t", b"1"): b"held"})).send(None)
    except StopIteration:
        print("held", flush=True)
    time.sleep(600)
"""


def test_the_lease_of_a_killed_process_is_free_at_once(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", HOLDER, str(tmp_path)], stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(StoreBusy, match=str(holder.pid)), opened({"path": str(tmp_path)}):
            pass
        holder.kill()
        holder.wait()
        with opened({"path": str(tmp_path)}) as store:
            assert at_once(store.load([KEY]))[KEY].value == b"held"


def test_a_stopped_process_still_holds_the_store(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", HOLDER, str(tmp_path)], stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        os.kill(holder.pid, signal.SIGSTOP)
        with pytest.raises(StoreBusy), opened({"path": str(tmp_path)}):
            pass
        holder.kill()


FORKER = """
import json, os, sys
from kexkit.api import Change
from kexkit.errors import KexkitError
from kexkit_storage_sqlite._opening import opened

def tried(work):
    try:
        work()
    except StopIteration:
        return "done"
    except KexkitError as error:
        return type(error).__name__
    return "opened"

def opening():
    with opened({"path": sys.argv[1]}):
        pass

with opened({"path": sys.argv[1]}) as store:
    change = lambda value: store.apply(Change({}, {("t", b"1"): value})).send(None)
    told = {"before": tried(lambda: change(b"1"))}
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        said = {"child applies": tried(lambda: change(b"2")), "child opens": tried(opening)}
        os.write(writer, json.dumps(said).encode())
        sys.exit()  # which unwinds the with above, and ends the interpreter in order
    os.waitpid(child, 0)
    told |= json.loads(os.read(reader, 1000))
    told["log is there"] = os.path.exists(os.path.join(sys.argv[1], "kexkit.sqlite-wal"))
    told["after"] = tried(lambda: change(b"3"))
    lingering = os.fork()
    if not lingering:
        os.close(1), os.close(2)
        os.read(reader, 1)  # for ever: it holds the other end itself
    print(json.dumps(told), lingering, flush=True)
    os.kill(os.getpid(), 9)
"""


@POSIX
def test_a_forked_child_may_neither_use_nor_hold_nor_close_its_parents_store(tmp_path: Path) -> None:
    ended = subprocess.run([sys.executable, "-c", FORKER, str(tmp_path)], check=False, capture_output=True, text=True)
    told, _, lingering = ended.stdout.rpartition(" ")
    assert ended.stderr == ""
    assert json.loads(told) == {
        "before": "done",
        "child applies": "StoreUnusable",
        "child opens": "StoreBusy",
        "log is there": True,
        "after": "done",
    }
    try:
        with opened({"path": str(tmp_path)}) as store:  # the parent was killed, its second child lives
            assert at_once(store.load([KEY]))[KEY].value == b"3"
    finally:
        os.kill(int(lingering), signal.SIGKILL)


HEIR = """
import os, sys
from kexkit.api import Change
from kexkit_storage_sqlite._opening import opened

def write(value, then):
    with opened({"path": sys.argv[1]}) as store:
        try:
            store.apply(Change({}, {("t", b"1"): value})).send(None)
        except StopIteration:
            then()

def fork():
    global child
    child = os.fork()
    if not child:
        os.close(writer)
        os.read(reader, 1)
        sys.exit()  # ends the interpreter in order, and with it every object

reader, writer = os.pipe()
write(b"parent", fork)
heir = os.fork()
if not heir:
    os.close(writer)
    write(b"heir", lambda: os._exit(0))
os.waitpid(heir, 0)
os.close(writer)
os.waitpid(child, 0)
"""


@POSIX
def test_a_child_that_outlives_its_parents_store_does_not_undo_what_came_after(tmp_path: Path) -> None:
    """SQLite, closing in the child, would find nobody at the database and delete a log that it never read."""
    subprocess.run([sys.executable, "-c", HEIR, str(tmp_path)], check=True)
    with opened({"path": str(tmp_path)}) as store:
        assert at_once(store.load([KEY]))[KEY].value == b"heir"


# --- creation ---


def test_a_creation_that_was_cut_short_is_begun_again(tmp_path: Path) -> None:
    (tmp_path / "kexkit.sqlite.new").write_bytes(b"half a database")
    (tmp_path / "kexkit.sqlite.new-journal").write_bytes(b"half a journal")
    with opened({"path": str(tmp_path)}):
        pass
    assert sorted(path.name for path in tmp_path.iterdir()) == ["kexkit.sqlite", "kexkit.sqlite.lock"]


def test_an_emptied_file_is_damage_and_not_a_new_store(tmp_path: Path) -> None:
    with opened({"path": str(tmp_path)}):
        pass
    os.truncate(tmp_path / "kexkit.sqlite", 0)
    with pytest.raises(StoreCorrupt), opened({"path": str(tmp_path)}):
        pass


def test_a_log_without_its_database_is_damage_and_not_a_new_store(tmp_path: Path) -> None:
    with opened({"path": str(tmp_path / "a")}) as store:
        at_once(store.apply(Change({}, {KEY: b"in the log"})))
        shutil.copytree(tmp_path / "a", tmp_path / "b")
    os.remove(tmp_path / "b" / "kexkit.sqlite")
    with pytest.raises(StoreCorrupt), opened({"path": str(tmp_path / "b")}):
        pass


def test_a_copy_with_its_log_opens_where_it_is_put(tmp_path: Path) -> None:
    with opened({"path": str(tmp_path / "a")}) as store:
        at_once(store.apply(Change({}, {KEY: b"in the log"})))
        shutil.copytree(tmp_path / "a", tmp_path / "b")
    with opened({"path": str(tmp_path / "b")}) as store:
        assert at_once(store.load([KEY]))[KEY].value == b"in the log"
    assert sqlite3.connect(tmp_path / "b" / "kexkit.sqlite").execute("PRAGMA integrity_check").fetchall() == [("ok",)]
