"""The kit notices: each transport here breaks one promise, and the test named after that promise fails for it."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from itertools import count
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from attrs import evolve
from kexkit.api import Arrival, Envelope, Transport
from kexkit.errors import TransportError
from kexkit.testing import MemoryNetwork, TransportKit
from kexkit.testing.memory_transport import MemoryTransport
from kexkit.testing.transport_kit import Connect


class Honest(MemoryTransport):
    """Each subclass changes one thing."""

    @property
    def net(self) -> MemoryNetwork:
        assert isinstance(self._network, MemoryNetwork)
        return self._network

    def arrivals(self) -> AsyncIterator[Arrival]:
        return self.one_by_one()

    async def one_by_one(self) -> AsyncIterator[Arrival]:
        while True:
            try:
                yield await self.next()
            except StopAsyncIteration:
                return


class NoPast(Honest):
    async def watch(self, topics: Mapping[str, bytes | None]) -> None:
        await super().watch(topics)
        self.flights.clear()


class NoLive(Honest):
    async def watch(self, topics: Mapping[str, bytes | None]) -> None:
        await super().watch(topics)
        self.watches = {f"{topic} once": watched for topic, watched in self.watches.items()}
        for watched in self.watches.values():
            watched.topic = f"{watched.topic} once"


class GapBetweenPastAndLive(Honest):
    async def watch(self, topics: Mapping[str, bytes | None]) -> None:
        await super().watch(topics)
        past = list(self.flights)
        await anyio.sleep(0.05)
        self.flights[:] = past


class ShortPages(Honest):
    async def watch(self, topics: Mapping[str, bytes | None]) -> None:
        await super().watch(topics)
        del self.flights[100:]


class RewatchIgnored(Honest):
    async def watch(self, topics: Mapping[str, bytes | None]) -> None:
        await super().watch({topic: cursor for topic, cursor in topics.items() if topic not in self.watches})


class LeadingCursor(Honest):
    async def next(self) -> Arrival:
        arrival = await super().next()
        return evolve(arrival, cursor=arrival.cursor[:8] + (int.from_bytes(arrival.cursor[8:]) + 1).to_bytes(8))


class UnknownCursorMeansEnd(Honest):
    async def watch(self, topics: Mapping[str, bytes | None]) -> None:
        await super().watch(topics)
        if any(cursor is not None and len(cursor) != 16 for cursor in topics.values()):
            self.flights.clear()


class OneCursorForAllTopics(Honest):
    async def watch(self, topics: Mapping[str, bytes | None]) -> None:
        await super().watch(topics)
        self.start = max(int.from_bytes((cursor or bytes(16))[8:]) for cursor in topics.values())

    async def next(self) -> Arrival:
        while True:
            arrival = await super().next()
            if int.from_bytes(arrival.cursor[8:]) > self.start:
                return arrival


class NeverUnwatches(Honest):
    async def unwatch(self, topics: Collection[str]) -> None:
        await anyio.lowlevel.checkpoint()


class LeavesForGood(Honest):
    """What it has handed over once, it never hands over again."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.left: set[str] = set()

    async def unwatch(self, topics: Collection[str]) -> None:
        self.left.update(topics)
        await super().unwatch(topics)

    async def watch(self, topics: Mapping[str, bytes | None]) -> None:
        await super().watch({topic: cursor for topic, cursor in topics.items() if topic not in self.left})


class EveryTopic(Honest):
    async def watch(self, topics: Mapping[str, bytes | None]) -> None:
        await super().watch({**topics, "/kexkit/1/kit-there/proto": None})


class FewTopics(Honest):
    async def watch(self, topics: Mapping[str, bytes | None]) -> None:
        await super().watch(dict(list(topics.items())[:100]))


class CutPayload(Honest):
    async def publish(self, envelope: Envelope) -> None:
        await super().publish(evolve(envelope, payload=envelope.payload[: 64 * 1024]))


