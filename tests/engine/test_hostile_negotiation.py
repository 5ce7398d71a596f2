"""A relay, a contact and a stranger against negotiations: whatever they drop, invent and pin, no chat stands still for
good once they stop, and nothing that was said is lost."""

from __future__ import annotations

from functools import partial

import pytest
from kexkit._engine.bare import expire_half
from kexkit._engine.requests import Draft, Flow, Outcome
from kexkit._transitions import State
from kexkit.api import Guarantee
from kexkit.limits import PROVISIONAL_TEXTS
from kexkit.policy import FirstFlight, Policy

from tests.engine.negotiating_peers import (
    BARE,
    BARE_NAME,
    FRAME,
    ONLY_BARE,
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


# --- sessions that one end never had ---------------------------------------------------------------------------------


def forget_half_open(world: Meeting, who: str) -> None:
    """Strangers opened so many that the oldest went."""
    peer = world.peers[who]

    def forgetting(session_id: bytes) -> Flow[Outcome]:
        draft = Draft()
        yield from expire_half(draft, session_id, peer.engine.setting, peer.moment())
        return draft.outcome()

    for session_id in list(peer.table("half")):
        peer.perform(partial(forgetting, session_id))


@pytest.mark.parametrize("hours", [30, 60])
def test_texts_of_a_session_that_the_other_end_never_had_are_said_again(hours: int) -> None:
    with meeting(3, ONLY_BARE, ONLY_BARE) as world:
        world.introduce()
        world.settle()
        for _ in range(PROVISIONAL_TEXTS + 1):
            world.send("alice", "bob")
        world.leave("alice")
        world.read("bob")
        world.leave("bob")
        world.read("alice")
        world.work("alice")
        assert world.states("alice", "bob") == {BARE_NAME: [State.PROVISIONAL]}
        forget_half_open(world, "bob")
        lost_on_the_way(world, "bob", hours)
        honest(world, 24 * 3)
        world.must_agree()
