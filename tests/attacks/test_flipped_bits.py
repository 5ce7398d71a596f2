"""A forged frame changes nothing: one bit is turned in every layer, by whoever can reach that layer."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
from attrs import evolve
from kexkit._engine.chatting import Composed
from kexkit._pb.status import application_metadata_message_pb2 as application_pb
from kexkit._wire import application
from kexkit._wire.protocol_message import ProtocolMessage
from kexkit.events import TextReceived, Unreadable

from tests.attacks.forging import (
    a_talk,
    assert_refused,
    assert_still_talking,
    contents,
    envelope_of_text,
    flipped,
    frame_of,
    posted,
    receive,
    some_bits,
    with_frame,
)
from tests.world.ledger import assert_quarantine_only
from tests.world.mechanisms import EACH, X3DH_ALONE, Mechanism
from tests.world.world import DAY, World


@EACH
def test_the_network_turns_a_bit_of_an_envelope(mechanism: Mechanism) -> None:
    """It holds no key, so whatever it turns breaks the outermost layer."""
    with a_talk(mechanism) as world:
        genuine = envelope_of_text(world, "alice", "bob")
        for bit in some_bits(genuine.payload, Random(1), 250):
            forged = evolve(genuine, payload=flipped(genuine.payload, bit))
            assert_refused(world, "bob", forged, silently=True)
        assert_still_talking(world)


@EACH
@pytest.mark.parametrize("first", [True, False], ids=["the first message", "a later one"])
def test_the_peer_turns_a_bit_of_a_frame(mechanism: Mechanism, first: bool) -> None:
    """Signed by the true sender, so that nothing but the session itself can tell."""
    with a_talk(mechanism) as world:
        if first:
            world.clock.now += 40 * DAY
            world.settle()
        genuine = envelope_of_text(world, "alice", "bob")
        message = contents(world, genuine)
        frame = frame_of(message)
        for bit in some_bits(frame, Random(2), 200):
            forged = posted(world.alice, world.bob.me.identity, with_frame(message, flipped(frame, bit)), bit + 1)
            assert_refused(world, "bob", forged)
        assert_still_talking(world)


Keys = set[tuple[str, bytes, int, int]]


def keys_known(world: World) -> Keys:
    person = world.bob.person(world.alice.me.identity)
    return {(ad.mechanism, ad.public, ad.epoch, ad.issued) for device in person.devices for ad in device.adverts}


def published_anew(world: World) -> ProtocolMessage:
    """Alice has renewed what she publishes, and Bob has not heard of it."""
    world.clock.now += 8 * DAY
    while (due := world.alice.tick()) is not None and due <= world.clock.now:
        pass
    return evolve(contents(world, envelope_of_text(world, "alice", "bob")), slots={}, frames=())


@EACH
def test_the_peer_turns_a_bit_of_a_bundle_or_an_offer(mechanism: Mechanism) -> None:
    """The message is refused; or the bit is not signed, and then it chooses no key: what is known is as published."""
    with a_talk(mechanism) as world:
        message = published_anew(world)
        before = keys_known(world)
        world.bob.receive(posted(world.alice, world.bob.me.identity, message))
        genuine = keys_known(world)
        assert genuine != before
    with a_talk(mechanism) as world:
        assert published_anew(world) == message
        for kind in ("bundles", "offers"):
            for raw in getattr(message, kind):
                for bit in some_bits(raw, Random(3), 150):
                    only: dict[str, Any] = {"bundles": (), "offers": (), kind: (flipped(raw, bit),)}
                    forged = posted(world.alice, world.bob.me.identity, evolve(message, **only))
                    causes, was, after = receive(world, "bob", forged)
                    if causes:
                        assert_quarantine_only(was, after)
                    assert keys_known(world) <= before | genuine
        world.quiesce()
        assert_still_talking(world)


@EACH
def test_the_peer_turns_a_bit_of_what_it_signed_inside(mechanism: Mechanism) -> None:
    """The frame is authentic, so the session moves on; but the text is not shown, for the signature is not Alice's."""
    with a_talk(mechanism) as world:
        peer, to = world.alice, world.bob.me.identity
        composed: Composed = peer.ask(lambda: peer.engine.compose(to, "signed", peer.moment()))
        wrapped = composed.wrapped
        signature = application_pb.ApplicationMetadataMessage.FromString(wrapped).signature
        at = wrapped.index(signature)
        for bit in some_bits(signature, Random(4), 65):
            place = at * 8 + bit
            forged = Composed(Random(bit).randbytes(32), flipped(wrapped, place), composed.clock)
            peer.perform(lambda forged=forged: peer.engine.send(to, forged, peer.moment()))
            world.bob.take_events()
            world.bob.receive(peer.queue[-1].envelope)
            told = world.bob.told_once
            assert not any(isinstance(event, TextReceived) for event in told)
            assert any(isinstance(event, Unreadable) for event in told) or world.bob.refusals()
        peer.queue.clear()
        peer.crash()
        world.quiesce()
        world.send("alice", "bob", "genuine")
        world.settle()
        assert "genuine" in world.told("bob")


def test_negative_control_a_session_that_skips_its_check_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same test fails when the ratchet does not compare the code of authentication."""
    import kexkit_x3dh.cipher

    monkeypatch.setattr(kexkit_x3dh.cipher, "compare_digest", lambda ours, theirs: True)
    with pytest.raises(AssertionError, match=r"not refused|refusal"):
        test_the_peer_turns_a_bit_of_a_frame(X3DH_ALONE, False)


def test_negative_control_an_inner_signature_that_is_not_compared_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    real = application.unwrap

    def anybody(wrapped: bytes, **settings: bool) -> application.Wrapped:
        inner = application_pb.ApplicationMetadataMessage.FromString(wrapped)
        return application.Wrapped(inner.payload, inner.type, world_sender[0])

    world_sender: list[bytes] = []
    with a_talk(X3DH_ALONE) as world:
        world_sender.append(world.alice.me.identity)
    monkeypatch.setattr(application, "unwrap", anybody)
    with pytest.raises(AssertionError):
        test_the_peer_turns_a_bit_of_what_it_signed_inside(X3DH_ALONE)
    assert real is not application.unwrap
