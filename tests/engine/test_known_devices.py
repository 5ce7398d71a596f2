"""What is known of a person's devices, from whom, and how a person corrects it."""

from __future__ import annotations

from uuid import UUID

import pytest
from attrs import evolve
from kexkit import _records as records
from kexkit._engine.consenting import Consent
from kexkit._engine.peers import device_of, ensure_device, load_person, save_person
from kexkit._engine.requests import Draft, Flow, Outcome
from kexkit._engine.surveying import KnownDevice, in_use
from kexkit._transitions import State
from kexkit._wire import application
from kexkit._wire.offers import Sibling
from kexkit.api import Change
from kexkit.contact import ContactCode, Pin
from kexkit.errors import UnknownDevice, UnknownPeer
from kexkit.events import Delivery, Skip
from kexkit.limits import DEVICE_DORMANT_MS, DEVICES_PER_PEER
from kexkit.policy import STRICT

from tests.engine.left_out_devices import (
    BOTH,
    OTHER,
    THIRD,
    deliveries,
    rows_for,
    skips,
    with_a_phantom,
    with_a_weak_laptop,
)
from tests.engine.negotiating_peers import (
    BARE,
    BARE_NAME,
    HEALS,
    ONE,
    ONLY_BARE,
    ONLY_FRAME,
    ONLY_SLOT,
    SLOT,
    SLOT_NAME,
    TWO,
    Kit,
    Meeting,
    loose,
    meeting,
    psk,
)
from tests.engine.test_negotiation_bare import StatusPerson, status_person

TIMED = frozenset({records.Timer.SESSION_DUE, records.Timer.QUIET, records.Timer.CONFIRM, records.Timer.ASIDE_EXPIRY})


def forget(world: Meeting, whom: bytes, installation: str) -> bool:
    peer = world.alice
    protected: bool = peer.perform(lambda: peer.engine.forget_device(whom, installation, peer.moment()))
    return protected


def devices(world: Meeting, whom: bytes) -> dict[str, KnownDevice]:
    peer = world.alice
    return {known.installation: known for known in peer.ask(lambda: peer.engine.devices(whom, peer.moment()))}


def known_to(world: Meeting, whom: bytes) -> list[str]:
    return [device.installation for device in world.alice.person(whom).devices]


def lift(world: Meeting, whom: bytes, what: Consent = Consent.CODE) -> int:
    peer = world.alice
    count: int = peer.perform(lambda: peer.engine.consent(whom, what, peer.moment()))
    return count


def falsely_pinned(world: Meeting, *more: Pin) -> StatusPerson:
    """Somebody handed over a code of carol's that says of her Status device that it makes offers."""
    carol = status_person(world)
    pins = sorted((Pin(carol.peer.installation, 5), *more), key=lambda pin: pin.installation)
    world.alice.add(evolve(carol.code(), pins=tuple(pins)))
    return carol


# --- what nobody signed ----------------------------------------------------------------------------------------------


def test_a_code_alone_holds_texts_back_until_a_person_lifts_it() -> None:
    with meeting(1, ONLY_SLOT, ONLY_SLOT) as world:
        carol = falsely_pinned(world)
        text = world.alice.send(carol.me, "hello")
        world.work("alice")
        world.leave("alice")
        assert carol.read() == []
        assert world.causes("alice") == {"OfferMissing"}
        assert devices(world, carol.me)[carol.peer.installation].by_code
        for other in Consent:
            if other not in (Consent.CODE, Consent.RELEASE):
                lift(world, carol.me, other)
        world.work("alice")
        world.leave("alice")
        assert carol.read() == [], "no other consent is about it"
        assert lift(world, carol.me) == 1
        world.work("alice")
        world.leave("alice")
        (read,) = carol.read()
        assert application.message_id(world.alice.me.identity, read) == text
        assert not devices(world, carol.me)[carol.peer.installation].by_code


