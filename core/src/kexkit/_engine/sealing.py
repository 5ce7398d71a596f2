"""The session layer, outgoing: which session seals for a device, or how one begins."""

from __future__ import annotations

from attrs import evolve

from kexkit import _records as records
from kexkit._engine.attaching import ask_again, ask_for_confirmation, attached, confirmation_alone
from kexkit._engine.drawer import Fetched, ask, guarded, take
from kexkit._engine.frames import Postponed, Sealed, flights, seal_in
from kexkit._engine.negotiating import answered_digest, begins, chosen, may_begin, offered_by, opening_to
from kexkit._engine.noting import recall_offer
from kexkit._engine.peers import Person, add_session, advert_of, sealing_order, targets, to_advert, winner_over
from kexkit._engine.requests import Draft, Flow, LiveSession, Moment, broken, live
from kexkit._engine.setting import Setting
from kexkit._engine.settling import Talk, give_up
from kexkit._engine.skipping import why
from kexkit._negotiation import Confirming
from kexkit._transitions import State
from kexkit._wire.offers import bare_digest, opening_bind
from kexkit.api import Device, Guarantee, KeyExchange, Opening
from kexkit.errors import KexkitError, LocalError, NegotiationFailed, NoOffer, OfferNotYetValid, Refusal, Unconfirmed
from kexkit.events import SessionOpened, Skip
from kexkit.limits import OVERDUE_MS, PROVISIONAL_MS, PROVISIONAL_TEXTS, QUIET_MS
from kexkit.policy import FirstFlight

UNDER_WAY = "the handshake is under way"
OVERDUE = "the session has something to do first"


def seal_for(
    draft: Draft,
    person: Person,
    body: bytes,
    setting: Setting,
    moment: Moment,
    *,
    only: str | None = None,
    message_id: bytes = b"",
) -> Flow[list[Sealed | Postponed]]:
    """Seal `body` for every target device of one person (or for the one named), or say why not."""
    devices = [device for device in targets(person, setting) if only is None or device.installation == only]
    if devices:
        sealed: list[Sealed | Postponed] = []
        for device in devices:
            sealed += yield from _seal_for_device(draft, person, device, body, message_id, setting, moment)
        return sealed
    if person.identity == setting.me.identity or only:
        return []
    return [(yield from seal_unknown(draft, person, body, setting, moment))]


def _seal_for_device(
    draft: Draft,
    person: Person,
    device: records.PeerDevice,
    body: bytes,
    message_id: bytes,
    setting: Setting,
    moment: Moment,
) -> Flow[list[Sealed | Postponed]]:
    recall_offer(draft, person, device, setting, moment)
    try:
        exchange = chosen(device, setting)
    except (LocalError, Refusal) as reason:
        return [_postponed(device, reason)]
    weak: Guarantee | None = None
    for ref in sealing_order(device, exchange.name):
        session = yield from live(draft, ref.id)
        grade = session.session.grade if session is not None else None
        if session is None or grade is None:
            continue  # worn out: another one begins
        if not setting.policy.permits(grade):
            weak = grade
            continue
        if session.session.due is not None and session.session.due + OVERDUE_MS <= moment.now:
            return [Postponed(device.installation, OVERDUE)]  # after a long sleep its peer may have forgotten it
        if State(ref.state) is State.PROVISIONAL and setting.confirms:
            return (yield from _in_provisional(draft, person, device, ref, session, body, message_id, setting, moment))
        talk = Talk(person, device, ref, exchange)
        return [(yield from _seal_text(draft, talk, session, body, message_id, setting, moment))]
    if weak is not None:
        return [Postponed(device.installation, _too_weak(weak, setting))]
    if any(ref.mechanism == exchange.name and State(ref.state) is State.OPENING for ref in device.sessions):
        return (yield from _meanwhile(draft, person, device, body, message_id, UNDER_WAY, setting, moment))
    return (yield from _begin_with(draft, person, device, exchange, body, message_id, setting, moment))


def _in_provisional(
    draft: Draft,
    person: Person,
    device: records.PeerDevice,
    ref: records.SessionRef,
    session: LiveSession,
    body: bytes,
    message_id: bytes,
    setting: Setting,
    moment: Moment,
) -> Flow[list[Sealed | Postponed]]:
    """The peer has not confirmed the choice yet. An open session of another mechanism goes on until they do: nothing
    is lost, and nothing hangs on the new one (negotiation 1.7)."""
    if device.offer_seq and moment.now - ref.since >= QUIET_MS:
        give_up(draft, Talk(person, device, ref, setting.by_name[ref.mechanism]), moment)
        return [_postponed(device, NegotiationFailed("A session was not answered for long; another one begins."))]
    problem = _unconfirmed(device, ref, setting, moment)
    if problem is not None:
        ask_again(draft, ref, moment)
    reason = problem if problem is not None else Unconfirmed()
    parts = yield from _meanwhile(draft, person, device, body, message_id, str(reason), setting, moment)
    if problem is not None or isinstance(parts[0], Sealed):
        return [_postponed(device, reason) if isinstance(part, Postponed) else part for part in parts]
    talk = Talk(person, device, ref, setting.by_name[ref.mechanism])
    return [(yield from _seal_text(draft, talk, session, body, message_id, setting, moment))]


