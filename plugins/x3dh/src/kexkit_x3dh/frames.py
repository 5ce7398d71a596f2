"""One device's share of a direct message: bytes to types and back.

Only the ratchet header and the payload are under the MAC. So that nobody flips the bits around them unseen, a frame has
one encoding: that of protobuf with its fields in order, which status-go writes. Unknown fields may follow at the end.
"""

from __future__ import annotations

from struct import Struct
from typing import Final

from attrs import field
from google.protobuf.message import DecodeError
from kexkit.api import value
from kexkit.errors import Limit, Malformed

from kexkit_x3dh import limits
from kexkit_x3dh._pb.encrypted_message_pb2 import EncryptedMessageProtocol

KEY_BYTES: Final = 33
_SIGNS: Final = (2, 3)
_NUMBERS: Final = Struct("<II")
_NO_KEY: Final = "A key in a frame's header is not 33 compressed bytes."
SHORTEST_SEALED: Final = 48
"""An initialisation vector and a MAC: status-go slices without looking, and panics."""
SHORTEST_DIRECT: Final = 28
"""A nonce and a tag."""


@value
class RatchetFrame:
    """A message of a session."""

    ephemeral: bytes
    """the initiator's, while it has not heard the responder; else empty"""
    prekey: bytes
    """the signed prekey that seeded the session, whoever sends"""
    key: bytes
    """the sender's ratchet key"""
    n: int
    pn: int
    sealed: bytes = field(repr=False)


@value
class DirectFrame:
    """A message without a session."""

    ephemeral: bytes
    sealed: bytes = field(repr=False)


def header_bytes(n: int, pn: int, key: bytes) -> bytes:
    """What the MAC covers of a ratchet header: little endian, unlike everything else."""
    return _NUMBERS.pack(n, pn) + key


def write_ratchet(prekey: bytes, key: bytes, n: int, pn: int, sealed: bytes, *, ephemeral: bytes = b"") -> bytes:
    message = EncryptedMessageProtocol()
    message.payload = sealed  # set, not passed: the whole takes a fifth less
    header = message.dr_header
    header.key = key
    header.n = n
    header.pn = pn
    header.id = prekey
    if ephemeral:
        message.x3dh_header.key = ephemeral
        message.x3dh_header.id = prekey
    return message.SerializeToString()


def write_direct(ephemeral: bytes, sealed: bytes) -> bytes:
    message = EncryptedMessageProtocol(payload=sealed)
    message.dh_header.key = ephemeral
    return message.SerializeToString()


def read(raw: bytes) -> RatchetFrame | DirectFrame:
    """Total and bounded: a frame, Malformed or Limit. Where headers compete, status-go's order decides: DR, DH, HR."""
    if len(raw) > limits.FRAME_BYTES:
        raise Limit(f"A frame has more than {limits.FRAME_BYTES} bytes.")
    try:
        message = EncryptedMessageProtocol.FromString(raw)
    except DecodeError:
        raise Malformed("A frame does not parse.") from None
    if message.SerializeToString() != raw:
        raise Malformed("A frame is not encoded in the one way that a frame is.")
    if message.HasField("dr_header"):
        return _ratchet(message)
    if message.HasField("dh_header"):
        return _direct(message)
    if message.HasField("hr_header"):
        raise Malformed("A frame is sealed with a hash ratchet, which is for communities.")
    raise Malformed("A frame names no key.")


def _ratchet(message: EncryptedMessageProtocol) -> RatchetFrame:
    header, ephemeral, sealed = message.dr_header, b"", message.payload
    prekey, key = header.id, header.key
    if message.HasField("x3dh_header"):
        opening = message.x3dh_header
        ephemeral = opening.key
        if opening.id != prekey:
            raise Malformed("A frame opens a session with one prekey and is sealed in a session of another.")
        _check_key(ephemeral)
    if len(prekey) != KEY_BYTES or len(key) != KEY_BYTES or prekey[0] not in _SIGNS or key[0] not in _SIGNS:
        raise Malformed(_NO_KEY)
    if len(sealed) < SHORTEST_SEALED:
        raise Malformed(f"A sealed payload is shorter than {SHORTEST_SEALED} bytes.")
    return RatchetFrame(ephemeral, prekey, key, header.n, header.pn, sealed)


def _direct(message: EncryptedMessageProtocol) -> DirectFrame:
    frame = DirectFrame(message.dh_header.key, message.payload)
    _check_key(frame.ephemeral)
    if len(frame.sealed) < SHORTEST_DIRECT:
        raise Malformed(f"A sealed payload is shorter than {SHORTEST_DIRECT} bytes.")
    return frame


def _check_key(key: bytes) -> None:
    """The form alone; whether it is on the curve is seen where it is multiplied."""
    if len(key) != KEY_BYTES or key[0] not in _SIGNS:
        raise Malformed(_NO_KEY)
