"""What we publish, and what others do: bundles, signed offers, contact codes."""

from __future__ import annotations

from hashlib import sha256

from attrs import evolve

from kexkit import _records as records
from kexkit._engine.drawer import NOWHERE, Fetched, ask, guarded, keep, rehear
from kexkit._engine.opening import awaken
from kexkit._engine.peers import (
    NS_IN_MS,
    Person,
    advert_of,
    device_of,
    ensure_device,
    load_person,
    note_advert,
    save_person,
    to_advert,
)
from kexkit._engine.requests import Draft, Flow, Moment, Outcome, broken, load_one
from kexkit._engine.sealing import bind_of
from kexkit._engine.setting import Setting
from kexkit._engine.wrapping import (
    TopicKeys,
    advertisement,
    contact_code_channel,
    message_around,
    queue,
)
from kexkit._wire import application
from kexkit._wire.offers import Entry, OfferBody, SignedOffer, check_signature, read, sign
from kexkit.api import Advert, Device, Hear, KeyExchange, Offer
from kexkit.contact import ContactCode
from kexkit.errors import Forged, InvalidInput, OfferExpired, OfferNotYetValid, Refusal
from kexkit.limits import OWN_OFFER_LIFETIME_MS

CONTACT_CODE_ADVERTISEMENT = 15
"""Status's number for a ContactCodeAdvertisement in an ApplicationMetadataMessage"""


# --- ours ------------------------------------------------------------------------------------------------------------


def renew(draft: Draft, setting: Setting, moment: Moment) -> Flow[None]:
    """Make every offer of ours that is due, and sign anew what says which mechanisms we speak."""
    changed = False
    for exchange in setting.exchanges:
        changed = (yield from _renew_one(draft, exchange, setting, moment)) or changed
    if setting.signs_offers:
        yield from _sign_offer(draft, setting, moment, changed=changed)


def _renew_one(draft: Draft, exchange: KeyExchange, setting: Setting, moment: Moment) -> Flow[bool]:
    key = records.own_key(exchange.name)
    row = yield from load_one(draft, key)
    before = records.read_own(row.value) if row is not None else None
    if before is not None and before.renew > moment.now:
        return False
    siblings = yield from _siblings(draft, exchange, setting)
    fetched: Fetched = {}
    offer: Offer = yield from ask(
        draft, exchange.name, lambda have: exchange.offer(have, siblings=siblings, ctx=moment.context), fetched
    )
    if offer.renew <= moment.now:
        raise broken(exchange.name, "its offer is due before it is made")
    keep(draft, exchange.name, offer.keep, fetched)
    yield from _hear_openings(draft, offer.hears, exchange, setting)
    draft.rely(key, row)
    draft.write(key, records.write(records.Own(public=offer.public, renew=offer.renew)))
    reference = exchange.name.encode()
    if before is not None:
        draft.remove(records.timer_key(before.renew, records.Timer.OFFER_RENEWAL, reference))
    draft.write(records.timer_key(offer.renew, records.Timer.OFFER_RENEWAL, reference), b"")
    return True


def _hear_openings(draft: Draft, hears: frozenset[Hear], exchange: KeyExchange, setting: Setting) -> Flow[None]:
    """Routes of older offers stay, for openings that are on their way; a place that is ours already is not claimed."""
    new = set()
    for hear in hears:
        row = yield from load_one(draft, records.route_key(hear.topic, hear.tag))
        if row is None or records.read_route(row.value).mechanism != exchange.name:
            new.add(hear)
    rehear(draft, NOWHERE, frozenset(new), exchange.name, bind=bind_of(exchange.name, setting.me))


def _siblings(draft: Draft, exchange: KeyExchange, setting: Setting) -> Flow[tuple[Advert, ...]]:
    """What our other, paired devices publish: a Status bundle lists them beside this one."""
    ourselves = yield from load_person(draft, setting.me.identity)
    found = []
    for device in ourselves.record.devices:
        stored = advert_of(device, exchange.name)
        if stored is not None and device.enabled and device.installation != setting.me.installation:
            found.append(to_advert(setting.me.identity, device, stored))
    return tuple(sorted(found, key=lambda advert: advert.issued, reverse=True))


def _sign_offer(draft: Draft, setting: Setting, moment: Moment, *, changed: bool) -> Flow[None]:
    key = records.SIGNED_OFFER
    row = yield from load_one(draft, key)
    before = records.read_own(row.value) if row is not None else None
    if before is not None and before.renew > moment.now and not changed:
        return
    entries = []
    for exchange in setting.exchanges:
        if not setting.policy.allows(exchange.name):
            continue
        own = yield from load_one(draft, records.own_key(exchange.name))
        assert own is not None
        public = b"" if exchange is setting.slot else records.read_own(own.value).public
        entries.append(Entry(exchange.name, public))
    seq = max(before.seq + 1 if before is not None else 0, moment.now)
    until = moment.now + OWN_OFFER_LIFETIME_MS
    body = OfferBody(
        identity=setting.me.identity,
        installation=setting.me.installation,
        seq=seq,
        not_before=moment.now // 1000,
        not_after=until // 1000,
        entries=tuple(entries),
    )
    signed = guarded("offer", lambda: sign(body, moment.context.identity))
    renewal = moment.now + OWN_OFFER_LIFETIME_MS // 2
    draft.rely(key, row)
    draft.write(key, records.write(records.Own(public=signed.received, renew=renewal, seq=seq)))
    if before is not None:
        draft.remove(records.timer_key(before.renew, records.Timer.OFFER_RENEWAL))
    draft.write(records.timer_key(renewal, records.Timer.OFFER_RENEWAL), b"")