def _postponed(device: records.PeerDevice, reason: KexkitError, *, beginning: bool = False) -> Postponed:
    skip = why(device, reason, beginning=beginning)
    return Postponed(device.installation, str(reason), type(reason).__name__, skip)


def _missing(parts: list[Sealed | Postponed]) -> list[Sealed | Postponed]:
    return [evolve(part, skip=Skip.MISSING) if isinstance(part, Postponed) else part for part in parts]


def _unconfirmed(
    device: records.PeerDevice, ref: records.SessionRef, setting: Setting, moment: Moment
) -> Unconfirmed | None:
    """What a session that the peer has not confirmed may carry is bounded, unless they never confirm anything."""
    if ref.confirming != Confirming.ASKING:
        return None
    if setting.policy.first_flight is FirstFlight.HOLD and not device.bare:
        return Unconfirmed("The policy sends nothing before the peer has confirmed the choice.")
    if not device.offer_seq:
        return None
    if ref.texts >= PROVISIONAL_TEXTS or moment.now - ref.since >= PROVISIONAL_MS:
        return Unconfirmed()
    return None


def _seal_text(
    draft: Draft,
    talk: Talk,
    session: LiveSession,
    body: bytes,
    message_id: bytes,
    setting: Setting,
    moment: Moment,
) -> Flow[Sealed]:
    ref = talk.ref
    heard = State(ref.state) is State.OPEN
    if ref.confirming != Confirming.SETTLED and setting.confirms:
        body = yield from attached(draft, talk, (body,), setting, moment, message_id)
    answers = b"" if heard or not ref.ours else ref.offer
    installation = talk.device.installation
    return seal_in(draft, talk.exchange, session, installation, body, moment, heard=heard, answers=answers)


def _meanwhile(
    draft: Draft,
    person: Person,
    device: records.PeerDevice,
    body: bytes,
    message_id: bytes,
    reason: str,
    setting: Setting,
    moment: Moment,
) -> Flow[list[Sealed | Postponed]]:
    """Over an older session that both still speak, while the one that replaces it is not there yet; else the text
    waits."""
    spoken = setting.allowed.intersection(offered_by(device, setting))
    older = [ref for ref in device.sessions if State(ref.state) is State.OPEN and ref.mechanism in spoken]
    for ref in sorted(older, key=lambda ref: (winner_over(device, ref) is not None, -ref.rank, ref.id)):
        session = yield from live(draft, ref.id)
        if session is not None and setting.policy.permits(session.session.grade):
            talk = Talk(person, device, ref, setting.by_name[ref.mechanism])
            return [(yield from _seal_text(draft, talk, session, body, message_id, setting, moment))]
    return [Postponed(device.installation, reason)]


def _begin_with(
    draft: Draft,
    person: Person,
    device: records.PeerDevice,
    exchange: KeyExchange,
    body: bytes,
    message_id: bytes,
    setting: Setting,
    moment: Moment,
) -> Flow[list[Sealed | Postponed]]:
    """No session over the chosen mechanism: one begins, if it may. An older one of another goes on meanwhile."""
    again = (draft, person, device, body, message_id)
    try:
        may_begin(device, exchange, setting, moment)
    except (LocalError, Refusal) as problem:
        if isinstance(problem, OfferNotYetValid):
            draft.write(records.timer_key(begins(device), records.Timer.FLUSH, person.identity), b"")
        parts = yield from _meanwhile(*again, str(problem), setting, moment)
        return [_postponed(device, problem, beginning=True) if isinstance(part, Postponed) else part for part in parts]
    stored = advert_of(device, exchange.name)
    if stored is None or stored.expires <= moment.now:
        return _missing((yield from _meanwhile(*again, "its keys are not known, or have expired", setting, moment)))
    advert = to_advert(person.identity, device, stored)
    digest = answered_digest(person.identity, device)
    opening = opening_to(exchange, advert, digest)
    fetched: Fetched = {}
    try:
        step = yield from ask(
            draft, exchange.name, lambda have: exchange.initiate(opening, have, ctx=moment.context), fetched
        )
    except NoOffer as refusal:
        return _missing((yield from _meanwhile(*again, str(refusal), setting, moment)))
    session = take(draft, exchange, None, step, fetched, moment)
    if session is None:
        raise broken(exchange.name, "initiate() made no session")
    ref = yield from add_session(draft, person, device, exchange, session, ours=True, moment=moment)
    ref.offer = digest
    leaving: list[Sealed | Postponed] = list(flights(device.installation, exchange, step, digest))
    talk = Talk(person, device, ref, exchange)
    if session.session.grade is None:
        return leaving + (yield from _meanwhile(*again, UNDER_WAY, setting, moment))
    return leaving + (yield from _first_text(draft, talk, session, body, message_id, setting, moment))


