"""Attacks 1 to 8 of the design of negotiation, each by its number: on offers, before anything begins."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from attrs import evolve
from kexkit import _records as records
from kexkit._transitions import State
from kexkit._wire import offers as wire
from kexkit._wire.offers import Entry, Sibling
from kexkit.api import Change, Guarantee
from kexkit.contact import Pin
from kexkit.errors import (
    OfferForeign,
    OfferMalformed,
    OfferSignature,
)
from kexkit.events import InstallationSkipped, NegotiationTrouble, Skip, TextReceived
from kexkit.policy import STRICT, FirstFlight, Policy

from tests.attacks.man_in_the_middle import (
    DAY,
    HEALING,
    SECOND,
    X3DH_NAME,
    Middle,
    able,
    drop,
    listing,
    make_no_offers,
    pass_on,
    signed_anew,
    with_body,
    with_offers,
    without_offers,
)
from tests.attacks.negotiation_rows import BOTH, PAUSES, open_over, outdated_code, stripping, talking, two

# --- 1 to 8: what is done to offers ----------------------------------------------------------------------------------

FIVE_EDITS = {
    "delete": lambda entries: entries[1:],
    "reorder": lambda entries: entries[::-1],
    "insert": lambda entries: (*entries, Entry("more@example.org/1")),
    "rename": lambda entries: (evolve(entries[0], name="more@example.org/1"), *entries[1:]),
}


@pytest.mark.parametrize("edit", FIVE_EDITS.values(), ids=FIVE_EDITS.keys())
def test_01_an_edited_entry_spoils_the_signature_and_the_person_is_not_taken_for_bare(
    edit: Callable[..., object],
) -> None:
    with two() as middle:
        edited = listing(edit)(middle.bob.code().offers[0])  # type: ignore[arg-type]  # of entries to entries
        with pytest.raises(OfferSignature):
            middle.adds("alice", "bob", with_offers(edited))
        assert not middle.knows("alice", "bob")
        talking(middle)
        before = middle.device("alice", "bob")
        with pytest.raises(OfferSignature):
            middle.adds("alice", "bob", with_offers(with_body(edited, lambda body: evolve(body, seq=body.seq + 1))))
        assert middle.device("alice", "bob") == before


def test_01_a_doubled_entry_is_against_the_grammar() -> None:
    with two() as middle, pytest.raises(OfferMalformed):
        middle.adds("alice", "bob", with_offers(listing(lambda entries: entries * 2)(middle.bob.code().offers[0])))


def test_02_an_offer_stripped_at_first_contact_comes_back_inside_the_session_and_the_text_moves_up() -> None:
    with two() as middle:
        middle.hook = stripping(middle)
        middle.adds("alice", "bob", without_offers)
        middle.says("alice", "bob", "one")
        assert middle.begun("alice") == [X3DH_NAME]
        assert open_over(middle) == {HEALING}
        (told,) = [event for event in middle.bob.read_inbox() if isinstance(event, TextReceived)]
        assert (told.text, Guarantee.POST_COMPROMISE in told.grade) == ("one", True)
        assert not middle.bob.table("withheld")


@pytest.mark.parametrize(
    "policy", [STRICT, Policy(mechanisms=frozenset({HEALING})), Policy(first_flight=FirstFlight.HOLD)], ids=str
)
def test_02_nothing_leaves_for_who_seems_bare_if_policy_wants_a_better_one_or_a_confirmation(policy: Policy) -> None:
    with two(policy) as middle:
        middle.hook = stripping(middle)
        middle.adds("alice", "bob", without_offers)
        middle.says("alice", "bob", "one")
        middle.wait(*PAUSES)
        assert not middle.begun("alice")
        assert middle.heard("bob") == []
        assert middle.causes("alice") & {"Unconfirmed", "NoCommonMechanism", "MechanismMissing"}


def test_03_what_is_stripped_later_is_known_already() -> None:
    with two() as middle:
        talking(middle)
        middle.hook = stripping(middle)
        middle.adds("alice", "bob", without_offers)
        middle.says("alice", "bob", "one")
        assert X3DH_NAME not in middle.begun("alice")
        assert "one" in middle.heard("bob")


def test_03_a_pin_without_its_offer_waits() -> None:
    with two() as middle:
        pins = (Pin(middle.bob.me.installation, 1),)
        middle.hook = stripping(middle)
        middle.adds("alice", "bob", lambda code: evolve(code, offers=(), pins=pins))
        middle.says("alice", "bob", "one")
        assert not middle.begun("alice")
        assert "OfferMissing" in middle.causes("alice")
        middle.hook = pass_on
        middle.adds("alice", "bob")
        middle.settle()
        assert (middle.heard("bob"), open_over(middle)) == (["one"], {HEALING})


def test_03_a_pin_stops_what_went_on_with_somebody_bare() -> None:
    """Bob's program knew of no offers, then a code says that he has one: nothing more goes over what he had before."""
    with two() as middle:
        make_no_offers(middle.bob)
        middle.adds("alice", "bob", without_offers)
        middle.says("alice", "bob", "one")
        middle.says("bob", "alice", "two")
        assert middle.mechanisms("alice", "bob") == [X3DH_NAME]
        pins = (Pin(middle.bob.me.installation, 1),)
        middle.adds("alice", "bob", lambda code: evolve(code, offers=(), pins=pins))
        before = middle.begun("alice")
        middle.says("alice", "bob", "three")
        assert middle.begun("alice") == before
        assert "OfferMissing" in middle.causes("alice")


