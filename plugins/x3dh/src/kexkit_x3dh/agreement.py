"""X3DH in the Status dialect, as pure functions: two sides, one secret, one session id.

Three agreements go into it: identity with prekey, ephemeral with identity, ephemeral with prekey. There are no one-time
prekeys. The digest that joins them has no label and names no identity, which is why the session id does.
"""

from __future__ import annotations

from typing import Final

from kexkit import secp256k1
from kexkit.api import Device, Identity
from kexkit.errors import Malformed
from kexkit.identity import tagged_digest

from kexkit_x3dh.limits import INSTALLATION_BYTES

_SESSION_LABEL: Final = b"kexkit/x3dh/1 sid"


def initiator_secret(identity: Identity, ephemeral: bytes, *, peer: bytes, prekey: bytes) -> bytes:
    """Ours: `identity` and the secret `ephemeral`. Theirs: the public `peer` and `prekey`."""
    return _secret(
        identity.agree(prekey),
        secp256k1.agree(ephemeral, peer),
        secp256k1.agree(ephemeral, prekey),
    )


def responder_secret(identity: Identity, prekey: bytes, *, peer: bytes, ephemeral: bytes) -> bytes:
    """Ours: `identity` and the secret `prekey`. Theirs: the public `peer` and `ephemeral`."""
    return _secret(
        secp256k1.agree(prekey, peer),
        identity.agree(ephemeral),
        secp256k1.agree(prekey, ephemeral),
    )


def _secret(identity_prekey: bytes, ephemeral_identity: bytes, ephemeral_prekey: bytes) -> bytes:
    return secp256k1.keccak256(identity_prekey + ephemeral_identity + ephemeral_prekey)


def session_id(initiator: Device, responder: Device, *, ephemeral: bytes, prekey: bytes) -> bytes:
    """Who began with whom, and with which keys. By x coordinate: a point and its negative agree on the same secret."""
    return tagged_digest(
        _SESSION_LABEL,
        initiator.identity
        + _prefixed(initiator.installation)
        + responder.identity
        + _prefixed(responder.installation)
        + ephemeral[1:]
        + prekey[1:],
    )


def installation_bytes(installation: str) -> bytes:
    """The id as bytes that fit behind a length of one byte."""
    try:
        raw = installation.encode()
    except UnicodeEncodeError:
        raise Malformed("An installation id is not valid Unicode.") from None
    if not 1 <= len(raw) <= INSTALLATION_BYTES:
        raise Malformed(f"An installation id has not 1 to {INSTALLATION_BYTES} bytes.")
    return raw


def _prefixed(installation: str) -> bytes:
    raw = installation_bytes(installation)
    return bytes((len(raw),)) + raw
