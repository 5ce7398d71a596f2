"""Medians of interleaved rounds.

Every contestant of every case is run once a round, for some milliseconds, one after another in one process; every
other round goes backwards. A disturbance of the machine then falls on neighbours alike, and what is compared is
medians of what was measured close together. Time is the processor time of this process and those that it starts, user
and system: a neighbour on the machine that takes the processor away does not count. Wall time is kept beside it, for
what waits for a disk.
"""

from __future__ import annotations

import gc
import resource
import time
from collections.abc import Callable, Iterable, Sequence
from statistics import median
from typing import Final

from attrs import define, field, frozen

NS_IN_US: Final = 1000
WARM_MS: Final = 10.0
"""samples shorter than this are to see that it runs"""


@frozen
class Contestant:
    """Somebody who does one case's work."""

    name: str
    run: Callable[[int], None]
    """do it so many times; this is timed"""
    prepare: Callable[[int], None] = field(default=lambda times: None)
    """before each run, untimed: what the run uses up"""
    most: int = 100_000
    """times a run may last at most"""
    least: int = 1
    """and at least, however long that takes: to be warm where there is much to warm; not when it only has to run"""


@define
class Samples:
    """Microseconds for one operation, one number a round."""

    times: int = 0
    processor: list[float] = field(factory=list)
    wall: list[float] = field(factory=list)

    def quartiles(self) -> tuple[float, float]:
        ordered = sorted(self.processor)
        return ordered[len(ordered) // 4], ordered[-1 - len(ordered) // 4]

    def spread(self) -> float:
        """Interquartile range in per cent of the median."""
        low, high = self.quartiles()
        return 100 * (high - low) / median(self.processor)


@frozen
class Ratio:
    """How many times as long `other` takes: above 1, kexkit is faster."""

    median: float
    low: float
    high: float


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> Ratio:
    """Of medians; the extremes are of single rounds."""
    rounds = [their / our for our, their in zip(ours, theirs, strict=True)]
    return Ratio(median(theirs) / median(ours), min(rounds), max(rounds))


def measure(
    contestants: Iterable[Contestant], *, rounds: int, sample_ms: float, tell: Callable[[str], None]
) -> list[Samples]:
    """In the order given."""
    found = [(contestant, Samples()) for contestant in contestants]
    for contestant, samples in found:
        times = _calibrated(contestant, sample_ms)
        samples.times = max(times, contestant.least) if sample_ms >= WARM_MS else times
    for number in range(rounds):
        tell(f"round {number + 1} of {rounds}")
        for contestant, samples in found if number % 2 == 0 else reversed(found):
            processor, wall = _sample(contestant, samples.times)
            samples.processor.append(processor)
            samples.wall.append(wall)
    return [samples for _, samples in found]


def _sample(contestant: Contestant, times: int) -> tuple[float, float]:
    """Garbage collection waits, for everybody: when it strikes depends on who was measured before."""
    contestant.prepare(times)
    gc.collect()
    gc.disable()
    try:
        processor, wall = _processor_ns(), time.perf_counter_ns()
        contestant.run(times)
        processor, wall = _processor_ns() - processor, time.perf_counter_ns() - wall
    finally:
        gc.enable()
    return processor / times / NS_IN_US, wall / times / NS_IN_US


def _processor_ns() -> int:
    """Of this process, and of those that it started and that have ended."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time_ns() + round((children.ru_utime + children.ru_stime) * 1_000_000_000)


def _calibrated(contestant: Contestant, sample_ms: float) -> int:
    """How many times fill a sample. The first runs warm up."""
    times = 1
    while True:
        _, wall = _sample(contestant, times)
        if wall * times >= sample_ms * NS_IN_US / 4 or times >= contestant.most:
            return max(1, min(contestant.most, round(sample_ms * NS_IN_US / wall)))
        times *= 4
