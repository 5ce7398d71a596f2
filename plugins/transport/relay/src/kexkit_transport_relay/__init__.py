"""A store-and-forward relay for kexkit: the transport called "relay", and the relay itself.

Importing this is cheap; everything else is imported when it is first used.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from importlib import import_module
from typing import TYPE_CHECKING

from kexkit.api import CommandEntry, Transport, TransportFactory
from kexkit.hookspecs import hookimpl

if TYPE_CHECKING:
    from kexkit_transport_relay.client import RelayTransport, open_relay
    from kexkit_transport_relay.limits import Pace, Quotas
    from kexkit_transport_relay.server import Serving, serve

kexkit_api = "1"

__all__ = ["Pace", "Quotas", "RelayTransport", "Serving", "kexkit_api", "open_relay", "serve"]
_HOMES = {
    "Pace": "limits",
    "Quotas": "limits",
    "RelayTransport": "client",
    "Serving": "server",
    "open_relay": "client",
    "serve": "server",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def _open(settings: Mapping[str, str]) -> AbstractAsyncContextManager[Transport]:
    from kexkit_transport_relay.client import open_relay

    return open_relay(settings)


def _load_command() -> object:
    from kexkit_transport_relay.command import relay

    return relay


@hookimpl
def kexkit_transports(config: Mapping[str, str]) -> list[TransportFactory]:
    return [TransportFactory(name="relay", open=_open)]


@hookimpl
def kexkit_commands(config: Mapping[str, str]) -> list[CommandEntry]:
    return [CommandEntry(name="relay", summary="Run a relay that stores and forwards envelopes.", load=_load_command)]
