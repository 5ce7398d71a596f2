"""Confirmations: both ends tell each other, under the protection of the session itself, what they saw and chose.

Whoever began attaches theirs to every payload until it is answered; whoever answers does so until a payload comes
without one. So loss, copies and reordering need no rules of their own. What decides is in `_negotiation`; this module
keeps it in rows, and moves sessions by the table. Nothing is shown of a session whose choice was not accepted.
"""

from __future__ import annotations

from collections.abc import Sequence

from kexkit import _records as records
from kexkit._engine.judging import hear_as_responder, hear_without_answer
from kexkit._engine.negotiating import answered_digest, failed
from kexkit._engine.noting import note_offers
from kexkit._engine.peers import advance, learn_what_crossed, let_rest, plan_repeat
from kexkit._engine.requests import Draft, Flow, Moment, load_one
from kexkit._engine.setting import Setting
from kexkit._engine.settling import Heard, Talk, confirmed, freeze, let_the_other_go, trouble
from kexkit._negotiation import Confirming
from kexkit._transitions import Cause, State
from kexkit._wire import mvds
from kexkit._wire.confirms import CONFIRM, VERDICT, Ruling, Verdict, kind_of, read_confirm, read_verdict
from kexkit._wire.offers import bare_digest, offer_digest
from kexkit.api import Plain
from kexkit.errors import ConfirmationConflict, ConfirmationMismatch, ConfirmationMissing, Refusal


def hear(draft: Draft, talk: Talk, plains: Sequence[Plain], setting: Setting, moment: Moment) -> Flow[Heard]:
    """The payloads of one authentic frame."""
    heard = Heard([], [], "", [])
    if not setting.negotiates:
        if plains or State(talk.ref.state) is State.PROVISIONAL:
            confirmed(draft, talk, setting, moment)
        heard.texts.extend(plains)
        return heard
    for plain in plains:
        payload = mvds.unwrap(plain.body) if plain.body else None
        bodies = (plain.body,) if payload is None else payload.bodies
        confirm = payload.confirm if payload is not None else None
        asked = talk.ref.ours and talk.ref.confirming == Confirming.ASKING
        yield from _hear_confirm(draft, talk, confirm, heard, setting, moment)
        if talk.ref.crossed and confirm is None and setting.confirms:
            let_the_other_go(draft, talk, moment)
        elif payload is not None and confirm is not None and asked:
            learn_what_crossed(talk.person, talk.device, talk.ref, payload.crossed)
        texts = [Plain(body, plain.grade) for body in bodies]
        (heard.withheld if State(talk.ref.state) in (State.REFUSED, State.FROZEN) else heard.texts).extend(texts)
    return heard


def _hear_confirm(
    draft: Draft, talk: Talk, confirm: bytes | None, heard: Heard, setting: Setting, moment: Moment
) -> Flow[None]:
    if State(talk.ref.state) is State.FROZEN:
        heard.cause = str(ConfirmationConflict())
        return
    if not setting.confirms:
        yield from hear_without_answer(draft, talk, confirm, heard, setting, moment)
        return
    kind = kind_of(confirm) if confirm is not None else None
    if kind == (CONFIRM if talk.ref.ours else VERDICT):
        freeze(draft, talk, ConfirmationConflict("A confirmation came back to who made it."), heard, moment)
    elif talk.ref.ours:
        yield from _hear_as_initiator(draft, talk, confirm, heard, setting, moment)
    else:
        yield from hear_as_responder(draft, talk, confirm, heard, setting, moment)


def _hear_as_initiator(
    draft: Draft, talk: Talk, answer: bytes | None, heard: Heard, setting: Setting, moment: Moment
) -> Flow[None]:
    ref = talk.ref
    if answer is None:
        if ref.confirming != Confirming.ASKING:
            return
        bare = ref.offer == bare_digest(talk.person.identity, talk.device.installation)
        if not bare or talk.device.offer_seq:  # once it was seen to make offers it confirms, whatever we began with
            freeze(draft, talk, ConfirmationMissing(), heard, moment)
            return
        talk.device.bare = True  # nobody else can seal in this session, and a peer that confirms would have
        confirmed(draft, talk, setting, moment)
        return
    verdict = read_verdict(answer)
    if (verdict.session, verdict.record) != (ref.id, ref.record):
        freeze(draft, talk, ConfirmationMismatch(), heard, moment)
        return
    if ref.confirming == Confirming.ASKING:
        yield from _take_verdict(draft, talk, verdict, heard, setting, moment)
    elif (verdict.ruling is Ruling.ACCEPTED) is (State(ref.state) is State.REFUSED):
        freeze(draft, talk, ConfirmationConflict("A session was accepted, and refused."), heard, moment)


def _take_verdict(
    draft: Draft, talk: Talk, verdict: Verdict, heard: Heard, setting: Setting, moment: Moment
) -> Flow[None]:
    """Their answer, with what the network kept from us."""
    ref, device = talk.ref, talk.device
    try:
        note_offers(draft, talk.person, verdict.offers, setting, moment)
    except Refusal as refusal:
        heard.cause = str(refusal)
    if verdict.ruling is Ruling.ACCEPTED:
        row = yield from load_one(draft, records.confirm_key(ref.id))
        if row is not None:
            device.told = offer_digest(read_confirm(row.value).offer)
        confirmed(draft, talk, setting, moment)
        return
    advance(talk.person, ref, Cause.REFUSED)
    ref.confirming = Confirming.SETTLED
    draft.remove(records.confirm_key(ref.id))
    heard.cause = f"The peer refused the session: {verdict.ruling.name.lower().replace('_', ' ')}."
    draft.events.append(trouble(talk, verdict.ruling.name, heard.cause))
    if answered_digest(talk.person.identity, device) == ref.offer:  # nothing new to choose from: the same again, later
        failed(draft, device, talk.person.identity, moment)
    plan_repeat(draft, talk.person, device, ref, moment)
    let_rest(draft, ref, moment)
    talk.person.changed = True
