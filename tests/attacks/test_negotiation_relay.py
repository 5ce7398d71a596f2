"""Real devices with every pair of lists, and somebody between them who edits whatever is public.

What opens is the best that both have; else texts wait, for a reason. Nothing leaves under less, but what SECURITY.md
admits: a first text over a mechanism that starts offline, while its sender was shown no offer, or an old one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from itertools import chain, permutations
from random import Random

import pytest
from attrs import evolve
from kexkit._transitions import State
from kexkit._wire.offers import Entry, Sibling
from kexkit._wire.protocol_message import ProtocolMessage
from kexkit.api import Envelope, Guarantee
from kexkit.contact import ContactCode
from kexkit.errors import Refusal
from kexkit.policy import Downgrade, Policy

from tests.attacks.man_in_the_middle import (
    HEALING,
    HOUR,
    PSK_NAME,
    SECOND,
    X3DH_NAME,
    XK1,
    XX,
    Hook,
    Middle,
    a_middle,
    able,
    listing,
    pass_on,
    with_body,
    with_offers,
    without_offers,
)

THREE = (X3DH_NAME, HEALING, PSK_NAME)
"""one that binds nothing, one of several flights, one that binds and starts offline"""
LISTS = tuple(chain.from_iterable(permutations(THREE, size) for size in (1, 2, 3)))
WHOLE = tuple((ours, theirs) for ours in LISTS for theirs in LISTS if len(ours) == len(theirs) == 3)
SESSIONS_ONLY = Policy(require=Guarantee.SECRET | Guarantee.TO_PEER, downgrade=Downgrade.ACCEPT)
"""Sends nothing over a bare identity key, which is another matter than negotiation; and what was had before does not
change what is best."""
EACH_LIST = pytest.mark.parametrize("ours", LISTS, ids=" ".join)
Change = Callable[[bytes], bytes]


def a_meeting(ours: Sequence[str], theirs: Sequence[str], **others: Sequence[str]) -> AbstractContextManager[Middle]:
    people = {"alice": ours, "bob": theirs, **others}
    return a_middle(**{name: able(*names, policy=SESSIONS_ONLY) for name, names in people.items()})


def rewriting(middle: Middle, change: Callable[[ProtocolMessage], ProtocolMessage | None], *makers: str) -> Hook:
    """Everything of these people that is signed by them alone on the outside; None: it never arrives."""

    def hook(sender: str, envelope: Envelope) -> Sequence[Envelope]:
        message = middle.inside(envelope)
        if sender not in makers or message is None:
            return [envelope]
        to = "alice" if sender == "bob" else "bob"
        changed = change(message)
        return [middle.remade(sender, to, changed)] if changed is not None else []

    return hook


def replacing_offers(middle: Middle, *offers: bytes) -> Hook:
    return rewriting(middle, lambda message: evolve(message, offers=offers), "bob")


def editing_offers(middle: Middle, change: Change) -> Hook:
    return rewriting(middle, lambda message: evolve(message, offers=tuple(map(change, message.offers))), "bob")


def begin(middle: Middle, change: Callable[[ContactCode], ContactCode], hook: Hook) -> None:
    """Alice has Bob's code, as far as the hand let it be, and writes; Bob knows nothing of her."""
    middle.hook = hook
    try:
        middle.adds("alice", "bob", change)
    except Refusal as refusal:
        middle.refused = str(refusal)  # she has no code, and so writes nothing
        return
    middle.says("alice", "bob", "one")
    middle.wait()


def must_be_best_or_wait(middle: Middle, *residue: str) -> None:
    """While the hand is there. `residue`: what may have carried a first text though it is not the best."""
    middle.assert_best("alice", "bob")
    offline = {name for name in middle.begun("alice") if name in (X3DH_NAME, PSK_NAME)}
    assert offline <= {middle.best("alice", "bob"), *residue}
    if not middle.heard("bob"):
        unconfirmed = middle.mechanisms("alice", "bob", State.PROVISIONAL)
        assert middle.refused or unconfirmed or middle.causes("alice") | middle.causes("bob") - {""}


