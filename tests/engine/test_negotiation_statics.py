"""A device that shows another long-term key is told to a person, and waits for one if policy says so."""

from __future__ import annotations

import pytest
from attrs import evolve
from kexkit.events import NegotiationTrouble
from kexkit.policy import WITHOUT_FORWARD_SECRECY, Consent, Downgrade

from tests.engine.negotiating_peers import ONLY_BARE, Kit, Meeting, meeting

DAY = 24 * 3600 * 1000
ROTATED = 190 * DAY
"""beyond the life of a static of kexkit-noise"""


def talked(world: Meeting) -> None:
    world.introduce()
    world.send("alice", "bob")
    world.settle()
    world.until_rest(1)


def rotate(world: Meeting) -> None:
    """Half a year later both have new statics, published in new offers."""
    world.clock.now += ROTATED
    for _ in range(3):
        world.pass_time(DAY)


def changes(world: Meeting, who: str) -> list[NegotiationTrouble]:
    return [event for event in world.told_of(who, NegotiationTrouble) if event.cause == "StaticChanged"]


def test_a_new_static_is_told_and_by_default_the_chat_goes_on() -> None:
    with meeting(1, ONLY_BARE, ONLY_BARE) as world:
        talked(world)
        assert not changes(world, "alice")
        rotate(world)
        assert [event.peer for event in changes(world, "alice")] == [world.bob.me.identity]
        world.send("alice", "bob")
        world.settle()
        world.until_rest(2)
        world.must_agree()


@pytest.mark.parametrize("who", ["alice", "bob"])
def test_if_policy_asks_texts_wait_until_a_person_says_that_the_key_is_theirs(who: str) -> None:
    """Whether the one who asks begins, or answers."""
    asking = Kit(ONLY_BARE.plugins, evolve(WITHOUT_FORWARD_SECRECY, new_static=Downgrade.ASK))
    kits = {"alice": ONLY_BARE, "bob": ONLY_BARE, who: asking}
    with meeting(2, kits["alice"], kits["bob"]) as world:
        talked(world)
        rotate(world)
        other = "bob" if who == "alice" else "alice"
        world.send("alice", "bob", "after the change")
        world.settle()
        assert world.told("bob")[-1] != "after the change"
        if who == "alice":
            assert "StaticChanged" in world.causes("alice")
        world.consent(who, other, Consent.STATIC)
        for _ in range(4):
            world.pass_time(DAY)
        assert world.told("bob")[-1] == "after the change"
        world.must_agree()


def test_the_same_static_in_a_newer_offer_is_nothing_new() -> None:
    with meeting(3, ONLY_BARE, ONLY_BARE) as world:
        talked(world)
        for _ in range(30):
            world.pass_time(DAY)
        assert world.device("alice", "bob").offer_seq == world.offer_of("bob").body.seq
        assert not changes(world, "alice")
