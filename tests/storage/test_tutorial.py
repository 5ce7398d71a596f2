"""The guide for authors of stores shows the code of the example, all of it, and does what it says when followed."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
GUIDE = REPOSITORY / "docs" / "plugin-author" / "store.md"
EXAMPLE = REPOSITORY / "tests" / "examples" / "storage_lmdb"
STORE = "src/kexkit_storage_lmdb/store.py"
_PART = re.compile(r"^`([\w./]+)`:\n\n```\w+\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def shown() -> dict[str, str]:
    """The files that someone has who followed the guide: parts of one file one below the other."""
    files: dict[str, str] = {}
    for place, text in _PART.findall(GUIDE.read_text(encoding="utf-8")):
        files[place] = f"{files[place]}\n\n{text}" if place in files else text
    return files


def followed(folder: Path) -> Path:
    for place, text in shown().items():
        (folder / place).parent.mkdir(parents=True, exist_ok=True)
        (folder / place).write_text(text, encoding="utf-8")
    return folder


def kit(folder: Path, *which: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "error", *which]
    return subprocess.run(
        command, cwd=folder, env={"PYTHONPATH": str(folder / "src")}, capture_output=True, text=True, check=False
    )


def test_the_guide_shows_every_file_of_the_example_as_it_is() -> None:
    files = {str(place.relative_to(EXAMPLE)): place for place in EXAMPLE.glob("src/*/*.py")}
    files |= {place: EXAMPLE / place for place in ("pyproject.toml", "tests/test_lmdb_store.py")}
    assert shown().keys() == files.keys()
    for place, text in shown().items():
        lines = files[place].read_text(encoding="utf-8").splitlines()
        # the example is part of this repository and carries its licence file; an author's licence is the author's
        written = [line for line in lines if line and not line.startswith("license-files")]
        assert [line for line in text.splitlines() if line] == written, place


def test_the_guide_followed_by_hand_passes_the_kit(tmp_path: Path) -> None:
    folder = followed(tmp_path)
    assert "158 tests collected" in kit(folder, "--collect-only").stdout
    assert "One hundred and fifty-eight tests pass" in GUIDE.read_text(encoding="utf-8")
    one_loop = kit(folder, "-k", "asyncio")  # the example's own folder runs them on both
    assert one_loop.returncode == 0, one_loop.stdout
    assert "79 passed" in one_loop.stdout


@pytest.mark.parametrize(
    ("right", "slip", "test", "said"),
    [
        (
            "if _revision(transaction.get(_name(*key))) != revision:",
            "if key in change.put and _revision(transaction.get(_name(*key))) != revision:",
            "test_a_row_may_be_given_without_being_written_and_written_without_being_given",
            "DID NOT RAISE Conflict",
        ),
        (
            "return bytes([len(table)]) + table.encode() + row",
            "return table.encode() + row",
            "test_tables_do_not_run_into_one_another",
            "",
        ),
    ],
)
def test_a_slip_that_the_guide_names_is_caught_as_it_says(
    right: str, slip: str, test: str, said: str, tmp_path: Path
) -> None:
    store = followed(tmp_path) / STORE
    code, guide = store.read_text(), GUIDE.read_text(encoding="utf-8")
    assert right in code
    assert f"    {slip}\n" in guide
    assert f"`{test}`" in guide
    assert said in guide
    store.write_text(code.replace(right, slip))
    done = kit(tmp_path, "-k", f"{test} and asyncio")
    assert done.returncode == 1, done.stdout
    assert said in done.stdout


def test_every_link_of_the_guide_leads_somewhere() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", GUIDE.read_text(encoding="utf-8")):
        assert target.startswith("https://") or (GUIDE.parent / target).exists(), target
