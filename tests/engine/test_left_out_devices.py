"""Devices that texts leave out: told of once, and waited for by no text that another device has."""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from random import Random

import pytest
from attrs import evolve
from kexkit import _records as records
from kexkit._engine.consenting import Consent
from kexkit._engine.peers import Person, targets
from kexkit._wire.offers import Sibling
from kexkit.api import Guarantee
from kexkit.contact import ContactCode, Pin
from kexkit.errors import UnknownDevice
from kexkit.events import Delivery, DeliveryChanged, InstallationSkipped, Skip, Waiting
from kexkit.limits import FLUSH_BATCH, KEPT_ASIDE_MS, OWN_OFFER_LIFETIME_MS, PURGE_BATCH, TARGETS
from kexkit.policy import STRICT, WITHOUT_FORWARD_SECRECY, Downgrade, Policy

from tests.engine.negotiating_peers import (
    BARE,
    HEALS,
    ONE,
    ONLY_BARE,
    ONLY_FRAME,
    ONLY_SLOT,
    SLOT,
    TWO,
    Kit,
    Meeting,
    loose,
    meeting,
)

OTHER = "00000000-0000-4000-8000-000000000001"
THIRD = "f0000000-0000-4000-8000-000000000002"
DAY = 24 * 3600 * 1000
STRONG, WEAK = loose(ONE, HEALS), loose(TWO)
BOTH = Kit((STRONG, WEAK))
TAKES_LESS = Kit((WEAK,), evolve(WITHOUT_FORWARD_SECRECY, downgrade=Downgrade.ACCEPT))


def deliveries(world: Meeting, message: bytes) -> list[Delivery]:
    return [event.delivery for event in world.told_of("alice", DeliveryChanged) if event.message_id == message]


def rows_for(world: Meeting, installation: str) -> list[bytes]:
    """What waiting rows for a device hold: nothing if a text waits for it."""
    rows = world.alice.table("waiting")
    return [row.value for id_, row in rows.items() if records.split_waiting(id_)[3] == installation]


def skips(world: Meeting) -> list[tuple[str, Skip, str]]:
    return [(event.installation, event.why, event.cause) for event in world.told_of("alice", InstallationSkipped)]


def with_a_phantom(world: Meeting, *installations: str) -> None:
    """Bob's offer names devices of which nothing else ever comes."""
    ourselves = records.new_peer()
    for installation in sorted(installations):
        ourselves.devices.add(installation=installation, enabled=True, offer_seq=5)
    key = records.peer_key(world.bob.me.identity)
    world.bob.rows.commit(records.first_row(key, records.write(ourselves)))
    world.clock.now += 1000
    world.crash("bob")
    assert {each.installation for each in world.offer_of("bob").body.siblings} == set(installations)
    world.introduce(("alice", "bob"), ("bob", "alice"))


def with_a_weak_laptop(world: Meeting) -> str:
    """Both of bob's devices spoke what heals; now the laptop offers only what does not."""
    world.sibling("bob", "laptop", BOTH)
    laptop = world.peers["laptop"]
    world.introduce(("alice", "bob"), ("bob", "alice"), ("alice", "laptop"), ("laptop", "alice"))
    world.send("alice", "bob")
    world.settle()
    world.send("laptop", "alice")
    world.settle()
    world.clock.now += 1000
    world.equip("laptop", TAKES_LESS)
    world.alice.add(laptop.code())
    return laptop.me.installation


# --- below the floor -------------------------------------------------------------------------------------------------


def test_a_device_below_its_floor_is_skipped_told_of_once_and_lowers_no_other() -> None:
    with meeting(1, BOTH, BOTH) as world:
        laptop = with_a_weak_laptop(world)
        texts = [world.send("alice", "bob") for _ in range(3)]
        world.settle()
        assert skips(world) == [(laptop, Skip.FLOOR, "DowngradeNeedsConsent")]
        (told,) = world.told_of("alice", InstallationSkipped)
        assert told.reason
        assert told.advice
        assert all(deliveries(world, text)[-1] is Delivery.STORED for text in texts)
        assert not [event for event in world.told_of("alice", Waiting) if event.message_id in texts]
        assert len(rows_for(world, laptop)) == 3
        assert TWO not in {said.mechanism for said in world.said("alice")}


