"""What a client and a relay say to each other, as values, and as bytes. Decoders are total: a value, or Malformed."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from attrs import field, frozen
from google.protobuf.message import DecodeError
from kexkit.api import Envelope, value
from kexkit.errors import InvalidInput, Malformed, TransportRefused

from kexkit_transport_relay._pb import relay_pb2 as pb
from kexkit_transport_relay.limits import (
    ARRIVAL_COST,
    MAX_CURSOR,
    MAX_PAYLOAD,
    MAX_REASON,
    MAX_TOPIC,
    PAGE_COUNT,
    WATCHES_PER_MESSAGE,
)

if TYPE_CHECKING:
    from google.protobuf.message import Message

SUBPROTOCOL = "kexkit-relay.v1"
"""negotiated in the WebSocket handshake; an incompatible change gets another number"""
RELAY_ID_BYTES = 8


@value
class Publish:
    request: int
    envelope: Envelope


@frozen
class WatchTopic:
    watch: int
    topic: str
    cursor: bytes | None


@frozen
class Watch:
    topics: tuple[WatchTopic, ...]


@frozen
class Unwatch:
    watches: tuple[int, ...]


@frozen
class Grant:
    amount: int


ToRelay: TypeAlias = Publish | Watch | Unwatch | Grant


@frozen
class Welcome:
    relay: bytes
    max_payload: int
    max_topics: int


@value
class Stored:
    requests: tuple[int, ...]


@frozen
class Refused:
    """Of a publication (`request`) or of a topic (`watch`)."""

    reason: str
    final: bool
    retry_after_ms: int = 0
    request: int | None = None
    watch: int | None = None


@value
class Delivered:
    watch: int
    cursor: bytes
    payload: bytes = field(repr=False)
    version: int
    timestamp: int
    ephemeral: bool

    @property
    def cost(self) -> int:
        return len(self.payload) + ARRIVAL_COST

    def envelope(self, topic: str) -> Envelope:
        return Envelope(topic, self.payload, self.version, self.timestamp, self.ephemeral)


@value
class Page:
    arrivals: tuple[Delivered, ...]


FromRelay: TypeAlias = Welcome | Stored | Refused | Page


def check_topic(topic: str) -> None:
    """InvalidInput unless a relay can carry it."""
    try:
        size = len(topic.encode())
    except UnicodeEncodeError:
        raise InvalidInput("A topic must be text that UTF-8 can write.") from None
    if not 1 <= size <= MAX_TOPIC:
        raise InvalidInput(f"A topic has 1 to {MAX_TOPIC} bytes, not {size}.")


def check_envelope(envelope: Envelope, max_payload: int) -> None:
    """What can be known without asking: InvalidInput for what no relay carries, TransportRefused for the size."""
    check_topic(envelope.topic)
    if not 0 <= envelope.version < 2**32:
        raise InvalidInput(f"An envelope's version is between 0 and 2^32 - 1, not {envelope.version}.")
    if not -(2**63) <= envelope.timestamp < 2**63:
        raise InvalidInput("An envelope's timestamp is nanoseconds in 64 bits.")
    if len(envelope.payload) > max_payload:
        raise TransportRefused(
            f"The envelope has {len(envelope.payload)} bytes; this relay carries {max_payload}.",
            advice="Send it in smaller parts.",
        )


def encode_to_relay(message: ToRelay) -> bytes:
    if isinstance(message, Publish):
        envelope = message.envelope
        publish = pb.Publish(
            request=message.request,
            topic=envelope.topic,
            payload=envelope.payload,
            version=envelope.version,
            timestamp=envelope.timestamp,
            ephemeral=envelope.ephemeral,
        )
        return pb.ToRelay(publish=publish).SerializeToString()
    if isinstance(message, Watch):
        topics = [pb.Watch.Topic(watch=t.watch, topic=t.topic, cursor=t.cursor or b"") for t in message.topics]
        return pb.ToRelay(watch=pb.Watch(topics=topics)).SerializeToString()
    if isinstance(message, Unwatch):
        return pb.ToRelay(unwatch=pb.Unwatch(watches=message.watches)).SerializeToString()
    return pb.ToRelay(grant=pb.Grant(bytes=message.amount)).SerializeToString()


def decode_to_relay(data: bytes) -> ToRelay:
    parsed = pb.ToRelay()
    _parse(parsed, data)
    verb = parsed.WhichOneof("verb")
    if verb == "publish":
        said = parsed.publish
        _check_said_topic(said.topic)
        return Publish(said.request, Envelope(said.topic, said.payload, said.version, said.timestamp, said.ephemeral))
    if verb == "watch":
        _check_number(len(parsed.watch.topics))
        return Watch(tuple(_watch_topic(topic) for topic in parsed.watch.topics))
    if verb == "unwatch":
        _check_number(len(parsed.unwatch.watches))
        return Unwatch(tuple(parsed.unwatch.watches))
    if verb == "grant":
        return Grant(parsed.grant.bytes)
    raise Malformed("A message to the relay names no verb that it knows.")


def _watch_topic(said: pb.Watch.Topic) -> WatchTopic:
    _check_said_topic(said.topic)
    cursor = said.cursor
    return WatchTopic(said.watch, said.topic, cursor if 0 < len(cursor) <= MAX_CURSOR else None)


def _check_number(topics: int) -> None:
    if topics > WATCHES_PER_MESSAGE:
        raise Malformed(f"One message names at most {WATCHES_PER_MESSAGE} topics.")


def _check_said_topic(topic: str) -> None:
    if not 1 <= len(topic.encode()) <= MAX_TOPIC:
        raise Malformed(f"A topic has 1 to {MAX_TOPIC} bytes.")


def encode_from_relay(message: FromRelay) -> bytes:
    if isinstance(message, Page):
        arrivals = [
            pb.Arrival(
                watch=one.watch,
                cursor=one.cursor,
                payload=one.payload,
                version=one.version,
                timestamp=one.timestamp,
                ephemeral=one.ephemeral,
            )
            for one in message.arrivals
        ]
        return pb.FromRelay(page=pb.Page(arrivals=arrivals)).SerializeToString()
    if isinstance(message, Stored):
        return pb.FromRelay(stored=pb.Stored(requests=message.requests)).SerializeToString()
    if isinstance(message, Refused):
        refused = pb.Refused(
            request=message.request,
            watch=message.watch,
            final=message.final,
            retry_after_ms=message.retry_after_ms,
            reason=message.reason,
        )
        return pb.FromRelay(refused=refused).SerializeToString()
    welcome = pb.Welcome(relay=message.relay, max_payload=message.max_payload, max_topics=message.max_topics)
    return pb.FromRelay(welcome=welcome).SerializeToString()


def decode_from_relay(data: bytes) -> FromRelay:
    parsed = pb.FromRelay()
    _parse(parsed, data)
    answer = parsed.WhichOneof("answer")
    if answer == "page":
        return _page(parsed.page)
    if answer == "stored":
        return Stored(tuple(parsed.stored.requests))
    if answer == "refused":
        return _refused(parsed.refused)
    if answer == "welcome":
        return _welcome(parsed.welcome)
    raise Malformed("A message of the relay names no answer that is known here.")


def _page(said: pb.Page) -> Page:
    """What a client has room for is counted by payloads, so a relay may not hide more in cursors, or in numbers."""
    if len(said.arrivals) > PAGE_COUNT:
        raise Malformed(f"A page brings at most {PAGE_COUNT} arrivals.")
    if any(len(one.cursor) > MAX_CURSOR for one in said.arrivals):
        raise Malformed(f"An arrival's cursor has at most {MAX_CURSOR} bytes.")
    return Page(
        tuple(
            Delivered(one.watch, one.cursor, one.payload, one.version, one.timestamp, one.ephemeral)
            for one in said.arrivals
        )
    )


def _refused(said: pb.Refused) -> Refused:
    about = said.WhichOneof("about")
    if about is None:
        raise Malformed("A refusal of the relay does not say of what.")
    return Refused(
        reason="".join(char for char in said.reason[:MAX_REASON] if char.isprintable()) or "The relay refuses it.",
        final=said.final,
        retry_after_ms=said.retry_after_ms,
        request=said.request if about == "request" else None,
        watch=said.watch if about == "watch" else None,
    )


def _welcome(said: pb.Welcome) -> Welcome:
    if len(said.relay) != RELAY_ID_BYTES or not 0 < said.max_payload <= MAX_PAYLOAD or not said.max_topics:
        raise Malformed("The relay's welcome makes no sense.")
    return Welcome(said.relay, said.max_payload, said.max_topics)


def _parse(into: Message, data: bytes) -> None:
    try:
        into.ParseFromString(data)
    except DecodeError:
        raise Malformed("The message does not parse.") from None
