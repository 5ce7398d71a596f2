"""The benchmark runs and says what it is documented to say. How fast is not asked here."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_the_report_names_every_case_and_counts_the_commits(tmp_path: Path) -> None:
    file = tmp_path / "report.json"
    done = subprocess.run(
        [sys.executable, "-m", "bench", "--quick", "--no-peers", "--json", str(file)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
    )
    report = json.loads(file.read_text("utf-8"))
    assert set(report["cases"]) == {
        "one-way 100 B",
        "one-way 1 KiB",
        "ping-pong 100 B",
        "establishment",
        "durable one-way",
        "skipped keys",
        "whole path",
    }
    assert report["commits"] == {"a send": 1.0, "a receipt": 1.0, "50 sends that wait together": 1.0}
    assert report["help"]["ratio"] > 1
    for case in report["cases"].values():
        for row in case["contestants"].values():
            assert row["us"] > 0
    assert "one-way 100 B" in done.stdout
