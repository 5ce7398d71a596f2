"""`add`, `contacts`, `consent`: whom we know, and what we allow for them."""

from __future__ import annotations

import sys
from typing import Any

import anyio
import click
from kexkit import Contact, Node, parse_contact_code
from kexkit.errors import InvalidInput, Malformed, UnknownPeer

from kexkit_cli.console import Console
from kexkit_cli.invocation import Command, Invocation, of, ourselves
from kexkit_cli.limits import CODE_BYTES
from kexkit_cli.negotiating import common
from kexkit_cli.opening import Opened, opened
from kexkit_cli.people import check_name_is_free, find, label, short, worth_of
from kexkit_cli.profiles import checked_name
from kexkit_cli.troubles import CONSENTS, consented


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
        console.answer(
            described(contact, work),
            f"Added {label(contact)}  {contact.identity.hex()}",
            f"  {_offers_in_words(contact, work)}",
        )


async def _known_here(node: Node, text: str, malformed: Malformed) -> tuple[str, bytes]:
    """Not a code: then perhaps the beginning of the identity of somebody who wrote to us."""
    try:
        known = await find(node, text)
    except UnknownPeer:
        raise malformed from None
    return known.identity.hex(), known.identity


def described(contact: Contact, work: Opened) -> dict[str, Any]:
    return {
        "identity": contact.identity.hex(),
        "name": contact.name,
        "added": contact.added,
        "mechanisms": list(contact.mechanisms),
        "common": list(common(contact, work.exchanges, work.policy)),
        "in_use": list(contact.in_use),
    }


def _offers_in_words(contact: Contact, work: Opened) -> str:
    """Which of them is used is settled between the two devices, when a session begins."""
    if not contact.mechanisms:
        return "offers nothing known yet; their keys will be looked for when you write"
    both = common(contact, work.exchanges, work.policy)
    return f"offers {', '.join(contact.mechanisms)}; in common: {', '.join(both) or 'nothing that is allowed here'}"


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
            console.tell({"contacts": [described(one, work) for one in known]})
            return
        if not known:
            console.note(f"You know nobody yet. Add people with: {ourselves()} add CODE --name NAME")
        width = max((len(label(one)) for one in known), default=0)
        for one in known:
            stranger = "" if one.added else "  wrote to you, not added"
            worth = f"  now {worth_of(one)}" if one.in_use else ""
            offers = ", ".join(one.mechanisms) or "-"
            console.say(f"{label(one):{width}}  {short(one.identity)}…  {offers}{worth}{stranger}")


@click.command(cls=Command)
@click.argument("peer")
@click.argument("what", type=click.Choice(list(CONSENTS)))
@click.pass_context
def consent(context: click.Context, peer: str, what: str) -> None:
    """Decide for PEER where a negotiation stands still and waits for you. WHAT is one of:

    \b
    weaker   what is left to choose from may give less than before
    bare     devices that make no offers (Status) may be written to though they confirm nothing
    again    what failed to begin is tried again at once
    static   devices that showed a new long-term key are theirs
    code     what a contact code says of their devices, and nobody signed, is not true
    release  texts that came over refused sessions are shown

    What that sets free leaves, or is shown, with the next command that goes online.
    """
    invocation = of(context)
    anyio.run(_consent, invocation, Console(invocation), peer, what)


async def _consent(invocation: Invocation, console: Console, peer: str, what: str) -> None:
    async with opened(invocation, console) as work:
        contact = await find(work.node, peer)
        count = await work.node.consent(contact, CONSENTS[what])
        facts = {"peer": contact.identity.hex(), "name": contact.name, "consent": what, "count": count}
        console.answer(facts, consented(label(contact), CONSENTS[what], count))
