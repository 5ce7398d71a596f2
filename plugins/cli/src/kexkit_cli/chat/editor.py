"""A line editor without I/O: bytes from a terminal in, what they amount to out.

It knows what people's fingers know: arrows, Home, End, Backspace, Delete, Ctrl-A E K U W L, the lines said before with
the up arrow, Alt-Enter for a line break, and pasted text, whose line breaks do not send it.
"""

from __future__ import annotations

import codecs
import re
from typing import Final

from attrs import define, field, frozen

from kexkit_cli.limits import KEY_BYTES, LINES_REMEMBERED, PASTE_BYTES, TYPED_CHARACTERS
from kexkit_cli.safe_text import cells, safe

PASTE_BEGINS: Final = b"\x1b[200~"
PASTE_ENDS: Final = b"\x1b[201~"
_SEQUENCE: Final = re.compile(rb"\x1b(?:\[[0-9;?]*[ -/]*[@-~]|O[@-~]|[^\[O])", re.DOTALL)
_BREAK: Final = "↵"


@frozen
class Said:
    """Enter: the line is complete."""

    text: str


@frozen
class Left:
    """Ctrl-D on an empty line; or Ctrl-C."""

    interrupted: bool


@frozen
class Suspended:
    """Ctrl-Z."""


@frozen
class Redraw:
    """Ctrl-L."""


Act = Said | Left | Suspended | Redraw


