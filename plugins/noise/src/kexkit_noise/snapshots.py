"""The outside of a stored session: which format, which mechanism, which kind, and whether the bytes are as written."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final
from zlib import crc32

from kexkit.errors import StoreCorrupt, StoreNewer

FORMAT: Final = 1
CALLING: Final = 1
ANSWERING: Final = 2
RUNNING: Final = 3
_KINDS: Final = (CALLING, ANSWERING, RUNNING)
_HEAD_BYTES: Final = 3
_SUM_BYTES: Final = 4
"""Bytes that went wrong in the store are told from a peer's forgery. A checksum protects nothing else."""


def write(kind: int, protocol_id: int, *parts: bytes) -> bytes:
    """Each part stands behind its length."""
    return closed(head(kind, protocol_id), *parts)


def head(kind: int, protocol_id: int, *parts: bytes) -> bytes:
    """How what `write` makes begins, for whoever keeps it."""
    return _extended(bytes((FORMAT, kind, protocol_id)), parts)


def closed(begun: bytes, *parts: bytes) -> bytes:
    """What a head began: its last parts, and the checksum."""
    body = _extended(begun, parts)
    return body + crc32(body).to_bytes(_SUM_BYTES, "big")


def _extended(body: bytes, parts: tuple[bytes, ...]) -> bytes:
    for part in parts:
        body += len(part).to_bytes(4, "big") + part
    return body


def read(raw: bytes, protocol_id: int) -> tuple[int, list[bytes]]:
    """Kind and parts, or StoreCorrupt, or StoreNewer."""
    body = raw[:-_SUM_BYTES]
    if len(body) < _HEAD_BYTES or crc32(body) != int.from_bytes(raw[-_SUM_BYTES:], "big"):
        raise StoreCorrupt("A stored session is damaged.")
    if body[0] > FORMAT:
        raise StoreNewer("A stored session was written by a newer kexkit-noise.")
    if body[0] != FORMAT or body[1] not in _KINDS or body[2] != protocol_id:
        raise StoreCorrupt("A stored session is of no known kind, or another mechanism's.")
    return body[1], list(_parts(body))


def _parts(body: bytes) -> Iterator[bytes]:
    start = _HEAD_BYTES
    while start < len(body):
        end = start + 4 + int.from_bytes(body[start : start + 4], "big")
        if len(body) < start + 4 or len(body) < end:
            raise StoreCorrupt("The lengths in a stored session do not add up.")
        yield body[start + 4 : end]
        start = end
