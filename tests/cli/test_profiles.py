"""A profile is one folder that is its owner's alone; what cannot be read is said, and changes nothing."""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path

import platformdirs
import pytest
from kexkit.errors import InvalidInput
from kexkit_cli import places
from kexkit_cli.limits import NAME_CHARACTERS
from kexkit_cli.profiles import Config, checked_name, parse_config

from tests.cli.conftest import Invoke, Start, execute, write_config


def test_a_profile_is_made_once_and_stays(invoke: Invoke, home: Path) -> None:
    first = invoke("init", "--name", "Ann", "--json")
    assert first.code == 0
    assert first.json["made"] is True
    again = invoke("init", "--json")
    assert (again.code, again.json["identity"]) == (0, first.json["identity"])
    assert "nothing was changed" in again.err
    told = invoke("whoami", "--json").json
    assert told == {key: value for key, value in first.json.items() if key != "made"}
    assert told["name"] == "Ann"
    assert told["folder"] == str(home / "profiles" / "default")
    assert invoke("init", "--name", "Bea").code == 2
    assert invoke("whoami").out.startswith(f"you      Ann  {told['identity']}\n")


def test_nobody_else_may_look_into_it(invoke: Invoke, home: Path) -> None:
    old = os.umask(0)
    try:
        invoke("init")
    finally:
        os.umask(old)
    folder = home / "profiles" / "default"
    assert {stat.S_IMODE(place.stat().st_mode) for place in (home, home / "profiles", folder)} == {0o700}
    files = list(folder.iterdir())
    assert {"config.toml", "kexkit.sqlite"} <= {file.name for file in files}
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}


def test_profiles_are_apart(invoke: Invoke, monkeypatch: pytest.MonkeyPatch) -> None:
    one = invoke("--profile", "one", "init", "--json").json
    two = invoke("init", "--json", "--profile", "two").json
    assert one["identity"] != two["identity"]
    monkeypatch.setenv("KEXKIT_PROFILE", "one")
    assert invoke("whoami", "--json").json["identity"] == one["identity"]
    assert invoke("whoami", "--json", "--profile", "two").json["identity"] == two["identity"]


@pytest.mark.parametrize(
    "command", [["whoami"], ["contact"], ["contacts"], ["listen"], ["send", "x", "y"], ["chat", "x"]]
)
def test_an_unknown_profile_is_not_found(invoke: Invoke, command: list[str]) -> None:
    ran = invoke("--profile", "nobody", *command)
    assert ran.code == 3
    assert ran.err.startswith("kexkit: There is no profile 'nobody' in ")
    assert "kexkit --profile nobody init" in ran.err


@pytest.mark.parametrize("name", ["../x", ".hidden", "a/b", " ", "a\nb", "é"])
def test_a_profiles_name_cannot_lead_elsewhere(invoke: Invoke, home: Path, name: str) -> None:
    assert invoke("--profile", name, "init").code == 2
    assert not (home / "profiles").exists()


@pytest.mark.parametrize("more", [-1, 0, 1])
def test_names_have_an_end(invoke: Invoke, more: int) -> None:
    name = "x" * (NAME_CHARACTERS + more)
    assert invoke("--profile", name, "whoami").code == (3 if more <= 0 else 2)
    if more <= 0:
        assert checked_name(f" {name} ") == name
    else:
        with pytest.raises(InvalidInput):
            checked_name(name)


@pytest.mark.parametrize("name", ["", " ", "a\nb", "a\x1b[31m", "\u202eevil"])
def test_a_name_is_one_visible_line(name: str) -> None:
    with pytest.raises(InvalidInput):
        checked_name(name)


def test_any_name_comes_back_as_it_was(invoke: Invoke) -> None:
    name = 'A "quoted" \\ name, 日本'
    invoke("init", "--name", name)
    assert invoke("whoami", "--json").json["name"] == name


def test_settings_are_read(invoke: Invoke, home: Path) -> None:
    invoke("init")
    write_config(home, "default", 'relay = "ws://127.0.0.1:1"\nforward_secrecy = false\nname = "Z"\n')
    told = invoke("whoami", "--json").json
    assert (told["url"], told["forward_secrecy"], told["name"]) == ("ws://127.0.0.1:1", False, "Z")
    assert invoke("whoami", "--json", "--relay", "ws://127.0.0.1:2").json["url"] == "ws://127.0.0.1:2"


def test_a_relays_password_is_told_to_the_relay_alone(invoke: Invoke, home: Path) -> None:
    """What a command prints is kept: in logs, in terminals, in reports of bugs."""
    write_config(home, "default", 'relay = "ws://me:hunter2@127.0.0.1:9/a/path?token=hunter2"\n')
    assert invoke("init").code == 0
    for command in (["whoami"], ["whoami", "--json"], ["-v", "listen", "--all", "--json", "--for", "0.3"]):
        ran = invoke(*command)
        assert ran.code == 0
        assert "hunter2" not in ran.out + ran.err
        assert "ws://127.0.0.1:9" in ran.out + ran.err


def test_a_plugins_settings_are_texts() -> None:
    config = parse_config('load = ["a", "b", "a"]\n[plugins.a]\nx = 1\ny = true\nz = "s"\n', "here")
    assert config == Config(load=("a", "b"), plugins={"a": {"x": "1", "y": "true", "z": "s"}})
    assert "'s'" not in repr(config)


