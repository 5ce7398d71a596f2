"""What the relay refuses, at the last one allowed and the first one refused."""

from __future__ import annotations

import anyio
import pytest
from kexkit_transport_relay import Quotas, serve
from kexkit_transport_relay.limits import (
    ARRIVAL_COST,
    HANDSHAKES_BEYOND,
    MAX_PAYLOAD,
)
from kexkit_transport_relay.messages import (
    Publish,
    Refused,
    Stored,
    Unwatch,
    Watch,
    WatchTopic,
)
from kexkit_transport_relay.websocket import Unreachable, connect, read_address

from tests.transport.by_hand import PATIENCE, by_hand, envelope, until

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("over", [-1, 0, 1])
async def test_a_payload_over_the_limit_is_refused_for_good(over: int) -> None:
    async with serve() as relay, by_hand(relay.url) as alice:
        assert alice.welcome.max_payload == MAX_PAYLOAD
        (answer,) = await alice.publish(envelope(1, MAX_PAYLOAD + over))
        if over <= 0:
            assert answer is None
        else:
            assert answer is not None
            assert answer.final
        assert await alice.publish(envelope(2)) == [None]


@pytest.mark.parametrize("over", [-1, 0, 1])
async def test_so_many_publications_at_once_and_then_so_many_a_second(over: int) -> None:
    async with serve(quotas=Quotas(publish_burst=20, publish_rate=0.01)) as relay, by_hand(relay.url) as alice:
        answers = await alice.publish(*(envelope(number) for number in range(20 + over)))
        refused = [answer for answer in answers if answer is not None]
        assert len(refused) == max(0, over)
        assert all(not answer.final and 50_000 < answer.retry_after_ms <= 100_001 for answer in refused)
        async with by_hand(relay.url) as bob:
            assert await bob.publish(envelope(99)) == [None]


@pytest.mark.parametrize("over", [-1, 0, 1])
async def test_an_address_stores_so_much_in_a_window_and_duplicates_count(over: int) -> None:
    each = 1000 + ARRIVAL_COST
    quotas = Quotas(address_bytes=4 * each - over, address_window=600.0)
    async with serve(quotas=quotas) as relay, by_hand(relay.url) as alice, by_hand(relay.url) as bob:
        assert await alice.publish(envelope(1, 1000), envelope(1, 1000)) == [None, None]
        answers = await bob.publish(envelope(2, 1000), envelope(3, 1000), envelope(4, 1000, ephemeral=True))
        assert (answers[1] is None) == (over <= 0)
        if answers[1] is not None:
            assert not answers[1].final
            assert 500_000 < answers[1].retry_after_ms <= 600_001
        assert answers[2] is None


@pytest.mark.parametrize("count", [9, 10, 11])
async def test_a_connection_watches_so_many_topics(count: int) -> None:
    async with serve(quotas=Quotas(topics=10)) as relay, by_hand(relay.url) as alice:
        assert alice.welcome.max_topics == 10
        await alice.say(Watch(tuple(WatchTopic(number, f"/t/{number}", None) for number in range(count))))
        await alice.say(Publish(1, envelope(1)))
        said = await alice.hear()
        if count == 11:
            assert isinstance(said, Refused)
            assert (said.watch, said.final) == (10, True)
        else:
            assert said == Stored((1,))


async def test_watches_of_one_address_are_counted_over_its_connections_and_come_back() -> None:
    async with serve(quotas=Quotas(address_topics=2)) as relay, by_hand(relay.url) as alice:
        async with by_hand(relay.url) as bob:
            await bob.say(Watch((WatchTopic(1, "/a", None), WatchTopic(2, "/b", None))))
            await until(lambda: relay.relay.sources.watches == 2)
            await alice.watch("/c")
            said = await alice.hear()
            assert isinstance(said, Refused)
            assert (said.watch, said.final) == (1, False)
            await bob.say(Unwatch((1,)))
            await until(lambda: relay.relay.sources.watches == 1)
        await until(lambda: relay.relay.sources.watches == 0)
        await alice.watch("/c")
        assert await alice.publish(envelope(1, topic="/c")) == [None]
        assert len(await alice.read(1)) == 1


@pytest.mark.parametrize("by_address", [True, False])
async def test_one_connection_too_many_is_told_so_and_comes_in_when_another_leaves(by_address: bool) -> None:
    quotas = Quotas(address_connections=2) if by_address else Quotas(connections=2)
    async with serve(quotas=quotas) as relay, by_hand(relay.url), by_hand(relay.url) as second:
        with pytest.raises(Unreachable, match="takes no more connections"):
            await connect(read_address(relay.url))
        await second.socket.close(1000, "")
        await until(lambda: relay.relay.sources.connections == 1)
        async with by_hand(relay.url) as third:
            assert await third.publish(envelope(1)) == [None]


async def test_connections_far_beyond_the_limit_are_cut_off_unheard() -> None:
    async with serve(quotas=Quotas(connections=1)) as relay, by_hand(relay.url) as alice:
        streams = [await anyio.connect_tcp("127.0.0.1", relay.port) for _ in range(HANDSHAKES_BEYOND)]
        await until(lambda: relay.relay._streams == 1 + HANDSHAKES_BEYOND)
        extra = await anyio.connect_tcp("127.0.0.1", relay.port)
        with pytest.raises((anyio.EndOfStream, anyio.BrokenResourceError)), anyio.fail_after(PATIENCE):
            await extra.receive()
        for stream in [*streams, extra]:
            await stream.aclose()
        assert await alice.publish(envelope(1)) == [None]


async def test_retention_happens_while_it_runs() -> None:
    async with serve(quotas=Quotas(keep_count=10)) as relay, by_hand(relay.url) as alice:
        await alice.publish(*(envelope(number) for number in range(25)))
        await until(lambda: relay.relay.ledger.count == 10)
        await alice.watch()
        assert [one.payload for one in await alice.read(10)] == [b"payload %d" % number for number in range(15, 25)]
