"""Packages that exist for one test: real metadata on a real path, found as an installed package is found."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from textwrap import dedent

import pytest

Install = Callable[..., None]

FIT = """
from kexkit.api import Carriage, Guarantee

class Fit:
    def __init__(self, name, carriage=Carriage.FRAME):
        self.name, self.carriage, self.guarantees = name, carriage, Guarantee.SECRET
    def offer(self, have, *, siblings, ctx): ...
    def read_offer(self, public, *, maker, ctx): ...
    def initiate(self, opening, have, *, ctx): ...
    def accept(self, frame, opening, have, *, ctx): ...
    def restore(self, snapshot): ...
"""


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """install(plugin name, source of its module): a package of that name whose entry point is in group kexkit."""
    made: list[str] = []
    monkeypatch.syspath_prepend(str(tmp_path))

    def install(name: str, source: str, *, distribution: str = "", api: str | None = "1", version: str = "1.5") -> None:
        distribution = distribution or f"kexkit-{name}"
        module = "made_for_a_test_" + distribution.replace("-", "_")
        made.append(module)
        head = "" if api is None else f"kexkit_api = {api!r}\n"
        hook = "from kexkit.hookspecs import hookimpl\n"
        (tmp_path / f"{module}.py").write_text(hook + FIT + head + dedent(source), encoding="utf-8")
        info = tmp_path / f"{distribution.replace('-', '_')}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n")
        (info / "entry_points.txt").write_text(f"[kexkit]\n{name} = {module}\n")
        importlib.invalidate_caches()

    yield install
    for module in made:
        sys.modules.pop(module, None)


def hook(name: str, body: str) -> str:
    """The source of one hook that returns `body`."""
    return f"\n@hookimpl\ndef {name}(config):\n    return {body}\n"


def exchange(name: str, carriage: str = "FRAME") -> str:
    return hook("kexkit_key_exchanges", f"[Fit({name!r}, Carriage.{carriage})]")
