"""Time that has not come yet, and time that never was: offers that begin later, and a wall clock that is set back."""

from __future__ import annotations

from random import Random

import pytest
from kexkit import _records as records
from kexkit._engine.clocks import PERIODS
from kexkit._transitions import State
from kexkit.limits import CLOCK_BACK_MS, OFFER_AHEAD_S, QUIET_MS
from kexkit.node import open_node
from kexkit.policy import WITHOUT_FORWARD_SECRECY
from kexkit.testing import MemoryNetwork, MemoryStore
from kexkit_psk.exchange import Psk

from tests.engine.negotiating_peers import KITS, ONE, ONLY_BARE, ONLY_FRAME, ONLY_SLOT, Kit, Meeting, meeting, psk
from tests.engine.nodes import until
from tests.engine.test_negotiation_bounds import NEWER, replaced
from tests.engine.test_negotiation_walks import must_have_it_all
from tests.engine.test_session_ends import is_kept, outdated
from tests.engine.test_topics_left import say_goodbye
from tests.world.mechanisms import SECRET
from tests.world.world import DAY, HOUR

EACH = pytest.mark.parametrize("kit", KITS.values(), ids=KITS)
AROUND = pytest.mark.parametrize("beyond", [-1, 0, 1])
YEAR = 365 * DAY
NOW = 1_800_000_000_000


# --- an offer that begins later --------------------------------------------------------------------------------------


def early(world: Meeting, seq: int, hours: int) -> int:
    """Bob's offer begins so much later. When a session may begin with it."""
    body = world.offer_of("bob").body
    begins = world.clock.now // 1000 + hours * 3600
    lifetime = body.not_after - body.not_before
    offer = world.sign("bob", seq=body.seq + seq, not_before=begins, not_after=begins + lifetime)
    world.give("alice", offer.received, of="bob")
    return (begins - OFFER_AHEAD_S) * 1000


def flushes(world: Meeting) -> list[int]:
    """When something is to be looked at again for Bob."""
    timers = [records.split_timer(key) for key in world.alice.table("timer")]
    return [due for due, kind, whom in timers if (kind, whom) == (records.Timer.FLUSH, world.bob.me.identity)]


@AROUND
@EACH
def test_a_text_waits_for_an_offer_that_begins_later_and_leaves_when_its_time_comes(kit: Kit, beyond: int) -> None:
    with meeting(1, kit, kit) as world:
        world.introduce()
        begins = early(world, 1, 3)
        world.send("alice", "bob")
        world.crash("alice")
        world.work("alice")
        assert world.causes("alice") == {"OfferNotYetValid"}
        world.clock.now = begins + beyond
        world.work("alice")
        assert bool(world.refs("alice", "bob")) == (beyond >= 0)


def test_whoever_changes_the_time_again_and_again_leaves_one_timer() -> None:
    with meeting(2, ONLY_FRAME, ONLY_FRAME) as world:
        world.introduce()
        world.send("alice", "bob")
        world.alice.perform(lambda: world.alice.engine.end_sessions(world.bob.me.identity, world.alice.moment()))
        for step in range(1, 20):
            begins = early(world, step, 3 + step)
            world.work("alice")
        assert flushes(world) == [begins]


def test_an_offer_that_begins_at_the_end_of_time_is_waited_for() -> None:
    with meeting(3, ONLY_FRAME, ONLY_FRAME) as world:
        world.introduce()
        offer = world.sign("bob", seq=2**62, not_before=2**63 - 10, not_after=2**63 - 1)
        world.give("alice", offer.received, of="bob")
        world.send("alice", "bob")
        world.work("alice")
        assert world.causes("alice") == {"OfferNotYetValid"}


# --- a clock that was ahead ------------------------------------------------------------------------------------------


def set_right(world: Meeting, who: str, *, restart: bool) -> None:
    peer = world.peers[who]
    peer.skew = 0
    if restart:
        world.crash(who)
    else:
        peer.perform(lambda: peer.engine.start(peer.moment(), set_back=True))


HOW = pytest.mark.parametrize("restart", [False, True], ids=["running", "restarted"])


