"""A disk that loses power: an SQLite VFS that counts disk operations, stops at a chosen one, and says what a machine
could find on the disk afterwards.

The model. What was written since a file's last sync may be there or not, each write by itself, whole or up to a
sector's end; so may a change of length, and a deletion. What was synced is there. `kill` is the death of the process
alone: all that was written is there. `torn` is a kill in the middle of the last write.
"""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, TypeAlias

import apsw

SECTOR = 512
Mode: TypeAlias = Literal["kill", "torn", "power"]
MODES: tuple[Mode, ...] = ("kill", "torn", "power")
Change: TypeAlias = tuple[int, bytes] | int
"""a write at an offset, or a new length"""


class Stopped(Exception):
    """The machine is off."""


class Disk:
    """Stops at disk operation `at`, counted from 1; 0: never."""

    def __init__(self, at: int = 0) -> None:
        self.at, self.count, self.off = at, 0, False
        self._durable: dict[str, bytes] = {}
        self._since: dict[str, list[Change]] = {}
        self._deleted: set[str] = set()
        self._last: str | None = None
        """the file of the write that was being made"""

    def holds(self, path: Path) -> None:
        """A file that was there, whole, before anything was counted."""
        self._durable[str(path)] = path.read_bytes()

    def operation(self) -> None:
        if self.off:
            raise Stopped
        self.count += 1
        if self.count == self.at:
            self.off = True
            raise Stopped

    def wrote(self, name: str, change: Change) -> None:
        self._deleted.discard(name)
        self._since.setdefault(name, []).append(change)
        self._last = name
        self.operation()
        self._last = None

    def synced(self, name: str) -> None:
        self.operation()
        self._durable[name] = _after(self._durable.get(name, b""), self._since.pop(name, []))

    def deleted(self, name: str) -> None:
        self.operation()
        self._deleted.add(name)

    def afterwards(self, mode: Mode, seed: int) -> dict[str, bytes]:
        """A state of the disk that a start after the stop could find, by file name."""
        chance = random.Random(seed)
        found = {}
        for name in sorted(self._durable.keys() | self._since.keys()):
            if name in self._deleted and (mode != "power" or chance.random() < 0.5):
                continue
            if mode == "power" and name not in self._durable and chance.random() < 0.5:
                continue  # its name was never made durable
            changes = self._since.get(name, [])
            if mode == "power":
                changes = [part for change in changes for part in _lost(change, chance)]
            elif name == self._last:
                changes = changes[:-1] + ([_torn(changes[-1], chance)] if mode == "torn" else [])
            found[Path(name).name] = _after(self._durable.get(name, b""), changes)
        return found


def _lost(change: Change, chance: random.Random) -> list[Change]:
    if isinstance(change, int) or chance.random() < 0.8:
        return [change] if chance.random() < 0.5 else []
    return [_torn(change, chance)]


def _torn(change: Change, chance: random.Random) -> Change:
    if isinstance(change, int):
        return change
    offset, data = change
    return offset, data[: chance.randrange(0, len(data), SECTOR) if len(data) > SECTOR else 0]


def _after(content: bytes, changes: list[Change]) -> bytes:
    whole = bytearray(content)
    for change in changes:
        if isinstance(change, int):
            whole[change:] = bytes(max(0, change - len(whole)))
        else:
            offset, data = change
            whole.extend(bytes(max(0, offset - len(whole))))
            whole[offset : offset + len(data)] = data
    return bytes(whole)


class _File(apsw.VFSFile):
    def __init__(self, disk: Disk, name: Any, flags: list[int]) -> None:
        self._disk = disk
        self._name = name.filename() if isinstance(name, apsw.URIFilename) else str(name)
        super().__init__("", name, flags)

    def excepthook(self, *error: object) -> bool:
        """SQLite tells the store of it; nobody else needs to know."""
        return True

    def xWrite(self, data: bytes, offset: int) -> None:
        self._disk.wrote(self._name, (offset, bytes(data)))
        super().xWrite(data, offset)

    def xTruncate(self, size: int) -> None:
        self._disk.wrote(self._name, size)
        super().xTruncate(size)

    def xSync(self, flags: int) -> None:
        self._disk.synced(self._name)


class PowerVFS(apsw.VFS):
    """The real files, watched."""

    NAME = "kexkit-power"

    def __init__(self, disk: Disk) -> None:
        self._disk = disk
        super().__init__(self.NAME, "")

    def excepthook(self, *error: object) -> bool:
        """As for files."""
        return True

    def xOpen(self, name: Any, flags: list[int]) -> _File:
        return _File(self._disk, name, flags)

    def xDelete(self, filename: str, syncdir: bool) -> None:
        self._disk.deleted(filename)
        super().xDelete(filename, syncdir)


class _Cursor(apsw.Cursor):
    """apsw counts changes by connection, sqlite3 by cursor."""

    rowcount = -1

    def execute(self, *args: Any, **kwargs: Any) -> Any:
        before = self.connection.total_changes()
        super().execute(*args, **kwargs)
        self.rowcount = self.connection.total_changes() - before
        return self


def _as_bytes(cursor: Any, row: tuple[Any, ...]) -> tuple[Any, ...]:
    """Texts as the store asks sqlite3 for them."""
    return tuple(value.encode() if isinstance(value, str) else value for value in row)


class Machine:
    """A disk, and the connections to databases on it."""

    def __init__(self, disk: Disk) -> None:
        self.disk = disk
        self._vfs = PowerVFS(disk)
        self._connections: list[apsw.Connection] = []

    def connect(self, file: Path) -> Any:
        """A connection that the store takes for one of sqlite3's."""
        connection = apsw.Connection(str(file), vfs=PowerVFS.NAME)
        connection.cursor_factory = _Cursor
        connection.row_trace = _as_bytes
        self._connections.append(connection)
        return connection

    def run(self, work: Callable[[], None]) -> None:
        """Until it ends, or the disk stops."""
        try:
            work()
        except Exception:
            if not self.disk.off:
                raise
        self.disk.off = True
        for connection in self._connections:
            with contextlib.suppress(Stopped, apsw.Error):
                connection.close(True)
        self._vfs.unregister()
