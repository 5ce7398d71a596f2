"""Runs the rules of a kit by hand."""

from __future__ import annotations

from collections.abc import Iterator

from kexkit.testing import KeyExchangeKit
from kexkit.testing.key_exchange_party import Make


def rules_of(kit: type[KeyExchangeKit]) -> Iterator[str]:
    return (name for name in dir(kit) if name.startswith("test_"))


def broken_rule(make: Make, rule: str) -> str:
    """What the kit says when it tries this rule on this mechanism; empty: nothing."""
    kit = KeyExchangeKit()
    kit.make = make  # type: ignore[method-assign]  # as a subclass would
    kit.random_inputs = 400
    tried = getattr(kit, rule)
    try:
        tried()
    except Exception as error:  # whatever pytest would call a failure
        return f"{type(error).__name__}: {error}"
    return ""
