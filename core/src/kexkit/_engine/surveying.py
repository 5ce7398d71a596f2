"""What may be told of a person's devices: over what texts to them leave now, and which are left out."""

from __future__ import annotations

from attrs import frozen

from kexkit import _records as records
from kexkit import _transitions as transitions
from kexkit._engine.negotiating import chosen, is_held_by_a_code, may_begin, offered_by
from kexkit._engine.peers import Person, advert_of, is_withdrawn, load_person, sealing_order, targets
from kexkit._engine.requests import Draft, Flow, Moment
from kexkit._engine.sealing import UNDER_WAY
from kexkit._engine.setting import Setting
from kexkit._engine.skipping import BEYOND, why
from kexkit._negotiation import FLOOR
from kexkit._transitions import State
from kexkit.errors import LocalError, Refusal, UnknownPeer
from kexkit.events import Skip


@frozen
class KnownDevice:
    """A device of a person, as it is known here."""

    installation: str
    mechanisms: tuple[str, ...]
    """what it offers, best first"""
    in_use: str
    """the mechanism over which texts to it leave now; empty: none yet, or none any more"""
    skipped: Skip | None
    """why texts leave it out, or wait where there is no other"""
    reason: str
    """in words; without `skipped`: what texts to it wait for"""
    signed: bool
    """an offer signed with the person's key says that it makes offers. It is never taken for one that makes none,
    whatever the network holds back"""
    by_code: bool
    """a contact code says so, or more of it than is signed: `Consent.CODE` lifts that"""
    seen: bool
    """something that it published has come, or a session with it stands"""
    withdrawn: bool
    """it says itself that it is gone"""


def devices_of(peer: bytes, setting: Setting, moment: Moment) -> Flow[tuple[KnownDevice, ...]]:
    person = yield from load_person(Draft(), peer)
    if person.is_new:
        raise UnknownPeer()
    meant = {device.installation for device in targets(person, setting)}
    return tuple(_known(device, device.installation in meant, setting, moment) for device in person.record.devices)


def _known(device: records.PeerDevice, meant: bool, setting: Setting, moment: Moment) -> KnownDevice:
    gone = is_withdrawn(device)
    in_use = speaking(device, setting) if meant else ""
    skip, reason = (None, "") if in_use or gone else _left_out(device, meant, setting, moment)
    adverts = tuple(advert.mechanism for advert in device.adverts)
    return KnownDevice(
        device.installation,
        tuple(device.offered) if device.offer_seq else adverts,
        in_use,
        skip,
        reason,
        signed=bool(device.offer_seq or device.proven),
        by_code=is_held_by_a_code(device),
        seen=bool(device.offer_seq or device.adverts or device.sessions),
        withdrawn=gone,
    )


def _left_out(device: records.PeerDevice, meant: bool, setting: Setting, moment: Moment) -> tuple[Skip | None, str]:
    if not meant:
        return Skip.NOT_NEWEST, BEYOND
    try:
        exchange = chosen(device, setting)
    except (LocalError, Refusal) as problem:
        return why(device, problem), str(problem)
    if any(ref.mechanism == exchange.name and State(ref.state) is State.OPENING for ref in device.sessions):
        return None, UNDER_WAY
    try:
        may_begin(device, exchange, setting, moment)
    except (LocalError, Refusal) as problem:
        return why(device, problem, beginning=True), str(problem)
    advert = advert_of(device, exchange.name)
    if not device.sessions and (advert is None or advert.expires <= moment.now):
        return Skip.MISSING, "its keys are not known, or have expired"
    return None, ""


def speaking(device: records.PeerDevice, setting: Setting) -> str:
    """The mechanism of the session in which the next text to this device leaves, as far as rows tell; or nothing."""
    try:
        name = chosen(device, setting).name
    except (LocalError, Refusal):
        return ""
    best = sealing_order(device, name)
    if best and State(best[0].state) is State.OPEN:
        return name
    spoken = setting.allowed.intersection(offered_by(device, setting))
    older = [ref for ref in device.sessions if State(ref.state) is State.OPEN and ref.mechanism in spoken]
    if older:
        return max(older, key=lambda ref: ref.rank).mechanism
    return name if best and best[0].state in transitions.SEALS else ""


def in_use(record: records.Peer, identity: bytes, setting: Setting) -> tuple[str, ...]:
    """Over what texts to this person leave now, the weakest first: it is what a chat is worth."""
    meant = targets(Person(identity, None, record), setting)
    spoken = {speaking(device, setting) for device in meant} - {""}

    def gives(name: str) -> tuple[int, int]:
        return (setting.by_name[name].guarantees & FLOOR).value.bit_count(), -setting.offered.index(name)

    return tuple(sorted(spoken, key=gives))
