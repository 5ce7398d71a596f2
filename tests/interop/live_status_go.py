"""Devices of the real status-go, as lines of JSON to the process that status-go/main.go makes."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from random import Random
from threading import Timer
from typing import Any

from attrs import define, field

from tests.interop.devices import Clock, Refused, Workshop

ANSWER_S = 30
"""A process that has not answered by then is taken for dead; an answer takes about a millisecond."""


class LiveError(Exception):
    """What status-go gave for an error."""


@define
class LiveStatusGo:
    process: subprocess.Popen[str]

    @classmethod
    @contextmanager
    def started(cls, command: Sequence[str]) -> Iterator[LiveStatusGo]:
        with subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
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
        except BrokenPipeError:
            line = ""
        finally:
            watchdog.cancel()
        assert line, f"status-go died, or gave no answer to {op} within {ANSWER_S} s"
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise LiveError(answer["error"])
        return answer

    def device(self, workshop: Workshop, secret: bytes) -> LiveDevice:
        """It opens a text again, as in Status."""
        installation = workshop.installation()
        number = self.ask("new", secret=secret.hex(), installation=installation)["device"]
        return LiveDevice(self, number, workshop.public(secret), installation)

    def unwrap(self, payload: bytes) -> tuple[bytes, ...] | None:
        """The texts in a payload of data sync; None: it is no such payload, but a bare text."""
        try:
            return tuple(bytes.fromhex(body) for body in self.ask("unwrap", bytes=payload.hex())["bodies"])
        except LiveError:
            return None

    def confirming_device(self, workshop: Workshop, secret: bytes) -> LiveDevice:
        made = self.device(workshop, secret)
        made.forgets_used_keys = True
        return made


@define
class LiveDevice:
    process: LiveStatusGo
    number: int
    identity: bytes
    installation: str
    forgets_used_keys: bool = False
    """True: it is told that a text has been processed, which Status itself does not tell it."""

    def _ask(self, op: str, **given: object) -> bytes:
        return bytes.fromhex(self.process.ask(op, device=self.number, **given)["bytes"])

    def bundle(self) -> bytes:
        return self._ask("bundle")

    def process_bundle(self, maker: bytes, bundle: bytes) -> None:
        try:
            self._ask("process_bundle", bytes=bundle.hex())
        except LiveError as error:
            raise Refused(f"status-go: {error}") from None

    def enable(self, installation: str) -> None:
        self._ask("enable", installation=installation)

    def send(self, to: bytes, payload: bytes) -> bytes:
        return self.build("build", to, payload)

    def build(self, op: str, to: bytes, payload: bytes) -> bytes:
        """`op`: build, build_dh, build_public, build_group, build_group_key."""
        return self._ask(op, person=to.hex(), bytes=payload.hex())

    def receive(self, sender: bytes, message: bytes) -> bytes:
        """Empty, too, if it is its own and comes back."""
        try:
            return self._ask("handle", person=sender.hex(), bytes=message.hex(), confirm=self.forgets_used_keys)
        except LiveError as error:
            raise Refused(f"status-go: {error}") from None

    def restart(self) -> None:
        self._ask("restart")

    def age(self, ms: int) -> None:
        """Its clock is the machine's, so its prekeys are made older."""
        self._ask("age", ms=ms)

    def state(self) -> None:
        """Nothing is promised of it."""


@define
class LiveClock(Clock):
    """Goes with the machine's, which is status-go's, and stays ahead by as much as it is put forward."""

    ms: int = field(factory=lambda: time.time_ns() // 1_000_000)
    begun: int = field(factory=time.monotonic_ns)

    def now_ms(self) -> int:
        return super().now_ms() + (time.monotonic_ns() - self.begun) // 1_000_000


def live_workshop(seed: int) -> Workshop:
    return Workshop(Random(seed), LiveClock())
