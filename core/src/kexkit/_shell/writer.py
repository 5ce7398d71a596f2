"""The one place that writes. Operations that wait together are worked out one after another and share a commit.

Whatever stops a commit, cancellation included, forgets every cached row and session, so that nothing is sealed again
from a value whose successor may be on disk. After an unknown outcome the operation is worked out anew from what is
stored: a text that was committed after all is found by its id, not sent twice.
"""

from __future__ import annotations

import traceback
from collections import deque
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

import anyio
from attrs import define, field

from kexkit import _records as records
from kexkit._engine.requests import Flow, Live, LiveSession, Load, Outcome, Request, Scan
from kexkit._shell.overlay import UNREAD, Overlay, Recent
from kexkit.api import Key, Store, Versioned
from kexkit.errors import Conflict, KexkitError, LocalError, NodeClosed, StorageError
from kexkit.limits import BATCH, CONFLICT_RETRIES, ROWS_CACHED, SESSIONS_CACHED

CACHED = frozenset({"peer", "own", "chat"})
"""Tables read for every message and changed rarely or predictably"""


ABSENT = Versioned(b"", 0)
UNKNOWN = object()


class NeedsCommit(Exception):
    """The operation must read what the batch has not committed yet."""


@define(eq=False)
class Operation:
    """Something to work out, commit and answer. `flow` is made anew for every try."""

    flow: Callable[[], Flow[Outcome]]
    done: anyio.Event | None = field(factory=anyio.Event)
    outcome: Outcome | None = None
    error: BaseException | None = None

    def finish(self) -> None:
        if self.done is not None:
            self.done.set()


def bare(error: KexkitError) -> KexkitError:
    """Without the frames it came through: their locals may hold keys and texts."""
    error.__traceback__ = None
    error.__context__ = None
    error.__cause__ = None
    return error


