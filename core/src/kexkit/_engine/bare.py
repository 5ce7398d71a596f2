"""Frames that travel alone (carriage BARE): their topic and tag say whose they are. Nothing is tried by decryption."""

from __future__ import annotations

from kexkit import _records as records
from kexkit._engine.allowance import ANYBODY
from kexkit._engine.drawer import Fetched, ask, end_stored, guarded, take
from kexkit._engine.frames import Sealed, flights
from kexkit._engine.negotiating import answered_offer, bind_for, names_of, with_hint
from kexkit._engine.noting import note_offers
from kexkit._engine.offering import advertise_soon
from kexkit._engine.opening import check_peer, place, progress
from kexkit._engine.parting import find
from kexkit._engine.peers import Person, load_person, make_room, save_person
from kexkit._engine.requests import Draft, Flow, LiveSession, Moment, broken, live, load_one, scan
from kexkit._engine.setting import Setting
from kexkit._engine.settling import Heard, Talk
from kexkit._engine.strangers import admit, check_heard
from kexkit._engine.withholding import take_heard
from kexkit._engine.wrapping import BARE_VERSION, TopicKeys, envelopes_to, queue
from kexkit.api import Cue, Device, Envelope, KeyExchange, Opening, Step
from kexkit.errors import Limit, Malformed, MechanismMissing, PolicyRefused, Unknown
from kexkit.limits import BARE_TAG_BYTES, HALF_OPEN, HALF_OPEN_MS
from kexkit.policy import Publish


def receive_bare(draft: Draft, envelope: Envelope, setting: Setting, moment: Moment, keys: TopicKeys) -> Flow[None]:
    """Two point lookups: topic and tag, then the topic alone. What nobody here expects is passed over."""
    frame = envelope.payload
    if len(frame) < BARE_TAG_BYTES:
        raise Malformed("A frame is shorter than its tag.")
    row = yield from load_one(draft, records.route_key(envelope.topic, frame[:BARE_TAG_BYTES]))
    if row is None:
        row = yield from load_one(draft, records.route_key(envelope.topic, b""))
    if row is None:
        return
    route = records.read_route(row.value)
    exchange = setting.by_name.get(route.mechanism)
    if exchange is None:
        raise MechanismMissing(f"A frame of {route.mechanism} came, which is not enabled here.")
    if route.session:
        session = yield from live(draft, route.session)
        if session is not None:
            yield from _into(draft, session, exchange, frame, setting, moment, keys)
        return
    yield from _answer_opening(draft, route, exchange, frame, setting, moment, keys)


def _answer_opening(
    draft: Draft,
    route: records.Route,
    exchange: KeyExchange,
    frame: bytes,
    setting: Setting,
    moment: Moment,
    keys: TopicKeys,
) -> Flow[None]:
    """An opening to an offer of ours. Who sent it is proven later, or by the frame itself."""
    opening = yield from _opening_of(draft, route, exchange, setting)
    fetched: Fetched = {}
    step: Step = yield from ask(
        draft, exchange.name, lambda have: exchange.accept(frame, opening, have, ctx=moment.context), fetched
    )
    if opening.hint:
        yield from _send_hint(draft, exchange, step, setting, moment, keys)
        return
    if step.session is None:
        raise broken(exchange.name, "a BARE opening makes a session")
    known = yield from live(draft, step.session.id)
    if known is not None:  # it came again, in another envelope
        yield from _into(draft, known, exchange, frame, setting, moment, keys)
        return
    yield from _make_room(draft, setting, moment)
    after = take(draft, exchange, None, step, fetched, moment)
    assert after is not None
    draft.write(records.half_key(after.session.id), moment.now.to_bytes(8, "big"))
    expiry = records.timer_key(moment.now + HALF_OPEN_MS, records.Timer.HALF_EXPIRY, after.session.id)
    draft.write(expiry, b"")
    yield from settle(draft, None, after, None, exchange, step, setting, moment, keys, was_heard=True)


def _opening_of(draft: Draft, route: records.Route, exchange: KeyExchange, setting: Setting) -> Flow[Opening]:
    """Which offer of ours it answers, and whether that is still what we offer (negotiation 1.5)."""
    answered, current = yield from answered_offer(draft, route.offer, setting)
    if answered is None or current is None:
        raise Unknown("An opening answers an offer of ours that is long over.")
    if names_of(answered) != names_of(current) and setting.policy.publish is not Publish.ADVERTISE:
        raise PolicyRefused("An opening answers an outdated offer, and the policy shows ours to nobody in clear.")
    return with_hint(bind_for(exchange, setting, route.offer), answered, current, exchange.name)


def _send_hint(
    draft: Draft, exchange: KeyExchange, step: Step, setting: Setting, moment: Moment, keys: TopicKeys
) -> Flow[None]:
    """No session: what we offer now goes back in clear. Whoever repeats an opening shall not make us chatter, nor use
    up what others need: beyond the ration one advertisement answers all of them."""
    if step.session is not None or len(step.frames) != 1 or step.to is None or step.keep or step.drop:
        raise broken(exchange.name, "an opening to an outdated offer makes one frame and no session")
    if keys.allowance.take(ANYBODY, moment.now):
        queue(draft, Envelope(step.to, step.frames[0], BARE_VERSION, moment.sequence()), moment)
    elif not (yield from advertise_soon(draft, setting, moment)):
        raise Limit("Openings to outdated offers come too fast.")


