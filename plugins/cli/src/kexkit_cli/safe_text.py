"""Text of others, made safe to show. A terminal obeys what it is sent; a peer must not be the one who sends it."""

from __future__ import annotations

import unicodedata
from typing import Final

_BIDI: Final = {*range(0x202A, 0x202F), *range(0x2066, 0x206A)}
"""embeddings, overrides and isolates: they reorder what stands around them, such as names"""
_LINES: Final = {0x2028, 0x2029}
_HIDDEN: Final = {0xFEFF, *range(0xFFF9, 0xFFFC), *range(0xE0000, 0xE0080)}
"""a byte order mark, interlinear annotations and tags: text that cannot be seen"""
_NAMED: Final = _BIDI | _LINES | _HIDDEN


def safe(text: str, *, lines: bool = False) -> str:
    """`text` with every character that a terminal would obey made visible. `lines`: keep line breaks, and tabs."""
    if text.isprintable() and text.isascii():
        return text
    return "".join(character if _harmless(character, lines) else _visible(character) for character in text)


def _harmless(character: str, lines: bool) -> bool:
    if character in "\n\t":
        return lines
    return ord(character) not in _NAMED and unicodedata.category(character) not in ("Cc", "Cs")


def _visible(character: str) -> str:
    code = ord(character)
    if code < 0x20:
        return chr(0x2400 + code)  # the pictures of control characters: ␛ for escape
    if code == 0x7F:
        return "\u2421"
    return f"<U+{code:04X}>"


def without_secrets(url: str) -> str:
    """An address as it may stand on a screen and in a log: names, passwords and tokens are the network's alone."""
    scheme, slashes, rest = url.partition("://")
    return scheme + slashes + rest.rpartition("@")[2].partition("?")[0]


def cells(text: str) -> int:
    """How many columns of a terminal safe text takes."""
    if text.isascii():
        return len(text)
    return sum(map(_cells_of, text))


def _cells_of(character: str) -> int:
    if unicodedata.combining(character) or unicodedata.category(character) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in ("W", "F") else 1


def wrapped(text: str, width: int) -> list[str]:
    """Safe text as rows of at most `width` columns, broken between words where that is possible."""
    rows: list[str] = []
    for line in text.split("\n"):
        rows += _wrap_line(line.expandtabs(4), max(width, 2))
    return rows


def _wrap_line(line: str, width: int) -> list[str]:
    rows: list[str] = []
    row, used, last_space = "", 0, -1
    for character in line:
        taken = _cells_of(character)
        if character == " " and used + taken > width:  # the break stands for it
            rows.append(row)
            row, used, last_space = "", 0, -1
            continue
        while used + taken > width:
            head, row = (row[:last_space], row[last_space + 1 :]) if last_space >= 0 else (row, "")
            rows.append(head)
            used, last_space = cells(row), -1
        if character == " ":
            last_space = len(row)
        row += character
        used += taken
    return [*rows, row]
