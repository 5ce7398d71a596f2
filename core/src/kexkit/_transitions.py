"""Every transition of a session's life, in one table. A missing entry is the error.

              begin_ready                 confirmed            outdated
      nothing ───────────▶ provisional ──────────────▶ open ────────────▶ stale (opens, never seals)
         │ begin                ▲ │                      ▲                  │
         ├────────▶ opening ────┘ │ refused              │ confirmed        │ refused
         │          ready         ▼                      │                  ▼
         └────────▶ opening ──▶ refused ◀────────────────┼─────────────── refused (shows nothing, seals nothing)
           accept      └─────────────────────────────────┘

      contradicted: frozen (opens nothing, seals nothing), from all of these         ended: closed, from anywhere
      outdated: stale, from opening and provisional too

What they began stays `opening` until its first text says which choice they believe in; what we began is `provisional`
once it can seal, until they answer. A forged frame is no entry here: it raises before any transition, and nothing is
written.
"""

from __future__ import annotations

from enum import Enum, IntEnum
from typing import Final

from kexkit.errors import PluginError


class State(IntEnum):
    """Stored as its number: never renumber."""

    NOTHING = 0
    OPENING = 1
    """the handshake is under way, or its choice is not confirmed: texts wait"""
    PROVISIONAL = 2
    """we began it and may seal, but the peer has not confirmed the choice yet"""
    OPEN = 3
    STALE = 4
    """another session supersedes it: it still opens what comes, and seals nothing"""
    CLOSED = 5
    REFUSED = 6
    """the choice was refused, by us or by them: nothing is shown of it, and nothing sealed but the refusal"""
    FROZEN = 7
    """its confirmations contradict one another: nothing is opened in it and nothing sealed"""


class Cause(Enum):
    BEGIN = "we began, and cannot seal yet"
    BEGIN_READY = "we began, and can seal"
    ACCEPT = "they began"
    READY = "the handshake is complete"
    CONFIRMED = "both ends know that they made the same choice"
    REFUSED = "one end does not accept the choice"
    CONTRADICTED = "a confirmation is missing, or contradicts another"
    OUTDATED = "a newer key of the peer, or another session, replaces it; or one end has said goodbye"
    ENDED = "the session said it is over, or was displaced"


TABLE: Final[dict[State, dict[Cause, State]]] = {
    State.NOTHING: {
        Cause.BEGIN: State.OPENING,
        Cause.BEGIN_READY: State.PROVISIONAL,
        Cause.ACCEPT: State.OPENING,
    },
    State.OPENING: {
        Cause.READY: State.PROVISIONAL,
        Cause.CONFIRMED: State.OPEN,
        Cause.REFUSED: State.REFUSED,
        Cause.CONTRADICTED: State.FROZEN,
        Cause.OUTDATED: State.STALE,
        Cause.ENDED: State.CLOSED,
    },
    State.PROVISIONAL: {
        Cause.CONFIRMED: State.OPEN,
        Cause.REFUSED: State.REFUSED,
        Cause.CONTRADICTED: State.FROZEN,
        Cause.OUTDATED: State.STALE,
        Cause.ENDED: State.CLOSED,
    },
    State.OPEN: {
        Cause.CONTRADICTED: State.FROZEN,
        Cause.OUTDATED: State.STALE,
        Cause.ENDED: State.CLOSED,
    },
    State.STALE: {
        Cause.CONFIRMED: State.STALE,
        Cause.REFUSED: State.REFUSED,
        Cause.CONTRADICTED: State.FROZEN,
        Cause.OUTDATED: State.STALE,
        Cause.ENDED: State.CLOSED,
    },
    State.REFUSED: {
        Cause.CONTRADICTED: State.FROZEN,
        Cause.OUTDATED: State.REFUSED,
        Cause.ENDED: State.CLOSED,
    },
    State.FROZEN: {
        Cause.OUTDATED: State.FROZEN,
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
