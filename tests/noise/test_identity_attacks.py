"""Who is who in a Noise handshake: misbinding, impersonation with stolen keys, reflection.

Carol is dishonest: she runs the same program with values of her own making, and the network is hers.
"""

from __future__ import annotations

import pytest
from attrs import evolve
from kexkit.api import Advert, Device
from kexkit.errors import Forged, Refusal, Replayed
from kexkit.testing.key_exchange_case import force
from kexkit.testing.key_exchange_party import Party, Sent, bind_of
from kexkit.testing.pair import Pair
from kexkit_noise import limits, mechanisms, payload, statement
from kexkit_noise.answering import Answering
from kexkit_noise.calling import Calling, call
from kexkit_noise.keys import KeyPair, key_pair
from kexkit_noise.payload import PayloadV2
from kexkit_noise.sessions import Running

from tests.noise.meeting import (
    DAY_MS,
    NAMES,
    SENDS_STATIC,
    TELLS_STATIC,
    Meeting,
    answer_of,
    mechanism,
    nobody_is_believed,
    only,
    pair_of,
    put,
    refused,
    static_of,
)

ALL = pytest.mark.parametrize("name", NAMES)


def forge(of: Party, **changes: object) -> bytes:
    """A statement by this party about itself, but for what it changes, properly signed by it."""
    own = static_of(of).stated
    unsigned = evolve(own, **changes)
    return evolve(unsigned, signature=of.identity.sign(statement.LABEL, unsigned.body)).encoded


def pass_on(pair: Pair, mallory: Party, sent: Sent, to: Party) -> tuple[Sent, ...]:
    """In `mallory`'s name on the network; what the reader answers, or nothing if it refuses."""
    before = to.state()
    try:
        return to.receive(Sent(mallory.me, None, sent.frame, sent.topic)).sent
    except Refusal:
        assert to.state() == before
        return ()


# --- misbinding -------------------------------------------------------------------------------------------------------


def misbound(pair: Pair) -> Advert:
    """Carol's own offer of Bob's static: the statement is genuine, and about a key that she does not hold."""
    raw = forge(pair.carol, static=static_of(pair.bob).pair.public)
    stated = statement.parse(raw)
    dates = stated.not_before.to_bytes(8, "big") + stated.not_after.to_bytes(8, "big")
    public = stated.static + dates + stated.signature
    (advert,) = pair.alice.read_offer(public, pair.carol.me)
    return advert


@ALL
@pytest.mark.parametrize("retagged", [False, True])
def test_a_handshake_meant_for_one_who_offers_anothers_static_reaches_neither(name: str, retagged: bool) -> None:
    """Carol lets Bob do the work: Alice means Carol, Bob answers, and each would believe something else."""
    pair = pair_of(name)
    pair.alice.adverts[pair.carol.me] = advert = misbound(pair)
    (first,) = pair.alice.initiate(pair.carol.me).sent
    assert not pair.bob.hears(first), "nobody but Carol has an offer with this tag"
    if not retagged:
        return
    bobs = pair.bob.issued[0]
    assert bobs.to is not None
    moved = Sent(pair.carol.me, None, bobs.to.tag + first.frame[16:], bobs.to.topic)
    for reply in pass_on(pair, pair.carol, moved, pair.bob):
        tag = only(pair.alice, Calling).nametag
        for frame in (reply.frame, tag + reply.frame[16:]):
            assert refused(lambda frame=frame: pair.alice.receive_in(only(pair.alice, Calling).id, frame))
    nobody_is_believed(pair)
    assert advert.device == pair.carol.me


@pytest.mark.parametrize("name", SENDS_STATIC)
def test_an_initiator_is_whom_its_static_s_statement_names(name: str) -> None:
    """Carol begins with her own keys and says to be Alice, by every statement that she can get or make."""
    statements = [
        lambda pair: static_of(pair.alice).stated.encoded,  # genuine, of another static
        lambda pair: forge(pair.carol, device=pair.alice.me),  # of her static, in Alice's name, signed by herself
        lambda pair: forge(pair.carol, static=static_of(pair.alice).pair.public),  # her own, of Alice's static
        lambda pair: static_of(pair.bob).stated.encoded,
        lambda pair: forge(pair.carol, device=pair.bob.me),
        lambda pair: forge(pair.carol, not_before=1, not_after=2),
        lambda pair: bytes(162),
    ]
    for make in statements:
        pair = pair_of(name)
        (first,) = pair.carol.initiate(pair.bob.me).sent
        (second,) = pair.bob.receive(first).sent
        put(pair.carol, evolve(only(pair.carol, Calling), stated=make(pair)))
        before = pair.bob.state()
        (third,) = _third_of(pair.carol, second)
        with pytest.raises(Refusal):
            pair.bob.receive(third)
        assert pair.bob.state() == before
        nobody_is_believed(pair)


