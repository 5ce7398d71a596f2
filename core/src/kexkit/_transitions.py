"""Every transition of a session's life, in one table. A missing entry is the error.

                  begin_ready              heard
      nothing ─────────────────▶ provisional ──▶ open ◀─┐ heard, ready
         │  │ accept_ready                        ▲ │ ──┘
         │  └─────────────────────────────────────┘ │ outdated
         │ begin, accept           ready            ▼
         └───────────────▶ opening ──────▶ open   stale (hears, never seals)        ended: closed, from anywhere

A forged frame is no entry here: it raises before any transition, and nothing is written.
"""

from __future__ import annotations

from enum import Enum, IntEnum
from typing import Final

from kexkit.errors import PluginError


class State(IntEnum):
    """Stored as its number: never renumber."""

    NOTHING = 0
    OPENING = 1
    """the handshake is under way: texts wait"""
    PROVISIONAL = 2
    """we began it and may seal, but have heard nothing yet"""
    OPEN = 3
    STALE = 4
    """a newer offer of the peer supersedes it: it still opens what comes, and seals nothing"""
    CLOSED = 5


class Cause(Enum):
    BEGIN = "we began, and cannot seal yet"
    BEGIN_READY = "we began, and can seal"
    ACCEPT = "they began, and we cannot seal yet"
    ACCEPT_READY = "they began, and we can seal"
    READY = "the handshake is complete"
    HEARD = "a frame of theirs opened"
    OUTDATED = "the peer published a newer epoch"
    ENDED = "the session said it is over, or was displaced"


TABLE: Final[dict[State, dict[Cause, State]]] = {
    State.NOTHING: {
        Cause.BEGIN: State.OPENING,
        Cause.BEGIN_READY: State.PROVISIONAL,
        Cause.ACCEPT: State.OPENING,
        Cause.ACCEPT_READY: State.OPEN,
    },
    State.OPENING: {
        Cause.HEARD: State.OPENING,
        Cause.READY: State.OPEN,
        Cause.OUTDATED: State.STALE,
        Cause.ENDED: State.CLOSED,
    },
    State.PROVISIONAL: {
        Cause.HEARD: State.OPEN,
        Cause.OUTDATED: State.STALE,
        Cause.ENDED: State.CLOSED,
    },
    State.OPEN: {
        Cause.HEARD: State.OPEN,
        Cause.READY: State.OPEN,
        Cause.OUTDATED: State.STALE,
        Cause.ENDED: State.CLOSED,
    },
    State.STALE: {
        Cause.HEARD: State.STALE,
        Cause.READY: State.STALE,
        Cause.OUTDATED: State.STALE,
        Cause.ENDED: State.CLOSED,
    },
    State.CLOSED: {},
}

SEALS: Final = frozenset({State.PROVISIONAL, State.OPEN})
"""States in which a text may leave."""


def after(state: State, cause: Cause) -> State:
    """The next state, or PluginError: only a plugin that breaks its contract can ask for what is not in the table."""
    try:
        return TABLE[state][cause]
    except KeyError:
        raise PluginError(f"A session that is {state.name.lower()} cannot go on: {cause.value}.") from None
