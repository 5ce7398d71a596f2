"""`kexkit relay` as a process: what it prints, how it ends, and what survives when it is killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random

import anyio
import anyio.to_thread
import click
import pytest
from click.testing import CliRunner
from kexkit.api import Envelope
from kexkit.errors import TransportError
from kexkit_transport_relay import kexkit_commands, open_relay
from kexkit_transport_relay.command import relay as command

from tests.transport.by_hand import TOPIC, envelope

SECONDS = 20.0


class Process:
    """A relay that listens; `said` is what it printed."""

    def __init__(self, *arguments: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "kexkit_transport_relay", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        self.said = self.process.stdout.readline()

    @property
    def port(self) -> int:
        return int(json.loads(self.said)["port"])

    def end(self, number: int) -> tuple[int, str]:
        """Its exit code, and what it said on stderr."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        _, errors = self.process.communicate(timeout=SECONDS)
        return self.process.returncode, errors


@contextmanager
def running(*arguments: str) -> Iterator[Process]:
    process = Process(*arguments)
    try:
        yield process
    finally:
        process.end(signal.SIGKILL)


def at(folder: Path, port: int = 0) -> list[str]:
    return ["--data", str(folder), "--port", str(port), "--json"]


@pytest.mark.anyio
async def test_a_relay_killed_again_and_again_loses_nothing_that_it_acknowledged(tmp_path: Path) -> None:
    random, kills, publishers = Random(7), 4, 8
    acknowledged: set[Envelope] = set()
    followed: list[Envelope] = []
    stopping = False
    relay = await anyio.to_thread.run_sync(lambda: Process(*at(tmp_path / "r")))
    port = relay.port
    url = f"ws://127.0.0.1:{port}"

    async def publish(who: int) -> None:
        async with open_relay({"url": url, "patience": "20"}, sleep=nap) as alice:
            number = who * 1_000_000
            while not stopping:
                number += 1
                try:
                    await alice.publish(envelope(number))
                except TransportError:
                    continue
                acknowledged.add(envelope(number))

    async def follow() -> None:
        async with open_relay({"url": url}, sleep=nap) as bob:
            await bob.watch({TOPIC: None})
            while True:
                try:
                    followed.append((await anext(bob.arrivals())).envelope)
                except TransportError:
                    continue

    try:
        async with anyio.create_task_group() as group:
            group.start_soon(follow)
            async with anyio.create_task_group() as writers:
                for who in range(publishers):
                    writers.start_soon(publish, who)
                for _ in range(kills):
                    before = len(acknowledged)
                    await anyio.sleep(0.1 + random.random() * 0.2)
                    await reached(acknowledged, before + 1)
                    await anyio.to_thread.run_sync(relay.end, signal.SIGKILL)
                    relay = await anyio.to_thread.run_sync(lambda: Process(*at(tmp_path / "r", port)))
                await reached(acknowledged, max(len(acknowledged) + 20, kills * publishers + 1))
                stopping = True
            await reached_all(followed, acknowledged)
            group.cancel_scope.cancel()
        async with open_relay({"url": url}) as carol:
            await carol.watch({TOPIC: None})
            missing = set(acknowledged)
            while missing:
                missing.discard((await anext(carol.arrivals())).envelope)
    finally:
        relay.end(signal.SIGKILL)
    assert len(acknowledged) > kills * publishers


async def nap(seconds: float) -> None:
    await anyio.sleep(min(seconds, 0.05))


async def reached(what: set[Envelope], count: int) -> None:
    with anyio.fail_after(SECONDS):
        while len(what) < count:
            await anyio.sleep(0.01)


async def reached_all(what: list[Envelope], wanted: set[Envelope]) -> None:
    with anyio.fail_after(SECONDS):
        while not wanted <= set(what):
            await anyio.sleep(0.05)


@pytest.mark.usefixtures("interruptible")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 0)])
def test_signals_stop_it_with_the_code_that_shells_expect(tmp_path: Path, number: int, code: int) -> None:
    with running(*at(tmp_path / "r")) as relay:
        said = json.loads(relay.said)
        assert said == {
            "url": f"ws://127.0.0.1:{relay.port}",
            "host": "127.0.0.1",
            "port": relay.port,
            "data": str(tmp_path / "r"),
        }
        assert relay.end(number) == (code, "")


