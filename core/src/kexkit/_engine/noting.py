"""What others publish: bundles, signed offers, contact codes. Verified first, then kept if it says something new."""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import sha256

from attrs import evolve

from kexkit import _records as records
from kexkit._engine.allowance import Allowance
from kexkit._engine.drawer import guarded
from kexkit._engine.negotiating import begins, effective, forgiven
from kexkit._engine.peers import (
    NS_IN_MS,
    Person,
    advance,
    advert_of,
    awaken,
    device_of,
    ensure_device,
    let_rest,
    load_person,
    note_advert,
    plan_repeat,
    save_person,
)
from kexkit._engine.requests import Draft, Flow, Moment, Outcome
from kexkit._engine.setting import Setting
from kexkit._engine.wrapping import TopicKeys, contact_code_channel
from kexkit._negotiation import choose
from kexkit._transitions import Cause, State
from kexkit._wire.offers import OfferBody, SignedOffer, check_signature, is_critical, read, read_any
from kexkit.api import Advert, Device, Guarantee, KeyExchange
from kexkit.contact import ContactCode
from kexkit.errors import (
    Forged,
    InvalidInput,
    Limit,
    OfferEquivocation,
    OfferNotYetValid,
    OfferStale,
    OfferUnsupported,
    Refusal,
    StaticChanged,
)
from kexkit.events import NegotiationTrouble, OfferShrunk
from kexkit.limits import OFFER_AHEAD_S

STATIC_TRAIT = "static:"


def note_bundles(
    draft: Draft, person: Person, bundles: tuple[bytes, ...], maker: Device, setting: Setting, moment: Moment
) -> None:
    """Verify what is new, keep what is newest. The first bad one refuses the message."""
    exchange = setting.slot
    if exchange is None:
        return
    for bundle in bundles:
        digest = sha256(bundle).digest()
        if digest == person.record.bundle_digest:
            continue
        try:
            adverts = _read(exchange, bundle, maker, moment)
        except OfferNotYetValid:
            continue  # one of the two clocks is off: that is no reason not to read what stands beside the bundle
        if any(advert.device.identity != person.identity for advert in adverts):
            raise Forged("A bundle speaks for somebody else than its sender.")
        news = [_keep_advert(draft, person, exchange.name, advert, setting, moment) for advert in adverts]
        if any(news):  # an old one that comes again shall leave no trace
            person.record.bundle_digest = digest


def note_offers(
    draft: Draft,
    person: Person,
    offers: tuple[bytes, ...],
    setting: Setting,
    moment: Moment,
    *,
    allowance: Allowance | None = None,
    usable: bool = False,
) -> None:
    """A signed offer says which mechanisms a device speaks, best first, with their public bytes.

    One that does not verify refuses what it came with: an offer that is there and unusable never counts as absent. One
    that is late, or early by a clock that is off, changes nothing, but a late one still tells that offers exist. So
    does one that needs a newer kexkit, unless all must be `usable`: its maker is not taken for one that makes none.
    """
    for raw in offers:
        if any(raw == device.offer for device in person.record.devices):
            continue  # it came again: nearly always
        offer = (read if usable else read_any)(raw, expected_identity=person.identity)
        known = device_of(person, offer.body.installation)
        if known is not None and _is_old(known, offer):
            if allowance is not None and offer.body.seq < known.offer_seq:
                raise OfferStale()
            continue  # cheapest first: what changes nothing costs no signature check
        if allowance is not None and not allowance.take(person.identity, moment.now):
            raise Limit("Offers in this person's name come too fast.")
        check_signature(offer)
        device = ensure_device(person, offer.body.installation)
        if device is not None:
            note = _note_unusable if is_critical(offer.body) else _note_offer
            note(draft, person, device, offer, setting, moment)


def _note_unusable(
    draft: Draft, person: Person, device: records.PeerDevice, offer: SignedOffer, setting: Setting, moment: Moment
) -> None:
    """It binds its maker all the same: what it says is not known, so texts wait until there is one that we can read."""
    pin(device, offer.body.seq, moment, signed=True)
    person.changed = True
    refusal = OfferUnsupported("A device's offer has a critical extension that is not known here.")
    told = NegotiationTrouble(person.identity, device.installation, "", type(refusal).__name__, str(refusal))
    draft.events.append(told)


