"""Wycheproof, against the primitives in the way kexkit uses them."""

from __future__ import annotations

import hmac
from collections.abc import Callable
from hashlib import sha256
from typing import Any, Final

import pytest
from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey, MLKEM768PublicKey
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from kexkit import secp256k1
from kexkit.errors import Forged, Malformed

# Keys in the ECDH file are whole SubjectPublicKeyInfo structures; the only one that names our curve starts like this,
# for an uncompressed and a compressed point. Whatever does not is no key of ours.
_SPKI: Final = "3056301006072a8648ce3d020106052b8104000a034200"
_SPKI_COMPRESSED: Final = "3036301006072a8648ce3d020106052b8104000a032200"


def _bytes(case: dict[str, Any], *names: str) -> tuple[bytes, ...]:
    return tuple(bytes.fromhex(case[name]) for name in names)


def _point(public: str) -> bytes:
    if public.startswith(_SPKI_COMPRESSED):
        return bytes.fromhex(public.removeprefix(_SPKI_COMPRESSED))
    if public.startswith(_SPKI):
        return secp256k1.compressed(bytes.fromhex(public.removeprefix(_SPKI)))
    raise Malformed("not a point of this curve")


def ecdh_secp256k1(case: dict[str, Any], document: dict[str, Any]) -> None:
    secret = int(case["private"], 16).to_bytes(32, "big")
    if case["result"] == "invalid":
        with pytest.raises(Malformed):
            secp256k1.agree(secret, _point(case["public"]))
        return
    try:
        agreed = secp256k1.agree(secret, _point(case["public"]))
    except Malformed:
        assert case["result"] == "acceptable"
    else:
        assert agreed.hex() == case["shared"]


def _verify(case: dict[str, Any], signature: bytes) -> None:
    public = secp256k1.compressed(bytes.fromhex(case["group"]["publicKey"]["uncompressed"]))
    secp256k1.verify(signature, sha256(bytes.fromhex(case["msg"])).digest(), public)


def ecdsa_der(case: dict[str, Any], document: dict[str, Any]) -> None:
    """The file is Bitcoin's, so high s is invalid in it as it is with us."""
    try:
        r, s = decode_dss_signature(bytes.fromhex(case["sig"]))
        signature = r.to_bytes(32, "big") + s.to_bytes(32, "big")
    except (ValueError, OverflowError):
        assert case["result"] == "invalid"
        return
    if case["result"] == "valid":
        _verify(case, signature)
        return
    with pytest.raises(Forged):
        _verify(case, signature)


def ecdsa_p1363(case: dict[str, Any], document: dict[str, Any]) -> None:
    """The file allows high s; we do not."""
    signature = bytes.fromhex(case["sig"])
    high = int.from_bytes(signature[32:], "big") > secp256k1.ORDER // 2
    if case["result"] == "valid" and not high:
        _verify(case, signature)
        return
    with pytest.raises(Forged):
        _verify(case, signature)


def _aead(case: dict[str, Any], cipher: Callable[[bytes], AESGCM | ChaCha20Poly1305]) -> None:
    key, iv, aad, msg, ct, tag = _bytes(case, "key", "iv", "aad", "msg", "ct", "tag")
    if len(iv) != 12:  # we use 12-byte nonces only; of others we ask that nothing wrong is ever said about them
        try:
            assert cipher(key).decrypt(iv, ct + tag, aad) == msg
        except (ValueError, InvalidTag):
            return
        assert case["result"] == "valid"
    elif case["result"] == "valid":
        assert cipher(key).encrypt(iv, msg, aad) == ct + tag
        assert cipher(key).decrypt(iv, ct + tag, aad) == msg
    else:
        with pytest.raises(InvalidTag):
            cipher(key).decrypt(iv, ct + tag, aad)


def aes_gcm(case: dict[str, Any], document: dict[str, Any]) -> None:
    _aead(case, AESGCM)


def chacha20_poly1305(case: dict[str, Any], document: dict[str, Any]) -> None:
    _aead(case, ChaCha20Poly1305)


def hkdf_sha256(case: dict[str, Any], document: dict[str, Any]) -> None:
    ikm, salt, info = _bytes(case, "ikm", "salt", "info")

    def derive() -> bytes:
        return HKDF(algorithm=SHA256(), length=case["size"], salt=salt, info=info).derive(ikm)

    if case["result"] == "valid":
        assert derive().hex() == case["okm"]
        return
    with pytest.raises(ValueError, match="larger"):
        derive()


def hmac_sha256(case: dict[str, Any], document: dict[str, Any]) -> None:
    key, msg, tag = _bytes(case, "key", "msg", "tag")
    made = hmac.digest(key, msg, "sha256")[: case["group"]["tagSize"] // 8]
    assert hmac.compare_digest(made, tag) == (case["result"] == "valid")


def x25519(case: dict[str, Any], document: dict[str, Any]) -> None:
    private, public, shared = _bytes(case, "private", "public", "shared")

    def exchange() -> bytes:
        return X25519PrivateKey.from_private_bytes(private).exchange(X25519PublicKey.from_public_bytes(public))

    if shared == bytes(32):  # a point of low order: the agreement would be known to everyone
        with pytest.raises(ValueError, match="shared key"):
            exchange()
        return
    assert exchange() == shared


def ed25519(case: dict[str, Any], document: dict[str, Any]) -> None:
    msg, signature = _bytes(case, "msg", "sig")
    public = Ed25519PublicKey.from_public_bytes(bytes.fromhex(case["group"]["publicKey"]["pk"]))
    if case["result"] == "valid":
        public.verify(signature, msg)
        return
    with pytest.raises(InvalidSignature):
        public.verify(signature, msg)


def mlkem_768_decapsulation(case: dict[str, Any], document: dict[str, Any]) -> None:
    seed, ciphertext = _bytes(case, "seed", "c")

    def decapsulate() -> bytes:
        return MLKEM768PrivateKey.from_seed_bytes(seed).decapsulate(ciphertext)

    if case["result"] != "valid":
        with pytest.raises(ValueError):  # noqa: PT011 - the library has one error for lengths
            decapsulate()
        return
    assert MLKEM768PrivateKey.from_seed_bytes(seed).public_key().public_bytes_raw().hex() == case["ek"]
    assert decapsulate().hex() == case["K"]


def mlkem_768_public_key(case: dict[str, Any], document: dict[str, Any]) -> None:
    """The library draws its own randomness, so of encapsulation only the check of the key can be replayed."""
    encoded = bytes.fromhex(case["ek"])
    if case["result"] != "valid":
        with pytest.raises(ValueError):  # noqa: PT011 - the library has one error for keys
            MLKEM768PublicKey.from_public_bytes(encoded)
        return
    assert MLKEM768PublicKey.from_public_bytes(encoded).public_bytes_raw() == encoded
