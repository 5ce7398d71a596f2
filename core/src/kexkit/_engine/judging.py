"""The responder's half: does the first payload of a session that they began make the choice that we make?"""

from __future__ import annotations

from kexkit import _records as records
from kexkit._engine.attaching import confirmation_alone
from kexkit._engine.negotiating import answered_offer, names_of
from kexkit._engine.noting import note_offers
from kexkit._engine.peers import advance, let_rest, load_person
from kexkit._engine.requests import Draft, Flow, Moment, live, load_one
from kexkit._engine.setting import Setting
from kexkit._engine.settling import Heard, Talk, confirmed, freeze, refuse, settle, trouble
from kexkit._negotiation import Claim, Confirming, Stand, judge, weaker
from kexkit._transitions import Cause, State
from kexkit._wire.confirms import Confirm, Ruling, Verdict, encode_verdict, read_confirm, record_digest
from kexkit._wire.offers import SignedOffer, bare_digest, check_signature, read
from kexkit.api import Guarantee
from kexkit.errors import (
    ConfirmationConflict,
    ConfirmationMismatch,
    DowngradeRefused,
    OfferRollback,
    PolicyRefused,
    Refusal,
)
from kexkit.events import ChoiceNarrowed, ReplacedUnknown
from kexkit.limits import ANSWER_AGAIN_MS, VERDICT_OFFERS
from kexkit.policy import Downgrade


def hear_as_responder(
    draft: Draft, talk: Talk, confirm: bytes | None, heard: Heard, setting: Setting, moment: Moment
) -> Flow[None]:
    ref = talk.ref
    if confirm is None:
        if ref.confirming == Confirming.EXPECTING:
            _hear_bare(draft, talk, heard, setting, moment)
        elif ref.confirming == Confirming.ANSWERING and State(ref.state) is not State.REFUSED:
            settle(draft, talk)  # they have our answer
        return
    if ref.confirming == Confirming.EXPECTING:
        yield from _judge(draft, talk, confirm, heard, setting, moment)
    elif record_digest(confirm) != ref.record:
        freeze(draft, talk, ConfirmationConflict(), heard, moment)
        return
    elif 0 <= moment.now - ref.since < ANSWER_AGAIN_MS:
        return
    yield from _answer(draft, talk, heard, setting, moment)


def _hear_bare(draft: Draft, talk: Talk, heard: Heard, setting: Setting, moment: Moment) -> None:
    """A first payload without a confirmation: who sent it makes no offers, or somebody poses as that."""
    device = talk.device
    others = any(each.offer_seq or each.pin for each in talk.person.record.devices)
    if device.offer_seq or device.pin or (others and not setting.policy.hear_new_bare):
        refuse(draft, talk, DowngradeRefused(), heard, moment)
        return
    if others:
        draft.events.append(trouble(talk, "DowngradeRefused", "A new device of theirs makes no offers."))
    if not _permitted(talk, setting):
        refuse(draft, talk, PolicyRefused("The policy does not allow this mechanism."), heard, moment)
        return
    device.bare = True
    confirmed(draft, talk, setting, moment)


def _permitted(talk: Talk, setting: Setting) -> bool:
    if talk.exchange.name not in setting.allowed:
        return False
    if talk.device.new_static and setting.policy.new_static is not Downgrade.ACCEPT:
        return False
    accepts = setting.policy.downgrade is Downgrade.ACCEPT
    return accepts or not weaker(talk.exchange.guarantees, Guarantee(talk.device.floor))