def test_04_a_stale_offer_of_other_names_is_answered_with_the_present_one_in_clear_where_it_is_bound() -> None:
    with two() as middle:
        old = outdated_code(middle, (HEALING,))
        middle.adds("alice", "bob", lambda _: old)
        middle.hook = stripping(middle)
        middle.says("alice", "bob", "one")
        hints = [each for who, each in middle.log if who == "bob" and middle.offer_of("bob") in each.payload]
        assert [each.version for each in hints] == [2]
        assert middle.device("alice", "bob").offer == middle.offer_of("bob")
        assert (middle.heard("bob"), open_over(middle)) == (["one"], {HEALING})


def test_04_a_stale_offer_whose_choice_is_worse_is_refused_inside_the_session() -> None:
    with two() as middle:
        old = outdated_code(middle, (X3DH_NAME,))
        middle.adds("alice", "bob", lambda _: old)
        middle.hook = stripping(middle)
        middle.says("alice", "bob", "one")
        assert "STALE" in {event.cause for event in middle.events("bob", NegotiationTrouble)}
        assert (middle.heard("bob"), open_over(middle)) == (["one"], {HEALING})


def test_04_a_stale_offer_with_the_same_result_is_accepted() -> None:
    with two() as middle:
        old = middle.bob.code()
        middle.clock.now += 8 * DAY
        middle.bob.boot()
        middle.settle()
        assert middle.offer_of("bob") != old.offers[0]
        middle.adds("alice", "bob", lambda _: old)
        middle.hook = stripping(middle)
        middle.says("alice", "bob", "one")
        assert (middle.heard("bob"), open_over(middle)) == (["one"], {HEALING})
        assert len(middle.sessions("bob", "alice")) == 1
        assert middle.device("alice", "bob").offer == middle.offer_of("bob"), "the answer brought what was kept back"


def test_05_an_old_offer_changes_nothing_for_who_knows_a_newer_one() -> None:
    with two() as middle:
        old = outdated_code(middle, (X3DH_NAME,))
        talking(middle)
        before = middle.device("alice", "bob")
        middle.adds("alice", "bob", lambda _: old)
        middle.settle()
        assert middle.device("alice", "bob") == before
        middle.says("alice", "bob", "one")
        assert X3DH_NAME not in middle.begun("alice")


