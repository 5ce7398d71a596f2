"""An offer that goes to people alone: nothing of it stands where everybody reads, and chats move up all the same."""

from __future__ import annotations

import pytest
from attrs import evolve
from kexkit import _records as records
from kexkit._engine.wrapping import contact_code_channel
from kexkit._transitions import State
from kexkit.api import Change
from kexkit.contact import ContactCode, parse_contact_code
from kexkit.events import FrameRefused
from kexkit.identity import SoftwareIdentity
from kexkit.limits import FLUSH_BATCH, OWN_OFFER_LIFETIME_MS
from kexkit.policy import Policy

from tests.attacks.man_in_the_middle import make_no_offers
from tests.engine.negotiating_peers import (
    BARE,
    BARE_NAME,
    SLOT,
    SLOT_NAME,
    TWO,
    Kit,
    Meeting,
    meeting,
    psk,
)
from tests.engine.publishing_peers import (
    DISCREET,
    LENIENT,
    OPEN,
    everything_of,
    find,
    posted,
    seen_by_strangers,
)

# --- to people alone -------------------------------------------------------------------------------------------------


def test_under_advertise_the_contact_code_topic_shows_the_offer_and_under_contacts_the_bundle_alone() -> None:
    with meeting(1, OPEN, DISCREET) as world:
        world.introduce()
        for sender, reader in (("alice", "bob"), ("bob", "alice")) * 2:
            world.send(sender, reader)
            world.quiesce(7)
        assert all(
            message.offers == (world.offer_of("alice").received,) for message in seen_by_strangers(world, "alice")
        )
        shown = seen_by_strangers(world, "bob")
        assert len(shown) >= 2
        for message in shown:
            assert message.bundles
            assert (message.offers, message.slots, message.frames) == ((), {}, ())
        topic = contact_code_channel(world.bob.me.identity).topic
        for envelope in world.network.logged(topic):
            assert b"noise" not in (world.ledger.ciphers.inside(envelope.payload) or b"")


@pytest.mark.parametrize("advertises", [True, False], ids=["the bundle", "nothing"])
def test_an_advertisement_that_never_left_is_not_shown_once_the_policy_shows_less(advertises: bool) -> None:
    with meeting(27, OPEN, OPEN) as world:
        world.work("bob")
        assert len(world.bob.table("outbox")) == 1
        world.equip("bob", evolve(DISCREET, policy=evolve(DISCREET.policy, advertise=advertises)))
        assert not world.bob.table("outbox")
        world.settle()
        shown = seen_by_strangers(world, "bob")
        assert [(bool(message.bundles), message.offers) for message in shown] == [(True, ())] * advertises


def test_contacts_learn_of_an_offer_whose_advertisement_was_taken_back() -> None:
    with meeting(28, OPEN, Kit((SLOT, BARE), Policy())) as world:
        world.introduce()
        world.send("alice", "bob")
        world.quiesce()
        first = world.offer_of("bob")
        world.equip("bob", OPEN)
        world.work("bob")
        assert world.offer_of("bob").digest != first.digest
        world.equip("bob", DISCREET)
        world.settle()
        assert world.device("alice", "bob").offer == world.offer_of("bob").received
        assert all(message.offers in {(), (first.received,)} for message in seen_by_strangers(world, "bob"))


def test_a_posted_code_shows_no_offer_under_contacts_and_a_picture_does_unless_asked_otherwise() -> None:
    with meeting(2, OPEN, DISCREET) as world:
        bob = world.bob.engine
        offer = world.offer_of("bob").received

        def code(**asked: bool) -> ContactCode:
            return world.bob.ask(lambda: bob.contact_code(**asked))

        assert (code(posted=True).offers, code(posted=True).bundles != ()) == ((), True)
        assert code(posted=False).offers == (offer,)
        assert code(posted=True, offers=True).offers == (offer,)
        assert code(posted=False, offers=False).offers == ()
        text = parse_contact_code(code(posted=True).to_text())
        assert (text.offers, text.pins) == ((), ())
        picture = parse_contact_code(code(posted=False).to_qr_text())
        assert [pin.installation for pin in picture.pins] == [world.bob.me.installation]
        assert posted(world, "alice").offers == (world.offer_of("alice").received,)


def test_a_stranger_begins_as_with_a_status_device_and_moves_up_at_the_first_answer_losing_nothing() -> None:
    with meeting(3, OPEN, DISCREET) as world:
        find(world, "alice", "bob")
        sent = [world.send("alice", "bob") for _ in range(3)]
        assert {said.mechanism for said in world.said("alice")} == {SLOT_NAME}
        world.settle()
        assert world.bob.history(world.alice.me.identity) == sent
        for who, whom in (("alice", "bob"), ("bob", "alice")):
            assert world.states(who, whom) == {SLOT_NAME: [State.REFUSED], BARE_NAME: [State.OPEN]}
        sent.append(world.send("bob", "alice"))
        world.quiesce()
        world.must_agree()
        assert world.opened("alice") == world.opened("bob") == [BARE_NAME]