def _third_of(carol: Party, second: Sent) -> tuple[Sent, ...]:
    """Carol's program does not look at its own statement."""
    calling = only(carol, Calling)
    honest = static_of(carol).stated
    state, stated = calling.state, calling.stated
    read = payload.decode(second.frame, calling.mechanism.protocol_id)
    got = state.read(read.fields, read.transport, calling.nametag)
    ratchet = key_pair(b"\x77" * 32).public if calling.mechanism.heals else b""
    content = calling.mechanism.write_payload(ratchet, stated)
    tag = calling.mechanism.third_tag(got.state)
    written = got.state.write(content, tag)
    frame = payload.encode(PayloadV2(tag, calling.mechanism.protocol_id, written.fields, written.transport))
    assert honest.device == carol.me
    return (Sent(carol.me, None, frame, second.topic),)


@pytest.mark.parametrize("name", [name for name in NAMES if "k1k1" in name])
def test_in_k1k1_a_name_in_clear_is_nobody_until_the_third_message(name: str) -> None:
    """Carol says to be Alice by Alice's genuine statement, which she got from Alice's offer."""
    pair = pair_of(name)
    alices = static_of(pair.alice)
    opening = pair.carol.opening(pair.bob.me, bind_of(pair.carol.exchange, pair.carol.adverts[pair.bob.me]))
    posing = evolve(alices, pair=KeyPair(static_of(pair.carol).pair.private, alices.pair.public))
    ctx = evolve(pair.carol.context, me=pair.alice.me)
    step = call(mechanisms.MECHANISMS[name], opening, posing, None, ctx)
    calling = step.session
    assert isinstance(calling, Calling)
    took = pair.bob.receive(Sent(pair.carol.me, None, step.frames[0], step.to))
    assert only(pair.bob, Answering).peer is None
    put(pair.carol, calling)
    (second,) = took.sent
    (third,) = _third_of_k1k1(calling, second)
    assert isinstance(refused(lambda: pair.bob.receive(third)), Forged)
    nobody_is_believed(pair)


@pytest.mark.parametrize("name", [name for name in NAMES if "k1k1" in name])
def test_in_k1k1_a_name_that_nobody_signed_begins_nothing(name: str) -> None:
    wrong = [
        lambda pair: forge(pair.carol, device=pair.alice.me),
        lambda pair: forge(pair.carol, not_before=1, not_after=2),
        lambda pair: static_of(pair.bob).stated.encoded,
        lambda pair: forge(pair.carol, device=pair.bob.me),
    ]
    for make in wrong:
        pair = pair_of(name)
        own = evolve(static_of(pair.carol), stated=statement.parse(make(pair)))
        opening = pair.carol.opening(pair.bob.me, bind_of(pair.carol.exchange, pair.carol.adverts[pair.bob.me]))
        step = call(mechanisms.MECHANISMS[name], opening, own, None, pair.carol.context)
        first = Sent(pair.carol.me, None, step.frames[0], step.to)
        assert refused(lambda first=first, pair=pair: pair.bob.receive(first))
        assert pair.bob.sessions == {}


def _third_of_k1k1(calling: Calling, second: Sent) -> tuple[Sent, ...]:
    read = payload.decode(second.frame, calling.mechanism.protocol_id)
    got = calling.state.read(read.fields, read.transport, calling.nametag)
    ratchet = key_pair(b"\x77" * 32).public if calling.mechanism.heals else b""
    tag = calling.mechanism.third_tag(got.state)
    written = got.state.write(calling.mechanism.write_payload(ratchet, b""), tag)
    frame = payload.encode(PayloadV2(tag, calling.mechanism.protocol_id, written.fields, written.transport))
    return (Sent(calling.peer, None, frame, second.topic),)


@ALL
def test_a_responder_is_the_device_that_was_meant(name: str) -> None:
    """Carol takes Bob's place with her own static, and with each statement that she can get or make."""
    statements = [
        lambda pair: static_of(pair.carol).stated.encoded,
        lambda pair: static_of(pair.bob).stated.encoded,
        lambda pair: forge(pair.carol, device=pair.bob.me),
        lambda pair: static_of(pair.alice).stated.encoded,
        lambda pair: forge(pair.carol, static=static_of(pair.bob).pair.public),
    ]
    for make in statements:
        pair = pair_of(name)
        first = Meeting(pair).first()
        own = evolve(static_of(pair.carol), stated=statement.parse(make(pair)))
        second = answer_of(pair, first, own)
        with pytest.raises(Refusal):
            pair.alice.receive(second)
        nobody_is_believed(pair)
        genuine = pair.deliver(first).sent[0]
        assert pair.alice.receive(genuine).session is not None