@pytest.mark.parametrize("strict", [False, True])
def test_a_real_bare_device_is_refused_while_a_code_speaks_against_it_and_heard_once_that_is_lifted(
    strict: bool,
) -> None:
    """With a policy that hears no new bare device of somebody who makes offers, an invented one would do too."""
    kit = Kit((SLOT,), evolve(STRICT, require=ONLY_SLOT.policy.require)) if strict else ONLY_SLOT
    with meeting(2, kit, ONLY_SLOT) as world:
        carol = falsely_pinned(world, Pin(OTHER, 5))
        carol.knows("alice")
        carol.send("alice", "kept back")
        world.read("alice")
        assert world.told("alice") == []
        assert world.troubles("alice") == ["DowngradeRefused"]
        assert lift(world, carol.me) == 2
        assert known_to(world, carol.me) == [carol.peer.installation], "an invented one goes"
        assert lift(world, carol.me, Consent.RELEASE) == 1
        assert world.told("alice") == ["kept back"]
        carol.peer.infos.clear()
        carol.peer.ratchets.clear()
        carol.knows("alice")
        carol.send("alice", "in a new session")
        world.read("alice")
        assert world.told("alice") == ["kept back", "in a new session"]


def test_a_number_that_only_a_code_says_is_lifted_for_a_device_with_offers_too() -> None:
    with meeting(3, ONLY_SLOT, ONLY_SLOT) as world:
        offer = world.offer_of("bob")
        world.alice.add(evolve(world.bob.code(), pins=(Pin(world.bob.me.installation, offer.body.seq + 5),)))
        world.bob.add(world.alice.code())
        text = world.send("alice", "bob")
        world.work("alice")
        assert deliveries(world, text) == [Delivery.QUEUED]
        assert world.consent("alice", "bob", Consent.CODE) == 1
        world.settle()
        world.must_agree()


def test_what_is_signed_never_yields_to_that_consent() -> None:
    with meeting(4, ONLY_SLOT, ONLY_SLOT) as world:
        with_a_phantom(world, OTHER)
        world.alice.add(ContactCode(world.bob.me.identity, pins=(Pin(OTHER, 9),)))
        assert world.consent("alice", "bob", Consent.CODE) == 1
        other = device_of_bob(world, OTHER)
        assert (other.pin, other.proven) == (5, 5)
        assert world.consent("alice", "bob", Consent.CODE) == 0
        assert world.consent("alice", "bob", Consent.BARE) == 2
        assert not device_of_bob(world, OTHER).bare
        world.send("alice", "bob")
        assert skips(world) == [(OTHER, Skip.MISSING, "OfferMissing")]
        known = devices(world, world.bob.me.identity)[OTHER]
        assert (known.signed, known.by_code, known.seen) == (True, False, False)


def device_of_bob(world: Meeting, installation: str) -> records.PeerDevice:
    return next(d for d in world.alice.person(world.bob.me.identity).devices if d.installation == installation)


def test_what_a_signed_offer_says_after_a_code_is_evidence_from_then_on() -> None:
    with meeting(5, ONLY_SLOT, ONLY_SLOT) as world:
        world.alice.add(ContactCode(world.bob.me.identity, pins=(Pin(OTHER, 5), Pin(THIRD, 5))))
        told = world.sign("bob", seq=world.offer_of("bob").body.seq + 1, siblings=(Sibling(OTHER, 5),))
        world.give("alice", told.received, of="bob")
        assert world.consent("alice", "bob", Consent.CODE) == 1
        assert set(known_to(world, world.bob.me.identity)) == {OTHER, world.bob.me.installation}


@pytest.mark.parametrize("count", [DEVICES_PER_PEER - 1, DEVICES_PER_PEER, DEVICES_PER_PEER + 1])
def test_devices_that_codes_invent_leave_room_for_those_that_are_there(count: int) -> None:
    with meeting(6, ONLY_SLOT, ONLY_SLOT) as world:
        for number in range(count):
            pin = Pin(str(UUID(int=number, version=4)), 5)
            world.alice.add(ContactCode(world.bob.me.identity, pins=(pin,)))
        assert len(known_to(world, world.bob.me.identity)) == min(count, DEVICES_PER_PEER)
        world.introduce()
        assert world.bob.me.installation in known_to(world, world.bob.me.identity), "at once, from his own code"
        text = world.send("alice", "bob")
        world.settle()
        assert ("bob", text) in world.ledger.told
        assert deliveries(world, text)[-1] is Delivery.STORED
        assert len(known_to(world, world.bob.me.identity)) <= DEVICES_PER_PEER


