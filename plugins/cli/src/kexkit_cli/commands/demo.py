"""`demo`: the main job on embedded defaults."""

from __future__ import annotations

from contextlib import AsyncExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import anyio
import click
from attrs import asdict
from kexkit import Guarantee, Plugins, Policy, installed_plugins
from kexkit.api import KeyExchange
from kexkit.errors import PluginMissing, PolicyRefused

from kexkit_cli.console import Console
from kexkit_cli.demo.peer import Place
from kexkit_cli.demo.play import Play, Report
from kexkit_cli.demo.relay import own_relay
from kexkit_cli.demo.story import Silence, Told
from kexkit_cli.exits import Exit
from kexkit_cli.invocation import Command, Invocation, of
from kexkit_cli.limits import DEMO_MESSAGES
from kexkit_cli.negotiating import allowed, guarantee_names
from kexkit_cli.opening import chosen_store, chosen_transport, loaded_plugins, policy_of
from kexkit_cli.profiles import Config, config_of

MESSAGES = 14


@click.command(cls=Command)
@click.option("--mechanism", metavar="NAME", help="The key exchange to use: a full name (x3dh/1) or a family (x3dh).")
@click.option(
    "--messages",
    type=click.IntRange(1, DEMO_MESSAGES),
    default=MESSAGES,
    show_default=True,
    metavar="N",
    help="How many texts are sent in all.",
)
@click.pass_context
def demo(context: click.Context, mechanism: str | None, messages: int) -> int:
    """Two peers who share nothing but a contact code negotiate, chat, go offline, come back, and lose nothing.

    Everything is real but the profiles, which live in a folder that is deleted at the end: stores, a relay on this
    machine, and sealed bytes between them. With --mechanism, what it guarantees is what the demo's policy demands.
    """
    invocation = of(context)
    return anyio.run(_demo, invocation, Console(invocation), mechanism, messages)


async def _demo(invocation: Invocation, console: Console, mechanism: str | None, messages: int) -> int:
    config = config_of(invocation)
    plugins = loaded_plugins(invocation, config, console)
    chosen, policy, why = _choice(plugins, config, mechanism)
    story = Silence() if console.json or invocation.quiet else Told(console)
    with TemporaryDirectory(prefix="kexkit-demo-", ignore_cleanup_errors=True) as folder:
        async with AsyncExitStack() as stack:
            transport, settings = chosen_transport(plugins, config, invocation.relay_given)
            if transport == "relay" and not invocation.relay_given and "relay" in plugins.commands:
                settings = {"url": await stack.enter_async_context(own_relay(Path(folder) / "relay"))}
            store, _ = chosen_store(plugins, config, Path(folder))  # without the profile's settings: that is no place
            first = (chosen, *(one for one in plugins.key_exchanges if one is not chosen))
            place = Place(plugins, first, policy, store, transport, settings)
            play = Play(place, Path(folder), chosen, why, story)
            report = await play.perform(messages)
    return _finish(report, play, story, console)


def _choice(plugins: Plugins, config: Config, wanted: str | None) -> tuple[KeyExchange, Policy, str]:
    """Which key exchange, under which policy, and why."""
    policy = policy_of(config)
    if wanted is None:
        free = allowed(plugins, policy)
        if free:
            why = "the first of Alice's preferences that Bob offers and that gives what her policy demands"
            return free[0], policy, why
        names = ", ".join(exchange.name for exchange in plugins.key_exchanges)
        raise PolicyRefused(
            f"The policy demands forward secrecy, which none of these can give: {names}.",
            advice=f"Name one to say that it may be used all the same: --mechanism {plugins.key_exchanges[0].name}",
        )
    named = [one for one in plugins.key_exchanges if wanted in (one.name, _family(one.name), _stem(one.name))]
    if not named:
        raise _no_such(wanted, plugins)
    chosen = next((one for one in named if policy.require in one.guarantees), named[0])
    why = "you asked for it, so it is first among Alice's preferences, and Bob offers it"
    if policy.require not in chosen.guarantees:
        return chosen, Policy(require=Guarantee.SECRET), f"{why}; this allows it although it gives no forward secrecy"
    return chosen, policy, why


def _stem(name: str) -> str:
    """'psk@example.org' of 'psk@example.org/1'."""
    return name.partition("/")[0]


def _family(name: str) -> str:
    """'psk' of 'psk@example.org/1'."""
    return _stem(name).partition("@")[0]


def _no_such(wanted: str, plugins: Plugins) -> PluginMissing:
    here = ", ".join(exchange.name for exchange in plugins.key_exchanges)
    loaded = {report.name for report in plugins.reports}
    others = ", ".join(report.name for report in installed_plugins() if report.name not in loaded)
    advice = f"Installed but not enabled: {others}. Enable with --plugins." if others else "Install its plugin."
    return PluginMissing(f"No key exchange {wanted!r} is loaded here; there are: {here}.", plugin=wanted, advice=advice)


def _finish(report: Report, play: Play, story: Silence | Told, console: Console) -> int:
    if console.json:
        console.tell(_as_object(report))
    elif isinstance(story, Told):
        story.end(report)
    if report.good:
        return Exit.OK
    in_the_way = play.alice.in_the_way or play.bob.in_the_way or "nothing came any more"
    console.warn(f"The demo failed: {report.lost} lost, {report.duplicated} duplicated. Last trouble: {in_the_way}")
    return Exit.FAILURE


def _as_object(report: Report) -> dict[str, Any]:
    return {**asdict(report), "guarantees": guarantee_names(report.guarantees)}
