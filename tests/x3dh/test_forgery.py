"""A forged frame leaves everything as it was, costs little, and the genuine one still opens."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
from kexkit import secp256k1
from kexkit.api import NOTHING, Step
from kexkit.errors import Forged, Limit, Malformed, NotMine, Refusal, Replayed, Unknown
from kexkit.testing.key_exchange_party import Sent
from kexkit.testing.pair import Pair
from kexkit_x3dh import chains
from kexkit_x3dh.session import RatchetSession
from kexkit_x3dh.state import Speaking

from tests.x3dh.support import (
    OFF_CURVE,
    met,
    negated,
    opening,
    parsed,
    refusal,
    rewritten,
    seal,
    session,
    strangers,
    with_header,
)


def first_flight() -> tuple[Pair, Sent]:
    pair = strangers()
    return pair, opening(pair)


def second_of_first_chain() -> tuple[Pair, Sent]:
    pair, sent = first_flight()
    pair.bob.receive(sent)
    return pair, seal(pair.alice, pair.bob)


def in_chain() -> tuple[Pair, Sent]:
    pair = met()
    pair.bob.receive(seal(pair.alice, pair.bob))
    return pair, seal(pair.alice, pair.bob)


def turned() -> tuple[Pair, Sent]:
    pair = met()
    pair.say(pair.bob, b"so that alice turns")
    return pair, seal(pair.alice, pair.bob)


def late() -> tuple[Pair, Sent]:
    pair = met()
    sent = seal(pair.alice, pair.bob, b"overtaken")
    pair.say(pair.alice, b"overtakes")
    return pair, sent


SIGN_OF_THE_EPHEMERAL = 32
"""the place of this bit in a first frame"""
SITUATIONS: list[Callable[[], tuple[Pair, Sent]]] = [first_flight, second_of_first_chain, in_chain, turned, late]


@pytest.mark.parametrize("situation", SITUATIONS)
def test_every_bit_of_a_frame_counts(situation: Callable[[], tuple[Pair, Sent]]) -> None:
    pair, sent = situation()
    taken = []
    for place in range(len(sent.frame) * 8):
        changed = bytearray(sent.frame)
        changed[place // 8] ^= 1 << place % 8
        if refusal(pair.bob.copy(), sent.altered(bytes(changed))) is None:
            taken.append(place)
    assert taken == ([SIGN_OF_THE_EPHEMERAL] if situation is first_flight else [])
    assert pair.bob.receive(sent).texts


def test_the_one_bit_that_nothing_covers_makes_no_second_opening() -> None:
    """Of a first frame, the sign of the ephemeral key: Status multiplies it and takes the x coordinate, no more."""
    pair, sent = first_flight()
    twin = bytearray(sent.frame)
    twin[SIGN_OF_THE_EPHEMERAL // 8] ^= 1
    for first, second in ((sent, sent.altered(bytes(twin))), (sent.altered(bytes(twin)), sent)):
        bob = pair.bob.copy()
        took = bob.receive(first)
        assert took.texts == [b"first"]
        assert took.session == session(pair.alice, pair.bob).id
        assert isinstance(refusal(bob, second), Forged)
        bob.sessions.clear()
        assert isinstance(refusal(bob, second), Forged)


@pytest.mark.parametrize("situation", SITUATIONS)
def test_a_frame_cut_anywhere_is_refused(situation: Callable[[], tuple[Pair, Sent]]) -> None:
    pair, sent = situation()
    for size in range(len(sent.frame)):
        assert refusal(pair.bob, sent.altered(sent.frame[:size])) is not None
    assert pair.bob.receive(sent).texts


def test_hostile_headers_are_cheap_and_write_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten thousand. Those beyond the bound take no step of a chain, the others as many as they say."""
    pair = met()
    pair.say(pair.bob, b"so that alice can turn")
    sent, before = seal(pair.alice, pair.bob), pair.bob.state()
    steps = 0
    genuine = chains.next_chain

    def counted(chain: bytes) -> bytes:
        nonlocal steps
        steps += 1
        assert steps < 10_000 * 8
        return genuine(chain)

    monkeypatch.setattr(chains, "next_chain", counted)
    dice = random.Random(1)
    value, ctx = session(pair.bob, pair.alice), pair.bob.context
    key = parsed(sent).dr_header.key
    for _ in range(10_000):
        n, pn = dice.choice((0, 7, 5000, 2**32 - 1, dice.getrandbits(32))), dice.getrandbits(dice.choice((3, 32)))
        header = {"n": n, "pn": pn, "key": dice.choice((key, OFF_CURVE, value.receiving.key))}
        with pytest.raises(Refusal):
            value.receive(with_header(sent, **header).frame[:-1] + b"\0", NOTHING, ctx=ctx)
    assert pair.bob.state() == before
    assert pair.bob.receive(sent).texts


def test_a_header_beyond_the_bound_costs_no_agreement_and_no_step(monkeypatch: pytest.MonkeyPatch) -> None:
    pair = met()
    pair.say(pair.bob, b"so that alice can turn")
    turned_frame, value, ctx = seal(pair.alice, pair.bob), session(pair.bob, pair.alice), pair.bob.context

    def never(*_: object) -> bytes:
        raise AssertionError("a derivation was made for a frame beyond the bound")

    for name in ("next_chain", "chain_step", "root_step"):
        monkeypatch.setattr(chains, name, never)
    monkeypatch.setattr(secp256k1, "agree", never)
    for header in ({"n": 1001}, {"n": 2**32 - 1}, {"pn": 2**32 - 1}, {"pn": value.receiving.n + 1001}, {"pn": 0}):
        with pytest.raises(NotMine):
            value.receive(with_header(turned_frame, **header).frame, NOTHING, ctx=ctx)
    in_chain_frame = with_header(turned_frame, key=value.receiving.key, n=value.receiving.n + 1001, pn=0)
    with pytest.raises(Limit):
        value.receive(in_chain_frame.frame, NOTHING, ctx=ctx)