def test_what_was_kept_aside_goes_to_the_device_once_a_person_consents() -> None:
    with meeting(2, BOTH, BOTH) as world:
        laptop = with_a_weak_laptop(world)
        texts = [world.send("alice", "bob") for _ in range(3)]
        world.settle()
        world.consent("alice", "laptop", Consent.WEAKER)
        world.until_rest()
        assert rows_for(world, laptop) == []
        assert [("laptop", text) in world.ledger.told for text in texts] == [True] * 3
        assert all(deliveries(world, text).count(Delivery.STORED) >= 1 for text in texts)
        assert not world.device("alice", "laptop").skipped


def test_a_device_that_was_reached_again_is_told_of_again_when_it_is_left_out_again() -> None:
    with meeting(3, BOTH, BOTH) as world:
        laptop = with_a_weak_laptop(world)
        for kit in (BOTH, TAKES_LESS):
            world.send("alice", "bob")
            world.settle()
            world.clock.now += 1000
            world.equip("laptop", kit)
            world.alice.add(world.peers["laptop"].code())
        world.send("alice", "bob")
        assert skips(world) == [(laptop, Skip.FLOOR, "DowngradeNeedsConsent")] * 2


def test_where_every_device_is_skipped_the_text_waits_and_says_so() -> None:
    with meeting(4, BOTH, BOTH) as world:
        laptop = with_a_weak_laptop(world)
        world.equip("bob", TAKES_LESS)
        world.alice.add(world.bob.code())
        text = world.send("alice", "bob")
        world.until_rest(2)
        assert not skips(world)
        waits = {event.installation: event.cause for event in world.told_of("alice", Waiting)}
        assert waits == dict.fromkeys([laptop, world.bob.me.installation], "DowngradeNeedsConsent")
        assert deliveries(world, text) == [Delivery.QUEUED]
        assert rows_for(world, laptop) == rows_for(world, world.bob.me.installation) == [b""]


@pytest.mark.parametrize("first", ["bob", "laptop"])
def test_a_text_that_waited_for_all_waits_for_none_that_is_skipped_once_one_has_it(first: str) -> None:
    """Whichever of their rows comes first."""
    with meeting(5, BOTH, BOTH) as world:
        with_a_weak_laptop(world)
        world.equip("bob", TAKES_LESS)
        world.alice.add(world.bob.code())
        text = world.send("alice", "bob")
        world.until_rest(2)
        world.clock.now += 1000
        world.equip(first, BOTH)
        world.alice.add(world.peers[first].code())
        world.until_rest(2)
        other = world.peers["laptop" if first == "bob" else "bob"].me.installation
        assert (first, text) in world.ledger.told
        assert deliveries(world, text)[-1] is Delivery.STORED
        assert [bool(value) for value in rows_for(world, other)] == [True]
        assert skips(world) == [(other, Skip.FLOOR, "DowngradeNeedsConsent")]


# --- refused by policy -----------------------------------------------------------------------------------------------


def test_a_device_with_which_nothing_is_common_is_skipped_by_policy() -> None:
    with meeting(6, ONLY_SLOT, ONLY_SLOT) as world:
        world.sibling("bob", "laptop", ONLY_FRAME)
        world.introduce(("alice", "bob"), ("alice", "laptop"))
        text = world.send("alice", "bob")
        world.settle()
        assert skips(world) == [(world.peers["laptop"].me.installation, Skip.POLICY, "MechanismMissing")]
        assert deliveries(world, text)[-1] is Delivery.STORED


def test_who_holds_the_first_flight_skips_a_device_without_offers_beside_one_that_makes_them() -> None:
    with meeting(7, Kit((SLOT,), STRICT), ONLY_SLOT) as world:
        world.sibling("bob", "desktop", ONLY_SLOT)
        desktop = world.peers["desktop"]
        world.introduce(("alice", "bob"), ("bob", "alice"))
        world.alice.add(ContactCode(desktop.me.identity, bundles=desktop.code().bundles))
        text = world.send("alice", "bob")
        world.until_rest(3)
        assert skips(world) == [(desktop.me.installation, Skip.POLICY, "Unconfirmed")]
        assert deliveries(world, text)[-1] is Delivery.STORED


# --- devices that never come -----------------------------------------------------------------------------------------


