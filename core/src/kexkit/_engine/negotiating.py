"""The initiator's half of a negotiation: which mechanism, over which session, and whether to begin one now."""

from __future__ import annotations

from attrs import evolve

from kexkit import _records as records
from kexkit._engine.requests import Draft, Flow, Moment, load_one
from kexkit._engine.setting import Setting
from kexkit._negotiation import choose, weaker
from kexkit._wire import topics
from kexkit._wire.offers import SignedOffer, bare_digest, check_window, hello_tag, opening_bind, read
from kexkit.api import Advert, Carriage, Guarantee, Hear, KeyExchange, Opening
from kexkit.errors import (
    DowngradeNeedsConsent,
    MechanismMissing,
    NegotiationFailed,
    NoCommonMechanism,
    OfferEquivocation,
    OfferMissing,
    StaticChanged,
    Unconfirmed,
)
from kexkit.limits import ATTEMPT_AGAIN_MS, ATTEMPTS, OFFER_AHEAD_S
from kexkit.policy import Downgrade, FirstFlight

DAY_MS = 24 * 3600 * 1000


def offered_by(device: records.PeerDevice, setting: Setting) -> tuple[str, ...]:
    """What a device offers us, best first. One that makes no offers offers what Status has."""
    if device.offer_seq:
        return tuple(device.offered)
    if setting.negotiates:
        return setting.bare
    spoken = [advert.mechanism for advert in device.adverts] or [ref.mechanism for ref in device.sessions]
    return tuple(spoken)


def effective(device: records.PeerDevice, setting: Setting) -> tuple[str, ...]:
    """What we allow for this device, in the order of our own offer."""
    if not device.floor or setting.policy.downgrade is Downgrade.ACCEPT:
        return setting.offered
    floor = Guarantee(device.floor)
    return tuple([name for name in setting.offered if not weaker(setting.by_name[name].guarantees, floor)])


def chosen(device: records.PeerDevice, setting: Setting) -> KeyExchange:
    """Best for both; or a refusal that names both sides. No failure and nothing that is missing makes it less."""
    if device.pin > device.offer_seq == 0:
        raise offer_missing(device)
    theirs = offered_by(device, setting)
    name = choose(effective(device, setting), theirs)
    if name is not None:
        return setting.by_name[name]
    here = setting.offered
    if choose(here, theirs) is not None:
        raise DowngradeNeedsConsent(f"The peer now offers only {', '.join(theirs)}, which gives less than before.")
    if theirs and not any(name in setting.by_name for name in theirs):
        raise MechanismMissing(
            f"The peer offers {', '.join(theirs)}; allowed here: {', '.join(here) or 'none'}.",
            advice="Install and enable a plugin for one of them.",
        )
    raise NoCommonMechanism(
        f"The peer offers {', '.join(theirs) or 'nothing'}; allowed here: {', '.join(here) or 'none'}."
    )


def may_begin(device: records.PeerDevice, exchange: KeyExchange, setting: Setting, moment: Moment) -> None:
    """Whether a session may begin now, or a typed reason why not."""
    if not setting.negotiates:
        return
    if setting.policy.first_flight is FirstFlight.HOLD and not device.offer_seq and not device.bare:
        raise Unconfirmed("The device makes no offers, so it never confirms anything; the policy sends it nothing.")
    if device.conflict:
        raise OfferEquivocation()
    if device.new_static and setting.policy.new_static is not Downgrade.ACCEPT:
        raise StaticChanged()
    if device.offer_seq < device.pin:
        raise offer_missing(device)
    if device.offer_seq:
        check_window(device.offer_from, device.offer_until, moment.now)
    if device.attempts >= ATTEMPTS:
        raise NegotiationFailed(f"{ATTEMPTS} sessions over {exchange.name} failed to begin.")
    if 0 < device.resume - moment.now <= DAY_MS:  # longer than a wait can be: the clock was ahead when it was set
        raise NegotiationFailed(f"A session over {exchange.name} failed to begin; another try follows.")


