"""An identity key in memory. A vendor may bring another that satisfies `kexkit.api.Identity`."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256
from typing import NoReturn

from kexkit import secp256k1


def tagged_digest(label: bytes, material: bytes) -> bytes:
    """T(label, x) = SHA-256(SHA-256(label) || SHA-256(label) || x): no input in common with what Status signs."""
    tag = sha256(label).digest()
    return sha256(tag + tag + material).digest()


class SoftwareIdentity:
    """A secp256k1 identity whose secret lives in this process. It has no useful repr and refuses to be pickled."""

    __slots__ = ("_public", "_secret")

    def __init__(self, secret: bytes) -> None:
        self._public = secp256k1.public_of(secret)
        self._secret = secret

    @classmethod
    def generate(cls, rng: Callable[[int], bytes]) -> SoftwareIdentity:
        return cls(secp256k1.generate_secret(rng))

    @property
    def public(self) -> bytes:
        return self._public

    def sign(self, label: bytes, material: bytes) -> bytes:
        return secp256k1.sign(self._secret, tagged_digest(label, material))

    def sign_status(self, material: bytes) -> bytes:
        return secp256k1.sign_recoverable(self._secret, secp256k1.keccak256(material))

    def agree(self, public: bytes) -> bytes:
        return secp256k1.agree(self._secret, public)

    def expose_secret(self) -> bytes:
        """For storing it, once, where secrets are kept."""
        return self._secret

    def __repr__(self) -> str:
        return f"<SoftwareIdentity {self._public.hex()[:10]}…>"

    def __reduce__(self) -> NoReturn:
        raise TypeError("an identity is not pickled; store expose_secret() where secrets are kept")
