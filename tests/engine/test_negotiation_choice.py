"""The decisions alone: which name, which ruling, what is less than before."""

from __future__ import annotations

from itertools import permutations, product

import pytest
from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st
from kexkit._negotiation import FLOOR, Claim, Stand, choose, judge, raised, weaker
from kexkit._wire.confirms import Ruling
from kexkit.api import Guarantee

Names = tuple[str, ...]


def ordered_lists(names: str) -> list[Names]:
    return [chosen for size in range(len(names) + 1) for chosen in permutations(names, size)]


PAIRS = [*product(ordered_lists("abc"), repeat=2), *product(ordered_lists("abcd"), repeat=2)]
LISTS = st.lists(st.sampled_from([f"{letter}{number}/1" for letter in "abcde" for number in "123"]), unique=True).map(
    tuple
)
FOREIGN = st.lists(st.sampled_from(["x/1", "y/1", "z/1"]), unique=True).map(tuple)
GUARANTEES = st.lists(st.sampled_from(list(Guarantee))).map(
    lambda found: Guarantee(sum(one.value for one in set(found)))
)
BOUNDED = settings(derandomize=True, max_examples=200)


def common(ours: Names, theirs: Names) -> list[str]:
    return [name for name in ours if name in theirs]


def test_every_pair_of_lists_over_three_and_over_four_names_is_tried() -> None:
    assert len(PAIRS) == 16**2 + 65**2


def test_both_ends_compute_the_same_choice() -> None:
    assert all(choose(ours, theirs) == choose(theirs, ours) for ours, theirs in PAIRS)


def test_there_is_a_choice_exactly_if_there_is_a_common_name_and_it_is_one() -> None:
    for ours, theirs in PAIRS:
        choice = choose(ours, theirs)
        assert (choice is None) == (not common(ours, theirs))
        assert choice is None or choice in common(ours, theirs)


def test_nothing_else_would_be_better_for_one_end_and_no_worse_for_the_other() -> None:
    for ours, theirs in PAIRS:
        choice = choose(ours, theirs)
        for other in common(ours, theirs):
            assert choice is not None
            assert ours.index(other) >= ours.index(choice) or theirs.index(other) > theirs.index(choice)


def test_neither_end_gets_less_than_it_must() -> None:
    """Whoever fares worse of the two fares as well as with any other common name."""
    for ours, theirs in PAIRS:
        mine, others = common(ours, theirs), common(theirs, ours)
        choice = choose(ours, theirs)
        if choice is not None:
            worst = {name: max(mine.index(name), others.index(name)) for name in mine}
            assert worst[choice] == min(worst.values())


@pytest.mark.parametrize(
    ("ours", "theirs", "choice"),
    [
        ("ab", "ba", "a"),  # equal ranks: the bytes decide
        ("ba", "ab", "a"),
        ("abc", "bca", "b"),  # ranks (0,2), (1,0), (2,1): the worse of b's is least
        ("abcd", "dabc", "a"),
        ("abcd", "bdca", "b"),
        ("abc", "cb", "b"),  # among common names b is (0,1) and c (1,0)
        ("xaybc", "bcyxa", "y"),  # the worse rank counts before the sum: y is (2,2), x is (0,3)
        ("zaqbc", "bqzac", "z"),  # the sum counts before the bytes: z is (0,2), q is (2,1)
        ("a", "b", None),
        ("", "a", None),
        ("", "", None),
    ],
)
def test_examples_of_the_rule(ours: str, theirs: str, choice: str | None) -> None:
    assert choose(tuple(ours), tuple(theirs)) == choice


def test_ties_are_broken_by_bytes_and_not_by_a_version_number() -> None:
    assert choose(("x/10", "x/9"), ("x/9", "x/10")) == "x/10"


@given(LISTS, LISTS, FOREIGN, FOREIGN, st.randoms(use_true_random=False))
@BOUNDED
def test_names_that_only_one_end_knows_move_nothing(ours: Names, theirs: Names, mine: Names, hers: Names, rnd) -> None:  # type: ignore[no-untyped-def]  # hypothesis names no type for it
    hers = tuple(f"h{name}" for name in hers)

    def mixed(names: Names, foreign: Names) -> Names:
        found = list(names)
        for name in foreign:
            found.insert(rnd.randint(0, len(found)), name)
        return tuple(found)

    assert choose(mixed(ours, mine), mixed(theirs, hers)) == choose(ours, theirs)


@given(LISTS, LISTS)
@BOUNDED
def test_the_choice_is_symmetric_total_and_best_for_both_whatever_the_names(ours: Names, theirs: Names) -> None:
    choice = choose(ours, theirs)
    assert choice == choose(theirs, ours)
    shared = common(ours, theirs)
    assert (choice is None) == (not shared)
    for other in shared:
        assert choice is not None
        assert not (
            ours.index(other) <= ours.index(choice) and theirs.index(other) <= theirs.index(choice) and other != choice
        )


