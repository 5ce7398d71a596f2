"""The same world, driven by Hypothesis: when a rule breaks, it finds the shortest run that breaks it."""

from __future__ import annotations

import os
from contextlib import ExitStack
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule
from kexkit.testing import Faults

from tests.world.mechanisms import BOTH, PSK, X3DH_ALONE
from tests.world.world import DAY, HOUR, SECOND, World, a_world

PEOPLE = ("alice", "bob", "carol")
who = st.sampled_from(PEOPLE)
when = st.sampled_from(["before", "after"])
EXAMPLES = int(os.environ.get("KEXKIT_WALKS", "8")) * 2


class Chat(RuleBasedStateMachine):
    """Three people, a network that obeys the test, and every crash there is."""

    world: World

    def __init__(self) -> None:
        super().__init__()
        self._stack = ExitStack()
        self._calm_at = 0

    @initialize(mechanism=st.sampled_from([PSK, X3DH_ALONE, BOTH]), seed=st.integers(0, 2**16))
    def begin(self, mechanism: Any, seed: int) -> None:
        self.world = self._stack.enter_context(a_world(seed, mechanism, names=PEOPLE))
        self._calm_at = self.world.clock.now

    def teardown(self) -> None:
        with self._stack:
            if hasattr(self, "world"):
                for name in PEOPLE:
                    self.world.peers[name].rows._faults.clear()
                self.world.quiesce()
                self.world.introduce()
                self.world.quiesce()
                self.world.must_agree()
                self.world.must_converge()

    # --- people ---

    @rule(a=who, b=who)
    def add(self, a: str, b: str) -> None:
        if a != b:
            self.world.introduce((a, b))

    @rule(a=who, b=who, together=st.integers(1, 4))
    def send(self, a: str, b: str, together: int) -> None:
        if a != b and self.world.peers[b].me.identity in self.world.peers[a].table("peer"):
            self.world.send_together(a, b, together)

    @rule(a=who, b=who, when=when)
    def send_and_die(self, a: str, b: str, when: str) -> None:
        if a != b and self.world.peers[b].me.identity in self.world.peers[a].table("peer"):
            self.world.send_and_die(a, b, when)

    @rule(a=who)
    def ack(self, a: str) -> None:
        self.world.ack(a)

    # --- the network ---

    @rule(a=who)
    def transmit(self, a: str) -> None:
        self.world.transmit(a)

    @rule(a=who, count=st.integers(1, 5))
    def pull(self, a: str, count: int) -> None:
        self.world.network.advance(1)
        for _ in range(count):
            self.world.pull(a)

    @rule(a=who, loss=st.sampled_from([0.0, 0.5, 1.0]), reordering=st.sampled_from([0.0, 0.7]))
    def link(self, a: str, loss: float, reordering: float) -> None:
        faults = Faults(loss=loss, reordering=reordering, duplication=0.3, delay=0.3, tampering=0.1)
        self.world.network.set_faults(faults, receiver=a)

    @rule(a=who)
    def part(self, a: str) -> None:
        self.world.network.partition(a)

    @rule()
    def repair(self) -> None:
        self.world.network.repair()

    @rule(data=st.data(), later=st.sampled_from([0, 1, 10**9, -(10**9)]))
    def replay(self, data: st.DataObject, later: int) -> None:
        logged = self.world.network.logged()
        if logged:
            self.world.replay(data.draw(st.sampled_from(logged)), later=later)

    # --- the machine ---

    @rule(a=who)
    def confirm(self, a: str) -> None:
        self.world.note_had(a)

    @rule(a=who)
    def move_cursors(self, a: str) -> None:
        self.world.move_cursors(a)

    @rule(a=who)
    def tick(self, a: str) -> None:
        self.world.tick(a)

    @rule(a=who)
    def crash(self, a: str) -> None:
        self.world.crash(a)

    @rule(a=who, when=when)
    def pull_and_die(self, a: str, when: str) -> None:
        self.world.network.advance(1)
        self.world.crash_during(a, when, self.world.peers[a].pull)

    @rule(a=who, after=st.booleans())
    def have_trouble(self, a: str, after: bool) -> None:
        self.world.trouble_at_next_commit(a, after=after)

    # --- time ---

    @precondition(lambda self: self.world.clock.now < self._calm_at + 4 * DAY)
    @rule(pause=st.sampled_from([SECOND, HOUR, 7 * HOUR, DAY + HOUR]))
    def pass_time(self, pause: int) -> None:
        self.world.clock.now += pause

    @rule(days=st.sampled_from([2, 9, 16, 40]))
    def be_away_for_days(self, days: int) -> None:
        self.world.quiesce(0)
        self.world.clock.now += days * DAY
        self.world.settle()
        self._calm_at = self.world.clock.now

    @rule(a=who, skew=st.integers(-50 * SECOND, 50 * SECOND))
    def set_clock(self, a: str, skew: int) -> None:
        self.world.peers[a].skew = skew


TestChat = Chat.TestCase
TestChat.settings = settings(
    max_examples=EXAMPLES,
    stateful_step_count=40,
    derandomize=True,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
)
