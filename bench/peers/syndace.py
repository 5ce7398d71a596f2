"""DoubleRatchet and X3DH by Syndace, as its documentation recommends them: AES-256-CBC with HMAC, Curve25519."""

from __future__ import annotations

from typing import Final

import doubleratchet
import x3dh
from doubleratchet.recommended import (
    HashFunction,
    aead_aes_hmac,
    diffie_hellman_ratchet_curve25519,
    kdf_hkdf,
    kdf_separate_hmacs,
)

from bench.conversation import Library, at_once

SKIPPED: Final = 1000
AD: Final = b"associated data"


class Agreement(x3dh.BaseState):
    @staticmethod
    def _encode_public_key(key_format: x3dh.IdentityKeyFormat, pub: bytes) -> bytes:
        return pub


class RootKdf(kdf_hkdf.KDF):
    @staticmethod
    def _get_hash_function() -> HashFunction:
        return HashFunction.SHA_256

    @staticmethod
    def _get_info() -> bytes:
        return b"bench root"


class ChainKdf(kdf_separate_hmacs.KDF):
    @staticmethod
    def _get_hash_function() -> HashFunction:
        return HashFunction.SHA_256


class Aead(aead_aes_hmac.AEAD):
    @staticmethod
    def _get_hash_function() -> HashFunction:
        return HashFunction.SHA_256

    @staticmethod
    def _get_info() -> bytes:
        return b"bench message"


class Ratchet(doubleratchet.DoubleRatchet):
    @staticmethod
    def _build_associated_data(associated_data: bytes, header: doubleratchet.Header) -> bytes:
        numbers = (
            header.sending_chain_length.to_bytes(8, "big"),
            header.previous_sending_chain_length.to_bytes(8, "big"),
        )
        return associated_data + header.ratchet_pub + b"".join(numbers)


class Talker:
    def __init__(self, ratchet: Ratchet) -> None:
        self._ratchet = ratchet

    def seal(self, body: bytes) -> doubleratchet.EncryptedMessage:
        return at_once(self._ratchet.encrypt_message(body, AD))

    def open(self, sealed: doubleratchet.EncryptedMessage) -> bytes:
        return at_once(self._ratchet.decrypt_message(sealed, AD))

    def state(self) -> bytes:
        return self._ratchet.model.model_dump_json().encode()


class Syndace:
    name = "syndace"

    def __init__(self) -> None:
        curve, digest = x3dh.IdentityKeyFormat.CURVE_25519, x3dh.HashFunction.SHA_256
        self._alice = Agreement.create(curve, digest, b"bench")
        self._bob = Agreement.create(curve, digest, b"bench")

    def meet(self, body: bytes) -> tuple[Talker, Talker]:
        """With one one-time key, made here: X3DH's fourth agreement, as its users have it."""
        bob = self._bob
        bob.generate_pre_keys(1)
        secret, _, header = at_once(self._alice.get_shared_secret_active(bob.bundle))
        alice_ratchet, sealed = at_once(
            Ratchet.encrypt_initial_message(
                diffie_hellman_ratchet_class=diffie_hellman_ratchet_curve25519.DiffieHellmanRatchet,
                root_chain_kdf=RootKdf,
                message_chain_kdf=ChainKdf,
                message_chain_constant=b"\x01\x02",
                dos_protection_threshold=SKIPPED,
                max_num_skipped_message_keys=SKIPPED,
                aead=Aead,
                shared_secret=secret,
                recipient_ratchet_pub=header.signed_pre_key,
                message=body,
                associated_data=AD,
            )
        )
        secret, _, prekey = at_once(bob.get_shared_secret_passive(header))
        bob_ratchet, opened = at_once(
            Ratchet.decrypt_initial_message(
                diffie_hellman_ratchet_class=diffie_hellman_ratchet_curve25519.DiffieHellmanRatchet,
                root_chain_kdf=RootKdf,
                message_chain_kdf=ChainKdf,
                message_chain_constant=b"\x01\x02",
                dos_protection_threshold=SKIPPED,
                max_num_skipped_message_keys=SKIPPED,
                aead=Aead,
                shared_secret=secret,
                own_ratchet_priv=prekey.priv,
                message=sealed,
                associated_data=AD,
            )
        )
        assert header.pre_key is not None
        bob.delete_pre_key(header.pre_key)
        assert opened == body
        return Talker(alice_ratchet), Talker(bob_ratchet)


def make() -> Library:
    return Syndace()
