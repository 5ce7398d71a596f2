"""The one place where SQLite's and the operating system's errors become ours."""

from __future__ import annotations

import errno
import sqlite3

from kexkit.errors import StorageError, StoreBusy, StoreCorrupt, StoreUnusable

_BUSY = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}
_CORRUPT = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_FORMAT}
_ADVICE = {
    sqlite3.SQLITE_FULL: "The disk is full: make room. Nothing else is needed, the next change will go through.",
    sqlite3.SQLITE_IOERR: "The disk failed: look at its health and free space.",
    sqlite3.SQLITE_READONLY: "The file or its folder is read-only: give this user the right to write.",
    sqlite3.SQLITE_CANTOPEN: "The file cannot be opened: check that it is one, and whose it is.",
}
_PRIMARY = 0xFF  # an extended result code keeps its primary one in the lowest byte


def typed(error: sqlite3.Error) -> StorageError:
    """SQLite's messages name tables and columns, never values, so they are safe to show."""
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & _PRIMARY
    said = f"({getattr(error, 'sqlite_errorname', type(error).__name__)}: {error})"
    if code in _BUSY:
        return StoreBusy(f"Another program is using the database {said}.", advice="Close it there.")
    if code in _CORRUPT:
        return StoreCorrupt(f"This is not an intact SQLite database {said}.", advice="Restore a backup.")
    return StoreUnusable(f"The database cannot be used {said}.", advice=_ADVICE.get(code, ""))


def unusable(error: OSError, path: str) -> StoreUnusable:
    """A file or folder could not be made, opened or locked."""
    advice = "Make room on the disk." if error.errno == errno.ENOSPC else "Check the path, and who may write there."
    return StoreUnusable(f"The store cannot be kept at {path} ({error.strerror or error}).", advice=advice)
