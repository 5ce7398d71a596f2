"""However much a peer or the network sends, what is kept is bounded, and whoever was known is still served."""

from __future__ import annotations

from random import Random
from uuid import UUID

import pytest
from attrs import evolve
from kexkit import _records as records
from kexkit import limits
from kexkit._wire.offers import Entry, OfferBody, sign
from kexkit._wire.protocol_message import ProtocolMessage
from kexkit.api import Change, Context, Device
from kexkit.events import Unreadable
from kexkit.identity import SoftwareIdentity
from kexkit_psk.exchange import Psk
from kexkit_x3dh import bundle as bundles

from tests.attacks.forging import (
    a_talk,
    assert_still_talking,
    contents,
    envelope_of_text,
    flipped,
    frame_of,
    posted,
    receive,
    with_frame,
)
from tests.world.ledger import check_bounds
from tests.world.mechanisms import BOTH, EACH, PSK, SECRET, X3DH_ALONE, Mechanism
from tests.world.peer import Peer
from tests.world.world import DAY, World

random = Random(5)


def a_uuid() -> str:
    raw = bytearray(random.randbytes(16))
    raw[6], raw[8] = raw[6] & 0x0F | 0x40, raw[8] & 0x3F | 0x80
    return str(UUID(bytes=bytes(raw)))


def bundle_of(world: World, maker: str, installations: list[str], at: int) -> bytes:
    """As Alice's own program would sign it, if it were evil: devices that nobody has."""
    peer = world.peers[maker]
    public = SoftwareIdentity.generate(random.randbytes).public
    prekeys = {name: bundles.PublishedPrekey(public, 1, 1) for name in installations}
    return bundles.make(peer.identity, prekeys, at * 10**6)


def offer_of(world: World, maker: str, installation: str) -> bytes:
    """A signed offer of a device that nobody has, with an honest psk entry."""
    peer = world.peers[maker]

    context = Context(Device(peer.me.identity, installation), peer.now(), random.randbytes, peer.identity)
    made = Psk(SECRET).offer({b"issued": None}, siblings=(), ctx=context)
    body = OfferBody(
        peer.me.identity,
        installation,
        peer.now(),
        peer.now() // 1000,
        peer.now() // 1000 + 1000,
        (Entry(Psk.name, made.public),),  # type: ignore[union-attr]  # an Offer, as nothing is wanted
    )
    return sign(body, peer.identity).received


def invented(world: World, mechanism: Mechanism, count: int) -> list[ProtocolMessage]:
    base = evolve(contents(world, envelope_of_text(world, "alice", "bob")), slots={}, frames=(), bundles=(), offers=())
    made = []
    for n in range(count):
        name = a_uuid()
        if mechanism is PSK:
            made.append(evolve(base, installation=name, offers=(offer_of(world, "alice", name),)))
        else:
            bundle = bundle_of(world, "alice", [name], world.clock.now + n)
            made.append(evolve(base, installation=name, bundles=(bundle,)))
    return made


@EACH
def test_a_flood_of_invented_devices_leaves_the_real_one_served(mechanism: Mechanism) -> None:
    """Whoever has Alice's identity key publishes a hundred devices: sixteen are kept, hers is among them (A26)."""
    with a_talk(mechanism) as world:
        for n, message in enumerate(invented(world, mechanism, 100)):
            receive(world, "bob", posted(world.alice, world.bob.me.identity, message, n + 1))
            check_bounds(world.bob)
        devices = world.bob.person(world.alice.me.identity).devices
        assert len(devices) == limits.DEVICES_PER_PEER
        assert world.alice.me.installation in {device.installation for device in devices}
        world.alice.crash()
        world.quiesce()
        assert_still_talking(world)


@pytest.mark.parametrize("mechanism", [X3DH_ALONE, BOTH], ids=["x3dh", "psk and x3dh"])
def test_one_bundle_of_many_invented_devices_leaves_the_real_one_served(mechanism: Mechanism) -> None:
    with a_talk(mechanism) as world:
        message = contents(world, envelope_of_text(world, "alice", "bob"))
        flood = bundle_of(world, "alice", [a_uuid() for _ in range(16)], world.clock.now)
        receive(
            world,
            "bob",
            posted(world.alice, world.bob.me.identity, evolve(message, bundles=(flood,), slots={}, frames=())),
        )
        check_bounds(world.bob)
        world.alice.crash()
        world.quiesce()
        assert_still_talking(world)