def _make_room(draft: Draft, setting: Setting, moment: Moment) -> Flow[None]:
    """The oldest half-open session goes when there are too many."""
    half_open = yield from scan("half", limit=HALF_OPEN)
    if len(half_open) < HALF_OPEN:
        return
    oldest, _ = min(half_open, key=lambda found: found[1].value)
    yield from expire_half(draft, oldest[1], setting, moment)


def _into(
    draft: Draft,
    session: LiveSession,
    exchange: KeyExchange,
    frame: bytes,
    setting: Setting,
    moment: Moment,
    keys: TopicKeys,
) -> Flow[None]:
    """A frame for a session that exists."""
    fetched: Fetched = {}
    step: Step = yield from ask(
        draft, exchange.name, lambda have: session.session.receive(frame, have, ctx=moment.context), fetched
    )
    meant = yield from _stands_with(draft, session)
    after = take(draft, exchange, session, step, fetched, moment)
    yield from settle(draft, session, after, meant, exchange, step, setting, moment, keys, was_heard=True)


def _stands_with(draft: Draft, session: LiveSession) -> Flow[Device | None]:
    """Among whose sessions it has its place. To be asked before `take`, which clears the place of one that ends."""
    row = yield from load_one(draft, records.place_key(session.session.id))
    return records.read_place(row.value) if row is not None else None


def cue_session(
    draft: Draft, session_id: bytes, cue: Cue, setting: Setting, moment: Moment, keys: TopicKeys
) -> Flow[bool]:
    """Its time has come, a person answered, or it shall end. False: there is no such session."""
    session = yield from live(draft, session_id)
    exchange = setting.by_name.get(session.mechanism) if session is not None else None
    if session is None or exchange is None:
        return False
    step = guarded(exchange.name, lambda: session.session.cue(cue, ctx=moment.context))
    meant = yield from _stands_with(draft, session)
    after = take(draft, exchange, session, step, {}, moment)
    yield from settle(draft, session, after, meant, exchange, step, setting, moment, keys, was_heard=False)
    return True


def settle(
    draft: Draft,
    before: LiveSession | None,
    after: LiveSession | None,
    meant: Device | None,
    exchange: KeyExchange,
    step: Step,
    setting: Setting,
    moment: Moment,
    keys: TopicKeys,
    *,
    was_heard: bool,
) -> Flow[None]:
    """After a Step that no signed envelope brought: answer, and once the session has proven its peer, place it."""
    session = after or before
    assert session is not None
    if meant is not None:
        check_peer(exchange, after, meant)
    peer = session.session.peer or meant
    if peer is None:
        if step.plain:
            raise broken(exchange.name, "it opened a text of nobody")
        if after is None:
            yield from _no_longer_half_open(draft, session.session.id)
        nobody = Person(b"", None, records.new_peer())
        yield from _answer(draft, nobody, flights("", exchange, step), setting, moment, keys)
        return
    person = yield from load_person(draft, peer.identity)
    if step.offers and meant is not None:
        note_offers(draft, person, step.offers, setting, moment, allowance=keys.allowance)
    found = find(person, session.session.id)
    if found is not None and before is not None:
        talk = Talk(person, *found, exchange)
        came = yield from progress(draft, talk, before, after, step, setting, moment, heard=was_heard)
    elif after is not None:
        came = yield from _introduce(draft, person, peer, exchange, after, step, setting, moment, keys)
    else:
        came = Heard([], [], "", flights(peer.installation, exchange, step))
    yield from take_heard(draft, person, came, peer, setting, moment)
    save_person(draft, person)
    yield from _answer(draft, person, came.answers, setting, moment, keys)


def _introduce(
    draft: Draft,
    person: Person,
    peer: Device,
    exchange: KeyExchange,
    session: LiveSession,
    step: Step,
    setting: Setting,
    moment: Moment,
    keys: TopicKeys,
) -> Flow[Heard]:
    """Its peer is proven: from now on it is one of their device's sessions."""
    check_heard(person, setting)
    if person.is_new:
        yield from admit(draft, person, setting, moment, keys)
    yield from make_room(draft, person, peer.installation, setting, moment)
    yield from _no_longer_half_open(draft, session.session.id)
    return (yield from place(draft, person, peer.installation, exchange, session, step, setting, moment))


def _answer(
    draft: Draft, person: Person, answers: list[Sealed], setting: Setting, moment: Moment, keys: TopicKeys
) -> Flow[None]:
    if answers:
        for envelope in (yield from envelopes_to(draft, person, answers, setting, moment, keys)):
            queue(draft, envelope, moment)


def expire_half(draft: Draft, session_id: bytes, setting: Setting, moment: Moment) -> Flow[None]:
    """Nobody was proven in time."""
    if not (yield from _no_longer_half_open(draft, session_id)):
        return
    yield from end_stored(draft, session_id, setting, moment)


def _no_longer_half_open(draft: Draft, session_id: bytes) -> Flow[bool]:
    """Its timer goes too, or each opening of a stranger would leave one for a month. False: it was not half open."""
    key = records.half_key(session_id)
    row = yield from load_one(draft, key)
    if row is None:
        return False
    draft.remove(key)
    began = int.from_bytes(row.value, "big")
    draft.remove(records.timer_key(began + HALF_OPEN_MS, records.Timer.HALF_EXPIRY, session_id))
    return True
