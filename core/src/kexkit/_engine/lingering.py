"""What a negotiation leaves to be done later: ask again, say again, forget."""

from __future__ import annotations

from kexkit import _records as records
from kexkit._engine.attaching import ask_again, confirmation_alone
from kexkit._engine.drawer import end_stored
from kexkit._engine.parting import drop_place, find, wait_again
from kexkit._engine.peers import Person, awaken, device_of, load_person, plan_repeat, repeat_after_end, save_person
from kexkit._engine.requests import Draft, Flow, Moment, live, load_one, scan
from kexkit._engine.setting import Setting
from kexkit._engine.settling import Talk, give_up
from kexkit._engine.wrapping import TopicKeys, envelopes_to, queue
from kexkit._negotiation import Confirming
from kexkit._transitions import State
from kexkit.api import Carriage, Key, Versioned
from kexkit.limits import (
    CONFIRM_AGAIN_MS,
    FLUSH_BATCH,
    OVERDUE_MS,
    PROVISIONAL_MS,
    PURGE_BATCH,
    QUIET_MS,
    RESTING_MS,
)

RESTING = frozenset({State.STALE, State.REFUSED, State.FROZEN})
"""states in which a session only hears, if that"""


def _placed(draft: Draft, session_id: bytes) -> Flow[tuple[Person, records.PeerDevice, records.SessionRef] | None]:
    """A session, where it stands."""
    row = yield from load_one(draft, records.place_key(session_id))
    if row is None:
        return None
    place = records.read_place(row.value)
    person = yield from load_person(draft, place.identity)
    found = find(person, session_id)
    return (person, *found) if found is not None else None


def confirm_again(draft: Draft, session_id: bytes, setting: Setting, moment: Moment, keys: TopicKeys) -> Flow[None]:
    """They have not answered, and no text of ours has repeated the question. Not to a device that seems to make no
    offers: it would show something empty."""
    found = yield from _placed(draft, session_id)
    if found is None:
        return
    person, device, ref = found
    exchange = setting.by_name.get(ref.mechanism)
    session = yield from live(draft, session_id)
    waits = ref.confirming == Confirming.ASKING and State(ref.state) is State.PROVISIONAL and device.offer_seq
    last = min(ref.asked or ref.since, moment.now)
    patience = max(CONFIRM_AGAIN_MS, last - ref.since)
    if waits and last + patience > moment.now:  # another text has asked meanwhile: twice as long each time
        draft.write(records.timer_key(last + patience, records.Timer.CONFIRM, session_id), b"")
        return
    if exchange is None or session is None or session.session.grade is None or not waits:
        return
    talk = Talk(person, device, ref, exchange)
    if ref.crossed and ref.texts:  # perhaps they were lost with the opening, and an answer to this would hide it
        plan_repeat(draft, person, device, ref, moment)
        ref.texts = 0
    alone = yield from confirmation_alone(draft, talk, session, setting, moment)
    for envelope in (yield from envelopes_to(draft, person, [alone], setting, moment, keys)):
        queue(draft, envelope, moment)
    ref.asked = moment.now
    person.changed = True
    by_itself = exchange.carriage is Carriage.BARE or ref.crossed  # no text repeats it
    fresh = by_itself and moment.now - ref.since < PROVISIONAL_MS
    if fresh or (yield from _somebody_waits(person)):  # whoever drops one question shall not silence us for good
        ask_again(draft, ref, moment)
    save_person(draft, person)


def _somebody_waits(person: Person) -> Flow[bool]:
    prefix = records.waiting_prefix(person.identity)
    return bool((yield from scan("waiting", prefix, records.prefix_end(prefix), limit=1)))


def end_if_quiet(draft: Draft, reference: bytes, setting: Setting, moment: Moment, *, due: int) -> Flow[None]:
    """What was replaced or refused goes once nothing has come in it for long, and in the end whatever comes."""
    session_id, until, was_put_off = records.split_rest(reference)
    found = yield from _placed(draft, session_id)
    if found is None:
        return
    person, device, ref = found
    ref.since = min(ref.since, moment.now)
    if ref.ahead <= moment.now:  # it was no clock ahead of its time: ours was behind, or time has caught up
        ref.since = max(ref.since, ref.ahead)
    was = ref.state
    _say_again_if_unanswered(draft, person, device, ref, setting, moment)
    if State(was) not in RESTING:
        return
    again, until = _rest(ref, until, moment)
    if again > moment.now:
        draft.write(records.rest_timer(again, session_id, until), b"")
        return
    if due + OVERDUE_MS < moment.now and not was_put_off:  # we slept: what came in it meanwhile is read first
        draft.write(records.rest_timer(moment.now + OVERDUE_MS, session_id, until, put_off=True), b"")
        return
    yield from end_stored(draft, session_id, setting, moment)
    repeat_after_end(draft, person, device, ref, moment)
    drop_place(draft, person, device, ref)
    save_person(draft, person)


