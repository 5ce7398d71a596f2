"""Devices that texts leave out: told of once, and waited for by no text that another device has."""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from random import Random

import pytest
from kexkit import _records as records
from kexkit._engine.consenting import Consent
from kexkit._engine.peers import Person, targets
from kexkit.contact import ContactCode, Pin
from kexkit.errors import UnknownDevice
from kexkit.events import Delivery, InstallationSkipped, Skip, Waiting
from kexkit.limits import KEPT_ASIDE_MS, TARGETS
from kexkit.policy import STRICT

from tests.engine.left_out_devices import (
    BOTH,
    DAY,
    OTHER,
    STRONG,
    TAKES_LESS,
    THIRD,
    WEAK,
    deliveries,
    must_count_right,
    rows_for,
    skips,
    with_a_weak_laptop,
)
from tests.engine.negotiating_peers import (
    BARE,
    ONLY_FRAME,
    ONLY_SLOT,
    SLOT,
    TWO,
    Kit,
    Meeting,
    meeting,
)

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
