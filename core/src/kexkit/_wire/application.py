"""ApplicationMetadataMessage: a payload with its type and its author's signature, and the id that all devices share.

The id is a hash over the *serialised* message, so received bytes are kept and never made again.
"""

from __future__ import annotations

from attrs import field
from google.protobuf.message import DecodeError

from kexkit import limits, secp256k1
from kexkit._pb.status import application_metadata_message_pb2 as pb
from kexkit.api import Identity, Unpicklable, value
from kexkit.errors import InvalidInput, Limit, Malformed


@value
class Wrapped(Unpicklable):
    payload: bytes = field(repr=False)
    type: int
    """not covered by the signature"""
    signer: bytes | None
    """33 bytes, recovered; None: unsigned, so the transport's signer is the author and the id is made with no key"""


def wrap(payload: bytes, type_number: int, identity: Identity) -> bytes:
    if not 0 <= type_number < 2**31:
        raise InvalidInput("A message type is a number from 0 to 2147483647.")
    raw = pb.ApplicationMetadataMessage(
        signature=identity.sign_status(payload), payload=payload, type=type_number
    ).SerializeToString(deterministic=True)
    if len(raw) > limits.APPLICATION_BYTES:
        raise InvalidInput(f"A wrapped message has at most {limits.APPLICATION_BYTES} bytes.")
    return raw


def message_id(signer: bytes | None, wrapped: bytes) -> bytes:
    """32 bytes. `signer` is what `unwrap` found: None when the message is not signed."""
    return secp256k1.keccak256((b"" if signer is None else secp256k1.uncompressed(signer)) + wrapped)


def unwrap(wrapped: bytes, *, allow_high_s: bool = False) -> Wrapped:
    """`allow_high_s` is for reading recordings of other programs; nothing else passes it."""
    if len(wrapped) > limits.APPLICATION_BYTES:
        raise Limit(f"A wrapped message has more than {limits.APPLICATION_BYTES} bytes.")
    try:
        wire = pb.ApplicationMetadataMessage.FromString(wrapped)
    except DecodeError:
        raise Malformed("A wrapped message does not parse.") from None
    payload, signature = wire.payload, wire.signature
    signer = None
    if signature:
        signer = secp256k1.recover(signature, secp256k1.keccak256(payload), allow_high_s=allow_high_s)
    return Wrapped(payload, wire.type, signer)
