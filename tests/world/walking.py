"""A random walk through a world: what one seed does."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from attrs import define, field
from kexkit.testing import Faults

from tests.world.peer import FIRST_NOW
from tests.world.world import DAY, HOUR, SECOND, World

LONGEST_APART = 6 * DAY
TROUBLE = Faults(loss=0.2, duplication=0.2, reordering=0.3, delay=0.2, delay_rounds=6, tampering=0.05)


@define
class Walk:
    """Chooses and takes steps. `skews`: the peers' clocks disagree, by less than what anybody refuses."""

    world: World
    random: Random = field()
    skews: bool = True
    calm_at: int = field(init=False, default=0)
    """the last time at which everything had arrived"""

    @random.default
    def _random(self) -> Random:
        return Random(self.world.seed + 1)

    def step(self) -> str:
        name, act = self.random.choices(_NAMES, _WEIGHTS)[0]
        act(self)
        return name

    def someone(self) -> str:
        return self.random.choice(list(self.world.peers))

    def pair(self) -> tuple[str, str]:
        who, whom = self.random.sample(list(self.world.peers), 2)
        return who, whom

    # --- steps -------------------------------------------------------------------------------------------------------

    def send(self) -> None:
        self.world.send(*self.pair())

    def send_together(self) -> None:
        self.world.send_together(*self.pair(), self.random.randint(2, 5))

    def send_and_die(self) -> None:
        self.world.send_and_die(*self.pair(), self.random.choice(["before", "after"]))

    def transmit(self) -> None:
        self.world.transmit(self.someone())

    def note_had(self) -> None:
        self.world.note_had(self.someone())

    def pull(self) -> None:
        who = self.someone()
        self.world.network.advance(1)
        for _ in range(self.random.randint(1, 4)):
            self.world.pull(who)

    def pull_and_die(self) -> None:
        who = self.someone()
        self.world.network.advance(1)
        self.world.crash_during(who, self.random.choice(["before", "after"]), self.world.peers[who].pull)

    def tick_and_die(self) -> None:
        who = self.someone()
        self.world.crash_during(who, self.random.choice(["before", "after"]), self.world.peers[who].tick)

    def have_trouble(self) -> None:
        self.world.trouble_at_next_commit(self.someone(), after=self.random.random() < 0.7)

    def move_cursors(self) -> None:
        self.world.move_cursors(self.someone())

    def tick(self) -> None:
        self.world.tick(self.someone())

    def crash(self) -> None:
        self.world.crash(self.someone())

    def ack(self) -> None:
        self.world.ack(self.someone())

    def replay(self) -> None:
        logged = self.world.network.logged()
        if logged:
            self.world.replay(self.random.choice(logged), later=self.random.choice([0, 1, SECOND * 10**6]))

    def pass_time(self) -> None:
        """First messages to a prekey that is gone are lost, and visibly so: another test's subject. Here everybody has
        heard of everybody a few days ago at most."""
        pause = self.random.choice([SECOND, 60 * SECOND, HOUR, 7 * HOUR, DAY + HOUR, 3 * DAY, 9 * DAY, 16 * DAY])
        world = self.world
        if world.clock.now + pause <= max(self.calm_at, FIRST_NOW) + LONGEST_APART:
            world.clock.now += pause
            return
        world.quiesce(0)
        world.clock.now += pause
        world.settle()
        world.network.set_faults(TROUBLE)
        self.calm_at = world.clock.now

    def skew(self) -> None:
        if self.skews:
            self.world.peers[self.someone()].skew = self.random.randint(-50 * SECOND, 50 * SECOND)

    def part(self) -> None:
        self.world.network.partition(self.someone())

    def meet_again(self) -> None:
        self.world.network.partition(*self.world.peers)

    def be_offline(self) -> None:
        self.world.network.offline(self.someone())

    def be_online(self) -> None:
        self.world.network.online(*self.world.peers)

    def repair(self) -> None:
        self.world.network.repair()


_STEPS: list[tuple[int, Callable[[Walk], None]]] = [
    (14, Walk.send),
    (3, Walk.send_together),
    (2, Walk.send_and_die),
    (24, Walk.transmit),
    (6, Walk.note_had),
    (30, Walk.pull),
    (2, Walk.pull_and_die),
    (2, Walk.tick_and_die),
    (2, Walk.have_trouble),
    (4, Walk.move_cursors),
    (10, Walk.tick),
    (2, Walk.crash),
    (4, Walk.ack),
    (4, Walk.replay),
    (2, Walk.pass_time),
    (1, Walk.skew),
    (1, Walk.part),
    (3, Walk.meet_again),
    (1, Walk.be_offline),
    (3, Walk.be_online),
    (2, Walk.repair),
]
_NAMES = [(act.__name__, act) for _, act in _STEPS]
_WEIGHTS = [weight for weight, _ in _STEPS]