@ALL
def test_an_opening_to_one_offer_does_not_open_by_another(name: str) -> None:
    """A tag moved to another person's or another time's offer: the prologue differs."""
    pair = pair_of(name)
    first = Meeting(pair).first()
    carols = pair.carol.issued[0]
    assert carols.to is not None
    moved = Sent(pair.alice.me, None, carols.to.tag + first.frame[16:], carols.to.topic)
    try:
        answers = pair.carol.receive(moved).sent
    except Refusal:
        return
    for reply in answers:
        assert not pair.alice.hears(reply), "another prologue, another tag of message 2"
        calling = only(pair.alice, Calling)
        for frame in (reply.frame, calling.nametag + reply.frame[16:]):
            assert refused(lambda frame=frame, calling=calling: pair.alice.receive_in(calling.id, frame))


@ALL
def test_session_ids_differ_with_the_offer_the_mechanism_and_the_opening(name: str) -> None:
    pair = pair_of(name)
    ids = {pair.alice.initiate(peer.me).session for peer in (pair.bob, pair.bob, pair.carol)}
    other = pair_of(NAMES[NAMES.index(name) - 1])
    ids.add(other.alice.initiate(other.bob.me).session)
    assert len(ids) == 4


# --- stolen keys ------------------------------------------------------------------------------------------------------


@ALL
def test_with_the_responder_s_static_stolen_nobody_else_comes_to_it_as_the_initiator(name: str) -> None:
    """KCI. The thief of Bob's static poses as Alice to Bob: message 3 needs Alice's own static."""
    pair = pair_of(name)
    alices = static_of(pair.alice)
    thief = pair.carol.copy(me=pair.alice.me)
    thief.drawer |= {row: kept for row, kept in pair.bob.drawer.items() if row.startswith(b"static/")}
    posing = evolve(alices, pair=KeyPair(static_of(pair.bob).pair.private, alices.pair.public))
    ours = mechanisms.MECHANISMS[name]
    opening = thief.opening(pair.bob.me, bind_of(thief.exchange, thief.adverts[pair.bob.me]))
    ctx = evolve(thief.context, me=pair.alice.me)
    step = call(ours, opening, posing, mechanism(name).psk, ctx)
    calling = step.session
    assert isinstance(calling, Calling)
    took = pair.bob.receive(Sent(pair.alice.me, None, step.frames[0], step.to))
    before = pair.bob.state()
    third = pair.alice.exchange and calling.receive(
        took.sent[0].frame, {statement.pin_row(pair.bob.me): None}, ctx=evolve(ctx, rng=thief.rng)
    )
    frame = third.frames[0]  # type: ignore[union-attr]  # a Step: nothing was wanted
    assert isinstance(refused(lambda: pair.bob.receive(Sent(pair.alice.me, None, frame, took.sent[0].topic))), Forged)
    assert pair.bob.state() == before
    nobody_is_believed(pair)


@ALL
def test_with_the_initiator_s_static_stolen_nobody_else_answers_as_the_responder(name: str) -> None:
    """KCI the other way: the thief has Alice's static and everything that is public of Bob."""
    pair = pair_of(name)
    first = Meeting(pair).first()
    bobs = static_of(pair.bob)
    stolen = evolve(bobs, pair=KeyPair(static_of(pair.carol).pair.private, bobs.pair.public))
    second = answer_of(pair, first, stolen)
    assert isinstance(refused(lambda: pair.alice.receive(second)), Forged)
    nobody_is_believed(pair)


@pytest.mark.parametrize("name", SENDS_STATIC)
def test_a_static_that_was_replaced_ends_its_thief(name: str) -> None:
    """Alice's static was stolen; she has made another since, and Bob has seen it. Its statement still runs."""
    pair = pair_of(name)
    thief = pair.alice.copy(seed="thief")
    Meeting(pair).all()
    pair.clock.now = static_of(pair.alice).stated.not_before * 1000 + limits.STATIC_MS
    pair.publish(pair.alice)
    Meeting(pair).all()
    (first,) = thief.initiate(pair.bob.me).sent
    (second,) = pair.bob.receive(first).sent
    (third,) = thief.receive(second).sent
    before = pair.bob.state()
    assert refused(lambda: pair.bob.receive(third)) is not None
    assert pair.bob.state() == before


