"""What one client watches, what has come of it unread, and how much more it has room for. No I/O."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Mapping

from attrs import define, frozen
from kexkit.api import Arrival

from kexkit_transport_relay.limits import MAX_CURSOR, MAX_MESSAGE, WINDOW
from kexkit_transport_relay.messages import Delivered, WatchTopic


@define(eq=False)
class _Watched:
    """One watch of one topic; `cursor` is of the last arrival that came, read or not."""

    number: int
    topic: str
    cursor: bytes | None


@frozen
class _Unread:
    watched: _Watched
    arrival: Arrival
    cost: int


class Inbox:
    """Watches are numbered, and arrivals name the number: so what a connection still brings of an older watch of a
    topic is not taken for the newer one's, whose history it would skip.
    """

    def __init__(self) -> None:
        self._topics: dict[str, _Watched] = {}
        self._watches: dict[int, _Watched] = {}
        self._unread: deque[_Unread] = deque()
        self._held = 0
        self._owed = 0
        self._number = 0

    def fitting(self, topics: Mapping[str, bytes | None], limit: int | None) -> Mapping[str, bytes | None]:
        """Those watched already, and of the others, in their order, as many as are then within the limit."""
        if limit is None:
            return topics
        room = limit - len(self._topics)
        others = [topic for topic in topics if topic not in self._topics]
        too_many = set(others[max(0, room) :])
        return {topic: cursor for topic, cursor in topics.items() if topic not in too_many}

    def add(self, topics: Mapping[str, bytes | None]) -> list[WatchTopic]:
        """Begin to watch; topics watched already must have been removed. A cursor that no relay can have given is
        another transport's, and too many of them would be more than a message.
        """
        wanted = []
        for topic, given in topics.items():
            cursor = given if given is not None and len(given) <= MAX_CURSOR else None
            self._number = self._number % (2**32 - 1) + 1
            self._topics[topic] = self._watches[self._number] = _Watched(self._number, topic, cursor)
            wanted.append(WatchTopic(self._number, topic, cursor))
        return wanted

    def remove(self, topics: Collection[str]) -> list[int]:
        """Stop watching and drop what is unread of them; the numbers that end."""
        gone = {self._topics.pop(topic) for topic in topics if topic in self._topics}
        for watched in gone:
            del self._watches[watched.number]
        dropped = sum(unread.cost for unread in self._unread if unread.watched in gone)
        self._unread = deque(unread for unread in self._unread if unread.watched not in gone)
        self._held -= dropped
        self._owed += dropped
        return sorted(watched.number for watched in gone)

    def abandon(self, number: int) -> str | None:
        """The relay does not watch it and never will: it is asked for no more. What came of it stays to be read."""
        watched = self._watches.pop(number, None)
        if watched is None:
            return None
        del self._topics[watched.topic]
        return watched.topic

    def wanted(self) -> list[WatchTopic]:
        """All that is watched, from where it stands: for a new connection."""
        return [WatchTopic(one.number, one.topic, one.cursor) for one in self._watches.values()]

    def topic_of(self, number: int) -> str | None:
        watched = self._watches.get(number)
        return None if watched is None else watched.topic

    def take(self, delivered: Delivered) -> bool:
        """Keep an arrival for the reader. False: the relay sends more than it was granted."""
        watched = self._watches.get(delivered.watch)
        if watched is None:
            self._owed += delivered.cost
            return True
        watched.cursor = delivered.cursor
        arrival = Arrival(delivered.envelope(watched.topic), delivered.cursor)
        self._unread.append(_Unread(watched, arrival, delivered.cost))
        self._held += delivered.cost
        return self._held <= WINDOW + 2 * MAX_MESSAGE

    def pop(self) -> Arrival | None:
        if not self._unread:
            return None
        unread = self._unread.popleft()
        self._held -= unread.cost
        self._owed += unread.cost
        return unread.arrival

    def first_grant(self) -> int:
        """For a new connection, which knows of no grants yet."""
        self._owed = 0
        return max(0, WINDOW - self._held)

    def next_grant(self) -> int:
        """What to grant now; 0: not worth a message yet. Until then the relay has three quarters of WINDOW left."""
        if self._owed < WINDOW // 4:
            return 0
        grant, self._owed = self._owed, 0
        return grant