def test_a_device_that_signed_offers_name_gives_way_to_none() -> None:
    with meeting(7, ONLY_SLOT, ONLY_SLOT) as world:
        world.introduce()

        def filling() -> Flow[Outcome]:
            draft = Draft()
            person = yield from load_person(draft, world.bob.me.identity)
            for number in range(DEVICES_PER_PEER):
                device = ensure_device(person, str(UUID(int=number, version=4)))
                if device is not None:
                    device.pin = device.proven = 5
            assert ensure_device(person, THIRD) is None
            assert device_of(person, THIRD) is None
            save_person(draft, person)
            return draft.outcome()

        world.alice.perform(filling)


# --- forgetting ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kit", [ONLY_SLOT, ONLY_BARE], ids=["slot", "bare"])
def test_a_device_that_is_forgotten_leaves_nothing_behind(kit: Kit) -> None:
    with meeting(8, kit, kit) as world:
        world.introduce()
        world.send("alice", "bob")
        world.settle()
        world.send("bob", "alice")
        world.settle()
        world.send("alice", "bob")
        world.settle()
        bob = world.bob.me
        sessions = set(world.alice.table("session"))
        assert sessions
        assert forget(world, bob.identity, bob.installation)
        world.work("alice")
        assert known_to(world, bob.identity) == []
        world.settle()  # a session that can say goodbye hears on until it is answered
        for table in ("session", "place", "waiting", "confirm", "unconfirmed"):
            assert not world.alice.table(table), table
        left = [records.split_timer(id_) for id_ in world.alice.table("timer")]
        assert [kind for _, kind, reference in left if kind in TIMED and reference[:32] in sessions] == []
        assert not any(session in id_ for id_ in world.alice.table("drawer") for session in sessions)
        world.settle()
        world.alice.add(world.bob.code())
        world.send("alice", "bob")
        world.until_rest()
        world.must_agree()


def test_nothing_waits_any_more_for_a_device_that_is_forgotten() -> None:
    with meeting(9, ONLY_SLOT, ONLY_SLOT) as world:
        with_a_phantom(world, OTHER)
        text = world.send("alice", "bob")
        world.settle()
        assert rows_for(world, OTHER)
        assert forget(world, world.bob.me.identity, OTHER), "what signed offers say protected it"
        world.work("alice")
        assert not world.alice.table("waiting")
        kinds = [records.split_timer(id_)[1] for id_ in world.alice.table("timer")]
        assert records.Timer.ASIDE_EXPIRY not in kinds
        assert deliveries(world, text)[-1] is Delivery.STORED
        world.send("alice", "bob")
        assert not rows_for(world, OTHER)


def test_texts_that_waited_for_a_forgotten_device_alone_wait_for_whichever_comes() -> None:
    with meeting(10, ONLY_SLOT, ONLY_SLOT) as world:
        world.alice.add(ContactCode(world.bob.me.identity, pins=(Pin(OTHER, 5),)))
        text = world.send("alice", "bob")
        assert not forget(world, world.bob.me.identity, OTHER), "nothing signed protected it"
        world.work("alice")
        assert rows_for(world, OTHER) == []
        assert rows_for(world, "") == [b""]
        assert deliveries(world, text) == [Delivery.QUEUED]
        world.introduce()
        world.settle()
        assert ("bob", text) in world.ledger.told
        assert deliveries(world, text)[-1] is Delivery.STORED
        assert not world.alice.table("waiting")


def test_texts_that_only_a_forgotten_device_may_have_had_go_to_one_that_came_since() -> None:
    """It needs nothing more to happen: the other is there, and nothing keeps it from being written to."""
    with meeting(23, ONLY_SLOT, ONLY_SLOT) as world:
        world.introduce()
        text = world.send("alice", "bob")
        world.leave("alice")
        world.skip("bob")
        world.sibling("bob", "laptop", ONLY_SLOT)
        world.alice.add(world.peers["laptop"].code())
        forget(world, world.bob.me.identity, world.bob.me.installation)
        world.work("alice")
        assert not world.alice.table("waiting")
        world.settle()
        assert ("laptop", text) in world.ledger.told


def test_a_device_that_withdraws_leaves_its_texts_to_one_that_comes_in_the_same_moment() -> None:
    with meeting(24, ONLY_FRAME, ONLY_FRAME) as world:
        bob, seq = world.bob.me, world.offer_of("bob").body.seq
        world.sibling("bob", "laptop", ONLY_FRAME)
        world.alice.add(ContactCode(bob.identity, pins=(Pin(bob.installation, seq + 1),)))
        world.send("alice", "bob")
        world.work("alice")
        gone = world.sign("bob", seq=seq + 1, entries=())
        world.give("alice", gone.received, world.offer_of("laptop").received, of="bob")
        world.work("alice")
        assert not world.alice.table("waiting")


