"""All scenes of a negotiation that a hostile network can bring about, and what must hold in each of them."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain

from attrs import frozen
from kexkit._transitions import State

from tests.attacks.negotiation_model import BARE, Case, Rules, Scene
from tests.attacks.negotiation_sides import Side, View, X, ordered_subsets


@frozen
class Found:
    """What an exploration came to."""

    states: int
    violations: tuple[str, ...]
    texts: frozenset[tuple[str, bool]]
    rounds: int
    """the most sessions that one initiator began"""
    logs: frozenset[tuple[tuple[View, str], ...]]
    """in what order views and mechanisms were tried"""


def explore(case: Case) -> Found:
    """All scenes that the network can bring about."""
    start = Scene(None, (), frozenset(), frozenset(), frozenset())
    if case.initiator.names is None:
        start = case.go_on(start._replace(view=View(BARE, (X,), 0)))
    before: dict[Scene, list[Scene]] = {start: []}
    waiting = [start]
    violations: set[str] = set()
    good: list[Scene] = []
    while waiting:
        scene = waiting.pop()
        violations.update(wrongs(case, scene))
        if agreed(case, scene):
            good.append(scene)
        for later in case.next(scene):
            known = before.get(later)
            if known is None:
                before[later] = [scene]
                waiting.append(later)
            else:
                known.append(scene)
    if case.best is not None and not case.breaks and len(_leading_to(good, before)) < len(before):
        violations.add("the best one is out of reach")
    texts = frozenset(chain.from_iterable(scene.texts for scene in before))
    logs = (
        frozenset(tuple((one.view, one.name) for one in scene.mine) for scene in before) if case.breaks else frozenset()
    )
    return Found(len(before), tuple(sorted(violations)), texts, max(len(scene.mine) for scene in before), logs)


def wrongs(case: Case, scene: Scene) -> Iterator[str]:
    open_there = [one for one in scene.theirs if one.state is State.OPEN]
    for number, session in enumerate(scene.mine):
        if session.state is State.OPEN:
            if session.name != case.best:
                yield "the initiator opened another than the best"
            for other in open_there:
                ours = (number, session.name, session.view, session.effective)
                if other.session == number and case.rules.confirms and other.record not in (ours, None):
                    yield "both opened with different records"
    for one in open_there:
        if scene.mine[one.session].name != case.best:
            yield "the responder opened another than the best"


def agreed(case: Case, scene: Scene) -> bool:
    return any(
        one.state is State.OPEN
        and scene.mine[one.session].state is State.OPEN
        and scene.mine[one.session].name == case.best
        for one in scene.theirs
    )


def _leading_to(good: list[Scene], before: dict[Scene, list[Scene]]) -> set[Scene]:
    found, waiting = set(good), list(good)
    while waiting:
        for scene in before[waiting.pop()]:
            if scene not in found:
                found.add(scene)
                waiting.append(scene)
    return found


def stales(responder: Side) -> tuple[tuple[str, ...] | None, ...]:
    """The offers that the responder may once have made: every list, or none."""
    return (None,) if responder.names is None else (None, *ordered_subsets())


SOUND = Rules()


def explore_all(initiator: Side, responder: Side, rules: Rules = SOUND) -> list[tuple[Case, Found]]:
    cases = [Case(initiator, responder, stale, rules) for stale in stales(responder)]
    return [(case, explore(case)) for case in cases]
