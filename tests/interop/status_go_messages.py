"""What status-go makes of a payload once it is decrypted: data sync first, then the application message inside.

Apart from kexkit, like the rest of the oracle. `test_messages` holds it to the recordings.
"""

from __future__ import annotations

from collections.abc import Sequence

from attrs import frozen
from coincurve import PublicKey
from Crypto.Hash import keccak

from tests.interop.protobuf import NotProtobuf, last, read, write

_ACKS, _MESSAGES, _GROUP_OFFERS = 5001, 5004, 5005
_GROUP, _TIMESTAMP, _BODY = 6001, 6002, 6003


def keccak256(data: bytes) -> bytes:
    return keccak.new(data=data, digest_bits=256).digest()


def wrap(bodies: Sequence[bytes], *, group: bytes, timestamp: int, acks: Sequence[bytes] = ()) -> bytes:
    """All that is due for a person, in one payload."""
    messages = [write((_GROUP, group), (_TIMESTAMP, timestamp), (_BODY, body)) for body in bodies]
    return write(*((_ACKS, ack) for ack in acks), *((_MESSAGES, message) for message in messages))


def is_payload(payload: bytes) -> bool:
    """It parses, and has at least one element of any known kind."""
    fields = _parsed(payload)
    return fields is not None and any(_elements(fields, number) for number in range(_ACKS, _GROUP_OFFERS + 1))


def unwrap(payload: bytes) -> tuple[bytes, ...]:
    """The messages that it carries; itself if it carries none, whether it is a payload of data sync or not."""
    fields = _parsed(payload)
    if fields is None:
        return (payload,)
    bodies = [_elements(read(message), _BODY) for message in _elements(fields, _MESSAGES)]
    return tuple(body[-1] if body else b"" for body in bodies) or (payload,)


def _parsed(payload: bytes) -> dict[int, list[int | bytes]] | None:
    try:
        fields = read(payload)
        for nested in _elements(fields, _MESSAGES) + _elements(fields, _GROUP_OFFERS):
            read(nested)
    except NotProtobuf:
        return None
    return fields


def _elements(fields: dict[int, list[int | bytes]], number: int) -> list[bytes]:
    """A number where bytes belong is passed over like a field that is not known."""
    return [each for each in fields.get(number, []) if isinstance(each, bytes)]


@frozen
class Application:
    type: int
    payload: bytes
    signer: bytes
    """compressed; empty: nobody signed"""
    id: bytes


def read_application(wrapped: bytes) -> Application:
    fields = read(wrapped)
    signature, payload = last(fields, 1), last(fields, 2)
    signer = uncompressed = b""
    if signature:
        key = PublicKey.from_signature_and_message(signature, keccak256(payload), hasher=None)
        signer, uncompressed = key.format(), key.format(compressed=False)
    return Application(last(fields, 3, 0), payload, signer, keccak256(uncompressed + wrapped))
