"""What peers publish: only the newest counts, in whatever order it comes; nobody speaks for somebody else."""

from __future__ import annotations

from itertools import permutations
from random import Random

import pytest
from attrs import evolve
from kexkit._wire.protocol_message import ProtocolMessage
from kexkit.contact import ContactCode
from kexkit.errors import Forged, Refusal
from kexkit.events import TextReceived
from kexkit.policy import WITHOUT_FORWARD_SECRECY
from kexkit_psk.exchange import Psk
from kexkit_x3dh import bundle as bundles
from kexkit_x3dh._pb import bundle_pb2 as pb
from kexkit_x3dh.exchange import X3DH

from tests.attacks.forging import (
    a_talk,
    assert_quarantine_only,
    assert_refused,
    assert_still_talking,
    contents,
    envelope_of_text,
    posted,
    receive,
)
from tests.world.mechanisms import BOTH, EACH, PSK, X3DH_ALONE, Mechanism
from tests.world.peer import Peer
from tests.world.world import DAY, World, a_world


def versions(world: World, count: int) -> list[ProtocolMessage]:
    """What Alice published on so many days, none of which Bob has heard."""
    made = []
    for _ in range(count):
        world.clock.now += DAY + 1
        while (due := world.alice.tick()) is not None and due <= world.clock.now:
            pass
        code = world.alice.code()
        made.append(ProtocolMessage(world.alice.me.installation, code.bundles, offers=code.offers))
    world.alice.queue.clear()
    return made


@EACH
def test_five_versions_in_any_order_with_copies_leave_the_same_state(mechanism: Mechanism) -> None:
    """Confluence: 24 orders of five days' bundles and offers, each sent twice (SG2, A10)."""
    orders = list(permutations(range(5)))[::5]
    seen = set()
    for order in orders:
        with a_talk(mechanism) as world:
            made = versions(world, 5)
            for n, index in enumerate((*order, *order)):
                receive(world, "bob", posted(world.alice, world.bob.me.identity, made[index], n + 1))
                assert not world.bob.refusals()
            person = world.bob.person(world.alice.me.identity)
            seen.add(person.SerializeToString(deterministic=True))
    assert len(seen) == 1


@EACH
def test_an_old_offer_that_comes_again_changes_nothing(mechanism: Mechanism) -> None:
    with a_talk(mechanism) as world:
        made = versions(world, 4)
        to = world.bob.me.identity
        receive(world, "bob", posted(world.alice, to, made[3]))
        for n, old in enumerate(made[:3]):
            _, before, after = receive(world, "bob", posted(world.alice, to, old, n + 2))
            assert after == before
        world.alice.crash()
        world.quiesce()
        assert_still_talking(world)


def test_a_version_from_moved_digits_is_refused() -> None:
    """The digits of the timestamp, read as the version's: the same signed bytes, another meaning (SG1)."""
    with a_talk(X3DH_ALONE) as world:
        (raw,) = contents(world, envelope_of_text(world, "alice", "bob")).bundles
        known = bundles.parse(raw)
        name = world.alice.me.installation
        digits = f"{known.prekeys[name].version}{known.timestamp}"
        base = ProtocolMessage(name)
        for cut in range(1, len(digits)):
            version, timestamp = int(digits[:cut]), int(digits[cut:] or "0")
            if (
                str(timestamp) != digits[cut:]
                or version >= 2**32
                or (version, timestamp) == (known.prekeys[name].version, known.timestamp)
            ):
                continue
            twin = pb.Bundle.FromString(raw)
            twin.signed_pre_keys[name].version, twin.timestamp = version, timestamp
            assert bundles.signed_material(bundles.parse(twin.SerializeToString()).prekeys, timestamp) == (
                bundles.signed_material(known.prekeys, known.timestamp)
            )
            forged = evolve(base, bundles=(twin.SerializeToString(deterministic=True),))
            assert_refused(world, "bob", posted(world.alice, world.bob.me.identity, forged, cut))
        world.alice.crash()
        assert_still_talking(world)


