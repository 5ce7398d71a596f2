"""`devices`, `forget`, `end`: what a contact writes with, as it is known here, and the end of sessions with it."""

from __future__ import annotations

from typing import Any

import anyio
import click
from kexkit import Contact, KnownDevice
from kexkit.errors import InvalidInput, UnknownDevice

from kexkit_cli.console import Console
from kexkit_cli.invocation import Command, Invocation, of, ourselves
from kexkit_cli.opening import opened
from kexkit_cli.people import find, label
from kexkit_cli.safe_text import safe

PROTECTED = (
    "It was known to make offers, which protected it against downgrade. Until they are seen again, whoever carries "
    "your texts can pass it off as a device without any."
)


@click.command(cls=Command)
@click.argument("peer")
@click.pass_context
def devices(context: click.Context, peer: str) -> None:
    """List the devices of PEER as they are known here: over what each is written to, which are left out, and why."""
    invocation = of(context)
    anyio.run(_devices, invocation, Console(invocation), peer)


async def _devices(invocation: Invocation, console: Console, peer: str) -> None:
    async with opened(invocation, console) as work:
        contact = await find(work.node, peer)
        known = await work.node.devices(contact)
        if console.json:
            console.tell({**_about(contact), "devices": [_described(one) for one in known]})
            return
        if not known:
            console.note(f"No device of {label(contact)} is known yet.")
        for one in known:
            console.say(f"{safe(one.installation)}  {', '.join(one.mechanisms) or '-'}  {in_words(one)}")


def _about(contact: Contact) -> dict[str, Any]:
    return {"peer": contact.identity.hex(), "name": contact.name, "in_use": list(contact.in_use)}


def _described(one: KnownDevice) -> dict[str, Any]:
    return {
        "installation": one.installation,
        "mechanisms": list(one.mechanisms),
        "in_use": one.in_use or None,
        "skipped": one.skipped.name.lower() if one.skipped is not None else None,
        "reason": one.reason,
        "signed": one.signed,
        "by_code": one.by_code,
        "seen": one.seen,
        "withdrawn": one.withdrawn,
    }


def in_words(one: KnownDevice) -> str:
    """Where it stands."""
    if one.withdrawn:
        return "withdrawn"
    if one.in_use:
        return f"over {one.in_use}"
    if one.skipped is not None:
        return f"left out: {one.reason}"
    return f"waits: {one.reason}" if one.reason else "nothing begun yet"


@click.command(cls=Command)
@click.argument("peer")
@click.argument("device")
@click.pass_context
def forget(context: click.Context, peer: str, device: str) -> None:
    """Forget a DEVICE of PEER that is gone: its installation id or the beginning of it, as `kexkit devices` lists it.

    Its sessions end, and nothing waits for it any more; texts that no other device has wait for whichever comes. Should
    it speak again, it is as new. What it wrote before it could know is still shown for a while, where its sessions can
    say goodbye: until a week has passed in silence, and for a month at most.

    What was known of its offers protected it against downgrade, and is forgotten too: until they are seen again,
    whoever carries your texts can pass it off as a device that makes none. Ask PEER whether it is gone.
    """
    invocation = of(context)
    anyio.run(_forget, invocation, Console(invocation), peer, device)


async def _forget(invocation: Invocation, console: Console, peer: str, device: str) -> None:
    async with opened(invocation, console) as work:
        contact = await find(work.node, peer)
        known = await work.node.devices(contact)
        found = _the_only([one for one in known if one.installation.startswith(device)], device, contact)
        protected = await work.node.forget_device(contact, found.installation)
        facts = {**_about(contact), "device": found.installation, "protected": protected}
        console.answer(facts, f"Forgotten: device {safe(found.installation)} of {label(contact)}.")
        if protected:
            console.note(PROTECTED)


@click.command(cls=Command)
@click.argument("peer")
@click.pass_context
def end(context: click.Context, peer: str) -> None:
    """End every session with PEER: with a goodbye where the key exchange has one. The next text begins a new session.

    Nothing more is sealed with the old keys. Where there is a goodbye, what is under way is still shown, until PEER's
    device has answered it, or a week has passed in silence, or a month in any case; then the keys are gone. What PEER
    wrote and may have come too late is written again by itself, in a new session. x3dh/1 has no goodbye: its keys go at
    once, what is under way shows as unreadable, and status-go goes on in the old session until you write.
    """
    invocation = of(context)
    anyio.run(_end, invocation, Console(invocation), peer)


async def _end(invocation: Invocation, console: Console, peer: str) -> None:
    async with opened(invocation, console) as work:
        contact = await find(work.node, peer)
        count = await work.node.end_sessions(contact)
        said = f"Ended: {count} session{'' if count == 1 else 's'} with {label(contact)}."
        console.answer({**_about(await find(work.node, peer)), "ended": count}, said)
        if count:
            console.note("The goodbye, where there is one, leaves when you are next online.")


def _the_only(found: list[KnownDevice], wanted: str, contact: Contact) -> KnownDevice:
    exact = [one for one in found if one.installation == wanted]
    found = exact or found
    if not found:
        raise UnknownDevice(
            f"No device of {label(contact)} is called {safe(wanted)[:80]!r}.",
            advice=f"See: {ourselves()} devices {label(contact)}",
        )
    if len(found) > 1 or not wanted:
        raise InvalidInput(f"{safe(wanted)[:80]!r} may be several devices.", advice="Give more of its id.")
    return found[0]
