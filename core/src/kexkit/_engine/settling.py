"""What becomes of a session whose choice was confirmed, refused or contradicted."""

from __future__ import annotations

from attrs import define

from kexkit import _records as records
from kexkit._engine.frames import Sealed
from kexkit._engine.negotiating import chosen, failed, forgiven
from kexkit._engine.peers import Person, advance, awaken, let_rest, plan_repeat, save_person, winner_over
from kexkit._engine.requests import Draft, Flow, Moment, scan
from kexkit._engine.setting import Setting
from kexkit._negotiation import Confirming, raised, weaker
from kexkit._transitions import SEALS, Cause, State
from kexkit.api import Guarantee, KeyExchange, Plain, value
from kexkit.errors import DowngradeNeedsConsent, KexkitError, NoCommonMechanism, Refusal
from kexkit.events import NegotiationTrouble, SessionOpened
from kexkit.limits import QUIET_MS


@define
class Heard:
    """What a session's payloads come to: texts to show, texts to keep back and why, frames to answer with."""

    texts: list[Plain]
    withheld: list[Plain]
    cause: str
    answers: list[Sealed]
    hint: bool = False
    """the frame answers an offer that we no longer make: they should have the present one"""


@value
class Talk:
    """One session in work: whose, over what."""

    person: Person
    device: records.PeerDevice
    ref: records.SessionRef
    exchange: KeyExchange


def confirmed(draft: Draft, talk: Talk, setting: Setting, moment: Moment) -> None:
    """Both made the same choice. What it gives is the least that this device gets from now on."""
    ref, device, person = talk.ref, talk.device, talk.person
    if State(ref.state) in (State.OPEN, State.STALE) and ref.confirming == Confirming.SETTLED:
        return
    advance(person, ref, Cause.CONFIRMED)
    person.changed = True
    if ref.ours:
        settle(draft, talk)
        draft.remove(records.rest_timer(ref.since + QUIET_MS, ref.id))  # they have answered
        if ref.texts:
            draft.write(records.timer_key(moment.now, records.Timer.PURGE_UNCONFIRMED, ref.id), b"")
    ref.texts = 0
    ref.confirming = Confirming.SETTLED
    if not setting.negotiates:
        return
    if weaker(talk.exchange.guarantees, Guarantee(device.floor)):
        told = "It gives less than a session with this device gave before, and the policy accepts that."
        draft.events.append(trouble(talk, DowngradeNeedsConsent.__name__, told))
    device.floor = raised(Guarantee(device.floor), talk.exchange.guarantees).value
    forgiven(device)
    draft.events.append(
        SessionOpened(person.identity, device.installation, ref.mechanism, ref.id, ref.ours, talk.exchange.guarantees)
    )
    if State(ref.state) is State.OPEN:
        _make_it_the_only_choice(draft, talk, setting, moment)
    awaken(draft, person.identity, moment)


def _make_it_the_only_choice(draft: Draft, talk: Talk, setting: Setting, moment: Moment) -> None:
    """Sessions of other mechanisms hear from now on, and no more. What was said in one that was never answered is said
    again: perhaps it was refused, and whoever has it already knows its id. An answer that comes after another choice
    was made changes nothing: then it is this session that only hears."""
    others = [one for one in talk.device.sessions if one.mechanism != talk.ref.mechanism]
    if talk.ref.ours and any(one.mechanism == _choice(talk.device, setting) for one in _open(others)):
        _outdate(draft, talk, talk.ref, moment)
        return
    for other in _open(others):
        _outdate(draft, talk, other, moment)
    for other in others:
        if other.confirming == Confirming.ASKING and other.texts:
            plan_repeat(draft, talk.person, talk.device, other, moment)


def _open(sessions: list[records.SessionRef]) -> list[records.SessionRef]:
    return [one for one in sessions if State(one.state) is State.OPEN]


def _choice(device: records.PeerDevice, setting: Setting) -> str:
    try:
        return chosen(device, setting).name
    except NoCommonMechanism:
        return ""


