"""Whoever ends a session, or hears that it is over, loses no text of the other, and neither goes on alone in it."""

from __future__ import annotations

from random import Random

import pytest
from attrs import evolve, frozen
from kexkit import _records as records
from kexkit._transitions import State
from kexkit.api import Carriage, Close, Context, Cue, Envelope, Have, Opening, Session, Step, Wants
from kexkit.events import CloneSuspected
from kexkit.limits import DEVICES_PER_PEER, FLUSH_BATCH, OVERDUE_MS, QUIET_MS, RESTING_MS
from kexkit.policy import WITHOUT_FORWARD_SECRECY
from kexkit_noise.limits import GOODBYE_MS, SESSION_LINGER_MS
from kexkit_psk.exchange import Psk
from kexkit_psk.limits import SENT
from kexkit_psk.session import PskSession, restored

from tests.attacks.man_in_the_middle import DAY, HEALING, HOUR, SECOND, XK1, Middle, a_middle, able, drop, pass_on
from tests.world.mechanisms import SECRET, Mechanism

NAMES = pytest.mark.parametrize("name", [HEALING, XK1])
ENDING = pytest.mark.parametrize("ending", ["end", "forget"])
RESTARTS = pytest.mark.parametrize("restarts", [False, True], ids=["awake", "restarted"])


def ends(middle: Middle, who: str, whom: str) -> int:
    peer, identity = middle.peers[who], middle.peers[whom].me.identity
    count: int = peer.perform(lambda: peer.engine.end_sessions(identity, peer.moment()))
    middle.settle()
    return count


def forgets(middle: Middle, who: str, whom: str) -> None:
    peer, device = middle.peers[who], middle.peers[whom].me
    peer.perform(lambda: peer.engine.forget_device(device.identity, device.installation, peer.moment()))
    middle.settle()


def parts(middle: Middle, who: str, whom: str, ending: str) -> None:
    (ends if ending == "end" else forgets)(middle, who, whom)


def talked(middle: Middle) -> bytes:
    """The id of their session."""
    middle.adds("alice", "bob")
    for who, whom, text in (("alice", "bob", "hi"), ("bob", "alice", "ho"), ("alice", "bob", "hey")):
        middle.says(who, whom, text)
        middle.wait(SECOND)
    (session,) = middle.alice.table("session")
    assert session in middle.bob.table("session")
    return session


class Held:
    """The hand keeps everything back, and lets it go in an order of its choice."""

    def __init__(self, middle: Middle) -> None:
        self.middle = middle
        self.kept: list[tuple[str, Envelope]] = []
        middle.hook = self

    def __call__(self, sender: str, envelope: Envelope) -> list[Envelope]:
        self.kept.append((sender, envelope))
        return []

    def release(self, *, backwards: bool = False) -> None:
        kept, self.kept, self.middle.hook = self.kept, [], pass_on
        for sender, envelope in reversed(kept) if backwards else kept:
            self.middle.deliver(envelope, sender=sender)
            self.middle.settle()


def restart(middle: Middle) -> None:
    for peer in middle.peers.values():
        peer.crash()
    middle.settle()


def traces(middle: Middle, who: str, session: bytes) -> list[str]:
    """Tables in which anything of a session is left."""
    peer = middle.peers[who]
    found = [table for table in ("session", "place", "confirm") if session in peer.table(table)]
    found += ["drawer" for row in peer.table("drawer") if session in row]
    found += ["route" for row in peer.table("route").values() if records.read_route(row.value).session == session]
    found += ["peer" for row in peer.table("peer").values() if session in row.value]
    return found


def nothing_is_left(middle: Middle, session: bytes) -> None:
    assert [(who, traces(middle, who, session)) for who in middle.peers] == [(who, []) for who in middle.peers]


# --- in order --------------------------------------------------------------------------------------------------------


@NAMES
@ENDING
def test_in_order_both_ends_are_rid_of_the_session_at_once(name: str, ending: str) -> None:
    with a_middle(alice=able(name), bob=able(name)) as middle:
        session = talked(middle)
        before = len(middle.log)
        parts(middle, "alice", "bob", ending)
        middle.wait(SECOND)
        nothing_is_left(middle, session)
        assert len(middle.log) - before <= 2 + (ending == "forget")
        assert middle.heard("alice") == ["ho"]
        assert middle.heard("bob") == ["hi", "hey"]


