"""Who is shown as the author is who held the keys: splices, borrowed keys and borrowed names."""

from __future__ import annotations

from collections.abc import Mapping
from random import Random
from types import MappingProxyType

import pytest
from attrs import evolve
from kexkit import _records as records
from kexkit._engine import chatting
from kexkit._engine.chatting import Composed
from kexkit._wire import application
from kexkit._wire.chat_message import TYPE, ChatText, encode
from kexkit.events import FrameRefused, TextReceived, Unreadable
from kexkit.identity import SoftwareIdentity
from kexkit_x3dh import bundle as bundles

from tests.attacks.forging import (
    a_talk,
    addressed_to,
    assert_refused,
    assert_still_talking,
    contents,
    envelope_of_text,
    flipped,
    frame_of,
    posted,
    receive,
    seal_body,
)
from tests.world.mechanisms import BOTH, EACH, PSK, X3DH_ALONE, Mechanism
from tests.world.peer import Peer
from tests.world.world import DAY, World

NO_FIELDS: Mapping[str, object] = MappingProxyType({})


def signed_by(author: Peer, about: Peer, text: str, fields: Mapping[str, object] = NO_FIELDS) -> bytes:
    """A text as `author` signs it for `about`."""
    now = author.now()
    chat = ChatText(clock=now, timestamp=now, text=text, chat_id=chatting.chat_id_of(about.me.identity))
    return application.wrap(encode(evolve(chat, **fields)), TYPE, author.identity)


def take_sealed(world: World, maker: str, reader: str, body: bytes) -> list[object]:
    """What the reader is told of a body that the maker sealed in a genuine session."""
    peer, to = world.peers[maker], world.peers[reader]
    envelope = seal_body(peer, to.me.identity, body)
    peer.queue.clear()
    to.take_events()
    to.receive(envelope)
    return list(to.told_once)


def no_text(told: list[object]) -> bool:
    return not any(isinstance(event, TextReceived) for event in told)


@EACH
def test_what_alice_signed_for_mallory_is_not_passed_on_as_said_to_bob(mechanism: Mechanism) -> None:
    """Mallory puts Alice's own signed text into his own session with Bob (SG10)."""
    with a_talk(mechanism) as world:
        blob = signed_by(world.alice, world.peers["mallory"], "I owe you 100")
        told = take_sealed(world, "mallory", "bob", blob)
        assert no_text(told)
        assert any(isinstance(event, (Unreadable, FrameRefused)) for event in told)
        assert world.bob.history(world.alice.me.identity) == world.alice.history(world.bob.me.identity)
        assert_still_talking(world, "mallory")
        assert_still_talking(world)


@EACH
def test_a_text_without_a_signature_or_with_somebodys_is_not_shown(mechanism: Mechanism) -> None:
    with a_talk(mechanism) as world:
        genuine = signed_by(world.alice, world.bob, "genuine")
        stranger = SoftwareIdentity.generate(Random(9).randbytes)
        now = world.alice.now()
        other = application.wrap(
            encode(ChatText(clock=now, timestamp=now, text="by nobody", chat_id="0x")), TYPE, stranger
        )
        payload = application.unwrap(genuine).payload
        unsigned = b"\x12" + bytes((len(payload) & 0x7F | 0x80, len(payload) >> 7)) + payload + b"\x18\x01"
        for body in (other, unsigned, b"\x00", b"no message", genuine[:-5], b"\xff" * 300):
            assert no_text(take_sealed(world, "alice", "bob", body)), body[:20]
        assert_still_talking(world)


