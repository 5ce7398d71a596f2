"""The command, run in this process where that tells the same, and as a process of its own where it does not."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any

import pytest
from attrs import frozen
from kexkit_cli.app import run

from tests.host.conftest import install  # noqa: F401  a fixture, for all tests here

SECONDS = 30.0
"""for a process to do what takes it less than one: two cores are shared by many"""
COMMAND = [sys.executable, "-P", "-m", "kexkit_cli"]
PSK = "00112233445566778899aabbccddeeff" * 2


@frozen
class Ran:
    """What a command did."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        """The one object on the one line."""
        assert self.out.endswith("\n")
        assert self.out.count("\n") == 1, self.out
        parsed: dict[str, Any] = json.loads(self.out)
        return parsed

    @property
    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.out.splitlines()]


Invoke = Callable[..., Ran]


@pytest.fixture(autouse=True, scope="module")
def _heard(interruptible: None) -> None:
    """Every command here can be interrupted."""


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Nothing of whoever runs the tests is seen or touched."""
    for name in list(os.environ):
        if name.startswith("KEXKIT_") or name in ("NO_COLOR", "FORCE_COLOR"):
            monkeypatch.delenv(name)
    folder = tmp_path / "home"
    monkeypatch.setenv("KEXKIT_HOME", str(folder))
    monkeypatch.setenv("PYTHONIOENCODING", "utf-8")
    return folder


@pytest.fixture
def invoke(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Invoke:
    """In this process: the whole way from arguments to exit code."""

    def invoke(*arguments: str, stdin: bytes = b"") -> Ran:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin), encoding="utf-8"))
        capsys.readouterr()
        code = run(list(arguments))
        said = capsys.readouterr()
        assert "Traceback" not in said.err
        return Ran(code, said.out, said.err)

    return invoke


def execute(*arguments: str, stdin: bytes | None = b"", env: Mapping[str, str] | None = None) -> Ran:
    """As a process."""
    done = subprocess.run(
        [*COMMAND, *arguments],
        input=stdin,
        capture_output=True,
        timeout=SECONDS,
        env={**os.environ, **(env or {})},
        check=False,
    )
    ran = Ran(done.returncode, done.stdout.decode(), done.stderr.decode())
    assert "Traceback" not in ran.err, ran.err
    return ran


class Running:
    """A command that goes on until it is told to stop."""

    def __init__(self, *arguments: str, env: Mapping[str, str] | None = None) -> None:
        self.process = subprocess.Popen(
            [*COMMAND, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, **(env or {})},
            start_new_session=True,
        )

    def line(self) -> str:
        return self._line(self.process.stdout)

    def note(self) -> str:
        return self._line(self.process.stderr)

    def _line(self, stream: IO[bytes] | None) -> str:
        """A command that has nothing more to say is ended, so that its test fails and does not wait for ever."""
        assert stream is not None
        watch = threading.Timer(SECONDS, self.process.kill)
        watch.start()
        try:
            return stream.readline().decode()
        finally:
            watch.cancel()

    def type(self, text: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(text.encode())
        self.process.stdin.flush()

    def interrupt(self) -> Ran:
        self.process.send_signal(signal.SIGINT)
        return self.end()

    def end(self) -> Ran:
        out, err = self.process.communicate(timeout=SECONDS)
        ran = Ran(self.process.returncode, out.decode(), err.decode())
        assert "Traceback" not in ran.err, ran.err
        return ran

    def kill(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()


Start = Callable[..., Running]


@pytest.fixture
def start() -> Iterator[Start]:
    """Processes that do not outlive the test."""
    started: list[Running] = []

    def start(*arguments: str, env: Mapping[str, str] | None = None) -> Running:
        started.append(Running(*arguments, env=env))
        return started[-1]

    yield start
    for running in started:
        running.kill()


@pytest.fixture(scope="session")
def relay(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """One relay for all tests here: the URL of `kexkit relay` itself."""
    folder = tmp_path_factory.mktemp("relay")
    running = Running("--stop-with-stdin", "relay", "--port", "0", "--data", str(folder), "--json")
    try:
        yield str(json.loads(running.line())["url"])
    finally:
        running.kill()


@pytest.fixture
def mechanisms() -> str:
    """What two profiles of a test allow, as config.toml has it; '' for what everybody has."""
    return ""


@pytest.fixture
def two(invoke: Invoke, relay: str, home: Path, mechanisms: str, monkeypatch: pytest.MonkeyPatch) -> tuple[str, str]:
    """Two profiles on that relay, 'alice' and 'bob', of whom bob knows alice. Their identities."""
    monkeypatch.setenv("KEXKIT_RELAY", relay)
    identities = []
    for name in ("alice", "bob"):
        made = invoke("--profile", name, "init", "--json")
        assert made.code == 0
        if mechanisms:
            write_config(home, name, f"mechanisms = {mechanisms}\n")
        identities.append(str(made.json["identity"]))
    code = invoke("--profile", "alice", "contact", "--json").json["code"]
    assert invoke("--profile", "bob", "add", code, "--name", "alice").code == 0
    return identities[0], identities[1]


def write_config(home: Path, profile: str, text: str) -> None:
    folder = home / "profiles" / profile
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.toml").write_text(text, encoding="utf-8")
