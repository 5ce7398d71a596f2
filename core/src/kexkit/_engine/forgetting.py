"""A person says that a device is gone: all that is known of it goes, and nothing waits for it any more."""

from __future__ import annotations

from kexkit import _records as records
from kexkit._engine.bare import cue_session
from kexkit._engine.drawer import end_stored
from kexkit._engine.offering import renew
from kexkit._engine.parting import rest_after_goodbye
from kexkit._engine.peers import Person, awaken, device_of, load_person, repeat_after_end, save_person
from kexkit._engine.requests import Draft, Flow, Moment, Outcome, live, scan
from kexkit._engine.setting import Setting
from kexkit._engine.wrapping import TopicKeys
from kexkit.api import Close
from kexkit.errors import UnknownDevice, UnknownPeer
from kexkit.limits import DEVICES_PER_PEER

_OF_SESSIONS = frozenset({records.Timer.QUIET, records.Timer.CONFIRM})
"""timers that would find nothing. What was said in a session that was never confirmed is still said again, to others"""


def forget_device(peer: bytes, installation: str, setting: Setting, moment: Moment, keys: TopicKeys) -> Flow[Outcome]:
    """Its sessions end, with a goodbye where that can be said; those that hear on for what is under way do so apart
    from all that is known. Texts that waited for it alone wait for whoever comes; the next flush sees to that."""
    draft = Draft()
    person = yield from load_person(draft, peer)
    if person.is_new:
        raise UnknownPeer()
    device = device_of(person, installation)
    if device is None:
        raise UnknownDevice()
    proven = bool(device.offer_seq or device.proven)
    sessions = {ref.id: ref for ref in device.sessions}
    resting = set[bytes]()
    for session_id, ref in sorted(sessions.items()):
        if ref.mechanism in setting.by_name:
            yield from say_goodbye(draft, session_id, setting, moment, keys)
            session = yield from live(draft, session_id)
            if session is None:
                continue
            if session.session.grade is None:
                resting.add(session_id)
                continue
        yield from end_stored(draft, session_id, setting, moment)
        repeat_after_end(draft, person, device, ref, moment)
    person = yield from load_person(draft, peer)
    _remove(person, installation, resting)
    yield from _make_room(draft, person, setting, moment)
    save_person(draft, person)
    if peer == setting.me.identity:
        yield from renew(draft, setting, moment, bundle=True)  # neither it nor our offer names that device any more
    place = records.device_reference(peer, installation)
    for key, _ in (yield from scan("timer", limit=None)):
        _, kind, reference = records.split_timer(key[1])
        of_session = kind in _OF_SESSIONS and reference[:32] in sessions
        if kind == records.Timer.QUIET and reference[:32] in resting:
            continue
        if of_session or (kind == records.Timer.ASIDE_EXPIRY and reference.startswith(place)):
            draft.remove(key)
    awaken(draft, peer, moment)
    return draft.outcome(proven)


def say_goodbye(draft: Draft, session_id: bytes, setting: Setting, moment: Moment, keys: TopicKeys) -> Flow[bool]:
    """End one session. What its plugin lets hear on does so for a bounded time. False: it was over already."""
    before = yield from live(draft, session_id)
    if not (yield from cue_session(draft, session_id, Close(), setting, moment, keys)):
        return False
    after = yield from live(draft, session_id)
    if after is not None and after is not before and after.session.grade is None:
        yield from rest_after_goodbye(draft, session_id, moment)
    return after is not before


def _make_room(draft: Draft, person: Person, setting: Setting, moment: Moment) -> Flow[None]:
    """The sessions that hear on longest go, when too many devices were forgotten in a short time."""
    while len(person.record.forgotten) > DEVICES_PER_PEER:
        for ref in person.record.forgotten[0].sessions:
            yield from end_stored(draft, ref.id, setting, moment)
        del person.record.forgotten[0]


def _remove(person: Person, installation: str, resting: set[bytes]) -> None:
    device = device_of(person, installation)
    if device is not None:
        kept = [ref for ref in device.sessions if ref.id in resting]
        if kept:
            person.record.forgotten.add(
                installation=installation,
                sessions=kept,
                offer_seq=device.offer_seq,  # by this and the next three, what comes in them is judged
                pin=device.pin,
                floor=device.floor,
                bare=device.bare,
            )
        person.record.devices.remove(device)
        person.record.bundle_digest = b""  # should the same come again, it says something new
        person.changed = True
