"""Profiles: a folder each, which holds the store and `config.toml`."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from attrs import field, frozen
from kexkit.errors import InvalidInput

from kexkit_cli.exits import NoSuchProfile, ProfileUnusable
from kexkit_cli.invocation import DEFAULT_PLUGINS, Invocation, ourselves
from kexkit_cli.limits import NAME_CHARACTERS
from kexkit_cli.places import CONFIG_NAME, data_folder, profile_folder

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


@frozen
class Config:
    """What `config.toml` says. Plugins' own settings may hold secrets."""

    name: str = ""
    """what the owner calls this profile's identity; it is told to nobody"""
    identity: str | None = None
    """in hexadecimal: whose the profile is, so that a store that was lost or swapped is noticed"""
    relay: str | None = None
    load: tuple[str, ...] | None = None
    """plugins to load; None: the default ones"""
    store: str | None = None
    transport: str | None = None
    forward_secrecy: bool = True
    """False: also send where a later theft of keys would open the texts"""
    mechanisms: tuple[str, ...] | None = None
    """key exchanges allowed, best first; None: all that are loaded, in kexkit's order"""
    strict: bool = False
    """nothing leaves before the peer has confirmed the choice, and nothing gets weaker"""
    first_flight: str | None = None
    downgrade: str | None = None
    new_static: str | None = None
    publish: str | None = None
    """where our offer goes: to everybody, to people alone, or nowhere"""
    plugins: Mapping[str, Mapping[str, str]] = field(default=MappingProxyType({}), repr=False)


@frozen
class Profile:
    """One that exists."""

    name: str
    folder: Path
    config: Config


def enabled_plugins(invocation: Invocation, config: Config) -> tuple[str, ...]:
    """The command line and the environment before the profile, the profile before the default."""
    if invocation.plugins is not None:
        return invocation.plugins
    return config.load if config.load is not None else DEFAULT_PLUGINS


def folder_of(invocation: Invocation) -> Path:
    """Where the profile is or would be."""
    name = invocation.profile
    if not _NAME.fullmatch(name) or len(name) > NAME_CHARACTERS:
        raise InvalidInput(
            f"{name!r} is not the name of a profile.",
            advice=f"Letters, digits, '.', '_' and '-', a letter or digit first, at most {NAME_CHARACTERS}.",
        )
    return Path(profile_folder(name))


def the_profile(invocation: Invocation) -> Profile:
    """The one that was asked for, or NoSuchProfile."""
    folder = folder_of(invocation)
    text = _read_config(folder)
    if text is None:
        name = invocation.profile
        raise NoSuchProfile(
            f"There is no profile {name!r} in {data_folder()}.",
            advice=f"Make it with: {ourselves()} init",
        )
    return Profile(invocation.profile, folder, parse_config(text, str(folder)))


def config_of(invocation: Invocation) -> Config:
    """Of a profile that need not exist."""
    folder = folder_of(invocation)
    text = _read_config(folder)
    return parse_config(text, str(folder)) if text is not None else Config()


def make_profile(invocation: Invocation) -> Path:
    """Its folder, the owner's alone. It is a profile once `write_config` has been called."""
    folder = folder_of(invocation)
    try:
        for place in (folder.parent.parent, folder.parent, folder):
            place.mkdir(mode=0o700, exist_ok=True, parents=True)
        if os.name == "posix" and folder.stat().st_mode & 0o077:
            folder.chmod(0o700)
    except OSError as error:
        raise _unusable(error, folder) from None
    return folder


def write_config(folder: Path, identity: bytes, config: Config) -> None:
    """What makes the folder a profile, whole or not at all."""
    text = _TEMPLATE.format(name=_quoted(config.name), identity=identity.hex())
    if config.publish is not None:
        text = text.replace('# publish = "advertise"  ', f'publish = "{config.publish}"', 1)
    if config.load is not None:
        names = ", ".join(map(_quoted, config.load))
        text = text.replace('# load = ["x3dh", "noise", "sqlite", "relay"]', f"load = [{names}]", 1)
    if config.relay is not None:
        text = text.replace('# relay = "ws://127.0.0.1:8765"', f"relay = {_quoted(config.relay)}", 1)
    place = folder / CONFIG_NAME
    fresh = place.with_suffix(f".{os.getpid()}")
    try:
        with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        fresh.replace(place)
    except OSError as error:
        raise _unusable(error, folder) from None


