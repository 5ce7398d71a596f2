"""How a chat looks and is typed into: what `Talk` asks of it, and the faces for pipes and for programs."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator
from typing import Any, Protocol

import anyio
from kexkit import Delivery, Event, StoredText, TextReceived

from kexkit_cli.console import Console
from kexkit_cli.limits import PIPED_LINE_BYTES
from kexkit_cli.showing import NO_FORWARD_SECRECY, as_object, clock_time, indented, stored_as_object

CHUNK = 4096


class Face(Protocol):
    """Whatever is shown may be anybody's: making it safe is the face's business."""

    interrupted: bool
    """whether the lines ended with Ctrl-C"""
    patient: bool
    """whether leaving waits for what is on its way: nobody is there to see it wait"""

    def lines(self) -> AsyncIterator[str]: ...

    def past(self, text: StoredText, name: str) -> None:
        """From the history."""
        ...

    def said(self, message_id: bytes, text: str, at: int) -> None:
        """Ours, committed."""
        ...

    def delivery(self, message_id: bytes, delivery: Delivery) -> None: ...

    def heard(self, event: TextReceived, name: str, *, late: bool = False) -> None:
        """`late`: it was written before something that is shown already."""
        ...

    def event(self, event: Event, name: str | None) -> None:
        """Anything that has happened, for those who want to know it all."""
        ...

    def notice(self, text: str) -> None:
        """From the program to the person."""
        ...


async def chunks(descriptor: int) -> AsyncIterator[bytes]:
    """What comes, as it comes; the end of a file or a hung-up terminal ends it."""
    while True:
        try:
            await _readable(descriptor)
            data = os.read(descriptor, CHUNK)
        except OSError:
            return
        if not data:
            return
        yield data


async def _readable(descriptor: int) -> None:
    try:
        await anyio.wait_readable(descriptor)
    except PermissionError:  # a file, which the kernel finds always readable and does not watch
        await anyio.lowlevel.checkpoint()


async def piped_lines(descriptor: int) -> AsyncIterator[str]:
    """Lines of UTF-8. The last one needs no line break; a line beyond PIPED_LINE_BYTES is cut there."""
    rest = b""
    async for data in chunks(descriptor):
        *complete, rest = (rest + data).split(b"\n")
        for line in complete:
            for piece in _pieces(line):
                yield _line(piece)
        while len(rest) > PIPED_LINE_BYTES:
            yield _line(rest[:PIPED_LINE_BYTES])
            rest = rest[PIPED_LINE_BYTES:]
    if rest:
        yield _line(rest)


def _pieces(line: bytes) -> list[bytes]:
    return [line[at : at + PIPED_LINE_BYTES] for at in range(0, max(len(line), 1), PIPED_LINE_BYTES)]


def _line(raw: bytes) -> str:
    return raw.removesuffix(b"\r").decode("utf-8", "replace")


class Piped:
    """What comes is printed as lines; what is typed or piped in is not repeated."""

    interrupted = False
    patient = True

    def __init__(self, console: Console) -> None:
        self._console = console

    def lines(self) -> AsyncIterator[str]:
        return piped_lines(sys.stdin.fileno())

    def past(self, text: StoredText, name: str) -> None:
        head = f"{clock_time(text.timestamp)} {'you' if text.outgoing else name}: "
        self._console.raw(indented(head, text.text) + "\n")

    def said(self, message_id: bytes, text: str, at: int) -> None:
        return None

    def delivery(self, message_id: bytes, delivery: Delivery) -> None:
        return None

    def heard(self, event: TextReceived, name: str, *, late: bool = False) -> None:
        mark = "" if event.forward_secret else f" [{NO_FORWARD_SECRECY}]"
        mark += " [written before]" if late else ""
        self._console.raw(indented(f"{clock_time(event.timestamp)} {name}{mark}: ", event.text) + "\n")

    def event(self, event: Event, name: str | None) -> None:
        return None

    def notice(self, text: str) -> None:
        self._console.note(text)


class ForPrograms:
    """JSON lines: everything that happens."""

    interrupted = False
    patient = True

    def __init__(self, console: Console) -> None:
        self._console = console

    def lines(self) -> AsyncIterator[str]:
        return piped_lines(sys.stdin.fileno())

    def _tell(self, **facts: Any) -> None:
        self._console.tell(facts)

    def past(self, text: StoredText, name: str) -> None:
        self._tell(event="past", name=name, **stored_as_object(text))

    def said(self, message_id: bytes, text: str, at: int) -> None:
        self._tell(event="said", message_id=message_id.hex(), text=text, timestamp=at)

    def delivery(self, message_id: bytes, delivery: Delivery) -> None:
        return None

    def heard(self, event: TextReceived, name: str, *, late: bool = False) -> None:
        return None

    def event(self, event: Event, name: str | None) -> None:
        self._console.tell(as_object(event, name))

    def notice(self, text: str) -> None:
        self._tell(event="notice", text=text)
