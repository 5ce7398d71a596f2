"""A healing session's message on the wire: bytes to parts and back. One encoding a value.

0   16  nametag
16   1  protocol id, 0x80
17   1  49: length of the next field
18  49  01 || the sender's ratchet key, sealed: PayloadV2's form of an encrypted key
67   8  length of the rest, little-endian
75   …  nonce 12 || the text, sealed
"""

from __future__ import annotations

from typing import Final, TypeAlias

from kexkit.errors import Limit, Malformed

from kexkit_noise import limits
from kexkit_noise.healing_keys import LABEL
from kexkit_noise.payload import PADDING_BYTES

PROTOCOL_ID: Final = 0x80
NONCE_BYTES: Final = 12
_MARK: Final = bytes((PROTOCOL_ID, 49, 1))
_SEALED_AT, _LENGTH_AT, _NONCE_AT, _BODY_AT = 19, 67, 75, 87
_AEAD_TAG_BYTES: Final = 16
SHORTEST: Final = _BODY_AT + PADDING_BYTES + _AEAD_TAG_BYTES

Parts: TypeAlias = tuple[bytes, bytes, bytes, bytes]
"""Nametag, sealed ratchet key, nonce, sealed text."""


def header_data(sid: bytes, tag: bytes) -> bytes:
    return LABEL + b"hdr" + sid + tag


def body_data(sid: bytes, tag: bytes, sealed_key: bytes) -> bytes:
    return LABEL + b"msg" + sid + tag + b"\x01" + sealed_key


def write(tag: bytes, sealed_key: bytes, nonce: bytes, sealed: bytes) -> bytes:
    length = (NONCE_BYTES + len(sealed)).to_bytes(8, "little")
    return b"".join((tag, _MARK, sealed_key, length, nonce, sealed))


def read(frame: bytes) -> Parts:
    """Total and bounded."""
    size = len(frame)
    if size > limits.PAYLOAD_BYTES:
        raise Limit(f"A frame has more than {limits.PAYLOAD_BYTES} bytes.")
    if (
        size < SHORTEST
        or (size - SHORTEST) % PADDING_BYTES
        or frame[16:_SEALED_AT] != _MARK
        or int.from_bytes(frame[_LENGTH_AT:_NONCE_AT], "little") != size - _NONCE_AT
    ):
        raise Malformed("A frame has not the form of a healing session's message.")
    return frame[:16], frame[_SEALED_AT:_LENGTH_AT], frame[_NONCE_AT:_BODY_AT], frame[_BODY_AT:]
