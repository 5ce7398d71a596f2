"""What the operations of one batch have changed so far, seen by the next of them, and committed as one change."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import Generic, TypeVar

from attrs import define, field

from kexkit._engine.requests import LiveSession, Outcome
from kexkit._records import session_key
from kexkit.api import Change, Key, Unpicklable, Versioned
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
class Overlay(Unpicklable):
    """Later operations of a batch work on what earlier ones leave."""

    given: dict[Key, int] = field(factory=dict)
    put: dict[Key, bytes] = field(factory=dict, repr=False)
    drop: set[Key] = field(factory=set)
    sessions: dict[bytes, LiveSession | None] = field(factory=dict, repr=False)
    words: dict[Key, str] = field(factory=dict, repr=False)

    def __bool__(self) -> bool:
        return bool(self.put or self.drop)

    def __contains__(self, key: Key) -> bool:
        """An earlier operation put or dropped it."""
        return key in self.put or key in self.drop

    def get(self, key: Key) -> Versioned | None:
        """What an earlier operation put."""
        content = self.put.get(key)
        return Versioned(content, self.revision(key)) if content is not None else None

    def revision(self, key: Key) -> int:
        """Of a row that is put. However often a batch puts it, it is put once."""
        before = self.given.get(key)
        return UNREAD if before is None else before + 1

    def touches(self, table: str) -> bool:
        return any(key[0] == table for keys in (self.put, self.drop) for key in keys)

    def merge(self, outcome: Outcome) -> None:
        change = outcome.change
        if self.given or self:
            self._rely(change.given)
        else:
            self.given.update(change.given)
        if change.drop:
            for key in change.drop:
                self.put.pop(key, None)
            self.drop |= change.drop
        if self.drop:
            self.drop.difference_update(change.put)
        self.put.update(change.put)
        self.words.update(change.words)
        for session_id, live in outcome.sessions.items():
            self.sessions[session_id] = self._as_committed(session_id, live)

    def _rely(self, given: Mapping[Key, int]) -> None:
        """On rows as the batch has left them; on those that it has not touched, as everybody in it has read them."""
        for key, revision in given.items():
            if key in self:
                if revision != (self.revision(key) if key in self.put else 0):
                    raise Conflict("An operation relied on a row that the same batch had moved.")
            elif self.given.setdefault(key, revision) != revision:
                raise Conflict("Two operations of a batch read one row at two revisions.")

    def _as_committed(self, session_id: bytes, live: LiveSession | None) -> LiveSession | None:
        """However often a batch moves a session on, its row is put once, and its revision grows by one."""
        key = session_key(session_id)
        if live is None or key not in self.put or self.revision(key) == live.revision:
            return live
        return LiveSession(live.session, live.mechanism, self.revision(key))

    def change(self) -> Change:
        return Change(self.given, self.put, frozenset(self.drop), self.words)
