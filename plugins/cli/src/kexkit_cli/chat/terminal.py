"""A chat in a terminal: what comes is printed above the line in work, and marks are set where the text stands.

Nothing but a handful of escape sequences that every terminal of the last forty years knows; scrolling back, copying
and searching stay the terminal's.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import termios
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

import anyio
from kexkit import Delivery, Event, Guarantee, StoredText, TextReceived

from kexkit_cli.chat.editor import Editor, Left, Redraw, Said, Suspended
from kexkit_cli.chat.face import chunks
from kexkit_cli.console import Console
from kexkit_cli.safe_text import cells, safe, wrapped
from kexkit_cli.showing import clock_time

WIDTH_LEAST = 20
PROMPT = "> "
PASTE_ON, PASTE_OFF = "\x1b[?2004h", "\x1b[?2004l"
CLEAR_ROW = "\r\x1b[K"
CLEAR_SCREEN = "\x1b[2J\x1b[H"
_LFLAG, _IFLAG, _CC = 3, 0, 6


class Terminal:
    """Made inside `raw_terminal`."""

    patient = False

    def __init__(self, console: Console, you: str) -> None:
        self.interrupted = False
        self._console = console
        self._you = safe(you)
        self._editor = Editor()
        self._rows = 0
        self._places: dict[bytes, int] = {}
        """our texts on the screen: the number of the row in which they begin"""
        self._early: dict[bytes, Delivery] = {}
        """what became of texts before they were shown"""
        self._size = shutil.get_terminal_size()
        unicode = console.unicode
        self._marks = {Delivery.QUEUED: "·" if unicode else ".", Delivery.SENT: "·" if unicode else "."}
        self._marks[Delivery.STORED] = "✓" if unicode else "+"
        self._late = "↑" if unicode else "^"
        self._dash = "—" if unicode else "--"

    # --- typing ------------------------------------------------------------------------------------------------------

    async def lines(self) -> AsyncIterator[str]:
        self._draw("")
        async for data in chunks(sys.stdin.fileno()):
            for act in self._editor.feed(data):
                if isinstance(act, Said):
                    self._draw("")
                    yield act.text
                elif isinstance(act, Left):
                    self.interrupted = act.interrupted
                    return
                elif isinstance(act, Suspended):
                    self._suspend()
                elif isinstance(act, Redraw):
                    self._places.clear()
                    self._write(CLEAR_SCREEN)
            self._draw("")

    def _suspend(self) -> None:
        self._write(CLEAR_ROW)
        with cooked_terminal():
            os.kill(0, signal.SIGTSTP)
        self._places.clear()

    async def watch_size(self) -> None:
        """For as long as the chat lasts."""
        with anyio.open_signal_receiver(signal.SIGWINCH) as signals:
            async for _ in signals:
                self._size = shutil.get_terminal_size()
                self._places.clear()  # the terminal has wrapped the rows anew, nobody knows how
                self._draw("")

    # --- showing -----------------------------------------------------------------------------------------------------

    def past(self, text: StoredText, name: str) -> None:
        if text.outgoing:
            self.said(text.message_id, text.text, text.timestamp, text.delivery)
        else:
            mark = " " if Guarantee.FORWARD_SECRECY in text.grade else "!"
            self._message(mark, text.timestamp, name, "cyan", text.text)

    def said(self, message_id: bytes, text: str, at: int, delivery: Delivery = Delivery.QUEUED) -> None:
        delivery = self._early.pop(message_id, delivery)
        place = self._rows
        self._message(self._marks[delivery], at, self._you, "green", text)
        if delivery is not Delivery.STORED:
            self._places[message_id] = place

    def delivery(self, message_id: bytes, delivery: Delivery) -> None:
        if delivery is Delivery.QUEUED:
            return
        place = self._places.get(message_id)
        if place is None:
            self._early[message_id] = delivery
            return
        up = self._rows - place
        if up < self._size.lines:
            self._draw(f"{CLEAR_ROW}\x1b[{up}A{self._mark(self._marks[delivery])}\r\x1b[{up}B")
        if delivery is Delivery.STORED:
            del self._places[message_id]

    def heard(self, event: TextReceived, name: str, *, late: bool = False) -> None:
        mark = "!" if not event.forward_secret else self._late if late else " "
        self._message(mark, event.timestamp, name, "cyan", event.text)

    def event(self, event: Event, name: str | None) -> None:
        return None

    def notice(self, text: str) -> None:
        if not self._console.invocation.quiet:
            first, *others = wrapped(safe(text, lines=True), self._width - 4)
            self._block([f"{self._dash} {first}", *(" " * (len(self._dash) + 1) + row for row in others)], "dim")

    def _mark(self, mark: str) -> str:
        style = {"✓": "green", "+": "green", "!": "yellow"}.get(mark, "dim")
        return self._console.styled(mark, style)

    def _message(self, mark: str, at: int, name: str, colour: str, text: str) -> None:
        head = f"{clock_time(at)} {name}  "
        indent = min(cells(head), self._width // 2)
        first, *others = wrapped(safe(text, lines=True), self._width - 2 - indent)
        styled = self._console.styled(clock_time(at), "dim") + " " + self._console.styled(name, colour, "bold") + "  "
        rows = [f"{self._mark(mark)} {styled}{first}", *(" " * (indent + 2) + row for row in others)]
        self._block(rows)

    def _block(self, rows: list[str], *styles: str) -> None:
        text = "".join(self._console.styled(row, *styles) + "\n" for row in rows)
        self._rows += len(rows)
        self._draw(CLEAR_ROW + text)

    @property
    def _width(self) -> int:
        """One less than there is: terminals differ in what happens in the last column."""
        return max(self._size.columns - 1, WIDTH_LEAST)

    def _draw(self, before: str) -> None:
        """The row in work, after whatever else."""
        shown, column = self._editor.view(self._width - len(PROMPT))
        back = f"\r\x1b[{column + len(PROMPT)}C"
        self._write(before + CLEAR_ROW + self._console.styled(PROMPT, "bold") + shown + back)

    def _write(self, text: str) -> None:
        sys.stdout.write(text)
        sys.stdout.flush()

    def close(self) -> None:
        self._write(CLEAR_ROW)


@contextmanager
def raw_terminal() -> Iterator[None]:
    """Keys come one by one and unseen, Ctrl-C and Ctrl-Z as keys; what it was like before comes back at the end."""
    descriptor = sys.stdin.fileno()
    before = termios.tcgetattr(descriptor)
    try:
        _make_raw(descriptor)
        yield
    finally:
        sys.stdout.write(PASTE_OFF)
        sys.stdout.flush()
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)


def _make_raw(descriptor: int) -> None:
    mode = termios.tcgetattr(descriptor)
    mode[_LFLAG] &= ~(termios.ECHO | termios.ICANON | termios.ISIG | termios.IEXTEN)
    mode[_IFLAG] &= ~(termios.ICRNL | termios.IXON)
    mode[_CC][termios.VMIN], mode[_CC][termios.VTIME] = 1, 0
    termios.tcsetattr(descriptor, termios.TCSADRAIN, mode)
    sys.stdout.write(PASTE_ON)
    sys.stdout.flush()


@contextmanager
def cooked_terminal() -> Iterator[None]:
    """As the shell likes it, for a while."""
    descriptor = sys.stdin.fileno()
    mode = termios.tcgetattr(descriptor)
    mode[_LFLAG] |= termios.ECHO | termios.ICANON | termios.ISIG | termios.IEXTEN
    mode[_IFLAG] |= termios.ICRNL | termios.IXON
    sys.stdout.write(PASTE_OFF)
    sys.stdout.flush()
    termios.tcsetattr(descriptor, termios.TCSADRAIN, mode)
    try:
        yield
    finally:
        _make_raw(descriptor)
