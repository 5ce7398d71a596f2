"""What Waku derives from a handshake's transcript: nametags, session ids, topics, the code that people compare.

All of it comes from h, which is public in every pattern but XXpsk0: nobody may rely on these values being secret.
"""

from __future__ import annotations

from hashlib import sha256
from typing import Final

from attrs import field, frozen
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from kexkit.api import Unpicklable

NAMETAG_BYTES: Final = 16
_CODE_BYTES: Final = 8
_CODE_DIGITS: Final = 8


@frozen
class NametagSecrets(Unpicklable):
    """One for each direction, in the reverse order of the transport keys. The n-th nametag is 16 bytes of
    SHA-256(secret || n), and the responder's secret is at once the session id of specification 37."""

    responder_to_initiator: bytes = field(repr=False)
    initiator_to_responder: bytes = field(repr=False)


def derive(salt: bytes, length: int, info: bytes = b"", secret: bytes = b"") -> bytes:
    """RFC 5869. Waku's `HKDF(h)` is this with h as the salt and nothing else."""
    return HKDF(SHA256(), length, salt, info).derive(secret)


def message_nametag(h: bytes) -> bytes:
    """Of the next handshake message, from h after the last one."""
    return derive(h, NAMETAG_BYTES)


def nametag_secrets(h: bytes) -> NametagSecrets:
    both = derive(h, 64)
    return NametagSecrets(responder_to_initiator=both[:32], initiator_to_responder=both[32:])


def termination_marker(session: bytes) -> bytes:
    """Hash(session-id): what says that a session has ended. Sealed only; in clear anybody could say it."""
    return sha256(session).digest()


def topic_id(session: bytes) -> bytes:
    """ct-id = Hash(Hash(session-id))."""
    return sha256(termination_marker(session)).digest()


def session_topic(application: str, version: str, name: str) -> str:
    """Specification 37's form."""
    return f"/{application}/{version}/wakunoise/1/sessions/{name}/proto"


def pairing_topic(application: str, version: str, shard: str) -> str:
    """Specification 43's form, which npm's, go's and nim's implementations use."""
    return f"/{application}/{version}/wakunoise/1/sessions_shard-{shard}/proto"


def auth_code(h: bytes) -> str:
    """Eight digits for two people to compare, from h after the first pairing message: js's form."""
    return f"{int.from_bytes(derive(h, _CODE_BYTES), 'big') % 10**_CODE_DIGITS:0{_CODE_DIGITS}}"


def commitment(static_public: bytes, randomness: bytes) -> bytes:
    return sha256(static_public + randomness).digest()