def test_what_was_said_over_a_mechanism_that_is_no_longer_loaded_is_said_again_when_its_device_is_forgotten() -> None:
    with meeting(25, Kit((SLOT, psk(TWO))), Kit((psk(TWO),))) as world:
        world.introduce()
        text = world.send("alice", "bob")
        world.leave("alice")
        world.skip("bob")
        world.equip("alice", ONLY_SLOT)
        forget(world, world.bob.me.identity, world.bob.me.installation)
        world.work("alice")
        assert rows_for(world, "") == [b""]
        assert records.read_text(world.alice.table("text")[text].value).copies == 0


def test_what_was_said_to_a_device_that_gives_way_to_a_newer_one_is_said_again_to_that() -> None:
    """It never answered, so perhaps nobody has it."""
    with meeting(26, ONLY_SLOT, ONLY_SLOT) as world:
        world.introduce()
        text = world.send("alice", "bob")
        world.leave("alice")
        world.skip("bob")
        key = records.peer_key(world.bob.me.identity)
        row = world.alice.rows.read((key,))[key]
        person = records.read_peer(row.value)
        for number in range(DEVICES_PER_PEER - 1):
            device = person.devices.add(installation=str(UUID(int=number, version=4)))
            device.adverts.add(mechanism=TWO, issued=2**62)
        world.alice.rows.commit(Change({key: row.revision}, {key: records.write(person)}))
        world.crash("alice")
        world.clock.now += DEVICE_DORMANT_MS + 1000
        world.sibling("bob", "laptop", ONLY_SLOT)
        world.peers["laptop"].add(world.alice.code())
        world.send("laptop", "alice")
        world.settle()
        assert world.bob.me.installation not in known_to(world, world.bob.me.identity)
        assert ("laptop", text) in world.ledger.told


def test_a_text_that_waited_for_two_of_which_one_is_forgotten_waits_for_the_other() -> None:
    with meeting(11, ONLY_SLOT, ONLY_SLOT) as world:
        pins = (Pin(OTHER, 5), Pin(THIRD, 5))
        world.alice.add(ContactCode(world.bob.me.identity, pins=pins))
        text = world.send("alice", "bob")
        forget(world, world.bob.me.identity, OTHER)
        world.work("alice")
        assert rows_for(world, THIRD) == [b""]
        assert rows_for(world, "") == []
        assert records.read_text(world.alice.table("text")[text].value).pending == 1


def test_a_text_that_waited_for_nobody_but_a_forgotten_device_is_stored_then_and_says_so() -> None:
    """The other has it; with the one that is forgotten a handshake was under way."""
    with meeting(19, Kit((BARE, SLOT)), ONLY_SLOT) as world:
        world.sibling("bob", "laptop", ONLY_BARE)
        world.introduce(("alice", "bob"), ("bob", "alice"), ("alice", "laptop"))
        text = world.send("alice", "bob")
        world.leave("alice")
        assert deliveries(world, text) == [Delivery.QUEUED]
        assert rows_for(world, world.peers["laptop"].me.installation) == [b""]
        forget(world, world.bob.me.identity, world.peers["laptop"].me.installation)
        world.work("alice")
        assert deliveries(world, text) == [Delivery.QUEUED, Delivery.STORED]


def test_a_text_that_only_a_forgotten_device_may_have_is_said_again() -> None:
    """It was sealed, and nobody confirmed to have it."""
    with meeting(12, ONLY_SLOT, ONLY_SLOT) as world:
        world.introduce()
        text = world.send("alice", "bob")
        world.leave("alice")
        world.skip("bob")
        forget(world, world.bob.me.identity, world.bob.me.installation)
        world.work("alice")
        world.introduce()
        world.until_rest(2)
        assert ("bob", text) in world.ledger.told


