"""What was said once is told once: every envelope again, under every disguise that a network or a peer can give it."""

from __future__ import annotations

import pytest
from attrs import evolve
from kexkit.api import Envelope
from kexkit.errors import KexkitError
from kexkit.events import TextReceived, Unreadable

from tests.attacks.forging import (
    a_talk,
    addressed_to,
    assert_no_effect,
    assert_refused,
    assert_still_talking,
    contents,
    envelope_of_text,
    frame_of,
    posted,
    receive,
)
from tests.world.mechanisms import BOTH, EACH, PSK, Mechanism
from tests.world.world import DAY, HOUR, World

LATER = (0, 1, 10**6, 10**9, 3600 * 10**9, 24 * 3600 * 10**9, -(10**9))


def talked_over(world: World) -> list[Envelope]:
    """A conversation, and all that went over the wire in it."""
    for n in range(4):
        world.send("alice", "bob")
        world.send("bob", "alice")
        if n % 2:
            world.settle()
    world.quiesce()
    return world.network.logged()


@EACH
@pytest.mark.parametrize("restarts", [False, True])
@pytest.mark.parametrize("after", [0, HOUR, 9 * DAY, 35 * DAY], ids=["at once", "an hour", "nine days", "35 days"])
def test_no_envelope_tells_anything_a_second_time(mechanism: Mechanism, restarts: bool, after: int) -> None:
    """Under the same timestamp or another, at once or after keys have gone, with the session in memory or stored."""
    with a_talk(mechanism) as world:
        wire = talked_over(world)
        world.clock.now += after
        world.settle()
        if restarts:
            world.crash("alice")
            world.crash("bob")
        for who in ("alice", "bob"):
            told = set(world.ledger.told)
            placeholders = sum(isinstance(event, Unreadable) for event in world.peers[who].read_inbox())
            for envelope in wire:
                for later in LATER:
                    receive(world, who, evolve(envelope, timestamp=max(envelope.timestamp + later, 0)))
                    world.ledger.check_told(world.peers[who])
            assert set(world.ledger.told) == told
            now = sum(isinstance(event, Unreadable) for event in world.peers[who].read_inbox())
            assert now == placeholders or after > 30 * DAY, "a copy earns no placeholder"
        world.quiesce()
        assert_still_talking(world)


@EACH
def test_a_copy_of_what_was_just_received_changes_no_row(mechanism: Mechanism) -> None:
    with a_talk(mechanism) as world:
        wire = talked_over(world)
        for envelope in wire:
            for later in LATER:
                assert_no_effect(world, "bob", evolve(envelope, timestamp=max(envelope.timestamp + later, 0)))
        assert_still_talking(world)


@EACH
def test_a_message_of_alices_under_mallorys_signature_is_refused(mechanism: Mechanism) -> None:
    """Mallory has it all, the plain ProtocolMessage and the frame; but the envelope he can only sign as himself."""
    with a_talk(mechanism) as world:
        genuine = envelope_of_text(world, "alice", "bob")
        message = contents(world, genuine)
        his = contents(world, envelope_of_text(world, "mallory", "bob"))
        for disguise in (
            message,
            evolve(message, bundles=(), offers=()),
            evolve(message, bundles=(), offers=(), installation=world.peers["mallory"].me.installation),
            evolve(his, slots=message.slots, frames=message.frames),
        ):
            assert_refused(world, "bob", posted(world.peers["mallory"], world.bob.me.identity, disguise))
        assert_still_talking(world)
        assert_still_talking(world, "mallory")


@EACH
def test_a_first_message_of_alices_under_mallorys_signature_opens_no_session(mechanism: Mechanism) -> None:
    with a_talk(mechanism) as world:
        world.clock.now += 2 * DAY
        world.settle()
        genuine = envelope_of_text(world, "alice", "bob")
        message = evolve(contents(world, genuine), bundles=(), offers=())
        before = set(world.bob.table("session"))
        for installation in (world.alice.me.installation, world.peers["mallory"].me.installation):
            disguise = evolve(message, installation=installation)
            assert_refused(world, "bob", posted(world.peers["mallory"], world.bob.me.identity, disguise))
        assert set(world.bob.table("session")) == before
        assert_still_talking(world)


