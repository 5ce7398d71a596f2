"""What we publish: bundles, signed offers, contact codes."""

from __future__ import annotations

from kexkit import _records as records
from kexkit._engine.drawer import NOWHERE, Fetched, ask, guarded, keep, rehear
from kexkit._engine.negotiating import names_of, opening_place, own_offer
from kexkit._engine.peers import Person, advert_of, load_person, to_advert
from kexkit._engine.requests import Draft, Flow, Moment, broken, load_one, scan
from kexkit._engine.setting import Setting
from kexkit._engine.settling import break_silence
from kexkit._engine.wrapping import TopicKeys, advertisement, contact_code_channel, envelope_to, message_around, queue
from kexkit._wire import application
from kexkit._wire.offers import Entry, OfferBody, Sibling, SignedOffer, sign
from kexkit.api import Advert, Carriage, Hear, KeyExchange, Offer
from kexkit.contact import ContactCode
from kexkit.errors import InvalidInput, PolicyRefused
from kexkit.limits import (
    ADVERTISE_AGAIN_MS,
    ADVERTISE_EVERY_MS,
    FLUSH_BATCH,
    OFFER_AHEAD_S,
    OFFER_SIBLINGS,
    OWN_OFFER_GRACE_MS,
    OWN_OFFER_LIFETIME_MS,
    OWN_OFFERS,
    PURGE_BATCH,
)
from kexkit.policy import Publish

CONTACT_CODE_ADVERTISEMENT = 15
"""Status's number for a ContactCodeAdvertisement in an ApplicationMetadataMessage"""


def renew(draft: Draft, setting: Setting, moment: Moment, *, bundle: bool = False) -> Flow[None]:
    """Make every offer of ours that is due, and sign anew what says which mechanisms we speak. `bundle`: what it lists
    has changed."""
    early = yield from _is_ahead(draft, setting, moment)
    for exchange in setting.exchanges:
        changed = bundle and exchange is setting.slot
        yield from _renew_one(draft, exchange, setting, moment, early=early or changed)
    if setting.confirms:
        yield from _sign_offer(draft, setting, moment)
    elif setting.negotiates:
        yield from _check_never_offered(draft)


def _check_never_offered(draft: Draft) -> Flow[None]:
    """Whoever has an offer of ours refuses what comes without a confirmation: it would look as if somebody posed as us,
    and nobody would tell us that our texts are kept back."""
    if (yield from load_one(draft, records.SIGNED_OFFER)) is not None:
        raise InvalidInput(
            "This device has made offers, and those who have one would take it for an impostor if it made none.",
            advice="Publish to contacts alone, or begin with a new profile.",
        )


def _is_ahead(draft: Draft, setting: Setting, moment: Moment) -> Flow[bool]:
    """Our clock was wrong when we signed: nobody begins anything with an offer that is not good yet."""
    row = yield from load_one(draft, records.SIGNED_OFFER)
    if row is None:
        return False
    began = own_offer(records.own_public(row.value), setting).body.not_before
    return began * 1000 > moment.now + OFFER_AHEAD_S * 1000


def _renew_one(draft: Draft, exchange: KeyExchange, setting: Setting, moment: Moment, *, early: bool) -> Flow[None]:
    key = records.own_key(exchange.name)
    row = yield from load_one(draft, key)
    before = records.read_own(row.value) if row is not None else None
    if before is not None and before.renew > moment.now and not early:
        return
    siblings = yield from _siblings(draft, exchange, setting)
    fetched: Fetched = {}
    offer: Offer = yield from ask(
        draft, exchange.name, lambda have: exchange.offer(have, siblings=siblings, ctx=moment.context), fetched
    )
    if offer.renew <= moment.now:
        raise broken(exchange.name, "its offer is due before it is made")
    keep(draft, exchange.name, offer.keep, fetched)
    draft.rely(key, row)
    draft.write(key, records.write(records.Own(public=offer.public, renew=offer.renew)))
    reference = exchange.name.encode()
    if before is not None:
        draft.remove(records.timer_key(before.renew, records.Timer.OFFER_RENEWAL, reference))
    draft.write(records.timer_key(offer.renew, records.Timer.OFFER_RENEWAL, reference), b"")


