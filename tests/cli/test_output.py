"""Results to stdout, all else to stderr, colours as the environment wants them."""

from __future__ import annotations

import os
import subprocess
import sys
from io import StringIO

import pytest
from kexkit_cli.console import Console, wants_colour
from kexkit_cli.invocation import Invocation

from tests.cli.conftest import COMMAND, Invoke


class Screen(StringIO):
    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("environment", "screen", "expected"),
    [
        ({}, True, True),
        ({}, False, False),
        ({"NO_COLOR": "1"}, True, False),
        ({"NO_COLOR": ""}, True, True),
        ({"FORCE_COLOR": "1"}, False, True),
        ({"NO_COLOR": "1", "FORCE_COLOR": "1"}, True, False),
        ({"TERM": "dumb"}, True, False),
        ({"TERM": "dumb", "FORCE_COLOR": "1"}, True, True),
    ],
)
def test_colours_are_as_the_environment_wants_them(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], screen: bool, expected: bool
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert wants_colour(Screen() if screen else StringIO()) is expected


def test_text_is_made_safe_before_it_is_coloured(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    console = Console(Invocation())
    console.say("a\x1b[0m", "red")
    assert capsys.readouterr().out == "\x1b[31ma␛[0m\x1b[0m\n"


def test_json_has_no_raw_control_character_whatever_is_in_it(capsys: pytest.CaptureFixture[str]) -> None:
    Console(Invocation()).tell({"text": "\x1b\x9b\u202e\ud800é\n"})
    told = capsys.readouterr().out
    assert told == '{"text":"\\u001b\\u009b\\u202e\\ud800\\u00e9\\n"}\n'


def test_quiet_says_nothing_but_results_and_errors(invoke: Invoke) -> None:
    made = invoke("init", "--quiet")
    assert (made.code, made.out, made.err) == (0, "", "")
    assert invoke("--quiet", "whoami").out.startswith("you ")
    assert invoke("--quiet", "history", "x").err != ""


def test_options_may_stand_before_or_after_the_commands_name(invoke: Invoke) -> None:
    invoke("init")
    before, after = (
        invoke("--json", "--profile", "default", "whoami"),
        invoke("whoami", "--json", "--profile", "default"),
    )
    assert before.json == after.json
    assert invoke("--profile", "x", "whoami", "--profile", "default").code == 0


def test_verbose_tells_what_happens_inside() -> None:
    done = subprocess.run(
        [*COMMAND, "--verbose", "init"], capture_output=True, text=True, timeout=60, check=True, env=dict(os.environ)
    )
    assert "node opened" in done.stderr
    assert "node opened" not in done.stdout


@pytest.mark.parametrize("closed", [(0,), (1,), (2,), (0, 1, 2)])
def test_streams_that_are_closed_harm_nobody(invoke: Invoke, closed: tuple[int, ...]) -> None:
    """What is opened instead must not be written to: the store's file would get what was meant for stdout."""
    identity = invoke("init", "--json").json["identity"]
    script = f"""
import os, sys
for number in {closed!r}:
    os.close(number)
os.execv(sys.executable, {[*COMMAND, "whoami"]!r})
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, timeout=60, check=False)
    assert done.returncode == 0
    assert b"Traceback" not in done.stderr
    assert (identity.encode() in done.stdout) == (1 not in closed)
    assert invoke("whoami", "--json").json["identity"] == identity


def test_an_encoding_that_knows_no_marks_gets_ascii(invoke: Invoke) -> None:
    invoke("init", "--name", "Zoë")
    env = {**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    for arguments in (["whoami"], ["contact", "--qr"]):
        done = subprocess.run([*COMMAND, *arguments], capture_output=True, timeout=60, check=True, env=env)
        done.stdout.decode("ascii")
        assert done.stdout


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="a full disk that is always there is Linux's")
@pytest.mark.parametrize("arguments", [["whoami"], ["whoami", "--json"], ["history", "nobody"]])
def test_output_that_cannot_be_written_is_said_and_is_no_bug(invoke: Invoke, arguments: list[str]) -> None:
    invoke("init")
    with open("/dev/full", "wb") as full:
        done = subprocess.run([*COMMAND, *arguments], stdout=full, stderr=subprocess.PIPE, timeout=60, check=False)
    assert done.returncode == (1 if arguments[0] == "whoami" else 3)
    said = done.stderr.decode()
    assert "bug" not in said
    assert "Exception ignored" not in said
    if arguments[0] == "whoami":
        assert said == "kexkit: What is printed cannot be written: No space left on device.\n"
