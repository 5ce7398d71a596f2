"""Sessions under a pre-shared key for kexkit: no round trip, no forward secrecy."""

from __future__ import annotations

from collections.abc import Mapping

from kexkit.api import KeyExchange
from kexkit.errors import InvalidInput
from kexkit.hookspecs import hookimpl

from kexkit_psk.limits import SECRET_BYTES

kexkit_api = "1"


@hookimpl
def kexkit_key_exchanges(config: Mapping[str, str]) -> list[KeyExchange]:
    from kexkit_psk.exchange import Psk  # here, so that a command line that only lists commands stays fast

    return [Psk(_secret(config))]


def _secret(config: Mapping[str, str]) -> bytes:
    try:
        secret = bytes.fromhex(config["secret"])
    except (KeyError, ValueError):
        secret = b""
    if len(secret) != SECRET_BYTES:
        raise InvalidInput(
            f"The setting 'secret' of kexkit-psk is {2 * SECRET_BYTES} hex digits.",
            advice='Make one with: python -c "import secrets; print(secrets.token_hex(32))"',
        )
    return secret
