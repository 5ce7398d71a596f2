"""Noise in the simulated world: loss, reordering, tampering, crashes and time, and nothing is lost, doubled or seen."""

from __future__ import annotations

import os

import pytest
from kexkit.events import SessionOpened
from kexkit.policy import WITHOUT_FORWARD_SECRECY, Policy
from kexkit_noise.mechanisms import MECHANISMS
from kexkit_x3dh.exchange import X3DH

from tests.noise.meeting import NAMES, mechanism
from tests.world import test_meetings
from tests.world.mechanisms import Mechanism
from tests.world.walking import TROUBLE, Walk
from tests.world.world import DAY, World, a_world

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


@EACH
def test_all_devices_of_a_person_show_the_same_texts_once(spoken: Mechanism) -> None:
    """Own devices, too, have sessions with one another: of one identity, and of two installations."""
    test_meetings.test_all_devices_of_a_person_show_the_same_texts_once(spoken)


@pytest.mark.parametrize("seed", range(-1, -1 - WALKS, -1))
def test_four_peers_lose_nothing_and_double_nothing(seed: int) -> None:
    with a_world(seed, WITH_X3DH, faults=TROUBLE, names=("alice", "bob", "carol", "dave")) as world:
        walk(world, 250)


@pytest.mark.parametrize("spoken", [ALONE[0], ALONE[5], WITH_X3DH], ids=lambda spoken: spoken.name)
def test_a_year_passes_over_sessions_statics_and_offers(spoken: Mechanism) -> None:
    """Sessions wear out after 30 days and statics after 180, and nobody notices."""
    with a_world(2, spoken) as world:
        world.introduce()
        statics = set()
        for _ in range(29):
            for who, whom in (("alice", "bob"), ("bob", "alice")):
                world.send(who, whom)
                world.settle()
            world.quiesce(0)
            world.must_agree()
            person = world.alice.person(world.bob.me.identity)
            adverts = [advert for device in person.devices for advert in device.adverts]
            statics |= {advert.public[:32] for advert in adverts if advert.mechanism == spoken.main}
            world.clock.now += 13 * DAY
            world.settle()
        opened = {event.session_id for event in world.alice.told_ever if isinstance(event, SessionOpened)}
        assert len(opened) >= 10
        assert len(statics) == 3
