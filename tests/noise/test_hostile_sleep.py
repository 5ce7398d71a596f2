"""A device that was asleep while its sessions aged: a text that is sent before any timer has run."""

from __future__ import annotations

import pytest
from kexkit.limits import OVERDUE_MS
from kexkit_noise.limits import SESSION_MS

from tests.noise.test_world import ALONE
from tests.world.mechanisms import Mechanism
from tests.world.world import DAY, a_world


@pytest.mark.parametrize("days", [29, 31, 59, 61, 75])
@pytest.mark.parametrize("spoken", [ALONE[0], ALONE[4]], ids=lambda spoken: spoken.name)
def test_a_text_sent_at_once_after_a_long_sleep_arrives(spoken: Mechanism, days: int) -> None:
    """After sixty days the peer has forgotten the session: what is sealed in it nobody can open."""
    with a_world(1, spoken) as world:
        world.introduce()
        for who, whom in (("alice", "bob"), ("bob", "alice")):
            world.send(who, whom)
            world.quiesce()
        for _ in range(days):
            world.clock.now += DAY
            while (due := world.bob.tick()) is not None and due <= world.bob.now():
                pass
        world.alice.crash()
        world.send("alice", "bob")
        world.quiesce(72)
        world.must_agree()


@pytest.mark.parametrize(("beyond", "waits"), [(-1, False), (0, True), (1, True)])
def test_texts_wait_for_a_timer_that_is_an_hour_late(beyond: int, waits: bool) -> None:
    with a_world(1, ALONE[0]) as world:
        world.introduce()
        began = world.clock.now
        for who, whom in (("alice", "bob"), ("bob", "alice")):
            world.send(who, whom)
            world.settle()
        world.clock.now = began + SESSION_MS + OVERDUE_MS + beyond
        world.send("alice", "bob")
        assert bool(world.alice.table("waiting")) is waits
        world.quiesce()
        world.must_agree()