def test_06_the_offer_of_somebody_else_is_foreign() -> None:
    with two(mallory=able(*BOTH, policy=Policy())) as middle:
        with pytest.raises(OfferForeign):
            middle.adds("alice", "bob", with_offers(*middle.mallory.code().offers))
        assert not middle.knows("alice", "bob")


def test_07_the_offer_of_the_laptop_says_nothing_of_the_phone() -> None:
    with two() as middle:
        laptop = middle.second_device("bob", "laptop", able(X3DH_NAME, policy=Policy()))
        middle.adds("alice", "bob", with_offers(*laptop.code().offers))
        assert middle.device("alice", "laptop").offer_seq
        assert not middle.device("alice", "bob").offer_seq


def test_07_a_first_flight_for_the_phone_is_nothing_to_the_laptop() -> None:
    with two() as middle:
        laptop = middle.second_device("bob", "laptop", able(*BOTH, policy=Policy()))
        middle.hook = drop
        middle.adds("alice", "bob", without_offers)
        middle.says("alice", "bob", "one")
        (envelope,) = [each for who, each in middle.log if who == "alice" and middle.inside(each).slots]  # type: ignore[union-attr]  # version 1
        message = middle.inside(envelope)
        assert message is not None
        slots = {laptop.me.installation: message.slots[middle.bob.me.installation]}
        laptop.receive(middle.remade("alice", "bob", evolve(message, slots=slots)))
        assert middle.heard("laptop") == []
        assert middle.mechanisms("laptop", "alice") == []


def test_08_a_device_whose_offer_is_withheld_is_missed_as_soon_as_another_names_it() -> None:
    with two() as middle:
        laptop = middle.second_device("bob", "laptop", able(*BOTH, policy=Policy()))
        names_it = lambda body: evolve(body, siblings=(Sibling(middle.bob.me.installation, 1),))  # noqa: E731
        told = signed_anew(laptop, laptop.code().offers[0], names_it)
        middle.hook = drop
        middle.adds("alice", "bob", lambda code: evolve(code, offers=(told,)))
        middle.says("alice", "bob", "one")
        skipped = [(e.installation, e.cause, e.why) for e in middle.events("alice", InstallationSkipped)]
        assert skipped == [(middle.bob.me.installation, "OfferMissing", Skip.MISSING)]
        assert not middle.sessions("alice", "bob")
        assert middle.mechanisms("alice", "laptop", State.OPENING) == [HEALING]


def test_08_the_device_that_answers_brings_what_was_withheld_of_its_siblings() -> None:
    with two() as middle:
        laptop = middle.second_device("bob", "laptop", able(*BOTH, policy=Policy()))
        old = middle.bob.code()
        middle.clock.now += SECOND
        pair(middle, "bob", "laptop")
        middle.hook = stripping(middle)
        middle.adds("alice", "bob", lambda _: old)
        assert not middle.knows("alice", "laptop")
        middle.says("alice", "bob", "one")
        assert middle.heard("bob") == ["one"]
        assert middle.device("alice", "laptop").offer == middle.offer_of("laptop")
        assert laptop.me.installation in {each.installation for each in middle.alice.person(laptop.me.identity).devices}


def pair(middle: Middle, who: str, other: str) -> None:
    """One's device knows that the other is of the same person."""
    peer, signed = middle.peers[who], middle.offer_of(other)
    offer = wire.read(signed, expected_identity=signed[1:34])
    ourselves = records.new_peer()
    names = [entry.name for entry in offer.body.entries]
    ourselves.devices.add(
        installation=offer.body.installation,
        enabled=True,
        offer=signed,
        offer_seq=offer.body.seq,
        offer_digest=offer.digest,
        offered=names,
    )
    peer.rows.commit(Change({}, {records.peer_key(peer.me.identity): records.write(ourselves)}))
    peer.boot()
