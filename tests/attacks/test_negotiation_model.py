"""The choice of a key exchange, explored exhaustively: nothing but the best is ever open, and each defect is seen.

KEXKIT_MODEL_ALL=1 explores all 6,241 configurations; otherwise all 256 pairs of lists, and a seventeenth of the rest.
"""

from __future__ import annotations

import os
from collections import Counter
from itertools import pairwise

import pytest
from kexkit._negotiation import choose
from kexkit._transitions import TABLE, Cause, State
from kexkit._wire.confirms import Ruling

from tests.attacks import negotiation_model
from tests.attacks.negotiation_exploring import Found, explore, explore_all
from tests.attacks.negotiation_model import ROUNDS, Case, Rules
from tests.attacks.negotiation_sides import ALL, BINDING, A, B, Side, X, ordered_subsets, sides

EVERYTHING = bool(os.environ.get("KEXKIT_MODEL_ALL"))
PLAIN = tuple(side for side in sides() if not side.forbids)
PAIRS = tuple((initiator, responder) for initiator in PLAIN for responder in PLAIN)
GUARDED = tuple((i, r) for i in sides() for r in sides() if i.forbids or r.forbids)
OPENED = {"the initiator opened another than the best", "the responder opened another than the best"}


def violations(rules: Rules) -> Counter[str]:
    """In how many pairs of lists each rule is broken."""
    count: Counter[str] = Counter()
    for initiator, responder in PAIRS:
        found = explore_all(initiator, responder, rules)
        broken = {wrong for _, one in found for wrong in one.violations}
        count.update(broken)
        count["opened"] += bool(broken & OPENED)
    return count


def offline_residue(found: list[tuple[Case, Found]], name: str) -> bool:
    """A text can leave under this mechanism though another is to be chosen."""
    return any(one == name != case.rightly_chosen for case, each in found for one, _ in each.texts)


def test_there_are_79_kinds_of_ends_and_6241_configurations() -> None:
    assert (len(sides()), len(sides()) ** 2, len(PAIRS)) == (79, 6241, 256)
    assert len(PAIRS) + len(GUARDED) == 6241


def test_no_session_but_the_best_is_ever_open_and_the_best_stays_in_reach() -> None:
    """Both ends of an open session hold the same record, too."""
    pairs = [*PAIRS, *(GUARDED if EVERYTHING else GUARDED[::17])]
    states, residue = 0, Counter[str]()
    for initiator, responder in pairs:
        found = explore_all(initiator, responder)
        for case, one in found:
            assert not one.violations, (case, one.violations)
            assert one.rounds <= ROUNDS
        states += sum(one.states for _, one in found)
        residue.update(name for name in ALL if offline_residue(found, name))
    print(f"{len(pairs)} configurations, {states} states, not best and yet left first: {dict(residue)}")
    assert states > 100_000
    assert residue[A] == 0, "what binds and waits for an answer never carries a text on a stale choice"


def test_the_best_is_the_same_from_both_ends_and_of_every_pair_of_lists() -> None:
    for ours in ordered_subsets():
        for theirs in ordered_subsets():
            assert choose(ours, theirs) == choose(theirs, ours)


# --- each defect is seen ---------------------------------------------------------------------------------------------


def test_without_confirmations_a_worse_one_opens() -> None:
    assert violations(Rules(confirms=False))["opened"] == 68


def test_without_confirmations_and_binding_a_worse_one_opens_over_more_mechanisms() -> None:
    assert violations(Rules(confirms=False, prologue=False))["opened"] == 120


def test_confirmations_outside_the_ciphertext_are_taken_off() -> None:
    assert violations(Rules(inside=False))["the responder opened another than the best"] == 68


def test_without_choosing_again_from_the_present_list_a_stale_choice_opens() -> None:
    assert violations(Rules(recomputes=False))["opened"] == 120


