"""Runs that a random walk meets rarely, each by hand."""

from __future__ import annotations

from tests.world.mechanisms import EACH, Mechanism
from tests.world.world import HOUR, a_world


@EACH
def test_a_late_acknowledgement_means_what_it_was_given_for_though_the_clock_went_back(mechanism: Mechanism) -> None:
    """The inbox is empty, the process starts again, the clock was set back, and another text comes."""
    with a_world(3, mechanism) as world:
        world.introduce()
        world.send("alice", "bob", "first")
        world.settle()
        (first,) = world.bob.read_inbox()
        world.ack("bob")
        for second in range(1, 4):
            world.bob.skew = -second
            world.crash("bob")
            world.send("alice", "bob", f"number {second}")
            world.settle()
            world.bob.perform(lambda: world.bob.engine.acknowledge(first.receipt))
            assert world.told("bob") == [f"number {second}"]
            world.ack("bob")
        world.clock.now += HOUR
        world.quiesce()
        world.must_agree()
