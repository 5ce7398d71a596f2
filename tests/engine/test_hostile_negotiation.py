"""A relay, a contact and a stranger against negotiations: whatever they drop, invent and pin, no chat stands still for
good once they stop, and nothing that was said is lost."""

from __future__ import annotations

from functools import partial
from uuid import uuid4

import pytest
from attrs import evolve
from kexkit import _records as records
from kexkit._engine.bare import expire_half
from kexkit._engine.lingering import end_if_quiet
from kexkit._engine.negotiating import DAY_MS, may_begin
from kexkit._engine.noting import note_offers
from kexkit._engine.peers import NS_IN_MS, load_person, make_room, save_person
from kexkit._engine.requests import Draft, Flow, Outcome
from kexkit._transitions import State
from kexkit._wire.offers import Sibling
from kexkit.api import Guarantee
from kexkit.contact import Pin
from kexkit.errors import NegotiationFailed
from kexkit.limits import DEVICES_PER_PEER, OFFER_AHEAD_S, OFFER_SEQUENCE_MAX, PROVISIONAL_TEXTS, QUIET_MS
from kexkit.policy import FirstFlight, Policy

from tests.engine.negotiating_peers import (
    BARE,
    BARE_NAME,
    FRAME,
    ONLY_BARE,
    ONLY_FRAME,
    ONLY_SLOT,
    SLOT,
    SLOT_NAME,
    Kit,
    Meeting,
    Plugin,
    edited,
    meeting,
)
from tests.world.world import HOUR

HOLDING = Policy(require=Guarantee.SECRET, first_flight=FirstFlight.HOLD)


def told(world: Meeting, who: str) -> int:
    return len(world.told(who))


def lost_on_the_way(world: Meeting, who: str, hours: int) -> None:
    """The relay swallows whatever is for `who`, for so long; the others go on."""
    for _ in range(hours):
        world.clock.now += HOUR
        for name in world.peers:
            if name != who:
                world.work(name)
                world.leave(name)
                world.read(name)
        world.skip(who)


def honest(world: Meeting, hours: int) -> None:
    for _ in range(hours):
        world.clock.now += HOUR
        world.settle()


@pytest.mark.parametrize("kit", [ONLY_FRAME, ONLY_SLOT], ids=["frame", "slot"])
def test_texts_beyond_the_bound_leave_though_every_question_was_lost_for_days(kit: Kit) -> None:
    with meeting(1, kit, kit) as world:
        world.introduce()
        world.settle()
        for _ in range(PROVISIONAL_TEXTS + 1):
            world.send("alice", "bob")
        world.leave("alice")
        lost_on_the_way(world, "bob", 5)
        assert len(world.alice.table("waiting")) == 1
        honest(world, 60)
        assert not world.alice.table("waiting")
        assert told(world, "bob") >= 1, "the others were lost with their envelopes"


@pytest.mark.parametrize("plugin", [FRAME, SLOT, BARE], ids=["frame", "slot", "bare"])
def test_a_text_that_is_held_leaves_though_the_first_question_was_lost(plugin: Plugin) -> None:
    kit = Kit((plugin,), HOLDING)
    with meeting(2, kit, kit) as world:
        world.introduce()
        world.settle()
        world.send("alice", "bob")
        world.leave("alice")
        lost_on_the_way(world, "bob", 5)
        assert len(world.alice.table("waiting")) == 1
        honest(world, 30)
        assert told(world, "bob") == 1
        assert not world.alice.table("waiting")


# --- sessions that one end never had ---------------------------------------------------------------------------------


def forget_half_open(world: Meeting, who: str) -> None:
    """Strangers opened so many that the oldest went."""
    peer = world.peers[who]

    def forgetting(session_id: bytes) -> Flow[Outcome]:
        draft = Draft()
        yield from expire_half(draft, session_id, peer.engine.setting, peer.moment())
        return draft.outcome()

    for session_id in list(peer.table("half")):
        peer.perform(partial(forgetting, session_id))