@HOW
@EACH
@pytest.mark.parametrize("seed", range(3))
def test_nothing_waits_for_a_time_that_never_was(kit: Kit, seed: int, restart: bool) -> None:
    random = Random(seed)
    with meeting(seed, kit, kit) as world:
        world.introduce()
        world.settle()
        if seed:
            world.send("alice", "bob")
            world.settle()
        world.alice.skew = random.choice([DAY + HOUR, YEAR])
        if random.random() < 0.5:
            world.crash("alice")
        for _ in range(random.randint(1, 6)):
            act = random.randrange(4)
            if act < 2:
                world.send("alice", "bob")
            elif act == 2:
                world.leave("alice")
                if not seed:  # what is lost in a session that is open is lost
                    world.skip("bob")
            else:
                world.work("alice")
            world.clock.now += random.randrange(HOUR)
        set_right(world, "alice", restart=restart)
        world.send("alice", "bob", "the clock is right again")
        world.send("bob", "alice", "is it?")
        world.quiesce(3)
        assert "the clock is right again" in world.told("bob")
        for _ in range(
            2 * QUIET_MS // DAY + 1
        ):  # what answers an offer that her clock has made her forget is said again
            world.pass_time(DAY)
        must_have_it_all(world)


@HOW
def test_a_handshake_that_was_lost_under_a_clock_that_was_ahead_begins_anew(restart: bool) -> None:
    with meeting(5, ONLY_BARE, ONLY_BARE) as world:
        world.introduce()
        world.settle()
        world.alice.skew = 3 * DAY
        world.send("alice", "bob")
        world.leave("alice")
        world.skip("bob")
        world.work("alice")
        (lost,) = world.refs("alice", "bob")
        assert State(lost.state) is State.OPENING
        set_right(world, "alice", restart=restart)
        world.settle()
        assert lost.id not in {ref.id for ref in world.refs("alice", "bob")}
        world.quiesce()
        must_have_it_all(world)


@HOW
@pytest.mark.parametrize(("ahead", "later"), [(3, 3), (60, 0)])
def test_what_was_replaced_under_a_clock_that_was_ahead_goes_when_it_should(
    ahead: int, later: int, restart: bool
) -> None:
    """Nobody can tell which clock was right until one of them is refuted; so it may stay as long as they differed."""
    with meeting(6, NEWER, Kit((psk(ONE),))) as world:
        world.clock.now += ahead * DAY
        old = replaced(world)
        world.clock.now -= ahead * DAY
        for who in world.peers:
            set_right(world, who, restart=restart)
        world.settle()
        for _ in range(9 + later):
            world.pass_time(DAY)
        assert old not in world.alice.table("session")


# --- a clock that was behind -----------------------------------------------------------------------------------------


@HOW
@pytest.mark.parametrize("back", [DAY, 8 * DAY, 40 * DAY, 20 * YEAR])
def test_a_clock_that_is_behind_for_a_while_ends_no_session_that_rests(back: int, restart: bool) -> None:
    """As at a start of a machine whose clock has no battery, until the network tells the time."""
    with meeting(9, NEWER, Kit((psk(ONE),))) as world:
        old = replaced(world)
        behind(world, back, restart=restart)
        assert is_kept(world, old)
        for _ in range(9):
            world.pass_time(DAY)
        assert not is_kept(world, old)


@HOW
@pytest.mark.parametrize("back", [DAY, 8 * DAY, 40 * DAY, 20 * YEAR])
def test_nor_one_that_may_be_all_that_the_peer_has(back: int, restart: bool) -> None:
    with meeting(10, ONLY_SLOT, ONLY_SLOT) as world:
        old = outdated(world)
        behind(world, back, restart=restart)
        assert is_kept(world, old)


@HOW
@EACH
@pytest.mark.parametrize("met", [False, True])
def test_what_was_offered_under_a_clock_that_was_behind_stands_in_nobodys_way_afterwards(
    kit: Kit, met: bool, restart: bool
) -> None:
    """What was offered before seems to be newer, and a key of then to have been replaced."""
    with meeting(11, kit, kit) as world:
        world.introduce()
        world.settle()
        if met:
            world.send("alice", "bob")
            world.settle()
            world.send("bob", "alice")
            world.settle()
            for who, whom in (("alice", "bob"), ("bob", "alice")):
                say_goodbye(world, who, whom)
        world.clock.now += HOUR
        for who in world.peers:
            behind(world, 9 * DAY, restart=restart, who=who)
        world.quiesce()
        for who, whom in (("alice", "bob"), ("bob", "alice")):
            world.send(who, whom, "the clock is right again")
            world.settle()
        assert world.told("bob")[-1] == world.told("alice")[-1] == "the clock is right again"


