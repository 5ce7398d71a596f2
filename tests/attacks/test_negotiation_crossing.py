"""Both begin, whenever they like, with whatever they were shown of each other, old or new or nothing; what they say
arrives in any order, again, late. Only the best ever opens, and every text comes once.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from itertools import chain, permutations
from random import Random

import pytest
from kexkit.api import Envelope, Guarantee
from kexkit.contact import ContactCode
from kexkit.policy import Downgrade, Policy

from tests.attacks.man_in_the_middle import (
    HEALING,
    HOUR,
    PSK_NAME,
    SECOND,
    X3DH_NAME,
    Middle,
    a_middle,
    able,
    pass_on,
    without_offers,
)

LISTS = tuple(chain.from_iterable(permutations((X3DH_NAME, HEALING, PSK_NAME), size) for size in (1, 2, 3)))
SESSIONS_ONLY = Policy(require=Guarantee.SECRET | Guarantee.TO_PEER, downgrade=Downgrade.ACCEPT)
OTHER = {"alice": "bob", "bob": "alice"}
STEPS = 40
TEXTS = 4
EACH_SEEDS = 400 if os.environ.get("KEXKIT_MODEL_ALL") else 12


class Crossing:
    """Two devices that had other plugins once, and a network that does as chance says."""

    def __init__(self, middle: Middle, random: Random, lists: dict[str, tuple[str, ...]]) -> None:
        self.middle, self.random = middle, random
        self.said: dict[str, list[str]] = {who: [] for who in OTHER}
        self.kept: list[tuple[str, Envelope]] = []
        self.old = {who: middle.peers[who].code() for who in OTHER}
        for who, names in lists.items():
            middle.becomes(who, able(*names, policy=SESSIONS_ONLY))
        middle.hook = self._keep

    def _keep(self, sender: str, envelope: Envelope) -> Sequence[Envelope]:
        self.kept.append((sender, envelope))
        return []

    def step(self) -> None:
        act, who = self.random.randrange(6), self.random.choice(list(OTHER))
        if act == 0:
            self.middle.peers[who].add(self._code_of(OTHER[who]))
        elif act == 1 and len(self.said[who]) < TEXTS and self.middle.knows(who, OTHER[who]):
            self.say(who, f"{who} {len(self.said[who])}")
        elif act == 2:
            self.middle.clock.now += self.random.choice((SECOND, 61 * SECOND))
        elif self.kept:
            sender, envelope = self.random.choice(self.kept)
            self.middle.deliver(envelope, sender=sender)
        self.middle.settle()
        self.middle.assert_best("alice", "bob")

    def say(self, who: str, text: str) -> None:
        self.said[who].append(text)
        self.middle.says(who, OTHER[who], text)

    def _code_of(self, whom: str) -> ContactCode:
        code = self.random.choice((self.middle.peers[whom].code(), self.old[whom]))
        return self.random.choice((code, without_offers(code)))

    def end(self) -> None:
        """The network does what it should, and all that it kept comes."""
        self.middle.hook = pass_on
        self.middle.log[:] = self.kept
        for who, whom in OTHER.items():
            self.middle.adds(who, whom)
        self.middle.heal()
        for who in OTHER:
            self.say(who, f"the last of {who}")
        self.middle.wait(SECOND, HOUR)


@pytest.mark.parametrize("part", range(6))
def test_whoever_begins_and_whatever_they_were_shown_only_the_best_opens_and_each_text_comes_once(part: int) -> None:
    for seed in range(part * EACH_SEEDS, (part + 1) * EACH_SEEDS):
        random = Random(seed)
        before, lists = ({who: random.choice(LISTS) for who in OTHER} for _ in range(2))
        if not set(lists["alice"]) & set(lists["bob"]):
            continue
        with a_middle(**{who: able(*names, policy=SESSIONS_ONLY) for who, names in before.items()}) as middle:
            crossing = Crossing(middle, random, lists)
            for _ in range(STEPS):
                crossing.step()
            crossing.end()
            for who, whom in OTHER.items():
                assert sorted(middle.heard(whom)) == sorted(crossing.said[who]), (seed, lists)
            middle.assert_best("alice", "bob")
            assert middle.mechanisms("alice", "bob"), "in the end they have a session"


def test_a_refusal_that_is_lost_strands_no_text_once_the_offer_is_known() -> None:
    """Bob refused x3dh, and his answer never comes; his offer does, by another way. Alice writes nothing more."""
    both = able(HEALING, X3DH_NAME, policy=SESSIONS_ONLY)
    with a_middle(alice=both, bob=both) as middle:

        def publications_only(sender: str, envelope: Envelope) -> Sequence[Envelope]:
            message = middle.inside(envelope)
            answers = sender == "bob" and (message is None or bool(message.slots or message.frames))
            return [] if answers else [envelope]

        middle.hook = publications_only
        middle.adds("alice", "bob", without_offers)
        middle.says("alice", "bob", "one")
        assert middle.heard("bob") == []
        middle.hook = pass_on
        middle.adds("alice", "bob")
        middle.wait(SECOND, HOUR)
        assert middle.heard("bob") == ["one"]
        assert not middle.bob.table("withheld")


@pytest.mark.parametrize("name", [HEALING, PSK_NAME])
def test_what_was_accepted_before_the_offer_changed_is_heard_however_late_the_answer_comes(name: str) -> None:
    """Bob accepts, then lists one more; Alice sees the new list first, and his text in the old session after it."""
    with a_middle(alice=able(name, policy=SESSIONS_ONLY), bob=able(name, policy=SESSIONS_ONLY)) as middle:
        kept: list[Envelope] = []

        def hold(sender: str, envelope: Envelope) -> Sequence[Envelope]:
            if sender == "alice" or not middle.mechanisms("bob", "alice"):
                return [envelope]
            kept.append(envelope)
            return []

        middle.hook = hold
        middle.adds("alice", "bob")
        middle.says("alice", "bob", "one")
        middle.becomes("bob", able(name, X3DH_NAME, policy=SESSIONS_ONLY))
        middle.adds("alice", "bob")
        middle.bob.send(middle.alice.me.identity, "two")
        middle.settle()
        assert kept
        middle.hook = pass_on
        for envelope in kept:
            middle.deliver(envelope, sender="bob")
        middle.settle()
        assert (middle.heard("bob"), middle.heard("alice")) == (["one"], ["two"])
        assert "ConfirmationConflict" not in middle.causes("alice")