def hear_without_answer(
    draft: Draft, talk: Talk, confirm: bytes | None, heard: Heard, setting: Setting, moment: Moment
) -> Flow[None]:
    """We make no offers, so that nobody expects an answer: any text of ours tells them that we confirm nothing. What
    they confirm is judged all the same, as far as it goes; what is refused then cannot be told."""
    ref = talk.ref
    yield from ()
    if ref.ours:
        if confirm is None:
            confirmed(draft, talk, setting, moment)
        else:
            freeze(draft, talk, ConfirmationMismatch(), heard, moment)
    elif ref.confirming != Confirming.EXPECTING:
        if confirm is not None and record_digest(confirm) != ref.record:
            freeze(draft, talk, ConfirmationConflict(), heard, moment)
        elif confirm is None and ref.confirming == Confirming.ANSWERING:
            settle(draft, talk)  # a text of ours has come there
    elif confirm is None:
        _hear_bare(draft, talk, heard, setting, moment)
    else:
        _judge_silently(draft, talk, confirm, heard, setting, moment)


def _judge_silently(draft: Draft, talk: Talk, raw: bytes, heard: Heard, setting: Setting, moment: Moment) -> None:
    """Do they take us for what we are: a device without offers?"""
    confirm = read_confirm(raw)
    if not _is_ours(talk, confirm, setting):
        freeze(draft, talk, ConfirmationMismatch(), heard, moment)
        return
    _note_replaced(draft, talk, confirm)
    ruling = _rule_on_offer(draft, talk, confirm, heard, setting, moment)
    if ruling is Ruling.ACCEPTED:
        _note_mask(draft, talk, confirm)
        bare = bare_digest(setting.me.identity, setting.me.installation)
        stand = Stand(talk.ref.mechanism, setting.offered, bare, frozenset({bare}), _permitted(talk, setting))
        ruling = judge(_claim(confirm), stand)
    if ruling is Ruling.ACCEPTED:
        confirmed(draft, talk, setting, moment)
        talk.ref.confirming = Confirming.ANSWERING  # until we know that they take us for one who confirms nothing
    else:
        problem = PolicyRefused(heard.cause or "Its choice is not ours, and we make no offers.")
        refuse(draft, talk, problem, heard, moment)
    talk.ref.record = record_digest(raw)
    talk.person.changed = True


def _is_ours(talk: Talk, confirm: Confirm, setting: Setting) -> bool:
    """It is of this session, and of these two devices."""
    ref, device, person = talk.ref, talk.device, talk.person
    parties = (ref.id, person.identity, device.installation, setting.me.identity, setting.me.installation)
    return parties == (
        confirm.session,
        confirm.initiator,
        confirm.initiator_installation,
        confirm.responder,
        confirm.responder_installation,
    )


def _judge(draft: Draft, talk: Talk, raw: bytes, heard: Heard, setting: Setting, moment: Moment) -> Flow[None]:
    """Their first payload: do we make the same choice, from what we offer now?"""
    ref, device, person = talk.ref, talk.device, talk.person
    confirm = read_confirm(raw)
    if not _is_ours(talk, confirm, setting):
        freeze(draft, talk, ConfirmationMismatch(), heard, moment)
        return
    answered, current = yield from answered_offer(draft, confirm.offer_digest, setting)
    assert current is not None
    bare = bare_digest(setting.me.identity, setting.me.installation)
    issued = {bare, current.digest} | ({answered.digest} if answered is not None else set())
    _note_replaced(draft, talk, confirm)
    ruling = _rule_on_offer(draft, talk, confirm, heard, setting, moment)
    if ruling is Ruling.ACCEPTED:
        _note_mask(draft, talk, confirm)
        stand = Stand(ref.mechanism, names_of(current), current.digest, frozenset(issued), _permitted(talk, setting))
        ruling = judge(_claim(confirm), stand)
    offers = yield from _unseen(draft, confirm, current, setting)
    verdict = Verdict(ref.id, record_digest(raw), ruling, current.body.seq, current.digest, offers)
    draft.write(records.confirm_key(ref.id), encode_verdict(verdict))
    ref.record = verdict.record
    device.told = current.digest if confirm.offer_digest == current.digest else b""
    if ruling is Ruling.ACCEPTED:
        confirmed(draft, talk, setting, moment)
    else:
        advance(person, ref, Cause.REFUSED)
        heard.cause = heard.cause or f"Its choice was refused: {ruling.name.lower().replace('_', ' ')}."
        draft.events.append(trouble(talk, ruling.name, heard.cause))
        let_rest(draft, ref, moment)
    ref.confirming = Confirming.ANSWERING
    person.changed = True


