"""How much callers whom nobody has proven may cost us, at one less, at the bound, at one more."""

from __future__ import annotations

import pytest
from kexkit._engine.allowance import Allowance
from kexkit.limits import (
    ALLOWANCES,
    OFFER_CHECK_MS,
    OFFER_CHECKS,
)

AROUND = pytest.mark.parametrize("beyond", [-1, 0, 1])
NOW = 1_800_000_000_000


@AROUND
def test_so_many_checks_may_be_caused_at_once(beyond: int) -> None:
    allowance = Allowance()
    granted = [allowance.take(b"who", NOW) for _ in range(OFFER_CHECKS + beyond)]
    assert granted == [True] * min(OFFER_CHECKS, OFFER_CHECKS + beyond) + [False] * max(beyond, 0)


@AROUND
def test_one_more_may_be_caused_after_so_long(beyond: int) -> None:
    allowance = Allowance()
    for _ in range(OFFER_CHECKS):
        assert allowance.take(b"who", NOW)
    assert allowance.take(b"who", NOW + OFFER_CHECK_MS + beyond) == (beyond >= 0)
    assert not allowance.take(b"who", NOW + OFFER_CHECK_MS + beyond)


def test_what_is_regained_is_neither_lost_nor_doubled_by_asking_meanwhile() -> None:
    """Over a long time it is one for each interval, however often somebody asks."""
    allowance = Allowance()
    for _ in range(OFFER_CHECKS):
        allowance.take(b"who", NOW)
    step = OFFER_CHECK_MS // 7
    granted = sum(allowance.take(b"who", NOW + number * step) for number in range(1, 7 * 20 + 1))
    assert granted == (7 * 20 * step) // OFFER_CHECK_MS


def test_a_clock_that_goes_back_regains_nothing() -> None:
    allowance = Allowance()
    for _ in range(OFFER_CHECKS):
        allowance.take(b"who", NOW)
    assert not any(allowance.take(b"who", NOW - number * OFFER_CHECK_MS) for number in range(100))


@AROUND
def test_so_many_callers_are_remembered(beyond: int) -> None:
    allowance = Allowance()
    for _ in range(OFFER_CHECKS):
        allowance.take(b"who", NOW)
    for number in range(ALLOWANCES - 1 + beyond):
        allowance.take(number.to_bytes(4, "big"), NOW)
    assert allowance.take(b"who", NOW) == (beyond > 0)


def test_one_callers_spending_costs_no_other() -> None:
    allowance = Allowance()
    for _ in range(OFFER_CHECKS + 1):
        allowance.take(b"who", NOW)
    assert allowance.take(b"another", NOW)