def _first_text(
    draft: Draft,
    talk: Talk,
    session: LiveSession,
    body: bytes,
    message_id: bytes,
    setting: Setting,
    moment: Moment,
) -> Flow[list[Sealed | Postponed]]:
    """The new session can seal at once: the text goes with the confirmation, or the confirmation alone, while texts go
    on over an older one."""
    device, ref = talk.device, talk.ref
    again = (draft, talk.person, device, body, message_id)
    grade = session.session.grade
    if grade is not None and not setting.policy.permits(grade):
        parts = yield from _meanwhile(*again, _too_weak(grade, setting), setting, moment)
        return (yield from _question(draft, talk, session, setting, moment)) + parts
    if not setting.confirms:
        if not setting.negotiates:
            draft.events.append(opened_event(talk.person, device.installation, session, ours=True))
        return [(yield from _seal_text(draft, talk, session, body, message_id, setting, moment))]
    yield from ask_for_confirmation(draft, talk, setting, moment)
    problem = _unconfirmed(device, ref, setting, moment)
    parts = yield from _meanwhile(*again, str(problem or UNDER_WAY), setting, moment)
    if problem is None and isinstance(parts[0], Postponed):
        return [(yield from _seal_text(draft, talk, session, body, message_id, setting, moment))]
    alone: list[Sealed | Postponed] = []
    if device.offer_seq:  # never to a device that seems to make no offers: it would show something empty
        alone.append((yield from confirmation_alone(draft, talk, session, setting, moment)))
        if isinstance(parts[0], Postponed):
            ask_again(draft, ref, moment)
    return alone + [_postponed(device, problem) if problem and isinstance(part, Postponed) else part for part in parts]


def _question(
    draft: Draft, talk: Talk, session: LiveSession, setting: Setting, moment: Moment
) -> Flow[list[Sealed | Postponed]]:
    """It may not carry texts before it has healed, and it heals by the answer, so something has to be asked. Only of
    who confirms: to others it would be something empty that they show."""
    if not setting.confirms:
        return []
    yield from ask_for_confirmation(draft, talk, setting, moment)
    if not talk.device.offer_seq:
        return []
    ask_again(draft, talk.ref, moment)
    return [(yield from confirmation_alone(draft, talk, session, setting, moment))]


def _too_weak(grade: Guarantee, setting: Setting) -> str:
    lacking = " and ".join((one.name or "").lower().replace("_", " ") for one in setting.policy.require & ~grade)
    return f"the session does not give {lacking} yet, which the policy demands"


def seal_unknown(
    draft: Draft, person: Person, body: bytes, setting: Setting, moment: Moment
) -> Flow[Sealed | Postponed]:
    """Nothing but the peer's key is known. Only a session that is never stored can help, and only if policy allows."""
    exchange = setting.slot
    reason = "none of the peer's devices is known yet"
    if exchange is None or not setting.policy.allows(exchange.name):
        return Postponed("", reason)
    nobody = Device(person.identity, "")
    opening = Opening(nobody, None, opening_bind(exchange.name, bare_digest(nobody.identity, "")))
    try:
        step = yield from ask(
            draft, exchange.name, lambda have: exchange.initiate(opening, have, ctx=moment.context), {}
        )
    except NoOffer:
        return Postponed("", reason)
    session = step.session
    if session is None or step.keep:
        raise broken(exchange.name, "a session without an advert keeps nothing")
    if not setting.policy.permits(session.grade):
        return Postponed("", f"{reason}, and the policy demands more than its identity key gives")
    sealing = guarded(exchange.name, lambda: session.seal(body, ctx=moment.context))
    if sealing.session is not None or len(sealing.frames) != 1:
        raise broken(exchange.name, "a session without an advert seals once")
    return Sealed("", exchange, sealing.frames[0])


def opened_event(person: Person, installation: str, session: LiveSession, *, ours: bool) -> SessionOpened:
    grade = session.session.grade
    assert grade is not None
    return SessionOpened(person.identity, installation, session.mechanism, session.session.id, ours, grade)
