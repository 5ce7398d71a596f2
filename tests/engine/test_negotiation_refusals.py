"""Choices that are refused and confirmations that contradict: nothing is shown of them, and nothing is lost by them."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from attrs import evolve
from kexkit import _records as records
from kexkit._engine.consenting import Consent
from kexkit._transitions import State
from kexkit._wire.confirms import (
    Confirm,
    Ruling,
    encode_confirm,
    read_confirm,
)
from kexkit.api import Change
from kexkit.events import TextReceived
from kexkit.limits import ANSWER_AGAIN_MS, WITHHELD_PER_PEER

from tests.engine.negotiating_peers import (
    ONE,
    TWO,
    Kit,
    Meeting,
    Said,
    edited,
    loose,
    meeting,
    psk,
)

AROUND = pytest.mark.parametrize("beyond", [-1, 0, 1])
OLD, NEW = Kit((loose(ONE),)), Kit((loose(TWO), loose(ONE)))
BINDING_OLD, BINDING_NEW = Kit((psk(ONE),)), Kit((psk(TWO), psk(ONE)))
UPGRADES = pytest.mark.parametrize(
    ("old", "new"), [(OLD, NEW), (BINDING_OLD, BINDING_NEW)], ids=["confirmed only", "bound"]
)
STALE_BUT_SAME = Kit((loose(ONE), loose("zzz@test.example/1")))


def preset(world: Meeting, who: str, whom: str, **fields: int) -> None:
    """What would take long to bring about."""
    peer, key = world.peers[who], records.peer_key(world.peers[whom].me.identity)
    row = peer.rows.read((key,))[key]
    person = records.read_peer(row.value)
    for name, number in fields.items():
        setattr(person, name, number)
    peer.rows.commit(Change({key: row.revision}, {key: records.write(person)}))
    peer.crash()


def outdated(world: Meeting, new: Kit) -> None:
    """Bob gets another exchange, which alice does not hear of: what he says of it is lost."""
    world.introduce()
    world.settle()
    world.equip("bob", new)
    world.leave("bob")
    world.skip("alice")


# --- a stale choice --------------------------------------------------------------------------------------------------


@UPGRADES
def test_what_left_over_a_stale_choice_comes_over_the_right_one_once_and_with_its_id(old: Kit, new: Kit) -> None:
    with meeting(1, new, old) as world:
        outdated(world, new)
        sent = [world.send("alice", "bob") for _ in range(3)]
        world.until_rest()
        world.must_agree()
        assert world.bob.history(world.alice.me.identity) == sent
        for who, whom in [("alice", "bob"), ("bob", "alice")]:
            assert world.states(who, whom)[TWO] == [State.OPEN]
            assert State.OPEN not in world.states(who, whom).get(ONE, [])


def test_a_stale_choice_is_answered_inside_the_session_with_what_the_network_kept_back() -> None:
    with meeting(2, NEW, OLD) as world:
        outdated(world, NEW)
        world.send("alice", "bob")
        world.leave("alice")
        world.read("bob")
        (said,) = world.said("bob")
        assert said.verdict is not None
        assert (said.texts, said.verdict.ruling) == ((), Ruling.STALE)
        assert said.verdict.offers == (world.offer_of("bob").received,)
        assert (said.verdict.seq, said.verdict.offer_digest) == (
            world.offer_of("bob").body.seq,
            world.offer_of("bob").digest,
        )
        assert world.states("bob", "alice") == {ONE: [State.REFUSED]}
        assert world.troubles("bob") == ["STALE"]


def test_where_the_transcript_binds_the_offer_a_stale_opening_makes_no_session_and_is_answered_with_the_offer() -> None:
    with meeting(3, BINDING_NEW, BINDING_OLD) as world:
        outdated(world, BINDING_NEW)
        world.send("alice", "bob")
        world.leave("alice")
        world.read("bob")
        assert not world.bob.table("session")
        assert not world.said("bob")
        world.leave("bob")
        world.read("alice")
        assert world.states("alice", "bob") == {ONE: [State.STALE]}
        assert world.device("alice", "bob").offer_seq == world.offer_of("bob").body.seq
        world.settle()
        world.must_agree()


def test_a_stranger_with_an_outdated_offer_is_answered_and_leaves_nothing_behind() -> None:
    with meeting(31, BINDING_NEW, BINDING_OLD) as world:
        world.introduce(("alice", "bob"))
        world.settle()
        world.equip("bob", BINDING_NEW)
        world.leave("bob")
        world.skip("alice")
        world.send("alice", "bob")
        world.leave("alice")
        world.read("bob")
        assert not world.bob.table("peer")
        assert not world.bob.table("session")
        assert len(world.leave("bob")) == 1
        world.read("alice")
        assert world.device("alice", "bob").offer_seq == world.offer_of("bob").body.seq
        world.until_rest(2)
        world.must_agree()


def test_texts_of_a_refused_session_are_kept_and_neither_shown_nor_told() -> None:
    with meeting(4, NEW, OLD) as world:
        outdated(world, NEW)
        message_id = world.send("alice", "bob", "over the stale choice")
        world.leave("alice")
        world.read("bob")
        assert not world.told("bob")
        assert not world.bob.history(world.alice.me.identity)
        ((key, row),) = world.bob.table("withheld").items()
        assert key == world.alice.me.identity + message_id
        kept = records.read_withheld(row.value)
        assert kept.body == world.said("alice")[0].texts[0]
        assert kept.cause
        assert world.bob.person(world.alice.me.identity).withheld == 1


def test_what_was_kept_goes_when_the_same_text_comes_over_an_accepted_session() -> None:
    with meeting(5, NEW, OLD) as world:
        outdated(world, NEW)
        world.send("alice", "bob")
        world.leave("alice")
        world.read("bob")
        assert len(world.bob.table("withheld")) == 1
        world.settle()
        assert not world.bob.table("withheld")
        assert world.bob.person(world.alice.me.identity).withheld == 0
        (told,) = world.bob.read_inbox()
        assert isinstance(told, TextReceived)
        first, again = (said for said in world.said("alice") if said.texts)
        assert first.texts == again.texts, "other bytes would be another message"
        assert (first.mechanism, again.mechanism) == (ONE, TWO)


def test_a_person_may_release_what_was_kept_and_it_is_not_told_again_when_it_comes_properly() -> None:
    with meeting(6, NEW, OLD) as world:
        outdated(world, NEW)
        world.send("alice", "bob")
        world.leave("alice")
        world.read("bob")
        assert world.consent("bob", "alice", Consent.RELEASE) == 1
        assert world.told("bob") == ["text 1 of alice to bob"]
        assert not world.bob.table("withheld")
        assert world.bob.person(world.alice.me.identity).withheld == 0
        assert world.consent("bob", "alice", Consent.RELEASE) == 0
        world.until_rest()
        world.must_agree()


@AROUND
def test_so_many_texts_of_one_person_are_kept_back_and_none_is_lost(beyond: int) -> None:
    with meeting(7, NEW, OLD) as world:
        outdated(world, NEW)
        preset(world, "bob", "alice", withheld=WITHHELD_PER_PEER - 1)  # as if so many had come before
        for _ in range(2 + beyond):
            world.send("alice", "bob")
        world.leave("alice")
        world.read("bob")
        assert len(world.bob.table("withheld")) == 1
        world.until_rest()
        assert len(world.told("bob")) == 2 + beyond


def test_a_stale_view_with_the_same_result_is_accepted_and_brought_up_to_date() -> None:
    with meeting(8, OLD, OLD) as world:
        outdated(world, STALE_BUT_SAME)
        world.send("alice", "bob")
        world.leave("alice")
        world.read("bob")
        verdict = world.said("bob")[0].verdict
        assert verdict is not None
        assert (verdict.ruling, len(verdict.offers)) == (Ruling.ACCEPTED, 1)
        world.settle()
        assert world.device("alice", "bob").offer_digest == world.offer_of("bob").digest
        world.must_agree()


def test_who_has_seen_the_present_offer_is_sent_no_copy_of_it() -> None:
    with meeting(9, OLD, OLD) as world:
        world.introduce()
        world.send("alice", "bob")
        world.settle()
        verdict = world.said("bob")[0].verdict
        assert verdict is not None
        assert verdict.offers == ()


# --- what the initiator says is not so -------------------------------------------------------------------------------


def lying(world: Meeting, who: str, change: Callable[[Confirm], Confirm]) -> None:
    me = world.peers[who].me

    def lie(raw: bytes | None) -> bytes | None:
        return None if raw is None else encode_confirm(change(read_confirm(raw)))

    def edit(said: Said) -> bytes:
        return edited(said, lie) if said.who == me and said.confirm is not None else said.body

    world.tap.edit = edit


def first_flight(world: Meeting, *, introduced: bool = False) -> None:
    if not introduced:
        world.introduce()
        world.settle()
    world.send("alice", "bob")
    world.leave("alice")
    world.read("bob")


SOMEBODY = bytes.fromhex("0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798")


@pytest.mark.parametrize(
    "change",
    [
        lambda confirm: evolve(confirm, session=bytes(32)),
        lambda confirm: evolve(confirm, responder=SOMEBODY),
        lambda confirm: evolve(confirm, responder=confirm.initiator),
        lambda confirm: evolve(confirm, responder_installation="another device"),
    ],
    ids=["session", "somebody", "the initiator", "device"],
)
def test_a_confirmation_of_another_session_or_of_others_freezes_it(change: Callable[[Confirm], Confirm]) -> None:
    with meeting(10, OLD, OLD) as world:
        lying(world, "alice", change)
        first_flight(world)
        assert world.troubles("bob") == ["ConfirmationMismatch"]
        assert world.states("bob", "alice") == {ONE: [State.FROZEN]}
        assert not world.told("bob")
        assert len(world.bob.table("withheld")) == 1
        assert not world.said("bob"), "a frozen session seals nothing"


def test_a_confirmation_in_the_name_of_another_device_freezes_the_session() -> None:
    with meeting(11, OLD, OLD) as world:
        other = "00000000-0000-4000-8000-000000000001"

        def change(confirm: Confirm) -> Confirm:
            offer = world.sign("alice", installation=other)
            return evolve(confirm, initiator_installation=other, offer=offer.received)

        lying(world, "alice", change)
        first_flight(world)
        assert world.troubles("bob") == ["ConfirmationMismatch"]
        assert not world.told("bob")


def test_two_different_confirmations_freeze_the_session() -> None:
    """The first was accepted and its text told; the second's is kept."""
    with meeting(12, OLD, OLD) as world:
        first_flight(world)
        assert len(world.told("bob")) == 1
        lying(world, "alice", lambda confirm: evolve(confirm, previous=bytes([1]) * 32))
        world.send("alice", "bob")
        world.leave("alice")
        world.read("bob")
        assert world.troubles("bob") == ["ConfirmationConflict"]
        assert world.states("bob", "alice") == {ONE: [State.FROZEN]}
        assert len(world.told("bob")) == 1
        assert len(world.bob.table("withheld")) == 1
        world.tap.edit = None
        sealed = len(world.said("bob"))
        world.send("alice", "bob")
        world.leave("alice")
        world.read("bob")
        assert len(world.told("bob")) == 1, "nothing is opened any more"
        assert len(world.said("bob")) == sealed


