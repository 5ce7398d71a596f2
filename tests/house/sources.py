"""The project's own source files, as the house rules see them."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DISTRIBUTIONS = (
    "core",
    "plugins/cli",
    "plugins/noise",
    "plugins/x3dh",
    "plugins/storage/sqlite",
    "plugins/transport/relay",
    "tests/examples/psk",
    "tests/examples/storage_lmdb",
)


def is_generated(path: Path) -> bool:
    return "_pb" in path.parts


@cache
def modules() -> tuple[Path, ...]:
    """Every hand-written module of every distribution."""
    found = [path for folder in DISTRIBUTIONS for path in (ROOT / folder / "src").rglob("*.py")]
    return tuple(sorted(path for path in found if not is_generated(path)))


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text("utf-8"), str(path))


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def all_tracked(*endings: str) -> list[Path]:
    """Files of the project, wherever they are, but for what tools leave behind."""
    left_behind = {
        ".git",
        ".venv",
        "node_modules",
        ".mypy_cache",
        ".ruff_cache",
        ".hypothesis",
        "__pycache__",
        "dist",
        "build",
    }
    return [
        path
        for path in ROOT.rglob("*")
        if path.suffix in endings and path.is_file() and not left_behind.intersection(path.relative_to(ROOT).parts)
    ]
