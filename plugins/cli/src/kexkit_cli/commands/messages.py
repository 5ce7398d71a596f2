"""`send`, `listen`, `history`: texts, one at a time."""

from __future__ import annotations

import sys
from contextlib import suppress
from typing import Any

import anyio
import click
from kexkit import (
    Delivery,
    Event,
    InstallationSkipped,
    NegotiationTrouble,
    Node,
    Question,
    SessionOpened,
    StoredText,
    TextReceived,
    TransportTrouble,
    Unreadable,
)
from kexkit.errors import InvalidInput, UnknownPeer

from kexkit_cli.console import Console
from kexkit_cli.exits import Exit, MessageUnreadable, NotConfirmed, exit_of_cause
from kexkit_cli.invocation import Command, Invocation, of
from kexkit_cli.limits import TEXT_BYTES, WAIT_SECONDS
from kexkit_cli.negotiating import check_common
from kexkit_cli.opening import Opened, opened
from kexkit_cli.people import consenting, find, label
from kexkit_cli.safe_text import safe
from kexkit_cli.sending import Progress, follow
from kexkit_cli.showing import (
    NO_FORWARD_SECRECY,
    Names,
    as_object,
    clock_time,
    day,
    in_seconds,
    indented,
    stored_as_object,
    trouble_in_words,
)
from kexkit_cli.troubles import Told, in_words, remedy

weaker = click.option(
    "--without-forward-secrecy",
    "weak",
    is_flag=True,
    help="Also send where a later theft of keys would open the text.",
)


# --- send ------------------------------------------------------------------------------------------------------------


@click.command(cls=Command)
@click.argument("peer")
@click.argument("text")
@click.option(
    "--wait",
    type=click.FloatRange(min=0),
    default=WAIT_SECONDS,
    show_default=True,
    metavar="SECONDS",
    help="How long to wait until the relay has it; it stays queued after that.",
)
@weaker
@click.pass_context
def send(context: click.Context, peer: str, text: str, wait: float, weak: bool) -> int:
    """Send TEXT to PEER (a name, an identity, or its beginning); '-' reads the text from stdin."""
    invocation = of(context)
    return anyio.run(
        _send, invocation, Console(invocation), peer, _text_from_stdin() if text == "-" else text, wait, weak
    )


def _text_from_stdin() -> str:
    raw = sys.stdin.buffer.read(TEXT_BYTES + 1)
    if len(raw) > TEXT_BYTES:
        raise InvalidInput("What stdin brings is too long for a text.")
    try:
        return raw.decode().removesuffix("\n")
    except UnicodeDecodeError:
        raise InvalidInput("What stdin brings is not text in UTF-8.") from None


async def _send(invocation: Invocation, console: Console, peer: str, text: str, wait: float, weak: bool) -> int:
    async with opened(invocation, console, online=True, without_forward_secrecy=weak) as work:
        contact = await find(work.node, peer)
        name = label(contact)
        check_common(contact, work.exchanges, work.policy, name)
        sent = await work.node.send(contact, text)
        progress = Progress(name, consenting(invocation, contact))
        await follow(work.node, sent, wait, progress)
        for said in progress.told:
            console.note(said)
        facts = {
            "message_id": sent.message_id.hex(),
            "peer": contact.identity.hex(),
            "name": contact.name,
            "delivery": progress.delivery.value,
            "confirmed": progress.confirmed,
        }
        if progress.delivery is Delivery.STORED:
            console.answer(facts, *([] if invocation.quiet else [f"Sent to {name}: the {_network(work)} has it."]))
            return Exit.OK
        return _late(console, facts, progress, wait)


def _network(work: Opened) -> str:
    return "relay" if work.transport.startswith("relay ") else "network"


def _late(console: Console, facts: dict[str, Any], progress: Progress, wait: float) -> int:
    """It is queued, and either the network or the negotiation is not as far."""
    code = exit_of_cause(progress.cause)
    stays = "The text stays queued, and leaves with the next command that goes online"
    advice = f"{progress.advice} {stays}.".lstrip() if progress.advice else f"{stays} and finds the way free."
    late = NotConfirmed(f"Not confirmed in {in_seconds(wait)}. {progress.trouble}".strip(), advice=advice)
    if console.json:
        waiting = {"waiting": progress.trouble, "cause": progress.cause, "advice": progress.advice}
        console.tell({**facts, **waiting, "error": str(late), "exit": int(code)})
    console.warn(str(late))
    return code


# --- listen ----------------------------------------------------------------------------------------------------------


@click.command(cls=Command)
@click.option("--once", is_flag=True, help="Stop after the first message; the same as --count 1.")
@click.option("--count", type=click.IntRange(min=1), metavar="N", help="Stop after this many messages.")
@click.option("--for", "seconds", type=click.FloatRange(min=0), metavar="SECONDS", help="Stop after this time.")
@click.option("--all", "everything", is_flag=True, help="With --json: also what happens besides messages.")
@click.pass_context
def listen(context: click.Context, once: bool, count: int | None, seconds: float | None, everything: bool) -> int:
    """Print what comes, and acknowledge it: it is not told again.

    Exit code 4 if fewer messages came in the time given than --count asks for, 5 if one could not be decrypted.
    """
    invocation = of(context)
    if once and count not in (None, 1):
        raise click.UsageError("--once and --count say different things.")
    listening = _Listening(Console(invocation), 1 if once else count, everything)
    anyio.run(_listen, invocation, listening, seconds)
    return listening.result(seconds)


