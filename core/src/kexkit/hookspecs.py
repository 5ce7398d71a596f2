"""The hooks. They run once, at start-up, one plugin at a time, and *return* typed objects that do all later work.

Returning (rather than calling back) lets mypy check a plugin's objects against the Protocols in `kexkit.api`, and
calling one plugin at a time tells who made what and hands each plugin its own configuration only.
"""

from __future__ import annotations

from collections.abc import Mapping

import pluggy

from kexkit.api import CommandEntry, KeyExchange, StoreFactory, TransportFactory

PROJECT = "kexkit"
hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@hookspec
def kexkit_key_exchanges(config: Mapping[str, str]) -> list[KeyExchange]:
    """The key exchanges this plugin brings."""
    raise AssertionError("a specification is never called")


@hookspec
def kexkit_stores(config: Mapping[str, str]) -> list[StoreFactory]:
    """The stores this plugin brings."""
    raise AssertionError("a specification is never called")


@hookspec
def kexkit_transports(config: Mapping[str, str]) -> list[TransportFactory]:
    """The transports this plugin brings."""
    raise AssertionError("a specification is never called")


@hookspec
def kexkit_commands(config: Mapping[str, str]) -> list[CommandEntry]:
    """The sub-commands of `kexkit` this plugin brings."""
    raise AssertionError("a specification is never called")
