"""Receiving: an envelope becomes rows and events, or nothing at all.

What happens to a forged frame: `open_message` raises a Refusal somewhere on the way, and the draft with everything
that the frame would have changed is forgotten. `receive` then returns one FrameRefused event and at most a quarantine
row (`_quarantine`), and that only if the envelope's own signature names a peer we know.
"""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256

from kexkit import _records as records
from kexkit._engine.allowance import HINTED
from kexkit._engine.bare import receive_bare
from kexkit._engine.chatting import unreadable_event
from kexkit._engine.cloning import tell_of_clone
from kexkit._engine.inboxes import put_in_inbox, take_from_inbox
from kexkit._engine.negotiating import DAY_MS
from kexkit._engine.noting import note_bundles, note_offers
from kexkit._engine.opening import open_frame
from kexkit._engine.peers import Person, load_person, make_room, save_person
from kexkit._engine.requests import Channel, Draft, Flow, Moment, Outcome, load, load_one, scan
from kexkit._engine.setting import Setting
from kexkit._engine.settling import Heard
from kexkit._engine.strangers import admit, check_heard
from kexkit._engine.withholding import take_heard
from kexkit._engine.wrapping import (
    BARE_VERSION,
    ENVELOPE_VERSION,
    NO_INSTALLATION,
    TopicKeys,
    envelope_to,
    envelopes_to,
    message_around,
    queue,
)
from kexkit._wire import payload26, waku
from kexkit._wire.offers import is_mechanism_name
from kexkit._wire.protocol_message import ProtocolMessage, parse
from kexkit._wire.topics import PUBSUB_DEFAULT
from kexkit.api import Device, Envelope, KeyExchange, Unpicklable, value
from kexkit.errors import (
    Cloned,
    Forged,
    KexkitError,
    Limit,
    Malformed,
    MechanismMissing,
    NotForThisDevice,
    PolicyRefused,
    Refusal,
    Replayed,
)
from kexkit.events import FrameRefused
from kexkit.limits import HELD_BYTES, HELD_MS, HELD_PER_PEER, SEEN_DAYS


@value
class Opened(Unpicklable):
    """What spec 26 says of an envelope: who signed it, and what is in it."""

    sender: bytes
    data: bytes


def receive(
    envelope: Envelope, channels: tuple[Channel, ...], setting: Setting, moment: Moment, keys: TopicKeys
) -> Flow[Outcome]:
    """One arrival. It never raises for what a stranger sent."""
    draft = Draft()
    if (yield from seen_before(draft, envelope, moment, days=1)):
        return draft.outcome()
    sender: bytes | None = None
    try:
        if envelope.version == BARE_VERSION:
            yield from receive_bare(draft, envelope, setting, moment, keys)
        else:
            opened = open_payload(envelope, channels, moment, keys)
            if opened is None:
                return draft.outcome()
            sender = opened.sender
            yield from open_message(draft, opened, setting, moment, keys)
    except (Refusal, PolicyRefused, MechanismMissing) as refusal:
        return (yield from _refused(envelope, sender, refusal, setting, moment))
    if draft.put or draft.drop:
        draft.write(records.seen_key(_today(moment), fingerprint(envelope)), b"")
    return draft.outcome()


def fingerprint(envelope: Envelope) -> bytes:
    """What makes a copy a copy. Nothing signs an envelope's timestamp, so of a payload that is sealed anew each time it
    does not count, or the network could pass off a copy as new; a BARE frame is resent as it was, in a new envelope."""
    if envelope.version == BARE_VERSION:
        return waku.message_hash(PUBSUB_DEFAULT, envelope)
    return sha256(payload26.invariant(envelope.payload)).digest()


def seen_before(draft: Draft, envelope: Envelope, moment: Moment, *, days: int) -> Flow[bool]:
    """Today or so many days before. Older copies meet their session, which refuses them."""
    mark, today = fingerprint(envelope), _today(moment)
    found = yield from load(draft, *(records.seen_key(max(today - ago, 0), mark) for ago in range(days + 1)))
    return bool(found)


def _today(moment: Moment) -> int:
    return max(moment.now, 0) // DAY_MS


