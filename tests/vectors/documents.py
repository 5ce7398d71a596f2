"""From files of vectors to cases, whatever the layout: ours, Wycheproof's, or named sections."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from attrs import field, frozen


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


def cases_of(path: Path) -> list[Case]:
    document = json.loads(path.read_text("utf-8"))
    found = [
        Case(f"{path.parent.name}/{path.name}", path.stem, kind, name, content, document)
        for kind, name, content in _raw_cases(document)
    ]
    if not found:
        raise ValueError(f"{path} holds no cases in a layout that is known here")
    return found


def _raw_cases(document: dict[str, Any]) -> Iterator[tuple[str | None, str, dict[str, Any]]]:
    for listed in ("cases", "vectors"):
        for number, case in enumerate(document.get(listed, [])):
            name = case.get("name") or case.get("id") or case.get("protocol_name") or ""
            # Public Noise vectors are told apart by their protocol's name alone.
            kind = case.get("protocol_name") if listed == "vectors" else None
            yield case.get("kind", kind), f"{number}-{name}", case
    for group in document.get("testGroups", []):
        shared = {key: value for key, value in group.items() if key != "tests"}
        for case in group["tests"]:
            yield None, f"tcId-{case['tcId']}", {**case, "group": shared}
    if not {"cases", "vectors", "testGroups"} & document.keys():
        for section, listed in document.items():
            for number, case in enumerate(listed if isinstance(listed, list) else ()):
                yield section, f"{number}-{section}", case
