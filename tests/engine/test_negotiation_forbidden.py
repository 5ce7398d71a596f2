"""Openings over a mechanism that is loaded, and that our policy forbids: they are refused at once, and said so."""

from __future__ import annotations

import pytest
from attrs import evolve
from kexkit._engine.consenting import Consent
from kexkit._transitions import State
from kexkit._wire.confirms import Ruling
from kexkit.events import FrameRefused, PeerMet, Unreadable

from tests.engine.negotiating_peers import LADDER, ONE, SLOT, SLOT_NAME, TWO, Kit, Meeting, Plugin, loose, meeting

BOTH = Kit((loose(ONE), loose(TWO)))
STATUS_TOO = Kit((SLOT, loose(TWO)))


def forbidding(kit: Kit, *allowed: str) -> Kit:
    return evolve(kit, policy=evolve(kit.policy, mechanisms=frozenset(allowed)))


def unheard(world: Meeting, kit: Kit) -> None:
    """Bob forbids what he had offered, and what he says of it is lost."""
    world.introduce()
    world.settle()
    world.equip("bob", kit)
    world.work("bob")
    world.leave("bob")
    world.skip("alice")


@pytest.mark.parametrize(("kit", "forbidden"), [(BOTH, ONE), (STATUS_TOO, SLOT_NAME)], ids=["frame", "slot"])
def test_a_forbidden_choice_is_refused_in_its_session_and_made_again_without_any_wait(kit: Kit, forbidden: str) -> None:
    with meeting(1, kit, kit) as world:
        unheard(world, forbidding(kit, TWO))
        sent = [world.send("alice", "bob") for _ in range(3)]
        world.leave("alice")
        world.read("bob")
        assert [said.mechanism for said in world.said("bob")] == [forbidden]
        (said,) = world.said("bob")
        assert said.verdict is not None
        assert (said.texts, said.verdict.ruling) == ((), Ruling.STALE)
        assert said.verdict.offers == (world.offer_of("bob").received,)
        assert not world.bob.read_inbox(), "nothing of it is shown, not even that something came"
        assert world.states("bob", "alice") == {forbidden: [State.REFUSED]}
        world.settle()
        assert world.bob.history(world.alice.me.identity) == sent
        for who, whom in (("alice", "bob"), ("bob", "alice")):
            assert world.states(who, whom) == {forbidden: [State.REFUSED], TWO: [State.OPEN]}
        world.until_rest()
        world.must_agree()


def test_an_opening_that_travels_alone_over_what_is_forbidden_is_answered_with_our_offer() -> None:
    """It binds the offer that it answers, so there is no session to refuse; it used to be left without an answer."""
    kit = Kit((LADDER, loose(TWO)))
    with meeting(7, kit, kit) as world:
        unheard(world, forbidding(kit, TWO))
        sent = world.send("alice", "bob")
        world.leave("alice")
        world.read("bob")
        assert [envelope.version for envelope in world.leave("bob")] == [2]
        assert not world.bob.table("half")
        world.settle()
        assert world.bob.history(world.alice.me.identity) == [sent]
        assert world.states("alice", "bob")[TWO] == [State.OPEN]


def test_what_came_over_a_forbidden_choice_is_kept_back_until_a_person_asks_for_it() -> None:
    with meeting(2, BOTH, BOTH) as world:
        unheard(world, forbidding(BOTH, TWO))
        sent = world.send("alice", "bob")
        world.leave("alice")
        world.read("bob")
        assert world.bob.history(world.alice.me.identity) == []
        assert world.consent("bob", "alice", Consent.RELEASE) == 1
        assert world.bob.history(world.alice.me.identity) == [sent]


def test_a_refused_session_stays_refused_when_its_opening_comes_again() -> None:
    with meeting(3, BOTH, BOTH) as world:
        unheard(world, forbidding(BOTH, TWO))
        world.send("alice", "bob")
        (opening, *_) = world.leave("alice")
        world.read("bob")
        for later in (1, 40_000):
            world.clock.now += later
            world.bob.receive(evolve(opening, timestamp=opening.timestamp + later))
        assert world.states("bob", "alice") == {ONE: [State.REFUSED]}
        assert not world.bob.read_inbox()


def test_who_offers_nothing_in_common_any_more_is_told_and_waits_with_the_reason() -> None:
    with meeting(4, Kit((loose(ONE),)), BOTH) as world:
        unheard(world, forbidding(BOTH, TWO))
        world.send("alice", "bob")
        world.settle()
        world.until_rest()
        world.send("alice", "bob")
        assert world.causes("alice") == {"MechanismMissing"}
        assert len(world.alice.table("waiting")) == 2
        assert world.states("alice", "bob") == {ONE: [State.REFUSED]}
        assert not world.bob.read_inbox()


def test_a_stranger_s_forbidden_choice_is_answered_too() -> None:
    with meeting(5, BOTH, BOTH) as world:
        world.introduce(("alice", "bob"))
        world.settle()
        world.equip("bob", forbidding(BOTH, TWO))
        world.leave("bob")
        world.skip("alice")
        sent = world.send("alice", "bob")
        world.settle()
        assert world.told_of("bob", PeerMet)
        assert world.bob.history(world.alice.me.identity) == [sent]


def test_a_text_without_a_session_over_what_is_forbidden_is_held() -> None:
    """Status's fallback: nobody can be told."""
    lenient = Kit((Plugin(SLOT.make), loose(TWO)))
    with meeting(6, lenient, lenient) as world:
        world.introduce(("bob", "alice"))
        world.settle()
        world.skip("alice")
        world.equip("bob", forbidding(lenient, TWO))
        world.add_by_key("alice", "bob")
        world.send("alice", "bob")
        world.leave("alice")
        world.read("bob")
        assert world.told_of("bob", FrameRefused)
        assert [type(event) for event in world.bob.read_inbox()] == [Unreadable]