def test_a_peer_cannot_turn_twice_before_it_has_heard_our_new_key() -> None:
    """Then no agreement is made for it either: who only reads cannot be made to multiply."""
    pair = met()
    pair.say(pair.alice, b"bob listens now")
    value, ctx = session(pair.bob, pair.alice), pair.bob.context
    frame = with_header(seal(pair.alice, pair.bob), key=secp256k1.public_of(bytes(31) + b"\x07"), n=0).frame
    with pytest.raises(NotMine):
        value.receive(frame, NOTHING, ctx=ctx)


def test_what_the_header_shows_to_be_ours_is_called_forged_and_the_rest_not_mine() -> None:
    pair, sent = in_chain()
    tampered = sent.altered(sent.frame[:-1] + bytes((sent.frame[-1] ^ 1,)))
    assert type(refusal(pair.bob, tampered)) is Forged
    pair, sent = turned()
    value = session(pair.bob, pair.alice)
    with pytest.raises(NotMine):
        value.receive(sent.frame[:-1] + bytes((sent.frame[-1] ^ 1,)), NOTHING, ctx=pair.bob.context)
    pair, sent = second_of_first_chain()
    tampered = sent.altered(sent.frame[:-1] + bytes((sent.frame[-1] ^ 1,)))
    assert type(refusal(pair.bob, tampered)) is Forged


def test_a_frame_of_a_session_that_is_not_here_is_kept_for_later() -> None:
    pair = met()
    sent = seal(pair.alice, pair.bob)
    pair.bob.sessions.clear()
    assert type(refusal(pair.bob, sent)) is Unknown


def test_a_repeated_message_is_called_so_in_its_chain_and_eight_turns_later() -> None:
    pair = met()
    sent = seal(pair.alice, pair.bob)
    pair.bob.receive(sent)
    assert type(refusal(pair.bob, sent)) is Replayed
    for _ in range(8):
        pair.say(pair.bob, b"turn")
        pair.say(pair.alice, b"turn")
        assert type(refusal(pair.bob, sent)) is Replayed
    pair.say(pair.bob, b"turn")
    pair.say(pair.alice, b"turn")
    assert refusal(pair.bob, sent) is not None


def test_a_first_message_with_messages_before_it_is_refused_though_it_authenticates() -> None:
    """Its sender is the peer itself, and nobody had a chain yet: keys would be kept under no ratchet key."""
    pair = strangers()
    pair.alice.initiate(pair.bob.me)
    seal(pair.alice, pair.bob)
    value = session(pair.alice, pair.bob)
    made = value.sending
    assert isinstance(made, Speaking)
    odd = RatchetSession(
        value.parties,
        value.bounds,
        False,
        value.root,
        Speaking(made.secret, made.public, 3, made.young, made.chain, made.n),
        value.receiving,
    )
    (frame,) = odd.seal(b"text", ctx=pair.alice.context).frames
    assert type(refusal(pair.bob, Sent(pair.alice.me, pair.bob.me, frame))) is Forged


def test_our_own_frames_come_back_as_forgeries() -> None:
    pair = strangers()
    sent = opening(pair)
    value = session(pair.alice, pair.bob)
    with pytest.raises(Forged):
        value.receive(sent.frame, NOTHING, ctx=pair.alice.context)


def test_a_negated_ephemeral_is_refused_where_the_opening_is_known() -> None:
    """P and -P agree on the same secret, so the frame would open; other bytes must not pass for another opening."""
    pair, sent = second_of_first_chain()
    message = parsed(sent)
    message.x3dh_header.key = negated(message.x3dh_header.key)
    twin = rewritten(sent, message)
    pair.bob.receive(sent)
    refused = refusal(pair.bob, twin)
    assert isinstance(refused, Forged)
    pair.bob.sessions.clear()
    assert isinstance(refusal(pair.bob, twin), Forged)


@pytest.mark.parametrize("field", ["ephemeral", "ratchet key in a first frame", "ratchet key of a turn"])
def test_a_point_off_the_curve_is_refused_in_every_field_that_is_multiplied(field: str) -> None:
    pair, sent = turned() if field == "ratchet key of a turn" else first_flight()
    message = parsed(sent)
    if field == "ephemeral":
        message.x3dh_header.key = OFF_CURVE
    else:
        message.dr_header.key = OFF_CURVE
    assert isinstance(refusal(pair.bob, rewritten(sent, message)), Malformed | Unknown | NotMine)
    if field == "ephemeral":  # by its own name, when the prekey is known
        rows = {row: kept.value for row, kept in pair.bob.drawer.items()}
        wanted = pair.bob.exchange.accept(
            rewritten(sent, message).frame, pair.bob.opening(pair.alice.me, b""), NOTHING, ctx=pair.bob.context
        )
        assert not isinstance(wanted, Step)
        have = {row: rows.get(row) for row in wanted.rows}
        with pytest.raises(Malformed):
            pair.bob.exchange.accept(
                rewritten(sent, message).frame, pair.bob.opening(pair.alice.me, b""), have, ctx=pair.bob.context
            )
    assert pair.bob.receive(sent).texts
