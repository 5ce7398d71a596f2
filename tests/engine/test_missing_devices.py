"""Devices that were named and never come: no text that another device has waits for them."""

from __future__ import annotations

from collections import Counter

import pytest
from attrs import evolve
from kexkit import _records as records
from kexkit._wire.offers import Sibling
from kexkit.api import Guarantee
from kexkit.contact import ContactCode, Pin
from kexkit.events import Delivery, Skip, Waiting
from kexkit.limits import FLUSH_BATCH, KEPT_ASIDE_MS, OWN_OFFER_LIFETIME_MS, PURGE_BATCH
from kexkit.policy import Policy

from tests.engine.left_out_devices import (
    BOTH,
    DAY,
    OTHER,
    STRONG,
    THIRD,
    WEAK,
    deliveries,
    must_count_right,
    rows_for,
    skips,
    with_a_phantom,
)
from tests.engine.negotiating_peers import (
    BARE,
    HEALS,
    ONLY_BARE,
    ONLY_FRAME,
    ONLY_SLOT,
    SLOT,
    Kit,
    meeting,
)

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
