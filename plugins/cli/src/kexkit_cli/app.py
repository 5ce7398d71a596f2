"""The root command, and what happens to everything that is raised under it.

Only click is imported here: a command's module is imported when the command is run.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Any

import click

from kexkit_cli.invocation import Invocation, of, shared_options

#: name -> (module that holds it, attribute, summary)
COMMANDS = {
    "demo": ("demo", "demo", "Two peers meet, chat, go offline, come back, and lose nothing."),
    "init": ("profile", "init", "Make a profile: an identity of your own and a place for your texts."),
    "whoami": ("profile", "whoami", "Say who you are here."),
    "contact": ("profile", "contact", "Your contact code, to hand to whoever shall write to you."),
    "add": ("people", "add", "Add a contact from their code."),
    "contacts": ("people", "contacts", "List the people known here."),
    "devices": ("devices", "devices", "List the devices of somebody you know."),
    "forget": ("devices", "forget", "Forget a device that is gone."),
    "end": ("devices", "end", "End the sessions with somebody; the next text begins anew."),
    "consent": ("people", "consent", "Decide where a negotiation waits for you."),
    "send": ("messages", "send", "Send one text."),
    "listen": ("messages", "listen", "Print what comes, and acknowledge it."),
    "history": ("messages", "history", "The last texts of a chat."),
    "chat": ("chat", "chat", "Talk to somebody, line by line."),
    "plugins": ("plugins", "plugins", "List, check and begin plugins."),
    "completion": ("completion", "completion", "Print a completion script for your shell."),
}


class Root(click.Group):
    """The commands above, and whatever enabled plugins bring."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [name for name, _ in self._lines(ctx)]

    def _lines(self, ctx: click.Context) -> list[tuple[str, str]]:
        from kexkit_cli.listing import plugin_commands

        own = [(name, summary) for name, (_, _, summary) in COMMANDS.items()]
        return own + [(name, summary) for name, summary in plugin_commands(of(ctx)) if name not in COMMANDS]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """From the summaries alone: no command is imported to be listed."""
        with formatter.section("Commands"):
            formatter.write_dl(self._lines(ctx))

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name in COMMANDS:
            module, attribute, _ = COMMANDS[cmd_name]
            command: click.Command = getattr(import_module(f"kexkit_cli.commands.{module}"), attribute)
            return command
        from kexkit_cli.foreign import foreign_command

        return foreign_command(ctx, cmd_name)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[Any]:
        """Names and summaries, again without importing them."""
        from click.shell_completion import CompletionItem

        found = [CompletionItem(name, help=help) for name, help in self._lines(ctx) if name.startswith(incomplete)]
        return found + click.Command.shell_complete(self, ctx, incomplete)


def _show_version(context: click.Context, parameter: click.Parameter, value: bool) -> None:
    if value and not context.resilient_parsing:
        from kexkit import __version__

        click.echo(f"kexkit {__version__}")
        context.exit()


def _stop_with_stdin(context: click.Context, parameter: click.Parameter, value: bool) -> None:
    if value and not context.resilient_parsing:
        from kexkit_cli.lifeline import stop_when_stdin_ends

        stop_when_stdin_ends()


kexkit = Root(
    "kexkit",
    help="End-to-end encrypted chat in which the key exchange is a plugin. Begin with `kexkit demo`.",
    context_settings={"help_option_names": ["-h", "--help"]},
    params=[
        *shared_options(),
        click.Option(
            ["--version"],
            is_flag=True,
            is_eager=True,
            expose_value=False,
            callback=_show_version,
            help="Say the version, and stop.",
        ),
        click.Option(["--stop-with-stdin"], is_flag=True, expose_value=False, callback=_stop_with_stdin, hidden=True),
    ],
)


def _open_streams() -> None:
    """Where whoever started us closed a stream, its number must not go to the next file that is opened: the store's."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115  it lives as long as we do


def run(arguments: Sequence[str] | None = None) -> int:
    """The exit code. Nothing escapes from here as a traceback."""
    invocation = Invocation()
    try:
        _open_streams()
        outcome = kexkit.main(
            arguments, prog_name="kexkit", complete_var="_KEXKIT_COMPLETE", standalone_mode=False, obj=invocation
        )
        code = int(outcome) if isinstance(outcome, int) else 0
        sys.stdout.flush()
        return code
    except BaseException as error:  # the last place where it can become a sentence
        from kexkit_cli.failing import explained

        return explained(error, invocation, debug=bool(os.environ.get("KEXKIT_DEBUG")))


__all__ = ["COMMANDS", "kexkit", "run"]