def test_one_of_two_devices_that_never_comes_keeps_no_text_from_being_stored() -> None:
    with meeting(8, ONLY_SLOT, ONLY_SLOT) as world:
        with_a_phantom(world, OTHER)
        texts = [world.send("alice", "bob") for _ in range(3)]
        assert all(deliveries(world, text) == [Delivery.QUEUED] for text in texts)
        world.settle()
        assert skips(world) == [(OTHER, Skip.MISSING, "OfferMissing")]
        assert all(deliveries(world, text)[-1] is Delivery.STORED for text in texts)
        assert not world.told_of("alice", Waiting)
        world.crash("alice")
        world.send("alice", "bob")
        assert len(skips(world)) == 1, "once, over restarts too"


def test_a_text_is_not_stored_while_a_device_that_can_be_reached_has_not_taken_it() -> None:
    """One of two is missing, and with the other the handshake is under way: what leaves is no text yet."""
    with meeting(9, ONLY_BARE, ONLY_BARE) as world:
        with_a_phantom(world, OTHER)
        text = world.send("alice", "bob")
        assert [departure.message_id for departure in world.alice.queue] == [b""], "a handshake is not the text"
        world.leave("alice")
        assert deliveries(world, text) == [Delivery.QUEUED]
        assert rows_for(world, world.bob.me.installation) == [b""]
        assert [bool(value) for value in rows_for(world, OTHER)] == [True]
        world.settle()
        assert ("bob", text) in world.ledger.told
        assert deliveries(world, text)[-1] is Delivery.STORED


def test_a_text_that_waits_for_devices_that_never_come_goes_to_the_one_that_does() -> None:
    """A code names devices that are not there; the real one turns up later."""
    with meeting(10, ONLY_SLOT, ONLY_SLOT) as world:
        pins = tuple(Pin(each, 5) for each in (OTHER, THIRD))
        world.alice.add(ContactCode(world.bob.me.identity, pins=pins))
        text = world.send("alice", "bob")
        world.work("alice")
        assert deliveries(world, text) == [Delivery.QUEUED]
        assert {event.cause for event in world.told_of("alice", Waiting)} == {"OfferMissing"}
        world.introduce()
        world.settle()
        assert ("bob", text) in world.ledger.told
        assert deliveries(world, text)[-1] is Delivery.STORED
        assert {each for each, _, _ in skips(world)} == {OTHER, THIRD}


