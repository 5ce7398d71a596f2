"""What a person may decide about a negotiation that stands still."""

from __future__ import annotations

from kexkit._engine.negotiating import forgiven, is_held_by_a_code
from kexkit._engine.peers import awaken, is_hint, load_person, save_person
from kexkit._engine.requests import Draft, Flow, Moment, Outcome
from kexkit._engine.setting import Setting
from kexkit._engine.withholding import release
from kexkit.errors import PolicyRefused, UnknownPeer
from kexkit.policy import Consent, Downgrade


def consent(peer: bytes, what: Consent, setting: Setting, moment: Moment) -> Flow[Outcome]:
    draft = Draft()
    if what is Consent.RELEASE:
        return draft.outcome((yield from release(draft, peer, setting, moment)))
    if what is Consent.WEAKER and setting.policy.downgrade is Downgrade.REFUSE:
        raise PolicyRefused("The policy takes nothing that gives less than before.")
    person = yield from load_person(draft, peer)
    if person.is_new:
        raise UnknownPeer()
    about = [device for device in person.record.devices if what is not Consent.CODE or is_held_by_a_code(device)]
    for device in about:
        forgiven(device)
        if what is Consent.WEAKER:
            device.floor = 0
        elif what is Consent.STATIC:
            device.new_static = False
        elif what is Consent.BARE:
            device.bare = not (device.offer_seq or device.pin)
        elif what is Consent.CODE and is_hint(device):
            person.record.devices.remove(device)
        elif what is Consent.CODE:
            device.pin = device.proven
    person.changed = True
    save_person(draft, person)
    awaken(draft, peer, moment)
    return draft.outcome(len(about))
