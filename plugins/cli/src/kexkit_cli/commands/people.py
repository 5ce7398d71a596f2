"""`add`, `contacts`: whom we know."""

from __future__ import annotations

import sys
from typing import Any

import anyio
import click
from kexkit import Contact, Node, Plugins, Policy, parse_contact_code
from kexkit.errors import InvalidInput, Malformed, UnknownPeer

from kexkit_cli.console import Console
from kexkit_cli.invocation import Command, Invocation, of
from kexkit_cli.limits import CODE_BYTES
from kexkit_cli.negotiating import usable
from kexkit_cli.opening import opened
from kexkit_cli.people import check_name_is_free, find, label, short
from kexkit_cli.profiles import checked_name


@click.command(cls=Command)
@click.argument("code")
@click.option("--name", default="", help="What you call them; it is told to nobody.")
@click.pass_context
def add(context: click.Context, code: str, name: str) -> None:
    """Add a contact from their CODE, or from their public key alone; '-' reads it from stdin.

    Added again with a newer code, they keep their name unless you give another. For somebody who has written to you,
    the beginning of their identity is enough.
    """
    invocation = of(context)
    text = _from_stdin() if code == "-" else code
    anyio.run(_add, invocation, Console(invocation), text, checked_name(name) if name else "")


def _from_stdin() -> str:
    text = sys.stdin.buffer.read(CODE_BYTES + 1)
    if len(text) > CODE_BYTES:
        raise InvalidInput("What stdin brings is longer than any contact code.")
    return text.decode("utf-8", "replace")


async def _add(invocation: Invocation, console: Console, code: str, name: str) -> None:
    async with opened(invocation, console) as work:
        try:
            identity = parse_contact_code(code).identity
        except Malformed as malformed:
            code, identity = await _known_here(work.node, code, malformed)
        if name:
            await check_name_is_free(work.node, name, identity)
        contact = await work.node.add(code, name=name)
        facts = described(contact, work.plugins, work.policy)
        offers = f"offers {', '.join(contact.mechanisms)}" if contact.mechanisms else "offers nothing known yet"
        console.answer(facts, f"Added {label(contact)}  {contact.identity.hex()}", f"  {offers}; {facts['would_use']}")


async def _known_here(node: Node, text: str, malformed: Malformed) -> tuple[str, bytes]:
    """Not a code: then perhaps the beginning of the identity of somebody who wrote to us."""
    try:
        known = await find(node, text)
    except UnknownPeer:
        raise malformed from None
    return known.identity.hex(), known.identity


def described(contact: Contact, plugins: Plugins, policy: Policy) -> dict[str, Any]:
    chosen = usable(contact, plugins, policy)
    if chosen:
        would = f"{chosen[0].name} will be used"
    elif contact.mechanisms:
        would = "none of it is loaded and allowed here"
    else:
        would = "their keys will be looked for when you write"
    return {
        "identity": contact.identity.hex(),
        "name": contact.name,
        "added": contact.added,
        "mechanisms": list(contact.mechanisms),
        "mechanism": chosen[0].name if chosen else None,
        "would_use": would,
    }


@click.command(cls=Command)
@click.pass_context
def contacts(context: click.Context) -> None:
    """List the people known here, strangers who wrote to you included."""
    invocation = of(context)
    anyio.run(_contacts, invocation, Console(invocation))


async def _contacts(invocation: Invocation, console: Console) -> None:
    async with opened(invocation, console) as work:
        known = sorted(await work.node.contacts(), key=lambda one: (not one.name, one.name.casefold(), one.identity))
        if console.json:
            console.tell({"contacts": [described(one, work.plugins, work.policy) for one in known]})
            return
        if not known:
            console.note("You know nobody yet. Add people with: kexkit add CODE --name NAME")
        width = max((len(label(one)) for one in known), default=0)
        for one in known:
            stranger = "" if one.added else "  wrote to you, not added"
            console.say(f"{label(one):{width}}  {short(one.identity)}…  {', '.join(one.mechanisms) or '-'}{stranger}")
