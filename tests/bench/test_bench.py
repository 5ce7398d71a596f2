"""The bench runs, and what it writes is what its README says. Its figures are nobody's business here."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from bench.cases import NAMES
from bench.counting import TOGETHER
from bench.measuring import Contestant, measure, ratio

REPOSITORY = Path(__file__).resolve().parents[2]
COMMAND = (sys.executable, "-m", "bench", "--quick", "--no-peers")


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    file = tmp_path_factory.mktemp("bench") / "bench.json"
    quick = [name for name in NAMES if name != "start-up"]
    subprocess.run([*COMMAND, "--json", str(file), *quick], cwd=REPOSITORY, check=True, capture_output=True)
    document: dict[str, Any] = json.loads(file.read_text("utf-8"))
    return document


def test_the_json_has_the_keys_that_the_readme_names(told: dict[str, Any]) -> None:
    readme = (REPOSITORY / "bench" / "README.md").read_text("utf-8")
    keys = {*told, *told["settings"], *told["environment"]}
    for case in told["cases"]:
        keys |= {*case, *(key for part in ("figures", "ratios") for each in case[part].values() for key in each)}
    for count in told["commits"]:
        keys |= count.keys()
    assert {key for key in keys if f"`{key}`" not in readme} == set()


def test_every_case_was_measured_and_every_figure_is_a_time(told: dict[str, Any]) -> None:
    names = {case["name"] for case in told["cases"]}
    assert {name for name in NAMES if not any(each.startswith(name) for each in names)} == {"commits", "start-up"}
    for case in told["cases"]:
        assert case["figures"]
        for figure in case["figures"].values():
            assert 0 < figure["low_us"] <= figure["median_us"] <= figure["high_us"]


def test_a_send_a_receive_and_many_that_wait_cost_one_commit_each(told: dict[str, Any]) -> None:
    assert [(each["operations"], each["commits"]) for each in told["commits"]] == [(1, 1), (1, 1), (TOGETHER, 1)]


def test_an_unknown_case_is_named() -> None:
    done = subprocess.run([*COMMAND, "sideways"], cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "sideways" in done.stderr
    assert "Traceback" not in done.stderr


def test_rounds_are_interleaved_and_every_other_goes_backwards() -> None:
    order: list[str] = []

    def contestant(name: str) -> Contestant:
        return Contestant(name, lambda times: order.append(name), most=1)

    found = measure([contestant("a"), contestant("b")], rounds=4, sample_ms=0.001, tell=lambda what: None)
    assert order[-8:] == ["a", "b", "b", "a", "a", "b", "b", "a"]
    assert [len(samples.processor) for samples in found] == [4, 4]


def test_a_ratio_is_of_medians_and_its_extremes_are_of_rounds() -> None:
    found = ratio([1.0, 2.0, 3.0], [4.0, 4.0, 9.0])
    assert (found.median, found.low, found.high) == (2.0, 2.0, 4.0)


def test_the_bench_needs_no_neighbour() -> None:
    environment = {**os.environ, "PYTHONWARNINGS": "error"}
    words = [
        sys.executable,
        "-c",
        "import bench.cases, bench.report, bench.counting, sys; assert 'olm' not in sys.modules",
    ]
    subprocess.run(words, cwd=REPOSITORY, env=environment, check=True)
