"""The session layer, outgoing: which session seals for a device, or how one begins."""

from __future__ import annotations

from attrs import frozen

from kexkit import _records as records
from kexkit._engine.drawer import Fetched, ask, guarded, take
from kexkit._engine.peers import (
    Person,
    add_session,
    advert_of,
    sealing_order,
    targets,
    to_advert,
)
from kexkit._engine.requests import Draft, Flow, LiveSession, Moment, broken, live
from kexkit._engine.setting import Setting
from kexkit._transitions import State
from kexkit._wire.offers import bare_digest, opening_bind
from kexkit.api import Advert, Device, Guarantee, KeyExchange, Opening, Step, value
from kexkit.errors import MechanismMissing, NoCommonMechanism, NoOffer
from kexkit.events import SessionOpened


@value
class Sealed:
    """One frame for one device, not yet in an envelope."""

    installation: str
    """empty: whichever device the peer has"""
    exchange: KeyExchange
    frame: bytes
    to: str | None = None
    """the content topic of a BARE frame"""
    heard: bool = False
    """the device has answered in this session, so it has all that we published"""
    flight: bool = False
    """a handshake's own frame: it carries no text"""


@frozen
class Postponed:
    """No frame for this device now, and why."""

    installation: str
    reason: str


def mechanisms_of(device: records.PeerDevice) -> list[str]:
    """What the device advertises. A bare Status device advertises by its bundle; one that began, by beginning."""
    if device.offer_seq:
        return list(device.offered)
    return [advert.mechanism for advert in device.adverts] or [ref.mechanism for ref in device.sessions]


def choose(device: records.PeerDevice, setting: Setting) -> KeyExchange:
    """Of what the peer advertises, our first preference; else a refusal that names both sides."""
    if device.offer_seq < device.pin:
        raise NoCommonMechanism("Its contact code says that it has a newer offer, which has not come yet.")
    offered = mechanisms_of(device)
    for exchange in setting.exchanges:
        if exchange.name in offered and exchange.name in setting.allowed:
            return exchange
    here = ", ".join(exchange.name for exchange in setting.exchanges if exchange.name in setting.allowed) or "none"
    if offered and not any(name in setting.by_name for name in offered):
        raise MechanismMissing(
            f"The peer offers {', '.join(offered)}; allowed here: {here}.",
            advice="Install and enable a plugin for one of them.",
        )
    raise NoCommonMechanism(f"The peer offers {', '.join(offered) or 'nothing'}; allowed here: {here}.")


def bind_of(mechanism: str, responder: Device) -> bytes:
    """What both ends can compute of an opening to `responder`, whose key is its bundle or the mechanism's own."""
    return opening_bind(mechanism, bare_digest(responder.identity, responder.installation))


def seal_for(
    draft: Draft, person: Person, body: bytes, setting: Setting, moment: Moment, *, only: str | None = None
) -> Flow[list[Sealed | Postponed]]:
    """Seal `body` for every target device of one person (or for the one named), or say why not."""
    devices = [device for device in targets(person, setting) if only is None or device.installation == only]
    if devices:
        sealed: list[Sealed | Postponed] = []
        for device in devices:
            sealed += yield from _seal_for_device(draft, person, device, body, setting, moment)
        return sealed
    if person.identity == setting.me.identity or only:
        return []
    return [(yield from seal_unknown(draft, person, body, setting, moment))]


def _seal_for_device(
    draft: Draft, person: Person, device: records.PeerDevice, body: bytes, setting: Setting, moment: Moment
) -> Flow[list[Sealed | Postponed]]:
    try:
        exchange = choose(device, setting)
    except NoCommonMechanism as refusal:
        return [Postponed(device.installation, str(refusal))]
    weak: Guarantee | None = None
    for ref in sealing_order(device, exchange.name):
        session = yield from live(draft, ref.id)
        grade = session.session.grade if session is not None else None
        if session is None or grade is None:
            continue  # worn out: another one begins
        if setting.policy.permits(grade):
            heard = ref.state == State.OPEN
            return [seal_in(draft, exchange, session, device.installation, body, moment, heard=heard)]
        weak = grade
    if weak is not None:
        return [Postponed(device.installation, _too_weak(weak, setting))]
    if any(ref.mechanism == exchange.name and State(ref.state) is State.OPENING for ref in device.sessions):
        return [Postponed(device.installation, "the handshake is under way")]
    stored = advert_of(device, exchange.name)
    if stored is None or stored.expires <= moment.now:
        return [Postponed(device.installation, "its keys are not known, or have expired")]
    advert = to_advert(person.identity, device, stored)
    return (yield from _begin(draft, person, device, exchange, advert, body, setting, moment))


def seal_in(
    draft: Draft,
    exchange: KeyExchange,
    session: LiveSession,
    installation: str,
    body: bytes,
    moment: Moment,
    *,
    heard: bool = False,
) -> Sealed:
    step = guarded(exchange.name, session.session.seal, body, ctx=moment.context)
    if len(step.frames) != 1:
        raise broken(exchange.name, "seal() made no single frame")
    take(draft, exchange, session, step, {}, moment)
    return Sealed(installation, exchange, step.frames[0], step.to, heard)


def _begin(
    draft: Draft,
    person: Person,
    device: records.PeerDevice,
    exchange: KeyExchange,
    advert: Advert,
    body: bytes,
    setting: Setting,
    moment: Moment,
) -> Flow[list[Sealed | Postponed]]:
    """A session begins. Its first flights leave at once; the text only in a session that gives what policy demands."""
    opening = Opening(advert.device, advert, bind_of(exchange.name, advert.device))
    fetched: Fetched = {}
    try:
        step = yield from ask(
            draft, exchange.name, lambda have: exchange.initiate(opening, have, ctx=moment.context), fetched
        )
    except NoOffer as refusal:
        return [Postponed(device.installation, str(refusal))]
    session = take(draft, exchange, None, step, fetched, moment)
    if session is None:
        raise broken(exchange.name, "initiate() made no session")
    yield from add_session(draft, person, device, exchange, session, ours=True, moment=moment)
    leaving: list[Sealed | Postponed] = list(flights(device.installation, exchange, step))
    if not setting.policy.permits(session.session.grade):
        weak = session.session.grade
        reason = "the handshake is under way" if weak is None else _too_weak(weak, setting)
        return [*leaving, Postponed(device.installation, reason)]
    draft.events.append(opened_event(person, device.installation, session, ours=True))
    return [*leaving, seal_in(draft, exchange, session, device.installation, body, moment)]


def _too_weak(grade: Guarantee, setting: Setting) -> str:
    lacking = " and ".join((one.name or "").lower().replace("_", " ") for one in setting.policy.require & ~grade)
    return f"the session does not give {lacking} yet, which the policy demands"


def flights(installation: str, exchange: KeyExchange, step: Step) -> list[Sealed]:
    """The frames of a Step that is not a seal()'s: a handshake's, or an answer."""
    return [Sealed(installation, exchange, frame, step.to, flight=True) for frame in step.frames]


def seal_unknown(
    draft: Draft, person: Person, body: bytes, setting: Setting, moment: Moment
) -> Flow[Sealed | Postponed]:
    """Nothing but the peer's key is known. Only a session that is never stored can help, and only if policy allows."""
    exchange = setting.slot
    reason = "none of the peer's devices is known yet"
    if exchange is None or not setting.policy.allows(exchange.name):
        return Postponed("", reason)
    nobody = Device(person.identity, "")
    opening = Opening(nobody, None, bind_of(exchange.name, nobody))
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
