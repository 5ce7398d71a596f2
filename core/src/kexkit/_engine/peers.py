"""The `peer` row: one person, their devices, what those publish, the sessions with them."""

from __future__ import annotations

from attrs import define, field

from kexkit import _records as records
from kexkit import _transitions as transitions
from kexkit._engine.drawer import end, end_stored
from kexkit._engine.requests import Draft, Flow, LiveSession, Moment, live, load_one
from kexkit._engine.setting import Setting
from kexkit._negotiation import Confirming
from kexkit._transitions import Cause, State
from kexkit._wire.offers import read
from kexkit.api import Advert, Device, KeyExchange, Versioned
from kexkit.events import OfferSeen
from kexkit.limits import DEVICE_DORMANT_MS, DEVICES_PER_PEER, QUIET_MS, RESTING_MS, SESSIONS_PER_DEVICE, TARGETS

NS_IN_MS = 1_000_000
LATEST = 2**63 - 1
"""What a row holds of a number. Times and numbers in offers are their makers', and may be anything."""


@define
class Person:
    """A `peer` row in work. `changed` decides whether it is written."""

    identity: bytes
    row: Versioned | None
    record: records.Peer
    changed: bool = field(default=False)

    @property
    def is_new(self) -> bool:
        return self.row is None


def load_person(draft: Draft, identity: bytes) -> Flow[Person]:
    row = yield from load_one(draft, records.peer_key(identity))
    record = records.read_peer(row.value) if row is not None else records.new_peer()
    return Person(identity, row, record)


def save_person(draft: Draft, person: Person) -> None:
    """Rely on the row as read, and write it if it changed."""
    key = records.peer_key(person.identity)
    draft.rely(key, person.row)
    if person.changed:
        draft.write(key, records.write(person.record))


def device_of(person: Person, installation: str) -> records.PeerDevice | None:
    for device in person.record.devices:
        if device.installation == installation:
            return device
    return None


def ensure_device(person: Person, installation: str, *, hinted: bool = False) -> records.PeerDevice | None:
    """The device, made if there is room. A flood of new ones displaces none that is known; but one that is known from
    a code alone, which nobody signs, gives way to one that is known from more (not `hinted`)."""
    found = device_of(person, installation)
    if found is not None:
        return found
    if len(person.record.devices) >= DEVICES_PER_PEER:
        unproven = None if hinted else next(filter(is_hint, person.record.devices), None)
        if unproven is None:
            return None
        person.record.devices.remove(unproven)
    person.changed = True
    return person.record.devices.add(installation=installation)


def is_hint(device: records.PeerDevice) -> bool:
    """Nothing of its own has ever come, and nothing that is signed speaks of it."""
    own = device.offer_seq or device.adverts or device.sessions or device.bare or device.floor
    return not (device.proven or own)


def make_room(draft: Draft, person: Person, installation: str, setting: Setting, moment: Moment) -> Flow[None]:
    """For a device that is new: if the peer has as many as we keep, the one longest silent goes, if it is dormant."""
    if len(person.record.devices) < DEVICES_PER_PEER or device_of(person, installation) is not None:
        return
    oldest = min(person.record.devices, key=last_published)
    if last_published(oldest) >= (moment.now - DEVICE_DORMANT_MS) * NS_IN_MS:
        return
    for ref in oldest.sessions:
        yield from end_stored(draft, ref.id, setting, moment)
        repeat_after_end(draft, person, oldest, ref, moment)
    person.record.devices.remove(oldest)
    person.changed = True


def last_published(device: records.PeerDevice) -> int:
    """Nanoseconds; 0: never."""
    return max((advert.issued for advert in device.adverts), default=0)


def advert_of(device: records.PeerDevice, mechanism: str) -> records.PeerAdvert | None:
    for advert in device.adverts:
        if advert.mechanism == mechanism:
            return advert
    return None


def to_advert(identity: bytes, device: records.PeerDevice, stored: records.PeerAdvert) -> Advert:
    return Advert(
        Device(identity, device.installation),
        stored.public,
        stored.epoch,
        stored.issued,
        stored.expires,
        frozenset(stored.traits),
    )