@NAMES
def test_how_many_sessions_there_were_is_told_once(name: str) -> None:
    with a_middle(alice=able(name), bob=able(name)) as middle:
        talked(middle)
        middle.hook = drop
        assert [ends(middle, "alice", "bob") for _ in range(2)] == [1, 0]
        assert middle.sessions("alice", "bob", State.STALE)


# --- what is under way -----------------------------------------------------------------------------------------------


@NAMES
@ENDING
@RESTARTS
def test_a_text_that_crosses_the_goodbye_is_shown(name: str, ending: str, restarts: bool) -> None:
    with a_middle(alice=able(name), bob=able(name)) as middle:
        session = talked(middle)
        held = Held(middle)
        middle.says("bob", "alice", "crossing")
        parts(middle, "alice", "bob", ending)
        if restarts:
            restart(middle)
        held.release(backwards=True)
        middle.wait(SECOND)
        assert middle.heard("alice") == ["ho", "crossing"]
        middle.heal()
        assert middle.heard("alice") == ["ho", "crossing"]
        nothing_is_left(middle, session)


@NAMES
@ENDING
@RESTARTS
def test_a_text_that_the_goodbye_overtook_is_shown(name: str, ending: str, restarts: bool) -> None:
    with a_middle(alice=able(name), bob=able(name)) as middle:
        session = talked(middle)
        held = Held(middle)
        middle.says("alice", "bob", "one")
        middle.says("alice", "bob", "two")
        parts(middle, "alice", "bob", ending)
        if restarts:
            restart(middle)
        held.release(backwards=True)
        assert sorted(middle.heard("bob")) == ["hey", "hi", "one", "two"]
        middle.heal()
        assert sorted(middle.heard("bob")) == ["hey", "hi", "one", "two"]
        nothing_is_left(middle, session)


@NAMES
@RESTARTS
def test_both_end_at_once_and_both_were_writing(name: str, restarts: bool) -> None:
    with a_middle(alice=able(name), bob=able(name)) as middle:
        session = talked(middle)
        held = Held(middle)
        for who, whom in (("alice", "bob"), ("bob", "alice")):
            middle.says(who, whom, f"of {who}")
            ends(middle, who, whom)
        if restarts:
            restart(middle)
        held.release(backwards=True)
        middle.wait(SECOND)
        assert middle.heard("alice") == ["ho", "of bob"]
        assert middle.heard("bob") == ["hi", "hey", "of alice"]
        nothing_is_left(middle, session)


# --- a goodbye that is lost ------------------------------------------------------------------------------------------


@NAMES
@ENDING
@RESTARTS
def test_whoever_writes_into_a_session_that_is_over_is_told_so_and_loses_nothing(
    name: str, ending: str, restarts: bool
) -> None:
    with a_middle(alice=able(name), bob=able(name)) as middle:
        session = talked(middle)
        middle.hook = drop
        parts(middle, "alice", "bob", ending)
        middle.hook = pass_on
        for day in range(5):
            middle.says("bob", "alice", f"day {day}")
            if restarts:
                restart(middle)
            middle.wait(DAY)
        assert middle.heard("alice") == ["ho", *(f"day {day}" for day in range(5))]
        nothing_is_left(middle, session)
        assert middle.sessions("bob", "alice", State.OPEN)


@NAMES
@ENDING
def test_a_lost_goodbye_comes_though_nobody_writes(name: str, ending: str) -> None:
    with a_middle(alice=able(name), bob=able(name)) as middle:
        session = talked(middle)
        middle.hook = drop
        parts(middle, "alice", "bob", ending)
        middle.wait(GOODBYE_MS[0] - 1)
        middle.hook = pass_on
        assert traces(middle, "bob", session)
        middle.wait(1, SECOND)
        nothing_is_left(middle, session)


