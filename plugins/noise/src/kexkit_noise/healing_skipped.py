"""Keys of messages that have not arrived: rows of the drawer, one a key, found by the nametag that the message bears.

Keys are numbered in the order in which they were made. So that the oldest can go without a search, rows of their own
list the nametags of 32 consecutive numbers each; a row's place follows from the numbers, and the session knows only how
many keys were made, below which number all are gone, and how many may be left.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final

from kexkit.api import Have, Row, Wants, value
from kexkit.errors import StoreCorrupt

from kexkit_noise import limits
from kexkit_noise.nametags import NAMETAG_BYTES

_FORMAT: Final = 1
_KEY_ROW_BYTES: Final = 33
_GROUP: Final = limits.SKIPPED_GROUP
NO_ROWS: Final[Mapping[bytes, Row]] = MappingProxyType({})


@value
class Kept:
    """Which keys there may be."""

    made: int = 0
    low: int = 0
    """all with a lower number are gone"""
    unused: int = 0
    """never fewer than there are"""


NONE_KEPT: Final = Kept()


@value
class Filed:
    """What newly skipped keys change."""

    kept: Kept
    keep: Mapping[bytes, Row] = NO_ROWS
    drop: tuple[bytes, ...] = ()


def key_row(session: bytes, tag: bytes) -> bytes:
    return session + b"k" + tag


def group_row(session: bytes, index: int) -> bytes:
    return session + b"g" + index.to_bytes(8, "big")


def lookup(session: bytes, kept: Kept, tag: bytes) -> frozenset[bytes]:
    """Rows to see before a frame of unknown place: its key's, and the one that newly skipped keys would go on in."""
    rows = {key_row(session, tag)}
    if kept.made % _GROUP and kept.made > kept.low:
        rows.add(group_row(session, kept.made // _GROUP))
    return frozenset(rows)


def read_key(raw: bytes) -> bytes:
    if len(raw) != _KEY_ROW_BYTES or raw[0] != _FORMAT:
        raise StoreCorrupt("A stored message key is damaged.")
    return raw[1:]


def use(session: bytes, kept: Kept, tag: bytes) -> Filed:
    """A kept key was used. With the last one all lists go."""
    row = key_row(session, tag)
    if kept.unused > 1:
        return Filed(Kept(kept.made, kept.low, kept.unused - 1), drop=(row,))
    lists = range(kept.low // _GROUP, -(-kept.made // _GROUP))
    return Filed(Kept(kept.made, kept.made, 0), drop=(row, *(group_row(session, index) for index in lists)))


def file(session: bytes, kept: Kept, missed: Sequence[tuple[bytes, bytes]], *, have: Have, until: int) -> Filed | Wants:
    """Keep the keys of these missed messages, (nametag, key) in order; let the oldest go beyond the limit."""
    made = kept.made + len(missed)
    low = max(kept.low, made - limits.SKIPPED_KEYS)
    wanted = _lists_needed(session, kept, low)
    if not wanted.keys() <= have.keys():
        return Wants(frozenset(wanted.keys() - have.keys()))
    lists = {index: _read_group(have[row], index, kept.made) for row, index in wanted.items()}
    drop: list[bytes] = []
    going = range(kept.low // _GROUP, -(-min(low, kept.made) // _GROUP)) if low > kept.low else ()
    for index in going:
        drop += (key_row(session, tag) for number, tag in lists[index] if kept.low <= number < low)
    if not have.keys() >= set(drop):  # core has a timer for each, and must see a row to know it
        return Wants(frozenset(drop) - have.keys())
    drop += (group_row(session, index) for index in going if (index + 1) * _GROUP <= low)
    keep: dict[bytes, Row] = {}
    for number, (tag, key) in enumerate(missed, kept.made):
        if number >= low:
            keep[key_row(session, tag)] = Row(bytes((_FORMAT,)) + key, until)
            lists.setdefault(number // _GROUP, []).append((number, tag))
    for index in range(max(kept.made, low) // _GROUP, -(-made // _GROUP)):
        keep[group_row(session, index)] = Row(_write_group([one for one in lists[index] if one[0] >= low]), until)
    return Filed(Kept(made, low, min(kept.unused + len(missed), made - low)), keep, tuple(drop))


def _lists_needed(session: bytes, kept: Kept, low: int) -> dict[bytes, int]:
    """The list that is not full yet, and those of numbers that go."""
    needed = set(range(kept.low // _GROUP, -(-min(low, kept.made) // _GROUP))) if low > kept.low else set()
    if kept.made % _GROUP and kept.made > kept.low:
        needed.add(kept.made // _GROUP)
    return {group_row(session, index): index for index in needed}


def _write_group(listed: Sequence[tuple[int, bytes]]) -> bytes:
    return bytes((_FORMAT, listed[0][0] % _GROUP)) + b"".join(tag for _, tag in listed)


def _read_group(raw: bytes | None, index: int, made: int) -> list[tuple[int, bytes]]:
    """Numbers and nametags. A list that has expired is empty: so are the keys that it lists. What a store that was put
    back without its sessions lists beyond the last number is left to expire."""
    if raw is None:
        return []
    tags = raw[2:]
    if len(raw) < 2 or raw[0] != _FORMAT or len(tags) % NAMETAG_BYTES or raw[1] + len(tags) // NAMETAG_BYTES > _GROUP:
        raise StoreCorrupt("A list of stored message keys is damaged.")
    first = index * _GROUP + raw[1]
    places = range(0, len(tags), NAMETAG_BYTES)
    listed = ((first + n, tags[place : place + NAMETAG_BYTES]) for n, place in enumerate(places))
    return [one for one in listed if one[0] < made]
