"""A person says that a device is gone: all that is known of it goes, and nothing waits for it any more."""

from __future__ import annotations

from kexkit import _records as records
from kexkit._engine.bare import cue_session
from kexkit._engine.drawer import end_stored
from kexkit._engine.peers import Person, awaken, device_of, load_person, repeat_after_end, save_person
from kexkit._engine.requests import Draft, Flow, Moment, Outcome, live, scan
from kexkit._engine.setting import Setting
from kexkit._engine.wrapping import TopicKeys
from kexkit.api import Close
from kexkit.errors import UnknownDevice, UnknownPeer

_OF_SESSIONS = frozenset({records.Timer.QUIET, records.Timer.CONFIRM})
"""timers that would find nothing. What was said in a session that was never confirmed is still said again, to others"""


def forget_device(peer: bytes, installation: str, setting: Setting, moment: Moment, keys: TopicKeys) -> Flow[Outcome]:
    """Its sessions end, with a goodbye where that can be said. Texts that waited for it alone wait for whoever comes;
    the next flush sees to that."""
    draft = Draft()
    person = yield from load_person(draft, peer)
    if person.is_new:
        raise UnknownPeer()
    device = device_of(person, installation)
    if device is None:
        raise UnknownDevice()
    proven = bool(device.offer_seq or device.proven)
    sessions = {ref.id: ref for ref in device.sessions}
    for session_id, ref in sorted(sessions.items()):
        if ref.mechanism in setting.by_name:
            yield from cue_session(draft, session_id, Close(), setting, moment, keys)
            if (yield from live(draft, session_id)) is None:
                continue
        yield from end_stored(draft, session_id, setting, moment)
        repeat_after_end(draft, person, device, ref, moment)
    person = yield from load_person(draft, peer)
    _remove(person, installation)
    save_person(draft, person)
    place = records.device_reference(peer, installation)
    for key, _ in (yield from scan("timer", limit=None)):
        _, kind, reference = records.split_timer(key[1])
        of_session = kind in _OF_SESSIONS and reference[:32] in sessions
        if of_session or (kind == records.Timer.ASIDE_EXPIRY and reference.startswith(place)):
            draft.remove(key)
    awaken(draft, peer, moment)
    return draft.outcome(proven)


def _remove(person: Person, installation: str) -> None:
    device = device_of(person, installation)
    if device is not None:
        person.record.devices.remove(device)
        person.record.bundle_digest = b""  # should the same come again, it says something new
        person.changed = True
