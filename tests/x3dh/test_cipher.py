"""The short way into AES-256-CTR is the long one, or is not taken."""

from __future__ import annotations

import pytest
from cryptography.hazmat.bindings._rust import openssl
from cryptography.hazmat.primitives.ciphers.modes import CTR
from hypothesis import given, settings
from hypothesis import strategies as st
from kexkit_x3dh import cipher

# NIST SP 800-38A, F.5.5: CTR-AES256.Encrypt, key, initial counter, plaintext, ciphertext
SP_800_38A = (
    "603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4",
    "f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff",
    "6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51"
    "30c81c46a35ce411e5fbc1191a0a52eff69f2445df4f9b17ad2b417be66c3710",
    "601ec313775789a5b7a7f504bbf3d228f443e3ca4d62b59aca84e990cacaf5c5"
    "2b0930daa23de94ce87017ba2d84988ddfc9c58db67aada613c2dd08457941a6",
)


@pytest.mark.parametrize("way", [cipher._keystream, cipher._by_cipher])
def test_the_cipher_is_that_of_sp_800_38a(way: object) -> None:
    key, vector, plain, sealed = (bytes.fromhex(each) for each in SP_800_38A)
    assert callable(way)
    assert (way(key, vector, plain), way(key, vector, sealed)) == (sealed, plain)


@settings(derandomize=True, max_examples=50)
@given(st.binary(min_size=32, max_size=32), st.binary(min_size=16, max_size=16), st.binary(max_size=100))
def test_both_ways_give_the_same(key: bytes, vector: bytes, data: bytes) -> None:
    assert cipher._keystream(key, vector, data) == cipher._by_cipher(key, vector, data)


def test_the_short_way_is_taken_here() -> None:
    assert cipher._keystream is not cipher._by_cipher


def test_a_release_without_the_short_way_takes_the_long_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(openssl.ciphers, "create_encryption_ctx")
    assert cipher._quicker() is cipher._by_cipher


def test_a_release_that_keeps_the_vector_elsewhere_takes_the_long_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(CTR, "__init__", lambda mode, nonce: setattr(mode, "_elsewhere", nonce))
    monkeypatch.setattr(CTR, "nonce", property(lambda mode: mode._elsewhere))
    assert cipher._by_cipher(bytes(32), bytes(16), b"text")
    assert cipher._quicker() is cipher._by_cipher


def test_a_short_way_that_gives_something_else_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cipher, "_by_cipher", lambda key, vector, data: data + b"!")
    assert cipher._quicker() is cipher._by_cipher


@pytest.mark.parametrize("size", [0, 15, 17])
def test_a_vector_of_another_length_seals_nothing(size: int) -> None:
    """The short way would not see it."""
    with pytest.raises(ValueError, match="16 bytes"):
        cipher.seal(bytes(32), bytes(size), b"body", b"header")
