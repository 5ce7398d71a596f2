"""The network that other tests stand on does to envelopes what it says, and the same way for one seed."""

from __future__ import annotations

import anyio
import anyio.lowlevel
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kexkit.api import Arrival, Envelope
from kexkit.errors import InvalidInput, TransportError
from kexkit.testing import Faults, MemoryNetwork
from kexkit.testing.memory_transport import MemoryTransport

TOPIC = "/kexkit/1/test/proto"


def envelope(number: int, *, topic: str = TOPIC, ephemeral: bool = False) -> Envelope:
    return Envelope(topic, b"payload %d" % number, 1, 1_700_000_000_000_000_000 + number, ephemeral)


async def watching(network: MemoryNetwork, name: str, cursor: bytes | None = None) -> MemoryTransport:
    transport = network.transport(name)
    await transport.watch({TOPIC: cursor})
    return transport


def payloads(arrivals: list[Arrival]) -> list[bytes]:
    return [arrival.envelope.payload for arrival in arrivals]


ALL = [b"payload %d" % number for number in range(50)]


@pytest.mark.anyio
async def test_what_is_published_can_be_read_at_once() -> None:
    network = MemoryNetwork()
    bob, alice = await watching(network, "bob"), network.transport("alice")
    await alice.publish(envelope(1))
    with anyio.fail_after(30):
        assert (await bob.next()).envelope == envelope(1)


@pytest.mark.anyio
async def test_without_automatic_delivery_nothing_arrives_before_the_test_delivers() -> None:
    network = MemoryNetwork(automatic=False)
    bob, alice = await watching(network, "bob"), network.transport("alice")
    await alice.publish(envelope(1))
    assert bob.take() is None
    await network.deliver()
    assert payloads(list(bob.drain())) == [b"payload 1"]


@pytest.mark.anyio
async def test_lost_deliveries_stay_in_the_log_and_come_with_repair() -> None:
    network = MemoryNetwork(seed=3)
    network.set_faults(Faults(loss=1.0))
    bob, alice = await watching(network, "bob"), network.transport("alice")
    for number in range(50):
        await alice.publish(envelope(number))
    assert bob.take() is None
    network.heal()
    assert payloads(list(bob.drain())) == ALL


@pytest.mark.anyio
async def test_a_lossy_publication_returns_and_is_nowhere() -> None:
    network = MemoryNetwork()
    bob, alice = await watching(network, "bob"), network.transport("alice")
    network.lose_publications(1, sender="alice")
    await alice.publish(envelope(1))
    await alice.publish(envelope(2))
    network.heal()
    assert payloads(list(bob.drain())) == [b"payload 2"]
    assert network.logged(TOPIC) == [envelope(2)]


@pytest.mark.anyio
@pytest.mark.parametrize("stored", [False, True])
async def test_a_failed_publication_raises_and_may_have_been_taken(stored: bool) -> None:
    network = MemoryNetwork()
    alice = network.transport("alice")
    network.fail_publications(stored=stored)
    with pytest.raises(TransportError):
        await alice.publish(envelope(1))
    assert network.logged() == ([envelope(1)] if stored else [])
    await alice.publish(envelope(2))


@pytest.mark.anyio
async def test_duplicates_and_reordering_keep_every_envelope() -> None:
    network = MemoryNetwork(seed=5, automatic=False)
    network.set_faults(Faults(duplication=0.5, reordering=0.5, delay=0.3))
    bob, alice = await watching(network, "bob"), network.transport("alice")
    for number in range(50):
        await alice.publish(envelope(number))
    await network.deliver()
    seen = payloads(list(bob.drain()))
    assert sorted(set(seen)) == sorted(ALL)
    assert len(seen) > 50
    assert list(dict.fromkeys(seen)) != ALL


@pytest.mark.anyio
async def test_a_tampered_copy_differs_in_its_payload_and_the_genuine_one_can_be_had() -> None:
    network = MemoryNetwork(seed=1)
    network.set_faults(Faults(tampering=1.0), receiver="bob")
    bob, carol, alice = await watching(network, "bob"), await watching(network, "carol"), network.transport("alice")
    for number in range(50):
        await alice.publish(envelope(number))
    assert payloads(list(carol.drain())) == ALL
    assert not {arrival.envelope for arrival in bob.drain()} & set(network.logged(TOPIC))
    network.heal()
    assert payloads(list(bob.drain())) == ALL


@pytest.mark.anyio
async def test_a_partition_holds_both_sides_apart_until_it_heals() -> None:
    network = MemoryNetwork()
    alice, bob, carol = [await watching(network, name) for name in ("alice", "bob", "carol")]
    network.partition("alice", "bob")
    await alice.publish(envelope(1))
    await carol.publish(envelope(2))
    assert [payloads(list(peer.drain())) for peer in (alice, bob, carol)] == [
        [b"payload 1"],
        [b"payload 1"],
        [b"payload 2"],
    ]
    network.heal()
    assert [payloads(list(peer.drain())) for peer in (alice, bob, carol)] == [
        [b"payload 2"],
        [b"payload 2"],
        [b"payload 1"],
    ]