@NAMES
@ENDING
def test_whoever_was_away_for_longer_than_the_other_hears_says_again_what_came_too_late(name: str, ending: str) -> None:
    """He sealed it before he could know."""
    with a_middle(alice=able(name), bob=able(name)) as middle:
        session = talked(middle)
        middle.adds("bob", "alice")
        held = Held(middle)
        parts(middle, "alice", "bob", ending)
        for day in range(8):
            middle.says("bob", "alice", f"day {day}")
            middle.wait(DAY)
        middle.wait(QUIET_MS)
        assert traces(middle, "alice", session) == []
        held.release()
        middle.wait()
        assert sorted(middle.heard("alice")) == sorted(["ho", *(f"day {day}" for day in range(8))])
        nothing_is_left(middle, session)


@NAMES
def test_more_than_a_page_is_said_again_and_nothing_from_before_they_were_heard(name: str) -> None:
    with a_middle(alice=able(name), bob=able(name)) as middle:
        talked(middle)
        known = middle.says("bob", "alice", "known to have come")
        middle.wait(SECOND)
        middle.says("alice", "bob", "it has")
        middle.wait(SECOND)
        held = Held(middle)
        ends(middle, "alice", "bob")
        texts = [f"text {n}" for n in range(2 * FLUSH_BATCH + 1)]
        for text in texts:
            middle.says("bob", "alice", text)
            middle.clock.now += SECOND
        held.kept = [(sender, envelope) for sender, envelope in held.kept if sender == "alice"]
        held.release()
        middle.wait()
        assert sorted(middle.heard("alice")) == sorted(["ho", "known to have come", *texts])
        changes = [event for event in middle.bob.told_ever if getattr(event, "message_id", None) == known]
        assert len(changes) == 2, "queued and stored, once"


@NAMES
def test_a_copy_of_a_goodbye_changes_nothing(name: str) -> None:
    with a_middle(alice=able(name), bob=able(name)) as middle:
        talked(middle)
        held = Held(middle)
        middle.says("alice", "bob", "late")
        ends(middle, "alice", "bob")
        (_, late), (_, goodbye) = held.kept
        held.kept = [("alice", goodbye)]
        held.release()
        middle.wait(SECOND)
        for again in range(1, 4):
            before = {name: dict(middle.bob.table(name)) for name in ("session", "peer", "timer", "waiting", "outbox")}
            middle.bob.receive(evolve(goodbye, timestamp=goodbye.timestamp + again))
            assert before == {name: dict(middle.bob.table(name)) for name in before}
        middle.deliver(late)
        assert middle.heard("bob") == ["hi", "hey", "late"]


# --- how long --------------------------------------------------------------------------------------------------------


@NAMES
@ENDING
@pytest.mark.parametrize("beyond", [-1, 0, 1])
def test_a_session_that_was_ended_hears_on_until_it_was_quiet_for_so_long(name: str, ending: str, beyond: int) -> None:
    with a_middle(alice=able(name), bob=able(name)) as middle:
        session = talked(middle)
        middle.hook = drop
        crossing = len(middle.log)
        middle.says("bob", "alice", "crossing")
        envelope = middle.log[crossing][1]
        parts(middle, "alice", "bob", ending)
        middle.wait(*[DAY] * 6)
        middle.wait(DAY + beyond)
        assert bool(traces(middle, "alice", session)) == (beyond < 0)
        middle.alice.receive(envelope)
        assert ("crossing" in middle.heard("alice")) == (beyond < 0)


@NAMES
@ENDING
def test_however_much_comes_it_hears_no_longer_than_so_long(name: str, ending: str) -> None:
    assert SESSION_LINGER_MS == RESTING_MS
    with a_middle(alice=able(name), bob=able(name)) as middle:
        session = talked(middle)
        middle.hook = drop
        parts(middle, "alice", "bob", ending)
        ended = middle.clock.now
        middle.hook = lambda sender, envelope: [envelope] if sender == "bob" else []  # no goodbye ever comes
        while middle.clock.now + DAY < ended + RESTING_MS:
            middle.says("bob", "alice", "still there?")
            middle.wait(DAY)
        assert traces(middle, "alice", session)
        middle.wait(ended + RESTING_MS - middle.clock.now)
        assert traces(middle, "alice", session) == []