@EACH
@pytest.mark.parametrize(
    "fields",
    [
        {"clock": 0},
        {"timestamp": 0},
        {"chat_id": ""},
        {"text": ""},
        {"text": "x" * 4097},
        {"message_type": 3},
        {"message_type": 99},
        {"content_type": 99},
        {"chat_id": "x" * 513},
        {"display_name": "x" * 257},
    ],
    ids=lambda fields: "-".join(f"{name} {str(content)[:3]}" for name, content in fields.items()),
)
def test_a_text_that_breaks_the_rules_becomes_a_placeholder_and_the_session_goes_on(
    mechanism: Mechanism, fields: dict[str, object]
) -> None:
    with a_talk(mechanism) as world:
        told = take_sealed(world, "alice", "bob", signed_by(world.alice, world.bob, "odd", fields))
        assert no_text(told)
        assert any(isinstance(event, (Unreadable, FrameRefused)) for event in told)
        assert_still_talking(world)


@pytest.mark.parametrize("mechanism", [X3DH_ALONE, BOTH], ids=["x3dh", "psk and x3dh"])
def test_a_bundle_of_alices_is_worth_nothing_in_mallorys_mouth(mechanism: Mechanism) -> None:
    with a_talk(mechanism) as world:
        mallory = world.peers["mallory"]
        hers = contents(world, envelope_of_text(world, "alice", "bob")).bundles
        his = contents(world, envelope_of_text(world, "mallory", "bob"))
        before = world.bob.person(mallory.me.identity)
        assert_refused(world, "bob", posted(mallory, world.bob.me.identity, evolve(his, bundles=hers)))
        assert_refused(world, "bob", posted(mallory, world.bob.me.identity, evolve(his, bundles=(*his.bundles, *hers))))
        now = world.bob.person(mallory.me.identity)
        now.held = before.held
        assert now == before
        assert_still_talking(world)
        assert_still_talking(world, "mallory")


def test_a_prekey_of_bobs_under_mallorys_name_leads_to_nobody() -> None:
    """Unknown key share: Mallory publishes Bob's prekey as his own, and passes on what Alice then sends 'to him'."""
    with a_talk(X3DH_ALONE) as world:
        mallory, bob = world.peers["mallory"], world.bob
        stolen = bundles.parse(contents(world, envelope_of_text(world, "bob", "mallory")).bundles[0])
        bob.queue.clear()
        prekey = stolen.prekeys[bob.me.installation]
        world.clock.now += DAY
        listed = {mallory.me.installation: evolve(prekey, version=prekey.version + 5)}
        forged = bundles.make(mallory.identity, listed, world.clock.now * 10**6)
        message = evolve(contents(world, envelope_of_text(world, "mallory", "alice")), bundles=(forged,), slots={})
        world.alice.receive(posted(mallory, world.alice.me.identity, message))
        (device,) = [
            d for d in world.alice.person(mallory.me.identity).devices if d.installation == mallory.me.installation
        ]
        assert device.adverts[0].public == prekey.public
        hers = contents(world, envelope_of_text(world, "alice", "mallory", "for mallory's eyes"))
        passed_on = addressed_to(evolve(hers, bundles=()), bob.me.installation)
        for signer in (mallory, world.alice):
            assert_refused(world, "bob", posted(signer, bob.me.identity, passed_on))
        world.clock.now += DAY
        assert_still_talking(world)


@EACH
@pytest.mark.parametrize("when", ["before Alice wrote", "after"])
def test_mallory_under_the_installation_id_of_alice_gets_into_none_of_her_sessions(
    mechanism: Mechanism, when: str
) -> None:
    """Sessions belong to identity and installation together (SG4), so a copied id is a device of Mallory's own."""
    with a_talk(mechanism) as world:
        if when != "after":
            world.lose_store("bob")
            world.introduce(("bob", "alice"), ("bob", "mallory"), ("alice", "bob"), ("mallory", "bob"))
        squatter = impostor(world)
        if when == "after":
            world.send("alice", "bob", "I am Alice")
            world.settle()
        world.send("squatter", "bob", "I am a squatter")
        world.settle()
        world.send("alice", "bob", "this is Alice")
        world.send("bob", "alice", "to Alice alone")
        world.send("bob", "squatter", "to the squatter alone")
        world.settle()
        by = {event.text: event for event in world.bob.read_inbox() if isinstance(event, TextReceived)}
        assert by["I am a squatter"].peer == squatter.me.identity
        assert by["this is Alice"].peer == world.alice.me.identity
        assert "to Alice alone" in world.told("alice")
        assert world.told("squatter") == ["to the squatter alone"]
        assert squatter.me.installation == world.alice.me.installation