def test_who_keeps_the_offer_to_people_finds_others_as_ever_and_tells_them_in_the_first_message() -> None:
    with meeting(4, DISCREET, OPEN) as world:
        find(world, "alice", "bob")
        world.send("alice", "bob")
        world.quiesce()
        assert world.opened("bob") == [BARE_NAME]
        world.must_agree()


def test_two_who_keep_their_offers_to_people_meet_over_statuss_mechanism_and_move_up() -> None:
    with meeting(5, DISCREET, DISCREET) as world:
        find(world, "alice", "bob")
        find(world, "bob", "alice")
        for who, whom in (("alice", "bob"), ("bob", "alice")):
            world.send(who, whom)
        world.quiesce(3)
        world.must_agree()
        for who, whom in (("alice", "bob"), ("bob", "alice")):
            assert set(world.states(who, whom)[BARE_NAME]) == {State.OPEN}


def test_a_status_device_goes_on_over_statuss_mechanism() -> None:
    with meeting(6, Kit((SLOT,), Policy()), DISCREET) as world:
        make_no_offers(world.alice)
        find(world, "alice", "bob")
        find(world, "bob", "alice")
        for sender, reader in (("alice", "bob"), ("bob", "alice")) * 2:
            world.send(sender, reader)
            world.settle()
        assert world.states("bob", "alice") == {SLOT_NAME: [State.OPEN]}
        world.must_agree()


def test_a_new_offer_goes_to_contacts_who_have_the_old_one_before_that_is_over() -> None:
    with meeting(7, OPEN, DISCREET) as world:
        world.introduce()
        world.send("alice", "bob")
        world.quiesce()
        first = world.device("alice", "bob").offer_seq
        for _ in range(3):
            world.pass_time(OWN_OFFER_LIFETIME_MS // 2)
        known = world.device("alice", "bob")
        assert known.offer_seq > first
        assert known.offer_until * 1000 > world.clock.now
        assert known.offer == world.offer_of("bob").received
        assert not any(message.offers for message in seen_by_strangers(world, "bob"))


def test_nobody_is_told_a_new_offer_who_is_no_contact_has_no_session_or_makes_none() -> None:
    with meeting(8, OPEN, DISCREET, carol=OPEN, dave=Kit((SLOT,), Policy())) as world:
        world.introduce(("bob", "alice"))  # added, and never written to
        find(world, "carol", "bob")  # a stranger
        world.send("carol", "bob")
        make_no_offers(world.peers["dave"])
        find(world, "dave", "bob")
        find(world, "bob", "dave")
        world.send("bob", "dave")
        world.quiesce()
        before = len(everything_of(world, "bob"))
        shown = len(seen_by_strangers(world, "bob"))
        world.pass_time(OWN_OFFER_LIFETIME_MS // 2)
        direct = len(everything_of(world, "bob")) - before - (len(seen_by_strangers(world, "bob")) - shown)
        assert direct == 0


@pytest.mark.parametrize("beyond", [-1, 0, 1])
def test_however_many_contacts_there_are_each_is_told_once(beyond: int) -> None:
    with meeting(9, OPEN, DISCREET) as world:
        world.introduce()
        world.send("alice", "bob")
        world.quiesce()
        key = records.peer_key(world.alice.me.identity)
        row = world.bob.rows.read((key,))[key]
        count = FLUSH_BATCH + beyond
        crowd = {SoftwareIdentity.generate(world.random.randbytes).public: row.value for _ in range(count - 1)}
        _put(world, crowd)
        before = len(world.bob.queue)
        world.equip("bob", Kit(DISCREET.plugins[:1], DISCREET.policy))
        while (due := world.bob.tick()) is not None and due <= world.bob.now() + 1000:
            world.clock.now += 1
        assert len(world.bob.queue) - before == count


def _put(world: Meeting, people: dict[bytes, bytes]) -> None:
    rows = {records.peer_key(identity): value for identity, value in people.items()}
    world.bob.rows.commit(Change({}, rows))
    world.bob.crash()


def test_an_opening_to_an_outdated_offer_is_not_answered_in_clear_and_goes_on_once_they_write() -> None:
    both = (BARE, psk(TWO))
    with meeting(10, Kit(both, LENIENT), Kit((BARE,), LENIENT)) as world:
        world.introduce()
        world.settle()
        world.equip("bob", Kit((psk(TWO), BARE), LENIENT))
        world.work("bob")
        world.leave("bob")
        world.skip("alice")
        sent = world.send("alice", "bob")
        world.leave("alice")
        world.read("bob")
        assert world.leave("bob") == []
        assert [event.cause for event in world.told_of("bob", FrameRefused)] == [
            "An opening answers an outdated offer, and the policy shows ours to nobody in clear."
        ]
        world.send("bob", "alice")
        world.quiesce(3)
        assert sent in world.bob.history(world.alice.me.identity)
        world.must_agree()