class Writer:
    """Single file: every read and write of the store goes through here."""

    def __init__(
        self,
        store: Store,
        restore: Callable[[Versioned], LiveSession],
        committed: Callable[[Outcome], None],
        doubted: Callable[[], None] = lambda: None,
    ) -> None:
        self._store = store
        self._restore = restore
        self._committed = committed
        self._doubted = doubted
        """a commit had an unknown outcome: what it would have set off must be looked for in the store"""
        self._waiting: deque[Operation] = deque()
        self._riding: deque[Operation] = deque()
        self._bell = anyio.Event()
        self._closing = False
        self._closed = False
        self._ended = anyio.Event()
        self._rows: Recent[Key, Versioned] = Recent(ROWS_CACHED)
        """as they are in the store; ABSENT is known too"""
        self._sessions: Recent[bytes, LiveSession] = Recent(SESSIONS_CACHED)
        self.commits = 0

    # --- asking ------------------------------------------------------------------------------------------------------

    async def perform(self, flow: Callable[[], Flow[Outcome]]) -> Any:
        """Work it out and commit; returns its result once that is durable, or raises what stopped it."""
        operation = Operation(flow)
        self._enter(operation)
        assert operation.done is not None
        try:
            await operation.done.wait()
        finally:
            if not operation.done.is_set() and operation in self._waiting:  # cancelled before its turn: it never was
                self._waiting.remove(operation)
        if operation.error is not None:
            raise operation.error
        assert operation.outcome is not None
        return operation.outcome.result

    def ride(self, flow: Callable[[], Flow[Outcome]]) -> None:
        """Commit it along with whatever comes next; nobody waits for it."""
        if not self._closed:
            self._riding.append(Operation(flow, done=None))

    def ring(self) -> None:
        """Let what rides go now."""
        self._bell.set()

    @property
    def has_riders(self) -> bool:
        return bool(self._riding)

    def _enter(self, operation: Operation) -> None:
        if self._closing or self._closed:
            raise NodeClosed()
        self._waiting.append(operation)
        self._bell.set()

    # --- working -----------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Until closed or cancelled. A batch that has begun is finished first, and on closing all that waits."""
        try:
            while not self._closing:
                await self._bell.wait()
                self._bell = anyio.Event()
                with anyio.CancelScope(shield=True):
                    await self._work()
        finally:
            self._closed = True
            self._abandon()
            self._ended.set()

    async def close(self) -> None:
        """Finish what waits, and take no more."""
        self._closing = True
        self._bell.set()
        await self._ended.wait()

    async def _work(self) -> None:
        """Everything that waits, in batches."""
        while self._waiting or self._riding:
            batch = [self._riding.popleft() for _ in range(min(len(self._riding), BATCH))]
            batch += [self._waiting.popleft() for _ in range(min(len(self._waiting), BATCH))]
            await self._work_off(batch)

    async def _work_off(self, batch: list[Operation]) -> None:
        overlay, worked_out = Overlay(), list[Operation]()
        for operation in batch:
            if not await self._work_out(operation, overlay):
                await self._commit(overlay, worked_out)
                overlay, worked_out = Overlay(), []
                await self._work_out(operation, overlay)
            if operation.outcome is not None:
                worked_out.append(operation)
            else:
                operation.finish()
        await self._commit(overlay, worked_out)

    async def _work_out(self, operation: Operation, overlay: Overlay) -> bool:
        """False: it must wait for the batch's commit. An error is the operation's own; the batch goes on."""
        operation.outcome = operation.error = None
        try:
            outcome = await self._drive(operation.flow(), overlay)
            overlay.merge(outcome)
            operation.outcome = outcome
        except NeedsCommit:
            return False
        except Conflict as conflict:
            self._forget()
            if overlay:
                return False
            operation.error = bare(conflict)
        except KexkitError as error:
            operation.error = bare(error)
        except Exception as error:
            operation.error = _bug(error)
        return True

    async def _commit(self, overlay: Overlay, operations: list[Operation]) -> None:
        if overlay:
            try:
                await self._store.apply(overlay.change())
                self.commits += 1
            except BaseException as error:
                self._forget()
                if not isinstance(error, Exception):
                    for operation in operations:
                        operation.outcome, operation.error = None, _foreign(error)
                        operation.finish()
                    raise
                if not isinstance(error, Conflict):
                    self._doubted()
                await self._again(operations, bare(error) if isinstance(error, StorageError) else _foreign(error))
                return
            self._remember(overlay)
        for operation in operations:
            assert operation.outcome is not None
            self._committed(operation.outcome)
            operation.finish()

    async def _again(self, operations: list[Operation], error: KexkitError) -> None:
        """One by one, from what is stored now."""
        for operation in operations:
            await self._alone(operation, error)
            operation.finish()

    async def _alone(self, operation: Operation, error: KexkitError) -> None:
        for _ in range(CONFLICT_RETRIES):
            overlay = Overlay()
            await self._work_out(operation, overlay)
            if operation.outcome is None:
                operation.error = operation.error or error
                return
            try:
                if overlay:
                    await self._store.apply(overlay.change())
                    self.commits += 1
            except Exception as again:
                self._forget()
                error = bare(again) if isinstance(again, StorageError) else _foreign(again)
                operation.outcome, operation.error = None, error
                if not isinstance(again, Conflict):
                    self._doubted()
                continue
            self._remember(overlay)
            operation.error = None
            self._committed(operation.outcome)
            return

    def _abandon(self) -> None:
        for operation in (*self._waiting, *self._riding):
            operation.error = NodeClosed()
            operation.finish()
        self._waiting.clear()
        self._riding.clear()

    # --- answering the engine ----------------------------------------------------------------------------------------

    async def _drive(self, flow: Flow[Outcome], overlay: Overlay) -> Outcome:
        answer: object = None
        try:
            while True:
                request = flow.send(answer)
                answer = self._at_hand(request, overlay)
                if answer is UNKNOWN:
                    answer = await self._fetch(request, overlay)
        except StopIteration as stop:
            outcome: Outcome = stop.value
            return outcome
        finally:
            flow.close()

    def _at_hand(self, request: Request, overlay: Overlay) -> object:
        """What the batch has left, and what is in memory: nearly all that a message asks for."""
        if isinstance(request, Load):
            found: dict[Key, Versioned] = {}
            for key in request.keys:
                row = self._row_at_hand(key, overlay)
                if row is None:
                    return UNKNOWN
                if row is not ABSENT:
                    found[key] = row
            return found
        if isinstance(request, Live):
            session_id = request.session_id
            if session_id in overlay.sessions:
                return overlay.sessions[session_id]
            return self._sessions.get(session_id) or UNKNOWN
        return UNKNOWN

    def _row_at_hand(self, key: Key, overlay: Overlay) -> Versioned | None:
        if key in overlay:
            return overlay.get(key) or ABSENT
        return self._rows.get(key) if key[0] in CACHED else None

    async def _fetch(self, request: Request, overlay: Overlay) -> object:
        if isinstance(request, Load):
            return await self._load(request.keys, overlay)
        if isinstance(request, Live):
            return await self._restored(request.session_id)
        return await self._scan(request, overlay)

    async def _load(self, keys: Collection[Key], overlay: Overlay) -> Mapping[Key, Versioned]:
        rows = {key: self._row_at_hand(key, overlay) for key in keys}
        missing = [key for key, row in rows.items() if row is None]
        loaded = await self._store.load(missing)
        for key in missing:
            rows[key] = row = loaded.get(key, ABSENT)
            if key[0] in CACHED:
                self._rows.put(key, row)
        return {key: row for key, row in rows.items() if row is not None and row is not ABSENT}

    async def _restored(self, session_id: bytes) -> LiveSession | None:
        key = records.session_key(session_id)
        row = (await self._store.load((key,))).get(key)
        if row is None:
            return None
        restored = self._restore(row)
        self._sessions.put(session_id, restored)
        return restored

    async def _scan(self, request: Scan, overlay: Overlay) -> list[tuple[Key, Versioned]]:
        if overlay.touches(request.table):
            raise NeedsCommit
        rows = self._store.scan(
            request.table, request.start, request.stop, reverse=request.reverse, limit=request.limit
        )
        return [row async for row in rows]

    # --- caches ------------------------------------------------------------------------------------------------------

    def _remember(self, overlay: Overlay) -> None:
        for keys in (overlay.put, overlay.drop):
            for key in keys:
                if key[0] in CACHED:
                    row = overlay.get(key) or ABSENT
                    if row.revision == UNREAD:
                        self._rows.pop(key)
                    else:
                        self._rows.put(key, row)
        for session_id, session in overlay.sessions.items():
            if session is None:
                self._sessions.pop(session_id)
            else:
                self._sessions.put(session_id, session)

    def _forget(self) -> None:
        self._rows.clear()
        self._sessions.clear()


def _bug(error: Exception) -> KexkitError:
    """Where it happened, without the locals of the place."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    place = f"{Path(last.filename).name}:{last.lineno}"
    return LocalError(f"{type(error).__name__} at {place}.", advice="This is a bug in kexkit; nothing was written.")


def _foreign(error: BaseException) -> KexkitError:
    if isinstance(error, KexkitError):
        return bare(error)
    return StorageError(
        f"The store raised {type(error).__name__}; whether the change was written is not known.",
        advice="Look at the history before you send again.",
    )