def must_come_to_the_best(middle: Middle) -> None:
    """Once the hand lets go, the text comes exactly once, and over the best."""
    best = middle.best("alice", "bob")
    if middle.refused:
        middle.hook = pass_on
        middle.adds("alice", "bob")
        middle.says("alice", "bob", "one")
    middle.heal()
    if best is None:
        assert middle.heard("bob") == []
        return
    assert middle.heard("bob") == ["one"]
    middle.says("alice", "bob", "two")  # a day has gone by, and with it a session of x3dh
    middle.wait(SECOND)
    assert middle.heard("bob") == ["one", "two"]
    assert {*middle.mechanisms("alice", "bob"), *middle.mechanisms("bob", "alice")} == {best}
    middle.assert_best("alice", "bob")


@EACH_LIST
def test_nobody_between_and_the_best_opens_at_once(ours: Sequence[str]) -> None:
    for theirs in LISTS:
        with a_meeting(ours, theirs) as middle:
            begin(middle, lambda code: code, pass_on)
            must_be_best_or_wait(middle)
            must_come_to_the_best(middle)


@EACH_LIST
def test_stripped_offers_cost_one_first_flight_at_most(ours: Sequence[str]) -> None:
    """The hand strips for ever; what Bob offers comes inside the session in which he refuses."""
    for theirs in LISTS:
        with a_meeting(ours, theirs) as middle:
            begin(middle, without_offers, replacing_offers(middle))
            must_be_best_or_wait(middle, X3DH_NAME)
            assert middle.begun("alice").count(X3DH_NAME) <= 2 or middle.best("alice", "bob") == X3DH_NAME
            if X3DH_NAME in ours and X3DH_NAME in theirs:
                assert middle.heard("bob") == ["one"], "stripping stops nobody who has an answer"
            must_come_to_the_best(middle)


@EACH_LIST
def test_a_stale_offer_delays_and_nothing_more(ours: Sequence[str]) -> None:
    """Whatever Bob offered before: the old code is all that Alice is ever shown outside of sessions."""
    for number, theirs in enumerate(LISTS):
        before = LISTS[(number * 7 + len(ours)) % len(LISTS)]
        with a_meeting(ours, before) as middle:
            old = middle.bob.code()
            middle.becomes("bob", able(*theirs, policy=SESSIONS_ONLY))
            begin(middle, lambda code, old=old: old, replacing_offers(middle, *old.offers))  # type: ignore[misc]  # bound
            must_be_best_or_wait(middle, X3DH_NAME, PSK_NAME)
            must_come_to_the_best(middle)


@EACH_LIST
def test_answers_that_never_come_open_nothing(ours: Sequence[str]) -> None:
    def deaf(sender: str, envelope: Envelope) -> Sequence[Envelope]:
        return [envelope] if sender == "alice" else []

    for theirs in LISTS:
        with a_meeting(ours, theirs) as middle:
            begin(middle, without_offers, deaf)
            must_be_best_or_wait(middle, X3DH_NAME)
            assert middle.mechanisms("alice", "bob") == []
            must_come_to_the_best(middle)


# --- every edit of an offer ------------------------------------------------------------------------------------------

MORE = Entry("stronger@example.org/1", b"anything")
EDITS: dict[str, Change] = {
    "the first entry deleted": listing(lambda entries: entries[1:]),
    "the last entry deleted": listing(lambda entries: entries[:-1]),
    "all entries deleted": listing(lambda entries: ()),
    "the order turned round": listing(lambda entries: entries[::-1]),
    "an entry twice": listing(lambda entries: (*entries, entries[0])),
    "an entry inserted": listing(lambda entries: (MORE, *entries)),
    "an entry renamed": listing(lambda entries: (evolve(entries[0], name=MORE.name), *entries[1:])),
    "public bytes swapped": listing(lambda entries: (evolve(entries[0], public=entries[-1].public), *entries[1:])),
    "public bytes changed": listing(lambda entries: [evolve(one, public=one.public + b"x") for one in entries]),
    "a later number": lambda signed: with_body(signed, lambda body: evolve(body, seq=body.seq + 1)),
    "a longer life": lambda signed: with_body(signed, lambda body: evolve(body, not_after=body.not_after + 1)),
    "another device": lambda signed: with_body(signed, lambda body: evolve(body, installation=OTHER)),
    "a sibling": lambda signed: with_body(signed, lambda body: evolve(body, siblings=(Sibling(OTHER, 1),))),
    "cut short": lambda signed: signed[:-1],
    "longer": lambda signed: signed + b"\x00",
    "of another format": lambda signed: b"\x02" + signed[1:],
    "empty but for a signature": lambda signed: signed[-64:],
}
OTHER = "11111111-1111-4111-8111-111111111111"