def test_the_other_ends_confirmation_played_back_freezes_the_session() -> None:
    """An answer from whoever asked: its kind says that it is none."""
    with meeting(13, OLD, OLD) as world:
        bob = world.bob.me

        def mirror(said: Said) -> bytes:
            asked = next(one.raw for one in world.tap.all if one.confirm is not None)
            return edited(said, lambda raw: asked) if said.who == bob else said.body

        world.tap.edit = mirror
        first_flight(world)
        world.leave("bob")
        world.read("alice")
        assert world.troubles("alice") == ["ConfirmationConflict"]
        assert world.states("alice", "bob") == {ONE: [State.FROZEN]}


def changed_offer(confirm: Confirm) -> Confirm:
    raw = bytearray(confirm.offer)
    raw[-1] ^= 1
    return evolve(confirm, offer=bytes(raw))


@pytest.mark.parametrize(
    ("change", "ruling"),
    [
        (changed_offer, Ruling.YOUR_OFFER),
        (lambda confirm: evolve(confirm, mechanism=ONE), Ruling.NOT_BEST),
        (lambda confirm: evolve(confirm, mask=0), Ruling.NOT_BEST),
        (lambda confirm: evolve(confirm, mask=0b10), Ruling.NOT_BEST),
        (lambda confirm: evolve(confirm, offer_digest=bytes(32)), Ruling.STALE),
    ],
    ids=["offer not signed", "another name", "empty mask", "mask without it", "unknown offer"],
)
def test_what_the_responder_computes_otherwise_it_refuses_and_says_how(
    change: Callable[[Confirm], Confirm], ruling: Ruling
) -> None:
    with meeting(14, NEW, NEW) as world:
        lying(world, "alice", change)
        first_flight(world)
        verdict = world.said("bob")[0].verdict
        assert verdict is not None
        assert verdict.ruling is ruling
        assert world.states("bob", "alice") == {TWO: [State.REFUSED]}
        assert world.troubles("bob") == [ruling.name]
        assert not world.told("bob")
        assert len(world.bob.table("withheld")) == 1
        world.leave("bob")
        world.read("alice")  # to her it is an answer to something else than she said
        assert world.states("alice", "bob") == {TWO: [State.FROZEN]}
        world.tap.edit = None
        world.until_rest()
        world.must_agree()


