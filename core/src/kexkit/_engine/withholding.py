"""Texts of a session whose choice was refused: kept, neither shown nor acknowledged, until the same text comes over one
that was accepted, or a person asks for them."""

from __future__ import annotations

from kexkit import _records as records
from kexkit._engine.chatting import take_texts
from kexkit._engine.peers import Person, load_person, save_person
from kexkit._engine.requests import Draft, Flow, Moment, load, load_one, scan
from kexkit._engine.setting import Setting
from kexkit._engine.settling import Heard
from kexkit._wire import application
from kexkit.api import Device, Guarantee, Key, Plain
from kexkit.limits import HELD_MS, WITHHELD_PER_PEER


def take_heard(
    draft: Draft, person: Person, came: Heard, sender: Device, setting: Setting, moment: Moment
) -> Flow[int]:
    """Show what may be shown, keep back what may not. How many texts there were."""
    for plain in came.withheld:
        cause = came.cause or "It came over a session that had been refused."
        yield from _withhold(draft, person, plain, cause, sender, moment)
    if person.record.withheld:
        for plain in came.texts:
            yield from _forget(draft, person, _key(person, plain.body))
    shown = yield from take_texts(draft, tuple(came.texts), sender, setting, moment)
    return shown + len(came.withheld)


def _key(person: Person, body: bytes) -> Key:
    return records.withheld_key(person.identity, application.message_id(person.identity, body))


def _withhold(draft: Draft, person: Person, plain: Plain, cause: str, sender: Device, moment: Moment) -> Flow[None]:
    if not plain.body or person.record.withheld >= WITHHELD_PER_PEER:
        return
    key = _key(person, plain.body)
    if (yield from load(draft, key, records.text_key(key[1][records.IDENTITY_BYTES :]))):
        return  # it is kept already, or came over an accepted session before
    kept = records.Withheld(
        body=plain.body, installation=sender.installation, grade=plain.grade.value, cause=cause, at=moment.now
    )
    draft.rely(key, None)
    draft.write(key, records.write(kept))
    draft.write(records.timer_key(moment.now + HELD_MS, records.Timer.WITHHELD_EXPIRY, key[1]), b"")
    person.record.withheld += 1
    person.changed = True


def _forget(draft: Draft, person: Person, key: Key) -> Flow[None]:
    if (yield from load_one(draft, key)) is None:
        return
    draft.remove(key)
    person.record.withheld = max(person.record.withheld - 1, 0)
    person.changed = True


def expire_withheld(draft: Draft, withheld_id: bytes) -> Flow[None]:
    """Nobody asked for it, and it did not come again."""
    person = yield from load_person(draft, withheld_id[: records.IDENTITY_BYTES])
    yield from _forget(draft, person, ("withheld", withheld_id))
    person.changed = person.changed and not person.is_new
    save_person(draft, person)


def release(draft: Draft, identity: bytes, setting: Setting, moment: Moment) -> Flow[int]:
    """A person wants to see what was kept back, whatever the cause was. How many texts."""
    rows = yield from scan("withheld", identity, records.prefix_end(identity), limit=WITHHELD_PER_PEER)
    person = yield from load_person(draft, identity)
    texts = 0
    for key, row in rows:
        kept = records.read_withheld(row.value)
        yield from _forget(draft, person, key)
        plain = Plain(kept.body, Guarantee(kept.grade))
        texts += yield from take_texts(draft, (plain,), Device(identity, kept.installation), setting, moment)
    save_person(draft, person)
    return texts
