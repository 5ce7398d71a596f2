"""House rules, where a test can tell."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from tests.house.sources import ROOT, all_tracked, modules, name, tree

FILE_LINES = 400
FUNCTION_LINES = 45
NAMELESS = {"utils", "util", "helpers", "helper", "manager", "misc", "common"}
CONTRACT = "core/src/kexkit/api.py"
"""The one file that an author must read is one file"""


def functions(path: Path) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    return [node for node in ast.walk(tree(path)) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]


def body_lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Without its docstring and signature."""
    body = function.body[1:] if ast.get_docstring(function) is not None else function.body
    return (body[-1].end_lineno or 0) - body[0].lineno + 1 if body else 0


def test_files_are_rooms_that_one_can_know() -> None:
    long = {
        name(path): count for path in modules() if (count := len(path.read_text("utf-8").splitlines())) > FILE_LINES
    }
    long.pop(CONTRACT, None)
    assert long == {}


def test_functions_fit_on_a_screen() -> None:
    long = {f"{name(path)}:{f.name}": body_lines(f) for path in modules() for f in functions(path)}
    assert {where: lines for where, lines in long.items() if lines > FUNCTION_LINES} == {}


def test_names_explain_themselves() -> None:
    assert [name(path) for path in modules() if path.stem.strip("_") in NAMELESS] == []


def test_every_module_says_what_it_is() -> None:
    assert [name(path) for path in modules() if not ast.get_docstring(tree(path))] == []


def test_nothing_is_left_unfinished() -> None:
    unfinished = re.compile(r"\b(TO" + r"DO|FIX" + r"ME|XX" + r"X)\b|raise NotImplemented" + r"Error")
    files = [path for path in all_tracked(".py", ".md", ".toml") if "data" not in path.parts]
    assert [name(path) for path in files if unfinished.search(path.read_text("utf-8"))] == []


def test_the_project_speaks_of_itself_alone() -> None:
    foreign = re.compile("|".join(["/wor" + "k/", "sub" + "agent", "help" + "er-[0-9]", r"\bCE" + r"O\b"]))
    files = all_tracked(".py", ".md", ".toml", ".proto", ".sh", ".yml", ".json")
    assert [name(path) for path in [*files, ROOT / ".ci" / "run"] if foreign.search(path.read_text("utf-8"))] == []


def test_libraries_print_nothing() -> None:
    talking = []
    for path in modules():
        if "kexkit_cli" in path.parts or path.name in {"command.py", "commands.py"}:
            continue
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print":
                talking.append(f"{name(path)}:{node.lineno}")
    assert talking == []


SECRET_NAME = re.compile(r"(^|_)(mac|tag|secret|signature|hmac|mk|message_key)$")
ADDRESS = {"kexkit_noise": "tag"}
"""In Noise a tag is a nametag: an address, which says where to look, and not that a frame is true."""


@pytest.mark.parametrize("path", modules(), ids=name)
def test_secrets_are_never_compared_byte_by_byte(path: Path) -> None:
    """`==` stops at the first difference, and tells by its time where that was."""

    def is_secret(node: ast.expr) -> bool:
        called = node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""
        address = ADDRESS.get(path.parent.name)
        return bool(SECRET_NAME.search(called)) and not (address and called.endswith(address))

    found = [
        node.lineno
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Compare)
        and any(isinstance(operator, ast.Eq | ast.NotEq) for operator in node.ops)
        and any(is_secret(side) for side in (node.left, *node.comparators))
    ]
    assert found == []


@pytest.mark.parametrize("path", modules(), ids=name)
def test_sql_is_never_put_together_from_values(path: Path) -> None:
    for node in ast.walk(tree(path)):
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and node.func.attr in {"execute", "executemany", "executescript"}
            and node.args
        ):
            assert not isinstance(node.args[0], ast.JoinedStr | ast.BinOp), f"{name(path)}:{node.lineno}"


def test_suppressions_say_which_rule_and_stand_alone() -> None:
    """`type: ignore` and `noqa` name what they silence."""
    bare = re.compile(r"#\s*type:\s*ignore(?!\[)|#\s*noqa(?!:)")
    assert [name(path) for path in modules() if bare.search(path.read_text("utf-8"))] == []