def test_a_device_that_confirms_with_an_older_offer_than_it_published_is_refused() -> None:
    """Its store was put back, or it was cloned."""
    with meeting(15, OLD, OLD) as world:
        world.introduce()
        world.settle()
        later = world.sign("alice", seq=world.offer_of("alice").body.seq + 1)
        world.give("bob", later.received, of="alice")
        first_flight(world, introduced=True)
        verdict = world.said("bob")[0].verdict
        assert verdict is not None
        assert verdict.ruling is Ruling.ROLLBACK
        assert world.troubles("bob") == ["ROLLBACK"]
        assert not world.told("bob")


def test_a_refused_session_seals_nothing_but_the_answer() -> None:
    with meeting(16, NEW, OLD) as world:
        outdated(world, NEW)
        first_flight(world, introduced=True)
        world.send("bob", "alice")
        for said in world.said("bob"):
            assert said.mechanism == TWO or not said.texts
        world.until_rest()
        world.must_agree()


def test_a_refusal_that_is_lost_comes_again_when_the_refused_confirmation_does() -> None:
    with meeting(17, NEW, OLD) as world:
        outdated(world, NEW)
        first_flight(world, introduced=True)
        world.leave("bob")
        world.skip("alice")
        assert world.states("alice", "bob") == {ONE: [State.PROVISIONAL]}
        world.clock.now += ANSWER_AGAIN_MS
        world.send("alice", "bob")
        world.until_rest()
        assert world.states("alice", "bob")[TWO] == [State.OPEN]
        world.must_agree()


