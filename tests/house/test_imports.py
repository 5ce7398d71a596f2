"""The import contracts of pyproject.toml name everything that they are about: a list by hand falls behind."""

from __future__ import annotations

import tomllib
from typing import Any

from tests.house.sources import DISTRIBUTIONS, ROOT

LINTER: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"]
CONTRACTS: dict[str, dict[str, Any]] = {contract["name"]: contract for contract in LINTER["contracts"]}
PACKAGES = {found.parent.name for folder in DISTRIBUTIONS for found in (ROOT / folder / "src").glob("*/__init__.py")}
OTHERS = PACKAGES - {"kexkit"}
"""all but core"""


def test_every_private_module_of_core_is_closed_to_plugins_and_applications() -> None:
    core = ROOT / "core/src/kexkit"
    found = [*core.glob("_*.py"), *(path.parent for path in core.glob("_*/__init__.py"))]
    private = {f"kexkit.{path.stem}" for path in found if not path.stem.startswith("__")}
    assert len(private) > 5
    assert set(CONTRACTS["Plugins and applications use the public face of core"]["forbidden_modules"]) == private


def test_every_distribution_is_under_the_contracts() -> None:
    assert len(OTHERS) == len(DISTRIBUTIONS) - 1
    assert set(LINTER["root_packages"]) == PACKAGES
    assert set(CONTRACTS["Core imports no plugin and no application"]["forbidden_modules"]) == OTHERS
    assert set(CONTRACTS["Plugins and applications do not import one another"]["modules"]) == OTHERS
    assert set(CONTRACTS["Plugins and applications use the public face of core"]["source_modules"]) == OTHERS
