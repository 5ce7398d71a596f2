"""Random walks: everything that can go wrong goes wrong, then it stops, and nothing is lost, doubled or reordered.

KEXKIT_WALKS=500 takes longer ones; the seeds go on from there. A failure names its seed, and `walk` repeats it.
"""

from __future__ import annotations

import os

import pytest

from tests.world.mechanisms import BOTH, EACH, X3DH_ALONE, Mechanism
from tests.world.walking import TROUBLE, Walk
from tests.world.world import World, a_world

WALKS = int(os.environ.get("KEXKIT_WALKS", "8"))
SOME = range(WALKS)
FEW = range(-1, -1 - max(WALKS // 4, 1), -1)


def walk(world: World, steps: int) -> list[str]:
    world.introduce()
    walk = Walk(world)
    taken = [walk.step() for _ in range(steps)]
    world.quiesce()
    world.must_agree()
    world.must_converge()
    return taken


@EACH
@pytest.mark.parametrize("seed", SOME)
def test_two_peers_lose_nothing_and_double_nothing_on_a_bad_network_with_crashes(
    mechanism: Mechanism, seed: int
) -> None:
    with a_world(seed, mechanism, faults=TROUBLE) as world:
        walk(world, 150)


@pytest.mark.parametrize("mechanism", [X3DH_ALONE, BOTH], ids=lambda mechanism: mechanism.name)
@pytest.mark.parametrize("seed", FEW)
def test_four_peers_lose_nothing_and_double_nothing(mechanism: Mechanism, seed: int) -> None:
    with a_world(seed, mechanism, faults=TROUBLE, names=("alice", "bob", "carol", "dave")) as world:
        walk(world, 250)


def test_a_walk_is_the_same_every_time_for_its_seed() -> None:
    runs = []
    for _ in range(2):
        with a_world(42, X3DH_ALONE, faults=TROUBLE) as world:
            taken = walk(world, 60)
            runs.append((taken, [peer.rows.dump() for peer in world.peers.values()], world.network.logged()))
    assert runs[0] == runs[1]
