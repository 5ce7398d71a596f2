"""The benchmark runs and says what it is documented to say. How fast is not asked here."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_the_report_has_its_cases_and_one_commit_a_message(tmp_path: Path) -> None:
    file = tmp_path / "report.json"
    subprocess.run(
        [sys.executable, "-m", "bench", "--quick", "--no-peers", "--json", str(file)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
    )
    report = json.loads(file.read_text("utf-8"))
    names = " ".join(case["name"] for case in report["cases"])
    expected = ["one-way", "ping-pong", "establishment", "durable", "skipped", "whole path", "start-up"]
    for name in (*expected, "noise session", "healing one-way", "XX handshake"):
        assert name in names
    for case in report["cases"]:
        for figure in case["figures"].values():
            assert figure["median_us"] > 0
    assert all(session["reached"] for session in report["memory"])
    assert {session["name"] for session in report["memory"]} == {"healing-noise-xk1/1", "noise-xx/1"}
    assert len(report["commits"]) == 3
    assert [count["commits"] for count in report["commits"]] == [count["expected"] for count in report["commits"]]
