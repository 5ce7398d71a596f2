"""Rows in one LMDB file.

A row's name is the length of its table's name, that name, and the row's id: within a table, names sort as ids do. A
row's record is its revision, 8 bytes, and its value.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import AsyncIterator, Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

import lmdb
from kexkit.api import Change, Key, Versioned
from kexkit.errors import Conflict, InvalidInput, StoreBusy, StoreCorrupt, StoreNewer, StoreUnusable

from kexkit_storage_lmdb.limits import ID_MAX, MAP_BYTES, TABLE_MAX

FORMAT_NAME, FORMAT = b"format", b"\x01"  # no row's name starts with "f": it would be a table of 102 characters


class LmdbStore:
    """`kexkit.api.Store`."""

    def __init__(self, environment: lmdb.Environment) -> None:
        self._environment = environment

    async def load(self, keys: Collection[Key]) -> Mapping[Key, Versioned]:
        names = {key: _name(*key) for key in keys}
        with _our_errors(), self._environment.begin() as transaction:
            records = {key: transaction.get(name) for key, name in names.items()}
        return {key: _row(record) for key, record in records.items() if record is not None}

    async def apply(self, change: Change) -> None:
        with _our_errors(), self._environment.begin(write=True) as transaction:
            for key, revision in change.given.items():
                if _revision(transaction.get(_name(*key))) != revision:
                    raise Conflict
            for key, value in change.put.items():
                name = _name(*key)
                revision = _revision(transaction.get(name)) + 1
                transaction.put(name, revision.to_bytes(8, "big") + value)
            for key in change.drop:
                transaction.delete(_name(*key))

    async def scan(
        self,
        table: str,
        start: bytes = b"",
        stop: bytes | None = None,
        *,
        reverse: bool = False,
        limit: int | None = None,
    ) -> AsyncIterator[tuple[Key, Versioned]]:
        prefix = _name(table, b"")
        # a place longer than any id is cut: the order stays the same, and LMDB's 511 bytes are kept
        low = prefix + start[: ID_MAX + 1]
        high = prefix + (b"\xff" * (ID_MAX + 1) if stop is None else stop[: ID_MAX + 1])
        while limit is None or limit > 0:
            found = self._last(low, high) if reverse else self._first(low, high)
            if found is None:
                return
            name, record = found
            yield (table, name[len(prefix) :]), _row(record)
            limit = None if limit is None else limit - 1
            if reverse:
                high = name
            else:
                low = name + b"\0"

    def _first(self, low: bytes, high: bytes) -> tuple[bytes, bytes] | None:
        with _our_errors(), self._environment.begin() as transaction, transaction.cursor() as cursor:
            return cursor.item() if cursor.set_range(low) and cursor.key() < high else None

    def _last(self, low: bytes, high: bytes) -> tuple[bytes, bytes] | None:
        with _our_errors(), self._environment.begin() as transaction, transaction.cursor() as cursor:
            there = cursor.prev() if cursor.set_range(high) else cursor.last()
            return cursor.item() if there and cursor.key() >= low else None


def _name(table: str, row: bytes) -> bytes:
    if len(table) > TABLE_MAX or not table.isascii() or len(row) > ID_MAX:
        raise InvalidInput(f"A key is a table of at most {TABLE_MAX} ASCII characters and an id of {ID_MAX} bytes.")
    return bytes([len(table)]) + table.encode() + row


def _row(record: bytes) -> Versioned:
    return Versioned(record[8:], _revision(record))


def _revision(record: bytes | None) -> int:
    return int.from_bytes(record[:8], "big") if record else 0


@contextmanager
def opened(settings: Mapping[str, str]) -> Iterator[LmdbStore]:
    """The folder is ours alone until the end."""
    if not settings.get("path"):
        raise InvalidInput("The lmdb store needs the setting path: a folder.")
    folder = Path(settings["path"]).expanduser()
    with ExitStack() as closing:
        with _our_errors():
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            lease = os.open(folder / "lease", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            closing.callback(os.close, lease)
            _hold(lease, folder)
            # lock=False: LMDB's own lock lets other processes in, ours does not
            environment = closing.enter_context(lmdb.open(str(folder), map_size=MAP_BYTES, mode=0o600, lock=False))
            _check_format(environment)
        yield LmdbStore(environment)


def _hold(lease: int, folder: Path) -> None:
    """The kernel takes this lock back when we end, however we end."""
    try:
        fcntl.flock(lease, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise StoreBusy(f"The store in {folder} is open elsewhere.", advice="Close it there.") from None


def _check_format(environment: lmdb.Environment) -> None:
    with environment.begin(write=True) as transaction:
        transaction.put(FORMAT_NAME, FORMAT, overwrite=False)
        if transaction.get(FORMAT_NAME) != FORMAT:
            raise StoreNewer


@contextmanager
def _our_errors() -> Iterator[None]:
    """The one place where errors of LMDB and of the operating system become ours."""
    try:
        yield
    except (lmdb.InvalidError, lmdb.CorruptedError, lmdb.PageNotFoundError, lmdb.VersionMismatchError) as error:
        raise StoreCorrupt(f"The LMDB file is damaged ({error}).", advice="Restore a backup.") from None
    except lmdb.MapFullError:
        raise StoreUnusable(f"The store has reached its {MAP_BYTES} bytes.") from None
    except (lmdb.Error, OSError) as error:
        raise StoreUnusable(f"LMDB cannot use its file ({error}).", advice="Check the disk and the path.") from None
