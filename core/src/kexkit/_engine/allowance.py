"""How much unproven callers may cost us: a bucket for each, that fills again with time. Kept in memory only: what it
counts changed nothing."""

from __future__ import annotations

from collections import OrderedDict

from kexkit.limits import ALLOWANCES, OFFER_CHECK_MS, OFFER_CHECKS

ANYBODY = b"hints to openings that name nobody"
"""Who sends them is not known, so they share one bucket; what it does not cover, an advertisement does."""
HINTED = b"hints to "
"""before an identity. What others publish in its name is counted apart, or they could use up its hints."""


class Allowance:
    """At most OFFER_CHECKS at once, one more each OFFER_CHECK_MS."""

    __slots__ = ("_spent",)

    def __init__(self) -> None:
        self._spent: OrderedDict[bytes, tuple[int, int]] = OrderedDict()

    def take(self, whose: bytes, now: int) -> bool:
        """False: not now. `now` in milliseconds; a clock that goes back gives nothing."""
        spent, since = self._spent.pop(whose, (0, now))
        regained = max(now - since, 0) // OFFER_CHECK_MS
        spent = max(spent - regained, 0)
        since = since + regained * OFFER_CHECK_MS if spent else now
        granted = spent < OFFER_CHECKS
        self._spent[whose] = (spent + granted, since)
        while len(self._spent) > ALLOWANCES:
            self._spent.popitem(last=False)
        return granted