def test_without_json_it_says_one_sentence(tmp_path: Path) -> None:
    with running("--data", str(tmp_path / "r"), "--port", "0") as relay:
        assert relay.said.startswith("Relay on ws://127.0.0.1:")
        assert str(tmp_path / "r") in relay.said


def test_without_a_folder_it_uses_one_of_the_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    with running("--port", "0", "--json") as relay:
        assert json.loads(relay.said)["data"] == str(tmp_path / "kexkit" / "relay")
    monkeypatch.setenv("KEXKIT_RELAY_DATA", str(tmp_path / "elsewhere"))
    with running("--port", "0", "--json") as relay:
        assert json.loads(relay.said)["data"] == str(tmp_path / "elsewhere")


@pytest.mark.parametrize("what", ["port", "folder", "foreign folder", "host"])
def test_what_it_cannot_use_is_one_sentence_on_stderr_and_exit_1(tmp_path: Path, what: str) -> None:
    with running(*at(tmp_path / "r")) as first:
        (tmp_path / "foreign").mkdir()
        (tmp_path / "foreign" / "thesis.txt").touch()
        arguments, sentence = {
            "port": (at(tmp_path / "s", first.port), f"Port {first.port} of 127.0.0.1 is in use."),
            "folder": (at(tmp_path / "r"), "Another relay uses"),
            "foreign folder": (at(tmp_path / "foreign"), "holds other files"),
            "host": ([*at(tmp_path / "s"), "--host", "no.such.host.invalid"], "There is no address called"),
        }[what]
        with running(*arguments) as second:
            code, errors = second.end(0)
            assert code == 1
            told = json.loads(second.said)
            assert sentence in told["error"]
            assert told["exit"] == 1
            assert errors.startswith("kexkit relay: ")
            assert sentence in errors
            assert errors.count("\n") == 1
        assert first.process.poll() is None


def test_listening_beyond_this_machine_is_warned_about(tmp_path: Path) -> None:
    """Nothing is sent there, and it listens for a moment only."""
    with running(*at(tmp_path / "r"), "--host", "localhost") as relay:
        assert relay.end(signal.SIGTERM) == (0, "")
    from kexkit_transport_relay.command import _only_here

    assert [_only_here(host) for host in ("127.0.0.1", "::1", "localhost", "127.8.8.8")] == [True] * 4
    assert [_only_here(host) for host in ("0.0.0.0", "::", "192.0.2.1", "relay.example.org")] == [False] * 4


@pytest.mark.parametrize(
    "arguments",
    [
        ["--port", "65536"],
        ["--port", "-1"],
        ["--keep-days", "0"],
        ["--max-connections", "0"],
        ["--publish-rate", "0"],
        ["--tls-key", __file__],
        ["--tls-certificate", __file__],
        ["--tls-certificate", "/missing.pem"],
        ["--nonsense"],
    ],
)
def test_options_that_cannot_be_are_usage_errors(arguments: list[str], tmp_path: Path) -> None:
    result = CliRunner().invoke(command, ["--data", str(tmp_path / "r"), *arguments])
    assert (result.exit_code, result.stdout) == (2, "")
    assert "Traceback" not in result.stderr
    assert not (tmp_path / "r").exists()


def test_the_command_that_the_hook_brings_is_this_one_and_says_what_it_does() -> None:
    loaded = kexkit_commands({})[0].load()
    assert isinstance(loaded, click.Command)
    result = CliRunner().invoke(loaded, ["--help"])
    assert result.exit_code == 0
    assert "Store and forward envelopes by topic" in result.stdout


def test_importing_the_plugin_imports_nothing_heavy() -> None:
    heavy = ["click", "websockets", "google.protobuf", "sqlite3", "asyncio", "trio", "platformdirs"]
    code = f"import sys, kexkit_transport_relay; print([name for name in {heavy} if name in sys.modules])"
    environment = {**os.environ, "PYTHONPATH": ""}
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=SECONDS, check=True, env=environment
    )
    assert found.stdout.strip() == "[]"
