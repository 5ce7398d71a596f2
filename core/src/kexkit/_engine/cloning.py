"""One end of a session exists twice, and its mechanism can tell. A person is told, once for each session."""

from __future__ import annotations

from kexkit import _records as records
from kexkit._engine.peers import load_person, save_person
from kexkit._engine.requests import Draft, Flow, load_one
from kexkit.errors import Cloned
from kexkit.events import CloneSuspected


def tell_of_clone(draft: Draft, sign: Cloned) -> Flow[None]:
    """Nothing becomes of the session by it: the frame is refused as any other, and a person decides what to do."""
    row = yield from load_one(draft, records.place_key(sign.session))
    if row is None:  # it stands with nobody yet, or is over
        return
    place = records.read_place(row.value)
    person = yield from load_person(draft, place.identity)
    for device in person.record.devices:
        for ref in device.sessions:
            if ref.id == sign.session and not ref.cloned:
                ref.cloned = True
                person.changed = True
                told = CloneSuspected(person.identity, device.installation, ref.mechanism, ref.id, sign.ours, str(sign))
                draft.events.append(told)
    save_person(draft, person)