def note_advert(
    draft: Draft, person: Person, mechanism: str, advert: Advert, moment: Moment, *, offered: bool = False
) -> None:
    """Keep it if it is the newest by (epoch, issued); older ones change nothing. A higher epoch outdates sessions. What
    is `offered` was issued with its offer, and the offer's number says which is its maker's last word: a key of a lower
    epoch is one made after a clock that was ahead, and nobody can begin with any other."""
    device = ensure_device(person, advert.device.installation)
    if device is None:
        return
    known = advert_of(device, mechanism)
    epoch, issued, expires = (min(number, LATEST) for number in (advert.epoch, advert.issued, advert.expires))
    if known is not None:
        new, old = (epoch, issued), (known.epoch, known.issued)
        if (new[::-1] <= old[::-1]) if offered else (new <= old):
            return
    if known is None:
        known = device.adverts.add(mechanism=mechanism)
        draft.events.append(OfferSeen(person.identity, advert.device.installation, mechanism))
    elif epoch > known.epoch:
        for ref in device.sessions:
            older = ref.mechanism == mechanism and ref.epoch < epoch and ref.state != State.OPENING
            if older and advance(person, ref, Cause.OUTDATED):
                ref.since = moment.now
                draft.write(records.rest_timer(moment.now + QUIET_MS, ref.id), b"")
    known.public = advert.public
    known.epoch = epoch
    known.issued = issued
    known.expires = expires
    known.traits[:] = sorted(advert.traits)
    person.changed = True


def targets(person: Person, setting: Setting) -> list[records.PeerDevice]:
    """At most TARGETS devices: the one that published last, then those that have spoken to us, then the others. So a
    new device is written to at once, and a flood of invented ones displaces none that is in use. Of our own only paired
    ones, never this one."""
    found = list(person.record.devices)
    if person.identity == setting.me.identity:
        found = [each for each in found if each.enabled and each.installation != setting.me.installation]
    if len(found) > 1:
        found = [each for each in found if not is_withdrawn(each)] or found
        found.sort(key=last_published, reverse=True)
    if len(found) > TARGETS:
        found[1:] = sorted(found[1:], key=has_spoken, reverse=True)
    return found[:TARGETS]


def is_withdrawn(device: records.PeerDevice) -> bool:
    """Its newest offer lists nothing: it is gone (negotiation 1.2), and nobody waits for it. Not so if another of their
    devices has seen a newer one, which somebody may keep back."""
    if device.offered or not device.offer or device.proven > device.offer_seq:
        return False
    return not read(device.offer, expected_identity=device.offer[1:34]).body.entries


def has_spoken(device: records.PeerDevice) -> bool:
    return any(not ref.ours or State(ref.state) is State.OPEN for ref in device.sessions)


def add_session(
    draft: Draft,
    person: Person,
    device: records.PeerDevice,
    exchange: KeyExchange,
    session: LiveSession,
    *,
    ours: bool,
    moment: Moment,
) -> Flow[records.SessionRef]:
    """Give a new session its place: state and rank. The oldest goes when there are too many of its mechanism.

    An opening that crossed one of ours shares its rank, so that the smaller id wins on both ends; any other opening
    supersedes.
    """
    mechanism = exchange.name
    same = [ref for ref in device.sessions if ref.mechanism == mechanism]
    crossing = None if ours else _crossed_by(same, session.session.id)
    rank = _rank_beside(same, crossing)
    begins = Cause.BEGIN if session.session.grade is None else Cause.BEGIN_READY
    cause = begins if ours else Cause.ACCEPT
    known = advert_of(device, mechanism)
    while len(same) >= SESSIONS_PER_DEVICE:
        oldest = min(same, key=lambda ref: (ref.rank, ref.id))
        displaced = yield from live(draft, oldest.id)
        if displaced is not None:
            end(draft, mechanism, displaced, moment)
        repeat_after_end(draft, person, device, oldest, moment)
        same.remove(oldest)
        device.sessions.remove(oldest)
    person.changed = True
    place = Device(person.identity, device.installation)
    draft.write(records.place_key(session.session.id), records.write_place(place))
    if crossing is not None:
        crossing.rank = rank
        crossing.crossed = session.session.id
    return device.sessions.add(
        mechanism=mechanism,
        id=session.session.id,
        epoch=known.epoch if known is not None else 0,
        rank=rank,
        state=transitions.after(State.NOTHING, cause),
        ours=ours,
        confirming=Confirming.SETTLED if ours else Confirming.EXPECTING,
        since=moment.now,
        crossed=crossing.id if crossing is not None else b"",
    )


def _crossed_by(same: list[records.SessionRef], opening: bytes) -> records.SessionRef | None:
    """Which of ours they had not heard of when they began this: one that is not answered yet, or was answered with the
    word that this is on its way."""
    told = next((ref for ref in same if ref.ours and ref.crossed == opening), None)
    if told is not None:
        return told
    top = _top(same)
    unheard = (State.OPENING, State.PROVISIONAL)
    return next((ref for ref in same if ref.ours and State(ref.state) in unheard and ref.rank == top), None)


def _rank_beside(same: list[records.SessionRef], crossing: records.SessionRef | None) -> int:
    """Above all others, unless what it crossed is below some: those came after both."""
    top = _top(same)
    if crossing is None:
        return top + 1
    shared = any(ref.rank == top for ref in same if ref.id != crossing.id)
    return top + 1 if shared and crossing.rank == top else crossing.rank


