"""MVDS payloads: Status's wrapping for messages that are repeated until they are acknowledged, and the place where a
confirmation travels. Only the encoding; what is due when, and what was acknowledged, is not decided here.

Inside the encryption there is either a payload or a bare ApplicationMetadataMessage, and nothing says which. The rule
is status-go's: what parses and has at least one field of a payload is one. The two share no field number (1 to 3 there,
5001 to 5005, our 20055 and 20056 here), and nobody writes fields of both, so neither can pass for the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from itertools import chain
from typing import Final

from attrs import field
from google.protobuf.message import DecodeError

from kexkit import limits, secp256k1
from kexkit._pb.status import mvds_pb2 as pb
from kexkit.api import Unpicklable, value
from kexkit.errors import InvalidInput, Limit, Malformed

_GROUP_BYTES: Final = 32
_SESSION_BYTES: Final = 32
_TIMESTAMP_MAX: Final = 2**63 - 1


@value
class Unwrapped(Unpicklable):
    bodies: tuple[bytes, ...] = field(repr=False)
    """wrapped application messages, each with its own id; none: there is something to say, but no message"""
    confirm: bytes | None = field(default=None, repr=False)
    """never empty"""
    crossed: bytes = b""
    """beside an answer: the session that its maker had begun when this one came; empty: none"""
    acks: tuple[bytes, ...] = ()
    """ids as of `message_id`"""
    offers: tuple[bytes, ...] = ()
    requests: tuple[bytes, ...] = ()


def one_to_one_group(one: bytes, other: bytes) -> bytes:
    """The group of a chat between two people, in whichever order they are given."""
    for identity in (one, other):
        secp256k1.check_public(identity)
    low, high = sorted([(identity[1:], identity) for identity in (one, other)])  # by x alone, whatever the sign of y
    return secp256k1.keccak256(low[1] + high[1])


def message_id(body: bytes, *, group: bytes, timestamp: int) -> bytes:
    """What a reader acknowledges: not the application message's id, for it changes with the timestamp."""
    return sha256(b"MESSAGE_ID" + group + (timestamp % 2**64).to_bytes(8, "little") + body).digest()


def wrap(bodies: Sequence[bytes], *, group: bytes, timestamp: int, confirm: bytes = b"", crossed: bytes = b"") -> bytes:
    """`timestamp` in seconds: when the messages were written, the same in every repetition, or the id is another."""
    if not bodies and not confirm:
        raise InvalidInput("An empty data sync payload is none.")
    if len(group) != _GROUP_BYTES:
        raise InvalidInput(f"A data sync group has {_GROUP_BYTES} bytes.")
    if not 0 <= timestamp <= _TIMESTAMP_MAX:
        raise InvalidInput("A data sync timestamp is out of range.")
    if crossed and (not confirm or len(crossed) != _SESSION_BYTES):
        raise InvalidInput(f"A session that crossed is named beside a confirmation, by its {_SESSION_BYTES} bytes.")
    wire = pb.DataSyncPayload(
        kexkit_confirmations=(confirm,) if confirm else (), kexkit_crossings=(crossed,) if crossed else ()
    )
    for body in bodies:
        wire.messages.add(group_id=group, timestamp=timestamp, body=body)
    raw = wire.SerializeToString(deterministic=True)
    excess = _excess(wire, raw)
    if excess is not None:
        raise InvalidInput(f"A data sync payload has {excess}.")
    return raw


def unwrap(data: bytes) -> Unwrapped | None:
    """None: this is no payload, so it is a bare application message or nothing at all."""
    if len(data) > limits.APPLICATION_BYTES:
        raise Limit(f"A data sync payload has more than {limits.APPLICATION_BYTES} bytes.")
    try:
        wire = pb.DataSyncPayload.FromString(data)
    except DecodeError:
        return None
    if not wire.ListFields():
        return None
    excess = _excess(wire, data)
    if excess is not None:
        raise Limit(f"A data sync payload has {excess}.")
    confirmations = wire.kexkit_confirmations
    if len(confirmations) > 1:
        raise Malformed("A data sync payload has more than one confirmation.")
    if confirmations and not confirmations[0]:
        raise Malformed("A data sync payload has an empty confirmation.")
    crossed = wire.kexkit_crossings
    if crossed and (len(crossed) > 1 or not confirmations or len(crossed[0]) != _SESSION_BYTES):
        raise Malformed("A data sync payload names sessions that crossed where it may not, or not as it should.")
    return Unwrapped(
        bodies=tuple([message.body for message in wire.messages]),
        confirm=confirmations[0] if confirmations else None,
        crossed=crossed[0] if crossed else b"",
        acks=tuple(wire.acks),
        offers=(*wire.offers, *chain.from_iterable(group.message_ids for group in wire.group_offers)),
        requests=tuple(wire.requests),
    )


def _excess(wire: pb.DataSyncPayload, raw: bytes) -> str | None:
    """Which bound it exceeds, if any."""
    if len(raw) > limits.APPLICATION_BYTES:
        return f"more than {limits.APPLICATION_BYTES} bytes"
    if len(wire.messages) > limits.DATA_SYNC_MESSAGES:
        return f"more than {limits.DATA_SYNC_MESSAGES} messages"
    records = len(wire.acks) + len(wire.offers) + len(wire.requests)
    records += sum(1 + len(group.message_ids) for group in wire.group_offers)
    if records > limits.DATA_SYNC_RECORDS:
        return f"more than {limits.DATA_SYNC_RECORDS} ids"
    if any(len(confirm) > limits.CONFIRM_BYTES for confirm in wire.kexkit_confirmations):
        return f"a confirmation of more than {limits.CONFIRM_BYTES} bytes"
    return None
