"""The end of a session that the other end may not know of yet: it hears on for a while, and what was said into it is
said again in another."""

from __future__ import annotations

from kexkit import _records as records
from kexkit._engine.peers import Person, advance, awaken, device_of, let_rest, load_person, save_person
from kexkit._engine.requests import Draft, Flow, Moment, load_one, scan
from kexkit._engine.setting import Setting
from kexkit._transitions import SEALS, Cause, State
from kexkit.limits import FLUSH_BATCH, QUIET_MS, RESTING_MS

Place = tuple[records.PeerDevice, records.SessionRef]
_CLOCK_BYTES = 8


def find(person: Person, session_id: bytes) -> Place | None:
    """Where a session stands, be it with a device that a person forgot."""
    for devices in (person.record.devices, person.record.forgotten):
        for device in devices:
            for ref in device.sessions:
                if ref.id == session_id:
                    return device, ref
    return None


def is_forgotten(person: Person, session_id: bytes) -> bool:
    """Its device is not known any more, or anew: it changes nothing about that one."""
    return any(ref.id == session_id for device in person.record.forgotten for ref in device.sessions)


def drop_place(draft: Draft, person: Person, device: records.PeerDevice, ref: records.SessionRef) -> None:
    """It is over. With its last session, the last that is known of a forgotten device goes."""
    draft.remove(records.rest_timer(ref.since + QUIET_MS, ref.id, ref.since + RESTING_MS))
    was_forgotten = is_forgotten(person, ref.id)
    device.sessions.remove(ref)
    person.changed = True
    if was_forgotten and not device.sessions:
        person.record.forgotten.remove(device)


def lay_to_rest(draft: Draft, person: Person, ref: records.SessionRef, moment: Moment) -> None:
    """A goodbye was said in it. What was under way is still heard, as in a session that another one replaced."""
    advance(person, ref, Cause.OUTDATED)
    ref.since = moment.now
    person.changed = True
    let_rest(draft, ref, moment)


def rest_after_goodbye(draft: Draft, session_id: bytes, moment: Moment) -> Flow[None]:
    """We have said it, and the session hears on."""
    row = yield from load_one(draft, records.place_key(session_id))
    if row is None:
        return
    person = yield from load_person(draft, records.read_place(row.value).identity)
    found = find(person, session_id)
    if found is not None:
        lay_to_rest(draft, person, found[1], moment)
        save_person(draft, person)


def ended_by_peer(
    draft: Draft, person: Person, device: records.PeerDevice, ref: records.SessionRef, moment: Moment
) -> None:
    """What we said in it since we last heard them may have come too late there."""
    if State(ref.state) in SEALS:
        whose = records.device_reference(person.identity, device.installation)
        ended = moment.now.to_bytes(_CLOCK_BYTES, "big")
        draft.write(records.timer_key(moment.now, records.Timer.SAY_AGAIN, whose + ended), b"")


def say_again(draft: Draft, reference: bytes, setting: Setting, moment: Moment) -> Flow[None]:
    """The texts of ours that a device may not have had before it ended its session, from the last one back to its own
    last: a page of them. Whoever has a text already knows its id."""
    identity, installation, rest = records.split_device_reference(reference)
    ended, stop = int.from_bytes(rest[:_CLOCK_BYTES], "big"), rest[_CLOCK_BYTES:]
    person = yield from load_person(draft, identity)
    device = device_of(person, installation)
    if device is None:
        return
    prefix = records.order_prefix(identity)
    rows = yield from scan("order", prefix, stop or records.prefix_end(prefix), limit=FLUSH_BATCH, reverse=True)
    oldest = ended - (RESTING_MS if device.offer_seq else QUIET_MS)
    for key, _ in rows:
        message_id = key[1][len(prefix) + _CLOCK_BYTES :]
        row = yield from load_one(draft, records.text_key(message_id))
        text = records.read_text(row.value) if row is not None else None
        if text is None or text.at > ended:  # it is of the time after
            continue
        if text.at < oldest or (text.author == identity and text.installation == installation):
            break
        if text.outgoing and text.installation == setting.me.installation:
            yield from wait_again(draft, person, installation, message_id, oldest)
    else:
        if len(rows) == FLUSH_BATCH:
            further = reference[: len(reference) - len(stop)] + rows[-1][0][1]
            draft.write(records.timer_key(moment.now + 1, records.Timer.SAY_AGAIN, further), b"")
    awaken(draft, identity, moment)


def wait_again(draft: Draft, person: Person, installation: str, message_id: bytes, newer_than: int) -> Flow[None]:
    """A text that was sealed for a device waits for it once more."""
    key = records.text_key(message_id)
    row = yield from load_one(draft, key)
    if row is None:
        return
    text = records.read_text(row.value)
    if text.at < newer_than:
        return
    waiting = records.waiting_key(person.identity, installation, text.clock, message_id)
    if (yield from load_one(draft, waiting)) is not None:
        return
    draft.rely(waiting, None)
    draft.write(waiting, b"")
    if text.peer == person.identity:
        text.pending += 1
        text.copies = max(text.copies - 1, 0)
        draft.rely(key, row)
        draft.write(key, records.write(text))