def _outdate(draft: Draft, talk: Talk, ref: records.SessionRef, moment: Moment) -> None:
    advance(talk.person, ref, Cause.OUTDATED)
    ref.since = moment.now
    let_rest(draft, ref, moment)


def let_the_other_go(draft: Draft, talk: Talk, moment: Moment) -> None:
    """They spoke in this session without a confirmation, so they know that we have it, and we that they do. If it won
    over one that crossed it, that one only hears from now on. What was said there without an answer is said again."""
    device = talk.device
    loser = next((each for each in device.sessions if each.id == talk.ref.crossed), None)
    if loser is None or winner_over(device, loser) is None:
        return
    theirs_alone = State(loser.state) is State.OPENING and not loser.ours  # they ask no more about it
    if not theirs_alone and State(loser.state) not in SEALS:
        return
    _outdate(draft, talk, loser, moment)
    if loser.confirming == Confirming.ASKING and loser.texts:
        plan_repeat(draft, talk.person, device, loser, moment)


def settle(draft: Draft, talk: Talk) -> None:
    talk.ref.confirming = Confirming.SETTLED
    talk.person.changed = True
    draft.remove(records.confirm_key(talk.ref.id))


def refuse(draft: Draft, talk: Talk, error: KexkitError, heard: Heard, moment: Moment) -> None:
    advance(talk.person, talk.ref, Cause.REFUSED)
    talk.ref.confirming = Confirming.SETTLED
    talk.person.changed = True
    heard.cause = str(error)
    draft.events.append(trouble(talk, type(error).__name__, heard.cause))
    let_rest(draft, talk.ref, moment)


def freeze(draft: Draft, talk: Talk, error: Refusal, heard: Heard, moment: Moment) -> None:
    """Two ends that believe in different things: no more of it. What we said in it is said again in another."""
    advance(talk.person, talk.ref, Cause.CONTRADICTED)
    if talk.ref.ours and talk.ref.confirming == Confirming.ASKING:
        failed(draft, talk.device, talk.person.identity, moment)
        plan_repeat(draft, talk.person, talk.device, talk.ref, moment)
    talk.ref.confirming = Confirming.SETTLED
    draft.remove(records.confirm_key(talk.ref.id))
    let_rest(draft, talk.ref, moment)
    talk.person.changed = True
    heard.cause = str(error)
    draft.events.append(trouble(talk, type(error).__name__, heard.cause))


def trouble(talk: Talk, cause: str, reason: str) -> NegotiationTrouble:
    return NegotiationTrouble(talk.person.identity, talk.device.installation, talk.ref.mechanism, cause, reason)


def break_silence(draft: Draft, moment: Moment) -> Flow[None]:
    """We make offers from now on. Who has seen one refuses texts without confirmations in a session of which it does
    not know yet that nothing is confirmed there; so such sessions only hear, and others begin."""
    for key, row in (yield from scan("peer", limit=None)):
        person = Person(key[1], row, records.read_peer(row.value))
        for ref in (ref for device in person.record.devices for ref in device.sessions):
            if ref.confirming == Confirming.ANSWERING or (ref.ours and State(ref.state) is State.PROVISIONAL):
                advance(person, ref, Cause.OUTDATED)
                ref.confirming = Confirming.SETTLED
                ref.since = moment.now
                person.changed = True
                let_rest(draft, ref, moment)
        if person.changed:
            save_person(draft, person)


def give_up(draft: Draft, talk: Talk, moment: Moment) -> None:
    """They were silent for as long as old sessions are kept, and may not be able to read its beginning any more. What
    was said in it is said again in the next; should they answer after all, they are heard."""
    advance(talk.person, talk.ref, Cause.OUTDATED)
    talk.ref.since = moment.now
    talk.person.changed = True
    failed(draft, talk.device, talk.person.identity, moment)
    plan_repeat(draft, talk.person, talk.device, talk.ref, moment)
    let_rest(draft, talk.ref, moment)
