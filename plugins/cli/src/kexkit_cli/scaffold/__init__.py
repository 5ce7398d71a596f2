"""Writes a new plugin: a whole package that works, and whose tests run the conformance kit and pass."""

from __future__ import annotations

import re
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Final, Literal, TypeAlias, get_args

from kexkit.errors import InvalidInput

Kind: TypeAlias = Literal["key-exchange", "storage", "transport"]
KINDS: Final[tuple[Kind, ...]] = get_args(Kind)

NAME_CHARACTERS: Final = 32
"""of a plugin's name: it becomes a mechanism's, a store's or a transport's name, which have at most as many"""
_NAME: Final = re.compile(r"[a-z](?:[a-z0-9]|-(?=[a-z0-9]))*")
_PREFIX: Final[dict[Kind, str]] = {
    "key-exchange": "kexkit",
    "storage": "kexkit-storage",
    "transport": "kexkit-transport",
}
_TAKEN: Final = frozenset(
    f"kexkit-{name}"
    for name in ("cli", "core", "lab", "noise", "x3dh", "storage-sqlite", "storage-postgres", "transport-relay")
)


def distribution_of(kind: Kind, name: str) -> str:
    """The name of the package: kexkit-NAME, kexkit-storage-NAME, kexkit-transport-NAME. InvalidInput: no such name."""
    if kind not in KINDS:
        raise InvalidInput(f"There is no kind of plugin called {kind!r}.", advice=f"There are: {', '.join(KINDS)}.")
    if len(name) > NAME_CHARACTERS or not _NAME.fullmatch(name):
        raise InvalidInput(
            f"{name!r} is not a name for a plugin.",
            advice=f"Lower-case letters, digits and single '-' between, a letter first, at most {NAME_CHARACTERS}.",
        )
    distribution = f"{_PREFIX[kind]}-{name}"
    if distribution in _TAKEN:
        raise InvalidInput(f"{distribution} is a package of this project.", advice="Choose another name.")
    return distribution


def write_plugin(kind: Kind, name: str, folder: Path) -> list[Path]:
    """Write the package into `folder`, which is made; it must not exist, or be empty. Returns the files.

    InvalidInput: the name is none, something is there already, or the folder cannot be written. Nothing is overwritten.
    """
    distribution = distribution_of(kind, name)
    words = {
        "{{distribution}}": distribution,
        "{{package}}": distribution.replace("-", "_"),
        "{{class}}": "".join(part.capitalize() for part in name.split("-")),
        "{{name}}": name,
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise InvalidInput(
                f"{folder} is not empty.", advice="Nothing is overwritten: give a folder that is not there."
            )
        return [
            _write(template, folder / _filled(place, words), words)
            for place, template in sorted(_templates(kind).items())
        ]
    except OSError as error:
        raise InvalidInput(f"{folder} cannot be written: {error.strerror}.") from None


def _templates(kind: Kind) -> dict[str, Traversable]:
    found: dict[str, Traversable] = {}

    def gather(folder: Traversable, place: str) -> None:
        for entry in folder.iterdir():
            if entry.is_dir():
                gather(entry, f"{place}{entry.name}/")
            elif entry.name.endswith(".tmpl"):
                found[place + entry.name.removesuffix(".tmpl")] = entry

    gather(files(__name__) / "templates" / kind, "")
    return found


def _write(template: Traversable, place: Path, words: dict[str, str]) -> Path:
    place.parent.mkdir(parents=True, exist_ok=True)
    with place.open("x", encoding="utf-8") as stream:
        stream.write(_filled(template.read_text(encoding="utf-8"), words))
    return place


def _filled(text: str, words: dict[str, str]) -> str:
    text = text.replace("PACKAGE", words["{{package}}"])
    for slot, word in words.items():
        text = text.replace(slot, word)
    return text
