"""The double ratchet as status-go turns it, written from its behaviour: the lower half of the oracle.

It is eager: a new ratchet key is made as soon as one of the peer's arrives. It keeps the keys of texts that it has
opened. It derives the initialisation vector. Its limits on kept keys are left out.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable
from hashlib import sha256

from attrs import define, evolve, frozen
from coincurve import PrivateKey, PublicKey
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CTR
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

MAX_SKIP = 1000

NewKey = Callable[[], PrivateKey]
Kept = dict[tuple[bytes, int], bytes]
"""message keys by (ratchet key, n)"""


class StatusGoError(Exception):
    """status-go would have returned an error."""


def agree(secret: PrivateKey, public: bytes) -> bytes:
    try:
        return PublicKey(public).multiply(secret.secret).format()[1:]
    except ValueError:
        raise StatusGoError("invalid public key") from None


def hkdf(secret: bytes, salt: bytes, info: bytes, size: int) -> bytes:
    return HKDF(algorithm=SHA256(), length=size, salt=salt, info=info).derive(secret)


def chain_step(chain: bytes) -> tuple[bytes, bytes]:
    return hmac.digest(chain, b"\x0f", sha256), hmac.digest(chain, b"\x10", sha256)


def root_step(root: bytes, agreed: bytes) -> tuple[bytes, bytes]:
    made = hkdf(agreed, root, b"rsZUpEuXUqqwXBvSy3EcievAh4cMj6QL", 96)
    return made[:32], made[32:64]


def _body_keys(key: bytes) -> tuple[bytes, bytes, bytes]:
    made = hkdf(key, bytes(32), b"pcwSByyx2CRdryCffXJwy7xgVZWtW5Sh", 80)
    return made[:32], made[32:64], made[64:]


def encrypt(key: bytes, body: bytes, header: bytes) -> bytes:
    encryption, authentication, vector = _body_keys(key)
    sealed = vector + Cipher(AES(encryption), CTR(vector)).encryptor().update(body)
    return sealed + hmac.digest(authentication, header + sealed, sha256)


def decrypt(key: bytes, sealed: bytes, header: bytes) -> bytes:
    encryption, authentication, _ = _body_keys(key)
    covered, mac = sealed[:-32], sealed[-32:]
    if len(sealed) < 48 or hmac.digest(authentication, header + covered, sha256) != mac:
        raise StatusGoError("can't decrypt: invalid signature")
    return Cipher(AES(encryption), CTR(covered[:16])).decryptor().update(covered[16:])


@frozen
class Header:
    key: bytes
    n: int
    pn: int

    @property
    def covered(self) -> bytes:
        return self.n.to_bytes(4, "little") + self.pn.to_bytes(4, "little") + self.key


@define
class Ratchet:
    root: bytes
    sending: bytes
    receiving: bytes
    own: PrivateKey
    theirs: bytes = b""
    sent: int = 0
    received: int = 0
    previous: int = 0

    def seal(self, body: bytes) -> tuple[Header, bytes]:
        header = Header(self.own.public_key.format(), self.sent, self.previous)
        self.sending, key = chain_step(self.sending)
        self.sent += 1
        return header, encrypt(key, body, header.covered)

    def open(self, header: Header, sealed: bytes, kept: Kept, new_key: NewKey) -> bytes:
        """Works on copies, so that a failure leaves all as it was, but for the key that it drew."""
        place = (header.key, header.n)
        if place in kept:
            return decrypt(kept[place], sealed, header.covered)
        after, skipped = evolve(self), dict[tuple[bytes, int], bytes]()
        if header.key != after.theirs:
            after.skip_to(header.pn, skipped)
            after.turn(header.key, new_key)
        after.skip_to(header.n, skipped)
        after.receiving, key = chain_step(after.receiving)
        after.received += 1
        body = decrypt(key, sealed, header.covered)
        kept |= {**skipped, place: key}
        for name in ("root", "sending", "receiving", "own", "theirs", "sent", "received", "previous"):
            setattr(self, name, getattr(after, name))
        return body

    def skip_to(self, until: int, kept: Kept) -> None:
        if until < self.received or until > self.received + MAX_SKIP:
            raise StatusGoError("can't skip current chain message keys")
        while self.received < until:
            self.receiving, kept[self.theirs, self.received] = chain_step(self.receiving)
            self.received += 1

    def turn(self, theirs: bytes, new_key: NewKey) -> None:
        self.previous, self.sent, self.received, self.theirs = self.sent, 0, 0, theirs
        self.root, self.receiving = root_step(self.root, agree(self.own, theirs))
        self.own = new_key()
        self.root, self.sending = root_step(self.root, agree(self.own, theirs))


def begin(secret: bytes, prekey: bytes, new_key: NewKey) -> Ratchet:
    """The initiator's: root and sending chain are turned once, the receiving chain is the secret itself."""
    own = new_key()
    root, sending = root_step(secret, agree(own, prekey))
    return Ratchet(root, sending, secret, own, prekey)


def answer(secret: bytes, prekey: PrivateKey) -> Ratchet:
    """The responder's first ratchet key is its prekey."""
    return Ratchet(secret, secret, secret, prekey)