def open_payload(envelope: Envelope, channels: tuple[Channel, ...], moment: Moment, keys: TopicKeys) -> Opened | None:
    """The outer layer of spec 26, tried for each name behind the topic. None: it is for somebody else."""
    if envelope.version != ENVELOPE_VERSION:
        raise Malformed("An envelope is of an unknown version.")
    refusal: Refusal | None = None
    for channel in channels:
        if channel.bare:
            continue
        try:
            if channel.symmetric:
                payload = payload26.open_symmetric(envelope.payload, keys.key(channel.name))
            else:
                payload = payload26.open_asymmetric(envelope.payload, moment.context.identity)
        except Refusal as refused:
            refusal = refused if channel.symmetric else refusal  # partitions are shared: most there is not for us
            continue
        if payload.signer is None:
            raise Forged("An envelope is not signed.")
        return Opened(payload.signer, payload.data)
    if refusal is not None:
        raise refusal
    return None


def open_message(draft: Draft, opened: Opened, setting: Setting, moment: Moment, keys: TopicKeys) -> Flow[None]:
    """The inner layers: what the sender publishes, the frames for this device, the texts in them."""
    message = parse(opened.data)
    sender = Device(opened.sender, message.installation)
    if sender == setting.me:
        return
    person = yield from load_person(draft, opened.sender)
    if person.is_new and not (message.slots or message.frames):
        return  # what strangers merely publish makes nobody known
    check_heard(person, setting)
    yield from make_room(draft, person, message.installation, setting, moment)
    texts = yield from open_security(draft, person, message, setting, moment, keys)
    if person.is_new:
        if not texts and not any(device.sessions for device in person.record.devices):
            if draft.leave:  # they hold an offer that we no longer make, and are told so; nothing of them is kept
                draft.events.clear()
                return
            raise Malformed("A stranger's message holds no text and begins no session.")
        yield from admit(draft, person, setting, moment, keys)
    save_person(draft, person)


def open_security(
    draft: Draft, person: Person, message: ProtocolMessage, setting: Setting, moment: Moment, keys: TopicKeys
) -> Flow[int]:
    """Everything of a ProtocolMessage but its envelope. How many texts were taken."""
    sender = Device(person.identity, message.installation)
    note_bundles(draft, person, message.bundles, sender, setting, moment)
    if setting.negotiates:
        note_offers(draft, person, message.offers, setting, moment)
    addressed = bool(message.slots or message.frames)
    if not addressed:
        return 0
    mine = frames_for(message, setting)
    if not mine:
        raise NotForThisDevice("A message is for other devices of ours.")
    texts = 0
    for exchange, frame, answers in mine:
        came = yield from open_frame(draft, person, sender, exchange, frame, setting, moment, answers=answers)
        person.changed = person.changed or person.is_new
        texts += yield from take_heard(draft, person, came, sender, setting, moment)
        yield from _answer(draft, person, came, setting, moment, keys)
    return texts


def frames_for(message: ProtocolMessage, setting: Setting) -> list[tuple[KeyExchange, bytes, bytes]]:
    """The frames that this device is to open, and D of the offer that they answer, where they say so. A frame of a
    mechanism that is not loaded is named in a refusal."""
    mine: list[tuple[KeyExchange, bytes, bytes]] = []
    slot = message.slots.get(setting.me.installation, message.slots.get(NO_INSTALLATION))
    if slot is not None:
        if setting.slot is None:
            raise MechanismMissing("A message came over Status's key exchange, which is not loaded here.")
        mine.append((setting.slot, slot, b""))
    for frame in message.frames:
        if frame.installation != setting.me.installation:
            continue
        if not is_mechanism_name(frame.mechanism):
            raise Malformed("A frame names no mechanism.")
        exchange = setting.by_name.get(frame.mechanism)
        if exchange is None:
            raise MechanismMissing(f"A message came over {frame.mechanism}, which is not loaded here.")
        mine.append((exchange, frame.frame, frame.offer))
    return mine


def _answer(draft: Draft, person: Person, came: Heard, setting: Setting, moment: Moment, keys: TopicKeys) -> Flow[None]:
    for envelope in (yield from envelopes_to(draft, person, came.answers, setting, moment, keys)):
        queue(draft, envelope, moment)
    if came.hint:  # our offer travels with every message, so an empty one is enough (negotiation 1.5)
        if not keys.allowance.take(HINTED + person.identity, moment.now):
            raise Limit("Openings to outdated offers come too fast.")
        message = yield from message_around(draft, (), setting)
        queue(draft, envelope_to(person, message, moment, shared=False, keys=keys), moment)


