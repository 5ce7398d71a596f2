"""The outside of a stored session: which format, which kind, and whether the bytes are as they were written."""

from __future__ import annotations

from typing import Final
from zlib import crc32

from kexkit.errors import StoreCorrupt, StoreNewer

FORMAT: Final = 1
RATCHET: Final = 1
DIRECT: Final = 2
_SUM_BYTES: Final = 4
"""Bytes that went wrong in the store are told from a peer's forgery. A checksum protects nothing else."""


def head(kind: int) -> bytes:
    return bytes((FORMAT, kind))


def summed(body: bytes) -> bytes:
    """A head and what follows it, closed by the checksum."""
    return body + crc32(body).to_bytes(_SUM_BYTES, "big")


def write(kind: int, content: bytes) -> bytes:
    return summed(head(kind) + content)


def read(raw: bytes) -> tuple[int, bytes]:
    """Kind and content, or StoreCorrupt, or StoreNewer."""
    body = raw[:-_SUM_BYTES]
    if len(body) < 2 or crc32(body) != int.from_bytes(raw[-_SUM_BYTES:], "big"):
        raise StoreCorrupt("A stored session is damaged.")
    if body[0] > FORMAT:
        raise StoreNewer("A stored session was written by a newer kexkit-x3dh.")
    if body[0] != FORMAT or body[1] not in (RATCHET, DIRECT):
        raise StoreCorrupt("A stored session is of no known kind.")
    return body[1], body[2:]
