"""`chat`: two people in two terminals."""

from __future__ import annotations

import os
import signal
import sys
from contextlib import ExitStack

import anyio
import click
from anyio.abc import TaskStatus
from kexkit import Contact, TextReceived
from kexkit.errors import InvalidInput

from kexkit_cli.chat.face import Face, ForPrograms, Piped
from kexkit_cli.chat.talk import Talk
from kexkit_cli.commands.messages import weaker
from kexkit_cli.console import Console
from kexkit_cli.invocation import Command, Invocation, of
from kexkit_cli.limits import WAIT_SECONDS
from kexkit_cli.negotiating import check_common
from kexkit_cli.opening import Opened, opened
from kexkit_cli.people import find, label


@click.command(cls=Command)
@click.argument("peer", required=False)
@click.option(
    "--past", type=click.IntRange(min=0), default=10, show_default=True, metavar="N", help="Older texts shown."
)
@click.option(
    "--wait",
    type=click.FloatRange(min=0),
    default=WAIT_SECONDS,
    show_default=True,
    metavar="SECONDS",
    help="When stdin is a pipe and ends: how long to wait until the relay has everything.",
)
@weaker
@click.pass_context
def chat(context: click.Context, peer: str | None, past: int, wait: float, weak: bool) -> int:
    """Talk to PEER (a name, an identity, or its beginning), line by line. /help tells more, Ctrl-D leaves.

    Without PEER it is the only person you know; and where you know nobody, whoever writes to you first.
    A text is marked when the relay has it; "!" marks one that came without forward secrecy. Lines may come from a
    pipe; with --json everything that happens is a line of JSON.
    """
    invocation = of(context)
    return anyio.run(_chat, invocation, Console(invocation), peer, past, wait, weak)


async def _chat(invocation: Invocation, console: Console, peer: str | None, past: int, wait: float, weak: bool) -> int:
    async with opened(invocation, console, online=True, without_forward_secrecy=weak) as work:
        contact = await find(work.node, peer) if peer is not None else await _somebody(work, console)
        check_common(contact, work.exchanges, work.policy, label(contact))
        if _has_terminal(console):
            return await _in_terminal(work, contact, past, wait, console)
        face: Face = ForPrograms(console) if console.json else Piped(console)
        return await Talk(work, contact, face).run(past, wait)


async def _somebody(work: Opened, console: Console) -> Contact:
    known = await work.node.contacts()
    if not known:
        console.note("You know nobody yet. Hand your code (kexkit contact) to somebody; waiting for them to write…")
        async for event in work.node.events():
            if isinstance(event, TextReceived):
                break
        known = await work.node.contacts()
    if len(known) > 1:
        names = ", ".join(sorted(label(one) for one in known))
        raise InvalidInput("You know several people.", advice=f"Say which one: kexkit chat PEER. There are: {names}.")
    return known[0]


def _has_terminal(console: Console) -> bool:
    plain = os.environ.get("TERM", "dumb") == "dumb" or os.name != "posix"
    return sys.stdin.isatty() and sys.stdout.isatty() and not console.json and not plain


async def _in_terminal(work: Opened, contact: Contact, past: int, wait: float, console: Console) -> int:
    from kexkit_cli.chat.terminal import Terminal, raw_terminal

    async with anyio.create_task_group() as tasks:
        await tasks.start(_leave_on_signal, tasks.cancel_scope)
        with ExitStack() as stack:
            stack.enter_context(raw_terminal())
            face = Terminal(console, work.profile.config.name or "you")
            stack.callback(face.close)
            tasks.start_soon(face.watch_size)
            code = await Talk(work, contact, face).run(past, wait)
        tasks.cancel_scope.cancel()
        return code
    return 128 + signal.SIGTERM


async def _leave_on_signal(scope: anyio.CancelScope, *, task_status: TaskStatus[None]) -> None:
    """So that the terminal is left as it was found."""
    with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGHUP) as signals:
        task_status.started()
        async for _ in signals:
            scope.cancel()
