"""A new plugin works, and its tests pass, before its author has changed a line."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from kexkit.errors import InvalidInput
from kexkit_cli.scaffold import KINDS, NAME_CHARACTERS, Kind, distribution_of, write_plugin

REPOSITORY = Path(__file__).parents[2]
PSK = REPOSITORY / "tests" / "examples" / "psk"


def run(*arguments: str, folder: Path) -> str:
    command = [sys.executable, "-m", *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("kind", KINDS)
def test_a_new_plugin_passes_its_kit_at_once(kind: Kind, tmp_path: Path) -> None:
    write_plugin(kind, "my-own", tmp_path / "new")
    one_loop = ("-k", "not trio") if kind == "storage" else ()  # its kit starts many processes: half of them will do
    said = run("pytest", "-q", "-p", "no:cacheprovider", "-W", "error", *one_loop, folder=tmp_path / "new")
    assert " passed" in said
    assert int(said.split(" passed")[0].split()[-1]) > 30


def test_new_plugins_are_fully_typed(tmp_path: Path) -> None:
    for kind in KINDS:
        write_plugin(kind, "my-own", tmp_path / kind)
    sources = [str(place) for kind in KINDS for place in (tmp_path / kind).glob("src/*/*.py")]
    run("mypy", "--strict", "--cache-dir", str(tmp_path / "cache"), *sources, folder=tmp_path)


@pytest.mark.parametrize("kind", KINDS)
def test_a_new_plugin_is_a_whole_package(kind: Kind, tmp_path: Path) -> None:
    written = write_plugin(kind, "my-own", tmp_path / "new")
    assert sorted(written) == sorted(place for place in (tmp_path / "new").rglob("*") if place.is_file())
    package = distribution_of(kind, "my-own").replace("-", "_")
    places = {str(place.relative_to(tmp_path / "new")) for place in written}
    assert {"pyproject.toml", "README.md", "tests/test_conformance.py"} <= places
    assert {f"src/{package}/__init__.py", f"src/{package}/py.typed"} <= places
    project = tomllib.loads((tmp_path / "new" / "pyproject.toml").read_text())
    assert project["project"]["name"] == distribution_of(kind, "my-own")
    assert project["project"]["entry-points"] == {"kexkit": {"my-own": package}}
    for place in written:
        assert "{{" not in place.read_text(encoding="utf-8")
        assert "PACKAGE" not in str(place)


def test_the_key_exchange_of_the_tutorial_is_what_is_written(tmp_path: Path) -> None:
    write_plugin("key-exchange", "psk", tmp_path / "new")
    ours = {place.relative_to(PSK): place for place in [*PSK.glob("src/*/*.py"), PSK / "tests" / "test_conformance.py"]}
    assert len(ours) == 5
    for place, expected in ours.items():
        assert (tmp_path / "new" / place).read_text() == expected.read_text(), place


@pytest.mark.parametrize(
    "name", ["", "A", "1a", "a_b", "a-", "-a", "a--b", "a.b", "../a", "a/b", "ä", "a\n", "a" * (NAME_CHARACTERS + 1)]
)
def test_a_bad_name_is_refused_before_anything_is_written(name: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="not a name"):
        write_plugin("storage", name, tmp_path / "new")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("length", [1, NAME_CHARACTERS - 1, NAME_CHARACTERS])
def test_a_name_may_be_as_long_as_a_mechanisms(length: int) -> None:
    assert distribution_of("key-exchange", "a" * length) == "kexkit-" + "a" * length


@pytest.mark.parametrize(("kind", "name"), [("key-exchange", "x3dh"), ("key-exchange", "core"), ("storage", "sqlite")])
def test_a_name_of_this_project_is_refused(kind: Kind, name: str) -> None:
    with pytest.raises(InvalidInput, match="a package of this project"):
        distribution_of(kind, name)


def test_an_unknown_kind_is_refused_with_those_there_are() -> None:
    with pytest.raises(InvalidInput, match="key-exchange, storage, transport"):
        distribution_of("policy", "mine")  # type: ignore[arg-type]  # as typed by a user


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "README.md").write_text("mine")
    with pytest.raises(InvalidInput, match="not empty"):
        write_plugin("storage", "mine", tmp_path / "there")
    assert [(place.name, place.read_text()) for place in (tmp_path / "there").iterdir()] == [("README.md", "mine")]
    write_plugin("storage", "mine", tmp_path / "twice")
    with pytest.raises(InvalidInput, match="not empty"):
        write_plugin("storage", "mine", tmp_path / "twice")


def test_a_folder_that_cannot_be_made_is_told_in_our_words(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InvalidInput, match="cannot be written"):
        write_plugin("storage", "mine", tmp_path / "file" / "new")