# --- the responder's ruling ------------------------------------------------------------------------------------------

CURRENT, OLDER, FOREIGN_DIGEST, NO_OFFER = (bytes((number,)) * 32 for number in range(4))
STAND = Stand("a/1", ("a/1", "b/1"), CURRENT, frozenset({CURRENT, OLDER, NO_OFFER}), permitted=True)
CLAIM = Claim("a/1", ("a/1", "b/1"), CURRENT)


@pytest.mark.parametrize(
    ("claim", "stand", "ruling"),
    [
        (CLAIM, STAND, Ruling.ACCEPTED),
        (evolve(CLAIM, answers=OLDER), STAND, Ruling.ACCEPTED),  # a stale view with the same result
        (evolve(CLAIM, answers=NO_OFFER), STAND, Ruling.ACCEPTED),
        (evolve(CLAIM, answers=FOREIGN_DIGEST), STAND, Ruling.STALE),
        (evolve(CLAIM, name="b/1"), STAND, Ruling.NOT_BEST),  # says another than the session is
        (evolve(CLAIM, name="b/1"), evolve(STAND, mechanism="b/1"), Ruling.NOT_BEST),
        (evolve(CLAIM, name="b/1", answers=OLDER), evolve(STAND, mechanism="b/1"), Ruling.STALE),
        (evolve(CLAIM, effective=("b/1",), name="b/1"), evolve(STAND, mechanism="b/1"), Ruling.ACCEPTED),
        (evolve(CLAIM, effective=()), STAND, Ruling.NOT_BEST),
        (CLAIM, evolve(STAND, current=("c/1",)), Ruling.NOT_BEST),
        (CLAIM, evolve(STAND, permitted=False), Ruling.POLICY),
        (evolve(CLAIM, answers=FOREIGN_DIGEST), evolve(STAND, permitted=False), Ruling.STALE),
    ],
)
def test_the_responder_rules_from_what_it_offers_now(claim: Claim, stand: Stand, ruling: Ruling) -> None:
    assert judge(claim, stand) is ruling


def test_what_is_accepted_is_the_choice_of_both_lists_and_of_the_session() -> None:
    for ours, theirs in PAIRS:
        for session, name in product("abcd", repeat=2):
            stand = Stand(session, theirs, CURRENT, frozenset({CURRENT}), permitted=True)
            accepted = judge(Claim(name, ours, CURRENT), stand) is Ruling.ACCEPTED
            assert accepted == (choose(ours, theirs) == session == name)


# --- what was had before ---------------------------------------------------------------------------------------------


@given(GUARANTEES, GUARANTEES)
@BOUNDED
def test_what_is_pinned_never_falls(floor: Guarantee, reached: Guarantee) -> None:
    after = raised(floor, reached)
    assert not weaker(after, floor)
    assert after in (floor, reached & FLOOR)


@given(GUARANTEES, GUARANTEES)
@BOUNDED
def test_less_is_what_lacks_one_of_the_lasting_guarantees(given_now: Guarantee, floor: Guarantee) -> None:
    lacking = [one for one in FLOOR if one in floor and one not in given_now]
    assert weaker(given_now, floor) == bool(lacking)


@given(GUARANTEES)
@BOUNDED
def test_nothing_is_weaker_than_nothing_and_nothing_is_weaker_than_itself(one: Guarantee) -> None:
    assert not weaker(one, Guarantee.NONE)
    assert not weaker(one, one)


def test_conveniences_are_no_floor() -> None:
    convenient = Guarantee.OUT_OF_ORDER | Guarantee.OFFLINE_START | Guarantee.BINDS | Guarantee.REPLAY_SAFE
    assert raised(Guarantee.NONE, convenient | Guarantee.SECRET) == Guarantee.SECRET
    assert not weaker(Guarantee.SECRET, convenient | Guarantee.SECRET)


def test_what_gives_all_that_and_more_raises_the_floor() -> None:
    had, now = Guarantee.SECRET, Guarantee.SECRET | Guarantee.FORWARD_SECRECY
    assert raised(had, now | Guarantee.OUT_OF_ORDER) == now
    assert weaker(had, raised(had, now))


def test_two_that_cannot_be_compared_leave_the_floor_where_it_was() -> None:
    """Otherwise neither could be used again once both had been."""
    first = Guarantee.SECRET | Guarantee.FORWARD_SECRECY
    second = Guarantee.SECRET | Guarantee.POST_COMPROMISE
    assert raised(first, second) == first
    assert raised(second, first) == second
