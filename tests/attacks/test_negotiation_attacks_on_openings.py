"""Attacks 9 to 15 of the design of negotiation, each by its number: on openings, confirmations and bounds."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from attrs import evolve
from kexkit._transitions import State
from kexkit._wire.offers import Entry, hello_tag
from kexkit._wire.protocol_message import Frame, ProtocolMessage
from kexkit.api import Envelope
from kexkit.errors import (
    OfferMalformed,
    OfferTooLarge,
)
from kexkit.events import NegotiationTrouble, SessionOpened
from kexkit.limits import DEVICES_PER_PEER, PROVISIONAL_TEXTS
from kexkit.policy import Policy

from tests.attacks.forging import flipped
from tests.attacks.man_in_the_middle import (
    DAY,
    HEALING,
    PSK_NAME,
    X3DH_NAME,
    Middle,
    a_middle,
    able,
    drop,
    listing,
    make_no_offers,
    pass_on,
    signed_anew,
    with_offers,
    without_offers,
)
from tests.attacks.negotiation_rows import BOTH, PAUSES, open_over, outdated_code, talking, two

# --- 9 to 13: what is done to sessions -------------------------------------------------------------------------------


def first_flight(middle: Middle) -> ProtocolMessage:
    """Alice's first text over x3dh, which has not arrived."""
    middle.hook = drop
    middle.adds("alice", "bob", without_offers)
    middle.says("alice", "bob", "one")
    messages = [middle.inside(each) for who, each in middle.log if who == "alice"]
    (found,) = [message for message in messages if message is not None and message.slots]
    return found


def test_09_a_confirmation_cannot_be_taken_off_nothing_of_the_text_opens_without_it() -> None:
    """Whatever byte of the frame is changed or cut, the message falls whole; untouched, it opens."""
    with two() as middle:
        message = first_flight(middle)
        ((installation, frame),) = message.slots.items()
        spoiled = [flipped(frame, bit * 8) for bit in range(0, len(frame), 29)] + [
            frame[:-1],
            frame[:-40],
            frame + b"x",
        ]
        for one in spoiled:
            middle.bob.receive(middle.remade("alice", "bob", evolve(message, slots={installation: one})))
            assert middle.heard("bob") == []
            assert not middle.mechanisms("bob", "alice")
        middle.heal()
        assert (middle.heard("bob"), open_over(middle)) == (["one"], {HEALING})


def test_09_who_makes_offers_and_answers_without_a_confirmation_is_not_believed() -> None:
    status = able(X3DH_NAME, policy=Policy())
    with a_middle(alice=status, bob=status) as middle:
        code = middle.bob.code()
        make_no_offers(middle.bob)
        middle.adds("alice", "bob", lambda _: code)
        middle.says("alice", "bob", "one")
        middle.says("bob", "alice", "two")
        assert middle.heard("alice") == []
        assert middle.mechanisms("alice", "bob") == []
        assert "ConfirmationMissing" in middle.causes("alice")


def test_10_a_confirmation_played_back_or_to_others_or_by_others_opens_nothing() -> None:
    with two(mallory=able(*BOTH, policy=Policy())) as middle:
        message = first_flight(middle)
        ((_, frame),) = message.slots.items()
        for maker, to in (("bob", "alice"), ("alice", "mallory"), ("mallory", "bob")):
            slots = {middle.peers[to].me.installation: frame}
            installation = middle.peers[maker].me.installation
            played = ProtocolMessage(installation, slots=slots)
            middle.peers[to].receive(middle.remade(maker, to, played))
            assert middle.heard(to) == []
            assert not any(isinstance(event, SessionOpened) for event in middle.peers[to].told_ever)


def test_11_an_opening_that_is_made_to_answer_another_offer_fails_and_nothing_else_is_tried() -> None:
    """Where frames travel alone the tag says which offer they answer: it is replaced by that of another live one."""
    with two() as middle:
        middle.clock.now += 8 * DAY
        middle.bob.boot()  # the same names, signed anew: both offers live
        digests = list(middle.bob.table("offered"))
        assert len(digests) == 2
        middle.adds("alice", "bob")
        seen = middle.device("alice", "bob").offer_digest
        (other,) = set(digests) - {seen}

        def retagged(sender: str, envelope: Envelope) -> Sequence[Envelope]:
            if envelope.payload.startswith(hello_tag(HEALING, seen)):
                tag = hello_tag(HEALING, other)
                return [evolve(envelope, payload=tag + envelope.payload[len(tag) :])]
            return [envelope]

        middle.hook = retagged
        middle.says("alice", "bob", "one")
        middle.wait(*PAUSES)
        assert (middle.heard("bob"), open_over(middle), middle.begun("alice")) == ([], set(), [])
        assert middle.mechanisms("alice", "bob", State.OPENING) == [HEALING]
        middle.heal()
        assert (middle.heard("bob"), open_over(middle)) == (["one"], {HEALING})


@pytest.mark.parametrize("lie", [b"", bytes(32)], ids=["none", "unknown"])
def test_11_a_frame_that_is_made_to_answer_another_offer_opens_nothing(lie: bytes) -> None:
    psk = able(PSK_NAME, X3DH_NAME)
    with a_middle(alice=psk, bob=psk) as middle:

        def lying(sender: str, envelope: Envelope) -> Sequence[Envelope]:
            message = middle.inside(envelope)
            if sender != "alice" or message is None or not message.frames:
                return [envelope]
            frames = tuple(Frame(one.installation, one.mechanism, one.frame, lie) for one in message.frames)
            return [middle.remade("alice", "bob", evolve(message, frames=frames))]

        middle.hook = lying
        middle.adds("alice", "bob")
        middle.says("alice", "bob", "one")
        middle.wait(*PAUSES)
        assert (middle.heard("bob"), open_over(middle)) == ([], set())
        assert set(middle.begun("alice")) == {PSK_NAME}
        middle.heal()
        assert (middle.heard("bob"), open_over(middle)) == (["one"], {PSK_NAME})


