"""What the operations of one batch have changed so far, seen by the next of them, and committed as one change."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import Generic, TypeVar

from attrs import define, field

from kexkit._engine.requests import LiveSession, Outcome
from kexkit._records import session_key
from kexkit.api import Change, Key, Versioned
from kexkit.errors import Conflict

K = TypeVar("K")
V = TypeVar("V")
UNREAD = -1
"""The revision of a row that was put without having been read"""


class Recent(Generic[K, V]):
    """A mapping of the last `limit` keys used."""

    __slots__ = ("_items", "_limit")

    def __init__(self, limit: int) -> None:
        self._items: OrderedDict[K, V] = OrderedDict()
        self._limit = limit

    def get(self, key: K) -> V | None:
        found = self._items.get(key)
        if found is not None:
            self._items.move_to_end(key)
        return found

    def __contains__(self, key: K) -> bool:
        return key in self._items

    def put(self, key: K, value: V) -> None:
        self._items[key] = value
        self._items.move_to_end(key)
        if len(self._items) > self._limit:
            self._items.popitem(last=False)

    def pop(self, key: K) -> None:
        self._items.pop(key, None)

    def clear(self) -> None:
        self._items.clear()

    def __len__(self) -> int:
        return len(self._items)


@define
class Overlay:
    """Later operations of a batch work on what earlier ones leave. None: dropped."""

    given: dict[Key, int] = field(factory=dict)
    rows: dict[Key, Versioned | None] = field(factory=dict, repr=False)
    sessions: dict[bytes, LiveSession | None] = field(factory=dict, repr=False)
    words: dict[Key, str] = field(factory=dict, repr=False)

    def __bool__(self) -> bool:
        return bool(self.rows)

    def touches(self, table: str) -> bool:
        return any(key[0] == table for key in self.rows)

    def merge(self, outcome: Outcome) -> None:
        change = outcome.change
        for key, revision in change.given.items():
            if key in self.rows:
                row = self.rows[key]
                if revision != (row.revision if row is not None else 0):
                    raise Conflict("An operation relied on a row that the same batch had moved.")
            elif self.given.setdefault(key, revision) != revision:
                raise Conflict("Two operations of a batch read one row at two revisions.")
        for key, content in change.put.items():
            base = self.given.get(key, UNREAD)
            self.rows[key] = Versioned(content, base + 1 if base != UNREAD else UNREAD)
        for key in change.drop:
            self.rows[key] = None
        self.words.update(change.words)
        for session_id, live in outcome.sessions.items():
            self.sessions[session_id] = self._as_committed(session_id, live)

    def _as_committed(self, session_id: bytes, live: LiveSession | None) -> LiveSession | None:
        """However often a batch moves a session on, its row is put once, and its revision grows by one."""
        row = self.rows.get(session_key(session_id))
        if live is None or row is None or row.revision == live.revision:
            return live
        return LiveSession(live.session, live.mechanism, row.revision)

    def change(self) -> Change:
        put = {key: row.value for key, row in self.rows.items() if row is not None}
        drop = frozenset(key for key, row in self.rows.items() if row is None)
        return Change(dict(self.given), put, drop, self.words)

    def known(self) -> Mapping[Key, Versioned]:
        """Rows whose revision is certain after the commit."""
        return {key: row for key, row in self.rows.items() if row is not None and row.revision != UNREAD}