@ALL
def test_a_static_that_was_replaced_does_not_answer_either(name: str) -> None:
    """The thief of Bob's old static lets Alice see the old offer again, as after a restored store of core's."""
    pair = pair_of(name)
    thief, old = pair.bob.copy(seed="thief"), pair.alice.adverts[pair.bob.me]
    pair.clock.now = static_of(pair.bob).stated.not_before * 1000 + limits.STATIC_MS
    pair.publish(pair.bob)
    Meeting(pair).all()
    pair.alice.adverts[pair.bob.me] = old
    first = Meeting(pair).first()
    (second,) = thief.receive(first).sent
    before = pair.alice.state()
    assert isinstance(refused(lambda: pair.alice.receive(second)), Replayed)
    assert pair.alice.state() == before


@ALL
def test_the_last_static_of_a_peer_is_remembered_for_three_lives_of_a_session(name: str) -> None:
    """Or as long as its statement runs, if that is shorter: what strangers make us keep goes."""
    pair = pair_of(name)
    Meeting(pair).all()
    for party in (pair.alice, pair.bob):
        (pin,) = [row for row_id, row in party.drawer.items() if row_id.startswith(b"pin/")]
        assert pin.until == pair.clock.now + limits.PIN_MS == pair.clock.now + 3 * limits.SESSION_MS
    pair.clock.now += 170 * DAY_MS
    Meeting(pair).all()
    for party in (pair.alice, pair.bob):
        (pin,) = [row for row_id, row in party.drawer.items() if row_id.startswith(b"pin/")]
        assert pin.until == static_of(pair.other(party)).stated.not_after * 1000


@pytest.mark.parametrize("name", TELLS_STATIC)
def test_a_second_message_uses_the_static_that_the_answered_offer_names(name: str) -> None:
    """Whoever stole another static of Bob's, whose statement still runs, does not answer with it."""
    pair = pair_of(name)
    first = Meeting(pair).first()
    other = key_pair(b"\x55" * 32)
    stated = statement.parse(forge(pair.bob, static=other.public))
    second = answer_of(pair, first, evolve(static_of(pair.bob), pair=other, stated=stated))
    assert isinstance(refused(lambda: pair.alice.receive(second)), Forged)
    nobody_is_believed(pair)


@pytest.mark.parametrize("name", TELLS_STATIC)
def test_the_second_message_s_statement_is_checked_though_its_static_is_the_offer_s(name: str) -> None:
    """Bob himself, with a statement that is no longer good, or never was."""
    wrong = [
        lambda pair: forge(pair.bob, not_before=1, not_after=2),
        lambda pair: forge(pair.bob, not_before=2**40, not_after=2**40 + 1),
        lambda pair: forge(pair.bob, device=Device(pair.bob.me.identity, pair.carol.me.installation)),
        lambda pair: forge(pair.carol, static=static_of(pair.bob).pair.public),
        lambda pair: static_of(pair.bob).stated.encoded[:-1] + b"\0",
    ]
    for make in wrong:
        pair = pair_of(name)
        first = Meeting(pair).first()
        own = evolve(static_of(pair.bob), stated=statement.parse(make(pair)))
        second = answer_of(pair, first, own)
        assert refused(lambda second=second, pair=pair: pair.alice.receive(second))
        nobody_is_believed(pair)


# --- reflection -------------------------------------------------------------------------------------------------------


@ALL
def test_what_we_send_opens_nothing_when_it_comes_back(name: str) -> None:
    pair = pair_of(name)
    first, second, third = Meeting(pair).all()
    for sent, sender in ((first, pair.alice), (second, pair.bob), (third, pair.alice)):
        for bind in [issued.bind for issued in sender.issued]:
            twin = sender.copy()
            known = set(twin.sessions)
            took = force(twin, Sent(pair.other(sender).me, None, sent.frame, sent.topic), bind)
            assert took is None or not took.plain
            assert all(not isinstance(s, Running) for key, s in twin.sessions.items() if key not in known)


@ALL
def test_nobody_calls_itself(name: str) -> None:
    """An offer of ours that comes back under the name of somebody who signs it as theirs."""
    pair = pair_of(name)
    raw = forge(pair.carol, static=static_of(pair.alice).pair.public)
    stated = statement.parse(raw)
    dates = stated.not_before.to_bytes(8, "big") + stated.not_after.to_bytes(8, "big")
    (advert,) = pair.alice.read_offer(stated.static + dates + stated.signature, pair.carol.me)
    pair.alice.adverts[pair.carol.me] = advert
    with pytest.raises(Forged):
        pair.alice.initiate(pair.carol.me)
