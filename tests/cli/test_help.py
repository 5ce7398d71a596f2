"""`--help` is quick, and tells of plugins' commands without loading one each time."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from kexkit_cli import listing
from kexkit_cli.app import COMMANDS
from kexkit_cli.limits import CACHED_CHARACTERS

from tests.cli.conftest import COMMAND, Invoke
from tests.host.conftest import Install, hook

ROUNDS, ROUNDS_AT_MOST = 15, 150
AT_MOST = 6.0
HEAVY = ["attrs", "anyio", "asyncio", "kexkit.api", "pluggy", "importlib.metadata", "platformdirs", "json"]
LAB = "from kexkit.api import CommandEntry" + hook(
    "kexkit_commands", "[CommandEntry('lab', 'Compares \\x1b[31mthings.', lambda: command)]"
)


def test_help_tells_every_command_and_those_of_plugins(invoke: Invoke) -> None:
    told = invoke("--help").out
    for name, (_, _, summary) in COMMANDS.items():
        assert f"  {name} " in told
        assert " ".join(summary.split()[:3]) in told
    assert "  relay " in told


def test_every_command_has_help_of_its_own(invoke: Invoke) -> None:
    for name in COMMANDS:
        ran = invoke(name, "--help")
        assert ran.code == 0
        assert ran.out.startswith(f"Usage: kexkit {name}")
        assert "--profile" in ran.out


def test_the_second_help_imports_nothing_but_click(home: Path) -> None:
    script = f"""
import sys
from kexkit_cli.app import run
run(["--help"])
print([name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr)
"""
    for expected in ("'attrs'", "[]"):
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
        assert expected in done.stderr
        assert "relay" in done.stdout


def test_help_costs_at_most_six_bare_interpreters(home: Path) -> None:
    """The least of several rounds, in turn: what others do on this machine only ever adds, so there are more rounds
    where they do much."""
    commands = {"bare": [sys.executable, "-I", "-c", "pass"], "help": [*COMMAND, "--help"]}
    least = dict.fromkeys(commands, float("inf"))
    compiled = {name: setting for name, setting in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    for turn in range(ROUNDS_AT_MOST):
        if turn >= ROUNDS and least["help"] <= AT_MOST * least["bare"]:
            break
        for name, command in commands.items():
            began = time.perf_counter()
            subprocess.run(command, check=True, capture_output=True, timeout=60, env=compiled)
            least[name] = min(least[name], time.perf_counter() - began)
    assert least["help"] <= AT_MOST * least["bare"]


def test_what_is_installed_or_enabled_decides_what_help_tells(invoke: Invoke, install: Install, home: Path) -> None:
    assert "lab" not in invoke("--plugins", "lab", "--help").out.partition("Commands:")[2]
    install("lab", "command = None\n" + LAB)
    assert "Compares ␛[31mthings." in invoke("--plugins", "lab", "--help").out
    assert "lab" not in invoke("--help").out.partition("Commands:")[2]
    assert "  relay" not in invoke("--plugins", "", "--help").out


@pytest.mark.parametrize("content", [b"", b"\xff\xff", b"kexkit commands 1\n", b"nonsense\n" * 20])
def test_a_broken_cache_is_made_anew(invoke: Invoke, home: Path, content: bytes) -> None:
    assert "  relay " in invoke("--help").out
    file = home / "cache" / "commands"
    assert file.stat().st_mode & 0o077 == 0
    file.write_bytes(content)
    assert "  relay " in invoke("--help").out
    assert file.read_bytes().startswith(b"kexkit commands 1\n[")


@pytest.mark.parametrize("more", [-1, 0, 1])
def test_a_cache_beyond_its_size_is_not_believed(tmp_path: Path, more: int) -> None:
    file = tmp_path / "commands"
    head = "kexkit commands 1\nfingerprint\n"
    file.write_text(head + "lab\t" + "x" * (CACHED_CHARACTERS + more - len(head) - 5) + "\n")
    assert (listing._read(str(file), "fingerprint") is None) == (more > 0)


def test_where_nothing_can_be_kept_help_is_only_slower(invoke: Invoke, home: Path) -> None:
    home.write_text("a file where the folder should be")
    assert "  relay " in invoke("--help").out


def test_a_plugins_command_is_run_with_the_json_given_before_its_name(invoke: Invoke, install: Install) -> None:
    source = """
import click

@click.command()
@click.option("--json", "as_json", is_flag=True)
def command(as_json):
    click.echo("{}" if as_json else "plain")
"""
    install("lab", source + LAB)
    assert invoke("--plugins", "lab", "lab").out == "plain\n"
    assert invoke("--plugins", "lab", "--json", "lab").out == "{}\n"
    assert invoke("--plugins", "lab", "lab", "--json").out == "{}\n"


@pytest.mark.parametrize("source", ["command = 1 / 1\n", "class Bad:\n    def __call__(self): pass\ncommand = Bad()\n"])
def test_a_command_that_is_none_is_the_plugins_fault(invoke: Invoke, install: Install, source: str) -> None:
    install("lab", source + LAB)
    ran = invoke("--plugins", "lab", "lab")
    assert ran.code == 8
    assert "no click.Command" in ran.err


def test_the_version_is_the_librarys(invoke: Invoke) -> None:
    import kexkit

    assert invoke("--version").out == f"kexkit {kexkit.__version__}\n"


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_shells_complete_it(invoke: Invoke, shell: str) -> None:
    assert "_KEXKIT_COMPLETE" in invoke("completion", shell).out


def test_completion_knows_commands_and_those_of_plugins(home: Path) -> None:
    env = {"_KEXKIT_COMPLETE": "bash_complete", "COMP_WORDS": "kexkit re", "COMP_CWORD": "1", "KEXKIT_HOME": str(home)}
    done = subprocess.run(COMMAND, capture_output=True, text=True, check=False, timeout=60, env=env)
    assert "plain,relay" in done.stdout
