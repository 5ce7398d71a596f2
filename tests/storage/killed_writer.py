"""A process that forks writers one after another, so that a test can kill hundreds of them in a few seconds.

Each writer opens the store, finds the last number, and goes on counting: two rows at a time, told on the output once
apply() has returned. Before each it waits for a line on its input, and the writer says its process id first of all:
said by its parent, it could come after all else, and whoever reads would never kill it, or a process called 0.
"""

from __future__ import annotations

import os
import sys
from typing import Any

from kexkit.api import Change, Key
from kexkit_storage_sqlite._opening import opened

TWINS: tuple[Key, Key] = (("twin", b"left"), ("twin", b"right"))


def now(verb: Any) -> Any:
    try:
        verb.send(None)
    except StopIteration as end:
        return end.value
    raise AssertionError("it waited")


def count(path: str) -> None:
    with opened({"path": path}) as store:
        rows = now(store.load(TWINS))
        values = {row.value for row in rows.values()}
        if len(values) > 1 or len(rows) not in (0, 2):
            say(f"halved {rows}")
            return
        number = rows[TWINS[0]].revision if rows else 0
        say(f"found {number}")
        while True:
            value = b"%d" % (number + 1) * 100
            now(store.apply(Change(dict.fromkeys(TWINS, number), dict.fromkeys(TWINS, value))))
            number += 1
            say(f"kept {number}")


def say(text: str) -> None:
    os.write(1, text.encode() + b"\n")


def main(path: str) -> None:
    while sys.stdin.readline():
        writer = os.fork()
        if not writer:
            say(f"writer {os.getpid()}")
            count(path)
            os._exit(0)
        os.waitpid(writer, 0)
        say("ended")


if __name__ == "__main__":
    main(sys.argv[1])
