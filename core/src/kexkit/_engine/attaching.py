"""What is sealed beside a text until both ends have confirmed their choice."""

from __future__ import annotations

from collections.abc import Sequence

from kexkit import _records as records
from kexkit._engine.frames import Sealed, seal_in
from kexkit._engine.negotiating import current_offer, effective, names_of
from kexkit._engine.peers import Person, winner_over
from kexkit._engine.requests import Draft, Flow, LiveSession, Moment, load_one
from kexkit._engine.setting import Setting
from kexkit._engine.settling import Talk
from kexkit._negotiation import Confirming
from kexkit._transitions import State
from kexkit._wire import mvds
from kexkit._wire.confirms import Confirm, View, encode_confirm, record_digest
from kexkit._wire.offers import SignedOffer, read
from kexkit.api import Carriage
from kexkit.limits import CONFIRM_AGAIN_MS, CONFIRM_VIEWS, OFFER_ENTRIES, QUIET_MS


def ask_for_confirmation(draft: Draft, talk: Talk, setting: Setting, moment: Moment) -> Flow[None]:
    """Write down what we saw and chose: every payload carries these bytes until they are answered."""
    offer = yield from current_offer(draft, setting)
    assert offer is not None
    ref, device = talk.ref, talk.device
    confirm = Confirm(
        session=ref.id,
        initiator=setting.me.identity,
        initiator_installation=setting.me.installation,
        responder=talk.person.identity,
        responder_installation=device.installation,
        offer_digest=ref.offer,
        mechanism=ref.mechanism,
        mask=_mask(offer, device, setting),
        offer=offer.received,
        views=_views(talk.person),
        previous=_replaced(device, ref),
    )
    raw = encode_confirm(confirm)
    ref.confirming = Confirming.ASKING
    ref.record = record_digest(raw)
    ref.since = moment.now
    draft.write(records.confirm_key(ref.id), raw)
    if device.offer_seq:  # who makes none may never answer
        draft.write(records.rest_timer(moment.now + QUIET_MS, ref.id), b"")
    if talk.exchange.carriage is Carriage.BARE:
        ask_again(draft, ref, moment)


def ask_again(draft: Draft, ref: records.SessionRef, moment: Moment) -> None:
    """A confirmation that is not answered is repeated alone: after a handshake of several flights, and when texts wait
    for it. Otherwise the next text repeats it, for a copy that comes very late would only be shown as unreadable."""
    draft.write(records.timer_key(moment.now + CONFIRM_AGAIN_MS, records.Timer.CONFIRM, ref.id), b"")


def _mask(offer: SignedOffer, device: records.PeerDevice, setting: Setting) -> int:
    """Which of our mechanisms we allow for this device. Left out, too, is what it offers and we could not read."""
    allowed = set(effective(device, setting))
    listed = {entry.name for entry in _offer_of(device).body.entries} if device.offer else set()
    allowed -= listed - set(device.offered)
    names = names_of(offer)[:OFFER_ENTRIES]
    return sum(1 << place for place, name in enumerate(names) if name in allowed)


def _offer_of(device: records.PeerDevice) -> SignedOffer:
    signed = device.offer
    return read(signed, expected_identity=signed[1:34])


def _views(person: Person) -> tuple[View, ...]:
    """What we know of their devices, so that whichever answers can tell what was kept from us."""
    offering = sorted((each for each in person.record.devices if each.offer_seq), key=lambda each: -each.offer_seq)
    newest = sorted(offering[:CONFIRM_VIEWS], key=lambda each: each.installation)
    return tuple(View(each.installation, each.offer_seq) for each in newest)


def _replaced(device: records.PeerDevice, ref: records.SessionRef) -> bytes | None:
    older = [one for one in device.sessions if one.id not in (ref.id, ref.crossed) and State(one.state) is State.OPEN]
    if not older:
        return None
    return min(older, key=lambda one: (winner_over(device, one) is not None, -one.rank, one.id)).id


def attached(
    draft: Draft,
    talk: Talk,
    bodies: Sequence[bytes],
    setting: Setting,
    moment: Moment,
    message_id: bytes = b"",
) -> Flow[bytes]:
    """What is sealed: the bare text, or, until both have confirmed, the text and our confirmation together."""
    ref = talk.ref
    if ref.confirming == Confirming.SETTLED:
        assert len(bodies) == 1
        return bodies[0]
    row = yield from load_one(draft, records.confirm_key(ref.id))
    if ref.confirming == Confirming.ASKING and message_id:
        ref.texts += 1
        talk.person.changed = True
        draft.write(records.unconfirmed_key(ref.id, message_id), b"")
    return mvds.wrap(
        bodies,
        group=mvds.one_to_one_group(setting.me.identity, talk.person.identity),
        timestamp=moment.now // 1000,
        confirm=row.value if row is not None else b"",
        crossed=ref.crossed if row is not None and not ref.ours else b"",
    )


def confirmation_alone(
    draft: Draft, talk: Talk, session: LiveSession, setting: Setting, moment: Moment
) -> Flow[Sealed]:
    """Nothing but our confirmation, or our answer."""
    body = yield from attached(draft, talk, (), setting, moment)
    answers = talk.ref.offer if talk.ref.ours else b""
    installation = talk.device.installation
    return seal_in(draft, talk.exchange, session, installation, body, moment, flight=True, answers=answers)
