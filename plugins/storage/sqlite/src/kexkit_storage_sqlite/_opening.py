"""From settings to an open store, and back to files at rest."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress

from kexkit.errors import InvalidInput, StoreCorrupt, StoreUnusable

from kexkit_storage_sqlite._errors import typed, unusable
from kexkit_storage_sqlite._files import appear, discard, make_private, place, tighten_files
from kexkit_storage_sqlite._lease import Lease
from kexkit_storage_sqlite._rows import Rows
from kexkit_storage_sqlite._schema import (
    check_intact,
    check_nothing_else,
    check_ours,
    chosen_synchronous,
    configure,
    keep_others_out,
    migrate,
    size_pages,
    use_log,
)
from kexkit_storage_sqlite._store import SqliteStore

SETTINGS = {"path", "synchronous"}


@contextmanager
def opened(settings: Mapping[str, str]) -> Iterator[SqliteStore]:
    """A store whose database is open: at once, or not at all."""
    with held(settings) as store:
        store.ready_at_once()
        yield store


@contextmanager
def held(settings: Mapping[str, str]) -> Iterator[SqliteStore]:
    """A store that nobody else has, and whose file is there. It is opened by its first verb, or by `ready`.

    Everything here is at once, so a cancelled task cannot leave a store half open.
    """
    path, synchronous = _read(settings)
    file = place(path)
    lease = Lease(file + ".lock")
    try:
        if not os.path.exists(file):
            if os.path.islink(file):  # to a disk that is not mounted, say: a new store would be a new identity
                raise StoreUnusable(f"{file} leads to nothing.", advice="Bring back what it leads to, or delete it.")
            _make(file, synchronous)
        store = SqliteStore(lambda: connect(file, synchronous))
        try:
            yield store
        finally:
            store.close()
    finally:
        lease.release()


def connect(file: str, synchronous: str) -> sqlite3.Connection:
    """A connection to a whole and present database; nothing is left in the write-ahead log of the last holder."""
    return _connected(file, lambda db: prepare(db, file, synchronous))


def prepare(db: sqlite3.Connection, file: str, synchronous: str) -> None:
    """What every connection needs before its first row."""
    keep_others_out(db)
    check_ours(db, file)
    tighten_files(file)  # before SQLite makes others beside it, which take its mode
    configure(db, synchronous)
    use_log(db)
    looked_through = check_intact(db, file)
    migrate(db)
    check_nothing_else(db)
    if looked_through:
        Rows(db).check_numbers()
    with suppress(sqlite3.OperationalError):  # for want of room, say; the log is as durable
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()


def _make(file: str, synchronous: str) -> None:
    """A new database appears under its name when it is whole: an empty file there is damage, not a new store."""
    if os.path.exists(file + "-wal"):  # SQLite would play it into the new database
        raise StoreCorrupt(f"{file} is gone, its log is not.", advice="Restore a backup, or delete the log as well.")
    new = file + ".new"
    discard(new)
    make_private(new)

    def fill(db: sqlite3.Connection) -> None:
        size_pages(db)
        configure(db, synchronous)
        migrate(db)

    _connected(new, fill).close()
    appear(new, file)


def _connected(file: str, prepared: Callable[[sqlite3.Connection], None]) -> sqlite3.Connection:
    try:
        # isolation_level=None: we say where transactions begin. timeout=0: waiting is done by the event loop
        db = sqlite3.connect(file, isolation_level=None, timeout=0)
    except sqlite3.Error as error:
        raise typed(error) from None
    try:
        db.text_factory = bytes  # a damaged text must not become a decoding error
        prepared(db)
    except BaseException as error:
        db.close()
        if isinstance(error, sqlite3.Error):
            raise typed(error) from None
        if isinstance(error, OSError):
            raise unusable(error, file) from None
        raise
    return db


def _read(settings: Mapping[str, str]) -> tuple[str, str]:
    unknown = sorted(settings.keys() - SETTINGS)
    if unknown:
        raise InvalidInput(f"The sqlite store has no setting {', '.join(unknown)}.", advice="It has path, synchronous.")
    path = settings.get("path", "")
    if not path:
        raise InvalidInput("The sqlite store needs the setting path: a folder or a file.")
    synchronous = chosen_synchronous(settings.get("synchronous", "FULL"))
    if synchronous is None:
        raise InvalidInput("The setting synchronous is FULL or NORMAL.")
    return path, synchronous