def _siblings(draft: Draft, exchange: KeyExchange, setting: Setting) -> Flow[tuple[Advert, ...]]:
    """What our other, paired devices publish: a Status bundle lists them beside this one."""
    ourselves = yield from load_person(draft, setting.me.identity)
    found = []
    for device in ourselves.record.devices:
        stored = advert_of(device, exchange.name)
        if stored is not None and device.enabled and device.installation != setting.me.installation:
            found.append(to_advert(setting.me.identity, device, stored))
    return tuple(sorted(found, key=lambda advert: advert.issued, reverse=True))


def _sign_offer(draft: Draft, setting: Setting, moment: Moment) -> Flow[None]:
    """A new one when what it lists has changed, and at half of the life of the old."""
    key = records.SIGNED_OFFER
    row = yield from load_one(draft, key)
    before = records.read_own(row.value) if row is not None else None
    entries = yield from _entries(draft, setting)
    siblings = yield from _paired(draft, setting)
    if before is not None:
        listed = own_offer(before.public, setting).body
        begun = listed.not_before * 1000 <= moment.now + OFFER_AHEAD_S * 1000
        if begun and before.renew > moment.now and (listed.entries, listed.siblings) == (entries, siblings):
            return
    seq = max(before.seq + 1 if before is not None else 0, moment.now)
    body = OfferBody(
        identity=setting.me.identity,
        installation=setting.me.installation,
        seq=seq,
        not_before=moment.now // 1000,
        not_after=(moment.now + OWN_OFFER_LIFETIME_MS) // 1000,
        entries=entries,
        siblings=siblings,
    )
    signed = guarded("offer", lambda: sign(body, moment.context.identity))
    renewal = moment.now + OWN_OFFER_LIFETIME_MS // 2
    draft.rely(key, row)
    draft.write(key, records.write(records.Own(public=signed.received, renew=renewal, seq=seq)))
    if before is not None:
        draft.remove(records.timer_key(before.renew, records.Timer.OFFER_RENEWAL))
    else:
        yield from break_silence(draft, moment)
    if setting.policy.publish is Publish.ADVERTISE:  # whoever waits for another choice shall hear of it
        plan(draft, records.Timer.ADVERTISE, moment.now)
    else:
        draft.write(records.timer_key(moment.now, records.Timer.TELL_OFFER), b"")
    draft.write(records.timer_key(renewal, records.Timer.OFFER_RENEWAL), b"")
    yield from _keep_offered(draft, signed, setting, moment)


def _entries(draft: Draft, setting: Setting) -> Flow[tuple[Entry, ...]]:
    """What policy allows, best first. The slot's key is the Status bundle."""
    entries = []
    for name in setting.offered:
        exchange = setting.by_name[name]
        own = yield from load_one(draft, records.own_key(name))
        assert own is not None
        public = b"" if exchange is setting.slot else records.read_own(own.value).public
        entries.append(Entry(name, public))
    return tuple(entries)


def _paired(draft: Draft, setting: Setting) -> Flow[tuple[Sibling, ...]]:
    """'My other device has published at least this': who withholds its offer contradicts us."""
    ourselves = yield from load_person(draft, setting.me.identity)
    others = [each for each in ourselves.record.devices if each.enabled and each.offer_seq]
    others.sort(key=lambda each: each.offer_seq, reverse=True)
    newest = sorted(others[:OFFER_SIBLINGS], key=lambda each: each.installation)
    return tuple(Sibling(each.installation, each.offer_seq) for each in newest)


def _keep_offered(draft: Draft, signed: SignedOffer, setting: Setting, moment: Moment) -> Flow[None]:
    """Openings to it may come until some time after its end; each has a tag of its own where frames travel alone."""
    until = signed.body.not_after * 1000 + OWN_OFFER_GRACE_MS
    draft.write(records.offered_key(signed.digest), records.write(records.Offered(signed=signed.received, until=until)))
    draft.write(records.timer_key(until, records.Timer.OFFER_EXPIRY, signed.digest), b"")
    for exchange, place in _places(signed, setting):
        rehear(
            draft,
            NOWHERE,
            frozenset({place}),
            exchange.name,
            offer=signed.digest,
        )
    kept = yield from scan("offered", limit=OWN_OFFERS)
    if len(kept) == OWN_OFFERS:
        oldest = min(kept, key=lambda found: records.read_offered(found[1].value).until)
        yield from forget_offered(draft, oldest[0][1], setting)


