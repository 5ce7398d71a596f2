"""Mechanisms that need several flights before a text leaves: texts wait, flights come again, crashes cost nothing."""

from __future__ import annotations

import pytest
from kexkit import _records as records
from kexkit._transitions import State
from kexkit.api import Guarantee
from kexkit.events import SessionOpened, Waiting
from kexkit.limits import HALF_OPEN_MS
from kexkit.policy import Policy
from kexkit.testing import Faults

from tests.kits.toy_ladder import Ladder, Silent
from tests.kits.toy_ratchet import Ratchet
from tests.world.mechanisms import Mechanism
from tests.world.walking import Walk
from tests.world.world import HOUR, SECOND, World, a_world

LADDER = Mechanism("ladder", lambda: (Ladder(Silent),), Policy(require=Guarantee.SECRET))
RATCHET = Mechanism("ratchet", lambda: (Ratchet(),), Policy(require=Guarantee.SECRET))


def states(world: World, who: str, whom: str) -> list[State]:
    person = world.peers[who].person(world.peers[whom].me.identity)
    return [State(ref.state) for device in person.devices for ref in device.sessions]


def go_on(world: World, seconds: int = 10) -> None:
    world.clock.now += seconds * SECOND
    world.settle()


def test_texts_wait_for_the_handshake_and_then_leave_in_order() -> None:
    with a_world(1, LADDER) as world:
        world.introduce()
        sent = [world.send("alice", "bob") for _ in range(5)]
        assert len(world.alice.table("waiting")) == 5
        assert states(world, "alice", "bob") == [State.OPENING]
        assert {event.reason for event in world.alice.told_ever if isinstance(event, Waiting)} == {
            "the handshake is under way"
        }
        go_on(world)
        world.quiesce(hours=0)
        world.must_agree()
        assert world.bob.history(world.alice.me.identity) == sent
        assert states(world, "alice", "bob") == [State.OPEN] == states(world, "bob", "alice")
        opened = [event for event in world.alice.told_ever if isinstance(event, SessionOpened)]
        assert len(opened) == 1


@pytest.mark.parametrize("lost", [1, 2])
def test_a_flight_that_is_lost_comes_again_as_the_same_bytes(lost: int) -> None:
    """The nth publication vanishes, whosever it is."""
    with a_world(2, LADDER) as world:
        world.introduce()
        world.settle()
        for peer in world.peers.values():
            peer.disk.changes.clear()
        count = 0
        world.send("alice", "bob")
        for _ in range(40):
            for name in ("alice", "bob"):
                while world.peers[name].queue:
                    count += 1
                    if count == lost:
                        world.network.lose_publications(1)
                    world.transmit(name)
                world.note_had(name)
                world.network.advance()
                while world.pull(name):
                    pass
                while (due := world.peers[name].tick()) is not None and due <= world.peers[name].now():
                    pass
            world.clock.now += 3 * SECOND
        assert world.told("bob") == ["text 1 of alice to bob"]
        flights = [envelope.payload for envelope in world.network.logged() if envelope.version == 2]
        assert len(set(flights)) < len(flights)


@pytest.mark.parametrize("seed", range(6))
def test_crashes_between_any_two_steps_of_a_handshake_cost_nothing(seed: int) -> None:
    """The network is in order (so is the mechanism); the processes are not."""
    with a_world(seed, LADDER) as world:
        world.introduce()
        texts = 0
        for _ in range(120):
            who, whom = world.random.choice([("alice", "bob"), ("bob", "alice")])
            act = world.random.randrange(9)
            if act == 0 and texts < 6:
                world.send(who, whom)
                texts += 1
            elif act == 1:
                world.crash(who)
            elif act in (2, 3):
                world.crash_during(who, world.random.choice(["before", "after"]), world.peers[who].tick)
            elif act == 4:
                world.network.advance()
                world.crash_during(who, world.random.choice(["before", "after"]), world.peers[who].pull)
            elif act == 5:
                world.note_had(who)
            elif act == 6:
                world.clock.now += SECOND
            else:
                world.transmit(who)
                world.network.advance()
                world.pull(whom)
        for _ in range(30):
            go_on(world, 6)
        world.quiesce(hours=0)
        told = {message_id for _, message_id in world.ledger.told}
        assert told <= set(world.ledger.sent)
        for name in ("alice", "bob"):
            assert not world.peers[name].table("waiting") or State.OPEN not in states(
                world, name, "bob" if name == "alice" else "alice"
            )


def test_a_handshake_that_nobody_answers_ends_and_begins_again_with_the_next_offer() -> None:
    with a_world(3, LADDER) as world:
        world.introduce()
        world.network.offline("bob")
        world.send("alice", "bob")
        for _ in range(30):
            world.clock.now += 6 * SECOND
            for _ in range(4):
                world.alice.tick()
            while world.alice.queue:
                world.transmit("alice")
            world.note_had("alice")
        assert State.OPENING not in states(world, "alice", "bob") or len(world.alice.table("session")) == 1
        assert len(world.alice.table("waiting")) == 1
        world.network.online("bob")
        for _ in range(40):
            go_on(world, 6)
        world.clock.now += HOUR
        world.quiesce()
        for _ in range(20):
            go_on(world, 6)
        world.must_agree()


def test_openings_of_nobody_expire_and_leave_nothing() -> None:
    with a_world(4, LADDER) as world:
        world.introduce()
        world.settle()
        world.send("alice", "bob")
        first = world.alice.queue[-1].envelope
        world.bob.receive(first)
        assert len(world.bob.table("half")) == 1
        world.bob.queue.clear()
        world.clock.now += HALF_OPEN_MS + HOUR
        while (due := world.bob.tick()) is not None and due <= world.bob.now():
            pass
        assert not world.bob.table("half")
        assert not world.bob.table("session")
        routes = [records.read_route(row.value) for row in world.bob.table("route").values()]
        assert all(not route.session for route in routes)


@pytest.mark.parametrize("seed", range(6))
def test_a_mechanism_of_a_strangers_own_keeps_all_promises_on_a_bad_network(seed: int) -> None:
    """The kit's toy ratchet, which knows nothing of these tests, under the same walks as our own."""
    faults = Faults(loss=0.2, duplication=0.2, reordering=0.2, delay=0.1, tampering=0.05)
    with a_world(seed, RATCHET, faults=faults) as world:
        world.introduce()
        walk = Walk(world)
        for _ in range(100):
            walk.step()
        world.quiesce()
        world.must_agree()
