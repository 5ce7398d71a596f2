"""Frames of one person become one envelope: ProtocolMessage, spec 26 payload, topic."""

from __future__ import annotations

from collections.abc import Sequence

from kexkit import _records as records
from kexkit._engine.allowance import Allowance
from kexkit._engine.frames import Sealed
from kexkit._engine.peers import Person, device_of
from kexkit._engine.requests import Channel, Departure, Draft, Flow, Moment, load_one
from kexkit._engine.setting import Setting
from kexkit._wire import payload26, topics
from kexkit._wire.offers import offer_digest
from kexkit._wire.protocol_message import Frame, ProtocolMessage, encode
from kexkit.api import Carriage, Envelope, Unpicklable
from kexkit.errors import Limit
from kexkit.limits import PAYLOAD_BYTES

NO_INSTALLATION = "none"
"""Status's key for a message to whichever device the peer has"""
NEGOTIATED = "negotiated-topic"
ENVELOPE_VERSION = 1
BARE_VERSION = 2


def negotiated_channel(identity: bytes, moment: Moment) -> Channel:
    """The topic that two people share: derived from the agreement of their identity keys (spec 54)."""
    name = topics.negotiated_name(moment.context.identity.agree(identity))
    return Channel(topics.content_topic(name), name, symmetric=True)


def contact_code_channel(identity: bytes) -> Channel:
    name = topics.contact_code_name(identity)
    return Channel(topics.content_topic(name), name, symmetric=True)


def own_channels(identity: bytes) -> tuple[Channel, ...]:
    """Where anybody may write to us."""
    names = (topics.partitioned_name(identity), topics.personal_name(identity))
    return tuple(Channel(topics.content_topic(name), name, symmetric=False) for name in names)


def message_around(
    draft: Draft,
    sealed: Sequence[Sealed],
    setting: Setting,
    *,
    public: bytes | None = None,
    person: Person | None = None,
    offers: bool = True,
) -> Flow[ProtocolMessage]:
    """Our present bundle travels with every message, beside the frames; so does our offer, until every device that the
    message is for has confirmed to have it. Not `offers`: it goes where strangers read."""
    bundles: tuple[bytes, ...] = ()
    shown: tuple[bytes, ...] = ()
    if setting.slot is not None:
        row = yield from load_one(draft, records.own_key(setting.slot.name))
        bundles = (records.own_public(row.value),) if row is not None else ()
    if setting.confirms and offers:
        row = yield from load_one(draft, records.SIGNED_OFFER)
        signed = records.own_public(row.value) if row is not None else b""
        shown = (signed,) if signed and not (person is not None and _are_told(person, sealed, signed)) else ()
    slots: dict[str, bytes] = {}
    frames: list[Frame] = []
    for one in sealed:
        if one.exchange.carriage is Carriage.SLOT:
            slots[one.installation or NO_INSTALLATION] = one.frame
        else:
            frames.append(Frame(one.installation, one.exchange.name, one.frame, one.answers))
    return ProtocolMessage(setting.me.installation, bundles, slots, public, shown, tuple(frames))


def _are_told(person: Person, sealed: Sequence[Sealed], signed: bytes) -> bool:
    digest = offer_digest(signed)
    devices = [device_of(person, one.installation) for one in sealed]
    return bool(devices) and all(device is not None and device.told == digest for device in devices)


def envelopes_to(
    draft: Draft, person: Person, sealed: Sequence[Sealed], setting: Setting, moment: Moment, keys: TopicKeys
) -> Flow[list[Envelope]]:
    """All texts beside one another in one envelope; a handshake's frame, and a BARE one, each in its own."""
    envelopes: list[Envelope] = []
    groups: list[list[Sealed]] = []
    texts: list[Sealed] = []
    for one in sealed:
        if one.exchange.carriage is Carriage.BARE:
            if one.to is not None:
                envelopes.append(Envelope(one.to, one.frame, BARE_VERSION, moment.sequence()))
        elif one.flight:
            groups.append([one])
        else:
            texts.append(one)
    for group in (*groups, texts):
        if group:
            message = yield from message_around(draft, group, setting, person=person)
            shared = person.identity != setting.me.identity and shares_topic(person, group)
            envelopes.append(envelope_to(person, message, moment, shared=shared, keys=keys))
    return envelopes


def shares_topic(person: Person, sealed: Sequence[Sealed]) -> bool:
    """True once every device addressed has answered and knows the topic that both identities can derive."""
    for one in sealed:
        device = device_of(person, one.installation)
        if not one.heard or device is None:
            return False
        if not any(NEGOTIATED in advert.traits for advert in device.adverts):
            return False
    return bool(sealed)


def envelope_to(person: Person, message: ProtocolMessage, moment: Moment, *, shared: bool, keys: TopicKeys) -> Envelope:
    """Signed by us; on the shared topic under its key, else to the peer's key on their partition's topic."""
    data = encode(message)
    if len(data) > PAYLOAD_BYTES:
        raise Limit(f"The message is {len(data)} bytes; at most {PAYLOAD_BYTES} fit an envelope.")
    context = moment.context
    if shared:
        channel = keys.negotiated(person.identity, moment)
        payload = payload26.seal_symmetric(data, keys.key(channel.name), sign=context.identity, rng=context.rng)
        topic = channel.topic
    else:
        payload = payload26.seal_asymmetric(data, person.identity, sign=context.identity, rng=context.rng)
        topic = topics.content_topic(topics.partitioned_name(person.identity))
    return Envelope(topic, payload, ENVELOPE_VERSION, moment.sequence())


def advertisement(message: ProtocolMessage, setting: Setting, moment: Moment, keys: TopicKeys) -> Envelope:
    """For whoever knows our key: our bundle on our contact-code topic."""
    channel = contact_code_channel(setting.me.identity)
    context = moment.context
    payload = payload26.seal_symmetric(encode(message), keys.key(channel.name), sign=context.identity, rng=context.rng)
    return Envelope(channel.topic, payload, ENVELOPE_VERSION, moment.sequence())


def queue(draft: Draft, envelope: Envelope, moment: Moment, message_id: bytes = b"", peer: bytes = b"") -> None:
    """The envelope goes to the outbox in the same commit as all that made it."""
    key = records.sequence_key("outbox", moment.sequence())
    draft.write(key, records.write(records.outgoing_of(envelope, message_id, peer)))
    draft.leave.append(Departure(key, envelope, message_id, peer))


class TopicKeys(Unpicklable):
    """What an engine remembers besides rows. Keys of symmetric topics cost 65,356 rounds of PBKDF2, and never change;
    `allowance` is what unproven callers have cost."""

    __slots__ = ("_channels", "_keys", "allowance")

    def __init__(self) -> None:
        self.allowance = Allowance()
        self._keys: dict[str, bytes] = {}
        self._channels: dict[bytes, Channel] = {}

    def key(self, name: str) -> bytes:
        found = self._keys.get(name)
        if found is None:
            found = self._keys[name] = topics.symmetric_key(name)
        return found

    def negotiated(self, identity: bytes, moment: Moment) -> Channel:
        found = self._channels.get(identity)
        if found is None:
            found = self._channels[identity] = negotiated_channel(identity, moment)
        return found

    def __repr__(self) -> str:
        return f"<TopicKeys of {len(self._keys)} topics>"
