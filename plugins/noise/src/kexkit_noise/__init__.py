"""Noise for kexkit: sessions as Waku's specifications 35 and 37 have them, and sessions that heal.

See `exchange.NoiseExchange` for the key exchanges.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from kexkit.errors import InvalidInput
from kexkit.hookspecs import hookimpl

if TYPE_CHECKING:
    from kexkit.api import KeyExchange

kexkit_api = "1"
_SETTINGS = frozenset({"mechanisms", "psk"})


@hookimpl
def kexkit_key_exchanges(config: Mapping[str, str]) -> list[KeyExchange]:
    """Settings: `mechanisms`, names with commas between them; `psk`, 64 hexadecimal digits, for XXpsk0."""
    if unknown := sorted(config.keys() - _SETTINGS):
        raise InvalidInput(f"noise knows no setting named {', '.join(unknown)}.", advice="Remove it.")
    from kexkit_noise.exchange import BY_DEFAULT, NoiseExchange
    from kexkit_noise.mechanisms import MECHANISMS

    named = config.get("mechanisms")
    names = BY_DEFAULT if named is None else [name.strip() for name in named.split(",")]
    psk = _psk(config.get("psk"))
    wanting = [name for name, mechanism in MECHANISMS.items() if mechanism.wants_psk]
    return [NoiseExchange(name, psk if name in wanting else None) for name in names]


def _psk(setting: str | None) -> bytes | None:
    if setting is None:
        return None
    try:
        return bytes.fromhex(setting)
    except ValueError:
        raise InvalidInput("noise's psk is not 64 hexadecimal digits.") from None