def _is_old(device: records.PeerDevice, offer: SignedOffer) -> bool:
    """Older than what we have, or the same again."""
    if is_critical(offer.body) and offer.body.seq <= device.proven:
        return True
    if offer.body.seq == device.offer_seq:
        return offer.digest == device.offer_digest or bool(device.conflict)
    return offer.body.seq < device.offer_seq


def _note_offer(
    draft: Draft, person: Person, device: records.PeerDevice, offer: SignedOffer, setting: Setting, moment: Moment
) -> None:
    """A verified offer that says something new: its device is bound by it from now on."""
    body = offer.body
    person.changed = True
    if body.seq == device.offer_seq:
        device.conflict = offer.received
        draft.events.append(_contradiction(person, device))
        return
    for sibling in body.siblings:
        other = ensure_device(person, sibling.installation)
        if other is not None:
            pin(other, sibling.seq, moment, signed=True)
    names = _note_entries(draft, person, offer, setting, moment)
    listed = {entry.name for entry in body.entries}
    gone = tuple(name for name in device.offered if name not in listed)
    if gone:
        draft.events.append(OfferShrunk(person.identity, device.installation, gone))
    if names != list(device.offered) or device.offer_seq < device.pin or device.attempts:
        _give_up_openings(draft, person, device, offer, names, setting, moment)
        forgiven(device)
    awaken(draft, person.identity, moment)  # the one before may have been over, or contradicted
    if begins(device) > moment.now:  # whoever waits for a time that no longer counts
        draft.remove(records.timer_key(begins(device), records.Timer.FLUSH, person.identity))
    device.offer_seq = body.seq
    device.offer = offer.received
    device.offer_digest = offer.digest
    device.offer_from = body.not_before
    device.offer_until = body.not_after
    device.offered[:] = names
    device.bare = False
    device.conflict = b""


def pin(device: records.PeerDevice, seq: int, moment: Moment, *, signed: bool) -> None:
    """Somebody has seen an offer of this device with at least this number. Numbers begin at the time, so one far beyond
    ours is a wrong clock's, or a lie in a code that nobody signs: it shall not lock out the offers that are to come.
    What the person's own key has signed is kept apart from what whoever hands over a code may have made up."""
    least = min(seq, moment.now + OFFER_AHEAD_S * 1000)
    device.pin = max(device.pin, least)
    if signed:
        device.proven = max(device.proven, least)


def _give_up_openings(
    draft: Draft,
    person: Person,
    device: records.PeerDevice,
    offer: SignedOffer,
    names: list[str],
    setting: Setting,
    moment: Moment,
) -> None:
    """They now offer something else. A handshake whose transcript binds the older offer can no longer be accepted. What
    they have not confirmed they may have accepted before, so it is still heard; what was said in it is said again."""
    choice = choose(effective(device, setting), tuple(names))
    for ref in device.sessions:
        exchange, state = setting.by_name.get(ref.mechanism), State(ref.state)
        if exchange is None or not ref.ours or state not in (State.OPENING, State.PROVISIONAL):
            continue
        outdated = Guarantee.BINDS in exchange.guarantees and ref.offer != offer.digest
        if outdated:
            advance(person, ref, Cause.REFUSED if state is State.OPENING else Cause.OUTDATED)
            let_rest(draft, ref, moment)
        if outdated or ref.mechanism != choice:
            plan_repeat(draft, person, device, ref, moment)


def _contradiction(person: Person, device: records.PeerDevice) -> NegotiationTrouble:
    trouble = OfferEquivocation()
    return NegotiationTrouble(person.identity, device.installation, "", type(trouble).__name__, str(trouble))