def _claim(confirm: Confirm) -> Claim:
    return Claim(confirm.mechanism, _masked(confirm, confirm.mask), confirm.offer_digest)


def _masked(confirm: Confirm, mask: int) -> tuple[str, ...]:
    names = names_of(read(confirm.offer, expected_identity=confirm.initiator))
    return tuple(name for place, name in enumerate(names) if mask >> place & 1)


def _note_replaced(draft: Draft, talk: Talk, confirm: Confirm) -> None:
    if confirm.previous is not None and all(ref.id != confirm.previous for ref in talk.device.sessions):
        place = (talk.person.identity, talk.device.installation, talk.ref.mechanism)
        draft.events.append(ReplacedUnknown(*place, talk.ref.id, confirm.previous))


def _note_mask(draft: Draft, talk: Talk, confirm: Confirm) -> None:
    """A choice from fewer names looks like policy, and is accepted; without a newer offer it is told (negotiation
    1.7)."""
    device = talk.device
    seq = read(confirm.offer, expected_identity=confirm.initiator).body.seq
    gone = _masked(confirm, device.mask & ~confirm.mask) if seq == device.mask_seq else ()
    if gone:
        draft.events.append(ChoiceNarrowed(talk.person.identity, device.installation, gone))
    device.mask_seq, device.mask = seq, confirm.mask


def _rule_on_offer(
    draft: Draft, talk: Talk, confirm: Confirm, heard: Heard, setting: Setting, moment: Moment
) -> Ruling:
    """The one copy of their offer that nobody on the way can strip."""
    person, device = talk.person, talk.device
    try:
        offer = read(confirm.offer, expected_identity=person.identity)
        check_signature(offer)
    except Refusal as refusal:
        heard.cause = str(refusal)
        return Ruling.YOUR_OFFER
    if offer.body.seq < max(device.offer_seq, device.pin):
        heard.cause = str(OfferRollback())
        return Ruling.ROLLBACK
    try:
        note_offers(draft, person, (confirm.offer,), setting, moment)
    except Refusal as refusal:
        heard.cause = str(refusal)
        return Ruling.YOUR_OFFER
    if device.conflict:
        return Ruling.YOUR_OFFER
    return Ruling.ACCEPTED


def _unseen(draft: Draft, confirm: Confirm, current: SignedOffer, setting: Setting) -> Flow[tuple[bytes, ...]]:
    """Offers of ours that are newer than what they have seen: this device's, and those of paired ones."""
    seen = {view.installation: view.seq for view in confirm.views}
    offers = [current.received] if confirm.offer_digest != current.digest else []
    ourselves = yield from load_person(draft, setting.me.identity)
    for each in ourselves.record.devices:
        if each.enabled and each.offer and each.offer_seq > seen.get(each.installation, 0):
            offers.append(each.offer)
    return tuple(offers[:VERDICT_OFFERS])


def _answer(draft: Draft, talk: Talk, heard: Heard, setting: Setting, moment: Moment) -> Flow[None]:
    """At once, so that they need not wait for a text of ours."""
    if talk.ref.confirming != Confirming.ANSWERING:
        row = yield from load_one(draft, records.confirm_key(talk.ref.id))
        if row is None:
            return
        talk.ref.confirming = Confirming.ANSWERING
    session = yield from live(draft, talk.ref.id)
    if session is None or session.session.grade is None:
        return
    talk.ref.since = moment.now
    talk.person.changed = True
    heard.answers.append((yield from confirmation_alone(draft, talk, session, setting, moment)))