class _Listening:
    """What has been shown so far."""

    def __init__(self, console: Console, count: int | None, everything: bool) -> None:
        self.console = console
        self.count = count
        self.everything = everything
        self.shown = 0
        self.unreadable = 0

    @property
    def enough(self) -> bool:
        return self.count is not None and self.shown >= self.count

    def result(self, seconds: float | None) -> int:
        if self.unreadable:
            raise MessageUnreadable(f"Of {self.shown} messages {self.unreadable} could not be decrypted.")
        if self.count is not None and not self.enough:
            came = f"{self.shown} of {self.count} messages" if self.count > 1 else "No message"
            raise NotConfirmed(f"{came} came in {in_seconds(seconds or 0)}.")
        return Exit.OK

    async def show(self, event: Event, node: Node, names: Names) -> None:
        """Printed and flushed before it is acknowledged: whatever stops us between the two, it comes again."""
        durable = isinstance(event, (TextReceived, Unreadable, Question))
        peer = getattr(event, "peer", None)
        if self.console.json:
            if durable or self.everything:
                self.console.tell(as_object(event, await names.of(peer) if peer else None))
        elif durable:
            self.console.raw(_line(event, await names.of(peer) if peer else "?", self.console) + "\n")
        if isinstance(event, TransportTrouble):
            self.console.note(trouble_in_words(event))
        elif isinstance(event, Told):
            self.console.note(await self._of_negotiation(event, node, names))
        elif isinstance(event, SessionOpened):
            said = f"Both ends have confirmed a session over {event.mechanism}"
            self.console.note(f"{said} ({await names.of(event.peer)}).")
        if isinstance(event, (TextReceived, Unreadable)):
            self.shown += 1
            self.unreadable += isinstance(event, Unreadable)
            await node.ack(event)

    async def _of_negotiation(self, event: Told, node: Node, names: Names) -> str:
        words = in_words(event, await names.of(event.peer))
        if not isinstance(event, (NegotiationTrouble, InstallationSkipped)):
            return words
        with suppress(UnknownPeer):
            contact = await node.contact(event.peer)
            return f"{words} {remedy(event, consenting(self.console.invocation, contact))}"
        return words


async def _listen(invocation: Invocation, listening: _Listening, seconds: float | None) -> None:
    async with opened(invocation, listening.console, online=True) as work:
        names = Names(work.node)
        listening.console.note(f"Listening over the {work.transport}. Ctrl-C stops.")
        with anyio.move_on_after(seconds if seconds is not None else float("inf")):
            async for event in work.node.events():
                await listening.show(event, work.node, names)
                if listening.enough:
                    break


def _line(event: Event, name: str, console: Console) -> str:
    if isinstance(event, TextReceived):
        head = f"{clock_time(event.timestamp)} {name}: "
        mark = "" if event.forward_secret else console.styled(f"[{NO_FORWARD_SECRECY}] ", "yellow")
        line = indented(head, event.text)
        return console.styled(line[: len(head)], "cyan") + mark + line[len(head) :]
    if isinstance(event, Unreadable):
        again = "it is kept and tried again" if event.retried else "it is lost"
        said = f"{clock_time(event.at)} {name}: [a message that cannot be decrypted: {safe(event.cause)}; {again}]"
        return console.styled(said, "yellow")
    assert isinstance(event, Question)
    return console.styled(f"{name} asks ({safe(event.kind)}): {safe(event.text)}  Answer it in: kexkit chat", "yellow")


# --- history ---------------------------------------------------------------------------------------------------------


@click.command(cls=Command)
@click.argument("peer")
@click.option("--limit", type=click.IntRange(min=1), default=50, show_default=True, metavar="N", help="How many texts.")
@click.option("--before", type=click.IntRange(min=0), metavar="CLOCK", help="Older ones: those before this clock.")
@click.pass_context
def history(context: click.Context, peer: str, limit: int, before: int | None) -> None:
    """The last texts of the chat with PEER, oldest first."""
    invocation = of(context)
    anyio.run(_history, invocation, Console(invocation), peer, limit, before)


async def _history(invocation: Invocation, console: Console, peer: str, limit: int, before: int | None) -> None:
    async with opened(invocation, console) as work:
        contact = await find(work.node, peer)
        texts = await work.node.history(contact, limit=limit, before=before)
        if console.json:
            facts: dict[str, Any] = {"peer": contact.identity.hex(), "name": contact.name}
            console.tell({**facts, "texts": [stored_as_object(text) for text in texts]})
            return
        today = ""
        for text in texts:
            if day(text.timestamp) != today:
                today = day(text.timestamp)
                console.say(today, "dim")
            console.raw(stored_line(text, label(contact), console) + "\n")


def stored_line(text: StoredText, name: str, console: Console) -> str:
    who = "you" if text.outgoing else name
    head = f"{clock_time(text.timestamp)} {who}: "
    waits = "  [queued]" if text.outgoing and text.delivery is not Delivery.STORED else ""
    line = indented(head, text.text)
    return console.styled(line[: len(head)], "green" if text.outgoing else "cyan") + line[len(head) :] + waits
