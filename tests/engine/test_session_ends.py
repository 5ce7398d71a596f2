"""How long a session is kept that no longer seals, and what becomes of what was said in one that goes."""

from __future__ import annotations

from random import Random

import pytest
from attrs import define, evolve, field
from kexkit import _records as records
from kexkit._engine.wrapping import contact_code_channel
from kexkit._transitions import State
from kexkit.api import Envelope
from kexkit.limits import (
    ATTEMPT_AGAIN_MS,
    FLUSH_BATCH,
    OVERDUE_MS,
    PURGE_BATCH,
    QUIET_MS,
    RESTING_MS,
    SESSIONS_PER_DEVICE,
)

from tests.engine.negotiating_peers import KITS, ONE, ONLY_FRAME, ONLY_SLOT, Kit, Meeting, meeting, psk
from tests.engine.test_negotiation_bounds import AROUND, NEWER, replaced
from tests.engine.test_negotiation_walks import must_have_it_all
from tests.world.world import DAY, HOUR

OLD = Kit((psk(ONE),))


def ref_of(world: Meeting, session: bytes) -> records.SessionRef:
    return next(ref for ref in world.refs("alice", "bob") if ref.id == session)


def is_kept(world: Meeting, session: bytes) -> bool:
    kept = session in world.alice.table("session")
    assert (session in {ref.id for ref in world.refs("alice", "bob")}) == kept
    assert (session in world.alice.table("place")) == kept
    return kept


def hear_in(world: Meeting, session: bytes) -> None:
    """As if a text had just come in it: what counts of that here is when it was."""
    person = world.alice.person(world.bob.me.identity)
    for device in person.devices:
        for ref in device.sessions:
            if ref.id == session:
                ref.since = world.clock.now
    key = records.peer_key(world.bob.me.identity)
    world.alice.rows.commit(evolve(records.first_row(key, records.write(person)), given={}))
    world.crash("alice")


def pass_days(world: Meeting, end: int, session: bytes, *, heard: bool) -> None:
    """Awake all the time, and started anew each day."""
    while world.clock.now + DAY < end:
        world.clock.now += DAY
        if heard:
            hear_in(world, session)
        world.work("alice")
    world.clock.now = end
    world.work("alice")


# --- replaced --------------------------------------------------------------------------------------------------------


@AROUND
def test_a_replaced_session_goes_after_so_long_however_much_comes_in_it_and_over_restarts(beyond: int) -> None:
    with meeting(1, NEWER, OLD) as world:
        old = replaced(world)
        since = ref_of(world, old).since
        pass_days(world, since + RESTING_MS + beyond, old, heard=True)
        assert is_kept(world, old) == (beyond < 0)


def test_what_came_while_we_slept_is_read_before_the_session_goes_in_which_it_came() -> None:
    with meeting(2, NEWER, OLD) as world:
        world.introduce()
        world.send("alice", "bob")
        world.settle()
        world.send("bob", "alice")
        world.settle()
        (old,) = world.refs("alice", "bob")
        world.send("bob", "alice", "before the change")
        late = world.leave("bob")
        world.skip("alice")
        world.equip("bob", NEWER)
        world.give("alice", world.offer_of("bob").received, of="bob")
        world.send("alice", "bob")
        world.settle()
        world.clock.now += RESTING_MS + DAY
        world.crash("alice")
        world.work("alice")
        for envelope in late:
            world.alice.receive(envelope)
        assert "before the change" in world.told("alice")
        world.clock.now += OVERDUE_MS
        world.work("alice")
        assert not is_kept(world, old.id)


def test_a_session_that_gives_way_to_one_that_never_opens_goes_on() -> None:
    """Nothing took its place, so it does not rest; and those that were to replace it do not pile up."""
    with meeting(3, NEWER, OLD) as world:
        world.introduce()
        world.send("alice", "bob")
        world.settle()
        world.send("bob", "alice")
        world.settle()
        (old,) = world.refs("alice", "bob")
        world.equip("bob", NEWER)
        world.give("alice", world.offer_of("bob").received, of="bob")
        world.network.offline("bob")
        most = 0
        for _ in range(60):
            world.send("alice", "bob")
            world.work("alice")
            world.clock.now += DAY
            most = max(most, len(world.alice.table("session")))
        assert State(ref_of(world, old.id).state) is State.OPEN
        assert 1 < most <= 3
        assert len(world.alice.table("session")) == 1, "his offer is over, and so is what began with it"


