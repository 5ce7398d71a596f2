"""The session layer, incoming: whose session a frame is, and what it opens to.

Nothing here catches what a plugin refuses: a forged frame leaves this module as an exception, and the draft that it
would have changed is forgotten with it.
"""

from __future__ import annotations

from kexkit import _records as records
from kexkit._engine.attaching import ask_again, ask_for_confirmation, confirmation_alone
from kexkit._engine.confirming import hear
from kexkit._engine.drawer import Fetched, ask, take
from kexkit._engine.frames import Sealed, flights
from kexkit._engine.negotiating import answered_offer, failed, names_of
from kexkit._engine.parting import drop_place, ended_by_peer, is_forgotten, lay_to_rest
from kexkit._engine.peers import (
    Person,
    add_session,
    advance,
    advert_of,
    awaken,
    ensure_device,
    follow,
    plan_repeat,
    repeat_after_end,
    to_advert,
)
from kexkit._engine.requests import Draft, Flow, LiveSession, Moment, broken, live
from kexkit._engine.sealing import opened_event
from kexkit._engine.setting import Setting
from kexkit._engine.settling import Heard, Talk
from kexkit._negotiation import Confirming
from kexkit._transitions import Cause, State
from kexkit._wire import mvds
from kexkit._wire.offers import bare_digest, opening_bind
from kexkit.api import Device, Guarantee, KeyExchange, Opening, Plain, Step
from kexkit.errors import Cloned, Limit, MechanismMissing, NotMine, PolicyRefused, Refusal


def open_frame(
    draft: Draft,
    person: Person,
    sender: Device,
    exchange: KeyExchange,
    frame: bytes,
    setting: Setting,
    moment: Moment,
    *,
    answers: bytes = b"",
) -> Flow[Heard]:
    """Try the sender device's sessions of this mechanism, then accept. `answers`: D of the offer of ours that the frame
    says it answers, where it says so."""
    device = next((one for one in person.record.devices if one.installation == sender.installation), None)
    refusal: Refusal | None = None
    places = [(device, ref) for ref in sorted(device.sessions, key=lambda ref: -ref.rank)] if device is not None else []
    if person.record.forgotten:
        places += [(each, ref) for each in person.record.forgotten for ref in each.sessions if _is_of(each, sender)]
    for place_of, ref in places:
        session = (yield from live(draft, ref.id)) if ref.mechanism == exchange.name else None
        if session is None:
            continue
        talk = Talk(person, place_of, ref, exchange)
        try:
            return (yield from _receive_in(draft, talk, session, frame, setting, moment))
        except NotMine:
            continue
        except Refusal as refused:  # another session may still own it: the header alone did not tell
            refusal = refusal if isinstance(refusal, Cloned) else refused
    if refusal is not None:
        raise refusal
    return (yield from _accept(draft, person, sender, exchange, frame, answers, setting, moment))


def _is_of(device: records.PeerDevice, sender: Device) -> bool:
    return device.installation == sender.installation


def _receive_in(
    draft: Draft, talk: Talk, session: LiveSession, frame: bytes, setting: Setting, moment: Moment
) -> Flow[Heard]:
    exchange = talk.exchange
    fetched: Fetched = {}
    step: Step = yield from ask(
        draft, exchange.name, lambda have: session.session.receive(frame, have, ctx=moment.context), fetched
    )
    after = take(draft, exchange, session, step, fetched, moment)
    check_peer(exchange, after, Device(talk.person.identity, talk.device.installation))
    return (yield from progress(draft, talk, session, after, step, setting, moment, heard=True))


