"""The derivations written out here are the standards' own."""

from __future__ import annotations

import hmac
from hashlib import sha256

import pytest
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from hypothesis import given, settings
from hypothesis import strategies as st
from kexkit_x3dh import chains

# RFC 4231, section 4: key, data, HMAC-SHA-256 (case 5 is truncated there)
RFC_4231 = [
    (b"\x0b" * 20, b"Hi There", "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"),
    (b"Jefe", b"what do ya want for nothing?", "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"),
    (b"\xaa" * 20, b"\xdd" * 50, "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe"),
    (bytes(range(1, 26)), b"\xcd" * 50, "82558a389a443c0ea4cc819899f2083a85f0faa3e578f8077a2e3ff46729665b"),
    (b"\x0c" * 20, b"Test With Truncation", "a3b6167473100ee06e0c796c2955552b"),
    (
        b"\xaa" * 131,
        b"Test Using Larger Than Block-Size Key - Hash Key First",
        "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54",
    ),
    (
        b"\xaa" * 131,
        b"This is a test using a larger than block-size key and a larger than block-size data. "
        b"The key needs to be hashed before being used by the HMAC algorithm.",
        "9b09ffa71b942fcb27635fbcd5b0e944bfdc63644f0713938a7f51535c3a35e2",
    ),
]

# RFC 5869, appendix A, the cases with SHA-256: salt, input, info, the start of the output
RFC_5869 = [
    (
        bytes(range(13)),
        b"\x0b" * 22,
        bytes(range(0xF0, 0xFA)),
        "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865",
    ),
    (
        bytes(range(0x60, 0xB0)),
        bytes(range(0x50)),
        bytes(range(0xB0, 0x100)),
        "b11e398dc80327a1c8e7f78c596a49344f012eda2d4efad8a050cc4c19afa97c59045a99cac7827271cb41c65e590e09",
    ),
    (b"", b"\x0b" * 22, b"", "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8"),
]


def as_hmac_key(key: bytes) -> bytes:
    """HMAC fills a key with zeros, and hashes one that is longer than a block: here to the 32 bytes that ours have."""
    return (sha256(key).digest() if len(key) > 64 else key).ljust(32, b"\0")


@pytest.mark.parametrize(("key", "data", "expected"), RFC_4231)
def test_hmac_is_that_of_rfc_4231(key: bytes, data: bytes, expected: str) -> None:
    assert chains.hmac_sha256(as_hmac_key(key), data).hex().startswith(expected)


@pytest.mark.parametrize(("salt", "secret", "info", "expected"), RFC_5869)
def test_hkdf_is_that_of_rfc_5869(salt: bytes, secret: bytes, info: bytes, expected: str) -> None:
    assert b"".join(chains.hkdf_64(as_hmac_key(salt), secret, info)).hex().startswith(expected)


keys = st.binary(min_size=32, max_size=32)


@given(keys, st.binary(max_size=200))
@settings(max_examples=50, derandomize=True)
def test_hmac_is_the_standard_librarys(key: bytes, data: bytes) -> None:
    assert chains.hmac_sha256(key, data) == hmac.digest(key, data, "sha256")


@given(keys, keys)
@settings(max_examples=50, derandomize=True)
def test_what_status_derives_starts_with_what_is_derived_here(one: bytes, other: bytes) -> None:
    """Status takes 96 bytes for a root step and 80 for a message; the rest is a header key and a vector."""
    root = HKDF(SHA256(), 96, one, b"rsZUpEuXUqqwXBvSy3EcievAh4cMj6QL").derive(other)
    assert b"".join(chains.root_step(one, other)) == root[:64]
    body = HKDF(SHA256(), 80, bytes(32), b"pcwSByyx2CRdryCffXJwy7xgVZWtW5Sh").derive(one)
    assert b"".join(chains.body_keys(one)) == body[:64]


@given(keys, st.integers(0, 20))
@settings(max_examples=20, derandomize=True)
def test_walking_a_chain_is_stepping_it(chain: bytes, steps: int) -> None:
    passed, reached = chains.walk(chain, steps)
    assert len(passed) == steps
    for at in passed:
        assert at == chain
        chain, key = chains.chain_step(chain)
        assert key == chains.message_key(at)
    assert reached == chain
