"""Other devices of the same person: what we send goes to them as well, and our offers and bundles vouch for theirs."""

from __future__ import annotations

from kexkit import _records as records
from kexkit._engine.noting import note_bundles, note_offers
from kexkit._engine.offering import renew
from kexkit._engine.peers import device_of, load_person, save_person
from kexkit._engine.requests import Draft, Flow, Moment, Outcome, load_one
from kexkit._engine.setting import Setting
from kexkit._engine.wrapping import contact_code_channel
from kexkit._wire.offers import read
from kexkit.api import Device
from kexkit.contact import ContactCode
from kexkit.errors import InvalidInput


def pair(code: ContactCode, setting: Setting, moment: Moment) -> Flow[Outcome]:
    """Take the devices that a code of our own identity tells of for ours. The result: their installation ids.

    The identity's key has signed what the code says of them, so it proves as much as that key does.
    """
    me = setting.me
    if code.identity != me.identity:
        raise InvalidInput("This is another person's code.", advice="Add them as a contact.")
    draft = Draft()
    ourselves = yield from load_person(draft, me.identity)
    note_bundles(draft, ourselves, code.bundles, Device(me.identity, ""), setting, moment)
    note_offers(draft, ourselves, code.offers, setting, moment, usable=True)
    found = sorted(_told_of(code, setting, moment) - {me.installation})
    if not found:
        raise InvalidInput("This code tells of no other device.", advice="Take it from the other device.")
    for installation in found:
        device = device_of(ourselves, installation)
        if device is not None and not device.enabled:
            device.enabled = ourselves.changed = True
    save_person(draft, ourselves)
    yield from renew(draft, setting, moment, bundle=True)  # it lists them from now on, and our offer does
    draft.channels.append(contact_code_channel(me.identity))  # where they tell what they publish
    return draft.outcome(tuple(found))


def _told_of(code: ContactCode, setting: Setting, moment: Moment) -> set[str]:
    found = {read(offer, expected_identity=code.identity).body.installation for offer in code.offers}
    if setting.slot is not None:
        maker = Device(code.identity, "")
        for bundle in code.bundles:
            adverts = setting.slot.read_offer(bundle, maker=maker, ctx=moment.context)
            found |= {advert.device.installation for advert in adverts}
    return found


def has_paired(setting: Setting) -> Flow[bool]:
    """Is there another device of ours?"""
    row = yield from load_one(Draft(), records.peer_key(setting.me.identity))
    return row is not None and any(device.enabled for device in records.read_peer(row.value).devices)
