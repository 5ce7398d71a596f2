"""The published vectors are what the reference makes of their seeds, and they show what they are to show."""

from __future__ import annotations

import json

import pytest

from tests.vectors.generate_healing_noise import FOLDER, MESSAGES, documents

MADE = documents()


@pytest.mark.parametrize("name", MADE)
def test_the_files_are_what_the_generator_makes(name: str) -> None:
    assert (FOLDER / name).read_text("utf-8") == MADE[name]


def test_there_is_no_file_that_the_generator_does_not_make() -> None:
    assert {path.name for path in FOLDER.glob("*.json")} == set(MADE)


@pytest.mark.parametrize("name", MADE)
def test_each_transcript_has_turns_of_both_ends(name: str) -> None:
    (case,) = json.loads(MADE[name])["cases"]
    sealed = [step for step in case["steps"] if step["op"] == "seal"]
    assert len(sealed) >= MESSAGES
    for role in ("initiator", "responder"):
        assert sum(step["by"] == role and step["new_private"] is not None for step in sealed) >= 2
    kept = max(len(step["after"]["kept"]) for step in case["steps"] if step["op"] == "open")
    assert (kept == 0) == (name == "healing-in-turns.json")
