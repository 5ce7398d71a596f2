"""A whole device is copied, and both go on: who is told, when, and what becomes of the session."""

from __future__ import annotations

import pytest
from kexkit._transitions import State
from kexkit.api import Context, Have, Step
from kexkit.errors import Cloned
from kexkit.events import CloneSuspected, FrameRefused, Unreadable
from kexkit_psk.session import PskSession

from tests.engine.negotiating_peers import (
    BARE_NAME,
    ONLY_BARE,
    ONLY_FRAME,
    ONLY_SLOT,
    PSK_NAME,
    Kit,
    Meeting,
    meeting,
)
from tests.world.peer import Peer


def copied(world: Meeting, who: str) -> Peer:
    """The same rows on another machine, which draws other bytes."""
    one = world.peers[who]
    twin = Peer("twin", one.mechanism, world.network, world.clock, "another", one.identity.expose_secret())
    twin.rows = one.rows.copy()
    twin.boot()
    world.peers["twin"] = twin
    assert twin.me == one.me
    return twin


def talking(world: Meeting) -> None:
    world.introduce()
    for sender, reader in (("alice", "bob"), ("bob", "alice")) * 3:
        world.send(sender, reader)
        world.settle()
    world.quiesce()


def says(world: Meeting, who: str, text: str) -> None:
    """At the network, and nobody has read it yet."""
    world.send(who, "bob", text)
    world.leave(who)


def clones(world: Meeting, who: str) -> list[tuple[bytes, bool]]:
    return [(event.peer, event.ours) for event in world.told_of(who, CloneSuspected)]


def test_the_peer_is_told_when_both_copies_have_answered_one_turn_and_only_once() -> None:
    with meeting(1, ONLY_BARE, ONLY_BARE) as world:
        talking(world)
        copied(world, "alice")
        world.send("bob", "alice")
        world.leave("bob")
        for who in ("alice", "twin"):
            world.read(who)
            says(world, who, f"{who} answers")
        world.read("bob")
        assert clones(world, "bob") == [(world.alice.me.identity, False)]
        assert {event.mechanism for event in world.told_of("bob", CloneSuspected)} == {BARE_NAME}
        for who in ("twin", "alice"):
            says(world, who, f"{who} goes on")
        world.read("bob")
        world.bob.crash()
        says(world, "twin", "the copy again")
        world.read("bob")
        assert len(clones(world, "bob")) == 1
        assert world.states("bob", "alice") == {BARE_NAME: [State.OPEN]}


def test_the_copied_end_is_told_by_what_it_hears_on_the_shared_topic() -> None:
    with meeting(2, ONLY_BARE, ONLY_BARE) as world:
        talking(world)
        copied(world, "alice")
        says(world, "twin", "in your place")
        world.read("alice")
        assert clones(world, "alice") == [(world.bob.me.identity, True)]
        assert not clones(world, "bob")


def test_a_store_that_was_put_back_is_told_by_what_it_said_before() -> None:
    """The network's log brings its own messages, of places that it believes it has not come to."""
    with meeting(3, ONLY_BARE, ONLY_BARE) as world:
        talking(world)
        copy = world.alice.rows.copy()
        says(world, "alice", "said, and forgotten")
        world.alice.rows = copy
        world.alice.boot()
        world.read("alice")
        assert clones(world, "alice") == [(world.bob.me.identity, True)]


@pytest.mark.parametrize("kit", [ONLY_BARE, ONLY_SLOT], ids=["healing noise", "x3dh"])
def test_no_honest_talk_and_no_copy_of_an_envelope_is_taken_for_a_sign(kit: Kit) -> None:
    with meeting(4, kit, kit) as world:
        talking(world)
        for who in ("alice", "bob"):
            world.peers[who].crash()  # what it published is forgotten, and comes back to it
            for arrival in world.network.logged():
                world.peers[who].receive(arrival)
        assert not clones(world, "alice")
        assert not clones(world, "bob")
        assert kit is ONLY_SLOT or world.told_of("alice", FrameRefused)


def test_x3dh_cannot_know_and_says_nothing() -> None:
    """Its headers stand in clear under the keys of the texts, which are gone: a copy's texts are only refused."""
    with meeting(5, ONLY_SLOT, ONLY_SLOT) as world:
        talking(world)
        copied(world, "alice")
        world.send("bob", "alice")
        world.leave("bob")
        for who in ("alice", "twin"):
            world.read(who)
            says(world, who, f"{who} answers")
        world.read("bob")
        assert not clones(world, "bob")
        assert world.told_of("bob", FrameRefused)


def test_a_sign_in_a_signed_envelope_names_the_device_and_its_message_is_held_like_any_that_does_not_open(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of a mechanism whose frames travel beside Status's; and what is no session of anybody's is told to nobody."""
    with meeting(6, ONLY_FRAME, ONLY_FRAME) as world:
        talking(world)
        session = world.refs("alice", "bob")[0].id
        named = [bytes(32), session, session]

        def receive(self: PskSession, frame: bytes, have: Have, *, ctx: Context) -> Step:
            raise Cloned(session=named.pop(0))

        with monkeypatch.context() as patched:
            patched.setattr(PskSession, "receive", receive)
            for _ in range(3):
                world.send("bob", "alice")
                world.leave("bob")
                world.read("alice")
        assert clones(world, "alice") == [(world.bob.me.identity, False)]
        assert [type(event) for event in world.alice.read_inbox()][-3:] == [Unreadable] * 3
        world.send("alice", "bob")
        world.quiesce()
        world.send("bob", "alice")
        world.quiesce()
        assert world.states("alice", "bob")[PSK_NAME][0] is State.OPEN
