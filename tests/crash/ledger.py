"""What the applications of both peers saw, on paper that outlives them, and what is wrong with it."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from tests.crash.sealing import reused

ALICE, BOB = "alice", "bob"


class Ledger:
    """Append-only, one line at a time, on stable storage before the application goes on."""

    def __init__(self, folder: Path, name: str) -> None:
        self._file = folder / f"{name}.ledger"

    def write(self, *entry: str) -> None:
        paper = os.open(self._file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            os.write(paper, json.dumps(entry).encode() + b"\n")
            os.fsync(paper)
        finally:
            os.close(paper)

    def entries(self) -> list[list[str]]:
        return [json.loads(line) for line in self._file.read_text().splitlines()] if self._file.exists() else []

    def heard_texts(self) -> set[str]:
        return {entry[2] for entry in self.entries() if entry[0] == "heard"}


def faults(folder: Path, planned: dict[str, list[str]]) -> list[str]:
    """All that is wrong after both have finished; empty when the promises held. `planned`: texts by author."""
    found = [*reused(folder)]
    if not (folder / "histories").exists():
        return [*found, "the two did not finish"]
    histories = json.loads((folder / "histories").read_text())
    if histories[ALICE] != histories[BOB]:
        found.append(f"histories differ: {histories}")
    for author, listener in ((ALICE, BOB), (BOB, ALICE)):
        written = {one["id"]: one["text"] for one in histories[author] if one["author"] == author}
        found += _of_sender(Ledger(folder, author).entries(), written, planned[author])
        found += _of_listener(Ledger(folder, listener).entries(), written)
    return found


def _of_sender(entries: list[list[str]], written: dict[str, str], planned: list[str]) -> Iterator[str]:
    for kind, *rest in entries:
        if kind == "sent" and written.get(rest[0]) != rest[1]:
            yield f"send() returned for {rest[1]!r}, and it is not in the history"
    for text, count in (Counter(planned) - Counter(written.values())).items():
        yield f"{text!r} is missing {count} times"
    for text in Counter(written.values()) - Counter(planned):
        yield f"{text!r} was sent again, or never meant"


def _of_listener(entries: list[list[str]], written: dict[str, str]) -> Iterator[str]:
    acked, heard = set[str](), set[str]()
    for kind, *rest in entries:
        if kind == "unreadable":
            yield f"unreadable: {rest[0]}"
        elif kind == "acked":
            acked.add(rest[0])
        elif kind == "heard":
            if written.get(rest[0]) != rest[1]:
                yield f"heard {rest[1]!r}, which was not sent"
            if rest[0] in acked:
                yield f"{rest[1]!r} was told again after it was acknowledged"
            heard.add(rest[0])
    for lost in written.keys() - heard:
        yield f"{written[lost]!r} was never heard"