@pytest.mark.parametrize("hours", [30, 60])
def test_texts_of_a_session_that_the_other_end_never_had_are_said_again(hours: int) -> None:
    with meeting(3, ONLY_BARE, ONLY_BARE) as world:
        world.introduce()
        world.settle()
        for _ in range(PROVISIONAL_TEXTS + 1):
            world.send("alice", "bob")
        world.leave("alice")
        world.read("bob")
        world.leave("bob")
        world.read("alice")
        world.work("alice")
        assert world.states("alice", "bob") == {BARE_NAME: [State.PROVISIONAL]}
        forget_half_open(world, "bob")
        lost_on_the_way(world, "bob", hours)
        honest(world, 24 * 3)
        world.must_agree()


# --- pins and contradictions -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kit", [ONLY_FRAME, ONLY_SLOT, ONLY_BARE], ids=["frame", "slot", "bare"])
def test_a_number_from_the_end_of_time_in_a_code_locks_nobody_out_for_good(kit: Kit) -> None:
    """Nobody signs what a code pins. The next offer, at the latest in a week, has a number beyond now."""
    with meeting(4, kit, kit) as world:
        lie = Pin(world.bob.me.installation, OFFER_SEQUENCE_MAX)
        world.alice.add(evolve(world.bob.code(), bundles=(), offers=(), pins=(lie,)))
        world.introduce()
        world.send("alice", "bob")
        world.send("bob", "alice")
        honest(world, 24 * 8)
        world.must_agree()


def test_a_number_from_the_end_of_time_at_a_sibling_locks_it_out_for_no_longer() -> None:
    with meeting(5, ONLY_FRAME, ONLY_FRAME) as world:
        world.sibling("bob", "laptop", ONLY_FRAME)
        lie = Sibling(world.peers["laptop"].me.installation, OFFER_SEQUENCE_MAX)
        world.give(
            "alice", world.sign("bob", seq=world.offer_of("bob").body.seq + 1, siblings=(lie,)).received, of="bob"
        )
        assert world.device("alice", "laptop").pin == world.clock.now + OFFER_AHEAD_S * 1000


def test_a_contradiction_that_a_newer_offer_settles_wakes_what_waits() -> None:
    with meeting(6, ONLY_SLOT, ONLY_SLOT) as world:
        world.introduce()
        world.settle()
        body = world.offer_of("bob").body
        world.give("alice", world.sign("bob", not_after=body.not_after - 1).received, of="bob")
        world.send("alice", "bob")
        world.settle()
        assert world.causes("alice") == {"OfferEquivocation"}
        overheard(world, "alice", "bob", world.sign("bob", seq=body.seq + 1).received)
        assert not world.said("alice")
        world.work("alice")
        assert world.said("alice")


def overheard(world: Meeting, who: str, whom: str, signed: bytes) -> None:
    """An offer comes with a message, and nothing else in it is new."""
    peer, identity = world.peers[who], world.peers[whom].me.identity

    def noting() -> Flow[Outcome]:
        draft = Draft()
        person = yield from load_person(draft, identity)
        note_offers(draft, person, (signed,), peer.engine.setting, peer.moment())
        save_person(draft, person)
        return draft.outcome()

    peer.perform(noting)


# --- a plugin that went ----------------------------------------------------------------------------------------------


def test_half_open_sessions_of_a_plugin_that_went_keep_nobody_out() -> None:
    """The oldest gives way to a new one, also if nobody here can read it any more."""
    with meeting(7, ONLY_BARE, Kit((BARE, FRAME))) as world:
        world.introduce()
        world.settle()
        world.send("alice", "bob")
        world.leave("alice")
        world.read("bob")
        (half_open,) = world.bob.table("half")
        world.equip("bob", ONLY_FRAME)
        forget_half_open(world, "bob")
        for table in ("half", "session", "place"):
            assert not world.bob.table(table)
        assert half_open not in {records.read_route(row.value).session for row in world.bob.table("route").values()}


@pytest.mark.parametrize("kit", [ONLY_FRAME, ONLY_BARE], ids=["frame", "bare"])
def test_a_device_with_sessions_of_a_plugin_that_went_gives_its_place_away(kit: Kit) -> None:
    with meeting(8, kit, Kit((*kit.plugins, SLOT))) as world:
        world.introduce()
        world.send("alice", "bob")
        world.settle()
        world.equip("bob", ONLY_SLOT)
        peer = world.bob

        def making_room() -> Flow[Outcome]:
            draft = Draft()
            person = yield from load_person(draft, world.alice.me.identity)
            while len(person.record.devices) < DEVICES_PER_PEER:
                person.record.devices.add(installation=str(uuid4())).adverts.add(issued=world.clock.now * NS_IN_MS)
            device = person.record.devices[0]
            assert device.sessions
            device.adverts.clear()
            yield from make_room(draft, person, "new", peer.engine.setting, peer.moment())
            save_person(draft, person)
            return draft.outcome()

        peer.perform(making_room)
        assert not peer.table("session")
        assert len(peer.person(world.alice.me.identity).devices) == DEVICES_PER_PEER - 1