def is_held_by_a_code(device: records.PeerDevice) -> bool:
    """A contact code says more of its offers than anything that is signed."""
    return device.pin > max(device.offer_seq, device.proven)


def offer_missing(device: records.PeerDevice) -> OfferMissing:
    if is_held_by_a_code(device):
        return OfferMissing("A contact code says that the device makes offers, and the one it means has not come.")
    return OfferMissing()


def begins(device: records.PeerDevice) -> int:
    """From when on, in milliseconds, a session may begin with what the device offers. Its maker may say any time."""
    return min((device.offer_from - OFFER_AHEAD_S) * 1000, 2**63 - 1)


def failed(draft: Draft, device: records.PeerDevice, identity: bytes, moment: Moment) -> None:
    """A beginning came to nothing. The choice stays what it is, and the next try waits longer."""
    device.attempts += 1
    wait = min(ATTEMPT_AGAIN_MS * 5 ** (device.attempts - 1), DAY_MS)
    device.resume = moment.now + wait
    if device.attempts < ATTEMPTS:
        draft.write(records.timer_key(device.resume, records.Timer.FLUSH, identity), b"")


def forgiven(device: records.PeerDevice) -> None:
    """What made beginnings fail may have changed."""
    device.attempts = 0
    device.resume = 0


def answered_digest(identity: bytes, device: records.PeerDevice) -> bytes:
    """D of the offer that a session begun now answers."""
    if device.offer_seq:
        return device.offer_digest
    return bare_digest(identity, device.installation)


def opening_to(exchange: KeyExchange, advert: Advert, digest: bytes) -> Opening:
    """What both ends compute of an opening that answers this offer of `advert`'s device."""
    place = None
    if exchange.carriage is Carriage.BARE:
        place = opening_place(exchange.name, advert.device.identity, digest)
    return Opening(advert.device, advert, opening_bind(exchange.name, digest), to=place)


def opening_place(name: str, identity: bytes, digest: bytes) -> Hear:
    """Openings that travel alone come to the partition of who offers, under a tag that the offer gives."""
    return Hear(topics.content_topic(topics.partitioned_name(identity)), hello_tag(name, digest))


# --- our own offers --------------------------------------------------------------------------------------------------


def current_offer(draft: Draft, setting: Setting) -> Flow[SignedOffer | None]:
    """What we offer now, as it was signed."""
    row = yield from load_one(draft, records.SIGNED_OFFER)
    return own_offer(records.own_public(row.value), setting) if row is not None else None


def own_offer(signed: bytes, setting: Setting) -> SignedOffer:
    """Of our own making, so whatever the clock says now."""
    return read(signed, expected_identity=setting.me.identity)


def names_of(offer: SignedOffer) -> tuple[str, ...]:
    return tuple(entry.name for entry in offer.body.entries)


def answered_offer(
    draft: Draft, digest: bytes, setting: Setting
) -> Flow[tuple[SignedOffer | None, SignedOffer | None]]:
    """The offer of ours that somebody answers, if it is still one; and the current one."""
    current = yield from current_offer(draft, setting)
    if current is not None and current.digest == digest:
        return current, current
    row = yield from load_one(draft, records.offered_key(digest))
    if row is None:
        return None, current
    return own_offer(records.read_offered(row.value).signed, setting), current


def bind_for(exchange: KeyExchange, setting: Setting, digest: bytes) -> Opening:
    """What we know of an opening of unknown origin to this offer of ours."""
    place = None
    if exchange.carriage is Carriage.BARE:
        place = opening_place(exchange.name, setting.me.identity, digest)
    return Opening(None, None, opening_bind(exchange.name, digest), to=place)


def with_hint(opening: Opening, answered: SignedOffer, current: SignedOffer, name: str) -> Opening:
    """Says which public bytes of ours the opening answers, and what we offer now if that is something else."""
    public = next((entry.public for entry in answered.body.entries if entry.name == name), b"")
    hint = b"" if names_of(answered) == names_of(current) else current.received
    return evolve(opening, offered=public, hint=hint)