def progress(
    draft: Draft,
    talk: Talk,
    before: LiveSession,
    after: LiveSession | None,
    step: Step,
    setting: Setting,
    moment: Moment,
    *,
    heard: bool,
) -> Flow[Heard]:
    """A session has moved on: so may its state, by the table, and then what waits for it is looked at again."""
    person, device, ref = talk.person, talk.device, talk.ref
    state = State(ref.state)
    came = yield from hear(draft, talk, step.plain, setting, moment)
    came.answers[:0] = flights(device.installation, talk.exchange, step)
    if after is None:
        if heard:
            ended_by_peer(draft, person, device, ref, moment)
        repeat_after_end(draft, person, device, ref, moment)
        advance(person, ref, Cause.ENDED)
        if ref.ours and state is State.OPENING and setting.negotiates:
            failed(draft, device, person.identity, moment)
        drop_place(draft, person, device, ref)
        awaken(draft, person.identity, moment)
        return came
    if before.session.grade is None and after.session.grade is not None and ref.ours and state is State.OPENING:
        came.answers += yield from _ready(draft, talk, after, setting, moment)
    if before.session.grade is not None and after.session.grade is None:
        _worn_out(draft, talk, moment)
        if heard:  # they have ended it, and what that overtook may still come
            ended_by_peer(draft, person, device, ref, moment)
            lay_to_rest(draft, person, ref, moment)
    if ref.state != state:
        awaken(draft, person.identity, moment)
    if heard:
        _notice(talk, moment)
        if not person.record.forgotten or not is_forgotten(person, ref.id):
            follow(person, device.installation, ref, texts=bool(came.texts))
    return came


def _worn_out(draft: Draft, talk: Talk, moment: Moment) -> None:
    """It seals no more, so another begins. If they never answered, perhaps they never had it: what was said in it is
    said again, and whoever has it already knows its id."""
    if talk.ref.ours and talk.ref.confirming == Confirming.ASKING:
        plan_repeat(draft, talk.person, talk.device, talk.ref, moment)
    awaken(draft, talk.person.identity, moment)


def _ready(draft: Draft, talk: Talk, session: LiveSession, setting: Setting, moment: Moment) -> Flow[list[Sealed]]:
    """The handshake that we began is complete: say at once what we chose, whether or not a text waits."""
    advance(talk.person, talk.ref, Cause.READY)
    awaken(draft, talk.person.identity, moment)
    if not setting.confirms:
        if not setting.negotiates:
            draft.events.append(opened_event(talk.person, talk.device.installation, session, ours=True))
        return []
    yield from ask_for_confirmation(draft, talk, setting, moment)
    return [(yield from confirmation_alone(draft, talk, session, setting, moment))]


def _notice(talk: Talk, moment: Moment) -> None:
    """What another session replaced goes once it was quiet for long."""
    if State(talk.ref.state) is State.STALE:
        talk.ref.since = moment.now
        talk.person.changed = True


def _accept(
    draft: Draft,
    person: Person,
    sender: Device,
    exchange: KeyExchange,
    frame: bytes,
    answers: bytes,
    setting: Setting,
    moment: Moment,
) -> Flow[Heard]:
    device = next((one for one in person.record.devices if one.installation == sender.installation), None)
    stored = advert_of(device, exchange.name) if device is not None else None
    advert = to_advert(person.identity, device, stored) if device is not None and stored is not None else None
    if setting.negotiates and not setting.confirms and exchange is not setting.slot:
        raise MechanismMissing(f"A message came over {exchange.name}, which a device without offers does not speak.")
    if answers and Guarantee.BINDS in exchange.guarantees and (yield from _outdated(draft, answers, setting)):
        return Heard([], [], "", [], hint=True)
    digest = answers or bare_digest(setting.me.identity, setting.me.installation)
    opening = Opening(sender, advert, opening_bind(exchange.name, digest))
    fetched: Fetched = {}
    step: Step = yield from ask(
        draft, exchange.name, lambda have: exchange.accept(frame, opening, have, ctx=moment.context), fetched
    )
    allowed = setting.policy.allows(exchange.name)  # sessions that there are, are heard until others replace them
    if step.session is None and allowed:
        return Heard(_loose(step, exchange, setting), [], "", [])
    known = _known(device, step)
    session = (yield from live(draft, known.id)) if known is not None else None
    if known is not None and session is not None and device is not None:  # the opening came again
        return (yield from _receive_in(draft, Talk(person, device, known, exchange), session, frame, setting, moment))
    if not allowed:
        _check_told(step, exchange, setting)
    after = take(draft, exchange, None, step, fetched, moment)
    assert after is not None
    check_peer(exchange, after, sender)
    return (yield from place(draft, person, sender.installation, exchange, after, step, setting, moment))


