"""A mechanism's name selects cryptography: exact bytes, and no stranger's without its domain."""

from __future__ import annotations

from pathlib import Path

import pytest
from kexkit._registry import NAME_LENGTH, REGISTRY, mechanism_problem, short_name_problem

MECHANISMS = Path(__file__).parents[2] / "docs" / "mechanisms.md"
LONGEST = "a" * 17 + "@" + "b" * 60 + "/1"


@pytest.mark.parametrize(
    "name", ["x3dh/1", "noise-xx/1", "healing-noise-xk1/1", "psk@example.org/1", "a@b.c/999", "x3dh@example.org/1"]
)
def test_a_registered_or_qualified_name_is_taken(name: str) -> None:
    assert mechanism_problem(name) is None


@pytest.mark.parametrize(
    "name",
    [
        "",
        "x3dh",
        "x3dh/0",
        "x3dh/01",
        "x3dh/1000",
        "X3DH/1",
        "x3dh/1\n",
        "x3dh/1 ",
        "x3dh/2",
        "noise-ik/1",
        "9psk@example.org/1",
        "psk@ab/1",
        "psk@Example.org/1",
        "psk@example.org/1/1",
        "pßk@example.org/1",
        "psk@example.org/\u0661",
        b"x3dh/1",
        None,
        7,
    ],
)
def test_any_other_name_is_refused(name: object) -> None:
    assert mechanism_problem(name) is not None


def test_a_name_has_at_most_eighty_characters() -> None:
    assert len(LONGEST) == NAME_LENGTH
    assert mechanism_problem(LONGEST[1:]) is None
    assert mechanism_problem(LONGEST) is None
    assert "at most 80" in str(mechanism_problem("a" + LONGEST))


@pytest.mark.parametrize(
    ("name", "fit"), [("sqlite", True), ("a" * 32, True), ("a" * 33, False), ("A", False), (1, False)]
)
def test_stores_transports_and_commands_have_short_names(name: object, fit: bool) -> None:
    assert (short_name_problem(name) is None) is fit


def test_the_registry_and_its_document_are_equal() -> None:
    rows = [line for line in MECHANISMS.read_text(encoding="utf-8").splitlines() if line.startswith("| `")]
    told = {
        (cells[1].strip("` "), cells[2].strip("` "), cells[3].strip()) for cells in (row.split("|") for row in rows)
    }
    assert told == {(entry.name, entry.plugin, entry.reference) for entry in REGISTRY}