def test_unsigned_offers_without_confirmations_open_whatever_the_network_likes() -> None:
    opened = 0
    for initiator, responder in PAIRS:
        found = explore(Case(initiator, responder, None, Rules(signed=False, confirms=False)))
        opened += bool(OPENED & set(found.violations))
    assert opened == 68


# --- defects that choosing again masks: each has an oracle of its own ------------------------------------------------


@pytest.mark.parametrize("rules", [Rules(signed=False), Rules(bad_is_bare=True), Rules(falls_back=True)], ids=str)
def test_what_choosing_again_masks_opens_no_worse_one(rules: Rules) -> None:
    """Which is why the tests below exist."""
    for initiator, responder in PAIRS:
        found = explore(Case(initiator, responder, None, rules, breaks=2 * rules.falls_back))
        assert not OPENED & set(found.violations)


def leaked(rules: Rules) -> int:
    """Pairs in which a text leaves under public bytes that are not the responder's."""
    found = (explore(Case(i, r, None, rules)) for i, r in PAIRS)
    return sum(any(name in BINDING and not genuine for name, genuine in one.texts) for one in found)


def test_a_substituted_static_is_seen_by_the_texts_that_reach_its_owner() -> None:
    assert leaked(Rules()) == 0
    assert leaked(Rules(signed=False)) > 100


def test_a_missing_pin_is_seen_by_the_rounds_until_all_is_settled() -> None:
    both, stale = Side((A, X)), (B, X)
    loose = explore(Case(Side((A, B, X)), both, stale, Rules(pins=False)))
    assert loose.rounds > ROUNDS
    assert not OPENED & set(loose.violations)
    assert explore(Case(Side((A, B, X)), both, stale)).rounds <= ROUNDS


def shown_texts(rules: Rules) -> int:
    """Pairs in which a text leaves under what is not the best though an offer, a bad or a good one, always came."""
    kexkit = [(i, r) for i, r in PAIRS if i.names is not None and r.names is not None]
    cases = [Case(i, r, None, rules, shows_something=True) for i, r in kexkit]
    return sum(any(name != case.best for name, _ in explore(case).texts) for case in cases)


def test_a_bad_offer_that_counts_as_none_is_seen_by_the_texts_of_the_first_flight() -> None:
    assert shown_texts(Rules()) == 0
    assert shown_texts(Rules(bad_is_bare=True)) > 50


def changes_of_mind(rules: Rules) -> int:
    """Pairs in which two beginnings with one view are of different mechanisms."""
    changed = 0
    for initiator, responder in PAIRS:
        logs = explore(Case(initiator, responder, None, rules, breaks=2)).logs
        changed += any(
            view == later and name != other for log in logs for (view, name), (later, other) in pairwise(log)
        )
    return changed


def test_a_fallback_after_failures_is_seen_in_the_log_of_attempts() -> None:
    assert changes_of_mind(Rules()) == 0
    assert changes_of_mind(Rules(falls_back=True)) > 20


def test_a_fallback_that_is_kept_from_the_responder_is_seen_by_nobody_else() -> None:
    """It looks like a policy: so the rule has to be kept, and tested, where sessions begin."""
    hidden = 0
    for initiator, responder in PAIRS:
        found = explore(Case(initiator, responder, None, Rules(falls_back=True, hides=True), breaks=2))
        hidden += bool(OPENED & set(found.violations))
    assert hidden > 20


# --- the model itself ------------------------------------------------------------------------------------------------


def wrong_pairs() -> int:
    return sum(bool(explore(Case(i, r, None)).violations) for i, r in PAIRS)


def test_the_model_asks_the_real_table(monkeypatch: pytest.MonkeyPatch) -> None:
    assert wrong_pairs() == 0
    monkeypatch.setitem(TABLE[State.PROVISIONAL], Cause.REFUSED, State.OPEN)
    assert wrong_pairs() > 20


def test_the_model_asks_the_real_judge(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(negotiation_model, "judge", lambda claim, stand: Ruling.ACCEPTED)
    assert wrong_pairs() > 20
