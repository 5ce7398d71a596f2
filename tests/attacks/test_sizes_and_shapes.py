"""Too long, too short, too many, of another version, with keys that are none: typed refusals, and nothing changes."""

from __future__ import annotations

from random import Random

import pytest
from attrs import evolve
from kexkit import limits
from kexkit._pb.status import protocol_message_pb2 as pb
from kexkit._wire import payload26
from kexkit._wire.protocol_message import Frame, ProtocolMessage, encode
from kexkit.events import FrameRefused
from kexkit_x3dh._pb.encrypted_message_pb2 import EncryptedMessageProtocol

from tests.attacks.forging import (
    a_talk,
    assert_refused,
    assert_still_talking,
    contents,
    envelope_of_text,
    frame_of,
    posted,
    receive,
    refusal_of,
    with_frame,
)
from tests.attacks.test_floods import forget_sessions
from tests.world.ledger import assert_quarantine_only
from tests.world.mechanisms import BOTH, EACH, PSK, X3DH_ALONE, Mechanism

NOT_ON_CURVE = b"\x02" + bytes(31) + b"\x05"
BAD_KEYS = {
    "zero": bytes(33),
    "zero with a prefix": b"\x02" + bytes(32),
    "not on the curve": NOT_ON_CURVE,
    "beyond the field": b"\x02" + b"\xff" * 32,
    "the field's order": b"\x03" + bytes.fromhex("fffffffffffffffffffffffffffffffffffffffffffffffffffffffefffffc2f"),
    "uncompressed": b"\x04" + bytes(64),
    "hybrid": b"\x06" + bytes(64),
    "empty": b"",
    "short": b"\x02" + bytes(31),
    "long": b"\x02" + bytes(33),
}