# --- outdated by a newer key, and not replaced -----------------------------------------------------------------------


def outdated(world: Meeting) -> bytes:
    """Bob has published a newer key, and nobody has begun anything with it."""
    world.introduce()
    world.send("alice", "bob")
    world.settle()
    world.send("bob", "alice")
    world.settle()
    (old,) = world.refs("alice", "bob")
    world.clock.now += 25 * HOUR
    world.work("bob")
    world.leave("bob")
    world.read("alice")
    assert State(ref_of(world, old.id).state) is State.STALE
    return bytes(old.id)


@AROUND
def test_what_only_a_newer_key_outdated_goes_when_it_was_quiet_for_longer(beyond: int) -> None:
    with meeting(4, ONLY_SLOT, ONLY_SLOT) as world:
        old = outdated(world)
        pass_days(world, ref_of(world, old).since + RESTING_MS + beyond, old, heard=False)
        assert is_kept(world, old) == (beyond < 0)


def test_what_only_a_newer_key_outdated_stays_while_the_peer_speaks_in_it() -> None:
    """A status-go device goes on in the session it has."""
    with meeting(5, ONLY_SLOT, ONLY_SLOT) as world:
        old = outdated(world)
        pass_days(world, world.clock.now + 3 * RESTING_MS, old, heard=True)
        assert is_kept(world, old)


# --- never answered --------------------------------------------------------------------------------------------------


@AROUND
@pytest.mark.parametrize("kit", [ONLY_FRAME, ONLY_SLOT], ids=["frame", "slot"])
def test_what_nobody_answers_for_so_long_is_said_again_though_nothing_else_is_sent(kit: Kit, beyond: int) -> None:
    with meeting(7, kit, kit) as world:
        world.introduce()
        world.settle()
        world.send("alice", "bob", "is anybody there?")
        world.leave("alice")
        world.skip("bob")
        (lost,) = world.refs("alice", "bob")
        world.clock.now = lost.since + QUIET_MS + beyond
        world.work("alice")
        assert world.device("alice", "bob").attempts == (1 if beyond >= 0 else 0)
        world.pass_time(ATTEMPT_AGAIN_MS)
        world.pass_time(ATTEMPT_AGAIN_MS)
        assert world.told("bob") == ["is anybody there?"]
        assert not world.alice.table("unconfirmed")


@pytest.mark.parametrize("kit", KITS.values(), ids=KITS)
def test_a_session_that_is_answered_leaves_no_timer_behind(kit: Kit) -> None:
    with meeting(8, kit, kit) as world:
        world.introduce()
        world.send("alice", "bob")
        world.settle()
        assert State(world.refs("alice", "bob")[0].state) is State.OPEN
        kinds = [records.split_timer(key)[1] for key in world.alice.table("timer")]
        assert records.Timer.QUIET not in kinds


# --- displaced before it was answered --------------------------------------------------------------------------------


@define
class Mail:
    """What one of two sealed, in the order in which it left: each envelope with its session. Nobody has read it."""

    world: Meeting
    who: str
    known: int = 0
    all: list[tuple[bytes, Envelope]] = field(factory=list)

    def collect(self) -> None:
        said = self.world.said(self.who)[self.known :]
        self.known += len(said)
        advertised = contact_code_channel(self.world.peers[self.who].me.identity).topic
        left = [envelope for envelope in self.world.leave(self.who) if envelope.topic != advertised]
        self.all += zip((each.session for each in said), left, strict=True)

    def new_key(self, whom: str) -> None:
        """Whoever hears of it begins anew."""
        self.world.clock.now += 25 * HOUR
        self.world.work(self.who)
        self.collect()
        self.world.peers[whom].add(self.world.peers[self.who].code())

    def say(self, whom: str) -> None:
        self.world.work(self.who)
        self.world.send(self.who, whom)
        self.collect()


