"""What a person may decide about a negotiation that stands still."""

from __future__ import annotations

from kexkit._engine.negotiating import forgiven
from kexkit._engine.peers import awaken, load_person, save_person
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
    for device in person.record.devices:
        forgiven(device)
        if what is Consent.WEAKER:
            device.floor = 0
        elif what is Consent.STATIC:
            device.new_static = False
        elif what is Consent.BARE:
            device.bare = not device.offer_seq
    person.changed = True
    save_person(draft, person)
    awaken(draft, peer, moment)
    return draft.outcome(len(person.record.devices))