@pytest.mark.anyio
async def test_holding_offline_and_dropping_are_undone_without_loss() -> None:
    network = MemoryNetwork()
    bob, alice = await watching(network, "bob"), network.transport("alice")
    network.hold("bob")
    await alice.publish(envelope(0))
    assert bob.take() is None
    network.release("bob")
    assert payloads(list(bob.drain())) == [b"payload 0"]
    network.offline("bob")
    await alice.publish(envelope(1))
    assert bob.take() is None
    with pytest.raises(TransportError):
        await bob.publish(envelope(9))
    network.online("bob")
    assert payloads(list(bob.drain())) == [b"payload 1"]
    network.drop_next(1, receiver="bob")
    await alice.publish(envelope(2))
    await alice.publish(envelope(3))
    assert payloads(list(bob.drain())) == [b"payload 3"]
    network.repair()
    assert b"payload 2" in payloads(list(bob.drain()))


@pytest.mark.anyio
async def test_injected_envelopes_reach_the_named_watcher_and_leave_cursors_alone() -> None:
    network = MemoryNetwork()
    bob, carol = await watching(network, "bob"), await watching(network, "carol")
    network.inject(envelope(7), receiver="bob")
    assert payloads(list(bob.drain())) == [b"payload 7"]
    assert carol.take() is None
    assert network.logged() == []


@pytest.mark.anyio
async def test_ephemeral_envelopes_reach_those_who_watch_and_are_not_kept() -> None:
    network = MemoryNetwork()
    bob, alice = await watching(network, "bob"), network.transport("alice")
    await alice.publish(envelope(1, ephemeral=True))
    assert payloads(list(bob.drain())) == [b"payload 1"]
    assert (await watching(network, "carol")).take() is None


@pytest.mark.anyio
async def test_a_second_transport_of_one_name_cuts_off_the_first() -> None:
    network = MemoryNetwork()
    old = await watching(network, "bob")
    network.transport("bob")
    with pytest.raises(TransportError):
        await old.publish(envelope(1))
    with pytest.raises(StopAsyncIteration):
        await old.next()


@pytest.mark.anyio
async def test_two_readers_at_once_are_refused() -> None:
    network = MemoryNetwork()
    bob = await watching(network, "bob")
    async with anyio.create_task_group() as group:
        group.start_soon(bob.next)
        await anyio.wait_all_tasks_blocked()
        with pytest.raises(InvalidInput):
            await bob.next()
        group.cancel_scope.cancel()


@pytest.mark.anyio
async def test_settle_waits_for_answers_to_answers() -> None:
    network = MemoryNetwork(automatic=False)
    alice, bob = await watching(network, "alice"), await watching(network, "bob")
    heard: list[bytes] = []

    async def answer(transport: MemoryTransport) -> None:
        async for arrival in transport.arrivals():
            number = int(arrival.envelope.payload.split()[1])
            heard.append(arrival.envelope.payload)
            if number < 6:
                await anyio.lowlevel.checkpoint()
                await transport.publish(envelope(number + 1))

    async with anyio.create_task_group() as group:
        group.start_soon(answer, bob)
        group.start_soon(answer, alice)
        await network.transport("carol").publish(envelope(5))
        await network.settle()
        group.cancel_scope.cancel()
    assert sorted(set(heard)) == [b"payload 5", b"payload 6"]
    assert heard.count(b"payload 6") == 4


def test_one_seed_gives_one_course_of_events() -> None:
    def course(seed: int) -> list[bytes]:
        network = MemoryNetwork(seed, automatic=False)
        network.set_faults(Faults(0.2, 0.2, 0.2, 0.2, 3, 0.2))
        bob = network.transport("bob")
        network.watch(bob, TOPIC, None)
        for number in range(50):
            network.publish("alice", envelope(number))
        network.advance()
        return payloads(list(bob.drain()))

    assert course(1) == course(1)
    assert course(1) != course(2)


@settings(max_examples=60, derandomize=True, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    rates=st.tuples(*[st.sampled_from([0.0, 0.3, 0.9])] * 5),
    kills=st.lists(st.integers(1, 60), max_size=4),
)
def test_a_reader_killed_anywhere_that_comes_back_with_its_last_cursor_misses_nothing(
    seed: int, rates: tuple[float, float, float, float, float], kills: list[int]
) -> None:
    loss, duplication, reordering, delay, tampering = rates
    network = MemoryNetwork(seed, automatic=False)
    network.set_faults(Faults(loss, duplication, reordering, delay, 4, tampering))
    cursor: bytes | None = None
    genuine: set[bytes] = set()
    for number in range(50):
        network.publish("alice", envelope(number))
    for reads in [*kills, None]:
        bob = network.transport("bob")
        if reads is None:
            network.heal()
        network.watch(bob, TOPIC, cursor)
        network.advance()
        for _, arrival in zip(range(reads or 10_000), bob.drain(), strict=False):
            genuine.add(arrival.envelope.payload)
            cursor = arrival.cursor
    assert set(ALL) <= genuine