@EACH
def test_an_envelope_cut_short_or_grown_is_refused(mechanism: Mechanism) -> None:
    with a_talk(mechanism) as world:
        genuine = envelope_of_text(world, "alice", "bob")
        raw = genuine.payload
        for size in (*range(130), len(raw) // 2, len(raw) - 17, len(raw) - 1):
            assert_refused(world, "bob", evolve(genuine, payload=raw[:size]), silently=True)
        for size in (len(raw) + 1, limits.PAYLOAD_BYTES, limits.PAYLOAD_BYTES + 1):
            assert_refused(world, "bob", evolve(genuine, payload=raw.ljust(size, b"\0")), silently=True)
        assert_still_talking(world)


@EACH
def test_a_message_cut_short_anywhere_is_refused(mechanism: Mechanism) -> None:
    """Signed by Alice, and cut: what is left of it does not parse, or lacks its frame."""
    with a_talk(mechanism) as world:
        data = encode(contents(world, envelope_of_text(world, "alice", "bob")))
        for size in sorted(Random(1).sample(range(len(data)), 150)):
            cut = posted(world.alice, world.bob.me.identity, data[:size], size + 1)
            causes, before, after = receive(world, "bob", cut)
            if causes:
                assert_quarantine_only(before, after)
            assert not world.told("bob")
        world.settle()
        assert_still_talking(world)


@EACH
def test_a_frame_cut_short_anywhere_is_refused(mechanism: Mechanism) -> None:
    with a_talk(mechanism) as world:
        message = contents(world, envelope_of_text(world, "alice", "bob"))
        frame = frame_of(message)
        for size in range(len(frame)):
            if size == 0 and message.slots:
                continue  # an empty value in the map is as good as none
            cut = posted(world.alice, world.bob.me.identity, with_frame(message, frame[:size]), size + 1)
            assert_refused(world, "bob", cut)
        world.settle()
        assert_still_talking(world)


def oversized(message: ProtocolMessage) -> dict[str, pb.ProtocolMessage]:
    """Each count and length of a ProtocolMessage, one beyond its bound."""
    raw = encode(message)
    long = "x" * (limits.INSTALLATION_BYTES + 1)

    def changed(**fields: object) -> pb.ProtocolMessage:
        wire = pb.ProtocolMessage.FromString(raw)
        wire.MergeFrom(pb.ProtocolMessage(**fields))
        return wire

    frame = pb.KexkitFrame(installation="a", mechanism="b", frame=b"c")
    return {
        "bundles": changed(bundles=[b"x"] * (limits.BUNDLES + 1)),
        "slots": changed(encrypted_message={f"{n}": b"x" for n in range(limits.SLOTS + 1)}),
        "offers": changed(kexkit_offers=[b"x"] * (limits.OFFERS + 1)),
        "frames": changed(kexkit_frames=[frame] * (limits.FRAMES + 1)),
        "the sender's installation": changed(installation_id=long),
        "the receiver's installation in the map": changed(encrypted_message={long: b"x"}),
        "the receiver's installation in a frame": changed(kexkit_frames=[pb.KexkitFrame(installation=long)]),
        "a mechanism's name": changed(kexkit_frames=[pb.KexkitFrame(mechanism="x" * 81)]),
    }


@EACH
def test_a_message_beyond_any_bound_is_refused(mechanism: Mechanism) -> None:
    with a_talk(mechanism) as world:
        message = contents(world, envelope_of_text(world, "alice", "bob"))
        for n, (what, wire) in enumerate(oversized(message).items()):
            forged = posted(world.alice, world.bob.me.identity, wire.SerializeToString(), n + 1)
            causes = assert_refused(world, "bob", forged)
            assert "more than" in causes[0], what
        world.settle()
        assert_still_talking(world)


@EACH
@pytest.mark.parametrize("version", [0, 3, 7, 2**31])
def test_an_envelope_of_an_unknown_version_is_refused_and_its_true_one_opens(
    mechanism: Mechanism, version: int
) -> None:
    with a_talk(mechanism) as world:
        genuine = envelope_of_text(world, "alice", "bob", "of version one")
        assert_refused(world, "bob", evolve(genuine, version=version))
        assert_refused(world, "bob", evolve(genuine, version=2), silently=True)
        world.settle()
        assert world.told("bob") == ["of version one"]
        assert_still_talking(world)


@EACH
def test_a_frame_of_a_mechanism_that_is_not_here_is_held_and_named(mechanism: Mechanism) -> None:
    with a_talk(mechanism) as world:
        message = contents(world, envelope_of_text(world, "alice", "bob"))
        for n, name in enumerate(("unheard-of@example.org/1", "x3dh/9", "psk@example.org/2", "", "\x00", "x" * 80)):
            strange = Frame(world.bob.me.installation, name, frame_of(message))
            forged = posted(world.alice, world.bob.me.identity, evolve(message, slots={}, frames=(strange,)), n + 1)
            assert_refused(world, "bob", forged)
        first = next(
            event for event in world.bob.told_ever if isinstance(event, FrameRefused) and "unheard" in event.cause
        )
        assert first.peer == world.alice.me.identity
        world.settle()
        assert_still_talking(world)


def test_a_frame_of_one_mechanism_is_not_taken_for_anothers() -> None:
    """The slot's frame beside the map, and the other's in the map."""
    with a_talk(BOTH) as world:
        message = contents(world, envelope_of_text(world, "alice", "bob"))
        me = world.bob.me.installation
        swapped = evolve(message, slots={me: frame_of(message)}, frames=())
        assert_refused(world, "bob", posted(world.alice, world.bob.me.identity, swapped))
        as_x3dh = evolve(message, frames=(Frame(me, "x3dh/1", frame_of(message)),))
        assert_refused(world, "bob", posted(world.alice, world.bob.me.identity, as_x3dh))
        world.settle()
        assert_still_talking(world)


@pytest.mark.parametrize("place", ["ephemeral", "prekey", "ratchet", "direct"])
@pytest.mark.parametrize("key", BAD_KEYS.values(), ids=BAD_KEYS.keys())
def test_a_bad_key_in_any_field_of_a_frame_is_refused(place: str, key: bytes) -> None:
    with a_talk(X3DH_ALONE) as world:
        world.clock.now += 40 * 24 * 3600 * 1000
        world.settle()
        message = contents(world, envelope_of_text(world, "alice", "bob"))
        wire = EncryptedMessageProtocol.FromString(frame_of(message))
        if place == "ephemeral":
            wire.x3dh_header.key = key
            wire.x3dh_header.id = wire.dr_header.id
        elif place == "prekey":
            wire.dr_header.id = key
        elif place == "ratchet":
            wire.dr_header.key = key
        else:
            wire = EncryptedMessageProtocol(payload=bytes(64))
            wire.dh_header.key = key
        forged = with_frame(message, wire.SerializeToString())
        assert_refused(world, "bob", posted(world.alice, world.bob.me.identity, forged))
        world.settle()
        assert_still_talking(world)


@pytest.mark.parametrize("key", BAD_KEYS.values(), ids=BAD_KEYS.keys())
def test_a_bad_key_in_the_envelope_itself_is_passed_over(key: bytes) -> None:
    with a_talk(PSK) as world:
        genuine = envelope_of_text(world, "alice", "bob")
        assert_refused(world, "bob", evolve(genuine, payload=key + genuine.payload[65:]), silently=True)
        assert_still_talking(world)


@EACH
def test_an_envelope_that_nobody_signed_is_refused(mechanism: Mechanism) -> None:
    with a_talk(mechanism) as world:
        genuine = envelope_of_text(world, "alice", "bob")
        data = encode(contents(world, genuine))
        anonymous = payload26.seal_asymmetric(data, world.bob.me.identity, sign=None, rng=Random(1).randbytes)
        assert_refused(world, "bob", evolve(genuine, payload=anonymous))
        assert refusal_of(world, "bob").peer is None
        world.settle()
        assert_still_talking(world)


@EACH
def test_random_protobuf_under_a_good_signature_is_refused_or_empty(mechanism: Mechanism) -> None:
    """Fields of every number and kind, nested, repeated, of any length: no error but a typed one."""
    random = Random(11)
    with a_talk(mechanism) as world:
        for n in range(400):
            data = b"".join(random_field(random) for _ in range(random.randint(0, 12)))
            causes, before, after = receive(world, "bob", posted(world.alice, world.bob.me.identity, data, n + 1))
            if causes:
                assert_quarantine_only(before, after)
            else:
                assert after == before
        assert_still_talking(world)


def random_field(random: Random) -> bytes:
    number = random.choice([1, 2, 3, 101, 102, 103, 20055, 20056, 20057, random.randint(1, 2**28)])
    kind = random.choice([0, 1, 2, 2, 2, 5])
    head = varint(number << 3 | kind)
    if kind == 0:
        return head + varint(random.getrandbits(random.choice([1, 7, 32, 64])))
    if kind != 2:
        return head + random.randbytes(8 if kind == 1 else 4)
    body = b"".join(random_field(random) for _ in range(random.randint(0, 2))) if random.random() < 0.4 else b""
    body = body or random.randbytes(random.choice([0, 1, 16, 33, 36, 65, 200]))
    return head + varint(len(body)) + body


def varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes((*out, number))


@EACH
def test_a_sender_without_an_installation_begins_nothing(mechanism: Mechanism) -> None:
    """An empty name would stand for 'whichever device' in all that is kept."""
    with a_talk(mechanism) as world:
        forget_sessions(world)
        message = contents(world, envelope_of_text(world, "alice", "bob"))
        nameless = evolve(message, installation="", bundles=(), offers=())
        assert_refused(world, "bob", posted(world.alice, world.bob.me.identity, nameless))
        devices = world.bob.person(world.alice.me.identity).devices
        assert all(device.installation for device in devices)
        world.alice.crash()
        world.quiesce()
        assert_still_talking(world)
