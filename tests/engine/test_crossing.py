"""Both begin at the same time, over the same mechanism (negotiation 1.7): both sessions complete, and in the end both
devices seal in the one with the smaller id. The other only hears, rests, and goes. No text is lost on the way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import count
from random import Random

import pytest
from attrs import evolve
from kexkit import _records as records
from kexkit._engine.peers import sealing_order
from kexkit._transitions import State
from kexkit._wire.confirms import read_confirm
from kexkit.api import Envelope
from kexkit.limits import CONFIRM_AGAIN_MS
from kexkit.policy import WITHOUT_FORWARD_SECRECY, Publish

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
OFFERS_NOTHING = evolve(WITHOUT_FORWARD_SECRECY, publish=Publish.NONE)
FRAMES = 14
"""of the beginning and of what follows at once; the handshakes of three flights have the most"""

Fault = Callable[["Crossing", str, Envelope], Sequence[Envelope]]


def passes(crossing: Crossing, sender: str, envelope: Envelope) -> Sequence[Envelope]:
    return [envelope]


class Crossing:
    """The network holds what leaves, and hands it over in rounds, so that both always speak before they hear."""

    def __init__(self, middle: Middle, name: str, seed: int = 0, *, bare: Sequence[str] = ()) -> None:
        self.middle, self.name = middle, name
        for who in PEOPLE:  # so that the smaller id is now the one's, now the other's
            has = able(name, policy=OFFERS_NOTHING) if who in bare else able(name)
            middle.peers[who] = Peer(who, has, middle.network, middle.clock, f"crossing {seed}")
        self.left: list[tuple[str, Envelope]] = []
        self.late: list[tuple[str, Envelope]] = []
        self.said: dict[str, list[str]] = {who: [] for who in PEOPLE}
        self.frames = count()
        self.fault: Fault = passes
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


def on_its_way(name: str, seed: int) -> Iterator[tuple[Crossing, bytes, bytes]]:
    """Bob's beginning is late: Alice hears of it when he has answered hers already."""
    with a_middle(alice=able(name), bob=able(name)) as middle:
        crossing = Crossing(middle, name, seed)
        crossing.fault = lambda it, sender, envelope: [envelope] if sender == "alice" else late(it, sender, envelope)
        crossing.say("bob")
        crossing.say("alice")
        own, crossing.late[:] = list(crossing.late), []
        crossing.fault = passes
        crossing.exchange()
        crossing.comes(own)
        yield crossing, *crossing.ids("bob")


@pytest.mark.parametrize("name", OF_ONE_FLIGHT)
@pytest.mark.parametrize("seed", range(6))
def test_a_beginning_that_comes_after_the_answer_to_ours_still_has_crossed_it(name: str, seed: int) -> None:
    for crossing, winner, loser in on_its_way(name, seed):
        assert crossing.ids("alice") == [winner, loser]
        crossing.must_use(winner)
        crossing.cross(2)
        crossing.must_use(winner)
        crossing.must_have_put_to_rest(loser)
        crossing.must_have_heard_all()
        crossing.must_be_gone_after_its_rest(loser)


@pytest.mark.parametrize("name", OF_ONE_FLIGHT)
@pytest.mark.parametrize("seed", range(4))
def test_a_late_text_in_the_one_that_lost_is_read_and_moves_nothing(name: str, seed: int) -> None:
    with a_middle(alice=able(name), bob=able(name)) as middle:
        crossing = begun(name, middle, seed)
        crossing.fault = late
        for who in PEOPLE:
            crossing.say(who)
        crossing.fault = passes
        crossing.exchange()
        winner, loser = crossing.ids("alice")
        (who,) = [who for who in PEOPLE for ref in middle.sessions(who, OTHER[who]) if ref.id == winner and ref.ours]
        assert [crossing.state(who, each) for each in (winner, loser)] == [State.OPEN] * 2
        crossing.comes(crossing.late)
        assert [ref.rank for ref in middle.sessions(who, OTHER[who])] == [1, 1]
        assert crossing.seals_in(who) == winner
        crossing.must_have_heard_all()


@pytest.mark.parametrize("name", [XX, XK1, HEALING])
def test_what_crossed_a_session_is_not_what_it_says_to_replace(name: str) -> None:
    """A handshake of three messages is complete, and confirmed, when the other is open already."""
    with a_middle(alice=able(name), bob=able(name)) as middle:
        crossing = Crossing(middle, name)
        crossing.fault = late
        crossing.say("alice")
        crossing.fault = passes
        crossing.say("bob")
        crossing.exchange()
        (own,) = [ref.id for ref in middle.sessions("alice", "bob") if ref.ours]
        assert State.OPEN in [crossing.state("alice", each) for each in crossing.ids("alice")]
        for sender, envelope in crossing.late:
            middle.deliver(envelope, sender=sender)
        middle.settle()
        while own not in middle.alice.table("confirm"):
            crossing.round()
        assert read_confirm(middle.alice.table("confirm")[own].value).previous is None
        crossing.cross(3)
        crossing.must_use(min(crossing.ids("alice")))
        crossing.must_have_heard_all()


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("speaker", PEOPLE)
@pytest.mark.parametrize("deaf", PEOPLE)
def test_what_they_gave_up_before_ours_came_wins_over_nothing(deaf: str, speaker: str, seed: int) -> None:
    """One hears nothing for so long that both begin again; what the other began at first comes last of all."""
    with a_middle(alice=able(PSK_NAME), bob=able(PSK_NAME)) as middle:
        crossing = Crossing(middle, PSK_NAME, seed)
        crossing.fault = lambda it, sender, envelope: late(it, sender, envelope) if sender != deaf else [envelope]
        for who in PEOPLE:
            crossing.say(who)
        crossing.exchange()
        for _ in range(8):
            crossing.pass_time(DAY)
        crossing.fault = passes
        crossing.comes(crossing.late)
        for _ in range(35):
            crossing.say(speaker)
            crossing.pass_time(DAY)
        crossing.must_have_heard_all()


