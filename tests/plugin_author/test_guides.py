"""The guides for authors say what is: their code is the files' code, and it runs."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from kexkit import hookspecs
from kexkit_cli.invocation import DEFAULT_PLUGINS
from kexkit_cli.scaffold import write_plugin

REPOSITORY = Path(__file__).parents[2]
GUIDES = REPOSITORY / "docs" / "plugin-author"
EXAMPLE = REPOSITORY / "tests" / "examples" / "psk"
HOOKS = [name for name in vars(hookspecs) if name.startswith("kexkit_")]
_FILE = re.compile(r"^`([\w./]+)`:\n\n```\w+\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_TEST = re.compile(r"^```python\n(from kexkit\.testing import Pair\n.*?)^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\(([^)#]+)\)")


def guide(name: str) -> str:
    return (GUIDES / name).read_text(encoding="utf-8")


def files_in_the_tutorial() -> dict[str, str]:
    return dict(_FILE.findall(guide("key-exchange.md")))


def test_the_tutorial_shows_every_file_of_the_example_as_it_is(tmp_path: Path) -> None:
    write_plugin("key-exchange", "psk", tmp_path / "new")
    shown = files_in_the_tutorial()
    sources = {f"src/kexkit_psk/{place.name}" for place in EXAMPLE.glob("src/kexkit_psk/*.py")}
    assert shown.keys() == sources | {"pyproject.toml", "tests/test_conformance.py", "two_talk.py"}
    for place, text in shown.items():
        file = EXAMPLE / place if place == "two_talk.py" else tmp_path / "new" / place
        assert text == file.read_text(encoding="utf-8"), place


def test_the_tutorial_followed_by_hand_passes_the_kit_and_talks(tmp_path: Path) -> None:
    for place, text in files_in_the_tutorial().items():
        (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / place).write_text(text, encoding="utf-8")
    (own_test,) = _TEST.findall(guide("key-exchange.md"))
    (tmp_path / "tests" / "test_own.py").write_text(own_test, encoding="utf-8")
    kit = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "error"]
    done = subprocess.run(kit, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout
    assert "41 passed" in done.stdout, "the tutorial says how many tests there are"
    assert "Forty tests pass" in guide("key-exchange.md")
    talk = subprocess.run([sys.executable, "two_talk.py"], cwd=tmp_path, capture_output=True, text=True, check=False)
    for line in talk.stdout.splitlines():
        assert f"    {line}\n" in guide("key-exchange.md")
    assert len(talk.stdout.splitlines()) == 2, talk.stderr


@pytest.mark.parametrize(
    ("file", "right", "wrong", "said"),
    [
        (
            "src/kexkit_psk/session.py",
            "if number >= SENT or lag >= WINDOW or (lag >= 0 and self.seen >> lag & 1):",
            "if number >= SENT or lag >= WINDOW:",
            "a frame opened a second time",
        ),
        (
            "src/kexkit_psk/session.py",
            "    | Guarantee.BINDS\n",
            "    | Guarantee.BINDS | Guarantee.FORWARD_SECRECY\n",
            "it declares FORWARD_SECRECY, and a later theft opens a frame that was opened before",
        ),
    ],
)
def test_what_the_tutorial_breaks_fails_as_it_says(
    file: str, right: str, wrong: str, said: str, tmp_path: Path
) -> None:
    write_plugin("key-exchange", "psk", tmp_path / "new")
    place = tmp_path / "new" / file
    assert right in place.read_text()
    place.write_text(place.read_text().replace(right, wrong))
    kit = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", "at_most_once or theft"]
    done = subprocess.run(kit, cwd=tmp_path / "new", capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 1
    assert said in done.stdout
    assert said in guide("key-exchange.md")


@pytest.mark.parametrize("hook", HOOKS)
def test_every_hook_has_a_heading_with_its_signature_and_a_test_that_uses_it(hook: str) -> None:
    signature = str(inspect.signature(getattr(hookspecs, hook))).replace("'", "")
    assert f"### `{hook}{signature}`\n" in guide("hooks.md")
    tests = [place.read_text(encoding="utf-8") for place in (REPOSITORY / "tests" / "host").glob("test_*.py")]
    assert any(f'"{hook}"' in text or f"def {hook}(" in text for text in tests)


def test_no_heading_describes_a_hook_that_is_not_there() -> None:
    told = re.findall(r"^### `(\w+)\(", guide("hooks.md"), re.MULTILINE)
    assert sorted(told) == sorted(HOOKS)


@pytest.mark.parametrize("name", ["index.md", "key-exchange.md", "transport.md", "hooks.md"])
def test_every_link_of_a_guide_leads_somewhere(name: str) -> None:
    for target in _LINK.findall(guide(name)):
        assert target.startswith("https://") or (GUIDES / target).exists(), target


@pytest.mark.parametrize("name", ["index.md", "key-exchange.md"])
def test_what_the_guide_installs_is_all_that_the_command_loads_by_itself(name: str) -> None:
    """Or the first `kexkit init` in that place would end with a plugin that is missing."""
    folders = re.findall(r"-e \"?sources/([\w/]+)", guide(name))
    sources = [
        tomllib.loads((REPOSITORY / folder / "pyproject.toml").read_text("utf-8"))["project"] for folder in folders
    ]
    brought = {plugin for project in sources for plugin in project.get("entry-points", {}).get("kexkit", {})}
    assert set(DEFAULT_PLUGINS) <= brought
