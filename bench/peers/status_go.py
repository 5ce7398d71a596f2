"""status-go itself, where its driver is built: KEXKIT_STATUS_GO starts it (tests/interop/status-go/README.md).

Another process, so wall time alone is compared: what two devices of its encryption layer spend on building a message,
on handling and on confirming it, with SQLite in memory. It signs no envelope and stores no text.
"""

from __future__ import annotations

import json
import os
import secrets
import shlex
import subprocess
from contextlib import ExitStack
from typing import Any, Final

from coincurve import PrivateKey

from bench.measuring import Contestant

VARIABLE: Final = "KEXKIT_STATUS_GO"
NAME: Final = "status-go"
INSTALLATIONS: Final = ("a11ce000-0000-4000-8000-000000000001", "b0b00000-0000-4000-8000-000000000002")


class StatusGo:
    """Two devices that have each other's bundles and have talked."""

    def __init__(self, words: list[str], exits: ExitStack) -> None:
        self._process = exits.enter_context(
            subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        )
        exits.callback(self._process.kill)
        people = [PrivateKey(secrets.token_bytes(32)) for _ in INSTALLATIONS]
        for person, installation in zip(people, INSTALLATIONS, strict=True):
            self._ask("new", secret=person.secret.hex(), installation=installation)
        for device, other in ((0, 1), (1, 0)):
            self._ask("process_bundle", device=device, bytes=self._ask("bundle", device=other)["bytes"])
        self._talk("time_turns", 10, "00")

    def talking(self, body: bytes) -> Contestant:
        return Contestant(f"{NAME}, both", lambda times: self._talk("time", times, body.hex()), most=100)

    def turning(self, body: bytes) -> Contestant:
        return Contestant(f"{NAME}, in turns", lambda times: self._talk("time_turns", times, body.hex()), most=100)

    def _talk(self, op: str, times: int, body: str) -> None:
        self._ask(op, times=times, bytes=body, confirm=True)

    def _ask(self, op: str, **given: object) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"op": op, **given}) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        answer: dict[str, Any] = json.loads(line) if line else {"error": "it has ended"}
        if "error" in answer:
            raise RuntimeError(f"{NAME}, {op}: {answer['error']}")
        return answer


def load(exits: ExitStack) -> StatusGo | str:
    """Or why it is left out."""
    command = os.environ.get(VARIABLE)
    if not command:
        return f"not built; {VARIABLE} names its driver (tests/interop/status-go/README.md)"
    return StatusGo(shlex.split(command), exits)
