"""`completion`: scripts that make the shell finish what is typed."""

from __future__ import annotations

import click

from kexkit_cli.console import Console
from kexkit_cli.invocation import Command, of

SHELLS = ("bash", "fish", "zsh")


@click.command(cls=Command)
@click.argument("shell", type=click.Choice(SHELLS))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print a completion script, for `eval "$(kexkit completion bash)"` in your shell's start-up file."""
    from click.shell_completion import get_completion_class

    console = Console(of(context))
    complete = get_completion_class(shell)
    assert complete is not None
    root = context.find_root().command
    script = complete(root, {}, "kexkit", "_KEXKIT_COMPLETE").source()
    console.answer({"shell": shell, "script": script}, script)
