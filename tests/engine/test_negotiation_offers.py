"""Offers: what is pinned, what is refused, what begins nothing, and what we keep of our own."""

from __future__ import annotations

import pytest
from attrs import evolve
from kexkit import _records as records
from kexkit._transitions import State
from kexkit._wire.offers import Entry, Extension, Sibling, SignedOffer
from kexkit.api import Change, Guarantee
from kexkit.contact import ContactCode, Pin
from kexkit.errors import OfferForeign, OfferMalformed, OfferSignature, OfferTooLarge, OfferUnsupported
from kexkit.events import InstallationSkipped, NegotiationTrouble, OfferShrunk, Waiting
from kexkit.limits import OFFER_BYTES, OWN_OFFER_LIFETIME_MS
from kexkit.policy import Policy
from kexkit.testing import MemoryStore

from tests.engine.negotiating_peers import (
    ONE,
    ONLY_BARE,
    ONLY_FRAME,
    ONLY_SLOT,
    SLOT,
    SLOT_NAME,
    TWO,
    Kit,
    Meeting,
    meeting,
    psk,
)
from tests.world.world import DAY

OTHER = "00000000-0000-4000-8000-000000000001"
THIRD = "f0000000-0000-4000-8000-000000000002"
TWO_NAMES = Kit((psk(ONE), psk(TWO)))
CARRIAGES = pytest.mark.parametrize("kit", [ONLY_FRAME, ONLY_SLOT, ONLY_BARE], ids=["frame", "slot", "bare"])


def met(world: Meeting) -> SignedOffer:
    world.introduce()
    world.settle()
    return world.offer_of("bob")


def rows_of(world: Meeting, who: str) -> dict[str, dict[bytes, bytes]]:
    """All that is known of people."""
    return {table: {key: row.value for key, row in world.peers[who].table(table).items()} for table in ("peer", "own")}


def waits_for(world: Meeting, who: str, whom: str) -> dict[str, str]:
    """A text that is sent now: why it waits, or leaves out a device, by device. Nothing for one to which it leaves."""
    before = len(world.peers[who].told_ever)
    world.send(who, whom)
    told = world.peers[who].told_ever[before:]
    return {event.installation: event.cause for event in told if isinstance(event, Waiting | InstallationSkipped)}


# --- what comes ------------------------------------------------------------------------------------------------------


def test_an_older_offer_changes_nothing() -> None:
    with meeting(1, TWO_NAMES, TWO_NAMES) as world:
        offer = met(world)
        before = rows_of(world, "alice")
        older = world.sign_names("bob", ONE, seq=offer.body.seq - 1)
        world.give("alice", older.received, of="bob")
        assert rows_of(world, "alice") == before
        assert world.device("alice", "bob").offer_digest == offer.digest


def test_the_same_offer_again_changes_nothing_though_it_is_signed_again() -> None:
    with meeting(2, TWO_NAMES, TWO_NAMES) as world:
        offer = met(world)
        before = rows_of(world, "alice")
        world.give("alice", offer.received, of="bob")
        world.give("alice", offer.received[:-64] + bytes(64), of="bob")  # the same body: no signature is looked at
        assert rows_of(world, "alice") == before


def test_a_newer_offer_replaces_the_older() -> None:
    with meeting(3, TWO_NAMES, TWO_NAMES) as world:
        met(world)
        newer = world.sign_names("bob", TWO)
        world.give("alice", newer.received, of="bob")
        device = world.device("alice", "bob")
        assert (device.offer_seq, device.offer_digest, list(device.offered)) == (newer.body.seq, newer.digest, [TWO])
        (told,) = world.told_of("alice", OfferShrunk)
        assert told.gone == (ONE,)


def changed(offer: SignedOffer, place: int) -> bytes:
    raw = bytearray(offer.received)
    raw[place] ^= 1
    return bytes(raw)


