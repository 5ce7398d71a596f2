"""WakuMessage and the hash by which a Waku network knows a message: 14/WAKU2-MESSAGE."""

from __future__ import annotations

from hashlib import sha256

from google.protobuf.message import DecodeError

from kexkit import limits
from kexkit._pb.waku import waku_message_pb2 as pb
from kexkit.api import Envelope
from kexkit.errors import InvalidInput, Limit, Malformed


def encode(envelope: Envelope, *, meta: bytes = b"") -> bytes:
    try:
        raw = pb.WakuMessage(
            payload=envelope.payload,
            content_topic=envelope.topic,
            version=envelope.version,
            timestamp=envelope.timestamp,
            meta=meta,
            ephemeral=envelope.ephemeral,
        ).SerializeToString(deterministic=True)
    except (UnicodeError, ValueError):
        raise InvalidInput("An envelope has a number out of range or a topic that is not valid Unicode.") from None
    excess = _excess(envelope, meta)
    if excess is not None:
        raise InvalidInput(excess)
    return raw


def parse(raw: bytes) -> tuple[Envelope, bytes]:
    """The envelope and its meta, which only `message_hash` needs."""
    if len(raw) > limits.WAKU_MESSAGE_BYTES:
        raise Limit(f"A Waku message has more than {limits.WAKU_MESSAGE_BYTES} bytes.")
    try:
        wire = pb.WakuMessage.FromString(raw)
    except DecodeError:
        raise Malformed("A Waku message does not parse.") from None
    envelope = Envelope(
        topic=wire.content_topic,
        payload=wire.payload,
        version=wire.version,
        timestamp=wire.timestamp,
        ephemeral=wire.ephemeral,
    )
    excess = _excess(envelope, wire.meta)
    if excess is not None:
        raise Limit(excess)
    return envelope, wire.meta


def _excess(envelope: Envelope, meta: bytes) -> str | None:
    if len(envelope.payload) > limits.PAYLOAD_BYTES:
        return f"A Waku payload has more than {limits.PAYLOAD_BYTES} bytes."
    if len(envelope.topic) > limits.CONTENT_TOPIC_CHARACTERS:
        return f"A content topic has more than {limits.CONTENT_TOPIC_CHARACTERS} characters."
    if len(meta) > limits.META_BYTES:
        return f"A Waku message has more than {limits.META_BYTES} bytes of meta."
    return None


def message_hash(pubsub_topic: str, envelope: Envelope, *, meta: bytes = b"") -> bytes:
    """32 bytes. Version and the ephemeral mark are not covered, so they are not what makes two messages differ."""
    try:
        return sha256(
            b"".join(
                (
                    pubsub_topic.encode(),
                    envelope.payload,
                    envelope.topic.encode(),
                    meta,
                    envelope.timestamp.to_bytes(8, "big", signed=True),
                )
            )
        ).digest()
    except (UnicodeError, OverflowError):
        raise InvalidInput("An envelope has a timestamp out of range or a topic that is not valid Unicode.") from None
