"""Plugins are listed without being imported, examined one by one, and begun from a template that works."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.cli.conftest import Invoke, write_config
from tests.host.conftest import Install, exchange, hook

BROKEN = "import there_is_no_such_module\n"
SPY = "import sys\nsys.kexkit_imported = True\n" + exchange("spy@example.org/1")


def by_name(ran: object) -> dict[str, dict[str, object]]:
    return {row["name"]: row for row in ran.json["plugins"]}  # type: ignore[attr-defined]  # a Ran


def test_what_is_not_enabled_is_listed_and_not_imported(invoke: Invoke, install: Install) -> None:
    install("spy", SPY)
    ran = invoke("plugins", "list", "--json")
    assert ran.code == 0
    rows = by_name(ran)
    assert (rows["x3dh"]["state"], rows["x3dh"]["provides"]) == ("loaded", ["key exchange x3dh/1"])
    assert rows["relay"]["provides"] == ["transport relay", "command relay"]
    assert (rows["spy"]["state"], rows["spy"]["enabled"], rows["spy"]["version"]) == ("installed", False, "1.5")
    assert not hasattr(sys, "kexkit_imported")
    assert "installed   spy" in invoke("plugins", "list").out


def test_listed_and_examined_noise_tells_its_mechanisms(invoke: Invoke, home: Path) -> None:
    brought = [f"key exchange {name}" for name in ("healing-noise-xk1/1", "noise-xk1/1", "noise-xx/1")]
    for command in ("list", "doctor"):
        row = by_name(invoke("plugins", command, "--json"))["noise"]
        assert (row["enabled"], row["state"], row["provides"]) == (True, "loaded", brought)
        assert "; ".join(brought) in invoke("plugins", command).out
    write_config(home, "default", '[plugins.noise]\nmechanisms = "noise-k1k1/1"\n')
    assert by_name(invoke("plugins", "list", "--json"))["noise"]["provides"] == ["key exchange noise-k1k1/1"]
    write_config(home, "default", '[plugins.noise]\nmechanisms = "noise-ik/1"\n')
    ill = invoke("plugins", "doctor")
    assert (ill.code, "There is no Noise mechanism noise-ik/1" in ill.err) == (8, True)


def test_an_enabled_plugin_that_fails_is_listed_with_its_reason(invoke: Invoke, install: Install) -> None:
    install("bad", BROKEN)
    rows = by_name(invoke("--plugins", "x3dh,bad,huh", "plugins", "list", "--json"))
    assert "there_is_no_such_module" in str(rows["bad"]["reason"])
    assert rows["huh"]["reason"] == "it is not installed"


def test_a_healthy_set_is_said_to_be_so(invoke: Invoke) -> None:
    ran = invoke("plugins", "doctor")
    assert ran.code == 0
    assert "Everything that is enabled works." in ran.out


def test_one_that_is_broken_matters_only_when_it_is_enabled(invoke: Invoke, install: Install, home: Path) -> None:
    install("bad", BROKEN)
    healthy = invoke("plugins", "doctor", "--json")
    assert (healthy.code, healthy.json["problems"]) == (0, [])
    assert by_name(healthy)["bad"]["state"] == "quarantined"
    write_config(home, "default", 'load = ["x3dh", "sqlite", "relay", "bad"]')
    ill = invoke("plugins", "doctor")
    assert ill.code == 8
    assert "bad: importing" in ill.err
    assert "quarantined bad" in ill.out


def test_two_that_claim_one_name_are_both_named(invoke: Invoke, install: Install) -> None:
    install("first", exchange("twice@example.org/1"))
    install("second", exchange("twice@example.org/1"))
    ran = invoke("--plugins", "first,second,sqlite,relay", "plugins", "doctor")
    assert ran.code == 8
    assert "first (kexkit-first 1.5) and second (kexkit-second 1.5)" in ran.err
    assert invoke("--plugins", "first,second,sqlite,relay", "demo").code == 8


def test_two_packages_of_one_plugin_name_are_both_named(invoke: Invoke, install: Install) -> None:
    install("same", exchange("a@example.org/1"), distribution="first-one")
    install("same", exchange("b@example.org/1"), distribution="second-one")
    ran = invoke("--plugins", "same", "plugins", "doctor")
    assert ran.code == 8
    assert "first-one 1.5" in ran.err
    assert "second-one 1.5" in ran.err


def test_another_version_of_the_contract_names_both(invoke: Invoke, install: Install) -> None:
    install("old", exchange("old@example.org/1"), api="0")
    ran = invoke("--plugins", "old", "plugins", "doctor")
    assert ran.code == 8
    assert "version 0 of the contract, this is version 1" in ran.err


@pytest.mark.parametrize(
    ("names", "missing"), [("sqlite,relay", "key exchange"), ("x3dh,relay", "store"), ("x3dh,sqlite", "transport")]
)
def test_what_nobody_brings_is_said(invoke: Invoke, names: str, missing: str) -> None:
    ran = invoke("--plugins", names, "plugins", "doctor")
    assert ran.code == 8
    assert f"brings a {missing}" in ran.err


def test_a_broken_plugin_stops_nobody_who_does_not_need_it(invoke: Invoke, install: Install) -> None:
    install("bad", BROKEN)
    ran = invoke("--plugins", "x3dh,sqlite,relay,bad", "init")
    assert ran.code == 0
    assert "bad (kexkit-bad 1.5) is not used" in ran.err
    assert invoke("--plugins", "bad,sqlite,relay", "whoami").code == 8


def test_a_missing_plugin_stops_everything(invoke: Invoke) -> None:
    invoke("init")
    for command in ("whoami", "contacts", "listen", "demo"):
        ran = invoke("--plugins", "x3dh,sqlite,relay,huh", command)
        assert ran.code == 8
        assert "There is no plugin 'huh' here" in ran.err


def test_a_store_or_transport_by_a_wrong_name_is_missing(invoke: Invoke, home: Path) -> None:
    invoke("init")
    write_config(home, "default", 'store = "huh"')
    assert invoke("contacts").code == 8
    write_config(home, "default", 'transport = "huh"')
    assert invoke("listen").code == 8


@pytest.mark.parametrize("kind", ["key-exchange", "storage", "transport"])
def test_a_plugin_is_begun_where_one_stands(
    invoke: Invoke, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    told = invoke("plugins", "new", "--kind", kind, "mine", "--json").json
    folder = tmp_path / told["folder"]
    assert folder.name.endswith("-mine")
    assert (folder / "pyproject.toml").is_file()
    assert all(Path(file).is_file() for file in told["files"])
    again = invoke("plugins", "new", "--kind", kind, "mine")
    assert again.code == 2
    assert "not empty" in again.err
    assert invoke("plugins", "new", "--kind", kind, "other", "--into", "sub").code == 0
    assert list((tmp_path / "sub").iterdir())


@pytest.mark.parametrize("arguments", [["--kind", "huh", "x"], ["--kind", "storage", "Not A Name"], ["x"]])
def test_what_is_no_plugin_is_not_begun(
    invoke: Invoke, arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert invoke("plugins", "new", *arguments).code == 2
    assert [place for place in tmp_path.iterdir() if place.name != "home"] == []


def test_a_transport_is_opened_with_its_own_settings(invoke: Invoke, install: Install, home: Path) -> None:
    """Of another plugin's than the relay's: what the profile says, and no URL that nobody gave."""
    source = """
from contextlib import asynccontextmanager
from kexkit.api import TransportFactory
from kexkit.errors import InvalidInput

@asynccontextmanager
async def open_it(settings):
    raise InvalidInput(f"opened with {dict(settings)}")
    yield
"""
    install("mine", source + hook("kexkit_transports", "[TransportFactory('mine', open_it)]"))
    invoke("init")
    write_config(home, "default", 'load = ["x3dh", "sqlite", "mine"]\n[plugins.mine]\nx = "1"\n')
    assert "opened with {'x': '1'}" in invoke("listen").err
    assert "opened with {'x': '1', 'url': 'y'}" in invoke("listen", "--relay", "y").err