def test_12_who_drops_every_refusal_gains_so_many_texts_of_two_days_and_no_session() -> None:
    with two() as middle:
        old = outdated_code(middle, (X3DH_NAME,))
        middle.adds("alice", "bob", lambda _: old)
        middle.hook = lambda sender, envelope: [envelope] if sender == "alice" else []
        for number in range(PROVISIONAL_TEXTS + 5):
            middle.says("alice", "bob", f"text {number}")
        assert open_over(middle) == set()
        assert len(middle.alice.table("waiting")) == 5
        assert "Unconfirmed" in middle.causes("alice")
        assert middle.heard("bob") == []
        middle.heal()
        assert len(middle.heard("bob")) == PROVISIONAL_TEXTS + 5
        assert open_over(middle) == {HEALING}


def test_12_after_two_days_without_an_answer_texts_wait() -> None:
    with two() as middle:
        old = outdated_code(middle, (X3DH_NAME,))
        middle.adds("alice", "bob", lambda _: old)
        middle.hook = drop
        middle.says("alice", "bob", "one")
        middle.clock.now += 2 * DAY
        before = len(middle.begun("alice"))
        middle.alice.send(middle.bob.me.identity, "two")
        assert len(middle.alice.table("waiting")) == 1
        assert len(middle.begun("alice")) == before
        assert open_over(middle) == set()


@pytest.mark.parametrize("both_stripped", [True, False], ids=["both misled", "one misled"])
def test_13_both_begin_with_different_choices_and_only_the_best_is_left(both_stripped: bool) -> None:
    with two() as middle:
        kept: list[tuple[str, Envelope]] = []

        def keep(sender: str, envelope: Envelope) -> Sequence[Envelope]:
            kept.append((sender, envelope))
            return []

        middle.hook = keep
        middle.adds("alice", "bob", without_offers)
        middle.adds("bob", "alice", without_offers if both_stripped else lambda code: code)
        middle.says("alice", "bob", "one")
        middle.says("bob", "alice", "two")
        middle.hook = pass_on
        for sender, envelope in kept:
            middle.deliver(envelope, sender=sender)
        middle.settle()
        middle.wait(*PAUSES)
        assert (middle.heard("bob"), middle.heard("alice")) == (["one"], ["two"])
        assert open_over(middle) == {HEALING}
        middle.assert_best("alice", "bob")


# --- 14 to 21: floods, names, clocks, copies -------------------------------------------------------------------------


def test_14_a_huge_offer_costs_no_signature_check(monkeypatch: pytest.MonkeyPatch) -> None:
    checks = count_checks(monkeypatch)
    with two() as middle:
        names = [Entry(f"name{number}@example.org/1") for number in range(255)]
        genuine = middle.bob.code().offers[0]
        for huge, error in ((bytes(2**20), OfferTooLarge), (listing(lambda _: names)(genuine), OfferTooLarge)):
            with pytest.raises(error):
                middle.adds("alice", "bob", with_offers(huge))
        with pytest.raises(OfferMalformed):
            middle.adds("alice", "bob", with_offers(listing(lambda _: names[:17])(genuine)))
        assert not checks


def count_checks(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    checks: list[object] = []
    for module in ("noting", "judging"):
        monkeypatch.setattr(f"kexkit._engine.{module}.check_signature", checks.append)
    return checks


def test_14_offers_for_any_number_of_devices_take_the_room_of_sixteen() -> None:
    with two() as middle:
        talking(middle)
        genuine = middle.bob.code().offers[0]
        for number in range(3 * DEVICES_PER_PEER):
            invented = f"{number:08x}-1111-4111-8111-111111111111"
            offer = signed_anew(middle.bob, genuine, lambda body, to=invented: evolve(body, installation=to))  # type: ignore[misc]  # bound
            middle.adds("alice", "bob", with_offers(offer))
        assert len(middle.alice.person(middle.bob.me.identity).devices) == DEVICES_PER_PEER
        middle.says("alice", "bob", "still here")
        assert "still here" in middle.heard("bob")


def test_14_the_same_offer_ten_thousand_times_is_checked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    with two() as middle:
        code = middle.bob.code()
        middle.adds("alice", "bob", lambda _: code)
        checks = count_checks(monkeypatch)
        for _ in range(100):
            middle.adds("alice", "bob", lambda _: evolve(code, offers=code.offers * 3))
        assert not checks


def test_15_two_bodies_of_one_number_are_evidence_and_begin_nothing_until_a_later_one() -> None:
    with two() as middle:
        genuine = middle.bob.code().offers[0]
        other = signed_anew(middle.bob, genuine, lambda body: evolve(body, entries=body.entries[1:]))
        middle.adds("alice", "bob", with_offers(genuine, other))
        middle.hook = drop
        middle.says("alice", "bob", "one")
        assert {event.cause for event in middle.events("alice", NegotiationTrouble)} == {"OfferEquivocation"}
        device = middle.device("alice", "bob")
        assert {device.offer, device.conflict} == {genuine, other}
        assert not device.sessions
        assert "OfferEquivocation" in middle.causes("alice")
        middle.hook = pass_on
        middle.clock.now += 8 * DAY
        middle.bob.boot()
        middle.adds("alice", "bob")
        middle.settle()
        assert (middle.heard("bob"), open_over(middle)) == (["one"], {HEALING})
