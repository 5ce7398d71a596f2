"""Commands that plugins bring: found and imported when one is run."""

from __future__ import annotations

import click
from kexkit import load_commands
from kexkit.errors import PluginError

from kexkit_cli.invocation import of
from kexkit_cli.profiles import config_of, enabled_plugins


def foreign_command(context: click.Context, name: str) -> click.Command | None:
    """None: no enabled plugin brings it. The plugin's own `--json` is set when ours was given before its name."""
    invocation = of(context)
    config = config_of(invocation)
    plugins = load_commands(enabled_plugins(invocation, config), config.plugins)
    entry = plugins.commands.get(name)
    if entry is None:
        return None
    try:
        command = entry.load()
    except (Exception, SystemExit) as error:  # whatever a stranger's module does when it is imported
        raise PluginError(
            f"The command {name!r} cannot be loaded: {type(error).__name__}: {error}.",
            advice="See: kexkit plugins doctor",
        ) from None
    if not isinstance(command, click.Command):
        raise PluginError(f"The command {name!r} is no click.Command.", advice="Tell its author.")
    if invocation.json:
        _set_json(context, name, command)
    return command


def _set_json(context: click.Context, name: str, command: click.Command) -> None:
    for parameter in command.params:
        if isinstance(parameter, click.Option) and "--json" in parameter.opts and parameter.name:
            context.default_map = {**(context.default_map or {}), name: {parameter.name: True}}