class RoundedTime(Honest):
    async def publish(self, envelope: Envelope) -> None:
        await super().publish(evolve(envelope, timestamp=envelope.timestamp // 1000 * 1000))


class OneVersion(Honest):
    async def publish(self, envelope: Envelope) -> None:
        await super().publish(evolve(envelope, version=1))


class ForgetsEphemeral(Honest):
    async def publish(self, envelope: Envelope) -> None:
        await super().publish(evolve(envelope, ephemeral=False))


class RefusesDuplicates(Honest):
    async def publish(self, envelope: Envelope) -> None:
        if envelope in self.net.logged(envelope.topic):
            raise TransportError("seen before")
        await super().publish(envelope)


class ForgetsWhatIsNotRead(Honest):
    def wake(self) -> None:
        del self.flights[:-20]
        super().wake()


class AnswersOnlyReaders(Honest):
    async def publish(self, envelope: Envelope) -> None:
        while len(self.flights) > 20:
            await anyio.sleep(0.01)
        await super().publish(envelope)


class ReadsAhead(Honest):
    async def one_by_one(self) -> AsyncIterator[Arrival]:
        while True:
            ahead = deque([await self.next()])
            ahead.extend(self.drain())
            while ahead:
                yield ahead.popleft()


class SecondReader(Honest):
    async def next(self) -> Arrival:
        self._waiting = None
        return await super().next()


class DropsOnCancel(Honest):
    async def next(self) -> Arrival:
        arrival = await super().next()
        await anyio.lowlevel.checkpoint()
        return arrival


class LockStaysHeld(Honest):
    held = False

    async def publish(self, envelope: Envelope) -> None:
        if self.held:
            await anyio.sleep_forever()
        self.held = True
        await super().publish(envelope)
        self.held = False


class OpenForEver(Honest):
    def close(self) -> None:
        self.wake()


@asynccontextmanager
async def network_of(kind: type[Honest]) -> AsyncIterator[Connect]:
    network, names = MemoryNetwork(), count()

    def connect() -> AbstractAsyncContextManager[Transport]:
        peer = kind(network, f"peer {next(names)}")
        network._peers[peer.name] = peer
        return peer

    yield connect


def outcome(kind: type[Honest], test: str, *arguments: object) -> str:
    """'kept' or 'broken'. A broken promise often shows in nothing coming, for which it is no use waiting long."""

    class Kit(TransportKit):
        patience = 30.0 if kind is Honest else 0.3

        def network(self) -> AbstractAsyncContextManager[Connect]:
            return network_of(kind)

    try:
        anyio.run(lambda: getattr(Kit(), f"test_{test}")(*arguments))
    except (AssertionError, TimeoutError, TransportError, ExceptionGroup, pytest.fail.Exception):
        return "broken"
    return "kept"


CAUGHT: list[tuple[type[Honest], str, tuple[object, ...]]] = [
    (NoPast, "every_watcher_gets_the_past_and_then_the_live", ()),
    (NoLive, "every_watcher_gets_the_past_and_then_the_live", ()),
    (GapBetweenPastAndLive, "nothing_is_missed_between_past_and_live", ()),
    (ShortPages, "a_long_past_arrives_whole", ()),
    (RewatchIgnored, "watching_again_begins_again", ()),
    (LeadingCursor, "watching_from_any_cursor_misses_nothing_that_came_after_it", ()),
    (UnknownCursorMeansEnd, "a_cursor_of_some_other_network_skips_nothing", ()),
    (OneCursorForAllTopics, "each_topic_has_a_cursor_of_its_own", ()),
    (NeverUnwatches, "topics_are_apart_and_unwatching_stops_one_of_them", ()),
    (LeavesForGood, "a_topic_that_was_unwatched_is_watched_again_with_all_that_came_meanwhile", ()),
    (EveryTopic, "topics_are_apart_and_unwatching_stops_one_of_them", ()),
    (FewTopics, "hundreds_of_topics_are_watched_at_once", ()),
    (CutPayload, "an_envelope_survives_exactly", (150 * 1024,)),
    (RoundedTime, "an_envelope_survives_exactly", (1,)),
    (OneVersion, "an_envelope_survives_exactly", (1,)),
    (ForgetsEphemeral, "an_ephemeral_envelope_reaches_who_watches_and_says_so", ()),
    (RefusesDuplicates, "publishing_the_same_envelope_twice_is_no_error", ()),
    (ForgetsWhatIsNotRead, "a_reader_that_does_not_read_loses_nothing_and_can_publish", ()),
    (AnswersOnlyReaders, "a_reader_that_does_not_read_loses_nothing_and_can_publish", ()),
    (ReadsAhead, "a_reader_may_leave_and_come_back", ()),
    (SecondReader, "a_second_reader_at_the_same_time_is_refused", ()),
    (DropsOnCancel, "what_a_cancelled_reader_waited_for_comes_to_the_next", ()),
    (LockStaysHeld, "a_call_that_is_cancelled_anywhere_leaves_the_transport_usable", ("publish",)),
    (OpenForEver, "a_closed_transport_says_so_and_a_new_one_goes_on", ()),
]


@pytest.mark.parametrize(("kind", "test", "arguments"), CAUGHT, ids=[kind.__name__ for kind, _, _ in CAUGHT])
def test_a_broken_promise_fails_its_own_test_and_a_kept_one_passes_it(
    kind: type[Honest], test: str, arguments: tuple[object, ...]
) -> None:
    assert outcome(Honest, test, *arguments) == "kept"
    assert outcome(kind, test, *arguments) == "broken"


def test_every_promise_of_the_kit_has_a_transport_that_breaks_it() -> None:
    promises = {name.removeprefix("test_") for name in dir(TransportKit) if name.startswith("test_")}
    assert promises == {test for _, test, _ in CAUGHT}
