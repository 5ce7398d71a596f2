"""Tests that interrupt a process mean the same wherever they are started, as in the background of a script."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.house.sources import ROOT

IGNORING = "import signal, sys, pytest; signal.signal(2, signal.SIG_IGN); sys.exit(pytest.main(sys.argv[1:]))"


@pytest.mark.parametrize(
    "test",
    [
        "tests/cli/test_messages.py::test_control_c_ends_listening_with_its_own_code",
        "tests/transport/test_relay_process.py::test_signals_stop_it_with_the_code_that_shells_expect",
    ],
)
def test_whoever_runs_the_tests_may_ignore_interrupts(test: str) -> None:
    command = [sys.executable, "-c", IGNORING, "--rootdir", str(ROOT), test]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert ended.returncode == 0, ended.stdout