@EACH
@pytest.mark.parametrize("seed", range(4))
def test_what_begins_after_the_other_was_ended_has_not_crossed_it(name: str, seed: int) -> None:
    """Bob has ended his end of Alice's session, and writes in another: she answers there, whatever its id."""
    with a_middle(alice=able(name), bob=able(name)) as middle:
        crossing = Crossing(middle, name, seed)
        for who in ("alice", "bob", "alice"):
            crossing.say(who)
            crossing.exchange()
        (first,) = crossing.ids("bob")
        crossing.fault = late  # no goodbye, and a text on its way
        crossing.say("bob")
        middle.bob.perform(lambda: middle.bob.engine.end_sessions(middle.alice.me.identity, middle.bob.moment()))
        middle.settle()
        crossing.fault = passes
        before, crossing.late = list(crossing.late), []
        for who in ("bob", "alice"):
            crossing.say(who)
            crossing.exchange()
        crossing.comes(before)
        crossing.say("bob")
        crossing.exchange()
        crossing.cross(2)
        assert first not in crossing.ids("bob")
        crossing.must_use(crossing.seals_in("bob"))
        crossing.must_have_heard_all()


@EACH
def test_beginnings_that_cross_again_and_again_lose_nothing(name: str) -> None:
    """Every day both keys are new, and both begin anew at once."""
    with a_middle(alice=able(name), bob=able(name)) as middle:
        crossing = Crossing(middle, name)
        for _ in range(25):
            crossing.cross()
            crossing.pass_time(DAY)
        crossing.cross(3)
        crossing.must_use(crossing.seals_in("bob"))
        crossing.must_have_heard_all()


@pytest.mark.parametrize("name", OF_ONE_FLIGHT)
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("deaf", PEOPLE)
def test_who_hears_nothing_for_longer_than_a_session_waits_still_ends_with_the_other_in_one(
    name: str, seed: int, deaf: str
) -> None:
    """Nothing of the other comes, not even the answers: the other gives up what it began, and it comes all the same."""
    with a_middle(alice=able(name), bob=able(name)) as middle:
        crossing = Crossing(middle, name, seed)
        crossing.fault = lambda it, sender, envelope: late(it, sender, envelope) if sender != deaf else [envelope]
        for who in PEOPLE:
            crossing.say(who)
        crossing.exchange()
        for _ in range(9):
            crossing.pass_time(DAY)
            crossing.say(deaf)
        crossing.fault = passes
        crossing.comes(crossing.late)
        crossing.cross(3)
        crossing.must_use(crossing.seals_in("bob"))
        for _ in range(40):
            crossing.say(deaf)
            crossing.pass_time(DAY)
        crossing.must_have_heard_all()


@EACH
@pytest.mark.parametrize("seed", range(5))
def test_whatever_comes_when_and_whoever_starts_again_both_end_in_one_session(name: str, seed: int) -> None:
    random = Random(seed)
    with a_middle(alice=able(name), bob=able(name)) as middle:
        crossing = Crossing(middle, name, seed)

        def chance(it: Crossing, sender: str, envelope: Envelope) -> Sequence[Envelope]:
            return random.choice([passes, passes, twice, late])(it, sender, envelope)

        crossing.fault = chance
        for _ in range(25):
            act = random.randrange(8)
            if act < 3:
                crossing.say(random.choice(PEOPLE))
            elif act < 5:
                random.shuffle(crossing.left)
                crossing.round()
            elif act == 5 and crossing.late:
                crossing.comes([crossing.late.pop(random.randrange(len(crossing.late)))])
            elif act == 6:
                middle.peers[random.choice(PEOPLE)].crash()
            else:
                middle.clock.now += random.choice((SECOND, CONFIRM_AGAIN_MS, HOUR))
                middle.settle()
        crossing.fault = passes
        crossing.comes(crossing.late)
        crossing.comes(list(middle.log))  # what came before that which it needs is in the network still
        crossing.pass_time(CONFIRM_AGAIN_MS, HOUR)
        crossing.cross(3)
        crossing.must_use(crossing.seals_in("bob"))
        crossing.must_have_heard_all()


@pytest.mark.parametrize("seed", range(4))
def test_a_device_that_makes_no_offers_is_followed_into_either_and_both_are_kept(seed: int) -> None:
    """As status-go, it goes on in the one or the other, and says nowhere that it has both."""
    with a_middle(alice=able(X3DH_NAME), bob=able(X3DH_NAME)) as middle:
        crossing = Crossing(middle, X3DH_NAME, seed, bare=("bob",))
        for who in PEOPLE:
            crossing.say(who)
        crossing.exchange()
        crossing.cross(2)
        both = crossing.ids("alice")
        assert len(both) == 2
        for session in (*both, *both):
            goes_on_in(middle, session)
            crossing.say("bob")
            crossing.exchange()
            assert crossing.seals_in("alice") == session
        assert [crossing.state("alice", each) for each in both] == [State.OPEN] * 2
        crossing.must_have_heard_all()


def goes_on_in(middle: Middle, session: bytes) -> None:
    """Bob prefers one of his sessions, for reasons of his own."""
    key = records.peer_key(middle.alice.me.identity)
    person = middle.bob.person(middle.alice.me.identity)
    for device in person.devices:
        for ref in device.sessions:
            ref.rank, ref.crossed = 100 if ref.id == session else 1, b""
    middle.bob.rows.commit(evolve(records.first_row(key, records.write(person)), given={}))
    middle.bob.crash()
