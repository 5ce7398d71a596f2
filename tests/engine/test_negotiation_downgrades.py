"""Offers that leave only what gives less than before: told of, and never taken without a word."""

from __future__ import annotations

import pytest
from attrs import evolve
from kexkit._engine.consenting import Consent
from kexkit._transitions import State
from kexkit._wire.confirms import Ruling
from kexkit.api import Close, Guarantee
from kexkit.errors import PolicyRefused
from kexkit.events import NegotiationTrouble, OfferShrunk, SessionOpened, TextReceived, Waiting
from kexkit.policy import WITHOUT_FORWARD_SECRECY, Downgrade

from tests.engine.negotiating_peers import (
    HEALS,
    ONE,
    SLOT_NAME,
    TWO,
    Kit,
    Meeting,
    loose,
    meeting,
    psk,
)
from tests.engine.test_negotiation_living import heard_of, last, talked

STRONG, WEAK = loose(ONE, HEALS), loose(TWO)
BOTH = Kit((STRONG, WEAK))


def shrunk(downgrade: Downgrade) -> Kit:
    return Kit(BOTH.plugins, evolve(WITHOUT_FORWARD_SECRECY, downgrade=downgrade))


def downgraded(world: Meeting) -> None:
    """They had what heals; now bob offers only what does not."""
    talked(world)
    assert last(world, "alice") == ONE
    floor = Guarantee(world.device("alice", "bob").floor)
    assert floor & HEALS == HEALS
    world.equip("bob", Kit((WEAK,)))
    heard_of(world, "alice", "bob")


def test_a_weaker_offer_is_told_of_and_waits_for_a_persons_consent() -> None:
    with meeting(8, shrunk(Downgrade.ASK), BOTH) as world:
        downgraded(world)
        assert world.told_of("alice", OfferShrunk)[-1].gone == (ONE,)
        world.send("alice", "bob")
        assert "DowngradeNeedsConsent" in {event.cause for event in world.told_of("alice", Waiting)}
        world.until_rest()
        assert len(world.alice.table("waiting")) == 1
        assert TWO not in {said.mechanism for said in world.said("alice")}
        world.consent("alice", "bob", Consent.WEAKER)
        assert world.device("alice", "bob").floor == 0


def test_consent_lets_what_is_weaker_begin_and_it_is_the_floor_from_then_on() -> None:
    with meeting(9, shrunk(Downgrade.ASK), shrunk(Downgrade.ACCEPT)) as world:
        talked(world)
        world.equip("bob", Kit((WEAK,), evolve(WITHOUT_FORWARD_SECRECY, downgrade=Downgrade.ACCEPT)))
        heard_of(world, "alice", "bob")
        world.send("alice", "bob")
        world.until_rest()
        assert len(world.alice.table("waiting")) == 1
        world.consent("alice", "bob", Consent.WEAKER)
        world.until_rest()
        assert last(world, "alice") == TWO
        assert HEALS not in Guarantee(world.device("alice", "bob").floor)
        world.must_agree()


def test_who_refuses_what_is_weaker_cannot_be_talked_out_of_it() -> None:
    with meeting(10, shrunk(Downgrade.REFUSE), BOTH) as world:
        downgraded(world)
        world.send("alice", "bob")
        assert "DowngradeNeedsConsent" in {event.cause for event in world.told_of("alice", Waiting)}
        with pytest.raises(PolicyRefused):
            world.consent("alice", "bob", Consent.WEAKER)
        world.until_rest()
        assert TWO not in {said.mechanism for said in world.said("alice")}
        world.equip("bob", BOTH)
        heard_of(world, "alice", "bob")
        world.until_rest()
        world.must_agree()
        assert last(world, "alice") == ONE


def test_who_accepts_what_is_weaker_sends_at_once_and_is_told() -> None:
    with meeting(11, shrunk(Downgrade.ACCEPT), shrunk(Downgrade.ACCEPT)) as world:
        talked(world)
        world.equip("bob", Kit((WEAK,), evolve(WITHOUT_FORWARD_SECRECY, downgrade=Downgrade.ACCEPT)))
        heard_of(world, "alice", "bob")
        world.send("alice", "bob")
        world.until_rest()
        world.must_agree()
        assert last(world, "alice") == TWO
        opened = world.told_of("alice", SessionOpened)[-1]
        assert (opened.mechanism, opened.guarantees & HEALS) == (TWO, Guarantee.NONE)
        told = [event for event in world.told_of("alice", NegotiationTrouble) if "Downgrade" in event.cause]
        assert told, "nothing says that texts now leave under less"


def test_a_device_that_begins_with_less_than_before_is_refused_by_policy_and_nothing_is_shown() -> None:
    """The other direction: it is the peer who begins over what gives less."""
    with meeting(12, BOTH, shrunk(Downgrade.ACCEPT)) as world:
        talked(world)
        world.equip("bob", Kit((WEAK,), evolve(WITHOUT_FORWARD_SECRECY, downgrade=Downgrade.ACCEPT)))
        told = len(world.told("alice"))
        world.send("bob", "alice", "with less")
        world.leave("bob")
        world.read("alice")
        verdict = world.said("alice")[-1].verdict
        assert verdict is not None
        assert verdict.ruling is Ruling.POLICY
        assert len(world.told("alice")) == told
        assert len(world.alice.table("withheld")) == 1
        world.until_rest()
        assert len(world.told("alice")) == told
        world.consent("alice", "bob", Consent.WEAKER)
        world.consent("bob", "alice", Consent.AGAIN)
        world.until_rest()
        assert world.told("alice")[-1] == "with less"
        world.must_agree()


def test_what_policy_leaves_out_for_one_device_is_left_out_of_the_mask_and_of_nothing_else() -> None:
    with meeting(13, Kit((WEAK, STRONG)), Kit((STRONG,))) as world:
        talked(world)
        world.equip("bob", BOTH)
        heard_of(world, "alice", "bob")
        world.clock.now += 1000
        world.send("alice", "bob")
        world.settle()
        assert last(world, "alice") == ONE, "what gives less than before is no choice, however it is ranked"
        (open_one,) = [ref for ref in world.refs("alice", "bob") if State(ref.state) is State.OPEN]
        alice = world.alice
        alice.perform(lambda: alice.engine.cue(bytes(open_one.id), Close(), alice.moment()))
        world.send("alice", "bob")
        confirm = world.said("alice")[-1].confirm
        assert confirm is not None
        assert (confirm.mechanism, confirm.mask) == (ONE, 0b10)
        assert [entry.name for entry in world.offer_of("alice").body.entries] == [TWO, ONE]


def test_a_shift_of_preference_above_the_floor_needs_nobody() -> None:
    with meeting(14, Kit((psk(TWO, HEALS), psk(ONE, HEALS))), Kit((psk(ONE, HEALS),))) as world:
        talked(world)
        world.equip("bob", Kit((psk(TWO, HEALS), psk(ONE, HEALS))))
        heard_of(world, "alice", "bob")
        world.send("alice", "bob")
        world.until_rest()
        assert last(world, "bob") in (ONE, TWO)
        assert world.states("alice", "bob")[TWO] == [State.OPEN]
        assert "DowngradeNeedsConsent" not in {event.cause for event in world.told_of("alice", Waiting)}
        assert all(isinstance(event, TextReceived) for event in world.bob.read_inbox())
        assert SLOT_NAME not in world.states("alice", "bob")
        world.must_agree()
