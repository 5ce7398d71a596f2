"""A relay, a contact and a stranger against negotiations: whatever they drop, invent and pin, no chat stands still for
good once they stop, and nothing that was said is lost."""

from __future__ import annotations

import pytest
from kexkit.api import Guarantee
from kexkit.limits import PROVISIONAL_TEXTS
from kexkit.policy import FirstFlight, Policy

from tests.engine.negotiating_peers import (
    BARE,
    FRAME,
    ONLY_FRAME,
    ONLY_SLOT,
    SLOT,
    Kit,
    Meeting,
    Plugin,
    meeting,
)
from tests.world.world import HOUR

HOLDING = Policy(require=Guarantee.SECRET, first_flight=FirstFlight.HOLD)


def told(world: Meeting, who: str) -> int:
    return len(world.told(who))


def lost_on_the_way(world: Meeting, who: str, hours: int) -> None:
    """The relay swallows whatever is for `who`, for so long; the others go on."""
    for _ in range(hours):
        world.clock.now += HOUR
        for name in world.peers:
            if name != who:
                world.work(name)
                world.leave(name)
                world.read(name)
        world.skip(who)


def honest(world: Meeting, hours: int) -> None:
    for _ in range(hours):
        world.clock.now += HOUR
        world.settle()


@pytest.mark.parametrize("kit", [ONLY_FRAME, ONLY_SLOT], ids=["frame", "slot"])
def test_texts_beyond_the_bound_leave_though_every_question_was_lost_for_days(kit: Kit) -> None:
    with meeting(1, kit, kit) as world:
        world.introduce()
        world.settle()
        for _ in range(PROVISIONAL_TEXTS + 1):
            world.send("alice", "bob")
        world.leave("alice")
        lost_on_the_way(world, "bob", 5)
        assert len(world.alice.table("waiting")) == 1
        honest(world, 60)
        assert not world.alice.table("waiting")
        assert told(world, "bob") >= 1, "the others were lost with their envelopes"


@pytest.mark.parametrize("plugin", [FRAME, SLOT, BARE], ids=["frame", "slot", "bare"])
def test_a_text_that_is_held_leaves_though_the_first_question_was_lost(plugin: Plugin) -> None:
    kit = Kit((plugin,), HOLDING)
    with meeting(2, kit, kit) as world:
        world.introduce()
        world.settle()
        world.send("alice", "bob")
        world.leave("alice")
        lost_on_the_way(world, "bob", 5)
        assert len(world.alice.table("waiting")) == 1
        honest(world, 30)
        assert told(world, "bob") == 1
        assert not world.alice.table("waiting")
