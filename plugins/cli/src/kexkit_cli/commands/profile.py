"""`init`, `whoami`, `contact`: who we are."""

from __future__ import annotations

import sys
from typing import Any

import anyio
import click
from attrs import evolve
from kexkit import Publish
from kexkit.errors import InvalidInput

from kexkit_cli.console import Console, columns
from kexkit_cli.exits import NoSuchProfile
from kexkit_cli.invocation import Command, Invocation, of, ourselves
from kexkit_cli.negotiating import offered
from kexkit_cli.opening import Opened, chosen_store, chosen_transport, opened, opened_at, policy_of
from kexkit_cli.profiles import Profile, checked_name, config_of, make_profile, the_profile, write_config
from kexkit_cli.safe_text import without_secrets


@click.command(cls=Command)
@click.option("--name", default="", help="What you call yourself here; it is told to nobody.")
@click.option("--publish", type=click.Choice([each.value for each in Publish]), help="Where your offer goes.")
@click.pass_context
def init(context: click.Context, name: str, publish: str | None) -> None:
    """Make a profile: an identity of your own, and a place for your texts.

    Done again, it changes nothing and says who you are.
    """
    invocation = of(context)
    anyio.run(_init, invocation, Console(invocation), checked_name(name) if name else "", publish)


async def _init(invocation: Invocation, console: Console, name: str, publish: str | None) -> None:
    try:
        profile = the_profile(invocation)
    except NoSuchProfile:
        if not (invocation.relay_given or "").isprintable():
            raise InvalidInput("A relay's address is one line of visible characters.") from None
        folder = make_profile(invocation)
        load, relay = invocation.plugins_given, invocation.relay_given  # or the next command would have to say it again
        config = evolve(config_of(invocation), name=name, publish=publish, load=load, relay=relay)
        made = Profile(invocation.profile, folder, config)
        async with opened_at(invocation, console, made, policy_of(config), online=False) as work:
            write_config(folder, work.node.identity, config)
            _show_whoami(work, invocation, console, made=True)
        return
    if name and name != profile.config.name:
        raise InvalidInput(
            f"The profile {profile.name!r} is there already, under another name.",
            advice=f"Change the name in {profile.folder / 'config.toml'}.",
        )
    if publish is not None and publish != policy_of(profile.config).publish.value:
        raise InvalidInput(
            f"The profile {profile.name!r} is there already, and publishes otherwise.",
            advice=f"Change `publish` in {profile.folder / 'config.toml'}.",
        )
    async with opened(invocation, console) as work:
        console.note(f"The profile {profile.name!r} was there already; nothing was changed.")
        _show_whoami(work, invocation, console)


@click.command(cls=Command)
@click.pass_context
def whoami(context: click.Context) -> None:
    """Say who you are here, and what this profile speaks and uses."""
    invocation = of(context)
    anyio.run(_whoami, invocation, Console(invocation))


async def _whoami(invocation: Invocation, console: Console) -> None:
    async with opened(invocation, console) as work:
        _show_whoami(work, invocation, console)


def _show_whoami(work: Opened, invocation: Invocation, console: Console, *, made: bool = False) -> None:
    config = work.profile.config
    transport, settings = chosen_transport(work.plugins, config, invocation.relay)
    store, _ = chosen_store(work.plugins, config, work.profile.folder)
    facts: dict[str, Any] = {
        "identity": work.node.identity.hex(),
        "name": config.name,
        "installation": work.node.installation,
        "profile": work.profile.name,
        "folder": str(work.profile.folder),
        "mechanisms": [exchange.name for exchange in work.exchanges],
        "offers": list(offered(work.exchanges, work.policy)) if work.policy.publish is not Publish.NONE else [],
        "store": store,
        "transport": transport,
        "url": without_secrets(settings["url"]) if "url" in settings else None,
        "forward_secrecy": config.forward_secrecy,
        "first_flight": work.policy.first_flight.value,
        "downgrade": work.policy.downgrade.value,
        "new_static": work.policy.new_static.value,
        "publish": work.policy.publish.value,
    }
    if made:
        facts["made"] = True
    if console.json:
        console.tell(facts)
        return
    if made and invocation.quiet:
        return
    rows = {
        "you": f"{config.name}  {facts['identity']}".strip(),
        "profile": f"{work.profile.name}  ({work.profile.folder})",
        "device": work.node.installation,
        "speaks": ", ".join(facts["mechanisms"])
        + ("" if config.forward_secrecy else "  (also without forward secrecy)"),
        "offers": _offers_in_words(facts),
        "keeps": f"in {store}",
        "sends": f"over {transport}" + (f"  {facts['url']}" if facts["url"] else ""),
    }
    for head, content in rows.items():
        console.raw(f"{console.styled(f'{head:9}', 'dim')}")
        console.say(content)
    if made:
        console.note(f"Your profile is made. Next: {ourselves()} contact, and let somebody add that code.")


def _offers_in_words(facts: dict[str, Any]) -> str:
    if facts["publish"] == Publish.NONE.value:
        return "nothing: the policy publishes no offer, so others take you for a Status device"
    names = ", ".join(facts["offers"]) or "nothing: the policy allows none of these"
    return names + ("  (to people alone)" if facts["publish"] == Publish.CONTACTS.value else "")


@click.command(cls=Command)
@click.option("--compact", is_flag=True, help="The short form: capitals and digits, made for QR codes.")
@click.option("--qr", is_flag=True, help="Draw the short form as a QR code.")
@click.option("--offers/--no-offers", default=None, help="Say what you speak, or not; left out: as `publish` has it.")
@click.pass_context
def contact(context: click.Context, compact: bool, qr: bool, offers: bool | None) -> None:
    """Your contact code, to hand to whoever shall write to you.

    It proves nothing by itself: hand it over in a way that shows it is yours.
    """
    invocation = of(context)
    anyio.run(_contact, invocation, Console(invocation), compact or qr, qr, offers)


async def _contact(invocation: Invocation, console: Console, compact: bool, qr: bool, offers: bool | None) -> None:
    async with opened(invocation, console) as work:
        code = await work.node.contact_code(compact=compact, offers=offers)
        if console.json:
            console.tell({"code": code, "identity": work.node.identity.hex(), "form": "compact" if compact else "full"})
            return
        if qr:
            _draw(code, console)
        console.say(code)


def _draw(code: str, console: Console) -> None:
    import segno

    if not console.unicode:
        console.warn("This terminal's encoding has no block characters to draw a QR code with; here is its text.")
        return
    drawing = segno.make(code, micro=False)
    wide, there = drawing.symbol_size()[0], columns()
    if there is not None and there < wide:
        console.warn(
            f"The QR code takes {wide} columns, and this terminal has {there}: make it wider, or its letters smaller; "
            "--no-offers makes a smaller code. Here is its text."
        )
        return
    drawing.terminal(sys.stdout, compact=True)
    sys.stdout.flush()
