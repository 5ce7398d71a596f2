"""The session layer, incoming: whose session a frame is, and what it opens to.

Nothing here catches what a plugin refuses: a forged frame leaves this module as an exception, and the draft that it
would have changed is forgotten with it.
"""

from __future__ import annotations

from kexkit import _records as records
from kexkit._engine.drawer import Fetched, ask, take
from kexkit._engine.peers import Person, add_session, advance, advert_of, ensure_device, follow, to_advert
from kexkit._engine.requests import Draft, Flow, LiveSession, Moment, broken, live
from kexkit._engine.sealing import Sealed, bind_of, flights, opened_event
from kexkit._engine.setting import Setting
from kexkit._transitions import Cause, State
from kexkit.api import Device, Guarantee, KeyExchange, Opening, Plain, Step
from kexkit.errors import Limit, NotMine, PolicyRefused, Refusal


def open_frame(
    draft: Draft, person: Person, sender: Device, exchange: KeyExchange, frame: bytes, setting: Setting, moment: Moment
) -> Flow[tuple[tuple[Plain, ...], list[Sealed]]]:
    """Try the sender device's sessions of this mechanism, then accept. Plain texts, and frames to answer with."""
    device = next((one for one in person.record.devices if one.installation == sender.installation), None)
    refusal: Refusal | None = None
    for ref in sorted(device.sessions, key=lambda ref: -ref.rank) if device is not None else ():
        session = (yield from live(draft, ref.id)) if ref.mechanism == exchange.name else None
        if session is None:
            continue
        try:
            return (yield from receive_in(draft, person, ref, session, exchange, frame, moment))
        except NotMine:
            continue
        except Refusal as refused:  # another session may still own it: the header alone did not tell
            refusal = refused
    if refusal is not None:
        raise refusal
    return (yield from _accept(draft, person, sender, exchange, frame, setting, moment))


def receive_in(
    draft: Draft,
    person: Person,
    ref: records.SessionRef,
    session: LiveSession,
    exchange: KeyExchange,
    frame: bytes,
    moment: Moment,
) -> Flow[tuple[tuple[Plain, ...], list[Sealed]]]:
    fetched: Fetched = {}
    step: Step = yield from ask(
        draft, exchange.name, lambda have: session.session.receive(frame, have, ctx=moment.context), fetched
    )
    after = take(draft, exchange, session, step, fetched, moment)
    installation = _installation_of(person, ref)
    check_peer(exchange, after, Device(person.identity, installation))
    progress(draft, person, ref, installation, session, after, moment, heard=True)
    return step.plain, flights(installation, exchange, step)


def progress(
    draft: Draft,
    person: Person,
    ref: records.SessionRef,
    installation: str,
    before: LiveSession,
    after: LiveSession | None,
    moment: Moment,
    *,
    heard: bool,
) -> None:
    """A session has moved on: so may its state, by the table, and then what waits for it is looked at again."""
    if after is None:
        _forget(person, ref)
        awaken(draft, person.identity, moment)
        return
    risen = before.session.grade is None and after.session.grade is not None and State(ref.state) is State.OPENING
    if risen:
        advance(person, ref, Cause.READY)
        draft.events.append(opened_event(person, installation, after, ours=ref.ours))
    if (heard and advance(person, ref, Cause.HEARD)) or risen:
        awaken(draft, person.identity, moment)
    if heard:
        follow(person, installation, ref)


def _accept(
    draft: Draft, person: Person, sender: Device, exchange: KeyExchange, frame: bytes, setting: Setting, moment: Moment
) -> Flow[tuple[tuple[Plain, ...], list[Sealed]]]:
    device = next((one for one in person.record.devices if one.installation == sender.installation), None)
    stored = advert_of(device, exchange.name) if device is not None else None
    advert = to_advert(person.identity, device, stored) if device is not None and stored is not None else None
    opening = Opening(sender, advert, bind_of(exchange.name, setting.me))
    fetched: Fetched = {}
    step: Step = yield from ask(
        draft, exchange.name, lambda have: exchange.accept(frame, opening, have, ctx=moment.context), fetched
    )
    if step.session is None:
        return _loose(step, exchange, setting), []
    known = next((ref for ref in device.sessions if ref.id == step.session.id), None) if device is not None else None
    if known is not None:  # the opening came again: its session decides, not a second one
        session = yield from live(draft, known.id)
        if session is None:
            raise broken(exchange.name, "a session that core knows of has no row")
        return (yield from receive_in(draft, person, known, session, exchange, frame, moment))
    after = take(draft, exchange, None, step, fetched, moment)
    assert after is not None
    check_peer(exchange, after, sender)
    yield from place(draft, person, sender.installation, exchange, after, moment)
    return step.plain, flights(sender.installation, exchange, step)


def check_peer(exchange: KeyExchange, session: LiveSession | None, meant: Device) -> None:
    """A session speaks for the device among whose sessions it stands, or for none yet."""
    proven = session.session.peer if session is not None else None
    if proven is not None and proven != meant:
        raise broken(exchange.name, "a session proved another peer than the one it is with")


def place(
    draft: Draft, person: Person, installation: str, exchange: KeyExchange, session: LiveSession, moment: Moment
) -> Flow[None]:
    """A session that they began gets its place among those of the device."""
    device = ensure_device(person, installation)
    if device is None:
        raise Limit("The peer has too many devices; the new one is not heard.")
    yield from add_session(draft, person, device, exchange, session, ours=False, moment=moment)
    if session.session.grade is not None:
        draft.events.append(opened_event(person, installation, session, ours=False))
    awaken(draft, person.identity, moment)


def _loose(step: Step, exchange: KeyExchange, setting: Setting) -> tuple[Plain, ...]:
    """Texts without a session: they keep nothing and lower nothing, and come only if policy takes them."""
    if step.keep or step.drop or step.frames:
        raise broken(exchange.name, "a text without a session has effects")
    for plain in step.plain:
        if Guarantee.FORWARD_SECRECY in plain.grade:
            raise broken(exchange.name, "a text without a session claims forward secrecy")
        if plain.body and not setting.policy.hear_unprotected:
            raise PolicyRefused("A text without forward secrecy came, and the policy takes none.")
    return step.plain


def _installation_of(person: Person, ref: records.SessionRef) -> str:
    for device in person.record.devices:
        if any(one.id == ref.id for one in device.sessions):
            return device.installation
    return ""


def _forget(person: Person, ref: records.SessionRef) -> None:
    advance(person, ref, Cause.ENDED)
    for device in person.record.devices:
        for one in device.sessions:
            if one.id == ref.id:
                device.sessions.remove(one)
                person.changed = True
                return


def awaken(draft: Draft, identity: bytes, moment: Moment) -> None:
    """Something changed with this peer: what waits for them is sealed, what was held of them is tried again."""
    draft.write(records.timer_key(moment.now, records.Timer.FLUSH, identity), b"")
    draft.write(records.timer_key(moment.now, records.Timer.RETRY_HELD, identity), b"")