@EACH
def test_a_bundle_from_the_future_does_not_make_its_successors_look_old(mechanism: Mechanism) -> None:
    with a_talk(mechanism) as world:
        world.alice.skew = 20 * DAY
        ahead = versions(world, 1)[0]
        world.alice.skew = 0
        world.alice.crash()
        causes, before, after = receive(world, "bob", posted(world.alice, world.bob.me.identity, ahead))
        if causes:
            assert_quarantine_only(before, after)
        else:  # an offer from a clock that is ahead is noted, and begins nothing yet
            changed = {key[0] for key in before.keys() | after.keys() if before.get(key) != after.get(key)}
            assert changed <= {"peer", "seen", "timer"}
        world.clock.now += 2 * DAY
        world.quiesce()


def test_an_offer_of_somebody_else_is_refused_beside_a_genuine_frame() -> None:
    with a_talk(BOTH) as world:
        hers = world.peers["mallory"].code().offers
        message = contents(world, envelope_of_text(world, "alice", "bob"))
        assert hers
        assert_refused(world, "bob", posted(world.alice, world.bob.me.identity, evolve(message, offers=hers)))
        assert_refused(
            world, "bob", posted(world.alice, world.bob.me.identity, evolve(message, offers=(*message.offers, *hers)))
        )
        world.settle()
        assert any(isinstance(event, TextReceived) for event in world.bob.read_inbox())
        assert_still_talking(world)


def test_a_contact_code_with_another_persons_offer_adds_nobody() -> None:
    with a_world(1, BOTH, names=("alice", "bob", "mallory")) as world:
        alice, mallory = world.alice.code(), world.peers["mallory"].code()
        for code in (
            evolve(alice, offers=mallory.offers),
            evolve(alice, bundles=mallory.bundles),
            ContactCode(mallory.identity, alice.bundles, alice.offers),
        ):
            before = world.bob.rows.dump()
            with pytest.raises(Refusal):
                world.bob.add(code)
            assert world.bob.rows.dump() == before


def test_peers_whose_first_mechanism_does_not_fit_use_the_next() -> None:
    """Both speak psk and x3dh, but hold different secrets: that spoils psk between them, and nothing else."""
    other = Mechanism("another secret", lambda: (Psk(bytes(32)), X3DH()), WITHOUT_FORWARD_SECRECY)
    with a_world(2, BOTH, names=("alice",)) as world:
        world.peers["bob"] = Peer("bob", other, world.network, world.clock, "2")
        world.introduce()
        world.send("alice", "bob")
        world.send("bob", "alice")
        world.quiesce()
        world.must_agree()
        refs = [ref for device in world.alice.person(world.bob.me.identity).devices for ref in device.sessions]
        assert {ref.mechanism for ref in refs} == {"x3dh/1"}


def test_peers_between_whom_nothing_fits_are_told_so_when_they_add_each_other() -> None:
    """Two secrets, and nothing but psk: the code is refused with the plugin's own reason, and nobody is added."""
    other = Mechanism("another secret", lambda: (Psk(bytes(32)),), WITHOUT_FORWARD_SECRECY)
    with a_world(3, PSK, names=("alice",)) as world:
        bob = Peer("bob", other, world.network, world.clock, "3")
        before = world.alice.rows.dump()
        with pytest.raises(Forged, match="another pre-shared secret"):
            world.alice.add(bob.code())
        assert world.alice.rows.dump() == before


@EACH
def test_who_published_weekly_garbage_is_as_good_as_who_published_nothing(mechanism: Mechanism) -> None:
    """Garbage for a bundle or an offer refuses the message that brings it, and no other."""
    random = Random(8)
    with a_talk(mechanism) as world:
        base = ProtocolMessage(world.alice.me.installation)
        for n in range(100):
            garbage = random.randbytes(random.choice([1, 10, 64, 65, 200, 4096, 5000]))
            kind = random.choice(["bundles", "offers"])
            if kind == "bundles" and mechanism.name == "psk":
                continue
            forged = evolve(base, **{kind: (garbage,)})  # type: ignore[arg-type]  # either is a tuple of bytes
            assert_refused(world, "bob", posted(world.alice, world.bob.me.identity, forged, n + 1))
        assert_still_talking(world)