@pytest.mark.parametrize("kit", [ONLY_FRAME, ONLY_SLOT, ONLY_BARE], ids=["frame", "slot", "bare"])
def test_a_device_that_died_holds_texts_up_no_longer_than_its_offer_lives(kit: Kit) -> None:
    with meeting(23, kit, kit) as world:
        world.sibling("bob", "laptop", kit)
        world.introduce(("alice", "bob"), ("bob", "alice"), ("alice", "laptop"))
        laptop = world.peers.pop("laptop").me.installation
        texts = []
        for _ in range(2 * OWN_OFFER_LIFETIME_MS // DAY):
            texts.append(world.send("alice", "bob"))
            world.until_rest(1)
            world.send("bob", "alice")
            world.clock.now += DAY
            world.until_rest(1)
        assert all(("bob", text) in world.ledger.told for text in texts)
        assert all(deliveries(world, text)[-1] is Delivery.STORED for text in texts)
        assert {where for where, _, _ in skips(world)} == {laptop}
        assert {why for _, why, _ in skips(world)} <= {Skip.MISSING, Skip.FAILED}
        assert len(skips(world)) == len(set(skips(world))), "once a cause"
        must_count_right(world)


HEALING = Kit((SLOT,), Policy(require=Guarantee.SECRET | HEALS))
"""x3dh/1 heals with the first answer: until then this policy sends no text over it"""


def test_what_has_to_heal_before_it_carries_texts_is_asked_for_an_answer_by_which_it_heals() -> None:
    with meeting(30, HEALING, HEALING) as world:
        world.introduce()
        text = world.send("alice", "bob")
        assert world.told_of("alice", Waiting)
        world.leave("alice")
        world.skip("bob")  # one question may be lost
        world.until_rest()
        assert deliveries(world, text)[-1] is Delivery.STORED
        assert ("bob", text) in world.ledger.told
        world.must_agree()


def test_a_device_that_died_before_its_session_healed_holds_no_text_up_for_ever() -> None:
    with meeting(31, HEALING, HEALING) as world:
        world.sibling("bob", "laptop", HEALING)
        world.introduce(("alice", "bob"), ("bob", "alice"), ("alice", "laptop"))
        laptop = world.peers.pop("laptop").me.installation
        text = world.send("alice", "bob")
        world.until_rest(3)
        assert ("bob", text) in world.ledger.told
        assert deliveries(world, text) == [Delivery.QUEUED]
        for _ in range(OWN_OFFER_LIFETIME_MS // DAY + 1):
            world.pass_time(DAY)
        assert deliveries(world, text)[-1] is Delivery.STORED
        assert {where for where, _, _ in skips(world)} == {laptop}


@pytest.mark.parametrize("beyond", [-1, 0, 1])
def test_what_is_kept_aside_is_kept_so_long_and_no_longer(beyond: int) -> None:
    with meeting(11, ONLY_SLOT, ONLY_SLOT) as world:
        with_a_phantom(world, OTHER)
        began = world.clock.now
        world.send("alice", "bob")
        world.settle()
        assert len(rows_for(world, OTHER)) == 1
        world.clock.now = began + KEPT_ASIDE_MS + beyond
        world.work("alice")
        assert len(rows_for(world, OTHER)) == (beyond < 0)


@pytest.mark.parametrize("count", [PURGE_BATCH - 1, PURGE_BATCH, PURGE_BATCH + 1])
def test_one_timer_a_device_clears_whatever_was_kept_for_it_in_pages(count: int) -> None:
    with meeting(12, ONLY_SLOT, ONLY_SLOT) as world:
        with_a_phantom(world, OTHER)
        world.send("alice", "bob")
        world.settle()
        for _ in range(count - 1):
            world.alice.send(world.bob.me.identity, "kept")
        world.clock.now += DAY
        world.alice.send(world.bob.me.identity, "a day later")
        kinds = Counter(records.split_timer(id_)[1] for id_ in world.alice.table("timer"))
        assert kinds[records.Timer.ASIDE_EXPIRY] == 1
        for later in (KEPT_ASIDE_MS - DAY, 1):
            world.clock.now += later
            world.work("alice")
        assert len(rows_for(world, OTHER)) == 1
        world.clock.now += DAY
        world.work("alice")
        assert rows_for(world, OTHER) == []
        assert not next(d.aside for d in world.alice.person(world.bob.me.identity).devices if d.installation == OTHER)
        kinds = Counter(records.split_timer(id_)[1] for id_ in world.alice.table("timer"))
        assert not kinds[records.Timer.ASIDE_EXPIRY]


@pytest.mark.parametrize("count", [FLUSH_BATCH // 2, FLUSH_BATCH // 2 + 1, FLUSH_BATCH])
def test_the_texts_of_several_devices_are_flushed_whole_wherever_a_page_ends(count: int) -> None:
    """Three rows a text: a page of them ends in the midst of one."""
    with meeting(13, ONLY_SLOT, ONLY_SLOT) as world:
        pins = tuple(Pin(each, 5) for each in (OTHER, THIRD, world.bob.me.installation))
        world.alice.add(ContactCode(world.bob.me.identity, pins=tuple(sorted(pins, key=lambda pin: pin.installation))))
        texts = [world.send("alice", "bob") for _ in range(count)]
        assert len(world.alice.table("waiting")) == 3 * count
        world.introduce()
        world.until_rest()
        for text in texts:
            assert ("bob", text) in world.ledger.told
            assert deliveries(world, text) == [Delivery.QUEUED, Delivery.STORED]
        assert len(world.alice.table("waiting")) == 2 * count
        assert all(row.value for row in world.alice.table("waiting").values())


def test_a_phantom_that_comes_after_all_gets_what_was_kept_for_it() -> None:
    with meeting(14, ONLY_SLOT, ONLY_SLOT) as world:
        world.sibling("bob", "laptop", ONLY_SLOT)
        laptop = world.peers["laptop"]
        with_a_phantom(world, laptop.me.installation)
        laptop.add(world.alice.code())
        text = world.send("alice", "bob")
        world.settle()
        assert deliveries(world, text)[-1] is Delivery.STORED
        world.alice.add(laptop.code())
        world.settle()
        assert ("laptop", text) in world.ledger.told
        assert not world.alice.table("waiting")


def test_what_is_refused_where_it_was_sealed_waits_again_though_another_device_is_skipped() -> None:
    """Nobody has it then, so it must not count as stored: the other end refuses what an old offer led to."""
    with meeting(15, Kit((STRONG, WEAK)), Kit((WEAK,))) as world:
        old = world.bob.code()
        world.clock.now += 1000
        world.equip("bob", BOTH)
        world.alice.add(evolve(old, pins=(Pin(OTHER, 5),)))
        text = world.send("alice", "bob")
        world.leave("alice")
        assert deliveries(world, text)[-1] is Delivery.STORED
        world.read("bob")
        world.leave("bob")
        world.read("alice")
        world.work("alice")
        stored = records.read_text(world.alice.table("text")[text].value)
        assert (stored.copies, stored.pending) in {(0, 1), (1, 1)}, "it is said again"
        world.settle()
        assert ("bob", text) in world.ledger.told
        stored = records.read_text(world.alice.table("text")[text].value)
        assert (stored.copies, stored.pending) == (1, 0)


def test_a_text_that_counted_as_stored_and_that_nobody_has_any_more_says_that_it_waits() -> None:
    """What another device was to have is lost with it; the one that was left out is all there is."""
    with meeting(27, Kit((STRONG, WEAK)), Kit((WEAK,))) as world:
        world.introduce()
        bob = world.bob.me
        world.alice.add(ContactCode(bob.identity, pins=(Pin(OTHER, 5),)))
        text = world.send("alice", "bob")
        world.leave("alice")
        world.skip("bob")
        assert deliveries(world, text)[-1] is Delivery.STORED
        assert not world.told_of("alice", Waiting)
        peer = world.alice
        peer.perform(lambda: peer.engine.forget_device(bob.identity, bob.installation, peer.moment()))
        world.work("alice")
        assert rows_for(world, OTHER) == [b""]
        (told,) = world.told_of("alice", Waiting)
        assert (told.message_id, told.installation, told.cause) == (text, OTHER, "OfferMissing")
        assert told.reason
        peer.perform(lambda: peer.engine.forget_device(bob.identity, OTHER, peer.moment()))
        world.work("alice")
        assert [event.installation for event in world.told_of("alice", Waiting)] == [OTHER, ""]


def test_what_waits_for_a_device_that_withdraws_waits_no_more() -> None:
    """With one a handshake is under way, and the other has the text."""
    with meeting(21, Kit((BARE, SLOT)), ONLY_SLOT) as world:
        world.sibling("bob", "laptop", ONLY_BARE)
        world.introduce(("alice", "bob"), ("bob", "alice"), ("alice", "laptop"))
        text = world.send("alice", "bob")
        world.leave("alice")
        assert deliveries(world, text) == [Delivery.QUEUED]
        world.give("alice", world.sign_names("laptop").received, of="laptop")
        world.work("alice")
        assert not world.alice.table("waiting")
        assert deliveries(world, text) == [Delivery.QUEUED, Delivery.STORED]
        assert not skips(world)


def test_a_device_that_withdrew_is_not_gone_when_another_of_theirs_has_seen_a_newer_offer_of_it() -> None:
    """Whoever keeps that back delays what goes there; it shall not make nobody wait for it."""
    with meeting(29, ONLY_FRAME, ONLY_FRAME) as world:
        world.sibling("bob", "laptop", ONLY_FRAME)
        world.introduce(("alice", "bob"), ("bob", "alice"), ("alice", "laptop"), ("laptop", "alice"))
        bob, seq = world.bob.me, world.offer_of("bob").body.seq
        back = world.sign("bob", seq=seq + 2)
        world.give("alice", world.sign("bob", seq=seq + 1, entries=()).received, of="bob")
        saw = world.sign("laptop", seq=seq + 9, siblings=(Sibling(bob.installation, seq + 2),))
        world.give("alice", saw.received, of="bob")
        world.send("alice", "bob")
        assert [installation for installation, _, _ in skips(world)] == [bob.installation]
        assert len(rows_for(world, bob.installation)) == 1
        world.give("alice", back.received, of="bob")
        world.work("alice")
        assert not rows_for(world, bob.installation)


def test_what_waits_for_the_only_device_waits_on_though_it_withdraws() -> None:
    with meeting(22, ONLY_BARE, ONLY_BARE) as world:
        world.introduce()
        text = world.send("alice", "bob")
        world.leave("alice")
        world.give("alice", world.sign_names("bob").received, of="bob")
        world.work("alice")
        assert deliveries(world, text) == [Delivery.QUEUED]
        assert len(world.alice.table("waiting")) == 1
        assert records.read_text(world.alice.table("text")[text].value).pending == 1


# --- not among the newest --------------------------------------------------------------------------------------------


def test_a_fourth_device_is_told_of_once_and_nothing_is_kept_for_it() -> None:
    with meeting(16, ONLY_SLOT, ONLY_SLOT) as world:
        names = ["bob"]
        for number in range(TARGETS):
            world.clock.now += 1000
            names.append(f"bob {number}")
            world.sibling("bob", names[-1], ONLY_SLOT)
        for name in names:
            world.alice.add(world.peers[name].code())
        texts = [world.send("alice", "bob") for _ in range(2)]
        world.settle()
        (skipped,) = skips(world)
        assert skipped == (world.bob.me.installation, Skip.NOT_NEWEST, "")
        assert not world.alice.table("waiting")
        assert all(deliveries(world, text)[-1] is Delivery.STORED for text in texts)
        assert sorted({name for name, _ in world.ledger.told}) == names[1:]


def test_devices_that_take_turns_in_being_the_newest_are_told_of_once_each() -> None:
    with meeting(20, ONLY_SLOT, ONLY_SLOT) as world:
        names = ["bob"]
        for number in range(TARGETS):
            world.clock.now += 1000
            names.append(f"bob {number}")
            world.sibling("bob", names[-1], ONLY_SLOT)
        for name in names:
            world.alice.add(world.peers[name].code())
        left_out = []
        for _ in range(6):
            meant = {device.installation for device in targets_of(world)}
            oldest = next(name for name in names if world.peers[name].me.installation not in meant)
            left_out.append(oldest)
            world.alice.send(world.bob.me.identity, "to three of four")
            world.clock.now += 25 * DAY // 24
            world.work(oldest)
            world.alice.add(world.peers[oldest].code())
        assert len(set(left_out)) == 4
        told = [(world.peers[name].me.installation, Skip.NOT_NEWEST, "") for name in names]
        assert sorted(skips(world)) == sorted(told)


def test_a_device_that_is_left_out_and_takes_turns_in_being_the_newest_is_told_of_once_for_each_cause() -> None:
    with meeting(28, BOTH, BOTH) as world:
        laptop = with_a_weak_laptop(world)
        names = ["bob", "phone", "tablet"]
        for name in names[1:]:
            world.clock.now += 1000
            world.sibling("bob", name, BOTH)
            world.introduce(("alice", name), (name, "alice"))
            world.send(name, "alice")
            world.settle()
        for newest in ("laptop", *names) * 3:
            world.clock.now += 1000
            world.give("alice", world.sign(newest, seq=world.clock.now).received, of="bob")
            world.alice.send(world.bob.me.identity, "to three of four")
        of_it = [(why, cause) for installation, why, cause in skips(world) if installation == laptop]
        assert sorted(of_it, key=str) == [(Skip.FLOOR, "DowngradeNeedsConsent"), (Skip.NOT_NEWEST, "")]
        assert max(Counter(skips(world)).values()) == 1


def targets_of(world: Meeting) -> list[records.PeerDevice]:
    person = world.alice.person(world.bob.me.identity)
    return targets(Person(world.bob.me.identity, None, person), world.alice.engine.setting)


def test_three_devices_are_all_meant() -> None:
    with meeting(17, ONLY_SLOT, ONLY_SLOT) as world:
        for number in range(TARGETS - 1):
            world.sibling("bob", f"bob {number}", ONLY_SLOT)
            world.alice.add(world.peers[f"bob {number}"].code())
        world.alice.add(world.bob.code())
        world.send("alice", "bob")
        assert not skips(world)


# --- nobody waits for our own ----------------------------------------------------------------------------------------


def test_a_copy_that_a_paired_device_of_ours_cannot_get_yet_is_kept_aside_for_a_month() -> None:
    with meeting(18, ONLY_SLOT, ONLY_SLOT) as world:
        world.introduce()
        ourselves = records.new_peer()
        ourselves.devices.add(installation=OTHER, enabled=True, pin=5, proven=5)
        key = records.peer_key(world.alice.me.identity)
        world.alice.rows.commit(records.first_row(key, records.write(ourselves)))
        world.crash("alice")
        text = world.send("alice", "bob")
        world.settle()
        assert deliveries(world, text)[-1] is Delivery.STORED
        assert [bool(value) for value in rows_for(world, OTHER)] == [True]
        assert skips(world) == [(OTHER, Skip.MISSING, "OfferMissing")]
        world.clock.now += KEPT_ASIDE_MS
        world.work("alice")
        assert rows_for(world, OTHER) == []


def test_nothing_is_added_to_what_is_written_for_a_text_to_devices_that_take_it() -> None:
    with meeting(19, Kit((SLOT, BARE)), Kit((SLOT, BARE))) as world:
        world.sibling("bob", "laptop", Kit((SLOT, BARE)))
        names = ("bob", "laptop")
        for name in names:
            world.introduce(("alice", name), (name, "alice"))
        world.send("alice", "bob")
        world.until_rest(2)
        for name in names:
            world.send(name, "alice")
            world.until_rest(2)
        world.send("alice", "bob")
        written = Counter(key[0] for key in world.alice.disk.changes[-1].put)
        assert written["peer"] == written["waiting"] == written["timer"] == 0, written


# --- whatever happens ------------------------------------------------------------------------------------------------


def must_count_right(world: Meeting) -> None:
    """What is counted of each text is what there is, and a text that nobody has waits for somebody."""
    envelopes = Counter(records.read_outgoing(row.value).message for row in world.alice.table("outbox").values())
    rows = {id_: row.value for id_, row in world.alice.table("waiting").items() if id_[:33] == world.bob.me.identity}
    counted = Counter(records.split_waiting(id_)[2] for id_, value in rows.items() if not value)
    for message, row in world.alice.table("text").items():
        text = records.read_text(row.value)
        if text.outgoing and text.peer == world.bob.me.identity:
            assert text.pending == envelopes[message] + counted[message]
            assert text.copies or counted[message], "nobody has it, and it waits for nobody"
    due = {records.split_timer(id_)[:2] for id_ in world.alice.table("timer")}
    if not any(kind == records.Timer.FLUSH and at <= world.clock.now for at, kind in due):
        known = {device.installation: device for device in world.alice.person(world.bob.me.identity).devices}
        aside = {records.split_waiting(id_)[3] for id_, value in rows.items() if value}
        assert all(known[each].aside for each in aside), "nothing would ever clear it"


@pytest.mark.parametrize("seed", range(20))
def test_whatever_happens_to_a_persons_devices_no_text_is_lost_or_waits_for_nothing(seed: int) -> None:
    random = Random(seed)
    kits = [Kit((*plugins, BARE), TAKES_LESS.policy) for plugins in ((STRONG, WEAK), (WEAK,), (STRONG,), ())]
    with meeting(seed, Kit((STRONG, WEAK, BARE)), kits[0]) as world:
        names = ["bob", "laptop", "tablet", "desk"]
        for name in names[1:]:
            world.sibling("bob", name, random.choice(kits))
        world.introduce(("alice", "bob"), ("bob", "alice"))
        peer, bob = world.alice, world.bob.me.identity

        def changes() -> None:
            name = random.choice(names)
            world.clock.now += 1000
            world.equip(name, random.choice(kits))
            world.peers[name].add(peer.code())
            peer.add(world.peers[name].code())

        def consents() -> None:
            what = random.choice([Consent.WEAKER, Consent.CODE, Consent.AGAIN, Consent.BARE])
            peer.perform(lambda: peer.engine.consent(bob, what, peer.moment()))

        def forgets() -> None:
            found = random.choice([device.installation for device in peer.person(bob).devices] or [OTHER])
            with suppress(UnknownDevice):
                peer.perform(lambda: peer.engine.forget_device(bob, found, peer.moment()))

        def time_passes() -> None:
            world.clock.now += random.choice([1000, DAY // 24, DAY, 8 * DAY, 31 * DAY])
            world.work("alice")

        doings = [
            lambda: world.send("alice", "bob"),
            lambda: world.send("alice", "bob", "another"),
            world.settle,
            lambda: world.leave("alice"),
            lambda: world.skip(random.choice(names)),
            changes,
            consents,
            forgets,
            time_passes,
            lambda: peer.add(ContactCode(bob, pins=(Pin(random.choice([OTHER, THIRD]), 5),))),
            lambda: world.work("alice"),
        ]
        for _ in range(60):
            random.choice(doings)()
            must_count_right(world)
        for name in names:
            world.clock.now += 1000
            world.equip(name, kits[0])
            world.peers[name].add(peer.code())
            peer.add(world.peers[name].code())
        for _ in range(3):
            world.clock.now += DAY
            world.until_rest(3)
            must_count_right(world)
        for row in peer.table("text").values():
            text = records.read_text(row.value)
            assert text.pending == 0 or not text.outgoing
