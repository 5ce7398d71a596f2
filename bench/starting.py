"""What it costs to start: `kexkit --help` against an interpreter that does nothing. Whole processes, by the clock."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from bench.measuring import Contestant


def command() -> list[str] | None:
    """The command that stands beside this interpreter; None: the command is not installed here."""
    script = Path(sys.executable).with_name("kexkit")
    return [str(script), "--help"] if script.exists() else None


def environment() -> dict[str, str]:
    """As a user has it: modules are compiled once."""
    return {name: setting for name, setting in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


def works(words: Sequence[str]) -> bool:
    return subprocess.run(words, capture_output=True, check=False).returncode == 0


def process(name: str, words: Sequence[str]) -> Contestant:
    def run(times: int) -> None:
        for _ in range(times):
            subprocess.run(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True, env=environment())

    return Contestant(name, run, most=3)


def bare() -> Contestant:
    return process("python -I -c pass", [sys.executable, "-I", "-c", "pass"])