def _refused(
    envelope: Envelope, sender: bytes | None, refusal: KexkitError, setting: Setting, moment: Moment
) -> Flow[Outcome]:
    """A fresh draft: nothing of the refused one is in it."""
    draft = Draft()
    if sender == setting.me.identity and isinstance(refusal, NotForThisDevice):
        return draft.outcome()  # a copy for other devices of ours
    draft.events.append(FrameRefused(str(refusal), sender))
    if isinstance(refusal, Cloned):
        yield from tell_of_clone(draft, refusal)
    placed = not isinstance(refusal, (Replayed, Malformed, PolicyRefused, NotForThisDevice))
    if sender is not None and sender != setting.me.identity and placed:
        if (yield from seen_before(draft, envelope, moment, days=SEEN_DAYS)):
            return draft.outcome()  # read long ago; whoever plays it again earns no placeholder
        yield from _quarantine(draft, envelope, sender, refusal, moment)
    return draft.outcome()


def _quarantine(draft: Draft, envelope: Envelope, sender: bytes, refusal: KexkitError, moment: Moment) -> Flow[None]:
    """A placeholder with its cause, and the frame for another try. Only for known peers, bounded, once a payload."""
    key = records.held_key(sender, payload26.invariant(envelope.payload))
    if (yield from load_one(draft, key)) is not None:
        return
    person = yield from load_person(draft, sender)
    if person.is_new or person.record.held >= HELD_PER_PEER:
        return
    retried = len(envelope.payload) <= HELD_BYTES
    unreadable = records.Unreadable(author=sender, cause=str(refusal), at=moment.now, retried=retried)
    draft.rely(key, None)
    kept = records.outgoing_of(envelope) if retried else None
    receipt = put_in_inbox(draft, records.Inbox(unreadable=unreadable, mark=key[1][-16:]), moment)
    draft.write(key, records.write(records.Held(envelope=kept, cause=str(refusal), inbox=receipt)))
    draft.write(records.timer_key(moment.now + HELD_MS, records.Timer.HELD_EXPIRY, key[1]), b"")
    person.record.held += 1
    person.changed = True
    save_person(draft, person)
    draft.events.append(unreadable_event(receipt, unreadable))


def set_aside(
    envelope: Envelope,
    channels: tuple[Channel, ...],
    error: KexkitError,
    setting: Setting,
    moment: Moment,
    keys: TopicKeys,
) -> Flow[Outcome]:
    """Not the peer's fault: a plugin broke down over it, or a row of ours is damaged. It is held, and shown as held."""
    draft = Draft()
    draft.events.append(FrameRefused(str(error), None))
    try:
        opened = open_payload(envelope, channels, moment, keys) if envelope.version == ENVELOPE_VERSION else None
    except Refusal:
        opened = None
    if opened is not None and opened.sender != setting.me.identity:
        yield from _quarantine(draft, envelope, opened.sender, error, moment)
    return draft.outcome()


def expire_held(draft: Draft, held_id: bytes) -> Flow[None]:
    """Nothing changed in time that would have opened it. Its placeholder stays until it is acknowledged."""
    key = ("held", held_id)
    row = yield from load_one(draft, key)
    if row is None:
        return
    draft.rely(key, row)
    draft.remove(key)
    person = yield from load_person(draft, held_id[: records.IDENTITY_BYTES])
    person.record.held = max(person.record.held - 1, 0)
    person.changed = not person.is_new
    save_person(draft, person)


def retry_held(
    draft: Draft,
    identity: bytes,
    channels_of: Callable[[str], tuple[Channel, ...]],
    setting: Setting,
    moment: Moment,
    keys: TopicKeys,
    after: bytes = b"",
) -> Flow[bytes | None]:
    """Try one held frame again. The key to go on from, or None at the end."""
    start = max(identity, after)
    rows = yield from scan("held", start, records.prefix_end(identity), limit=1)
    if not rows:
        return None
    key, row = rows[0]
    held = records.read_held(row.value)
    if not held.HasField("envelope"):
        return key[1] + b"\x00"
    envelope = records.envelope_of(held.envelope)
    attempt = Draft()
    try:
        opened = open_payload(envelope, channels_of(envelope.topic), moment, keys)
        if opened is not None:
            yield from open_message(attempt, opened, setting, moment, keys)
    except (Refusal, PolicyRefused, MechanismMissing):
        return key[1] + b"\x00"
    person_key = records.peer_key(identity)
    person = yield from load_person(attempt, identity)
    person.record.held = max(person.record.held - 1, 0)
    attempt.write(person_key, records.write(person.record))
    attempt.rely(person_key, person.row)
    attempt.remove(key)
    yield from take_from_inbox(attempt, held.inbox)
    draft.given.update(attempt.given)
    draft.put.update(attempt.put)
    draft.drop |= attempt.drop
    draft.events += attempt.events
    draft.sessions.update(attempt.sessions)
    draft.channels += attempt.channels
    draft.left += attempt.left
    draft.leave += attempt.leave
    return key[1] + b"\x00"
