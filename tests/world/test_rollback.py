"""A store that is put back from a copy: no vector is used twice, nothing is told twice, and the talk goes on."""

from __future__ import annotations

from random import Random

import pytest
from kexkit.testing import MemoryStore

from tests.world.mechanisms import EACH, X3DH_ALONE, Mechanism
from tests.world.world import DAY, World, a_world


def talk(world: World, turns: int) -> None:
    for n in range(turns):
        world.send(*(("alice", "bob") if n % 2 else ("bob", "alice")))
        world.settle()


def put_back(world: World, who: str, copy: MemoryStore) -> None:
    """The machine is restored from a backup. What the application told since is told again, as it must be."""
    peer = world.peers[who]
    peer.rows = copy
    peer.acked = set()
    kept = set(peer.table("text"))
    for name, message_id in list(world.ledger.told):
        if name == who and message_id not in kept:
            del world.ledger.told[name, message_id]
    peer.boot()


@EACH
@pytest.mark.parametrize("who", ["alice", "bob"])
@pytest.mark.parametrize("since", [1, 2, 5, 20])
def test_no_key_and_vector_seal_two_texts_after_a_rollback(mechanism: Mechanism, who: str, since: int) -> None:
    """The states that were left behind are gone through again with other texts, under other vectors (A29, A30)."""
    with a_world(since, mechanism) as world:
        world.introduce()
        talk(world, 4)
        copy = world.peers[who].rows.copy()
        talk(world, since)
        put_back(world, who, copy)
        other = {"alice": "bob", "bob": "alice"}[who]
        for _ in range(since + 3):
            peer = world.peers[who]
            peer.send(world.peers[other].me.identity, f"sent anew {world.random.random()}")
        while peer.queue:
            peer.transmit()
        world.ledger.check_ciphers()


@EACH
@pytest.mark.parametrize("seed", range(4))
def test_after_a_rollback_the_talk_heals_by_the_next_rotation_at_the_latest(mechanism: Mechanism, seed: int) -> None:
    """What is sent meanwhile may be lost, and texts that were forgotten may come again from the network's log; but
    nothing is told wrongly, and two days later everything goes through."""
    random = Random(seed)
    with a_world(seed, mechanism) as world:
        world.introduce()
        talk(world, 4)
        copy = world.bob.rows.copy()
        talk(world, random.randint(1, 12))
        put_back(world, "bob", copy)
        for _ in range(2):
            world.alice.send(world.bob.me.identity, "between")
            world.bob.send(world.alice.me.identity, "between")
            drain(world)
        if mechanism is X3DH_ALONE or mechanism.main == "x3dh/1":
            for _ in range(2):
                world.clock.now += DAY + 3600 * 1000
                drain(world)
        for n in range(4):
            a, b = ("alice", "bob") if n % 2 else ("bob", "alice")
            text = f"healed {n}"
            world.peers[a].send(world.peers[b].me.identity, text)
            drain(world)
            assert mechanism.main != "x3dh/1" or text in world.told(b)
        world.ledger.check_ciphers()


def drain(world: World) -> None:
    """As `settle`, without the ledger: texts here come again that a rollback forgot."""
    for _ in range(20):
        for peer in world.peers.values():
            while peer.queue:
                peer.transmit()
            peer.note_had()
            world.network.advance()
            while peer.pull() is not None:
                pass
            peer.move_cursors()
            while (due := peer.tick()) is not None and due <= peer.now():
                pass
