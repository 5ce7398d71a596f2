"""A person ends the sessions with somebody: the keys go, on both sides where the protocol can say goodbye, and the next
text begins anew. What is under way meanwhile: `test_goodbyes`."""

from __future__ import annotations

import pytest

from tests.engine.negotiating_peers import KITS, Kit, Meeting, meeting

EACH = pytest.mark.parametrize("kit", KITS.values(), ids=list(KITS))


def talked(world: Meeting) -> None:
    """Alice spoke last, so that Bob has nothing to say again."""
    world.introduce()
    for who, whom in (("alice", "bob"), ("bob", "alice"), ("alice", "bob")):
        world.send(who, whom)
        world.settle()
    world.until_rest(1)


def end(world: Meeting, who: str, whom: str) -> object:
    peer = world.peers[who]
    with world.step(peer):
        return peer.perform(lambda: peer.engine.end_sessions(world.peers[whom].me.identity, peer.moment()))


@EACH
def test_the_keys_of_an_ended_session_are_gone_and_the_next_text_begins_another(kit: Kit) -> None:
    with meeting(1, kit, kit) as world:
        talked(world)
        before = set(world.alice.table("session"))
        assert end(world, "alice", "bob") == len(before) == 1
        world.until_rest(1)
        assert not world.alice.table("session")
        assert not [key for key in world.alice.table("drawer") if any(one in key for one in before)]
        world.send("alice", "bob", "again")
        world.settle()
        world.until_rest(2)
        assert world.told("bob")[-1] == "again"
        assert before.isdisjoint(world.alice.table("session"))
        world.must_agree()


def test_a_noise_session_says_goodbye_under_its_own_protection() -> None:
    with meeting(2, KITS["bare"], KITS["bare"]) as world:
        talked(world)
        (session,) = world.bob.table("session")
        end(world, "alice", "bob")
        world.settle()
        assert session not in world.bob.table("session")
        world.send("bob", "alice", "and again")
        world.settle()
        world.until_rest(2)
        assert world.told("alice")[-1] == "and again"
        world.must_agree()


def test_how_far_the_topics_of_sessions_that_are_over_were_read_is_forgotten_at_the_next_start() -> None:
    with meeting(3, KITS["bare"], KITS["bare"]) as world:
        talked(world)
        before = {key.decode() for key in world.bob.table("cursor")}
        assert any("/sessions/" in topic for topic in before)
        end(world, "alice", "bob")
        world.until_rest(1)
        world.crash("bob")
        after = {key.decode() for key in world.bob.table("cursor")}
        assert after < before
        assert not any("/sessions/" in topic for topic in after)
        world.send("alice", "bob", "anew")
        world.settle()
        world.until_rest(2)
        world.must_agree()
