"""Noise in the simulated world: loss, reordering, tampering, crashes and time, and nothing is lost, doubled or seen."""

from __future__ import annotations

import os

import pytest
from kexkit.policy import WITHOUT_FORWARD_SECRECY, Policy
from kexkit_noise.mechanisms import MECHANISMS
from kexkit_x3dh.exchange import X3DH

from tests.noise.meeting import NAMES, mechanism
from tests.world.mechanisms import Mechanism
from tests.world.walking import TROUBLE, Walk
from tests.world.world import World, a_world

WALKS = int(os.environ.get("KEXKIT_WALKS", "2"))
ALONE = [
    Mechanism(
        name, lambda name=name: (mechanism(name),), Policy() if MECHANISMS[name].heals else WITHOUT_FORWARD_SECRECY
    )
    for name in NAMES
]
WITH_X3DH = Mechanism("noise and x3dh", lambda: (mechanism("healing-noise-xk1/1"), X3DH()), Policy())
EACH = pytest.mark.parametrize("spoken", [*ALONE, WITH_X3DH], ids=lambda spoken: spoken.name)


def walk(world: World, steps: int) -> None:
    world.introduce()
    walking = Walk(world)
    for _ in range(steps):
        walking.step()
    world.quiesce()
    world.must_agree()
    world.must_converge()


@EACH
def test_texts_wait_for_the_handshake_and_then_leave_in_order(spoken: Mechanism) -> None:
    with a_world(1, spoken) as world:
        world.introduce()
        sent = [world.send("alice", "bob") for _ in range(5)]
        world.settle()
        sent += [world.send("alice", "bob") for _ in range(2)]
        world.quiesce()
        world.must_agree()
        assert world.bob.history(world.alice.me.identity) == sent


@EACH
@pytest.mark.parametrize("seed", range(WALKS))
def test_two_peers_lose_nothing_and_double_nothing_on_a_bad_network_with_crashes(spoken: Mechanism, seed: int) -> None:
    with a_world(seed, spoken, faults=TROUBLE) as world:
        walk(world, 150)
