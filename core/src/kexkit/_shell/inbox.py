"""What the application reads: durable events from the store, page by page, and told-once ones from a bounded queue."""

from __future__ import annotations

from collections import deque
from functools import partial

import anyio

from kexkit import _records as records
from kexkit._engine.chatting import chat_of, text_event, unreadable_event
from kexkit._engine.drawer import question_event
from kexkit.api import Key, Store, Versioned
from kexkit.errors import StoreCorrupt, StoreNewer
from kexkit.events import DurableEvent, Event, EventsMissed, Question, TextReceived, Unreadable
from kexkit.limits import EVENTS_KEPT, INBOX_PAGE


class Inbox:
    """Nothing durable is kept in memory, so an application may be as slow as it likes. The newest reader reads."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._told_once: deque[Event] = deque()
        self._missed = 0
        self._bell = anyio.Event()
        self._reader: Reader | None = None
        self._closed = False

    def note(self, event: Event) -> None:
        """After the commit."""
        if not isinstance(event, (TextReceived, Unreadable, Question)):
            if len(self._told_once) >= EVENTS_KEPT:
                self._told_once.popleft()
                self._missed += 1
            self._told_once.append(event)
        self._bell.set()

    def ring(self) -> None:
        """There may be something in the store that nobody noted."""
        self._bell.set()

    def events(self) -> Reader:
        """From the first event that is not acknowledged. An earlier reader, if there is one, is at its end."""
        self._reader = Reader(self)
        self._bell.set()
        return self._reader

    def is_current(self, reader: Reader) -> bool:
        return self._reader is reader and not self._closed

    def close(self) -> None:
        """Nothing more will come: whoever waits for it is at the end."""
        self._closed = True
        self._bell.set()

    def next_told_once(self) -> Event | None:
        if self._told_once:
            return self._told_once.popleft()
        if self._missed:
            missed, self._missed = self._missed, 0
            return EventsMissed(missed)
        return None

    async def page(self, position: bytes) -> list[tuple[Key, Versioned]]:
        """Durable events from there on. The bell is set anew first: what comes meanwhile rings it."""
        self._bell = anyio.Event()
        return [row async for row in self._store.scan("inbox", position, limit=INBOX_PAGE)]

    async def news(self) -> None:
        await self._bell.wait()

    async def read(self, key: Key, row: Versioned) -> DurableEvent | None:
        """A damaged row is shown as such, and can be acknowledged: else whoever reads in a loop never got past it."""
        receipt = key[1]
        try:
            entry = records.quietly(lambda row: records.read_inbox(row.value), row)
            receipt = records.inbox_receipt(receipt, entry)
            return await self._event(receipt, entry)
        except (StoreCorrupt, StoreNewer) as damaged:
            return Unreadable(receipt, b"", "", str(damaged), retried=False, at=0)

    async def _event(self, receipt: bytes, entry: records.Inbox) -> DurableEvent | None:
        if entry.WhichOneof("event") == "unreadable":
            return unreadable_event(receipt, entry.unreadable)
        if entry.WhichOneof("event") == "question":
            return question_event(receipt, entry.question)
        found = (await self._store.load((records.text_key(entry.text),))).get(records.text_key(entry.text))
        if found is None:
            return None
        return records.quietly(partial(_read_text_event, receipt, entry.text), found)


def _read_text_event(receipt: bytes, message_id: bytes, row: Versioned) -> TextReceived:
    text = records.read_text(row.value)
    return text_event(receipt, message_id, text, chat_of(text))


class Reader:
    """An asynchronous iterator of events. It may be left at any time, and another one begun. Tasks that share one share
    its events: each is told to one of them."""

    def __init__(self, inbox: Inbox) -> None:
        self._inbox = inbox
        self._position = b""
        self._page: deque[tuple[Key, Versioned]] = deque()
        self._told = 0
        """told-once events since it was last looked for a durable one"""

    def __aiter__(self) -> Reader:
        return self

    async def __anext__(self) -> Event:
        inbox = self._inbox
        while inbox.is_current(self):
            told = inbox.next_told_once() if self._told < INBOX_PAGE else None
            if told is not None:
                self._told += 1  # durable ones have a turn then, or who makes others come for ever kept texts from us
                return told
            turn, self._told = self._told >= INBOX_PAGE, 0
            if not self._page:
                position = self._position
                page = await inbox.page(position)
                if self._page or self._position != position:
                    continue
                self._page.extend(page)
            if not self._page:
                if not turn:
                    await inbox.news()
                continue
            first = key, row = self._page[0]
            event = await inbox.read(key, row)
            if not self._page or self._page[0] is not first:
                continue
            self._page.popleft()  # only now: a reader that is cancelled meanwhile, and goes on, has missed nothing
            self._position = key[1] + b"\x00"
            if event is not None:
                return event
        raise StopAsyncIteration