@pytest.mark.parametrize(
    ("spoil", "error"),
    [
        (lambda world: changed(world.sign_names("bob", ONE), -1), OfferSignature),
        (lambda world: changed(world.sign_names("bob", ONE, TWO), -70), (OfferSignature, OfferMalformed)),
        (lambda world: world.offer_of("alice").received, OfferForeign),
        (lambda world: world.sign("bob", seq=2**62, extensions=(Extension(0x8001, b""),)).received, OfferUnsupported),
        (lambda world: b"\x02" + world.sign_names("bob", ONE).received[1:], OfferUnsupported),
        (lambda world: world.sign_names("bob", ONE).received + b"\x00", (OfferMalformed, OfferSignature)),
        (lambda world: bytes(OFFER_BYTES + 1), OfferTooLarge),
    ],
    ids=["signature", "contents", "another person's", "critical", "format", "longer", "too long"],
)
def test_an_offer_that_is_not_the_persons_own_is_refused_and_is_not_taken_for_none(spoil, error) -> None:  # type: ignore[no-untyped-def]  # parameters
    with meeting(4, TWO_NAMES, TWO_NAMES) as world:
        offer = met(world)
        before = rows_of(world, "alice")
        raw = spoil(world)
        with pytest.raises(error):
            world.alice.add(ContactCode(world.bob.me.identity, offers=(raw,)))
        assert rows_of(world, "alice") == before
        assert world.device("alice", "bob").offer_digest == offer.digest


def test_an_unknown_extension_that_is_not_critical_is_no_matter() -> None:
    with meeting(5, TWO_NAMES, TWO_NAMES) as world:
        met(world)
        newer = world.sign("bob", seq=2**62, extensions=(Extension(1, b"whatever"),))
        world.give("alice", newer.received, of="bob")
        assert world.device("alice", "bob").offer_digest == newer.digest


def test_two_different_offers_of_one_number_are_told_of_and_nothing_begins_until_a_higher_one() -> None:
    with meeting(6, TWO_NAMES, TWO_NAMES) as world:
        offer = met(world)
        twin = world.sign_names("bob", TWO, seq=offer.body.seq)
        world.give("alice", twin.received, of="bob")
        device = world.device("alice", "bob")
        assert (device.offer, device.conflict) == (offer.received, twin.received), "both are kept as evidence"
        assert [event.cause for event in world.told_of("alice", NegotiationTrouble)] == ["OfferEquivocation"]
        world.give("alice", twin.received, of="bob")
        world.give("alice", world.sign_names("bob", seq=offer.body.seq).received, of="bob")
        assert world.troubles("alice") == ["OfferEquivocation"], "a third says nothing new"
        assert waits_for(world, "alice", "bob") == {world.bob.me.installation: "OfferEquivocation"}
        assert not world.refs("alice", "bob")
        world.clock.now += 1
        world.equip("bob", Kit((psk(TWO), psk(ONE))))
        world.give("alice", world.offer_of("bob").received, of="bob")
        world.until_rest(2)
        world.must_agree()


def test_a_contradiction_ends_no_session_that_is_open() -> None:
    with meeting(7, TWO_NAMES, TWO_NAMES) as world:
        offer = met(world)
        world.send("alice", "bob")
        world.settle()
        world.give("alice", world.sign_names("bob", TWO, seq=offer.body.seq).received, of="bob")
        assert waits_for(world, "alice", "bob") == {}
        world.settle()
        world.must_agree()


@CARRIAGES
def test_an_expired_offer_begins_nothing_and_a_newer_one_lets_the_text_go(kit: Kit) -> None:
    with meeting(8, kit, kit) as world:
        offer = met(world)
        world.network.offline("bob", "alice")
        world.clock.now = offer.body.not_after * 1000 - 1
        world.work("alice")
        world.clock.now += 1
        world.work("alice")
        assert waits_for(world, "alice", "bob") == {world.bob.me.installation: "OfferExpired"}
        assert not world.refs("alice", "bob")
        world.network.online("bob", "alice")
        world.quiesce(8)
        world.must_agree()


