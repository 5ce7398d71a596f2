"""What the engine asks the shell for, and what it returns. Nothing here acts."""

from __future__ import annotations

from collections.abc import Callable, Collection, Generator, Mapping
from typing import Any, Final, TypeAlias, TypeVar

from attrs import field, frozen

from kexkit.api import Change, Context, Envelope, Key, Session, Unpicklable, Versioned, value
from kexkit.errors import PluginError
from kexkit.events import Event

T = TypeVar("T")


@value
class Load:
    """Answered with the rows that are there: Mapping[Key, Versioned]."""

    keys: Collection[Key]


@value
class Scan:
    """Answered with at most `limit` rows in order: list[tuple[Key, Versioned]]."""

    table: str
    start: bytes = b""
    stop: bytes | None = None
    limit: int | None = 1
    reverse: bool = False


@value
class Live:
    """A session by id, from the shell's cache or restored: LiveSession or None."""

    session_id: bytes


@value
class LiveSession(Unpicklable):
    session: Session
    mechanism: str
    revision: int


Request: TypeAlias = Load | Scan | Live
Flow: TypeAlias = Generator[Request, Any, T]


def scan(
    table: str, start: bytes = b"", stop: bytes | None = None, *, limit: int | None, reverse: bool = False
) -> Flow[list[tuple[Key, Versioned]]]:
    rows: list[tuple[Key, Versioned]] = yield Scan(table, start, stop, limit, reverse)
    return rows


@frozen
class Channel(Unpicklable):
    """A topic that we listen to, and how what comes there is opened."""

    topic: str
    name: str = field(repr=False)
    """what the topic and, if symmetric, its key are derived from"""
    symmetric: bool
    bare: bool = False
    """version-2 frames of sessions and offers, found by topic and tag"""


@value
class Moment:
    """What an operation may know of time and chance."""

    context: Context
    sequence: Callable[[], int]
    """nanoseconds, never twice the same, growing over restarts"""

    @property
    def now(self) -> int:
        return self.context.now


@value
class Departure:
    """A committed outbox row on its way to the transmitter."""

    key: Key
    envelope: Envelope
    message_id: bytes = b""
    """the text that it carries, if any"""
    peer: bytes = b""


NOTHING_DROPPED: Final[frozenset[Key]] = frozenset()


class Draft(Unpicklable):
    """An operation's effects while it is being worked out. It becomes an Outcome, or is forgotten."""

    __slots__ = ("channels", "drop", "events", "given", "leave", "left", "put", "sessions", "unheard")

    def __init__(self) -> None:
        self.given: dict[Key, int] = {}
        self.put: dict[Key, bytes] = {}
        self.drop: set[Key] = set()
        self.events: list[Event] = []
        self.sessions: dict[bytes, LiveSession | None] = {}
        self.channels: list[Channel] = []
        self.leave: list[Departure] = []
        self.left: tuple[str, ...] = ()
        self.unheard: tuple[str, ...] = ()

    def rely(self, key: Key, row: Versioned | None) -> None:
        """The decision rests on this row as it was read."""
        self.given.setdefault(key, row.revision if row is not None else 0)

    def write(self, key: Key, content: bytes) -> None:
        self.drop.discard(key)
        self.put[key] = content

    def remove(self, key: Key) -> None:
        self.put.pop(key, None)
        self.drop.add(key)

    def outcome(self, result: object = None) -> Outcome:
        change = Change(self.given, self.put, frozenset(self.drop) if self.drop else NOTHING_DROPPED)
        return Outcome(
            change,
            tuple(self.events),
            self.sessions,
            tuple(self.channels),
            tuple(self.leave),
            result,
            self.left,
            self.unheard,
        )


def load(draft: Draft, *keys: Key) -> Flow[dict[Key, Versioned]]:
    """The rows as this operation has left them so far: what it wrote itself stands before what is stored."""
    asked = [key for key in keys if key not in draft.put and key not in draft.drop]
    rows: Mapping[Key, Versioned] = (yield Load(asked)) if asked else {}
    if len(asked) == len(keys):
        return dict(rows)
    written = {key: Versioned(draft.put[key], draft.given.get(key, 0) + 1) for key in keys if key in draft.put}
    return {**rows, **written}


def load_one(draft: Draft, key: Key) -> Flow[Versioned | None]:
    if key in draft.put:
        return Versioned(draft.put[key], draft.given.get(key, 0) + 1)
    if key in draft.drop:
        return None
    rows: Mapping[Key, Versioned] = yield Load((key,))
    return rows.get(key)


def live(draft: Draft, session_id: bytes) -> Flow[LiveSession | None]:
    """The session's latest successor. Never an older one: sealing twice from one value would use a key twice."""
    if session_id in draft.sessions:
        return draft.sessions[session_id]
    found: LiveSession | None = yield Live(session_id)
    return found


@value
class Outcome(Unpicklable):
    """All that an operation did. The shell commits `change`, and only then does the rest."""

    change: Change
    events: tuple[Event, ...] = ()
    sessions: Mapping[bytes, LiveSession | None] = field(factory=dict, repr=False)
    channels: tuple[Channel, ...] = ()
    leave: tuple[Departure, ...] = field(default=(), repr=False)
    result: object = field(default=None, repr=False)
    left: tuple[str, ...] = ()
    """topics where a session or an offer of ours listened, and does no more; another may"""
    unheard: tuple[str, ...] = ()
    """topics where nobody listens any more"""

    @property
    def writes(self) -> bool:
        return bool(self.change.put or self.change.drop)


def broken(mechanism: str, what: str) -> PluginError:
    return PluginError(f"The key exchange {mechanism} broke its contract: {what}.", plugin=mechanism)
