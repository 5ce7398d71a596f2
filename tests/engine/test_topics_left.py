"""Topics are watched while somebody listens there, and no longer: in memory, at the transport, and as rows."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection, Iterator, Mapping
from contextlib import asynccontextmanager
from random import Random

import anyio
import pytest
from attrs import define, field
from kexkit import _records as records
from kexkit._engine.drawer import NOWHERE, rehear
from kexkit._engine.requests import Draft, Flow, Outcome, Scan
from kexkit._engine.wrapping import contact_code_channel, negotiated_channel, own_channels
from kexkit.api import Arrival, Change, Envelope, Hear
from kexkit.errors import TransportError
from kexkit.events import TransportTrouble
from kexkit.limits import CONFIRM_LAG_S
from kexkit.node import Node, open_node
from kexkit.policy import WITHOUT_FORWARD_SECRECY
from kexkit.testing import Faults, MemoryNetwork, MemoryStore
from kexkit.testing.memory_transport import MemoryTransport
from kexkit_psk.exchange import Psk

from tests.engine.negotiating_peers import BARE, KITS, Kit, Meeting, meeting
from tests.engine.nodes import event_of, until
from tests.world.mechanisms import SECRET
from tests.world.peer import Peer
from tests.world.world import DAY

EACH = pytest.mark.parametrize("kit", KITS.values(), ids=KITS)
TOPIC = "/kexkit/1/left/proto"


def claimed(peer: Peer) -> set[str]:
    """By ourselves, by people who may write to us, and by routes."""
    topics = {channel.topic for channel in own_channels(peer.me.identity)}
    for identity, row in peer.table("peer").items():
        if identity != peer.me.identity:
            topics.add(negotiated_channel(identity, peer.moment()).topic)
            if records.read_peer(row.value).contact:
                topics.add(contact_code_channel(identity).topic)
    return topics | {records.read_route(row.value).topic for row in peer.table("route").values()}


def must_listen_where_it_should(world: Meeting) -> None:
    for peer in world.peers.values():
        wanted = claimed(peer)
        assert set(peer.transport.watches) == wanted
        assert {topic.decode() for topic in peer.table("cursor")} <= wanted


# --- the engine ------------------------------------------------------------------------------------------------------


@EACH
@pytest.mark.parametrize("seed", range(3))
def test_whatever_happens_what_is_watched_is_what_is_claimed(kit: Kit, seed: int) -> None:
    random = Random(seed)
    with meeting(seed, kit, kit) as world:
        world.introduce()
        world.network.set_faults(Faults(loss=0.2, duplication=0.1, reordering=0.2))
        for _ in range(30):
            who, whom = random.sample(["alice", "bob"], 2)
            act = random.randrange(10)
            if act < 5:
                world.send(who, whom)
            elif act < 7:
                world.settle()
            elif act == 7:
                world.crash(who)
            elif act == 8:
                say_goodbye(world, who, whom)
            else:
                world.clock.now += random.choice([60_000, DAY, 10 * DAY])
            must_listen_where_it_should(world)
        world.quiesce()
        must_listen_where_it_should(world)


def say_goodbye(world: Meeting, who: str, whom: str) -> None:
    peer, to = world.peers[who], world.peers[whom].me.identity
    peer.perform(lambda: peer.engine.end_sessions(to, peer.moment()))


def test_a_session_that_ends_takes_its_topic_along_on_both_ends() -> None:
    with meeting(1, Kit((BARE,)), Kit((BARE,))) as world:
        world.introduce()
        world.send("alice", "bob")
        world.settle()
        world.send("bob", "alice")
        world.settle()
        routes = [records.read_route(row.value) for row in world.alice.table("route").values()]
        (topic,) = {route.topic for route in routes if route.session}
        assert topic.encode() in world.alice.table("cursor")
        say_goodbye(world, "alice", "bob")
        assert topic in world.alice.transport.watches, "something may be on its way"
        world.settle()
        for peer in (world.alice, world.bob):
            assert topic not in peer.transport.watches
            assert records.cursor_key(topic)[1] not in peer.table("cursor")
        must_listen_where_it_should(world)


# --- by hand: who claims a topic, and who leaves it ------------------------------------------------------------------


def claim(tag: bytes, topic: str = TOPIC) -> Callable[[], Flow[Outcome]]:
    """As a session or an offer does it."""

    def flow() -> Flow[Outcome]:
        draft = Draft()
        yield from ()
        rehear(draft, NOWHERE, frozenset({Hear(topic, tag)}), "one@test.example/1", session_id=tag)
        return draft.outcome()

    return flow


def leave(tag: bytes, topic: str = TOPIC) -> Callable[[], Flow[Outcome]]:
    def flow() -> Flow[Outcome]:
        draft = Draft()
        yield from ()
        rehear(draft, frozenset({Hear(topic, tag)}), NOWHERE, "one@test.example/1", session_id=tag)
        return draft.outcome()

    return flow


def some(fill: int) -> bytes:
    return bytes([fill]) * 16


@pytest.fixture
def peer() -> Iterator[Peer]:
    with meeting(2, Kit((BARE,)), Kit((BARE,))) as world:
        world.alice.perform(claim(some(1)))
        mark(world.alice, TOPIC)
        yield world.alice


def mark(peer: Peer, topic: str) -> None:
    peer.perform(lambda: peer.engine.mark({topic: b"so far"}))


def is_watched(peer: Peer, topic: str = TOPIC) -> bool:
    heard = bool(peer.engine.channels_of(topic))
    assert (topic in peer.transport.watches) == heard
    assert (records.cursor_key(topic)[1] in peer.table("cursor")) <= heard
    return heard


def test_a_topic_that_its_last_owner_leaves_is_left(peer: Peer) -> None:
    assert is_watched(peer)
    peer.perform(leave(some(1)))
    assert not is_watched(peer)


def test_a_topic_where_another_listens_stays_and_so_does_how_far_it_was_read(peer: Peer) -> None:
    peer.perform(claim(some(2)))
    peer.perform(leave(some(1)))
    assert is_watched(peer)
    assert peer.table("cursor")[TOPIC.encode()].value == b"so far"
    peer.perform(leave(some(2)))
    assert not is_watched(peer)


@pytest.mark.parametrize("tag", [b"", some(0), some(255)], ids=["all of it", "first tag", "last tag"])
def test_whatever_the_tag_with_which_the_other_listens(peer: Peer, tag: bytes) -> None:
    peer.perform(claim(tag))
    peer.perform(leave(some(1)))
    assert is_watched(peer)


def test_a_topic_that_is_claimed_again_before_it_was_looked_at_stays(peer: Peer) -> None:
    peer.perform_together([leave(some(1)), claim(some(2))])
    assert is_watched(peer)
    assert peer.table("cursor")[TOPIC.encode()].value == b"so far"


def test_a_topic_that_is_claimed_again_in_the_commit_that_gives_it_up_is_watched_anew(peer: Peer) -> None:
    key = records.route_key(TOPIC, some(1))
    peer.rows.commit(Change({}, {}, frozenset({key})))
    peer.perform_together([lambda: peer.engine.leave([TOPIC]), claim(some(2))])
    assert is_watched(peer)
    mark(peer, TOPIC)
    assert TOPIC.encode() in peer.table("cursor")


def test_what_still_came_in_the_commit_that_gives_a_topic_up_leaves_no_trace(peer: Peer) -> None:
    key = records.route_key(TOPIC, some(1))
    peer.rows.commit(Change({}, {}, frozenset({key})))
    peer.perform_together([lambda: peer.engine.leave([TOPIC]), lambda: peer.engine.mark({TOPIC: b"further"})])
    assert not is_watched(peer)
    mark(peer, TOPIC)
    assert not is_watched(peer)


def test_where_people_may_write_to_us_we_go_on_listening(peer: Peer) -> None:
    ours = own_channels(peer.me.identity)[1].topic  # where no offer has routes
    peer.perform(claim(some(3), ours))
    peer.perform(leave(some(3), ours))
    assert is_watched(peer, ours)


def test_a_session_whose_tags_move_on_leaves_nothing_and_nothing_is_looked_at() -> None:
    draft = Draft()
    before = frozenset(Hear(TOPIC, some(n)) for n in range(97))
    rehear(draft, before, frozenset(Hear(TOPIC, some(n)) for n in range(32, 129)), "one@test.example/1")
    assert draft.outcome().left == ()
    rehear(draft, before, frozenset({Hear("/elsewhere", b"")}), "one@test.example/1")
    assert draft.outcome().left == (TOPIC,)


def test_a_look_costs_one_row_of_the_topic_however_many_routes_there_are(peer: Peer) -> None:
    flow = peer.engine.leave([TOPIC])
    request = next(flow)
    assert isinstance(request, Scan)
    own = records.route_key(TOPIC, some(1))[1]
    assert (request.table, request.limit, request.start) == ("route", 1, own[:16])
    assert request.stop is not None
    assert request.start < own < request.stop
    assert records.route_key(TOPIC + "x", b"")[1][:16] != own[:16]


def test_what_was_left_in_a_commit_of_unknown_outcome_is_found_by_a_look_at_everything(peer: Peer) -> None:
    key = records.route_key(TOPIC, some(1))
    peer.rows.commit(Change({}, {}, frozenset({key})))
    peer._look_at_everything()
    assert not is_watched(peer)


def test_a_look_that_could_not_be_written_hinders_nobody_who_listens_there_afterwards(peer: Peer) -> None:
    key = records.route_key(TOPIC, some(1))
    peer.rows.commit(Change({}, {}, frozenset({key})))
    flow = peer.engine.leave([TOPIC])
    next(flow)
    with pytest.raises(StopIteration):
        flow.send([])
    peer.perform(claim(some(2)))
    peer.perform(lambda: peer.engine.mark({TOPIC: b"further"}))
    assert peer.table("cursor")[TOPIC.encode()].value == b"further"


# --- the shell -------------------------------------------------------------------------------------------------------


@define
class Recording:
    """A transport and what it was asked; the first so many requests to unwatch fail."""

    real: MemoryTransport
    failures: int = 0
    error: Exception = field(factory=lambda: TransportError("gone"))
    asked: list[tuple[str, str]] = field(factory=list)
    held: anyio.Event | None = None
    """until then it watches nothing new"""

    async def publish(self, envelope: Envelope) -> None:
        await self.real.publish(envelope)

    async def watch(self, topics: Mapping[str, bytes | None]) -> None:
        self.asked += [("watch", topic) for topic in topics]
        if self.held is not None:
            await self.held.wait()
        await self.real.watch(topics)

    async def unwatch(self, topics: Collection[str]) -> None:
        self.asked += [("unwatch", topic) for topic in topics]
        if self.failures:
            self.failures -= 1
            raise self.error
        await self.real.unwatch(topics)

    def arrivals(self) -> AsyncIterator[Arrival]:
        return self.real.arrivals()


@define
class Alone:
    """One node, and what it asks of its transport."""

    node: Node
    store: MemoryStore
    transport: Recording

    async def do(self, *flows: Callable[[], Flow[Outcome]]) -> None:
        """All at once: those that wait together share a commit."""
        async with anyio.create_task_group() as tasks:
            for flow in flows:
                tasks.start_soon(self.node._runtime.perform, flow)

    async def is_unheard(self, topic: str) -> None:
        async def so() -> bool:
            return not self.node._runtime.engine.channels_of(topic)

        await until(so)

    async def asks(self, *verbs: str, topic: str = TOPIC) -> None:
        """These, in this order, and then nothing more."""

        async def so() -> bool:
            return [verb for verb, asked in self.transport.asked if asked == topic] == list(verbs)

        await until(so)
        await anyio.sleep(3 * CONFIRM_LAG_S)
        assert await so()


@asynccontextmanager
async def alone(failures: int = 0, error: Exception | None = None) -> AsyncIterator[Alone]:
    store = MemoryStore()
    transport = Recording(MemoryNetwork().transport("alice"), failures, error or TransportError("gone"))
    async with open_node(store, transport, [Psk(SECRET)], policy=WITHOUT_FORWARD_SECRECY) as node:
        yield Alone(node, store, transport)


@pytest.mark.anyio
async def test_a_node_unwatches_what_it_leaves_once_it_is_written() -> None:
    async with alone() as it:
        await it.do(claim(some(1)))
        await it.asks("watch")
        await it.do(leave(some(1)))
        await it.asks("watch", "unwatch")
        assert TOPIC not in it.transport.real.watches
        await it.do(claim(some(1)))
        await it.asks("watch", "unwatch", "watch")
        assert TOPIC in it.transport.real.watches


@pytest.mark.anyio
async def test_a_node_goes_on_watching_what_is_claimed_again_in_the_meantime() -> None:
    async with alone() as it:
        await it.do(claim(some(1)))
        await it.asks("watch")
        await it.do(leave(some(1)), claim(some(2)))
        await it.asks("watch")
        assert TOPIC in it.transport.real.watches


@pytest.mark.anyio
async def test_what_came_to_a_topic_before_it_was_claimed_again_is_read() -> None:
    """Nobody heard it then."""
    async with alone() as it:
        await it.do(claim(some(1)))
        await it.asks("watch")
        await it.do(leave(some(1)))
        await it.asks("watch", "unwatch")
        peers = it.transport.real._network
        peers.publish("bob", Envelope(TOPIC, bytes(40), 2, 7))
        await it.do(claim(some(1)))
        cursor = records.cursor_key(TOPIC)

        async def read() -> bool:
            return cursor in it.store.dump()

        await until(read)


@pytest.mark.anyio
@pytest.mark.parametrize("error", [TransportError("gone"), OSError("a socket is gone")], ids=["typed", "foreign"])
async def test_a_transport_that_fails_to_unwatch_breaks_nothing_and_is_asked_again(error: Exception) -> None:
    other = "/kexkit/1/other/proto"
    async with alone(1, error) as it:
        await it.do(claim(some(1)))
        await it.asks("watch")
        await it.do(leave(some(1)))
        trouble = await event_of(it.node, TransportTrouble)
        assert "socket" not in trouble.cause
        await it.asks("watch", "unwatch")
        await it.do(claim(some(2), other))
        await it.asks("watch", topic=other)
        await it.asks("watch", "unwatch", "unwatch")
        assert TOPIC not in it.transport.real.watches
        assert other in it.transport.real.watches


@pytest.mark.anyio
async def test_what_could_not_be_unwatched_and_is_claimed_again_stays_watched() -> None:
    async with alone(1) as it:
        await it.do(claim(some(1)))
        await it.asks("watch")
        await it.do(leave(some(1)))
        await it.asks("watch", "unwatch")
        await it.do(claim(some(1)))
        await it.asks("watch", "unwatch", "unwatch", "watch")
        await it.do(claim(some(2), "/kexkit/1/other/proto"))
        await it.asks("watch", "unwatch", "unwatch", "watch")
        assert TOPIC in it.transport.real.watches


@pytest.mark.anyio
async def test_what_is_claimed_again_is_watched_although_another_topic_is_left_before_its_turn_comes() -> None:
    """A transport takes its time, and topics come and go meanwhile."""
    slow, other = "/kexkit/1/slow/proto", "/kexkit/1/other/proto"
    async with alone() as it:
        await it.do(claim(some(1)), claim(some(3), other))
        await it.asks("watch")
        it.transport.held = anyio.Event()
        await it.do(claim(some(4), slow))
        await it.do(leave(some(1)))
        await it.is_unheard(TOPIC)
        await it.do(claim(some(2)))
        await it.do(leave(some(3), other))
        await it.is_unheard(other)
        it.transport.held.set()
        await it.asks("watch", "unwatch", "watch")
        await it.asks("watch", "unwatch", topic=other)
        assert TOPIC in it.transport.real.watches