def impostor(world: World) -> Peer:
    world.add_device("alice", "squatter")
    squatter = world.peers["squatter"]
    squatter.identity = SoftwareIdentity.generate(Random(77).randbytes)
    squatter.rows = type(squatter.rows)()
    row = records.Self(format=1, installation=world.alice.me.installation)
    squatter.rows.commit(records.first_row(records.SELF, records.write(row)))
    squatter.boot()
    world.introduce(("squatter", "bob"), ("bob", "squatter"))
    return squatter


@EACH
def test_a_high_s_twin_of_a_signed_text_is_no_second_text(mechanism: Mechanism) -> None:
    """The same text under the twin of its signature would have another id (SG11)."""
    order = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
    with a_talk(mechanism) as world:
        peer, to = world.alice, world.bob.me.identity
        composed: Composed = peer.ask(lambda: peer.engine.compose(to, "once", peer.moment()))
        assert not no_text(take_sealed(world, "alice", "bob", composed.wrapped))
        raw = composed.wrapped
        at = raw.index(b"\x0a\x41") + 2
        s = order - int.from_bytes(raw[at + 32 : at + 64], "big")
        twin = raw[: at + 32] + s.to_bytes(32, "big") + bytes((raw[at + 64] ^ 1,)) + raw[at + 65 :]
        assert no_text(take_sealed(world, "alice", "bob", twin))


@EACH
def test_whoever_writes_is_shown_as_the_sessions_identity(mechanism: Mechanism) -> None:
    """Another installation's name in the outer message changes at most which device it is, never who."""
    with a_talk(mechanism) as world:
        genuine = envelope_of_text(world, "alice", "bob")
        message = contents(world, genuine)
        renamed = evolve(message, installation="00000000-0000-4000-8000-000000000000", bundles=(), offers=())
        causes, _, _ = receive(world, "bob", posted(world.alice, world.bob.me.identity, renamed))
        told = [event for event in world.bob.told_once if isinstance(event, TextReceived)]
        assert causes
        assert not told
        assert_still_talking(world)


def test_negative_control_an_inner_signer_that_nobody_compares_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    real = application.unwrap

    def whoever(wrapped: bytes, **settings: bool) -> application.Wrapped:
        inner = real(wrapped, **settings)
        return application.Wrapped(inner.payload, inner.type, speaker[0])

    speaker: list[bytes] = []
    with a_talk(PSK) as world:
        speaker.append(world.peers["mallory"].me.identity)

    def only_in_the_attack(self: World, maker: str, reader: str, body: bytes) -> list[object]:
        monkeypatch.setattr(application, "unwrap", whoever)
        return take_sealed(self, maker, reader, body)

    with a_talk(PSK) as world:
        blob = signed_by(world.alice, world.peers["mallory"], "I owe you 100")
        assert not no_text(only_in_the_attack(world, "mallory", "bob", blob))


def test_negative_control_sessions_found_without_their_identity_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """If a frame opened whoever signed its envelope, the test on Mallory's signature would fail."""
    from kexkit._engine import receiving

    real = receiving.load_person
    with a_talk(PSK) as world:
        genuine = envelope_of_text(world, "alice", "bob")
        message = evolve(contents(world, genuine), bundles=(), offers=())
        mallory = world.peers["mallory"].me.identity
        monkeypatch.setattr(
            receiving,
            "load_person",
            lambda draft, identity: real(draft, world.alice.me.identity if identity == mallory else identity),
        )
        forged = posted(world.peers["mallory"], world.bob.me.identity, message)
        with pytest.raises(AssertionError):
            assert_refused(world, "bob", forged)
    assert flipped(frame_of(message), 0) != frame_of(message)