@EACH
def test_a_message_for_one_device_opens_on_no_other(mechanism: Mechanism) -> None:
    """Re-addressed by whoever sent it: to another installation of Bob's, and to Mallory."""
    with a_talk(mechanism) as world:
        world.add_device("bob", "bob2")
        second = world.peers["bob2"]
        world.introduce(("bob2", "alice"), ("bob2", "mallory"))
        world.settle()
        genuine = envelope_of_text(world, "alice", "bob")
        while world.alice.queue:
            world.alice.queue.pop()
        message = contents(world, genuine)
        if len([*message.slots, *message.frames]) > 1:
            message = evolve(
                message,
                slots={name: f for name, f in message.slots.items() if name == world.bob.me.installation},
                frames=tuple(f for f in message.frames if f.installation == world.bob.me.installation),
            )
        redirected = addressed_to(message, second.me.installation)
        assert_refused(world, "bob2", posted(world.alice, world.bob.me.identity, redirected))
        mallory = world.peers["mallory"]
        to_mallory = addressed_to(message, mallory.me.installation)
        assert_refused(world, "mallory", posted(world.alice, mallory.me.identity, to_mallory))
        assert_refused(world, "mallory", posted(world.alice, mallory.me.identity, message), silently=True)
        world.alice.crash()
        world.quiesce()
        assert_still_talking(world)


@EACH
def test_an_envelope_for_bob_means_nothing_to_carol(mechanism: Mechanism) -> None:
    with a_talk(mechanism) as world:
        for envelope in talked_over(world):
            causes, before, after = receive(world, "mallory", envelope)
            assert before == after, causes
        assert_still_talking(world, "mallory")


@EACH
def test_our_own_messages_come_back_without_effect(mechanism: Mechanism) -> None:
    """Reflected: as they were, and as the frames in them under the peer's signature."""
    with a_talk(mechanism) as world:
        genuine = envelope_of_text(world, "alice", "bob")
        assert_no_effect(world, "alice", genuine)
        message = addressed_to(contents(world, genuine), world.alice.me.installation)
        assert_no_effect(world, "alice", posted(world.alice, world.alice.me.identity, message))
        mirrored = evolve(message, installation=world.bob.me.installation, bundles=(), offers=())
        assert_refused(world, "alice", posted(world.bob, world.alice.me.identity, mirrored))
        assert_still_talking(world)


@pytest.mark.parametrize("mechanism", [PSK, BOTH], ids=["psk", "psk and x3dh"])
def test_frames_beside_one_another_are_all_good_or_none_counts(mechanism: Mechanism) -> None:
    """A genuine frame in company of a forged one: nothing of the message is taken, and the frame is not used up."""
    with a_talk(mechanism) as world:
        genuine = envelope_of_text(world, "alice", "bob")
        message = contents(world, genuine)
        broken = evolve(message.frames[0], frame=frame_of(message)[:-1] + b"\x00")
        together = evolve(message, frames=(*message.frames, broken))
        assert_refused(world, "bob", posted(world.alice, world.bob.me.identity, together))
        world.settle()
        assert any(isinstance(event, TextReceived) for event in world.bob.read_inbox())
        assert_still_talking(world)


def test_negative_control_a_window_that_forgets_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tests above fail if the engine and the session both let a copy through."""
    from kexkit._engine import chatting, receiving
    from kexkit_psk import session

    def never(*args: object, **settings: object) -> object:
        yield from ()
        return False

    def nothing(*args: object) -> object:
        yield from ()
        return {}

    monkeypatch.setattr(receiving, "seen_before", never)
    monkeypatch.setattr(chatting, "load", nothing)
    real = session.PskSession.receive

    def forgetful(self: session.PskSession, frame: bytes, have: object, *, ctx: object) -> object:
        return real(evolve(self, seen=0), frame, have, ctx=ctx)  # type: ignore[arg-type]  # passed on

    monkeypatch.setattr(session.PskSession, "receive", forgetful)
    with pytest.raises((AssertionError, KexkitError)):
        test_no_envelope_tells_anything_a_second_time(PSK, False, 0)