@NAMES
def test_whoever_slept_reads_what_came_before_the_session_goes(name: str) -> None:
    with a_middle(alice=able(name), bob=able(name)) as middle:
        session = talked(middle)
        held = Held(middle)
        middle.says("bob", "alice", "crossing")
        alice = middle.alice
        alice.perform(lambda: alice.engine.end_sessions(middle.bob.me.identity, alice.moment()))
        middle.clock.now += QUIET_MS + DAY
        middle.settle()
        held.release()
        assert middle.heard("alice") == ["ho", "crossing"]
        middle.wait(OVERDUE_MS)
        assert traces(middle, "alice", session) == []


@NAMES
def test_goodbyes_are_no_conversation(name: str) -> None:
    """A hand that plays everything again and again makes no end talk on."""
    with a_middle(alice=able(name), bob=able(name)) as middle:
        talked(middle)
        held = Held(middle)
        middle.says("alice", "bob", "late")
        for n in range(20):
            middle.says("bob", "alice", f"text {n}")
        ends(middle, "alice", "bob")
        ends(middle, "bob", "alice")
        held.release(backwards=True)
        middle.wait()
        before = len(middle.log)
        for again in range(3):
            for sender, envelope in list(middle.log):
                middle.deliver(evolve(envelope, timestamp=envelope.timestamp + 10**7 + again), sender=sender)
                middle.settle()
        assert len(middle.log) - before <= 3


# --- a device that is forgotten --------------------------------------------------------------------------------------


@NAMES
def test_of_a_forgotten_device_nothing_is_known_while_its_session_hears_on(name: str) -> None:
    with a_middle(alice=able(name), bob=able(name)) as middle:
        session = talked(middle)
        middle.hook = drop
        forgets(middle, "alice", "bob")
        assert not middle.knows("alice", "bob")
        bob = middle.bob.me.identity
        assert middle.alice.ask(lambda: middle.alice.engine.devices(bob, middle.alice.moment())) == ()
        (rest,) = middle.alice.person(bob).forgotten
        assert (rest.installation, [ref.id for ref in rest.sessions]) == (middle.bob.me.installation, [session])
        assert (list(rest.adverts), rest.offer, list(rest.offered)) == ([], b"", [])
        middle.hook = pass_on
        middle.says("bob", "alice", "under way")
        assert middle.heard("alice") == ["ho", "under way"]
        middle.wait()
        assert not middle.alice.person(bob).forgotten
        nothing_is_left(middle, session)


@NAMES
@pytest.mark.parametrize("begun", [False, True], ids=["known", "begun"])
def test_what_is_heard_of_a_forgotten_device_changes_nothing_for_the_one_that_comes_anew(
    name: str, begun: bool
) -> None:
    with a_middle(alice=able(name), bob=able(name)) as middle:
        talked(middle)
        held = Held(middle)
        middle.says("bob", "alice", "under way")
        crossing, held.kept = held.kept, []
        forgets(middle, "alice", "bob")
        middle.hook = pass_on
        middle.adds("alice", "bob")
        if begun:
            middle.says("alice", "bob", "anew")
        before = middle.device("alice", "bob").SerializeToString()
        assert bool(middle.sessions("alice", "bob")) == begun
        middle.hook = drop
        for _, envelope in crossing:
            middle.alice.receive(envelope)
        assert middle.heard("alice") == ["ho", "under way"]
        assert middle.device("alice", "bob").SerializeToString() == before


def test_so_many_forgotten_devices_hear_on_and_no_more() -> None:
    with a_middle(alice=able(HEALING), bob=able(HEALING)) as middle:
        sessions = []
        for n in range(DEVICES_PER_PEER + 1):
            middle.hook = pass_on
            middle.adds("alice", "bob")
            middle.says("alice", "bob", f"text {n}")
            middle.wait(SECOND)
            sessions.append(next(bytes(ref.id) for ref in middle.sessions("alice", "bob", State.OPEN)))
            middle.hook = drop
            forgets(middle, "alice", "bob")
        assert len(set(sessions)) == len(sessions)
        kept = [bool(traces(middle, "alice", session)) for session in sessions]
        assert kept == [False] + [True] * DEVICES_PER_PEER


# --- a stranger's mechanism ------------------------------------------------------------------------------------------


