"""Keys of messages that have not arrived: rows of the drawer, one a key, so that a session stays small.

Each receiving key gets a number in order of making, used ones too, as status-go counts them: a key is gone once a
window of newer ones has been made. So that the rows of keys that nobody ever used go without a search, a record stands
for each run of up to 64 of them, and records are numbered too; the session knows the numbers of the first and the next
record, and where the first ends.
"""

from __future__ import annotations

from collections.abc import Mapping
from struct import Struct
from types import MappingProxyType
from typing import Final

from attrs import field, frozen
from kexkit.api import Have, Row, Unpicklable, Wants, value
from kexkit.errors import StoreCorrupt

from kexkit_x3dh.chains import message_key
from kexkit_x3dh.limits import GAP_KEYS

_KEY: Final = Struct(">BQ32s")
_RECORD: Final = Struct(">33sIHQ")


@frozen
class SkippedKey(Unpicklable):
    number: int
    """in order of making"""
    young: bool
    """of a chain that a prekey seeded"""
    key: bytes = field(repr=False)


@value(repr=False)
class Missed(Unpicklable):
    """Consecutive messages of one chain that have not arrived, and the chain keys at their places."""

    ratchet: bytes
    n: int
    young: bool
    chains: tuple[bytes, ...]
    first: bytes = b""
    """the key of the first of them, if its chain key is gone"""


@value
class Gaps:
    """Which records there are."""

    first: int = 0
    next: int = 0
    end: int = 0
    """the number after the last key of the first record"""
    unused: int = 0
    """keys that may still be there; never fewer than there are"""

    def __bool__(self) -> bool:
        return self.first != self.next


NO_GAPS: Final = Gaps()
NO_ROWS: Final[Mapping[bytes, Row]] = MappingProxyType({})


def key_row(session: bytes, ratchet: bytes, n: int) -> bytes:
    return session + b"k" + ratchet + n.to_bytes(4, "big")


def record_row(session: bytes, index: int) -> bytes:
    return session + b"g" + index.to_bytes(8, "big")


def read_key(raw: bytes) -> SkippedKey:
    if len(raw) != _KEY.size or raw[0] > 1:
        raise StoreCorrupt("A stored message key is damaged.")
    young, number, key = _KEY.unpack(raw)
    return SkippedKey(number, bool(young), key)


@value
class Filed:
    """What a newly made receiving key, and those before it that were not used, change."""

    made: int
    gaps: Gaps
    keep: Mapping[bytes, Row] = NO_ROWS
    drop: tuple[bytes, ...] = ()


def file(
    session: bytes,
    made: int,
    gaps: Gaps,
    missed: tuple[Missed, ...],
    *,
    window: int,
    have: Have,
    until: int,
) -> Filed | Wants:
    """Count one key that is used now and those of the missed messages before it; keep these, forget the oldest."""
    after = made + sum(len(run.chains) for run in missed) + 1
    floor = after - window
    drop: tuple[bytes, ...] = ()
    ended = _records_to_retire(gaps, session, floor)
    if ended:
        unseen = ended.difference(have)
        if unseen:
            return Wants(unseen)
        gaps, drop = _retire(gaps, session, floor, have)
    rows: dict[bytes, Row] = {}
    for run in missed:
        gaps = _keep(rows, session, gaps, run, made, floor, until)
        made += len(run.chains)
    return Filed(after, gaps, rows, drop)


def _keep(rows: dict[bytes, Row], session: bytes, gaps: Gaps, run: Missed, number: int, floor: int, until: int) -> Gaps:
    """Rows for the keys of a run that are not gone already, and records of them. The first key has this number."""
    gone = min(max(floor - number, 0), len(run.chains))
    for start in range(gone, len(run.chains), GAP_KEYS):
        part = run.chains[start : start + GAP_KEYS]
        for place, chain in enumerate(part, start):
            key = run.first if run.first and not place else message_key(chain)
            packed = _KEY.pack(run.young, number + place, key)
            rows[key_row(session, run.ratchet, run.n + place)] = Row(packed, until)
        record = _RECORD.pack(run.ratchet, run.n + start, len(part), number + start)
        rows[record_row(session, gaps.next)] = Row(record)
        end = gaps.end if gaps else number + start + len(part)
        gaps = Gaps(gaps.first, gaps.next + 1, end, gaps.unused + len(part))
    return gaps


def _records_to_retire(gaps: Gaps, session: bytes, floor: int) -> frozenset[bytes]:
    """The records to look at when keys below `floor` are gone: those that can have ended, and one more."""
    if not gaps or gaps.end > floor:
        return frozenset()
    count = min(gaps.next - gaps.first, 2 + floor - gaps.end)
    return frozenset(record_row(session, gaps.first + place) for place in range(count))


def _retire(gaps: Gaps, session: bytes, floor: int, have: Have) -> tuple[Gaps, tuple[bytes, ...]]:
    """Forget every record whose keys are all below `floor`, and the rows of its keys."""
    gone: list[bytes] = []
    for index in range(gaps.first, gaps.next):
        row = record_row(session, index)
        if row not in have:  # a record before it was lost; look again next time
            return Gaps(index, gaps.next, floor, gaps.unused), tuple(gone)
        raw = have[row]
        if raw is None:
            continue
        ratchet, n, count, number = _read_record(raw)
        if number + count > floor:
            return Gaps(index, gaps.next, number + count, gaps.unused), tuple(gone)
        gone += (key_row(session, ratchet, n + place) for place in range(count))
        gone.append(row)
    return Gaps(gaps.next, gaps.next), tuple(gone)


def use_one(gaps: Gaps, session: bytes) -> tuple[Gaps, tuple[bytes, ...]]:
    """A kept key was used. With the last one all records go."""
    if gaps.unused > 1:
        return Gaps(gaps.first, gaps.next, gaps.end, gaps.unused - 1), ()
    records = tuple(record_row(session, index) for index in range(gaps.first, gaps.next))
    return Gaps(gaps.next, gaps.next), records


def _read_record(raw: bytes) -> tuple[bytes, int, int, int]:
    if len(raw) != _RECORD.size:
        raise StoreCorrupt("A record of stored message keys is damaged.")
    ratchet, n, count, number = _RECORD.unpack(raw)
    if not 1 <= count <= GAP_KEYS or n + count > 2**32:
        raise StoreCorrupt("A record of stored message keys is damaged.")
    return ratchet, n, count, number
