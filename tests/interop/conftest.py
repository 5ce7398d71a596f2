"""Says after the run which live counterparts were not there. With KEXKIT_JS=required their absence is a failure."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.interop.js_peer import JsPeer

_HOME = Path(__file__).parent / "js"


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


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """A skip is a letter among thousands; this says what it left out."""
    skipped = [report for report in terminalreporter.getreports("skipped") if "test_js_noise" in report.nodeid]
    for reason, count in Counter(report.longrepr[2] for report in skipped).items():
        terminalreporter.section("live interop with npm @waku/noise")
        terminalreporter.line(f"not run  {count:5} tests. {reason}")