@HOW
@EACH
def test_what_was_offered_under_a_clock_that_was_ahead_stands_in_nobodys_way_afterwards(
    kit: Kit, restart: bool
) -> None:
    """Its keys seem to be newer than those that are offered later: the offer's number says which are."""
    with meeting(12, kit, kit) as world:
        world.introduce()
        world.settle()
        world.bob.skew = 200 * DAY
        world.crash("bob")
        world.settle()
        world.give("alice", world.offer_of("bob").received, of="bob")
        set_right(world, "bob", restart=restart)
        world.settle()
        world.give("alice", world.offer_of("bob").received, of="bob")
        world.send("alice", "bob", "the clock is right again")
        world.quiesce()
        assert world.told("bob") == ["the clock is right again"]


def behind(world: Meeting, back: int, *, restart: bool, who: str = "alice") -> None:
    """Then a few hours of the right time, in which whatever is overdue has its turn."""
    peer = world.peers[who]
    peer.skew = -back
    if restart:
        world.crash(who)
    else:
        peer.perform(lambda: peer.engine.start(peer.moment(), set_back=True))
    world.settle()
    world.clock.now += HOUR
    world.work(who)
    peer.skew = 0
    for _ in range(4):
        world.work(who)
        world.clock.now += HOUR


@HOW
def test_regular_work_goes_on(restart: bool) -> None:
    with meeting(7, ONLY_FRAME, ONLY_FRAME) as world:
        world.introduce()
        world.alice.skew = YEAR
        world.crash("alice")
        world.settle()
        set_right(world, "alice", restart=restart)
        world.settle()
        for kind, period in PERIODS.items():
            due = int.from_bytes(world.alice.table("plan")[bytes((kind,))].value, "big")
            assert world.clock.now < due <= world.clock.now + period
            assert records.timer_key(due, kind)[1] in world.alice.table("timer")


@pytest.mark.parametrize("period", PERIODS.values(), ids=["seen", "advertise"])
@AROUND
def test_a_plan_that_reaches_further_than_it_can_tells_of_a_clock_that_was_ahead(period: int, beyond: int) -> None:
    kind = next(kind for kind, length in PERIODS.items() if length == period)
    with meeting(8, ONLY_FRAME, ONLY_FRAME) as world:
        due = int.from_bytes(world.alice.table("plan")[bytes((kind,))].value, "big")
        world.settle()
        due = int.from_bytes(world.alice.table("plan")[bytes((kind,))].value, "big")
        world.clock.now = due - period - beyond
        world.alice.boot()
        now = int.from_bytes(world.alice.table("plan")[bytes((kind,))].value, "big")
        assert now == (world.clock.now if beyond > 0 else due)


@pytest.mark.anyio
@AROUND
async def test_a_node_notices_that_its_clock_was_set_back(beyond: int) -> None:
    store, now = MemoryStore(), [NOW]
    transport = MemoryNetwork().transport("alice")
    async with open_node(store, transport, [Psk(SECRET)], policy=WITHOUT_FORWARD_SECRECY, clock=lambda: now[0]) as node:
        await node.flushed()
        key = records.plan_key(records.Timer.ADVERTISE)

        async def planned() -> bool:
            return int.from_bytes(store.read((key,))[key].value, "big") > NOW

        await until(planned)
        before = store.read((key,))[key].value
        now[0] = NOW - CLOCK_BACK_MS - beyond
        node._runtime._timers.set()
        for _ in range(20):
            await node.flushed()
        again = int.from_bytes(store.read((key,))[key].value, "big")
        assert (again != int.from_bytes(before, "big")) == (beyond > 0)
        assert again <= now[0] + PERIODS[records.Timer.ADVERTISE] or beyond <= 0