@frozen
class Lingering(PskSession):
    """It has no goodbye and no `due`: after Close it seals no more, and core ends it."""

    def cue(self, cue: Cue, *, ctx: Context) -> Step:
        return Step(evolve(self, sent=SENT) if isinstance(cue, Close) else self)

    def seal(self, plaintext: bytes, *, ctx: Context) -> Step:
        return _lingering(super().seal(plaintext, ctx=ctx))

    def receive(self, frame: bytes, have: Have, *, ctx: Context) -> Step:
        return _lingering(super().receive(frame, have, ctx=ctx))


def _as_lingering(session: Session | None) -> Lingering | None:
    return Lingering(*(getattr(session, one) for one in FIELDS)) if isinstance(session, PskSession) else None


FIELDS = ("id", "stamp", "send_key", "open_key", "peer", "sent", "top", "seen")


def _lingering(step: Step) -> Step:
    return Step(_as_lingering(step.session), step.frames, step.to, step.plain, keep=step.keep, drop=step.drop)


class LingeringPsk(Psk):
    def initiate(self, opening: Opening, have: Have, *, ctx: Context) -> Step:
        return _lingering(super().initiate(opening, have, ctx=ctx))

    def accept(self, frame: bytes, opening: Opening, have: Have, *, ctx: Context) -> Step | Wants:
        step = super().accept(frame, opening, have, ctx=ctx)
        return step if isinstance(step, Wants) else _lingering(step)

    def restore(self, snapshot: bytes) -> PskSession:
        again = _as_lingering(restored(snapshot))
        assert again is not None
        return again


@ENDING
@RESTARTS
def test_any_mechanism_may_hear_on_and_core_ends_it(ending: str, restarts: bool) -> None:
    assert LingeringPsk(SECRET).carriage is Carriage.FRAME
    kit = Mechanism("lingering", lambda: (LingeringPsk(SECRET),), WITHOUT_FORWARD_SECRECY)
    with a_middle(alice=kit, bob=kit) as middle:
        session = talked(middle)
        held = Held(middle)
        middle.says("bob", "alice", "crossing")
        parts(middle, "alice", "bob", ending)
        if restarts:
            restart(middle)
        held.release()
        assert middle.heard("alice") == ["ho", "crossing"]
        middle.wait(*[DAY] * 6)
        assert traces(middle, "alice", session)
        middle.wait(DAY)
        assert traces(middle, "alice", session) == []


# --- all of it together ----------------------------------------------------------------------------------------------


@NAMES
@pytest.mark.parametrize("seed", range(8))
def test_whatever_ends_and_whatever_the_hand_does_each_text_is_shown_once(name: str, seed: int) -> None:
    """It holds back, mixes up and copies; both end and forget; both start anew. In the end everything comes."""
    random = Random(f"{name} {seed}")
    with a_middle(alice=able(name), bob=able(name)) as middle:
        talked(middle)
        middle.adds("bob", "alice")
        said: dict[str, list[str]] = {"alice": ["ho"], "bob": ["hi", "hey"]}
        kept: list[tuple[str, Envelope]] = []

        def moody(sender: str, envelope: Envelope) -> list[Envelope]:
            luck = random.random()
            if luck < 0.4:
                kept.append((sender, envelope))
            return [] if luck < 0.4 else [envelope] * (1 + (luck > 0.9))

        middle.hook = moody
        for step in range(60):
            who, whom = random.sample(["alice", "bob"], 2)
            act = random.random()
            if act < 0.5:
                text = f"{step} of {who}"
                if middle.peers[whom].me.identity in middle.peers[who].table("peer"):
                    middle.says(who, whom, text)
                    said[whom].append(text)
            elif act < 0.6:
                ends(middle, who, whom)
            elif act < 0.65 and middle.knows(who, whom):
                forgets(middle, who, whom)
                middle.adds(who, whom)
            elif act < 0.75:
                middle.peers[who].crash()
                middle.settle()
            elif act < 0.9:
                random.shuffle(kept)
                for _ in range(random.randint(0, len(kept))):
                    sender, envelope = kept.pop()
                    middle.deliver(envelope, sender=sender)
                middle.settle()
            else:
                middle.wait(random.choice([SECOND, HOUR, DAY]))
        middle.heal()
        for _ in range((RESTING_MS + QUIET_MS) // DAY + 1):
            middle.wait(DAY)
        for who in ("alice", "bob"):
            assert sorted(middle.heard(who)) == sorted(said[who])
            assert not middle.events(who, CloneSuspected)
