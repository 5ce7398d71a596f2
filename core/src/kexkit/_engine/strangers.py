"""People whom nobody has added: whether they are heard, and how many of them are kept."""

from __future__ import annotations

from kexkit import _records as records
from kexkit._engine.peers import Person
from kexkit._engine.requests import Draft, Flow, Moment, scan
from kexkit._engine.setting import Setting
from kexkit._engine.wrapping import TopicKeys
from kexkit.errors import Limit, PolicyRefused
from kexkit.events import PeerMet
from kexkit.limits import STRANGERS


def check_heard(person: Person, setting: Setting) -> None:
    """Raise PolicyRefused for somebody whom the policy does not hear."""
    ours = person.identity == setting.me.identity
    if not person.record.contact and not ours and not setting.policy.hear_strangers:
        raise PolicyRefused("Somebody wrote who is no contact, and the policy hears contacts alone.")


def admit(draft: Draft, person: Person, setting: Setting, moment: Moment, keys: TopicKeys) -> Flow[None]:
    """Somebody new has said something that we could read: from now on there is a row for them."""
    if person.identity == setting.me.identity:
        return
    known = yield from scan("stranger", limit=STRANGERS)
    if len(known) >= STRANGERS:
        raise Limit("A stranger wrote, and as many are known as are kept.")
    draft.write(records.stranger_key(person.identity), b"")
    draft.events.append(PeerMet(person.identity))
    draft.channels.append(keys.negotiated(person.identity, moment))
