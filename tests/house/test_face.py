"""What is public is curated, documented, and cheap to import."""

from __future__ import annotations

import ast
import inspect
import subprocess
import sys
import tomllib

import kexkit
import pytest
from kexkit import api, errors

from tests.house.sources import DISTRIBUTIONS, ROOT, name, tree

HEAVY = ("coincurve", "cryptography", "google.protobuf", "structlog", "anyio", "asyncio", "sqlite3")


def test_every_public_name_can_be_had() -> None:
    for public in kexkit.__all__:
        assert getattr(kexkit, public) is not None
    assert set(kexkit._WHERE) | {"__version__"} == set(kexkit.__all__)


def test_what_the_type_checker_sees_is_what_is_imported() -> None:
    """The lazy table and the imports under TYPE_CHECKING say the same."""
    source = tree(ROOT / "core/src/kexkit/__init__.py")
    guarded = next(node for node in source.body if isinstance(node, ast.If))
    seen = {
        alias.name: node.module for node in guarded.body if isinstance(node, ast.ImportFrom) for alias in node.names
    }
    assert seen == kexkit._WHERE


def test_every_public_class_and_function_says_what_it_is() -> None:
    silent = []
    for public in kexkit.__all__:
        found = getattr(kexkit, public)
        if (inspect.isclass(found) or inspect.isfunction(found)) and not inspect.getdoc(found):
            silent.append(public)
    assert silent == []


def test_the_contract_names_all_that_it_defines() -> None:
    defined = {node.name for node in tree(ROOT / "core/src/kexkit/api.py").body if isinstance(node, ast.ClassDef)}
    assert defined <= set(api.__all__)


def test_every_error_says_whose_fault_it_is_in_a_sentence() -> None:
    for found in vars(errors).values():
        if inspect.isclass(found) and issubclass(found, errors.KexkitError):
            first = (found.__doc__ or "").strip().splitlines()
            assert first, found
            assert first[0][-1] == ".", found


def test_importing_kexkit_costs_no_cryptography() -> None:
    script = f"import sys, kexkit; print([m for m in {HEAVY!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("folder", DISTRIBUTIONS)
def test_every_distribution_is_whole(folder: str) -> None:
    """README, licence, types, and a name under which core finds a plugin."""
    project = tomllib.loads((ROOT / folder / "pyproject.toml").read_text("utf-8"))["project"]
    assert project["license"] == "MIT"
    assert project["license-files"] == ["LICENSE"]
    assert (ROOT / folder / "LICENSE").read_bytes() == (ROOT / "LICENSE").read_bytes()
    assert (ROOT / folder / "README.md").read_text("utf-8").startswith("# ")
    assert list((ROOT / folder / "src").glob("*/py.typed")), name(ROOT / folder)
    if folder not in {"core", "plugins/cli"}:
        assert len(project["entry-points"]["kexkit"]) == 1
