"""Who is meant, and how people are shown."""

from __future__ import annotations

import re

from kexkit import Contact, Node, parse_contact_code
from kexkit.errors import InvalidInput, Refusal, UnknownPeer

from kexkit_cli.invocation import Invocation, ourselves
from kexkit_cli.safe_text import safe

SHORT = 10
"""hexadecimal digits of an identity that tell one's contacts apart"""
_WORD = re.compile(r"[\w.-]+")
"""a name that a shell takes as it is"""
_PREFIX = re.compile(r"(?:0x)?(0[23][0-9a-f]{2,64})", re.IGNORECASE | re.ASCII)


def short(identity: bytes) -> str:
    return identity.hex()[:SHORT]


def label(contact: Contact) -> str:
    """Safe to show."""
    return safe(contact.name) if contact.name else short(contact.identity)


def worth_of(contact: Contact) -> str:
    """Over what texts to their devices leave now: the weakest is what the chat is worth."""
    weakest, *others = contact.in_use
    return f"over {weakest}" + (f", the weakest in use (also {', '.join(others)})" if others else "")


def consenting(invocation: Invocation, contact: Contact) -> str:
    """The command that consents for them, with '{}' for what."""
    who = contact.name if _WORD.fullmatch(contact.name) else short(contact.identity)
    return f"{invocation.ourselves} consent {who} {{}}"


async def find(node: Node, wanted: str) -> Contact:
    """By name, by identity (or a whole contact code), or by a beginning of the identity that is one person's alone."""
    contacts = await node.contacts()
    named = [contact for contact in contacts if contact.name and contact.name.casefold() == wanted.casefold()]
    if named:
        return _the_only([contact for contact in named if contact.name == wanted] or named, wanted)
    found: list[Contact] = []
    identity = _identity_in(wanted)
    prefix = _PREFIX.fullmatch(wanted)
    if identity is not None:
        found = [contact for contact in contacts if contact.identity == identity]
    elif prefix is not None:
        found = [contact for contact in contacts if contact.identity.hex().startswith(prefix[1].lower())]
    if not found:
        raise UnknownPeer(
            f"Nobody here is called {safe(wanted)[:80]!r}, and nobody's identity begins so.",
            advice=f"See: {ourselves()} contacts; add people with: {ourselves()} add CODE --name NAME",
        )
    return _the_only(found, wanted)


def _the_only(found: list[Contact], wanted: str) -> Contact:
    if len(found) > 1:
        those = ", ".join(f"{label(one)} ({short(one.identity)}…)" for one in found)
        raise InvalidInput(f"{safe(wanted)!r} may be several people: {those}.", advice="Give more of the identity.")
    return found[0]


def _identity_in(text: str) -> bytes | None:
    try:
        return parse_contact_code(text).identity
    except Refusal:
        return None


async def check_name_is_free(node: Node, name: str, identity: bytes) -> None:
    for contact in await node.contacts():
        if contact.name.casefold() == name.casefold() and contact.identity != identity:
            raise InvalidInput(f"You call somebody else {safe(contact.name)!r} ({short(contact.identity)}…).")
