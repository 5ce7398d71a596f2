"""The one place that prints: results to stdout, everything else to stderr, and nothing of a peer's raw."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from typing import Any, TextIO

from kexkit_cli.exits import OutputLost
from kexkit_cli.invocation import Invocation
from kexkit_cli.safe_text import safe

_STYLES = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33", "blue": "34", "cyan": "36"}


def wants_colour(stream: TextIO) -> bool:
    """NO_COLOR wins over FORCE_COLOR, both over what the stream is."""
    if os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("FORCE_COLOR"):
        return True
    return stream.isatty() and os.environ.get("TERM") != "dumb"


def speaks_unicode(stream: TextIO) -> bool:
    """Whether marks beyond ASCII can be shown."""
    return (stream.encoding or "ascii").lower().replace("-", "") in ("utf8", "utf16", "utf32", "utf8sig")


def columns() -> int | None:
    """Of the terminal that stdout is; None: it is none."""
    try:
        return os.get_terminal_size(sys.stdout.fileno()).columns or None
    except (OSError, ValueError):
        return None


class Console:
    """Prints as the invocation asks for it."""

    def __init__(self, invocation: Invocation) -> None:
        self.invocation = invocation
        self.colour = wants_colour(sys.stdout)
        self.unicode = speaks_unicode(sys.stdout)
        for stream in (sys.stdout, sys.stderr):
            reconfigure = getattr(stream, "reconfigure", None)
            if reconfigure is not None:
                reconfigure(errors="backslashreplace")

    @property
    def json(self) -> bool:
        return self.invocation.json

    def styled(self, text: str, *styles: str) -> str:
        """`text` must be safe already."""
        if not self.colour or not styles:
            return text
        return f"\x1b[{';'.join(_STYLES[style] for style in styles)}m{text}\x1b[0m"

    def say(self, text: str = "", *styles: str) -> None:
        """A line of the result, for people."""
        self.raw(self.styled(safe(text, lines=True), *styles) + "\n")

    def raw(self, text: str) -> None:
        """What is safe and styled already."""
        try:
            sys.stdout.write(text)
            sys.stdout.flush()
        except BrokenPipeError:
            raise
        except OSError as error:
            raise OutputLost(f"What is printed cannot be written: {error.strerror or error}.") from None

    def tell(self, result: Mapping[str, Any]) -> None:
        """The result for programs: one object on one line, in ASCII, so that no control character is ever raw."""
        self.raw(json.dumps(result, separators=(",", ":")) + "\n")

    def note(self, text: str) -> None:
        """For people, beside the result."""
        if not self.invocation.quiet:
            self.warn(text)

    def warn(self, text: str) -> None:
        sys.stdout.flush()
        sys.stderr.write(f"kexkit: {safe(text, lines=True)}\n")
        sys.stderr.flush()

    def answer(self, result: Mapping[str, Any], *lines: str) -> None:
        """A short result: as one object, or as these lines."""
        if self.json:
            self.tell(result)
        else:
            for line in lines:
                self.say(line)
