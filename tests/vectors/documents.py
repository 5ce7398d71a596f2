"""From files of vectors to cases, whatever the layout: ours, Wycheproof's, or named sections.

Nothing is passed over: what is no case must be named here as such, and what is neither is a mistake.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from attrs import field, frozen

ABOUT: Final = frozenset({"header", "notes"})
"""What tells about a whole file in more than a word: no cases, in all projects whose files are replayed here."""


@frozen
class Case:
    file: str
    """folder and file name, for people"""
    stem: str
    kind: str | None
    name: str
    content: dict[str, Any] = field(repr=False)
    document: dict[str, Any] = field(repr=False)


def documents(folders: list[Path]) -> list[Path]:
    """Every file of vectors below the folders; a folder without any is a mistake."""
    found: list[Path] = []
    for folder in folders:
        files = sorted(folder.rglob("*.json"))
        if not files:
            raise FileNotFoundError(f"there is no .json file below {folder}")
        found += files
    return found


def not_read(folders: list[Path]) -> list[Path]:
    """What else is below the folders, such as notes about them: nothing of it is replayed, and people are told so."""
    return sorted(path for folder in folders for path in folder.rglob("*") if path.is_file() and path.suffix != ".json")


def cases_of(path: Path) -> list[Case]:
    try:
        document = json.loads(path.read_text("utf-8"))
        found = [
            Case(f"{path.parent.name}/{path.name}", path.stem, kind, name, content, document)
            for kind, name, content in _raw_cases(document)
        ]
    except ValueError as problem:
        raise ValueError(f"{path}: {problem}") from None
    if not found:
        raise ValueError(f"{path} holds no cases in a layout that is known here")
    return found


def _raw_cases(document: object) -> Iterator[tuple[str | None, str, dict[str, Any]]]:
    if not isinstance(document, dict):
        raise ValueError(f"a {type(document).__name__} at the top; cases stand in an object, below a name")
    for section, content in document.items():
        if section in ABOUT or not isinstance(content, list | dict):
            continue
        for number, case in enumerate(_objects(section, content)):
            if section == "testGroups":
                yield from _of_group(case)
            elif section in ("cases", "vectors"):
                name = case.get("name") or case.get("id") or case.get("protocol_name") or ""
                # Public Noise vectors are told apart by their protocol's name alone.
                kind = case.get("protocol_name") if section == "vectors" else None
                yield case.get("kind", kind), f"{number}-{name}", case
            else:
                yield section, f"{number}-{section}", case


def _of_group(group: dict[str, Any]) -> Iterator[tuple[str | None, str, dict[str, Any]]]:
    shared = {key: value for key, value in group.items() if key != "tests"}
    for key, value in shared.items():
        if isinstance(value, list):
            raise ValueError(f"{key!r} in one of the testGroups is a list beside its tests")
    for case in _objects("tests", group.get("tests")):
        yield None, f"tcId-{case.get('tcId')}", {**case, "group": shared}


def _objects(section: str, content: object) -> list[dict[str, Any]]:
    if not isinstance(content, list) or not all(isinstance(case, dict) for case in content):
        raise ValueError(f"{section!r} is no list of cases; if it tells about the file, name it in documents.ABOUT")
    return content
