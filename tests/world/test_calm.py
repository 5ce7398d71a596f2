"""The world itself works: without faults everything arrives, and each of its rules can fail."""

from __future__ import annotations

from tests.world.mechanisms import EACH, Mechanism
from tests.world.world import a_world


@EACH
def test_what_two_peers_say_on_a_calm_network_is_told_once_in_one_order(mechanism: Mechanism) -> None:
    with a_world(1, mechanism) as world:
        world.introduce()
        for n in range(6):
            world.send("alice" if n % 3 else "bob", "bob" if n % 3 else "alice")
            if n % 2:
                world.settle()
        world.quiesce()
        world.must_agree()
