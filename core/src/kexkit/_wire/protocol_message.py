"""ProtocolMessage: what one device says to the devices of a person, and the public material that travels beside it."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from attrs import field
from google.protobuf.message import DecodeError

from kexkit import limits
from kexkit._pb.status import protocol_message_pb2 as pb
from kexkit.api import value
from kexkit.errors import InvalidInput, Limit, Malformed

_DIGEST_BYTES = 32


@value
class Frame:
    """A frame of a key exchange that does not fill the map."""

    installation: str
    """of the receiver; empty: whichever it is"""
    mechanism: str
    frame: bytes = field(repr=False)
    offer: bytes = b""
    """D of the offer that the session answers, until its opener has heard the receiver in it"""


@value
class ProtocolMessage:
    installation: str
    """of the sender"""
    bundles: tuple[bytes, ...] = field(default=(), repr=False)
    slots: Mapping[str, bytes] = field(default=MappingProxyType({}), repr=False)
    """by installation of the receiver, or "none" """
    public: bytes | None = field(default=None, repr=False)
    """never empty: an empty field is not on the wire"""
    offers: tuple[bytes, ...] = field(default=(), repr=False)
    frames: tuple[Frame, ...] = ()


def _excess(message: ProtocolMessage) -> str | None:
    """Which bound the message exceeds, if any."""
    if len(message.bundles) > limits.BUNDLES:
        return f"more than {limits.BUNDLES} bundles"
    if len(message.slots) > limits.SLOTS:
        return f"more than {limits.SLOTS} addressed installations"
    if len(message.offers) > limits.OFFERS:
        return f"more than {limits.OFFERS} offers"
    if len(message.frames) > limits.FRAMES:
        return f"more than {limits.FRAMES} frames"
    longest = limits.INSTALLATION_BYTES
    if len(message.installation.encode()) > longest or any(len(name.encode()) > longest for name in message.slots):
        return f"an installation id of more than {longest} bytes"
    for frame in message.frames:
        if len(frame.installation.encode()) > longest:
            return f"an installation id of more than {longest} bytes"
        if len(frame.mechanism.encode()) > limits.MECHANISM_NAME_BYTES:
            return f"a mechanism name of more than {limits.MECHANISM_NAME_BYTES} bytes"
        if frame.offer and len(frame.offer) != _DIGEST_BYTES:
            return f"an offer's digest that does not have {_DIGEST_BYTES} bytes"
    return None


def encode(message: ProtocolMessage) -> bytes:
    """The same bytes for equal messages."""
    try:
        excess = _excess(message)
        wire = pb.ProtocolMessage(
            installation_id=message.installation,
            bundles=message.bundles,
            public_message=message.public or b"",
            kexkit_offers=message.offers,
        )
        slots = wire.encrypted_message
        for name, slot in message.slots.items():
            slots[name] = slot
        for frame in message.frames:
            wire.kexkit_frames.add(
                installation=frame.installation, mechanism=frame.mechanism, frame=frame.frame, offer=frame.offer
            )
    except (UnicodeError, ValueError):
        raise InvalidInput("An installation id or a mechanism name is not valid Unicode.") from None
    raw = wire.SerializeToString(deterministic=True)
    if excess is None and len(raw) > limits.PROTOCOL_MESSAGE_BYTES:
        excess = f"more than {limits.PROTOCOL_MESSAGE_BYTES} bytes"
    if excess is not None:
        raise InvalidInput(f"A protocol message has {excess}.")
    return raw


def parse(raw: bytes) -> ProtocolMessage:
    if len(raw) > limits.PROTOCOL_MESSAGE_BYTES:
        raise Limit(f"A protocol message has more than {limits.PROTOCOL_MESSAGE_BYTES} bytes.")
    try:
        wire = pb.ProtocolMessage.FromString(raw)
    except DecodeError:
        raise Malformed("A protocol message does not parse.") from None
    slots = wire.encrypted_message
    message = ProtocolMessage(
        installation=wire.installation_id,
        bundles=tuple(wire.bundles),
        slots={name: slots[name] for name in slots},
        public=wire.public_message or None,
        offers=tuple(wire.kexkit_offers),
        frames=tuple(
            [Frame(frame.installation, frame.mechanism, frame.frame, frame.offer) for frame in wire.kexkit_frames]
        ),
    )
    excess = _excess(message)
    if excess is not None:
        raise Limit(f"A protocol message has {excess}.")
    return message
