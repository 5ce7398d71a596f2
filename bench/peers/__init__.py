"""The neighbours. One that is not installed is named and left out."""

from __future__ import annotations

from importlib import import_module

from bench.conversation import Library

PEERS = {
    "syndace": "bench.peers.syndace",
    "python-olm": "bench.peers.libolm",
    "vodozemac": "bench.peers.vodozemac",
}


def load() -> tuple[list[Library], dict[str, str]]:
    """Those that are here, and why the others are not."""
    found: list[Library] = []
    missing: dict[str, str] = {}
    for name, module in PEERS.items():
        try:
            found.append(import_module(module).make())
        except ImportError as error:
            missing[name] = f"not installed ({error}); `uv run --group bench` brings what this Python has a wheel for"
    return found, missing