@pytest.mark.parametrize("edit", EDITS.values(), ids=EDITS.keys())
def test_an_edited_offer_refuses_all_that_it_came_with_and_is_not_none(edit: Change) -> None:
    """Not one text leaves under x3dh while only edited offers come, and afterwards all is well."""
    for ours, theirs in WHOLE[::5]:
        with a_meeting(ours, theirs) as middle:
            edited = tuple(map(edit, middle.bob.code().offers))
            begin(middle, with_offers(*edited), editing_offers(middle, edit))
            assert middle.refused
            assert not middle.begun("alice")
            must_be_best_or_wait(middle)
            must_come_to_the_best(middle)


@pytest.mark.parametrize("edit", EDITS.values(), ids=EDITS.keys())
def test_an_edited_offer_in_a_message_changes_nothing_that_is_known(edit: Change) -> None:
    ours, theirs = WHOLE[1]
    with a_meeting(ours, theirs) as middle:
        begin(middle, lambda code: code, editing_offers(middle, edit))
        middle.peers["bob"].send(middle.alice.me.identity, "two")
        before = middle.device("alice", "bob").offer_digest
        middle.settle()
        assert middle.device("alice", "bob").offer_digest == before
        must_be_best_or_wait(middle)
        middle.heal()
        middle.assert_best("alice", "bob")
        assert (middle.heard("bob"), middle.heard("alice")) == (["one"], ["two"])


def test_somebody_elses_offers_are_refused_by_name() -> None:
    for ours, theirs in WHOLE[::5]:
        with a_meeting(ours, theirs, mallory=theirs) as middle:
            foreign = middle.mallory.code().offers
            begin(middle, with_offers(*foreign), replacing_offers(middle, *foreign))
            assert "somebody" in middle.refused.lower() or "identity" in middle.refused.lower()
            must_come_to_the_best(middle)


def test_the_offer_of_another_device_of_the_same_person_is_no_offer_of_this_one() -> None:
    """Alice then knows that device, and waits for this one's offer, or meets it in the session."""
    for ours, theirs in WHOLE[::5]:
        with a_meeting(ours, theirs) as middle:
            laptop = middle.second_device("bob", "laptop", able(X3DH_NAME, policy=SESSIONS_ONLY))
            others = laptop.code().offers
            begin(middle, with_offers(*others), replacing_offers(middle, *others))
            must_be_best_or_wait(middle, X3DH_NAME)
            assert middle.mechanisms("alice", "laptop") in ([], [X3DH_NAME])
            middle.heal()
            middle.assert_best("alice", "bob")
            assert middle.heard("bob") == ["one"]


# --- order, copies, losses -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(8))
def test_any_order_with_copies_and_losses_comes_to_the_best(seed: int) -> None:
    """Bundles, offers, openings, confirmations, answers and hints, each late, twice or lost."""
    random = Random(seed)
    for ours, theirs in WHOLE[seed::12]:
        with a_meeting(ours, theirs) as middle:
            kept: list[tuple[str, Envelope]] = []

            def mixing(sender: str, envelope: Envelope, kept: list[tuple[str, Envelope]] = kept) -> list[Envelope]:
                kept.append((sender, envelope))
                return [each for name, each in random.sample(kept, min(len(kept), 2)) if random.random() < 0.6]

            middle.hook = mixing
            middle.adds("alice", "bob", random.choice((without_offers, lambda code: code)))
            for number in range(3):
                middle.says("alice", "bob", f"text {number}")
                if middle.knows("bob", "alice"):
                    middle.says("bob", "alice", f"answer {number}")
                middle.wait(random.choice((SECOND, HOUR)))
                middle.assert_best("alice", "bob")
            middle.heal()
            middle.wait()
            middle.assert_best("alice", "bob")
            assert sorted(middle.heard("bob")) == [f"text {number}" for number in range(3)]
            assert len(set(middle.heard("alice"))) == len(middle.heard("alice"))


def test_plain_noise_mechanisms_are_chosen_like_any() -> None:
    lists = [*permutations((XK1, XX, X3DH_NAME), 3), (XX,), (XK1, XX), (XX, XK1)]
    for ours in lists:
        for theirs in lists[::2]:
            for change in (without_offers, lambda code: code):
                with a_meeting(ours, theirs) as middle:
                    begin(middle, change, replacing_offers(middle) if change is without_offers else pass_on)
                    must_be_best_or_wait(middle, X3DH_NAME)
                    must_come_to_the_best(middle)