@pytest.mark.parametrize(
    "text",
    [
        "forward_secercy = false",
        "forward_secrecy = 'no'",
        "name = 1",
        "load = 'x3dh'",
        "load = [1]",
        "plugins = ['x3dh']",
        "[plugins]\nx = 1",
        "[plugins.x]\ny = [1]",
        "not toml",
        "x = " + "1" * 5000,
        "x = " + "[" * 5000,
    ],
    ids=range(11),
)
def test_a_setting_that_is_not_understood_is_never_ignored(invoke: Invoke, home: Path, text: str) -> None:
    write_config(home, "default", text)
    ran = invoke("whoami")
    assert ran.code == 2
    assert "config.toml" in ran.err


def test_a_profile_that_cannot_be_read_is_said(invoke: Invoke, home: Path) -> None:
    write_config(home, "default", "")
    (home / "profiles" / "default" / "config.toml").write_bytes(b"\xff")
    assert invoke("whoami").code == 2
    (home / "profiles" / "default" / "config.toml").unlink()
    (home / "profiles" / "default" / "config.toml").mkdir()
    ran = invoke("whoami")
    assert ran.code == 1
    assert "cannot be used" in ran.err


def test_a_home_that_is_no_folder_is_said(invoke: Invoke, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home.write_text("")
    for command in ("init", "whoami"):
        ran = invoke(command)
        assert ran.code == 1
        assert "cannot be used" in ran.err
    assert invoke("--help").code == 0


def test_a_store_that_was_lost_is_noticed(invoke: Invoke, home: Path) -> None:
    before = invoke("init", "--json").json["identity"]
    for file in (home / "profiles" / "default").glob("kexkit.sqlite*"):
        file.unlink()
    for command in ("whoami", "contacts", "init"):
        ran = invoke(command)
        assert ran.code == 6
        assert f"was made for {before[:10]}" in ran.err


def test_a_damaged_store_is_said(invoke: Invoke, home: Path) -> None:
    invoke("init")
    (home / "profiles" / "default" / "kexkit.sqlite").write_bytes(b"this is no database" * 500)
    ran = invoke("whoami")
    assert ran.code == 1
    assert "Restore a backup" in ran.err


def test_a_store_that_another_process_holds_is_said(invoke: Invoke, start: Start, relay: str) -> None:
    invoke("init")
    running = start("--relay", relay, "listen")
    assert "Listening" in running.note()
    ran = invoke("contacts")
    assert ran.code == 1
    assert f"held by process {running.process.pid}" in ran.err
    assert running.interrupt().code == 130
    assert invoke("contacts").code == 0


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="elsewhere platformdirs itself is asked")
def test_the_short_rule_is_that_of_platformdirs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("KEXKIT_HOME")
    for value in (None, "", str(tmp_path / "xdg")):
        for variable in ("XDG_DATA_HOME", "XDG_CACHE_HOME"):
            monkeypatch.delenv(variable, raising=False) if value is None else monkeypatch.setenv(variable, value)
        assert places.data_folder() == platformdirs.user_data_dir("kexkit", appauthor=False)
        assert places.cache_folder() == platformdirs.user_cache_dir("kexkit", appauthor=False)


def test_what_the_command_makes_is_where_the_command_says(home: Path) -> None:
    made = execute("init", "--json")
    assert made.code == 0
    assert Path(made.json["folder"]).is_relative_to(home)


def test_a_profile_keeps_the_plugins_and_the_relay_that_it_was_made_with(invoke: Invoke) -> None:
    """Otherwise the very next command, which is the one that is advised, would look for other plugins."""
    invoke("--plugins", "x3dh,sqlite,relay", "--relay", 'ws://127.0.0.1:1/"', "init")
    told = invoke("whoami", "--json").json
    assert (told["mechanisms"], told["url"]) == (["x3dh/1"], 'ws://127.0.0.1:1/"')
    assert invoke("--profile", "other", "--relay", "ws://a\n", "init").code == 2
    assert invoke("--profile", "other", "init").code == 0
    assert "noise-xk1/1" in invoke("--profile", "other", "whoami", "--json").json["mechanisms"]


@pytest.mark.parametrize(
    "command", [["send", "nobody", "hi"], ["history", "nobody"], ["devices", "nobody"], ["contacts"]]
)
def test_what_is_advised_is_for_the_same_profile(invoke: Invoke, command: list[str]) -> None:
    invoke("--profile", "ann", "init")
    assert "kexkit --profile ann " in invoke("--profile", "ann", *command).err


def test_settings_for_a_plugin_that_is_nowhere_are_no_silent_default(invoke: Invoke, home: Path) -> None:
    invoke("init")
    write_config(home, "default", '[plugins.psk]\nsecret = "of a plugin that is installed, but not enabled"\n')
    assert invoke("whoami").code == 0
    write_config(home, "default", '[plugins.relai]\npatience = "5"\n')
    ran = invoke("whoami")
    assert (ran.code, "[plugins.relai]" in ran.err) == (2, True)


def test_a_relays_address_that_is_none_is_an_argument_that_cannot_be_read(invoke: Invoke) -> None:
    invoke("init")
    ran = invoke("--relay", "http://127.0.0.1:1", "listen", "--for", "0")
    assert (ran.code, "It looks like ws://127.0.0.1:8765" in ran.err) == (2, True)
