"""The same conversations with every state on disk before its message leaves, and after it has come.

Each side has a SQLite database of its own, in a write-ahead log. The neighbours write their state in their own form,
one row, one statement, one commit. kexkit writes two rows in one commit through its own store: the session and the
outbox row, the session and the inbox row.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

from kexkit import _records as records
from kexkit._engine.requests import Draft, LiveSession
from kexkit.api import Change, Device, Key, Versioned
from kexkit_storage_sqlite._opening import opened
from kexkit_storage_sqlite._store import SqliteStore

from bench.conversation import End, Library, at_once, settled
from bench.seam import ALICE, BOB, Party, Talker, answer, begin

NORMAL: Final = "NORMAL"
FULL: Final = "FULL"


class StateOnDisk:
    """A neighbour's end, which keeps its state in one row."""

    def __init__(self, end: End, file: Path, synchronous: str) -> None:
        self._end = end
        self._db = sqlite3.connect(file, isolation_level=None)
        self._db.execute("PRAGMA journal_mode = WAL").fetchall()
        self._db.execute(f"PRAGMA synchronous = {synchronous}")
        self._db.execute("CREATE TABLE state (id INTEGER PRIMARY KEY, value BLOB NOT NULL)")
        self._db.execute("INSERT INTO state VALUES (1, ?)", (end.state(),))

    def seal(self, body: bytes) -> Any:
        sealed = self._end.seal(body)
        self._write()
        return sealed

    def open(self, sealed: Any) -> bytes:
        body = self._end.open(sealed)
        self._write()
        return body

    def state(self) -> bytes:
        return self._end.state()

    def _write(self) -> None:
        self._db.execute("UPDATE state SET value = ? WHERE id = 1", (self._end.state(),))

    def close(self) -> None:
        self._db.close()


class RowsInStore:
    """A party's rows in kexkit's SQLite store."""

    def __init__(self, store: SqliteStore) -> None:
        self.store = store

    def load(self, key: Key) -> Versioned | None:
        return at_once(self.store.load((key,))).get(key)

    def apply(self, change: Change) -> None:
        at_once(self.store.apply(change))


class DurableTalker(Talker):
    """Its successor is on disk, beside what it sealed or opened, before it is kept."""

    def __init__(self, party: Party, peer: Device, session: LiveSession) -> None:
        super().__init__(party, peer, session)
        self._sequence = 0

    def write(self, table: str, draft: Draft, content: bytes) -> None:
        self._sequence += 1
        draft.write(records.sequence_key(table, self._sequence), content)
        self.party.rows.apply(draft.outcome().change)


def ours(folder: Path, synchronous: str, exits: ExitStack) -> tuple[DurableTalker, DurableTalker]:
    """Two ends that have heard each other, each on a store of its own."""

    def rows(name: str) -> Callable[[], RowsInStore]:
        store = exits.enter_context(opened({"path": str(folder / name), "synchronous": synchronous}))
        return lambda: RowsInStore(store)

    alice, bob = Party(ALICE, rows("alice")), Party(BOB, rows("bob"))
    frame, one = begin(alice, bob, b"how do you do")
    other = answer(bob, alice, frame, b"how do you do")
    ends = DurableTalker(alice, bob.me, one.session), DurableTalker(bob, alice.me, other.session)
    assert ends[0].open(ends[1].seal(b"and you")) == b"and you"
    assert ends[1].open(ends[0].seal(b"very well")) == b"very well"
    return ends


def theirs(library: Library, folder: Path, synchronous: str, exits: ExitStack) -> tuple[End, End]:
    ends = []
    for name, end in zip(("alice", "bob"), settled(library), strict=True):
        kept = StateOnDisk(end, folder / f"{library.name}-{name}.sqlite", synchronous)
        exits.callback(kept.close)
        ends.append(kept)
    return ends[0], ends[1]
