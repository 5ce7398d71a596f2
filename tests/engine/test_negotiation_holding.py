"""First flights that are held: nothing but the confirmation leaves before it is answered."""

from __future__ import annotations

import pytest
from attrs import evolve
from kexkit._engine.consenting import Consent
from kexkit._transitions import State
from kexkit._wire import application
from kexkit.api import Guarantee
from kexkit.policy import STRICT, Policy

from tests.engine.negotiating_peers import (
    BARE,
    FRAME,
    ONLY_BARE,
    ONLY_FRAME,
    ONLY_SLOT,
    SLOT,
    Kit,
    Plugin,
    meeting,
)
from tests.engine.test_negotiation_bare import HOLDING, states_with, status_person, stripped


@pytest.mark.parametrize("plugin", [FRAME, SLOT, BARE], ids=["frame", "slot", "bare"])
def test_who_holds_the_first_flight_sends_the_confirmation_alone_and_texts_when_it_is_answered(plugin: Plugin) -> None:
    kit = Kit((plugin,), evolve(HOLDING, require=Guarantee.SECRET))
    with meeting(10, kit, Kit((plugin,), Policy(require=Guarantee.SECRET))) as world:
        world.introduce()
        for _ in range(3):
            world.send("alice", "bob")
        for _ in range(3):
            world.leave("alice")
            assert not any(said.texts for said in world.said("alice"))
            world.read("bob")
            world.leave("bob")
            world.read("alice")
        assert world.said("alice")[0].confirm is not None
        assert len([said for said in world.said("alice") if not said.texts]) == 1
        assert world.states("alice", "bob") == {plugin.make().name: [State.OPEN]}
        assert "Unconfirmed" in world.causes("alice") or plugin is BARE
        world.settle()
        assert not any(said.raw for said in world.said("alice") if said.texts)
        world.must_agree()


def test_who_holds_the_first_flight_sends_nothing_to_a_device_that_seems_bare() -> None:
    with meeting(11, Kit((FRAME, SLOT), HOLDING), ONLY_FRAME) as world:
        carol = status_person(world)
        world.alice.add(carol.code())
        world.alice.send(carol.me, "hello")
        for _ in range(30):
            world.clock.now += 600_000
            world.work("alice")
        assert not world.said("alice")
        assert not states_with(world, "alice", carol)
        assert world.causes("alice") == {"Unconfirmed"}
        assert len(world.alice.table("waiting")) == 1


def test_a_persons_word_that_a_device_is_bare_lets_the_texts_go() -> None:
    with meeting(12, Kit((FRAME, SLOT), HOLDING), ONLY_FRAME) as world:
        carol = status_person(world)
        world.alice.add(carol.code())
        sent = world.alice.send(carol.me, "hello")
        peer = world.alice
        assert peer.perform(lambda: peer.engine.consent(carol.me, Consent.BARE, peer.moment())) == 1
        world.work("alice")
        world.leave("alice")
        (read,) = carol.read()
        assert application.message_id(world.alice.me.identity, read) == sent


def test_the_word_that_a_device_is_bare_does_not_hold_against_an_offer() -> None:
    with meeting(13, Kit((SLOT,), STRICT), ONLY_SLOT) as world:
        world.introduce()
        world.consent("alice", "bob", Consent.BARE)
        assert not world.device("alice", "bob").bare
        world.send("alice", "bob")
        world.leave("alice")
        assert not any(said.texts for said in world.said("alice"))
        world.settle()
        world.must_agree()


def test_a_device_that_was_bare_and_makes_offers_is_held_to_them() -> None:
    with meeting(16, Kit((SLOT,), HOLDING), ONLY_SLOT) as world:
        world.alice.add(stripped(world.bob.code()))
        world.bob.add(world.alice.code())
        world.consent("alice", "bob", Consent.BARE)
        assert world.device("alice", "bob").bare
        world.give("alice", world.offer_of("bob").received, of="bob")
        world.send("alice", "bob")
        world.leave("alice")
        assert [len(said.texts) for said in world.said("alice")] == [0]
        world.settle()
        world.must_agree()


def test_a_bare_device_that_writes_first_is_answered_though_first_flights_are_held() -> None:
    with meeting(14, Kit((SLOT,), HOLDING), ONLY_FRAME) as world:
        carol = status_person(world)
        world.alice.add(carol.code())
        carol.knows("alice")
        carol.send("alice", "hello")
        world.read("alice")
        world.alice.send(carol.me, "hello yourself")
        world.leave("alice")
        assert len(carol.read()) == 1


def test_only_statuss_own_exchange_is_ever_tried_with_a_bare_device() -> None:
    with meeting(15, Kit((FRAME, BARE)), ONLY_BARE) as world:
        carol = status_person(world)
        world.alice.add(carol.code())
        world.alice.send(carol.me, "hello")
        assert world.causes("alice") <= {"MechanismMissing", "NoCommonMechanism", ""}
        assert len(world.alice.table("waiting")) == 1
        assert not world.said("alice")
