"""`demo`: the main job on embedded defaults."""

from __future__ import annotations

from contextlib import AsyncExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import anyio
import click
from attrs import asdict, evolve
from kexkit import WITHOUT_FORWARD_SECRECY, Plugins, installed_plugins
from kexkit.errors import PluginMissing, PolicyRefused

from kexkit_cli.console import Console
from kexkit_cli.demo.peer import Place, Terms
from kexkit_cli.demo.play import Play, Report
from kexkit_cli.demo.relay import own_relay
from kexkit_cli.demo.story import Silence, Told
from kexkit_cli.exits import Exit
from kexkit_cli.invocation import Command, Invocation, of
from kexkit_cli.limits import DEMO_MESSAGES
from kexkit_cli.negotiating import guarantee_names, is_called, offered
from kexkit_cli.opening import chosen_store, chosen_transport, loaded_plugins, policy_of, preferred
from kexkit_cli.profiles import Config, config_of

MESSAGES = 14


@click.command(cls=Command)
@click.option(
    "--mechanism",
    metavar="NAME",
    help="The key exchange to use: a full name (x3dh/1) or a family (x3dh, noise, healing-noise).",
)
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
    machine, and sealed bytes between them. With --mechanism, Alice allows nothing else; if that gives no forward
    secrecy, the policy of the demo allows it, and the story says so.
    """
    invocation = of(context)
    return anyio.run(_demo, invocation, Console(invocation), mechanism, messages)


async def _demo(invocation: Invocation, console: Console, mechanism: str | None, messages: int) -> int:
    config = config_of(invocation)
    plugins = loaded_plugins(invocation, config, console)
    alice, bob, asked = _terms(plugins, config, mechanism)
    story = Silence() if console.json or invocation.quiet else Told(console)
    with TemporaryDirectory(prefix="kexkit-demo-", ignore_cleanup_errors=True) as folder:
        async with AsyncExitStack() as stack:
            transport, settings = chosen_transport(plugins, config, invocation.relay_given)
            if transport == "relay" and not invocation.relay_given and "relay" in plugins.commands:
                settings = {"url": await stack.enter_async_context(own_relay(Path(folder) / "relay"))}
            store, _ = chosen_store(plugins, config, Path(folder))  # without the profile's settings: that is no place
            place = Place(plugins, store, transport, settings)
            play = Play(place, Path(folder), alice, bob, asked, story)
            report = await play.perform(messages)
    return _finish(report, play, story, console)


def _terms(plugins: Plugins, config: Config, wanted: str | None) -> tuple[Terms, Terms, str]:
    """Alice's and Bob's, and why hers are what they are, where somebody asked for that. Bob's are the profile's."""
    exchanges = preferred(plugins, config)
    policy = policy_of(config)
    if wanted is None:
        if not offered(exchanges, policy):
            names = ", ".join(exchange.name for exchange in exchanges)
            raise PolicyRefused(
                f"The policy demands forward secrecy, which none of these can give: {names}.",
                advice=f"Name one to say that it may be used all the same: --mechanism {exchanges[0].name}",
            )
        return Terms(exchanges, policy), Terms(exchanges, policy), ""
    named = [one for one in exchanges if is_called(one.name, wanted)]
    if not named:
        raise _no_such(wanted, plugins)
    asked = "Alice's policy allows nothing else, since you asked for it"
    if not any(policy.require in one.guarantees for one in named):
        policy = evolve(policy, require=WITHOUT_FORWARD_SECRECY.require)
        asked += ", and both policies allow what gives no forward secrecy"
    only = frozenset(one.name for one in named)
    bobs = policy if policy.mechanisms is None else evolve(policy, mechanisms=policy.mechanisms | only)
    return Terms(exchanges, evolve(policy, mechanisms=only)), Terms(exchanges, bobs), asked


def _no_such(wanted: str, plugins: Plugins) -> PluginMissing:
    here = ", ".join(exchange.name for exchange in plugins.key_exchanges)
    loaded = {report.name for report in plugins.reports}
    others = ", ".join(report.name for report in installed_plugins() if report.name not in loaded)
    advice = "Some plugins bring more when their settings say so: see docs/mechanisms.md."
    if others:
        advice = f"Installed but not enabled: {others}. Enable with --plugins. {advice}"
    return PluginMissing(f"No key exchange {wanted!r} is loaded here; there are: {here}.", plugin=wanted, advice=advice)


def _finish(report: Report, play: Play, story: Silence | Told, console: Console) -> int:
    if console.json:
        console.tell(_as_object(report))
    elif isinstance(story, Told):
        story.end(report)
    if report.good:
        return Exit.OK
    in_the_way = play.alice.in_the_way or play.bob.in_the_way or "nothing came any more"
    confirmed = "" if report.confirmed else ", the choice not confirmed"
    counts = f"{report.lost} lost, {report.duplicated} duplicated{confirmed}"
    console.warn(f"The demo failed: {counts}. Last trouble: {in_the_way}")
    return Exit.FAILURE


def _as_object(report: Report) -> dict[str, Any]:
    return {**asdict(report), "guarantees": guarantee_names(report.guarantees)}
