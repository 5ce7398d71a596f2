"""Says after the run which live counterparts were not there. With KEXKIT_JS=required the absence of that one is a
failure; so is a KEXKIT_STATUS_GO that does not run."""

from __future__ import annotations

import os
import shlex
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.interop.js_peer import JsPeer
from tests.interop.live_status_go import LiveStatusGo

_HOME = Path(__file__).parent / "js"
_LIVE = {"test_js_noise": "npm @waku/noise", "test_live_": "status-go"}
"""Modules of tests, and what they need."""


def _missing() -> str | None:
    if shutil.which("node") is None:
        return "Node is not installed"
    if not (_HOME / "node_modules" / "@waku" / "noise").is_dir():
        return "npm @waku/noise is not installed: run `npm install --no-package-lock` in tests/interop/js"
    return None


def _peer() -> Iterator[JsPeer]:
    reason = _missing()
    if reason is not None and os.environ.get("KEXKIT_JS") == "required":
        pytest.fail(f"live interop is required, but {reason}")
    if reason is not None:
        pytest.skip(reason)
    with JsPeer.started(_HOME) as peer:
        yield peer


fresh_js_peer = pytest.fixture(_peer)
js_peer = pytest.fixture(_peer, scope="module")


@pytest.fixture(scope="module")
def status_go() -> Iterator[LiveStatusGo]:
    command = os.environ.get("KEXKIT_STATUS_GO")
    if not command:
        pytest.skip(
            "KEXKIT_STATUS_GO is not set: tests/interop/status-go/README.md says what to build and to put there"
        )
    with LiveStatusGo.started(shlex.split(command)) as live:
        yield live


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """A skip is a letter among thousands; this says what it left out."""
    for module, name in _LIVE.items():
        skipped = [report for report in terminalreporter.getreports("skipped") if module in report.nodeid]
        for reason, count in Counter(report.longrepr[2] for report in skipped).items():
            terminalreporter.section(f"live interop with {name}")
            terminalreporter.line(f"not run  {count:5} tests. {reason}")