def _say_again_if_unanswered(
    draft: Draft,
    person: Person,
    device: records.PeerDevice,
    ref: records.SessionRef,
    setting: Setting,
    moment: Moment,
) -> None:
    """Whoever makes offers confirms. What was said in a session that they did not answer is said again in another, and
    what waits until that one heals waits for another, too."""
    asks = ref.ours and ref.confirming == Confirming.ASKING
    if not asks or not device.offer_seq or ref.since + QUIET_MS > moment.now:
        return
    exchange = setting.by_name.get(ref.mechanism)
    if State(ref.state) is State.PROVISIONAL and exchange is not None:
        give_up(draft, Talk(person, device, ref, exchange), moment)
        save_person(draft, person)
    elif State(ref.state) is State.STALE and ref.texts:
        plan_repeat(draft, person, device, ref, moment)


def _rest(ref: records.SessionRef, until: int, moment: Moment) -> tuple[int, int]:
    """When it goes as things are, and when in any case. What only a newer key of the peer outdated may be all that they
    have, so it stays while they speak in it, and then as long as what they said may be on its way."""
    if until == 0:
        return ref.since + RESTING_MS, 0
    until = min(until, moment.now + RESTING_MS)
    if ref.ahead and ref.ahead <= moment.now:
        until = max(until, ref.ahead + RESTING_MS)
    return min(ref.since + QUIET_MS, until), until


def _unconfirmed(draft: Draft, session_id: bytes, batch: int) -> Flow[list[tuple[Key, Versioned]]]:
    return (yield from scan("unconfirmed", session_id, records.prefix_end(session_id), limit=batch))


def purge_unconfirmed(draft: Draft, session_id: bytes, moment: Moment) -> Flow[None]:
    """The peer confirmed the session in which these texts left: they need not be said again."""
    rows = yield from _unconfirmed(draft, session_id, PURGE_BATCH)
    for key, _ in rows:
        draft.remove(key)
    if len(rows) == PURGE_BATCH:
        draft.write(records.timer_key(moment.now + 1, records.Timer.PURGE_UNCONFIRMED, session_id), b"")


def requeue(draft: Draft, reference: bytes, moment: Moment) -> Flow[None]:
    """The session was refused, or has ended: what was said in it is said again in the next, the same bytes under other
    keys."""
    identity, installation, session_id = records.split_device_reference(reference)
    person = yield from load_person(draft, identity)
    if person.is_new:
        yield from purge_unconfirmed(draft, session_id, moment)
        return
    if (yield from _say_again(draft, person, installation, session_id, moment)) == FLUSH_BATCH:
        draft.write(records.timer_key(moment.now + 1, records.Timer.REQUEUE, reference), b"")
    awaken(draft, identity, moment)


def _say_again(draft: Draft, person: Person, installation: str, session_id: bytes, moment: Moment) -> Flow[int]:
    """What was said in this session waits for another: a page of it. How many texts. A device that makes no offers may
    read all and answer nothing; it gets again what is new, and not everything for ever."""
    newer_than = moment.now - QUIET_MS if _may_have_it_all(device_of(person, installation), session_id) else 0
    rows = yield from _unconfirmed(draft, session_id, FLUSH_BATCH)
    for key, _ in rows:
        draft.remove(key)
        yield from wait_again(draft, person, installation, key[1][len(session_id) :], newer_than)
    return len(rows)


def _may_have_it_all(device: records.PeerDevice | None, session_id: bytes) -> bool:
    if device is None or device.offer_seq:
        return False
    refused = (State.REFUSED, State.FROZEN)
    return not any(ref.id == session_id and State(ref.state) in refused for ref in device.sessions)
