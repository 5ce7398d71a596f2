"""Both begin at the same time, over the same mechanism (negotiation 1.7): both sessions complete, and in the end both
devices seal in the one with the smaller id. The other only hears, rests, and goes. No text is lost on the way.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import count

import pytest
from kexkit._engine.peers import sealing_order
from kexkit._transitions import State
from kexkit.api import Envelope
from kexkit.limits import CONFIRM_AGAIN_MS

from tests.attacks.man_in_the_middle import (
    DAY,
    HEALING,
    HOUR,
    PSK_NAME,
    SECOND,
    X3DH_NAME,
    XK1,
    XX,
    Middle,
    a_middle,
    able,
)
from tests.world.peer import Peer

OTHER = {"alice": "bob", "bob": "alice"}
PEOPLE = tuple(OTHER)
EACH = pytest.mark.parametrize("name", [X3DH_NAME, PSK_NAME, XX, XK1, HEALING])
OF_ONE_FLIGHT = (X3DH_NAME, PSK_NAME)
"""the text is in the flight that begins: if that is lost, it is said again"""
FRAMES = 14
"""of the beginning and of what follows at once; the handshakes of three flights have the most"""

Fault = Callable[["Crossing", str, Envelope], Sequence[Envelope]]


class Crossing:
    """The network holds what leaves, and hands it over in rounds, so that both always speak before they hear."""

    def __init__(self, middle: Middle, name: str, seed: int = 0) -> None:
        self.middle, self.name = middle, name
        for who in PEOPLE:  # so that the smaller id is now the one's, now the other's
            middle.peers[who] = Peer(who, able(name), middle.network, middle.clock, f"crossing {seed}")
        self.left: list[tuple[str, Envelope]] = []
        self.late: list[tuple[str, Envelope]] = []
        self.said: dict[str, list[str]] = {who: [] for who in PEOPLE}
        self.frames = count()
        self.fault: Fault = lambda crossing, sender, envelope: [envelope]
        for who, whom in OTHER.items():
            middle.adds(who, whom)
        middle.hook = self._hold

    def _hold(self, sender: str, envelope: Envelope) -> Sequence[Envelope]:
        self.left += [(sender, each) for each in self.fault(self, sender, envelope)]
        return []

    def round(self) -> None:
        batch, self.left = self.left, []
        for sender, envelope in batch:
            self.middle.deliver(envelope, sender=sender)
        self.middle.settle()

    def exchange(self, *, pause: int = SECOND) -> None:
        self.middle.settle()
        while self.left:
            self.round()
        self.middle.clock.now += pause
        self.middle.settle()

    def say(self, who: str, text: str = "") -> None:
        text = text or f"{who} {len(self.said[who])}"
        self.said[who].append(text)
        self.middle.peers[who].send(self.middle.peers[OTHER[who]].me.identity, text)
        self.middle.settle()

    def cross(self, times: int = 1) -> None:
        """Both say something before either hears of it."""
        for _ in range(times):
            for who in PEOPLE:
                self.say(who)
            self.exchange()

    def pass_time(self, *pauses: int) -> None:
        for pause in pauses:
            self.exchange(pause=pause)
            self.exchange()

    def comes(self, late: Sequence[tuple[str, Envelope]]) -> None:
        for sender, envelope in late:
            self.middle.deliver(envelope, sender=sender)
        self.exchange()

    # --- what came of it ---------------------------------------------------------------------------------------------

    def ids(self, who: str) -> list[bytes]:
        return sorted(ref.id for ref in self.middle.sessions(who, OTHER[who]) if ref.mechanism == self.name)

    def state(self, who: str, session: bytes) -> State | None:
        found = [ref for ref in self.middle.sessions(who, OTHER[who]) if ref.id == session]
        return State(found[0].state) if found else None

    def seals_in(self, who: str) -> bytes:
        return sealing_order(self.middle.device(who, OTHER[who]), self.name)[0].id

    def must_have_heard_all(self) -> None:
        for who, whom in OTHER.items():
            assert sorted(self.middle.heard(whom)) == sorted(self.said[who])

    def must_use(self, session: bytes) -> None:
        assert [self.seals_in(who) for who in PEOPLE] == [session] * 2

    def must_have_put_to_rest(self, session: bytes) -> None:
        assert [self.state(who, session) for who in PEOPLE] == [State.STALE] * 2

    def must_be_gone_after_its_rest(self, session: bytes) -> None:
        for _ in range(9):
            self.pass_time(DAY)
        assert [self.state(who, session) for who in PEOPLE] == [None] * 2


def begun(name: str, middle: Middle, seed: int = 0) -> Crossing:
    crossing = Crossing(middle, name, seed)
    for who in PEOPLE:
        crossing.say(who)
    return crossing


@EACH
@pytest.mark.parametrize("seed", range(3))
def test_after_beginnings_that_crossed_both_seal_in_the_smaller_id_and_the_other_goes(name: str, seed: int) -> None:
    with a_middle(alice=able(name), bob=able(name)) as middle:
        crossing = begun(name, middle, seed)
        crossing.exchange()
        winner, loser = crossing.ids("alice")
        assert crossing.ids("bob") == [winner, loser]
        crossing.must_use(winner)
        for _ in range(4):
            crossing.cross()
            crossing.must_use(winner)
        crossing.must_have_put_to_rest(loser)
        crossing.must_have_heard_all()
        crossing.must_be_gone_after_its_rest(loser)
        crossing.cross()
        crossing.must_have_heard_all()


@EACH
@pytest.mark.parametrize("speaker", PEOPLE)
def test_one_of_them_need_not_speak_for_both_to_use_the_smaller_id(name: str, speaker: str) -> None:
    """Whoever only reads loses nothing, however long the other goes on alone."""
    with a_middle(alice=able(name), bob=able(name)) as middle:
        crossing = begun(name, middle)
        crossing.exchange()
        for _ in range(45):
            crossing.say(speaker)
            crossing.pass_time(DAY)
        crossing.must_have_heard_all()


def nth(number: int, then: Callable[[Crossing, str, Envelope], Sequence[Envelope]]) -> Fault:
    def fault(crossing: Crossing, sender: str, envelope: Envelope) -> Sequence[Envelope]:
        return then(crossing, sender, envelope) if next(crossing.frames) == number else [envelope]

    return fault


def twice(crossing: Crossing, sender: str, envelope: Envelope) -> Sequence[Envelope]:
    return [envelope, envelope]


def late(crossing: Crossing, sender: str, envelope: Envelope) -> Sequence[Envelope]:
    crossing.late.append((sender, envelope))
    return []


def lost(crossing: Crossing, sender: str, envelope: Envelope) -> Sequence[Envelope]:
    return []


def troubled(name: str, number: int, then: Fault, seed: int, meanwhile: Callable[[Crossing], None]) -> Crossing | None:
    """One frame of the beginning has trouble. None: so many frames there are not."""
    with a_middle(alice=able(name), bob=able(name)) as middle:
        crossing = Crossing(middle, name, seed)
        crossing.fault = nth(number, then)
        for who in PEOPLE:
            crossing.say(who)
        crossing.exchange()
        crossing.cross(2)
        if next(crossing.frames) <= number:
            return None
        meanwhile(crossing)
        crossing.comes(crossing.late)
        crossing.pass_time(CONFIRM_AGAIN_MS, 3 * CONFIRM_AGAIN_MS, HOUR)
        crossing.cross(3)
        winner, loser = sorted({*crossing.ids("alice"), *crossing.ids("bob")})
        crossing.must_use(winner)
        if then is not lost:
            crossing.must_have_put_to_rest(loser)
        if then is not lost or (name in OF_ONE_FLIGHT and number < len(PEOPLE)):
            crossing.must_have_heard_all()
        crossing.must_be_gone_after_its_rest(loser)
        return crossing


@EACH
@pytest.mark.parametrize("then", [twice, late, lost], ids=lambda then: then.__name__)
def test_any_frame_of_the_beginnings_may_come_twice_late_or_never(name: str, then: Fault) -> None:
    done = [troubled(name, number, then, 0, lambda crossing: None) for number in range(FRAMES)]
    assert sum(one is not None for one in done) >= 6


@EACH
@pytest.mark.parametrize("who", PEOPLE)
def test_either_may_be_started_again_between_any_two_rounds(name: str, who: str) -> None:
    for rounds in range(8):
        with a_middle(alice=able(name), bob=able(name)) as middle:
            crossing = begun(name, middle)
            for _ in range(rounds):
                crossing.round()
            middle.peers[who].crash()
            crossing.exchange()
            crossing.cross(3)
            winner, loser = crossing.ids("alice")
            crossing.must_use(winner)
            crossing.must_have_put_to_rest(loser)
            crossing.must_have_heard_all()
