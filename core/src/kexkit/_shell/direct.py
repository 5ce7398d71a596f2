"""A synchronous shell over rows in memory: the engine's flows without tasks, stores or transports."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from kexkit import _records as records
from kexkit._engine.requests import Flow, Live, LiveSession, Load, Outcome, Request
from kexkit.api import Change, Key, Unpicklable, Versioned
from kexkit.errors import Conflict

T = TypeVar("T")


class DirectShell(Unpicklable):
    """Rows and live sessions of one party."""

    def __init__(self, restore: Callable[[Versioned], LiveSession]) -> None:
        self.rows: dict[Key, Versioned] = {}
        self._restore = restore
        self._sessions: dict[bytes, LiveSession] = {}

    def ask(self, flow: Flow[T]) -> T:
        """Drive a flow to its result; nothing is written."""
        answer: object = None
        try:
            while True:
                answer = self._answer(flow.send(answer))
        except StopIteration as stop:
            result: T = stop.value
            return result

    def perform(self, flow: Flow[Outcome]) -> Outcome:
        """Drive a flow and apply its change."""
        outcome = self.ask(flow)
        self.apply(outcome.change)
        for session_id, session in outcome.sessions.items():
            if session is None:
                self._sessions.pop(session_id, None)
            else:
                self._sessions[session_id] = session
        return outcome

    def apply(self, change: Change) -> None:
        for key, revision in change.given.items():
            row = self.rows.get(key)
            if (row.revision if row is not None else 0) != revision:
                raise Conflict()
        for key, content in change.put.items():
            row = self.rows.get(key)
            self.rows[key] = Versioned(content, row.revision + 1 if row is not None else 1)
        for key in change.drop:
            self.rows.pop(key, None)

    def forget_sessions(self) -> None:
        """As after a restart: everything comes from rows."""
        self._sessions.clear()

    def _answer(self, request: Request) -> object:
        if isinstance(request, Load):
            return {key: self.rows[key] for key in request.keys if key in self.rows}
        if isinstance(request, Live):
            return self._live(request.session_id)
        keys = sorted(
            key
            for key in self.rows
            if key[0] == request.table and key[1] >= request.start and (request.stop is None or key[1] < request.stop)
        )
        if request.reverse:
            keys.reverse()
        return [(key, self.rows[key]) for key in keys[: request.limit]]

    def _live(self, session_id: bytes) -> LiveSession | None:
        if session_id not in self._sessions:
            row = self.rows.get(records.session_key(session_id))
            if row is None:
                return None
            self._sessions[session_id] = self._restore(row)
        return self._sessions[session_id]
