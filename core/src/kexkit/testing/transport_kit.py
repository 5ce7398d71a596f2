"""The promises of `kexkit.api.Transport` as tests: what our own transports pass, and what a stranger's must.

    class TestMyTransport(TransportKit):
        def network(self):
            return my_network()     # async context manager; gives a function that opens one more transport of it

Run it with pytest. Each test is named after the promise it checks, and runs on both event loops.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Sequence
from contextlib import AbstractAsyncContextManager
from typing import TypeAlias

import anyio
import pytest

from kexkit.api import Arrival, Envelope, Transport
from kexkit.errors import InvalidInput, TransportError
from kexkit.testing.cancelling import CancelledAt

Connect: TypeAlias = Callable[[], AbstractAsyncContextManager[Transport]]
"""Opens one more transport of the same network"""

HERE = "/kexkit/1/kit-here/proto"
THERE = "/kexkit/1/kit-there/proto"
LONG_PAST = 300
"""envelopes: more than one page of any transport that pages"""
LARGE = 150 * 1024
"""bytes of payload: what public Waku nodes carry"""
FLOOD = 40
"""envelopes of LARGE, 6 MB: more than a transport may keep in memory for a reader that does not read"""
SUSPENSIONS = 12
"""how far into a call it is cancelled"""


def envelope(number: int, *, topic: str = HERE, payload: bytes | None = None, ephemeral: bool = False) -> Envelope:
    payload = b"payload %d" % number if payload is None else payload
    return Envelope(topic, payload, 1, 1_700_000_000_000_000_000 + number, ephemeral)


def envelopes(first: int, stop: int, *, topic: str = HERE) -> list[Envelope]:
    return [envelope(number, topic=topic) for number in range(first, stop)]


async def publish_all(transport: Transport, wanted: Sequence[Envelope]) -> None:
    async with anyio.create_task_group() as group:
        for one in wanted:
            group.start_soon(transport.publish, one)


async def read_until(transport: Transport, wanted: Collection[Envelope]) -> list[Arrival]:
    """Arrivals up to the one that makes `wanted` complete."""
    missing, seen = set(wanted), []
    async for arrival in transport.arrivals():
        seen.append(arrival)
        missing.discard(arrival.envelope)
        if not missing:
            break
    return seen


@pytest.mark.anyio
class TransportKit:
    """Subclass it, say in `network` what your transports meet on, and let pytest run it."""

    patience = 30.0
    """seconds that one test may take"""

    def network(self) -> AbstractAsyncContextManager[Connect]:
        """A fresh network. The function it gives opens one more transport of it, each time."""
        raise AssertionError("say in your subclass what your transports meet on")

    @pytest.fixture(params=["asyncio", "trio"])
    def anyio_backend(self, request: pytest.FixtureRequest) -> str:
        return str(request.param)

    async def _run(self, test: Callable[[Connect], Awaitable[None]]) -> None:
        with anyio.fail_after(self.patience):
            async with self.network() as connect:
                await test(connect)

    # --- past and live ---

    async def test_every_watcher_gets_the_past_and_then_the_live(self) -> None:
        async def test(connect: Connect) -> None:
            past, live = envelopes(0, 10), envelopes(10, 20)
            async with connect() as alice, connect() as bob, connect() as carol:
                await publish_all(alice, past)
                for watcher in (bob, carol):
                    await watcher.watch({HERE: None})
                    await read_until(watcher, past)
                await publish_all(alice, live)
                for watcher in (bob, carol):
                    await read_until(watcher, live)

        await self._run(test)

    async def test_a_long_past_arrives_whole(self) -> None:
        async def test(connect: Connect) -> None:
            past = envelopes(0, LONG_PAST)
            async with connect() as alice, connect() as bob:
                await publish_all(alice, past)
                await bob.watch({HERE: None})
                await read_until(bob, past)

        await self._run(test)

    async def test_nothing_is_missed_between_past_and_live(self) -> None:
        """Watching begins while somebody publishes."""

        async def test(connect: Connect) -> None:
            wanted = envelopes(0, 60)
            async with connect() as alice, connect() as bob, anyio.create_task_group() as group:
                group.start_soon(publish_all, alice, wanted)
                await bob.watch({HERE: None})
                await read_until(bob, wanted)

        await self._run(test)

    async def test_watching_again_begins_again(self) -> None:
        async def test(connect: Connect) -> None:
            past = envelopes(0, 10)
            async with connect() as alice, connect() as bob:
                await publish_all(alice, past)
                for _ in range(3):
                    await bob.watch({HERE: None})
                    await read_until(bob, past)

        await self._run(test)

    # --- cursors ---

    async def test_watching_from_any_cursor_misses_nothing_that_came_after_it(self) -> None:
        async def test(connect: Connect) -> None:
            past, later = envelopes(0, 12), envelopes(12, 15)
            async with connect() as alice, connect() as bob:
                await publish_all(alice, past)
                await bob.watch({HERE: None})
                arrivals = await read_until(bob, past)
                await publish_all(alice, later)
            for place in range(len(arrivals)):
                read = {arrival.envelope for arrival in arrivals[: place + 1]}
                async with connect() as again:
                    await again.watch({HERE: arrivals[place].cursor})
                    await read_until(again, {*past, *later} - read)

        await self._run(test)

    async def test_a_cursor_of_some_other_network_skips_nothing(self) -> None:
        async def test(connect: Connect) -> None:
            past = envelopes(0, 5)
            async with connect() as alice:
                await publish_all(alice, past)
            for cursor in (b"\xff", b"\x00" * 8, b"\xff" * 8, b"\x00" * 24, b"\xff" * 24, b"another network's" * 20):
                async with connect() as bob:
                    await bob.watch({HERE: cursor})
                    await read_until(bob, past)

        await self._run(test)

    async def test_each_topic_has_a_cursor_of_its_own(self) -> None:
        async def test(connect: Connect) -> None:
            here, there = envelopes(0, 9), envelopes(0, 4, topic=THERE)
            async with connect() as alice, connect() as bob:
                await publish_all(alice, [*here, *there])
                await bob.watch({HERE: None, THERE: None})
                arrivals = await read_until(bob, [*here, *there])
            last = {arrival.envelope.topic: arrival.cursor for arrival in arrivals}
            fresh = [envelope(100), envelope(100, topic=THERE)]
            async with connect() as alice, connect() as bob:
                await bob.watch(last)
                await publish_all(alice, fresh)
                await read_until(bob, fresh)

        await self._run(test)

    # --- topics ---

    async def test_topics_are_apart_and_unwatching_stops_one_of_them(self) -> None:
        async def test(connect: Connect) -> None:
            async with connect() as alice, connect() as bob:
                await bob.watch({HERE: None})
                await publish_all(alice, [*envelopes(0, 5, topic=THERE), *envelopes(0, 5)])
                assert {arrival.envelope.topic for arrival in await read_until(bob, envelopes(0, 5))} == {HERE}
                await bob.watch({THERE: None})
                await read_until(bob, envelopes(0, 5, topic=THERE))
                await bob.unwatch([HERE, "/kexkit/1/never-watched/proto"])
                await publish_all(alice, envelopes(5, 10))
                await publish_all(alice, envelopes(5, 10, topic=THERE))
                seen = await read_until(bob, envelopes(5, 10, topic=THERE))
                assert {arrival.envelope.topic for arrival in seen} == {THERE}

        await self._run(test)

    async def test_a_topic_that_was_unwatched_is_watched_again_with_all_that_came_meanwhile(self) -> None:
        """Without a cursor from its beginning: core forgets how far it had read what it leaves."""

        async def test(connect: Connect) -> None:
            async with connect() as alice, connect() as bob:
                await bob.watch({HERE: None})
                await publish_all(alice, envelopes(0, 5))
                last = (await read_until(bob, envelopes(0, 5)))[-1]
                await bob.unwatch([HERE])
                await publish_all(alice, envelopes(5, 10))
                await bob.watch({HERE: last.cursor})
                await publish_all(alice, envelopes(10, 15))
                await read_until(bob, envelopes(5, 15))
                await bob.unwatch([HERE])
                await bob.watch({HERE: None})
                await read_until(bob, envelopes(0, 15))

        await self._run(test)

    async def test_hundreds_of_topics_are_watched_at_once(self) -> None:
        async def test(connect: Connect) -> None:
            topics = [f"/kexkit/1/kit-{number}/proto" for number in range(400)]
            wanted = [envelope(number, topic=topic) for number, topic in enumerate(topics)]
            async with connect() as alice, connect() as bob:
                await bob.watch(dict.fromkeys(topics))
                await publish_all(alice, wanted)
                await read_until(bob, wanted)

        await self._run(test)

    # --- envelopes ---

    @pytest.mark.parametrize("size", [0, 1, 255, 4096, LARGE])
    async def test_an_envelope_survives_exactly(self, size: int) -> None:
        async def test(connect: Connect) -> None:
            payload = bytes(range(256)) * (size // 256) + bytes(range(size % 256))
            wanted = [
                Envelope("/waku/1/0x1a2b3c4d/rfc26", payload, version, timestamp)
                for version, timestamp in ((0, 1), (1, 1_700_000_000_123_456_789), (2, 2**62))
            ]
            async with connect() as alice, connect() as bob:
                await bob.watch({wanted[0].topic: None})
                await publish_all(alice, wanted)
                arrivals = await read_until(bob, wanted)
            assert {arrival.envelope for arrival in arrivals} == set(wanted)

        await self._run(test)

    async def test_an_ephemeral_envelope_reaches_who_watches_and_says_so(self) -> None:
        """Nobody is promised one, so it is sent until it comes."""

        async def test(connect: Connect) -> None:
            wanted = envelope(1, ephemeral=True)
            async with connect() as alice, connect() as bob, anyio.create_task_group() as group:

                async def keep_sending() -> None:
                    while True:
                        await alice.publish(wanted)
                        await anyio.sleep(0.05)

                await bob.watch({HERE: None})
                group.start_soon(keep_sending)
                await read_until(bob, [wanted])
                group.cancel_scope.cancel()

        await self._run(test)

    async def test_publishing_the_same_envelope_twice_is_no_error(self) -> None:
        async def test(connect: Connect) -> None:
            async with connect() as alice, connect() as bob:
                await alice.publish(envelope(1))
                await alice.publish(envelope(1))
                await bob.publish(envelope(1))
                await bob.watch({HERE: None})
                await read_until(bob, [envelope(1)])

        await self._run(test)

    # --- readers ---

    async def test_a_reader_that_does_not_read_loses_nothing_and_can_publish(self) -> None:
        async def test(connect: Connect) -> None:
            flood = [envelope(number, payload=number.to_bytes(4, "big") * (LARGE // 4)) for number in range(FLOOD)]
            answer = envelope(9999, topic=THERE)
            async with connect() as alice, connect() as bob:
                await bob.watch({HERE: None})
                await publish_all(alice, flood)
                await bob.publish(answer)
                await alice.watch({THERE: None})
                await read_until(alice, [answer])
                await read_until(bob, flood)

        await self._run(test)

    async def test_a_reader_may_leave_and_come_back(self) -> None:
        async def test(connect: Connect) -> None:
            wanted = envelopes(0, 30)
            async with connect() as alice, connect() as bob:
                await bob.watch({HERE: None})
                await publish_all(alice, wanted)
                missing = set(wanted)
                while missing:
                    async for arrival in bob.arrivals():
                        missing.discard(arrival.envelope)
                        break

        await self._run(test)

    async def test_a_second_reader_at_the_same_time_is_refused(self) -> None:
        async def test(connect: Connect) -> None:
            async with connect() as bob, anyio.create_task_group() as group:
                group.start_soon(read_until, bob, [envelope(1)])
                await anyio.wait_all_tasks_blocked()
                with pytest.raises((InvalidInput, TransportError)):
                    await anext(bob.arrivals())
                await bob.watch({HERE: None})
                await bob.publish(envelope(1))

        await self._run(test)

    # --- cancelling, closing ---

    @pytest.mark.parametrize("verb", ["publish", "watch", "unwatch", "read"])
    async def test_a_call_that_is_cancelled_anywhere_leaves_the_transport_usable(self, verb: str) -> None:
        async def test(connect: Connect) -> None:
            async with connect() as alice, connect() as bob:
                calls: dict[str, Callable[[], Awaitable[object]]] = {
                    "publish": lambda: bob.publish(envelope(0)),
                    "watch": lambda: bob.watch({HERE: None}),
                    "unwatch": lambda: bob.unwatch([HERE]),
                    "read": lambda: anext(bob.arrivals()),
                }
                for at in range(1, SUSPENSIONS):
                    with anyio.move_on_after(0.05) as scope:
                        if await CancelledAt(calls[verb](), scope, at):
                            break
                wanted = envelopes(1, 6)
                await bob.watch({HERE: None})
                await publish_all(alice, wanted)
                await bob.publish(envelope(6))
                await read_until(bob, [*wanted, envelope(6)])

        await self._run(test)

    async def test_what_a_cancelled_reader_waited_for_comes_to_the_next(self) -> None:
        """Cancelled at any of its suspensions, with something there to read or not yet."""

        async def test(connect: Connect) -> None:
            async with connect() as alice, connect() as bob:
                await bob.watch({HERE: None})
                seen: set[Envelope] = set()

                async def read() -> None:
                    seen.add((await anext(bob.arrivals())).envelope)

                for at in range(1, SUSPENSIONS):
                    await alice.publish(envelope(at))
                    with anyio.move_on_after(0.02) as scope:
                        await CancelledAt(read(), scope, at)
                for at in range(1, SUSPENSIONS):
                    with anyio.move_on_after(0.002) as scope:
                        await CancelledAt(read(), scope, at)
                await alice.publish(envelope(SUSPENSIONS))
                await read_until(bob, set(envelopes(1, SUSPENSIONS + 1)) - seen)

        await self._run(test)

    async def test_a_closed_transport_says_so_and_a_new_one_goes_on(self) -> None:
        async def test(connect: Connect) -> None:
            async with connect() as bob:
                await bob.watch({HERE: None})
                await bob.publish(envelope(1))
                arrivals = await read_until(bob, [envelope(1)])
            with pytest.raises(TransportError):
                await bob.publish(envelope(2))
            async with connect() as again:
                await again.publish(envelope(3))
                await again.watch({HERE: arrivals[-1].cursor})
                await read_until(again, [envelope(3)])

        await self._run(test)
