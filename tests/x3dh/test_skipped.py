"""How far out of order a session follows, what it keeps for that, and how that goes away again."""

from __future__ import annotations

import random

import pytest
from kexkit.api import NOTHING, Step, Wants
from kexkit.errors import Limit, Replayed, StoreCorrupt
from kexkit.testing.key_exchange_party import Sent
from kexkit.testing.pair import Pair
from kexkit_x3dh import limits, skipped
from kexkit_x3dh.limits import GAP_KEYS, PRODUCTION, Limits

from tests.x3dh.support import met, refusal, seal, session


def owned_rows(pair: Pair) -> int:
    """Rows that Bob's session keeps."""
    own = session(pair.bob, pair.alice).id
    return sum(row.startswith(own) for row in pair.bob.drawer)


def lose(pair: Pair, count: int) -> list[Sent]:
    """Alice seals messages that do not arrive."""
    return [seal(pair.alice, pair.bob, b"lost %d" % number) for number in range(count)]


def follow(pair: Pair, text: bytes = b"arrives") -> None:
    assert pair.bob.receive(seal(pair.alice, pair.bob, text)).texts == [text]


def turn(pair: Pair) -> None:
    """A message of Bob's, so that Alice's next begins a chain."""
    pair.say(pair.bob, b"turn")


def test_the_limits_are_those_of_status_go() -> None:
    assert (PRODUCTION.max_skip, PRODUCTION.max_keep, PRODUCTION.max_stored) == (1000, 3000, 2000)
    assert PRODUCTION.window == 2000


@pytest.mark.parametrize(("missing", "taken"), [(4, True), (5, True), (6, False)])
def test_so_many_messages_of_a_chain_may_be_missing_and_no_more(missing: int, taken: bool) -> None:
    pair = met(Limits(max_skip=5))
    lost = lose(pair, missing)
    sent = seal(pair.alice, pair.bob)
    if not taken:
        assert isinstance(refusal(pair.bob, sent), Limit)
        assert pair.bob.receive(lost[0]).texts  # closer by one
    assert pair.bob.receive(sent).texts


@pytest.mark.parametrize(("missing", "taken"), [(4, True), (5, True), (6, False)])
@pytest.mark.parametrize("part", ["end of the last chain", "start of the new one"])
def test_the_limit_holds_for_both_chains_of_a_turn_separately(part: str, missing: int, taken: bool) -> None:
    pair = met(Limits(max_skip=5))
    before, after = (missing, 5) if part == "end of the last chain" else (5, missing)
    lost = lose(pair, before)
    turn(pair)
    lost += lose(pair, after)
    sent = seal(pair.alice, pair.bob)
    if not taken:
        assert refusal(pair.bob, sent) is not None
        return
    assert pair.bob.receive(sent).texts
    random.Random(0).shuffle(lost)
    for each in lost:
        assert pair.bob.receive(each).texts


def test_the_production_limit_holds() -> None:
    pair = met()
    lost = lose(pair, 1000)
    sent, beyond = seal(pair.alice, pair.bob, b"1000 missing"), seal(pair.alice, pair.bob)
    assert isinstance(refusal(pair.bob, beyond), Limit)
    assert pair.bob.receive(sent).texts
    assert pair.bob.receive(beyond).texts
    assert pair.bob.receive(lost[0]).texts
    assert pair.bob.receive(lost[999]).texts


@pytest.mark.parametrize(
    "bounds", [Limits(max_stored=10, max_keep=3000), Limits(max_stored=2000, max_keep=11), Limits(max_stored=10)]
)
@pytest.mark.parametrize(("since", "taken"), [(8, True), (9, True), (10, False)])
def test_a_key_is_gone_once_a_window_of_newer_ones_was_made_used_or_not(
    bounds: Limits, since: int, taken: bool
) -> None:
    pair = met(bounds)
    (lost,) = lose(pair, 1)
    for number in range(since):
        follow(pair, b"%d" % number)
    assert owned_rows(pair) == (2 if taken else 0)
    if taken:
        assert pair.bob.receive(lost).texts
    else:
        assert isinstance(refusal(pair.bob, lost), Replayed)


def test_a_gap_wider_than_the_window_keeps_its_newest_keys_alone() -> None:
    pair = met(Limits(max_stored=10, max_skip=100))
    lost = lose(pair, 30)
    follow(pair)
    assert owned_rows(pair) <= 10 + 1
    opened = [refusal(pair.bob.copy(), each) is None for each in lost]
    assert opened == [False] * 21 + [True] * 9


