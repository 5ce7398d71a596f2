"""PayloadV2 of Waku's specification 35: what a version-2 WakuMessage carries, byte for byte, and its padding.

    0   16  nametag
    16   1  protocol id
    17   1  length of the handshake message
    18   …  handshake message: keys, each behind a flag (0: 32 bytes in clear; 1: 48 or 49 bytes that are sealed)
    …    8  length of the transport message, little-endian
    …    …  transport message

One encoding a value: what js, nim or go let pass (wrong ids, wrong lengths, trailing bytes) is refused here.
"""

from __future__ import annotations

from typing import Final

from attrs import field
from kexkit.api import value
from kexkit.errors import Forged, InvalidInput, Limit, Malformed

from kexkit_noise import limits

NAMETAG_BYTES: Final = 16
PADDING_BYTES: Final = 248
_LENGTH_BYTES: Final = 8
_HEAD_BYTES: Final = NAMETAG_BYTES + 2
_FRAME_BYTES: Final = _HEAD_BYTES + _LENGTH_BYTES
_PADS: Final = tuple(bytes((n,)) * n for n in range(PADDING_BYTES + 1))


@value
class PayloadV2:
    nametag: bytes
    protocol_id: int
    fields: bytes = field(repr=False)
    """the handshake message, flags and keys; empty in a session"""
    transport: bytes = field(repr=False)


def encode(payload: PayloadV2) -> bytes:
    if len(payload.nametag) != NAMETAG_BYTES or len(payload.fields) > limits.FIELDS_BYTES:
        raise InvalidInput("A nametag has 16 bytes, and a handshake message at most 255.")
    return b"".join(
        (
            payload.nametag,
            bytes((payload.protocol_id, len(payload.fields))),
            payload.fields,
            len(payload.transport).to_bytes(_LENGTH_BYTES, "little"),
            payload.transport,
        )
    )


def decode(raw: bytes, *protocol_ids: int) -> PayloadV2:
    """Exactly one payload under one of the protocol ids that may come here, or a refusal."""
    if len(raw) > limits.PAYLOAD_BYTES:
        raise Limit(f"A payload exceeds {limits.PAYLOAD_BYTES} bytes.")
    if len(raw) < _FRAME_BYTES:
        raise Malformed("A version-2 payload is too short.")
    if raw[NAMETAG_BYTES] not in protocol_ids:
        raise Malformed("A version-2 payload has a protocol id that does not belong here.")
    start = _FRAME_BYTES + raw[NAMETAG_BYTES + 1]
    if int.from_bytes(raw[start - _LENGTH_BYTES : start], "little") != len(raw) - start:
        raise Malformed("The lengths in a version-2 payload do not add up.")
    return PayloadV2(raw[:NAMETAG_BYTES], raw[NAMETAG_BYTES], raw[_HEAD_BYTES : start - _LENGTH_BYTES], raw[start:])


def pad(plaintext: bytes) -> bytes:
    """PKCS #7 to a multiple of 248, a whole block more where nothing was missing."""
    return plaintext + _PADS[PADDING_BYTES - len(plaintext) % PADDING_BYTES]


def unpad(padded: bytes) -> bytes:
    """Every byte of the padding is checked. The error is that of a failed authentication: there is one for both. Time
    tells nothing here: what is padded is authentic by now, or it came in clear."""
    count = padded[-1] if padded else 0
    if len(padded) % PADDING_BYTES or not 0 < count <= PADDING_BYTES or not padded.endswith(_PADS[count]):
        raise Forged("A payload does not authenticate.")
    return padded[:-count]
