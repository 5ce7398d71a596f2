"""The options that every command understands, before or after its name: `kexkit --json whoami`, `kexkit whoami --json`.

This is on the way of `kexkit --help`, so it imports nothing but click.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import click

DEFAULT_PROFILE = "default"
DEFAULT_PLUGINS = ("x3dh", "noise", "sqlite", "relay")


class Invocation:
    """What was asked for on this command line: an option given last wins; the environment speaks when none is given."""

    __slots__ = ("_plugins", "_profile", "_relay", "json", "quiet", "verbose")

    def __init__(self) -> None:
        self.json = False
        self.quiet = False
        self.verbose = False
        self._profile: str | None = None
        self._plugins: str | None = None
        self._relay: str | None = None

    @property
    def profile(self) -> str:
        return self._profile or os.environ.get("KEXKIT_PROFILE") or DEFAULT_PROFILE

    @property
    def ourselves(self) -> str:
        """How a command that we advise begins, so that it can be typed as it stands: 'kexkit --profile ann'."""
        return "kexkit" if self.profile == DEFAULT_PROFILE else f"kexkit --profile {self.profile}"

    @property
    def relay_given(self) -> str | None:
        """On this command line."""
        return self._relay

    @property
    def relay(self) -> str | None:
        """None: the profile's, or the default."""
        return self._relay or os.environ.get("KEXKIT_RELAY") or None

    @property
    def plugins(self) -> tuple[str, ...] | None:
        """None: the profile's, or the default."""
        text = self._plugins if self._plugins is not None else os.environ.get("KEXKIT_PLUGINS")
        if text is None:
            return None
        return tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))

    @property
    def plugins_given(self) -> tuple[str, ...] | None:
        """On this command line."""
        return self.plugins if self._plugins is not None else None

    def note(self, name: str, value: Any) -> None:
        """An option that was not given says nothing."""
        if name in ("json", "quiet", "verbose"):
            setattr(self, name, getattr(self, name) or bool(value))
        elif value is not None:
            setattr(self, f"_{name}", value)


def of(context: click.Context) -> Invocation:
    found: Invocation = context.find_root().ensure_object(Invocation)
    return found


def ourselves() -> str:
    """`Invocation.ourselves` of the command that is running."""
    context = click.get_current_context(silent=True)
    return of(context).ourselves if context is not None else "kexkit"


def _noted(context: click.Context, parameter: click.Parameter, value: Any) -> None:
    assert parameter.name is not None
    of(context).note(parameter.name.removeprefix("with_"), value)


def _option(*names: str, **settings: Any) -> Callable[[bool], click.Option]:
    def make(hidden: bool) -> click.Option:
        return click.Option(names, is_eager=True, expose_value=False, callback=_noted, hidden=hidden, **settings)

    return make


_SHARED = {
    "profile": _option("--profile", metavar="NAME", help="Which of your profiles (KEXKIT_PROFILE; default)."),
    "json": _option("--json", "with_json", is_flag=True, help="One JSON object on one line; streams: one a line."),
    "plugins": _option(
        "--plugins", "with_plugins", metavar="A,B", help="Plugins to load (KEXKIT_PLUGINS; x3dh,noise,sqlite,relay)."
    ),
    "relay": _option("--relay", "with_relay", metavar="URL", help="The relay (KEXKIT_RELAY; ws://127.0.0.1:8765)."),
    "quiet": _option("-q", "--quiet", is_flag=True, help="Say nothing but results and errors."),
    "verbose": _option("-v", "--verbose", is_flag=True, help="Log to stderr what happens inside."),
}
_SHOWN_WITH_COMMANDS = ("profile", "json")


def shared_options(*, shown: tuple[str, ...] = tuple(_SHARED)) -> list[click.Parameter]:
    return [make(name not in shown) for name, make in _SHARED.items()]


class Command(click.Command):
    """A command with the shared options; `kexkit --help` tells about those that its own help leaves out."""

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self.params += shared_options(shown=_SHOWN_WITH_COMMANDS)


class Group(click.Group):
    """A command of several sub-commands, all with the shared options."""

    command_class = Command

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self.params += shared_options(shown=_SHOWN_WITH_COMMANDS)


__all__ = ["DEFAULT_PLUGINS", "DEFAULT_PROFILE", "Command", "Group", "Invocation", "of", "ourselves", "shared_options"]