def test_a_forgotten_device_that_speaks_again_is_as_new() -> None:
    with meeting(13, BOTH, BOTH) as world:
        laptop = with_a_weak_laptop(world)
        world.send("alice", "bob")
        assert [each for each, _, _ in skips(world)] == [laptop]
        assert forget(world, world.bob.me.identity, laptop)
        world.settle()
        world.alice.add(world.peers["laptop"].code())
        text = world.send("alice", "bob")
        world.until_rest(2)
        assert ("laptop", text) in world.ledger.told, "its floor is forgotten too: so says the warning"


def test_only_who_is_known_can_be_forgotten() -> None:
    with meeting(14, ONLY_SLOT, ONLY_SLOT) as world:
        with pytest.raises(UnknownPeer):
            forget(world, world.bob.me.identity, world.bob.me.installation)
        world.introduce()
        with pytest.raises(UnknownDevice):
            forget(world, world.bob.me.identity, OTHER)
        assert known_to(world, world.bob.me.identity) == [world.bob.me.installation]


def test_no_device_of_a_plugin_that_went_is_too_much_to_forget() -> None:
    with meeting(15, Kit((SLOT, BARE)), ONLY_BARE) as world:
        world.introduce()
        world.send("alice", "bob")
        world.settle()
        assert world.states("alice", "bob") == {BARE_NAME: [State.OPEN]}
        world.equip("alice", ONLY_SLOT)
        forget(world, world.bob.me.identity, world.bob.me.installation)
        assert not world.alice.table("session")
        assert not world.alice.table("place")


# --- what a chat is worth --------------------------------------------------------------------------------------------


def speaks(world: Meeting, whom: bytes) -> tuple[str, ...]:
    return in_use(world.alice.person(whom), whom, world.alice.engine.setting)


def test_a_chat_is_worth_the_weakest_mechanism_in_use() -> None:
    strong, weak = loose(ONE, HEALS), loose(TWO)
    with meeting(16, Kit((strong, weak)), Kit((strong, weak))) as world:
        world.sibling("bob", "laptop", Kit((weak,)))
        bob, laptop = world.bob.me, world.peers["laptop"].me
        world.introduce(("alice", "bob"), ("bob", "alice"), ("laptop", "alice"))
        assert speaks(world, bob.identity) == ()
        world.send("alice", "bob")
        world.settle()
        assert speaks(world, bob.identity) == (ONE,)
        world.alice.add(world.peers["laptop"].code())
        world.send("alice", "bob")
        world.settle()
        assert speaks(world, bob.identity) == (TWO, ONE)
        known = devices(world, bob.identity)
        assert {each: known[each].in_use for each in known} == {bob.installation: ONE, laptop.installation: TWO}
        assert known[laptop.installation].mechanisms == (TWO,)


def test_until_a_better_session_is_confirmed_the_older_one_is_in_use() -> None:
    with meeting(17, Kit((SLOT,)), Kit((BARE, SLOT))) as world:
        world.introduce()
        world.send("alice", "bob")
        world.settle()
        world.clock.now += 1000
        world.equip("alice", Kit((BARE, SLOT)))
        world.bob.add(world.alice.code())
        world.send("alice", "bob")
        assert speaks(world, world.bob.me.identity) == (SLOT_NAME,)
        world.until_rest(2)
        assert speaks(world, world.bob.me.identity) == (BARE_NAME,)


def test_a_device_that_is_left_out_is_listed_with_its_reason() -> None:
    with meeting(18, BOTH, BOTH) as world:
        laptop = with_a_weak_laptop(world)
        known = devices(world, world.bob.me.identity)
        assert known[laptop].skipped is Skip.FLOOR
        assert "gives less than before" in known[laptop].reason
        assert (known[laptop].in_use, known[laptop].withdrawn) == ("", False)
        assert known[world.bob.me.installation].skipped is None


def test_a_device_whose_handshake_is_under_way_is_listed_as_what_texts_wait_for() -> None:
    with meeting(19, ONLY_BARE, ONLY_BARE) as world:
        world.introduce()
        bob = world.bob.me
        assert devices(world, bob.identity)[bob.installation].reason == ""
        world.send("alice", "bob")
        world.leave("alice")
        waiting = devices(world, bob.identity)[bob.installation]
        assert (waiting.reason, waiting.skipped, waiting.in_use) == ("the handshake is under way", None, "")
        world.until_rest()
        ready = devices(world, bob.identity)[bob.installation]
        assert (ready.reason, ready.in_use) == ("", BARE_NAME)