def _top(same: list[records.SessionRef]) -> int:
    return max((ref.rank for ref in same), default=0)


def learn_what_crossed(person: Person, device: records.PeerDevice, ref: records.SessionRef, told: bytes) -> None:
    """Their answer to what we began names the session that crossed it there: perhaps one that is still to come. If it
    is another than the one here, or none, they gave up what is here before ours came, and ours supersedes it."""
    if told == ref.crossed:
        return
    for other in device.sessions:
        if other.id == ref.crossed and other.crossed == ref.id:
            other.crossed = b""
            ref.rank = _top([each for each in device.sessions if each.mechanism == ref.mechanism]) + 1
    ref.crossed = told
    person.changed = True


def winner_over(device: records.PeerDevice, ref: records.SessionRef) -> records.SessionRef | None:
    """The session that won over this one: of two that crossed, the one with the smaller id, once we know that both ends
    have it. Not with a device that confirms nothing: it goes on in either, and nothing says that it has both."""
    if not ref.crossed or not device.offer_seq:
        return None
    twin = next((each for each in device.sessions if each.id == ref.crossed), None)
    if twin is None or twin.crossed != ref.id or ref.id < twin.id:
        return None
    decided = State(twin.state) is State.OPEN and twin.confirming == Confirming.SETTLED
    return twin if decided else None


def follow(person: Person, installation: str, ref: records.SessionRef, *, texts: bool) -> None:
    """We answer in the session in which the peer spoke last. Else each end could go on in one of its own for ever,
    where neither hears the answers that heal it. Of two that crossed not in the one that lost: there each end would
    follow the other back and forth; and as long as none has, only where `texts` come: both are answered, used is one.
    One that we outdated and the peer did not is displaced as late as our newest: perhaps nothing of ours arrives there,
    and the peer has no other."""
    device = device_of(person, installation)
    if device is None or len(device.sessions) == 1:
        return
    if State(ref.state) is State.STALE:
        top = max(each.rank for each in device.sessions if each.mechanism == ref.mechanism)
        if ref.rank != top:
            ref.rank = top
            person.changed = True
        return
    if State(ref.state) not in transitions.SEALS or winner_over(device, ref) is not None:
        return
    best = sealing_order(device, ref.mechanism)[0]
    if best.id != ref.id and (texts or best.id != ref.crossed or not device.offer_seq):
        ref.rank = best.rank + 1
        person.changed = True


def sealing_order(device: records.PeerDevice, mechanism: str) -> list[records.SessionRef]:
    """Sessions that may seal, best first: highest rank, then smallest id; last, those that lost to one of them."""
    usable = [ref for ref in device.sessions if ref.mechanism == mechanism and ref.state in transitions.SEALS]
    if len(usable) > 1:
        usable.sort(key=lambda ref: (winner_over(device, ref) is not None, -ref.rank, ref.id))
    return usable


def advance(person: Person, ref: records.SessionRef, cause: Cause) -> bool:
    """Move a session's state by the table; True if it moved."""
    state = transitions.after(State(ref.state), cause)
    if state == ref.state:
        return False
    ref.state = state
    person.changed = True
    return True


def awaken(draft: Draft, identity: bytes, moment: Moment) -> None:
    """Something changed with this peer: what waits for them is sealed, what was held of them is tried again."""
    draft.write(records.timer_key(moment.now, records.Timer.FLUSH, identity), b"")
    draft.write(records.timer_key(moment.now, records.Timer.RETRY_HELD, identity), b"")


def let_rest(draft: Draft, ref: records.SessionRef, moment: Moment) -> None:
    """It seals no more: it goes once nothing has come in it for long, and at the latest when its timer says."""
    draft.write(records.rest_timer(moment.now + QUIET_MS, ref.id, moment.now + RESTING_MS), b"")


def plan_repeat(
    draft: Draft, person: Person, device: records.PeerDevice, ref: records.SessionRef, moment: Moment
) -> None:
    """What was said in it, and the peer has not confirmed to hear, is sealed anew in the next."""
    whose = records.device_reference(person.identity, device.installation)
    draft.write(records.timer_key(moment.now, records.Timer.REQUEUE, whose + ref.id), b"")


def repeat_after_end(
    draft: Draft, person: Person, device: records.PeerDevice, ref: records.SessionRef, moment: Moment
) -> None:
    """The same for a session that has just ended without an answer: nothing of that is forgotten."""
    refused = State(ref.state) in (State.REFUSED, State.FROZEN)
    if ref.ours and (refused or ref.confirming == Confirming.ASKING):
        draft.remove(records.timer_key(moment.now, records.Timer.PURGE_UNCONFIRMED, ref.id))
        plan_repeat(draft, person, device, ref, moment)
