"""The kit passes what is right and catches what is wrong, each by the rule that is meant for it."""

from __future__ import annotations

import pytest
from kexkit.testing import KeyExchangeKit

from tests.kits import faults_of_form, faults_of_secrecy, faults_on_the_wire  # noqa: F401  # fills FAULTS
from tests.kits.faults import FAULTS
from tests.kits.running import broken_rule, rules_of
from tests.kits.toy_ladder import Ladder, Silent
from tests.kits.toy_ratchet import Ratchet


class TestRatchet(KeyExchangeKit):
    make = Ratchet


class TestLadder(KeyExchangeKit):
    make = Ladder


@pytest.mark.parametrize("fault", FAULTS)
def test_each_fault_is_caught_by_its_rule(fault: str) -> None:
    make, rule = FAULTS[fault]
    assert broken_rule(make, rule), f"{rule} lets a mechanism pass that {fault}"


def test_every_rule_has_a_fault_that_only_a_working_rule_catches() -> None:
    untried = set(rules_of(KeyExchangeKit)) - {rule for _, rule in FAULTS.values()}
    assert untried == set()


class TestSilentLadder(KeyExchangeKit):
    make = staticmethod(lambda: Ladder(Silent))
