"""From a profile to an open node: plugins, the store, and a transport where one is needed."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TypeVar

from attrs import evolve, frozen
from kexkit import (
    STRICT,
    WITHOUT_FORWARD_SECRECY,
    Downgrade,
    FirstFlight,
    Node,
    Plugins,
    Policy,
    Publish,
    installed_plugins,
    load_plugins,
    open_node,
)
from kexkit.api import KeyExchange, Transport
from kexkit.errors import InvalidInput, PluginMissing

from kexkit_cli.console import Console
from kexkit_cli.exits import IdentityChanged
from kexkit_cli.invocation import Invocation
from kexkit_cli.offline import Offline
from kexkit_cli.people import short
from kexkit_cli.places import CONFIG_NAME
from kexkit_cli.profiles import Config, Profile, enabled_plugins, the_profile
from kexkit_cli.safe_text import safe, without_secrets

DEFAULT_RELAY = "ws://127.0.0.1:8765"
T = TypeVar("T")


@frozen
class Opened:
    """A profile at work."""

    node: Node
    plugins: Plugins
    exchanges: tuple[KeyExchange, ...]
    """best first; policy may forbid some"""
    profile: Profile
    policy: Policy
    transport: str
    """'relay ws://127.0.0.1:8765', or 'offline'"""


def loaded_plugins(invocation: Invocation, config: Config, console: Console) -> Plugins:
    """What is enabled. A name that is not installed is an error; a plugin that fails is told, and the others work."""
    names = enabled_plugins(invocation, config)
    _check_tables(names, config)
    plugins = load_plugins(names, config.plugins)
    for report in plugins.reports:
        if report.state != "quarantined":
            continue
        if not report.distribution:
            raise PluginMissing(
                f"There is no plugin {report.name!r} here.",
                plugin=report.name,
                advice="Install it, or enable others with --plugins. See: kexkit plugins list",
            )
        console.note(f"{report.owner} is not used: {report.reason}.")
    if not plugins.key_exchanges:
        raise PluginMissing("No plugin that is enabled brings a key exchange.", advice="See: kexkit plugins list")
    return plugins


def _check_tables(enabled: tuple[str, ...], config: Config) -> None:
    """A plugin that is not enabled now may keep its settings; a misspelt name must not pass for the default."""
    others = config.plugins.keys() - set(enabled)
    for name in sorted(others - {report.name for report in installed_plugins()} if others else ()):
        raise InvalidInput(
            f"The profile's {CONFIG_NAME} has settings for a plugin that is not here: [plugins.{safe(name)}].",
            advice="See: kexkit plugins list",
        )


def _chosen(kind: str, wanted: str | None, brought: Mapping[str, T]) -> str:
    if wanted is not None:
        return wanted
    if not brought:
        raise PluginMissing(f"No plugin that is enabled brings a {kind}.", advice="See: kexkit plugins list")
    return next(iter(brought))


def _settings_of(plugins: Plugins, config: Config, thing: str) -> dict[str, str]:
    """Of the plugin that brought it."""
    for report in plugins.reports:
        if thing in report.provides:
            return dict(config.plugins.get(report.name, {}))
    return {}


def chosen_store(plugins: Plugins, config: Config, folder: Path) -> tuple[str, dict[str, str]]:
    """Its name, and what to open it with."""
    name = _chosen("store", config.store, plugins.stores)
    return name, {"path": str(folder), **_settings_of(plugins, config, f"store {name}")}


def chosen_transport(plugins: Plugins, config: Config, relay: str | None) -> tuple[str, dict[str, str]]:
    """Its name, and what to open it with. `relay`: a URL that overrides the profile's."""
    name = _chosen("transport", config.transport, plugins.transports)
    settings = _settings_of(plugins, config, f"transport {name}")
    url = relay or config.relay
    if url is not None:
        settings["url"] = url
    elif name == "relay":
        settings.setdefault("url", DEFAULT_RELAY)
    return name, settings


def policy_of(config: Config, *, without_forward_secrecy: bool = False) -> Policy:
    policy = STRICT if config.strict else Policy()
    if without_forward_secrecy or not config.forward_secrecy:
        policy = evolve(policy, require=WITHOUT_FORWARD_SECRECY.require)
    if config.first_flight is not None:
        policy = evolve(policy, first_flight=FirstFlight(config.first_flight))
    if config.downgrade is not None:
        policy = evolve(policy, downgrade=Downgrade(config.downgrade))
    if config.new_static is not None:
        policy = evolve(policy, new_static=Downgrade(config.new_static))
    if config.publish is not None:
        policy = evolve(policy, publish=Publish(config.publish))
    if config.mechanisms is not None:
        policy = evolve(policy, mechanisms=frozenset(config.mechanisms))
    return policy


def preferred(plugins: Plugins, config: Config) -> tuple[KeyExchange, ...]:
    """All that are loaded, best first: what the profile names before the others, which its policy then forbids."""
    named = config.mechanisms or ()
    here = {exchange.name: exchange for exchange in plugins.key_exchanges}
    for name in named:
        if name not in here:
            raise PluginMissing(
                f"The profile allows {safe(name)!r}, and no plugin that is enabled brings it; "
                f"there are: {', '.join(here)}.",
                advice="See: kexkit plugins list; some plugins bring more when their settings say so.",
            )
    return tuple(here[name] for name in [*named, *(name for name in here if name not in named)])


@asynccontextmanager
async def opened(
    invocation: Invocation, console: Console, *, online: bool = False, without_forward_secrecy: bool = False
) -> AsyncIterator[Opened]:
    """The profile that was asked for; offline it is quick, and needs no relay."""
    profile = the_profile(invocation)
    policy = policy_of(profile.config, without_forward_secrecy=without_forward_secrecy)
    async with opened_at(invocation, console, profile, policy, online=online) as work:
        yield work


@asynccontextmanager
async def opened_at(
    invocation: Invocation, console: Console, profile: Profile, policy: Policy, *, online: bool
) -> AsyncIterator[Opened]:
    plugins = loaded_plugins(invocation, profile.config, console)
    exchanges = preferred(plugins, profile.config)
    if invocation.verbose:
        _log_to_stderr()
    async with AsyncExitStack() as stack:
        name, settings = chosen_store(plugins, profile.config, profile.folder)
        store = await stack.enter_async_context(plugins.store(name).open(settings))
        transport: Transport = Offline()
        over = "offline"
        if online:
            name, settings = chosen_transport(plugins, profile.config, invocation.relay)
            transport = await stack.enter_async_context(plugins.transport(name).open(settings))
            over = f"{name} {without_secrets(settings.get('url', ''))}".strip()
        node = await stack.enter_async_context(open_node(store, transport, exchanges, policy=policy))
        _check_identity(node, profile)
        yield Opened(node, plugins, exchanges, profile, policy, over)


def _check_identity(node: Node, profile: Profile) -> None:
    """A node on an empty store makes itself a new identity: in a profile that had one, that is no small matter."""
    expected = profile.config.identity
    if expected is not None and expected != node.identity.hex():
        found = short(node.identity)
        raise IdentityChanged(
            f"The profile {profile.name!r} was made for {expected[: len(found)]}…, and its store holds {found}….",
            advice=f"Bring the store back, or take the identity out of {profile.folder / CONFIG_NAME} to begin anew.",
        )


def _log_to_stderr() -> None:
    """What the library says of itself; it lets no secret and no text through."""
    import structlog

    structlog.configure(
        processors=[structlog.processors.add_log_level, structlog.dev.ConsoleRenderer(colors=False)],
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