def test_an_expired_offer_is_still_evidence_that_there_is_one() -> None:
    with meeting(9, Kit((SLOT, psk(ONE))), TWO_NAMES) as world:
        late = world.sign("bob", not_before=1_700_000_000, not_after=1_700_000_001)
        world.alice.add(evolve(world.bob.code(), offers=(late.received,)))
        assert waits_for(world, "alice", "bob") == {world.bob.me.installation: "OfferExpired"}
        assert not world.said("alice"), "not taken for a device without offers"


def test_an_offer_from_the_future_begins_nothing_and_is_not_taken_for_none() -> None:
    with meeting(10, ONLY_SLOT, ONLY_SLOT) as world:
        now = world.clock.now // 1000
        early = world.sign("bob", seq=2**62, not_before=now + 1000, not_after=now + 2000)
        world.alice.add(evolve(world.bob.code(), offers=(early.received,)))
        assert waits_for(world, "alice", "bob") == {world.bob.me.installation: "OfferNotYetValid"}
        assert not world.said("alice")


def test_an_offer_withdrawn_is_known_as_such() -> None:
    with meeting(11, TWO_NAMES, TWO_NAMES) as world:
        met(world)
        world.give("alice", world.sign_names("bob").received, of="bob")
        assert waits_for(world, "alice", "bob") == {world.bob.me.installation: "NoCommonMechanism"}
        assert not world.said("alice")


def test_what_nobody_here_speaks_is_named() -> None:
    with meeting(12, ONLY_FRAME, TWO_NAMES) as world:
        world.introduce()
        assert waits_for(world, "alice", "bob") == {world.bob.me.installation: "MechanismMissing"}
        reason = world.told_of("alice", Waiting)[0].reason
        assert ONE in reason
        assert TWO in reason


def test_what_policy_forbids_is_told_from_what_is_not_loaded() -> None:
    with meeting(13, Kit((psk(ONE), psk(TWO)), Policy(Guarantee.SECRET, frozenset({TWO}))), Kit((psk(ONE),))) as world:
        world.introduce()
        assert waits_for(world, "alice", "bob") == {world.bob.me.installation: "NoCommonMechanism"}


# --- pins ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("beyond", [-1, 0, 1])
def test_a_pin_from_a_code_forbids_less_than_it_says(beyond: int) -> None:
    """The offer is there, and the code says that there is one of at least such a number."""
    with meeting(14, Kit((SLOT, psk(ONE))), Kit((SLOT, psk(ONE)))) as world:
        offer = world.offer_of("bob")
        pin = Pin(world.bob.me.installation, offer.body.seq + beyond)
        world.alice.add(evolve(world.bob.code(), pins=(pin,)))
        expected = {world.bob.me.installation: "OfferMissing"} if beyond > 0 else {}
        assert waits_for(world, "alice", "bob") == expected
        assert bool(world.said("alice")) == (beyond <= 0)


def test_a_pinned_device_is_never_taken_for_bare_and_is_written_to_once_its_offer_comes() -> None:
    with meeting(15, ONLY_SLOT, ONLY_SLOT) as world:
        pin = Pin(world.bob.me.installation, world.offer_of("bob").body.seq)
        world.alice.add(evolve(world.bob.code(), offers=(), pins=(pin,)))
        world.bob.add(world.alice.code())
        assert waits_for(world, "alice", "bob") == {world.bob.me.installation: "OfferMissing"}
        assert not world.said("alice")
        world.give("alice", world.offer_of("bob").received, of="bob")
        world.until_rest(1)
        world.must_agree()


