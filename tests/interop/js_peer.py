"""The JS device, as lines of JSON to a Node process."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Timer
from typing import Any

from attrs import define

ANSWER_S = 30
"""A peer that has not answered by then is taken for dead; starting it takes about a second."""


class JsError(Exception):
    """What the package threw."""


@define
class JsPeer:
    process: subprocess.Popen[str]

    @classmethod
    @contextmanager
    def started(cls, home: Path) -> Iterator[JsPeer]:
        with subprocess.Popen(
            ["node", "peer.js"],
            cwd=home,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        ) as process:
            try:
                yield cls(process)
            finally:
                process.kill()

    def ask(self, op: str, **given: object) -> dict[str, Any]:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        watchdog = Timer(ANSWER_S, self.process.kill)
        watchdog.start()
        try:
            self.process.stdin.write(json.dumps({"op": op, **given}) + "\n")
            self.process.stdin.flush()
            line = self.process.stdout.readline()
        finally:
            watchdog.cancel()
        assert line, f"the JS peer died, or gave no answer to {op} within {ANSWER_S} s"
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise JsError(answer["error"])
        return answer