@EACH
def test_a_flood_of_new_sessions_keeps_the_last_ones_and_goes_on(mechanism: Mechanism) -> None:
    """Alice's program begins a hundred sessions, each in its first message, and forgets them."""
    with a_talk(mechanism) as world:
        world.settle()
        fresh = world.alice.rows.dump()
        for n in range(40):
            forget_sessions(world)
            world.send("alice", "bob", f"begun anew {n}")
            world.settle()
            check_bounds(world.bob)
        assert fresh != world.alice.rows.dump()
        refs = [ref for device in world.bob.person(world.alice.me.identity).devices for ref in device.sessions]
        assert len(refs) <= limits.SESSIONS_PER_DEVICE * len(mechanism.make())
        assert len(world.bob.table("place")) <= len(world.bob.table("session"))
        assert_still_talking(world)
        world.clock.now += DAY
        world.quiesce()
        world.clock.now += 60 * DAY
        world.quiesce()
        owned = [id_ for id_ in world.bob.table("drawer") if b"k" in id_]
        assert len(owned) < 400


def forget_sessions(world: World) -> None:
    """As after a loss of them alone: Alice's device is the same, and begins anew."""
    alice = world.alice
    change = Change({}, {}, frozenset())
    put, drop = {}, set()
    for identity, row in alice.table("peer").items():
        person = records.read_peer(row.value)
        for device in person.devices:
            for ref in device.sessions:
                drop |= {records.session_key(ref.id), records.place_key(ref.id)}
            del device.sessions[:]
        put[records.peer_key(identity)] = records.write(person)
    alice.rows.commit(evolve(change, put=put, drop=frozenset(drop)))
    alice.crash()


@EACH
def test_unreadable_frames_are_kept_up_to_a_bound_and_shown(mechanism: Mechanism) -> None:
    """Signed by Alice, and garbage within: 64 are held, then no more; the next genuine one opens."""
    with a_talk(mechanism) as world:
        message = contents(world, envelope_of_text(world, "alice", "bob"))
        frame = frame_of(message)
        for n in range(limits.HELD_PER_PEER + 10):
            forged = with_frame(message, flipped(frame, len(frame) * 8 - 1 - n % 100))
            receive(world, "bob", posted(world.alice, world.bob.me.identity, forged, n + 1))
            check_bounds(world.bob)
            held = world.bob.person(world.alice.me.identity).held
            assert held == min(n + 1, limits.HELD_PER_PEER) == len(world.bob.table("held"))
        shown = [event for event in world.bob.read_inbox() if isinstance(event, Unreadable)]
        assert len(shown) == limits.HELD_PER_PEER
        world.settle()
        assert_still_talking(world)
        world.clock.now += limits.HELD_MS + DAY
        world.quiesce()
        assert not world.bob.table("held")
        assert world.bob.person(world.alice.me.identity).held == 0


@EACH
def test_strangers_are_kept_up_to_a_bound_and_contacts_are_served_all_the_same(mechanism: Mechanism) -> None:
    with a_talk(mechanism) as world:
        code = world.bob.code()
        kept = 0
        stranger_rows = {records.stranger_key(n.to_bytes(33, "big")): b"" for n in range(limits.STRANGERS - 2)}
        world.bob.rows.commit(Change({}, stranger_rows))
        for n in range(4):
            stranger = Peer(f"stranger {n}", mechanism, world.network, world.clock, "stranger")
            stranger.add(code)
            message_id = stranger.send(world.bob.me.identity, f"hello {n}")
            world.ledger.note_sent(stranger, world.bob.me.identity, message_id, f"hello {n}")
            causes, _, _ = receive(world, "bob", stranger.queue[-1].envelope)
            kept += stranger.me.identity in world.bob.table("peer")
            assert bool(causes) == (stranger.me.identity not in world.bob.table("peer"))
        assert kept == 2
        assert_still_talking(world)


@EACH
def test_what_the_network_invents_costs_no_row(mechanism: Mechanism) -> None:
    """A thousand envelopes of garbage on every topic that Bob listens to."""
    with a_talk(mechanism) as world:
        world.settle()
        genuine = world.network.logged()[-1]
        before = world.bob.rows.dump()
        for n in range(1000):
            topic = world.bob.topics[n % len(world.bob.topics)]
            payload = random.randbytes(random.choice([0, 1, 28, 113, 200, 1000]))
            receive(world, "bob", evolve(genuine, topic=topic, payload=payload, timestamp=n, version=n % 4))
        assert world.bob.rows.dump() == before
        assert_still_talking(world)