def contact_code(setting: Setting) -> Flow[ContactCode]:
    """What to hand to whoever shall write to us."""
    message = yield from message_around(Draft(), (), setting)
    return ContactCode(setting.me.identity, message.bundles, message.offers)


def advertise(draft: Draft, setting: Setting, moment: Moment, keys: TopicKeys) -> Flow[None]:
    """Our bundle for whoever knows our key: on our contact-code topic, on time and again."""
    body = application.wrap(b"", CONTACT_CODE_ADVERTISEMENT, moment.context.identity)
    message = yield from message_around(draft, (), setting, public=body)
    queue(draft, advertisement(message, setting, moment, keys), moment)


# --- theirs ----------------------------------------------------------------------------------------------------------


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


def offers_in_season(offers: tuple[bytes, ...], person: Person, moment: Moment) -> tuple[bytes, ...]:
    """A message stays readable when the offer that travels with it has expired, or one of the two clocks is off."""
    kept = []
    for raw in offers:
        try:
            read(raw, expected_identity=person.identity, now_ms=moment.now)
        except (OfferExpired, OfferNotYetValid):
            continue
        kept.append(raw)
    return tuple(kept)


def note_offers(draft: Draft, person: Person, offers: tuple[bytes, ...], setting: Setting, moment: Moment) -> None:
    """A signed offer says which mechanisms a device speaks, best first, with their public bytes."""
    for raw in offers:
        offer = read(raw, expected_identity=person.identity, now_ms=moment.now)
        known = device_of(person, offer.body.installation)
        if known is not None and offer.body.seq <= known.offer_seq:
            continue  # cheapest first: what changes nothing costs no signature check
        check_signature(offer)
        device = ensure_device(person, offer.body.installation)
        if device is None:
            continue
        names = _note_entries(draft, person, offer, setting, moment)
        if names != list(device.offered) or device.offer_seq < device.pin:
            awaken(draft, person.identity, moment)
        device.offer_seq = offer.body.seq
        device.offered[:] = names
        person.changed = True


def _note_entries(draft: Draft, person: Person, offer: SignedOffer, setting: Setting, moment: Moment) -> list[str]:
    """The mechanisms that are offered to us. One whose public bytes its plugin refuses is not (two people may have
    configured it differently), and spoils the offer only if nothing else in it could be used."""
    body = offer.body
    maker = Device(person.identity, body.installation)
    names: list[str] = []
    refusal: Refusal | None = None
    for entry in body.entries:
        exchange = setting.by_name.get(entry.name)
        if exchange is not None and exchange is not setting.slot:
            try:
                adverts = _read(exchange, entry.public, maker, moment)
            except Refusal as refused:
                refusal = refused
                continue
            if any(advert.device != maker for advert in adverts):
                raise Forged("An offer speaks for another device than its maker.")
            for advert in adverts:
                until = min(advert.expires, body.not_after * 1000)
                placed = evolve(advert, issued=body.seq * NS_IN_MS, expires=until)
                _keep_advert(draft, person, entry.name, placed, setting, moment)
        names.append(entry.name)
    if refusal is not None and not any(name in setting.by_name for name in names):
        raise refusal
    return names


def _read(exchange: KeyExchange, public: bytes, maker: Device, moment: Moment) -> tuple[Advert, ...]:
    return guarded(exchange.name, lambda: exchange.read_offer(public, maker=maker, ctx=moment.context))


def _keep_advert(
    draft: Draft, person: Person, mechanism: str, advert: Advert, setting: Setting, moment: Moment
) -> bool:
    """True: it says something new."""
    if advert.device == setting.me:
        return False
    changed = person.changed
    person.changed = False
    note_advert(draft, person, mechanism, advert)
    news = person.changed
    if news:
        awaken(draft, person.identity, moment)
    person.changed = news or changed
    return news


def meet(code: ContactCode, name: str, setting: Setting, moment: Moment, keys: TopicKeys) -> Flow[Outcome]:
    """Add a contact from a code: their identity, and what the code says of their devices."""
    if code.identity == setting.me.identity:
        raise InvalidInput("This is your own contact code.")
    draft = Draft()
    person = yield from load_person(draft, code.identity)
    note_bundles(draft, person, code.bundles, Device(code.identity, ""), setting, moment)
    note_offers(draft, person, code.offers, setting, moment)
    for pin in code.pins:  # it says that an offer exists: without it nothing is sent to that device
        pinned = ensure_device(person, pin.installation)
        if pinned is not None:
            pinned.pin = max(pinned.pin, pin.seq)
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