def checked_name(name: str) -> str:
    """A name for oneself or a contact: one visible line."""
    from kexkit_cli.safe_text import safe

    name = name.strip()
    if not name or len(name) > NAME_CHARACTERS or safe(name) != name:
        raise InvalidInput(f"A name is one visible line of at most {NAME_CHARACTERS} characters.")
    return name


# --- config.toml -----------------------------------------------------------------------------------------------------

_TEMPLATE = """\
# A profile of kexkit. Settings that are not here have their defaults.
name = {name}
identity = "{identity}"
# relay = "ws://127.0.0.1:8765"
# load = ["x3dh", "noise", "sqlite", "relay"]     # plugins
# mechanisms = ["healing-noise-xk1/1", "x3dh/1"]  # key exchanges allowed, best first; left out: all that are loaded
# store = "sqlite"                                # needed only where plugins bring several
# transport = "relay"
# forward_secrecy = true                          # false: also send where a later theft of keys would open the texts
# first_flight = "send"                           # "hold": no text leaves before the peer has confirmed the choice
# downgrade = "ask"                               # less than before: "refuse" it, "accept" it, or "ask"
# new_static = "accept"                           # a device shows a new long-term key: "ask", "refuse", "accept"
# publish = "advertise"                           # our offer: "contacts": to people alone; "none": nowhere, as Status
# strict = false                                  # true: hold, refuse, ask, and hear no new device without offers
# [plugins.NAME]                                  # a plugin's own settings
"""


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _read_config(folder: Path) -> str | None:
    place = folder / CONFIG_NAME
    try:
        return place.read_bytes().decode()
    except FileNotFoundError:
        return None
    except UnicodeDecodeError:
        raise InvalidInput(f"{place} is not text in UTF-8.") from None
    except OSError as error:
        raise _unusable(error, place) from None


def _unusable(error: OSError, place: Path) -> ProfileUnusable:
    return ProfileUnusable(
        f"The profile cannot be used: {place}: {error.strerror or error}.", advice="Check the path, and whose it is."
    )


def parse_config(text: str, where: str) -> Config:
    """Anything unknown is refused: a misspelt `forward_secrecy` must not pass for the default."""
    try:
        document = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # not all that tomllib raises is its own
        raise InvalidInput(f"config.toml of {where} is not TOML: {error}.") from None
    known: dict[str, Any] = {}
    for key, value in document.items():
        read = _READERS.get(key)
        if read is None:
            raise InvalidInput(f"config.toml of {where} has an unknown setting {key!r}: {_known_settings()}.")
        try:
            known[key] = read(value)
        except ValueError as problem:
            raise InvalidInput(f"config.toml of {where}: {key} {problem}.") from None
    config = Config(**known)
    if config.strict and (config.first_flight, config.downgrade, config.new_static) != (None, None, None):
        others = "first_flight, downgrade and new_static"
        raise InvalidInput(f"config.toml of {where}: strict says what {others} are; leave them out.")
    return config


def _known_settings() -> str:
    return "there are " + ", ".join(sorted(_READERS))


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError("is a text")
    return value


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError("is true or false")
    return value


def _names(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(name, str) and name for name in value):
        raise ValueError("is a list of names")
    return tuple(dict.fromkeys(value))


def _one_of(*words: str) -> Callable[[Any], str]:
    def read(value: Any) -> str:
        if value not in words:
            raise ValueError(f"is one of {', '.join(words)}")
        return str(value)

    return read


def _tables(value: Any) -> Mapping[str, Mapping[str, str]]:
    if not isinstance(value, dict) or not all(isinstance(table, dict) for table in value.values()):
        raise ValueError("holds a table for each plugin: [plugins.NAME]")
    return {name: {key: _setting(content) for key, content in table.items()} for name, table in value.items()}


def _setting(value: Any) -> str:
    """Plugins take text; numbers and flags are written as TOML writes them."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (str, int, float)):
        return str(value)
    raise ValueError("has settings that are text, numbers or flags")


_READERS = {
    "name": _text,
    "identity": _text,
    "relay": _text,
    "load": _names,
    "store": _text,
    "transport": _text,
    "forward_secrecy": _flag,
    "mechanisms": _names,
    "strict": _flag,
    "first_flight": _one_of("send", "hold"),
    "downgrade": _one_of("ask", "refuse", "accept"),
    "new_static": _one_of("ask", "refuse", "accept"),
    "publish": _one_of("advertise", "contacts", "none"),
    "plugins": _tables,
}

__all__ = [
    "Config",
    "Profile",
    "checked_name",
    "config_of",
    "enabled_plugins",
    "folder_of",
    "make_profile",
    "parse_config",
    "the_profile",
    "write_config",
]
