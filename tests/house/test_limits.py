"""Every bound has a name, a reason, and a test that names it."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.house.sources import ROOT, modules, name, tree

UNITS = {"KIB", "MIB", "PRODUCTION"}
LIMITS = [path for path in modules() if path.name == "limits.py"]


def bounds(path: Path) -> dict[str, bool]:
    """Name of each constant, and whether a reason stands below it (or below the next, for a pair)."""
    found: dict[str, bool] = {}
    body = tree(path).body
    for position, node in enumerate(body):
        target = node.target if isinstance(node, ast.AnnAssign) else None
        if isinstance(target, ast.Name) and target.id.isupper() and target.id[0] != "_" and target.id not in UNITS:
            found[target.id] = any(is_reason(after) for after in body[position + 1 : position + 3])
    return found


def is_reason(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


@pytest.mark.parametrize("path", LIMITS, ids=name)
def test_every_bound_gives_its_reason(path: Path) -> None:
    assert [bound for bound, reasoned in bounds(path).items() if not reasoned] == []


@pytest.mark.parametrize("path", LIMITS, ids=name)
def test_every_bound_is_used(path: Path) -> None:
    package = path.parent
    text = "\n".join(other.read_text("utf-8") for other in package.rglob("*.py") if other != path)
    own = path.read_text("utf-8")
    unused = [bound for bound in bounds(path) if bound not in text and own.count(bound) < 2]
    assert unused == []


@pytest.mark.parametrize("path", LIMITS, ids=name)
def test_every_bound_is_named_by_a_test(path: Path) -> None:
    tests = [p for p in (ROOT / "tests").rglob("*.py") if "src" not in p.parts and "house" not in p.parts]
    text = "\n".join(other.read_text("utf-8") for other in tests)
    assert [bound for bound in bounds(path) if bound not in text] == []
