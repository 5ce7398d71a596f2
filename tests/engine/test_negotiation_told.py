"""What a confirmation says beside the choice, and is told where it does not fit: the session that it replaces, and the
mechanisms that were left out.
"""

from __future__ import annotations

from attrs import evolve
from kexkit._transitions import State
from kexkit._wire.confirms import Confirm, encode_confirm, kind_of, read_confirm
from kexkit.events import ChoiceNarrowed, ReplacedUnknown

from tests.engine.negotiating_peers import HEALS, ONE, THREE, TWO, Kit, Meeting, Plugin, Said, edited, meeting, psk

EVERY = Kit((psk(THREE, HEALS), psk(ONE, HEALS), psk(TWO)))
UNKNOWN = bytes(range(32))


def bob_has(world: Meeting, *plugins: Plugin) -> None:
    """He changes what he offers, Alice hears of it, and they speak."""
    world.clock.now += 1000
    world.equip("bob", Kit(plugins))
    world.give("alice", world.offer_of("bob").received, of="bob")
    for who, whom in (("alice", "bob"), ("bob", "alice"), ("alice", "bob")):
        world.send(who, whom)
        world.until_rest(1)


def confirms(world: Meeting) -> list[Confirm]:
    """Of Alice, one a session."""
    found = {said.session: said.confirm for said in world.said("alice") if said.confirm is not None}
    return [confirm for confirm in found.values() if confirm is not None]


def test_a_mechanism_that_is_left_out_without_a_newer_offer_is_told_once() -> None:
    """Alice's floor rises with the first session that heals, so she leaves out what does not."""
    with meeting(1, EVERY, Kit((psk(TWO),))) as world:
        world.introduce()
        bob_has(world, psk(TWO))
        bob_has(world, psk(ONE, HEALS))
        assert [confirm.mask for confirm in confirms(world)] == [0b111, 0b111]
        assert not world.told_of("bob", ChoiceNarrowed)
        bob_has(world, psk(THREE, HEALS))
        alice = world.peers["alice"].me
        told = [ChoiceNarrowed(alice.identity, alice.installation, (TWO,))]
        assert world.told_of("bob", ChoiceNarrowed) == told
        bob_has(world, psk(ONE, HEALS))
        assert [confirm.mask for confirm in confirms(world)] == [0b111, 0b111, 0b011, 0b011]
        assert world.told_of("bob", ChoiceNarrowed) == told
        assert State.OPEN in world.states("bob", "alice")[ONE]


def test_what_is_left_out_of_a_newer_offer_is_not_told_twice() -> None:
    with meeting(2, EVERY, Kit((psk(TWO),))) as world:
        world.introduce()
        bob_has(world, psk(TWO))
        bob_has(world, psk(ONE, HEALS))
        world.clock.now += 1000
        world.equip("alice", Kit((psk(ONE, HEALS), psk(THREE, HEALS), psk(TWO))))
        bob_has(world, psk(THREE, HEALS))
        first, *_, last = confirms(world)
        assert first.offer != last.offer
        assert last.mask == 0b011
        assert not world.told_of("bob", ChoiceNarrowed)


def test_a_session_that_replaces_one_that_is_known_here_is_not_told() -> None:
    with meeting(3, EVERY, Kit((psk(TWO),))) as world:
        world.introduce()
        bob_has(world, psk(TWO))
        bob_has(world, psk(ONE, HEALS))
        before, after = confirms(world)
        assert (before.previous, after.previous) == (None, before.session)
        assert not world.told_of("bob", ReplacedUnknown)


def test_a_session_that_replaces_one_that_is_not_known_here_is_told_and_used() -> None:
    def lie(said: Said) -> bytes:
        def change(raw: bytes | None) -> bytes | None:
            if raw is None or kind_of(raw) != 1 or read_confirm(raw).mechanism != ONE:
                return raw
            return encode_confirm(evolve(read_confirm(raw), previous=UNKNOWN))

        return edited(said, change) if said.raw is not None else said.body

    with meeting(4, EVERY, Kit((psk(TWO),))) as world:
        world.introduce()
        bob_has(world, psk(TWO))
        world.tap.edit = lie
        bob_has(world, psk(ONE, HEALS))
        alice, lied = world.peers["alice"].me, confirms(world)[1].session
        told = world.told_of("bob", ReplacedUnknown)
        assert told[0] == ReplacedUnknown(alice.identity, alice.installation, ONE, lied, UNKNOWN)
        assert [State(ref.state) for ref in world.refs("bob", "alice") if ref.id == lied] == [State.OPEN]