@pytest.mark.parametrize("seed", range(12))
def test_whatever_openings_come_each_text_is_delivered_once(seed: int) -> None:
    """Two begin anew day after day, and neither hears the other. Then what Bob began comes, in any order but for what
    he has given up himself, and displaces what Alice began; of that, nothing reaches him."""
    random = Random(seed)
    with meeting(seed, ONLY_SLOT, ONLY_SLOT) as world:
        world.introduce()
        world.settle()
        hers, his = Mail(world, "alice"), Mail(world, "bob")
        for _ in range(random.randint(SESSIONS_PER_DEVICE - 3, SESSIONS_PER_DEVICE + 3)):
            hers.new_key("bob")
            if random.random() < 0.3:
                his.new_key("alice")
            for mail in [*random.choices([hers, his], k=random.randint(0, 3)), his]:
                mail.say("bob" if mail is hers else "alice")
        world.skip("alice")
        world.skip("bob")
        begun = sorted({session for session, _ in his.all})
        random.shuffle(begun)
        begun.sort(key=lambda session: session in {ref.id for ref in world.refs("bob", "alice")})
        for envelope in (envelope for session in begun for sealed, envelope in his.all if sealed == session):
            world.alice.receive(envelope)
            if random.random() < 0.2:
                world.crash("alice")
        kept = {bytes(ref.id) for ref in world.refs("alice", "bob")}
        for session, envelope in hers.all:
            if session in kept:
                world.bob.receive(envelope)
        for _ in range((RESTING_MS + QUIET_MS) // DAY + 1):  # what they never answer goes at last, and is said again
            world.pass_time(DAY)
        must_have_it_all(world)


def test_more_texts_than_one_page_are_said_again_when_their_session_is_displaced() -> None:
    """To somebody who seems to make no offers, any number of texts leaves unanswered."""
    with meeting(20, ONLY_SLOT, ONLY_SLOT) as world:
        world.alice.add(evolve(world.bob.code(), offers=()))
        sent = [world.send("alice", "bob") for _ in range(2 * FLUSH_BATCH + 1)]
        (first,) = world.refs("alice", "bob")
        world.leave("alice")
        world.skip("bob")
        mail, begins = Mail(world, "alice", known=len(world.said("alice"))), Mail(world, "bob")
        for _ in range(SESSIONS_PER_DEVICE + 1):
            mail.new_key("bob")
            begins.say("alice")
            world.alice.receive(begins.all[-1][1])
        assert first.id not in {ref.id for ref in world.refs("alice", "bob")}
        world.crash("alice")
        world.until_rest()
        assert set(sent) <= set(world.bob.history(world.alice.me.identity))
        must_have_it_all(world)


def quiet_reader(world: Meeting, days: int) -> list[bytes]:
    """Bob publishes a new key each day, makes no offers that Alice hears of, and never answers. She writes daily."""
    world.alice.add(evolve(world.bob.code(), offers=()))
    sent = []
    for _ in range(days):
        sent.append(world.send("alice", "bob"))
        world.leave("alice")
        world.clock.now += 25 * HOUR
        world.work("bob")
        world.alice.add(evolve(world.bob.code(), offers=()))
        world.work("alice")
        world.leave("alice")
    return sent


def test_who_makes_no_offers_and_never_answers_does_not_get_everything_again_and_again() -> None:
    with meeting(22, ONLY_SLOT, ONLY_SLOT) as world:
        days = 4 * SESSIONS_PER_DEVICE
        quiet_reader(world, days)
        assert sum(len(said.texts) for said in world.said("alice")) == days
        assert len(world.alice.table("unconfirmed")) <= SESSIONS_PER_DEVICE


@AROUND
def test_who_makes_no_offers_gets_again_what_is_no_older_than_so_long(beyond: int) -> None:
    with meeting(23, ONLY_SLOT, ONLY_SLOT) as world:
        world.alice.add(evolve(world.bob.code(), offers=()))
        world.send("alice", "bob")
        world.leave("alice")
        world.clock.now += QUIET_MS + beyond
        world.alice.perform(lambda: world.alice.engine.end_sessions(world.bob.me.identity, world.alice.moment()))
        world.work("alice")
        assert len(world.alice.table("unconfirmed")) + len(world.alice.table("waiting")) == (beyond <= 0)


def test_a_session_that_ends_unanswered_leaves_more_than_one_page_to_say_again() -> None:
    with meeting(21, ONLY_SLOT, ONLY_SLOT) as world:
        world.alice.add(evolve(world.bob.code(), offers=()))
        sent = [world.send("alice", "bob") for _ in range(PURGE_BATCH + FLUSH_BATCH)]
        world.leave("alice")
        world.skip("bob")
        world.alice.perform(lambda: world.alice.engine.end_sessions(world.bob.me.identity, world.alice.moment()))
        world.until_rest()
        assert set(sent) <= set(world.bob.history(world.alice.me.identity))
        must_have_it_all(world)
