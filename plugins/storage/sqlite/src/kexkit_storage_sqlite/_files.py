"""Where a store lives, readable by its owner alone, whatever the umask."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from kexkit.errors import StoreUnusable

from kexkit_storage_sqlite._errors import unusable

NAME = "kexkit.sqlite"
SUFFIXES = {".sqlite", ".sqlite3", ".db"}
_OTHERS = stat.S_IRWXG | stat.S_IRWXO
_NOT_INHERITED = getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)


def place(path: str) -> str:
    """The database file that a path means; its folder is there afterwards.

    A folder (or a new name without the suffix of a database) holds a file of our name, and is ours alone. For a file,
    folders that are missing are made so; one that was there is its owner's business.
    """
    try:
        chosen = Path(path).expanduser().resolve()
        if chosen.is_file() or (chosen.suffix in SUFFIXES and not chosen.is_dir()):
            _make_folder(chosen.parent)
            return str(chosen)
        _make_folder(chosen)
        _tighten(chosen, stat.S_IRWXU)
        return str(chosen / NAME)
    except (OSError, RuntimeError, ValueError) as error:  # the latter two: a loop of links, a NUL in the path
        raise unusable(error if isinstance(error, OSError) else OSError(0, str(error)), path) from None


def open_private(path: str) -> int:
    """A descriptor of a file that only its owner may read, made if it is not there."""
    try:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | _NOT_INHERITED, 0o600)
    except OSError as error:
        raise unusable(error, path) from None
    try:
        if hasattr(os, "fchmod") and stat.S_IMODE(os.fstat(fd).st_mode) != 0o600:
            os.fchmod(fd, 0o600)
    except OSError as error:
        os.close(fd)
        raise unusable(error, path) from None
    return fd


def make_private(path: str) -> None:
    """Before SQLite would, with its own idea of modes. What SQLite adds beside it then gets the same mode."""
    os.close(open_private(path))


def discard(path: str) -> None:
    """What a creation left behind that did not come to its end."""
    for name in (path, path + "-journal"):
        try:
            os.remove(name)
        except FileNotFoundError:
            continue
        except OSError as error:
            raise unusable(error, name) from None


def appear(path: str, final: str) -> None:
    """One step, and durable."""
    try:
        os.replace(path, final)
        _sync_folder(Path(final).parent)
    except OSError as error:
        raise unusable(error, final) from None


def tighten_files(path: str) -> None:
    """A store that a looser program, copy or restore left readable becomes private again."""
    for name in (path, path + "-wal", path + "-shm"):
        try:
            _tighten(Path(name), stat.S_IRUSR | stat.S_IWUSR)
        except FileNotFoundError:
            continue
        except OSError:
            raise StoreUnusable(
                f"Others may read {name}, and its mode cannot be changed.", advice="Make it yours alone (chmod 600)."
            ) from None


def _tighten(path: Path, mode: int) -> None:
    if os.name == "posix" and path.stat().st_mode & _OTHERS:
        path.chmod(mode)


def _make_folder(folder: Path) -> None:
    if folder.is_dir():
        return
    _make_folder(folder.parent)
    folder.mkdir(mode=0o700, exist_ok=True)
    if os.name == "posix":
        folder.chmod(0o700)  # a strict umask may have taken the owner's own rights away
    _sync_folder(folder.parent)


def _sync_folder(folder: Path) -> None:
    """The name of a new file is durable only when its folder is."""
    if os.name == "posix":
        fd = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)
