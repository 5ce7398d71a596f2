"""What the papers say is there, is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from kexkit._transitions import State

from tests.house.sources import ROOT, all_tracked, name, tree

README = (ROOT / "README.md").read_text("utf-8")
COMMANDS = re.findall(
    r"^(?:python3 -m pip install --quiet uv && python3 -m uv run kexkit demo|python3 -m uv run pytest)$", README, re.M
)
LINK = re.compile(r"\[[^\]]*\]\((?!https?:|mailto:|#)([^)#\s]+)")


def test_the_gate_runs_the_two_commands_of_the_readme() -> None:
    gate = (ROOT / ".ci/run").read_text("utf-8").splitlines()
    assert len(COMMANDS) == 2
    for command in COMMANDS:
        assert command in gate


@pytest.mark.parametrize("path", all_tracked(".md"), ids=name)
def test_every_link_leads_somewhere(path: Path) -> None:
    broken = [link for link in LINK.findall(path.read_text("utf-8")) if not (path.parent / link).exists()]
    assert broken == []


def test_the_bot_in_the_readme_is_the_bot_that_runs() -> None:
    code = re.search(r"```python\n(import sys\n.*?)```", README, re.DOTALL)
    assert code is not None
    assert code[1] == (ROOT / "tests/readme/echo_bot.py").read_text("utf-8")


def test_the_drawing_of_a_sessions_life_shows_every_state() -> None:
    drawing = tree(ROOT / "core/src/kexkit/_transitions.py").body[0]
    text = str(drawing.value.value)  # type: ignore[attr-defined]
    assert [state.name for state in State if state.name.lower() not in text] == []


@pytest.mark.parametrize("path", sorted((ROOT / "docs/adr").glob("*.md")), ids=name)
def test_every_decision_says_why_and_what_would_change_it(path: Path) -> None:
    text = path.read_text("utf-8")
    for heading in ("## Context", "## Decision", "## Consequences"):
        assert heading in text


def test_every_claim_in_security_names_a_test_that_exists() -> None:
    text = (ROOT / "SECURITY.md").read_text("utf-8")
    named = re.findall(r"`(tests/[\w/]+(?:\.py)?)`", text)
    assert len(named) >= 10
    assert [path for path in named if not (ROOT / path).exists()] == []