def test_a_replaced_session_of_a_plugin_that_went_is_forgotten_in_time() -> None:
    with meeting(9, ONLY_FRAME, Kit((FRAME, SLOT))) as world:
        world.introduce()
        world.send("alice", "bob")
        world.settle()
        world.equip("bob", ONLY_SLOT)
        peer, (old,) = world.bob, world.bob.table("session")

        def being_quiet() -> Flow[Outcome]:
            draft = Draft()
            person = yield from load_person(draft, world.alice.me.identity)
            for device in person.record.devices:
                for ref in device.sessions:
                    ref.state = State.STALE
            person.changed = True
            save_person(draft, person)
            world.clock.now += QUIET_MS
            now = peer.now()
            _, _, reference = records.split_timer(records.rest_timer(now, old, now + 1)[1])
            yield from end_if_quiet(draft, reference, peer.engine.setting, peer.moment(), due=now)
            return draft.outcome()

        peer.perform(being_quiet)
        assert not peer.table("session")
        assert not world.refs("bob", "alice")


# --- clocks ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kit", [ONLY_FRAME, ONLY_SLOT, ONLY_BARE], ids=["frame", "slot", "bare"])
def test_a_clock_that_was_far_ahead_once_silences_nobody_until_then(kit: Kit) -> None:
    """What was signed for next year is signed anew when the clock is right again."""
    with meeting(10, kit, kit) as world:
        world.bob.skew = 365 * 24 * HOUR
        world.crash("bob")
        world.settle()
        world.bob.skew = 0
        world.crash("bob")
        world.settle()
        assert world.offer_of("bob").body.not_before * 1000 <= world.clock.now
        world.introduce()
        world.send("alice", "bob")
        world.settle()
        assert world.told("bob") == ["text 1 of alice to bob"]


def test_a_failure_under_a_clock_that_was_far_ahead_is_not_waited_for_until_then() -> None:
    with meeting(11, ONLY_FRAME, ONLY_FRAME) as world:
        world.introduce()
        world.settle()
        exchange = world.alice.engine.setting.exchanges[0]
        device = world.device("alice", "bob")
        moment = world.alice.moment()
        device.attempts, device.resume = 1, moment.now + DAY_MS
        with pytest.raises(NegotiationFailed):
            may_begin(device, exchange, world.alice.engine.setting, moment)
        device.resume = moment.now + DAY_MS + 1
        may_begin(device, exchange, world.alice.engine.setting, moment)


def test_an_answer_given_under_a_clock_that_was_far_ahead_is_given_again() -> None:
    with meeting(12, ONLY_FRAME, ONLY_FRAME) as world:
        world.introduce()
        world.settle()
        world.bob.skew = 20 * HOUR
        world.send("alice", "bob")
        world.leave("alice")
        world.read("bob")
        world.leave("bob")
        world.skip("alice")
        world.bob.skew = 0
        world.send("alice", "bob")
        world.leave("alice")
        world.read("bob")
        assert len([said for said in world.said("bob") if said.verdict is not None]) == 2


# --- posing as a device without offers -------------------------------------------------------------------------------


def test_a_device_that_turned_out_to_make_offers_is_not_taken_for_one_without_by_its_answer() -> None:
    with meeting(13, ONLY_SLOT, ONLY_SLOT) as world:
        world.alice.add(evolve(world.bob.code(), offers=()))
        world.send("alice", "bob")
        world.leave("alice")
        world.read("bob")
        world.leave("bob")
        world.skip("alice")
        overheard(world, "alice", "bob", world.offer_of("bob").received)
        world.tap.edit = lambda said: edited(said, lambda raw: None) if said.who == world.bob.me else said.body
        world.send("bob", "alice")
        world.leave("bob")
        world.read("alice")
        assert world.states("alice", "bob")[SLOT_NAME][0] is State.FROZEN
        assert not world.device("alice", "bob").bare
        assert world.told("alice") == []