def test_what_one_device_says_of_another_pins_it() -> None:
    """The network keeps one device's offer back; the other's contradicts it."""
    with meeting(16, ONLY_SLOT, ONLY_SLOT) as world:
        world.introduce()
        newer = world.sign("bob", seq=2**62, siblings=(Sibling(OTHER, 5), Sibling(THIRD, 7)))
        world.give("alice", newer.received, of="bob")
        assert waits_for(world, "alice", "bob") == {OTHER: "OfferMissing", THIRD: "OfferMissing"}
        person = world.alice.person(world.bob.me.identity)
        assert {device.installation: device.pin for device in person.devices if device.pin} == {OTHER: 5, THIRD: 7}


def test_a_pin_never_falls() -> None:
    with meeting(17, ONLY_SLOT, ONLY_SLOT) as world:
        met(world)
        for seq, least in [(2**61, 9), (2**62, 3)]:
            newer = world.sign("bob", seq=seq, siblings=(Sibling(OTHER, least),))
            world.give("alice", newer.received, of="bob")
        person = world.alice.person(world.bob.me.identity)
        assert [device.pin for device in person.devices if device.installation == OTHER] == [9]


def test_an_offer_below_a_pin_is_kept_and_begins_nothing() -> None:
    with meeting(18, ONLY_SLOT, ONLY_SLOT) as world:
        offer = world.offer_of("bob")
        code = evolve(world.bob.code(), pins=(Pin(world.bob.me.installation, offer.body.seq + 5),))
        world.alice.add(code)
        assert waits_for(world, "alice", "bob") == {world.bob.me.installation: "OfferMissing"}
        enough = world.sign("bob", seq=offer.body.seq + 5)
        world.give("alice", enough.received, of="bob")
        world.work("alice")
        assert world.said("alice")


# --- our own ---------------------------------------------------------------------------------------------------------


def signings(world: Meeting, who: str, days: int) -> int:
    seen = {world.offer_of(who).digest}
    for _ in range(days * 4):
        world.clock.now += DAY // 4
        world.work(who)
        seen.add(world.offer_of(who).digest)
    return len(seen)


def test_our_offer_is_signed_anew_only_at_half_of_its_life_while_nothing_changes() -> None:
    """Status's bundle changes every day; it is not in the offer."""
    with meeting(19, ONLY_SLOT, ONLY_SLOT) as world:
        weeks = 4
        days = weeks * OWN_OFFER_LIFETIME_MS // 2 // DAY
        assert signings(world, "alice", days) == weeks + 1


def test_our_offer_is_signed_anew_when_what_it_lists_changes_and_not_when_we_start() -> None:
    with meeting(20, TWO_NAMES, TWO_NAMES) as world:
        first = world.offer_of("alice")
        for _ in range(3):
            world.clock.now += 1000
            world.crash("alice")
        assert world.offer_of("alice").digest == first.digest
        world.equip("alice", Kit((psk(TWO), psk(ONE))))
        second = world.offer_of("alice")
        assert [entry.name for entry in second.body.entries] == [TWO, ONE]
        world.equip("alice", Kit((psk(TWO), psk(ONE)), Policy(Guarantee.SECRET, frozenset({ONE}))))
        third = world.offer_of("alice")
        assert [entry.name for entry in third.body.entries] == [ONE]
        assert first.body.seq < second.body.seq < third.body.seq


def test_numbers_grow_though_the_clock_goes_back_or_stands() -> None:
    with meeting(21, TWO_NAMES, TWO_NAMES) as world:
        seqs = [world.offer_of("alice").body.seq]
        for turn, back in enumerate([0, DAY, 0, 40 * DAY]):
            world.clock.now -= back
            world.equip("alice", Kit((psk(TWO), psk(ONE))) if turn % 2 == 0 else TWO_NAMES)
            seqs.append(world.offer_of("alice").body.seq)
        assert seqs == sorted(set(seqs))


