"""Where messages travel: Status's topic names, Waku's content topics, and the keys that go with names."""

from __future__ import annotations

import hashlib
from typing import Final

from kexkit import limits, secp256k1
from kexkit.errors import InvalidInput

PUBSUB_DEFAULT: Final = "/waku/2/rs/16/32"
"""Status's default shard."""

_PARTITIONS: Final = 5000
_ITERATIONS: Final = 65356  # status-go's number; not 65536


def _name_bytes(name: str) -> bytes:
    try:
        raw = name.encode()
    except UnicodeEncodeError:
        raise InvalidInput("A topic name is not valid Unicode.") from None
    if not raw or len(raw) > limits.TOPIC_NAME_BYTES:
        raise InvalidInput(f"A topic name needs 1 to {limits.TOPIC_NAME_BYTES} bytes.")
    return raw


def content_topic(name: str) -> str:
    """The Waku content topic of a Status topic name."""
    return f"/waku/1/0x{secp256k1.keccak256(_name_bytes(name))[:4].hex()}/rfc26"


def partitioned_name(identity: bytes) -> str:
    """Where anyone may write to a person; shared with one in 5000 others."""
    secp256k1.check_public(identity)
    return f"contact-discovery-{int.from_bytes(identity[1:], 'big') % _PARTITIONS}"


def personal_name(identity: bytes) -> str:
    """Where a person's own devices and notifications are written to."""
    return f"contact-discovery-{secp256k1.uncompressed(identity).hex()}"


def contact_code_name(identity: bytes) -> str:
    """Where a person advertises bundles and offers."""
    return f"0x{secp256k1.uncompressed(identity).hex()}-contact-code"


def negotiated_name(secret: bytes) -> str:
    """Where two people write who agreed on a secret. The name is as secret as the secret."""
    if len(secret) != 32:
        raise InvalidInput("An agreed secret has 32 bytes.")
    return secret.hex()


def symmetric_key(name: str) -> bytes:
    """The key of a public, contact-code or negotiated topic. Slow (tens of milliseconds): keep what it returns."""
    return hashlib.pbkdf2_hmac("sha256", _name_bytes(name), b"", _ITERATIONS, 32)
