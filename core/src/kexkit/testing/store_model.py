"""A dictionary that says what a store must hold, and the steps hypothesis makes histories of."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import TypeAlias

from attrs import field, frozen
from hypothesis import strategies as st

from kexkit.api import Change, Key, Store, Versioned
from kexkit.errors import Conflict

Plain: TypeAlias = tuple[bytes, int]
"""a row as (value, revision), which compares and prints"""

TABLES = ("a", "ab", "b")
IDS = (b"", b"\0", b"a", b"a\0", b"a\xff", b"b", b"\xff", b"\xff\xff")
KEYS: tuple[Key, ...] = tuple((table, row) for table in TABLES for row in IDS)


@frozen
class Do:
    """A change whose givens are this far from the truth (0: true)."""

    off: Mapping[Key, int]
    put: Mapping[Key, bytes]
    drop: frozenset[Key]


@frozen
class Look:
    """A scan."""

    table: str
    start: bytes
    stop: bytes | None
    reverse: bool
    limit: int | None


Step: TypeAlias = Do | Look

_key = st.sampled_from(KEYS)
_place = st.sampled_from((*IDS, b"a\0\0", b"\xff\xff\xff"))
_puts_and_drops = st.tuples(
    st.dictionaries(_key, st.binary(max_size=8), max_size=6), st.frozensets(_key, max_size=4)
).map(lambda both: (both[0], both[1] - both[0].keys()))
STEPS: st.SearchStrategy[Step] = st.one_of(
    st.builds(
        lambda off, both: Do(off, *both),
        st.dictionaries(_key, st.sampled_from((0, 0, 0, 0, 0, 0, 0, 1, -1)), max_size=5),
        _puts_and_drops,
    ),
    st.builds(
        Look,
        st.sampled_from(TABLES),
        _place,
        st.none() | _place,
        st.booleans(),
        st.none() | st.integers(0, 4),
    ),
)


@frozen
class Model:
    """What must be there."""

    rows: dict[Key, Plain] = field(factory=dict)

    def revision(self, key: Key) -> int:
        return self.rows[key][1] if key in self.rows else 0

    def apply(self, change: Change) -> bool:
        """Whether it happens."""
        if any(self.revision(key) != revision for key, revision in change.given.items()):
            return False
        for key, value in change.put.items():
            self.rows[key] = (value, self.revision(key) + 1)
        for key in change.drop:
            self.rows.pop(key, None)
        return True

    def scan(self, look: Look) -> list[tuple[Key, Plain]]:
        found = [
            (key, row)
            for key, row in sorted(self.rows.items(), reverse=look.reverse)
            if key[0] == look.table and look.start <= key[1] and (look.stop is None or key[1] < look.stop)
        ]
        return found[: look.limit]

    async def compare(self, store: Store) -> None:
        """The store holds these rows of the known tables and no others."""
        for table in TABLES:
            look = Look(table, b"", None, False, None)
            assert await everything(store, table) == self.scan(look)
        assert plain(await store.load(KEYS)) == self.rows


async def follow(store: Store, model: Model, step: Step) -> None:
    """The store and the model take the step, and must agree about it."""
    if isinstance(step, Look):
        found = await everything(store, step.table, step.start, step.stop, reverse=step.reverse, limit=step.limit)
        assert found == model.scan(step)
        return
    given = {key: max(0, model.revision(key) + off) for key, off in step.off.items()}
    change = Change(given, step.put, step.drop)
    try:
        await store.apply(change)
        happened = True
    except Conflict:
        happened = False
    assert model.apply(change) == happened
    await model.compare(store)


async def ending(rows: AsyncIterator[tuple[Key, Versioned]]) -> AsyncIterator[tuple[Key, Versioned]]:
    """A scan that goes round in circles fails a test at once, instead of filling memory."""
    told: set[Key] = set()
    async for key, row in rows:
        assert key not in told, "the scan told a row twice"
        told.add(key)
        yield key, row


async def everything(
    store: Store,
    table: str,
    start: bytes = b"",
    stop: bytes | None = None,
    *,
    reverse: bool = False,
    limit: int | None = None,
) -> list[tuple[Key, Plain]]:
    """A scan, read to its end."""
    rows = ending(store.scan(table, start, stop, reverse=reverse, limit=limit))
    return [(key, (row.value, row.revision)) async for key, row in rows]


def plain(rows: Mapping[Key, Versioned]) -> dict[Key, Plain]:
    return {key: (row.value, row.revision) for key, row in rows.items()}


def puts(rows: Mapping[Key, bytes]) -> Change:
    """A change that relies on nothing."""
    return Change({}, rows)
