"""X3DH and the Double Ratchet in the Status dialect, for kexkit. See `exchange.X3DH`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from kexkit.errors import InvalidInput
from kexkit.hookspecs import hookimpl

if TYPE_CHECKING:
    from kexkit.api import KeyExchange

kexkit_api = "1"


@hookimpl
def kexkit_key_exchanges(config: Mapping[str, str]) -> list[KeyExchange]:
    """x3dh/1, which has no settings."""
    if config:
        raise InvalidInput(f"x3dh knows no setting named {', '.join(sorted(config))}.", advice="Remove it.")
    from kexkit_x3dh.exchange import X3DH

    return [X3DH()]