@define
class Editor:
    """One line in work. `feed` it bytes as they come, in whatever pieces; `view` says what to show."""

    text: str = ""
    cursor: int = 0
    _rest: bytes = b""
    _pasting: bool = False
    _said: list[str] = field(factory=list)
    _place: int = 0
    _kept: str = ""

    # --- reading -----------------------------------------------------------------------------------------------------

    def feed(self, data: bytes) -> list[Act]:
        data = self._rest + data
        acts: list[Act] = []
        while data:
            taken, act = self._step(data)
            if not taken:
                break
            data = data[taken:]
            if act is not None:
                acts.append(act)
        self._rest = data
        return acts

    def _step(self, data: bytes) -> tuple[int, Act | None]:
        """How many bytes were used; none: the rest of a key has yet to come."""
        if self._pasting:
            return self._paste(data), None
        if data[0] == 0x1B:
            return self._escape(data), None
        if data[0] < 0x20 or data[0] == 0x7F:
            return 1, self._control(data[0])
        return self._characters(data), None

    def _characters(self, data: bytes) -> int:
        plain = re.match(rb"[^\x00-\x1f\x7f]+", data)
        assert plain is not None
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        text = decoder.decode(plain[0])
        waiting = len(decoder.getstate()[0])
        if waiting and len(plain[0]) < len(data):  # cut short by a control character: it will never be whole
            text += decoder.decode(b"", final=True)
            waiting = 0
        self._insert(text)
        return len(plain[0]) - waiting

    def _paste(self, data: bytes) -> int:
        end = data.find(PASTE_ENDS)
        if end >= 0:
            self._insert(_pasted(data[:end]))
            self._pasting = False
            return end + len(PASTE_ENDS)
        if len(data) > PASTE_BYTES:  # more than the line holds: what comes still belongs to it, and falls off its end
            taken = len(data) - len(PASTE_ENDS) + 1
            self._insert(_pasted(data[:taken]))
            return taken
        return 0

    def _escape(self, data: bytes) -> int:
        if data.startswith(PASTE_BEGINS):
            self._pasting = True
            return len(PASTE_BEGINS)
        found = _SEQUENCE.match(data)
        if found is None:
            return 1 if len(data) > KEY_BYTES else 0
        action = _KEYS.get(found[0])
        if action is not None:
            action(self)
        return found.end()

    def _control(self, code: int) -> Act | None:
        if code in (0x0D, 0x0A):
            return self._enter()
        if code == 0x03 or (code == 0x04 and not self.text):
            return Left(interrupted=code == 0x03)
        if code == 0x1A:
            return Suspended()
        if code == 0x0C:
            return Redraw()
        action = _CONTROLS.get(code)
        if action is not None:
            action(self)
        return None

    def _enter(self) -> Said:
        said = Said(self.text)
        if self.text.strip() and self._said[-1:] != [self.text]:
            self._said = [*self._said, self.text][-LINES_REMEMBERED:]
        self._place, self._kept = len(self._said), ""
        self.text, self.cursor = "", 0
        return said

    # --- changing ----------------------------------------------------------------------------------------------------

    def _insert(self, text: str) -> None:
        text = text[: max(TYPED_CHARACTERS - len(self.text), 0)]
        self.text = self.text[: self.cursor] + text + self.text[self.cursor :]
        self.cursor += len(text)

    def _cut(self, start: int, stop: int) -> None:
        self.text = self.text[: max(start, 0)] + self.text[stop:]
        self.cursor = max(start, 0)

    def backspace(self) -> None:
        if self.cursor:
            self._cut(self.cursor - 1, self.cursor)

    def delete(self) -> None:
        self._cut(self.cursor, self.cursor + 1)

    def cut_before(self) -> None:
        self._cut(0, self.cursor)

    def cut_after(self) -> None:
        self._cut(self.cursor, len(self.text))

    def cut_word(self) -> None:
        before = self.text[: self.cursor].rstrip()
        self._cut(before.rfind(" ") + 1, self.cursor)

    def left(self) -> None:
        self.cursor = max(self.cursor - 1, 0)

    def right(self) -> None:
        self.cursor = min(self.cursor + 1, len(self.text))

    def home(self) -> None:
        self.cursor = 0

    def end(self) -> None:
        self.cursor = len(self.text)

    def line_break(self) -> None:
        self._insert("\n")

    def earlier(self) -> None:
        self._recall(self._place - 1)

    def later(self) -> None:
        self._recall(self._place + 1)

    def _recall(self, place: int) -> None:
        if not 0 <= place <= len(self._said):
            return
        if self._place == len(self._said):
            self._kept = self.text
        self._place = place
        self.text = self._said[place] if place < len(self._said) else self._kept
        self.cursor = len(self.text)

    # --- showing -----------------------------------------------------------------------------------------------------

    def view(self, width: int) -> tuple[str, int]:
        """What fits into `width` columns around the cursor, and the cursor's column in it."""
        shown = [safe(character.replace("\n", _BREAK).replace("\t", " ")) for character in self.text]
        start = self.cursor
        used = 0
        while start > 0 and used + cells(shown[start - 1]) < width:
            start -= 1
            used += cells(shown[start])
        stop, column = self.cursor, used
        while stop < len(shown) and used + cells(shown[stop]) < width:
            used += cells(shown[stop])
            stop += 1
        return "".join(shown[start:stop]), column


def _pasted(raw: bytes) -> str:
    return raw.decode("utf-8", "replace").replace("\r\n", "\n").replace("\r", "\n")


_CONTROLS: Final = {
    0x01: Editor.home,
    0x02: Editor.left,
    0x04: Editor.delete,
    0x05: Editor.end,
    0x06: Editor.right,
    0x08: Editor.backspace,
    0x0B: Editor.cut_after,
    0x0E: Editor.later,
    0x10: Editor.earlier,
    0x15: Editor.cut_before,
    0x17: Editor.cut_word,
    0x7F: Editor.backspace,
}
_KEYS: Final = {
    b"\x1b[A": Editor.earlier,
    b"\x1bOA": Editor.earlier,
    b"\x1b[B": Editor.later,
    b"\x1bOB": Editor.later,
    b"\x1b[C": Editor.right,
    b"\x1bOC": Editor.right,
    b"\x1b[D": Editor.left,
    b"\x1bOD": Editor.left,
    b"\x1b[H": Editor.home,
    b"\x1bOH": Editor.home,
    b"\x1b[1~": Editor.home,
    b"\x1b[F": Editor.end,
    b"\x1bOF": Editor.end,
    b"\x1b[4~": Editor.end,
    b"\x1b[3~": Editor.delete,
    b"\x1b\r": Editor.line_break,
    b"\x1b\n": Editor.line_break,
}