def _places(signed: SignedOffer, setting: Setting) -> list[tuple[KeyExchange, Hear]]:
    alone = [setting.by_name[name] for name in names_of(signed) if name in setting.by_name]
    return [
        (exchange, opening_place(exchange.name, setting.me.identity, signed.digest))
        for exchange in alone
        if exchange.carriage is Carriage.BARE
    ]


def forget_offered(draft: Draft, digest: bytes, setting: Setting) -> Flow[None]:
    """Nothing that answers it is expected any more."""
    key = records.offered_key(digest)
    row = yield from load_one(draft, key)
    if row is None:
        return
    draft.remove(key)
    offered = records.read_offered(row.value)
    draft.remove(records.timer_key(offered.until, records.Timer.OFFER_EXPIRY, digest))
    for exchange, place in _places(own_offer(offered.signed, setting), setting):
        rehear(draft, frozenset({place}), NOWHERE, exchange.name)


def contact_code(setting: Setting, *, offers: bool) -> Flow[ContactCode]:
    """What to hand to whoever shall write to us."""
    if offers and not setting.confirms:
        raise PolicyRefused("The policy publishes no offer, so that there is none for a code.")
    message = yield from message_around(Draft(), (), setting, offers=offers)
    return ContactCode(setting.me.identity, message.bundles, message.offers)


def plan(draft: Draft, kind: int, due: int) -> None:
    """Regular work of a kind is due then, and at no other time that was planned before."""
    draft.write(records.plan_key(kind), due.to_bytes(8, "big"))
    draft.write(records.timer_key(due, kind), b"")


def advertise(draft: Draft, setting: Setting, moment: Moment, keys: TopicKeys) -> Flow[None]:
    """Our bundle for whoever knows our key: on our contact-code topic, on time and again."""
    body = application.wrap(b"", CONTACT_CODE_ADVERTISEMENT, moment.context.identity)
    shown = setting.policy.publish is Publish.ADVERTISE
    message = yield from message_around(draft, (), setting, public=body, offers=shown)
    queue(draft, advertisement(message, setting, moment, keys), moment)


def take_back(draft: Draft, setting: Setting, moment: Moment) -> Flow[None]:
    """What an earlier run was to show to everybody, and the network never took, says what policy then allowed."""
    if setting.policy.advertise and setting.policy.publish is Publish.ADVERTISE:
        return
    topic, start, unsent = contact_code_channel(setting.me.identity).topic, b"", False
    while rows := (yield from scan("outbox", start, limit=PURGE_BATCH)):
        for key, row in rows:
            if records.read_outgoing(row.value).topic == topic:
                draft.remove(key)
                unsent = True
        start = rows[-1][0][1] + b"\x00"
    if unsent and setting.policy.advertise:
        plan(draft, records.Timer.ADVERTISE, moment.now)
    if unsent and setting.confirms:  # people were to learn of a new offer by it
        draft.write(records.timer_key(moment.now, records.Timer.TELL_OFFER), b"")


def advertise_soon(draft: Draft, setting: Setting, moment: Moment) -> Flow[bool]:
    """Before its time, but not again and again. False: the last one is not long ago, or there are none."""
    if not setting.policy.advertise:
        return False
    row = yield from load_one(draft, records.plan_key(records.Timer.ADVERTISE))
    due = int.from_bytes(row.value, "big") if row is not None else 0
    if due <= moment.now + ADVERTISE_EVERY_MS - ADVERTISE_AGAIN_MS:
        draft.remove(records.timer_key(due, records.Timer.ADVERTISE))
        plan(draft, records.Timer.ADVERTISE, moment.now)
        return True
    return False


def tell_offer(
    draft: Draft, setting: Setting, moment: Moment, keys: TopicKeys, *, after: bytes = b""
) -> Flow[bytes | None]:
    """A new offer of ours to contacts and our other devices, who speak kexkit and have a session with us: what is not
    advertised would be over before the next text, and nothing could begin. A page; where the next begins, or None."""
    rows = yield from scan("peer", after, limit=FLUSH_BATCH)
    for key, row in rows:
        person = Person(key[1], row, records.read_peer(row.value))
        speaks = any(device.offer_seq and device.sessions for device in person.record.devices)
        if speaks and (person.record.contact or person.identity == setting.me.identity):
            message = yield from message_around(draft, (), setting)
            queue(draft, envelope_to(person, message, moment, shared=False, keys=keys), moment)
    return rows[-1][0][1] + b"\x00" if len(rows) == FLUSH_BATCH else None