def test_after_a_store_was_put_back_numbers_are_higher_than_before() -> None:
    """They are milliseconds, so what an older store says next is above what was lost."""
    with meeting(22, TWO_NAMES, TWO_NAMES) as world:
        old = world.alice.rows.dump()
        world.clock.now += 1000
        world.equip("alice", Kit((psk(TWO),)))
        lost = world.offer_of("alice").body.seq
        world.clock.now += 1000
        world.alice.rows = MemoryStore()
        for key, (content, _) in old.items():
            world.alice.rows.commit(Change({key: 0}, {key: content}))
        world.equip("alice", Kit((psk(ONE),)))
        assert world.offer_of("alice").body.seq > lost


def test_an_opening_to_an_offer_that_was_replaced_by_the_same_list_is_accepted() -> None:
    """Keys and dates may differ. The offer that it answers is still kept."""
    with meeting(23, ONLY_SLOT, ONLY_SLOT) as world:
        met(world)
        world.network.hold("alice")
        world.clock.now += OWN_OFFER_LIFETIME_MS // 2
        world.work("bob")
        world.send("alice", "bob")
        world.leave("alice")
        world.read("bob")
        assert world.told("bob")
        assert world.states("bob", "alice")[SLOT_NAME][-1] is State.OPEN


def test_a_paired_device_is_named_in_our_offer() -> None:
    with meeting(24, ONLY_SLOT, ONLY_SLOT) as world:
        world.sibling("alice", "tablet", ONLY_SLOT)
        tablet = world.peers["tablet"]
        before = world.offer_of("alice")
        key = records.peer_key(world.alice.me.identity)
        device = records.PeerDevice(
            installation=tablet.me.installation, enabled=True, offer_seq=world.offer_of("tablet").body.seq
        )
        person = records.new_peer()
        person.devices.append(device)
        world.alice.rows.commit(Change({key: 0}, {key: records.write(person)}))
        world.clock.now += 1000
        world.crash("alice")
        after = world.offer_of("alice")
        assert before.body.siblings == ()
        assert after.body.siblings == (Sibling(tablet.me.installation, world.offer_of("tablet").body.seq),)
        assert after.body.seq > before.body.seq


@pytest.mark.parametrize("seq", [2**44, 2**53, 2**62, 2**63 - 1])
def test_a_number_may_be_as_large_as_the_grammar_allows(seq: int) -> None:
    with meeting(26, TWO_NAMES, TWO_NAMES) as world:
        met(world)
        public = {entry.name: entry.public for entry in world.offer_of("bob").body.entries}
        newer = world.sign("bob", seq=seq, entries=(Entry(TWO, public[TWO]),))
        world.give("alice", newer.received, of="bob")
        assert world.device("alice", "bob").offer_seq == seq
        assert waits_for(world, "alice", "bob") == {}


def test_an_offer_whose_public_bytes_its_plugin_refuses_counts_without_that_name() -> None:
    with meeting(25, TWO_NAMES, TWO_NAMES) as world:
        met(world)
        public = {entry.name: entry.public for entry in world.offer_of("bob").body.entries}
        spoiled = world.sign("bob", seq=2**62, entries=(Entry(ONE, b"nonsense"), Entry(TWO, public[TWO])))
        world.give("alice", spoiled.received, of="bob")
        assert list(world.device("alice", "bob").offered) == [TWO]
        world.send("alice", "bob")
        confirm = world.said("alice")[0].confirm
        assert confirm is not None
        assert (confirm.mechanism, confirm.mask) == (TWO, 0b10), "or the responder would compute another choice"


def test_nobody_waits_for_a_device_that_was_withdrawn() -> None:
    with meeting(77, ONLY_FRAME, ONLY_FRAME) as world:
        world.sibling("bob", "tablet", ONLY_FRAME)
        world.give("alice", world.offer_of("bob").received, of="bob")
        world.give("alice", world.offer_of("tablet").received, of="tablet")
        world.alice.send(world.bob.me.identity, "to both")
        assert len({ref.id for ref in world.refs("alice", "bob") + world.refs("alice", "tablet")}) == 2
        world.give("alice", world.sign_names("tablet").received, of="tablet")
        world.alice.send(world.bob.me.identity, "to one")
        assert not world.alice.table("waiting")