def test_what_was_said_in_a_session_that_is_never_answered_is_said_again_once_another_is_open() -> None:
    """The refusal was lost for good; the newer offer came another way."""
    with meeting(23, NEW, OLD) as world:
        outdated(world, NEW)
        first_flight(world, introduced=True)
        world.leave("bob")
        world.skip("alice")
        world.give("alice", world.offer_of("bob").received, of="bob")
        world.send("alice", "bob")
        world.until_rest()
        assert world.states("alice", "bob")[TWO] == [State.OPEN]
        world.must_agree()
        assert not world.bob.table("withheld")


def test_an_acceptance_that_comes_late_does_not_displace_what_replaced_its_session() -> None:
    with meeting(24, NEW, OLD) as world:
        world.introduce()
        world.settle()
        first_flight(world, introduced=True)
        late = world.leave("bob")
        world.skip("alice")
        world.equip("bob", NEW)
        world.give("alice", world.offer_of("bob").received, of="bob")
        world.send("alice", "bob")
        world.until_rest()
        assert world.states("alice", "bob")[TWO] == [State.OPEN]
        for envelope in late:
            world.alice.receive(envelope)
        world.until_rest(2)
        for number in range(4):
            world.send(*(("alice", "bob") if number % 2 else ("bob", "alice")))
            world.settle()
        assert world.states("alice", "bob")[TWO] == [State.OPEN] == world.states("bob", "alice")[TWO]
        assert State.OPEN not in world.states("alice", "bob")[ONE]
        world.must_agree()