def test_keys_of_both_chains_of_a_turn_leave_the_window_in_order_of_making() -> None:
    pair = met(Limits(max_stored=10))
    before = lose(pair, 3)
    turn(pair)
    after = lose(pair, 3)
    for number in range(5):
        follow(pair, b"%d" % number)
    still = [refusal(pair.bob.copy(), sent) is None for sent in (*before, *after)]
    assert still == [False, True, True, True, True, True]


def test_used_keys_are_gone_and_so_are_their_rows() -> None:
    pair = met()
    lost = lose(pair, 5)
    follow(pair)
    assert owned_rows(pair) == 5 + 1
    for left, each in zip((5, 4, 3, 2, 0), lost, strict=True):
        assert pair.bob.receive(each).texts
        assert owned_rows(pair) == left
        assert isinstance(refusal(pair.bob, each), Replayed)


def test_keys_that_nobody_used_go_when_the_window_has_passed() -> None:
    pair = met(Limits(max_stored=20))
    lose(pair, 3)
    follow(pair)
    assert owned_rows(pair) == 3 + 1
    for number in range(25):
        follow(pair, b"%d" % number)
    assert owned_rows(pair) == 0


@pytest.mark.parametrize("seed", range(3))
def test_a_peer_that_leaves_holes_everywhere_fills_no_store(seed: int) -> None:
    dice, window = random.Random(seed), 50
    pair = met(Limits(max_stored=window, max_skip=40))
    for number in range(150):
        lose(pair, dice.choice((0, 1, 2, 10, 40)))
        if dice.random() < 0.3:
            turn(pair)
            lose(pair, dice.choice((0, 1, 40)))
        follow(pair, b"%d" % number)
        keys = [row for row in pair.bob.drawer if row.startswith(session(pair.bob, pair.alice).id + b"k")]
        records = owned_rows(pair) - len(keys)
        assert len(keys) <= window + GAP_KEYS
        assert records <= window
    for number in range(2 * window):
        follow(pair, b"quiet %d" % number)
    assert owned_rows(pair) == 0


def test_the_production_window_bounds_the_rows() -> None:
    pair = met()
    most = 0
    for number in range(6):
        lose(pair, 500)
        turn(pair)
        lose(pair, 500)
        follow(pair, b"%d" % number)
        most = max(most, owned_rows(pair))
    assert most <= 2000 + GAP_KEYS + 2000 // GAP_KEYS + 2 * 6


def test_kept_keys_expire_by_the_clock_too() -> None:
    pair = met()
    (lost,) = lose(pair, 1)
    follow(pair)
    pair.clock.now += limits.SKIPPED_MS - 1
    pair.bob.expire_rows()
    assert refusal(pair.bob.copy(), lost) is None
    pair.clock.now += 1
    pair.bob.expire_rows()
    assert isinstance(refusal(pair.bob, lost), Replayed)


def test_in_order_nothing_is_asked_for_and_nothing_kept() -> None:
    pair = met()
    for number in range(5):
        sent = seal(pair.alice, pair.bob, b"%d" % number)
        step = session(pair.bob, pair.alice).receive(sent.frame, NOTHING, ctx=pair.bob.context)
        assert isinstance(step, Step)
        assert (dict(step.keep), step.drop) == ({}, ())
        pair.bob.receive(sent)
        turn(pair)


def test_out_of_order_one_row_is_asked_for() -> None:
    pair = met()
    (lost,) = lose(pair, 1)
    follow(pair)
    wanted = session(pair.bob, pair.alice).receive(lost.frame, NOTHING, ctx=pair.bob.context)
    assert isinstance(wanted, Wants)
    assert len(wanted.rows) == 1
    assert wanted.rows < set(pair.bob.drawer)


def test_a_lost_record_hinders_no_message() -> None:
    """The store lost rows that nothing told it to: the keys they stood for go by the clock."""
    pair = met(Limits(max_stored=20))
    for number in range(5):
        lose(pair, 2)
        follow(pair, b"%d" % number)
    own = session(pair.bob, pair.alice).id
    for row in [row for row in pair.bob.drawer if row.startswith(own + b"g")][:4]:
        del pair.bob.drawer[row]
    for number in range(60):
        follow(pair, b"again %d" % number)
    assert not session(pair.bob, pair.alice).receiving.gaps


@pytest.mark.parametrize("damage", [b"", b"\x00", b"\x02" + bytes(40), bytes(42)])
def test_a_damaged_key_is_the_stores_fault(damage: bytes) -> None:
    with pytest.raises(StoreCorrupt):
        skipped.read_key(damage)
