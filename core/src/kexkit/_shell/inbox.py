"""What the application reads: durable events from the store, page by page, and told-once ones from a bounded queue."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator

import anyio

from kexkit import _records as records
from kexkit._engine.chatting import chat_of, text_event
from kexkit._engine.receiving import unreadable_event
from kexkit.api import Key, Store, Versioned
from kexkit.errors import LocalError
from kexkit.events import DurableEvent, Event, EventsMissed, TextReceived, Unreadable
from kexkit.limits import EVENTS_KEPT, INBOX_PAGE


class Inbox:
    """One reader at a time. Nothing durable is kept in memory, so an application may be as slow as it likes."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._told_once: deque[Event] = deque()
        self._missed = 0
        self._bell = anyio.Event()
        self._reading = False

    def note(self, event: Event) -> None:
        """After the commit."""
        if not isinstance(event, (TextReceived, Unreadable)):
            if len(self._told_once) >= EVENTS_KEPT:
                self._told_once.popleft()
                self._missed += 1
            self._told_once.append(event)
        self._bell.set()

    async def events(self) -> AsyncIterator[Event]:
        if self._reading:
            raise LocalError("The events are being read already.", advice="Read them in one place.")
        self._reading = True
        try:
            position = b""
            while True:
                while self._told_once:
                    yield self._told_once.popleft()
                if self._missed:
                    missed, self._missed = self._missed, 0
                    yield EventsMissed(missed)
                self._bell = anyio.Event()
                page = [row async for row in self._store.scan("inbox", position, limit=INBOX_PAGE)]
                for key, row in page:
                    position = key[1] + b"\x00"
                    event = await self._read(key, row)
                    if event is not None:
                        yield event
                if not page and not self._told_once:
                    await self._bell.wait()
        finally:
            self._reading = False

    async def _read(self, key: Key, row: Versioned) -> DurableEvent | None:
        entry = records.read_inbox(row.value)
        if entry.WhichOneof("event") == "unreadable":
            return unreadable_event(key[1], entry.unreadable)
        found = (await self._store.load((records.text_key(entry.text),))).get(records.text_key(entry.text))
        if found is None:
            return None
        text = records.read_text(found.value)
        return text_event(key[1], entry.text, text, chat_of(text))