def _note_entries(draft: Draft, person: Person, offer: SignedOffer, setting: Setting, moment: Moment) -> list[str]:
    """The mechanisms that are offered to us. One whose public bytes its plugin refuses is not (two people may have
    configured it differently), and spoils the offer only if nothing else in it could be used."""
    body = offer.body
    maker = Device(person.identity, body.installation)
    names: list[str] = []
    refusal: Refusal | None = None
    then = _at_its_time(body, moment)
    for entry in body.entries:
        exchange = setting.by_name.get(entry.name)
        if exchange is not None and exchange is not setting.slot:
            try:
                adverts = _read(exchange, entry.public, maker, then)
            except Refusal as refused:
                refusal = refused
                continue
            if any(advert.device != maker for advert in adverts):
                raise Forged("An offer speaks for another device than its maker.")
            for advert in adverts:
                until = min(advert.expires, body.not_after * 1000)
                placed = evolve(advert, issued=body.seq * NS_IN_MS, expires=until)
                _keep_advert(draft, person, entry.name, placed, setting, moment, offered=True)
        names.append(entry.name)
    if refusal is not None and not any(name in setting.by_name for name in names):
        raise refusal
    return names


def _at_its_time(body: OfferBody, moment: Moment) -> Moment:
    """The nearest at which the offer is good. Whether it may be used is asked each time; what it says does not hang on
    the clock with which it was first read, or one that is off would leave out what is best, for both and for good."""
    now = min(max(moment.now, body.not_before * 1000), body.not_after * 1000 - 1)
    return evolve(moment, context=evolve(moment.context, now=now))


def recall_offer(draft: Draft, person: Person, device: records.PeerDevice, setting: Setting, moment: Moment) -> None:
    """A mechanism may be loaded since their offer came: then what the offer says of it is read now."""
    new = [setting.by_name[name] for name in device.offered if name in setting.by_name]
    unread = {each.name for each in new if each is not setting.slot and advert_of(device, each.name) is None}
    if not unread or not device.offer:
        return
    try:
        names = _note_entries(draft, person, read(device.offer, expected_identity=person.identity), setting, moment)
    except Refusal:
        names = [name for name in device.offered if name not in unread]
    device.offered[:] = names
    person.changed = True


def _read(exchange: KeyExchange, public: bytes, maker: Device, moment: Moment) -> tuple[Advert, ...]:
    return guarded(exchange.name, lambda: exchange.read_offer(public, maker=maker, ctx=moment.context))


def _keep_advert(
    draft: Draft,
    person: Person,
    mechanism: str,
    advert: Advert,
    setting: Setting,
    moment: Moment,
    *,
    offered: bool = False,
) -> bool:
    """True: it says something new."""
    if advert.device == setting.me:
        return False
    changed = person.changed
    person.changed = False
    device = device_of(person, advert.device.installation)
    before = advert_of(device, mechanism) if device is not None else None
    static = _static_of(before.traits) if before is not None else None
    note_advert(draft, person, mechanism, advert, moment, offered=offered)
    news = person.changed
    if device is not None and before is not None and static is not None and static != _static_of(before.traits):
        device.new_static = True
        told = NegotiationTrouble(
            person.identity, device.installation, mechanism, StaticChanged.__name__, str(StaticChanged())
        )
        draft.events.append(told)
    if news:
        awaken(draft, person.identity, moment)
    person.changed = news or changed
    return news


def _static_of(traits: Iterable[str]) -> str | None:
    """A long-term key that an advert shows: 'static:' and its digest. Another one is worth a person's attention."""
    return next((trait for trait in traits if trait.startswith(STATIC_TRAIT)), None)


def meet(code: ContactCode, name: str, setting: Setting, moment: Moment, keys: TopicKeys) -> Flow[Outcome]:
    """Add a contact from a code: their identity, and what the code says of their devices."""
    if code.identity == setting.me.identity:
        raise InvalidInput("This is your own contact code.")
    draft = Draft()
    person = yield from load_person(draft, code.identity)
    note_bundles(draft, person, code.bundles, Device(code.identity, ""), setting, moment)
    note_offers(draft, person, code.offers, setting, moment, usable=True)
    for known in code.pins:  # it says that an offer exists: without it nothing is sent to that device
        pinned = ensure_device(person, known.installation, hinted=True)
        if pinned is not None:
            pin(pinned, known.seq, moment, signed=False)
    person.record.contact = True
    draft.remove(records.stranger_key(code.identity))
    if name:
        person.record.name = name
    person.changed = True
    save_person(draft, person)
    draft.channels.append(contact_code_channel(code.identity))
    draft.channels.append(keys.negotiated(code.identity, moment))
    awaken(draft, code.identity, moment)
    return draft.outcome(code.identity)