def _known(device: records.PeerDevice | None, step: Step) -> records.SessionRef | None:
    sessions = device.sessions if device is not None and step.session is not None else ()
    return next((ref for ref in sessions if step.session is not None and ref.id == step.session.id), None)


def _check_told(step: Step, exchange: KeyExchange, setting: Setting) -> None:
    """An opening that policy forbids is refused within its session, by its first payload: so they are told, and choose
    again by our offer. Who confirms nothing cannot be told, and is held until the policy is another."""
    payloads = [mvds.unwrap(plain.body) for plain in step.plain if plain.body]
    confirms = any(payload is not None and payload.confirm is not None for payload in payloads)
    if step.session is None or not confirms or not setting.confirms:
        raise MechanismMissing(f"A message came over {exchange.name}, which is not enabled here.")


def _outdated(draft: Draft, answers: bytes, setting: Setting) -> Flow[bool]:
    """It answers an offer that we no longer make: what binds that offer never carries a text on a stale choice."""
    if answers == bare_digest(setting.me.identity, setting.me.installation):
        return False  # they saw none; what they chose is judged in their first payload
    answered, current = yield from answered_offer(draft, answers, setting)
    return answered is None or current is None or names_of(answered) != names_of(current)


def check_peer(exchange: KeyExchange, session: LiveSession | None, meant: Device) -> None:
    """A session speaks for the device among whose sessions it stands, or for none yet."""
    proven = session.session.peer if session is not None else None
    if proven is not None and proven != meant:
        raise broken(exchange.name, "a session proved another peer than the one it is with")


def place(
    draft: Draft,
    person: Person,
    installation: str,
    exchange: KeyExchange,
    session: LiveSession,
    step: Step,
    setting: Setting,
    moment: Moment,
) -> Flow[Heard]:
    """A session that they began gets its place among those of the device; its first payload decides about it."""
    device = ensure_device(person, installation)
    if device is None:
        raise Limit("The peer has too many devices; the new one is not heard.")
    ref = yield from add_session(draft, person, device, exchange, session, ours=False, moment=moment)
    _ask_for_what_it_crossed(draft, device, ref, moment)
    talk = Talk(person, device, ref, exchange)
    came = yield from hear(draft, talk, step.plain, setting, moment)
    came.answers[:0] = flights(installation, exchange, step)
    if session.session.grade is not None and not setting.negotiates:
        draft.events.append(opened_event(person, installation, session, ours=False))
    awaken(draft, person.identity, moment)
    return came


def _ask_for_what_it_crossed(draft: Draft, device: records.PeerDevice, ref: records.SessionRef, moment: Moment) -> None:
    """Of two that crossed the smaller id wins if both arrive. Ours may have been lost, or its answer, and texts that go
    on in theirs would not show it."""
    ours = next((each for each in device.sessions if each.id == ref.crossed), None)
    if ours is not None and ours.id < ref.id and ours.confirming == Confirming.ASKING:
        ask_again(draft, ours, moment)


def _loose(step: Step, exchange: KeyExchange, setting: Setting) -> list[Plain]:
    """Texts without a session: they keep nothing and lower nothing, and come only if policy takes them."""
    if step.keep or step.drop or step.frames:
        raise broken(exchange.name, "a text without a session has effects")
    texts = []
    for plain in step.plain:
        if Guarantee.FORWARD_SECRECY in plain.grade:
            raise broken(exchange.name, "a text without a session claims forward secrecy")
        if plain.body and not setting.policy.hear_unprotected:
            raise PolicyRefused("A text without forward secrecy came, and the policy takes none.")
        payload = mvds.unwrap(plain.body) if plain.body and setting.negotiates else None
        bodies = (plain.body,) if payload is None else payload.bodies
        texts += [Plain(body, plain.grade) for body in bodies]
    return texts
