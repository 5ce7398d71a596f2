"""kexkit.secp256k1 against another implementation, and at its edges."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed, encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given, settings
from hypothesis import strategies as st
from kexkit import secp256k1
from kexkit.errors import Forged, Malformed

from tests.x3dh.support import OFF_CURVE, negated

secrets = st.integers(1, secp256k1.ORDER - 1).map(lambda number: number.to_bytes(32, "big"))
digests = st.binary(min_size=32, max_size=32)


def other(secret: bytes) -> ec.EllipticCurvePrivateKey:
    return ec.derive_private_key(int.from_bytes(secret, "big"), ec.SECP256K1())


@given(secrets, secrets)
@settings(max_examples=30, derandomize=True, deadline=None)
def test_points_and_agreements_are_those_of_openssl(one: bytes, two: bytes) -> None:
    public = other(two).public_key()
    compressed = public.public_bytes(Encoding.X962, PublicFormat.CompressedPoint)
    uncompressed = public.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    assert secp256k1.public_of(two) == compressed
    assert secp256k1.uncompressed(compressed) == uncompressed
    assert secp256k1.compressed(uncompressed) == compressed
    agreed = other(one).exchange(ec.ECDH(), public)
    assert secp256k1.agree(one, compressed) == agreed
    assert secp256k1.agree(one, negated(compressed)) == agreed
    assert secp256k1.agree(two, secp256k1.public_of(one)) == agreed


@given(secrets, digests)
@settings(max_examples=30, derandomize=True, deadline=None)
def test_signatures_are_low_s_and_verify_elsewhere_too(secret: bytes, digest: bytes) -> None:
    signature, public = secp256k1.sign_recoverable(secret, digest), secp256k1.public_of(secret)
    r, s = (int.from_bytes(signature[at : at + 32], "big") for at in (0, 32))
    assert s <= secp256k1.ORDER // 2
    other(secret).public_key().verify(encode_dss_signature(r, s), digest, ec.ECDSA(Prehashed(SHA256())))
    assert secp256k1.recover(signature, digest) == public
    assert secp256k1.sign(secret, digest) == signature[:64]
    secp256k1.verify(signature[:64], digest, public)
    high = signature[:32] + (secp256k1.ORDER - s).to_bytes(32, "big")
    with pytest.raises(Forged):
        secp256k1.verify(high, digest, public)
    twin = high + bytes((signature[64] ^ 1,))
    with pytest.raises(Forged):
        secp256k1.recover(twin, digest)
    assert secp256k1.recover(twin, digest, allow_high_s=True) == public


@pytest.mark.parametrize(
    "public",
    [b"", bytes(33), OFF_CURVE, b"\x02" * 32, b"\x02" + b"\xff" * 32, b"\x04" + bytes(64), b"\x05" + bytes(32)],
)
def test_what_is_no_point_is_refused_each_time(public: bytes) -> None:
    for _ in range(2):  # points are remembered, refusals are not
        with pytest.raises(Malformed):
            secp256k1.check_public(public)
        with pytest.raises(Malformed):
            secp256k1.agree(bytes(31) + b"\x01", public)


def test_a_secret_is_between_one_and_the_order() -> None:
    order = secp256k1.ORDER
    for number, fits in ((0, False), (1, True), (order - 1, True), (order, False), (2**256 - 1, False)):
        assert secp256k1.is_secret(number.to_bytes(32, "big")) is fits
    assert not secp256k1.is_secret(b"\x01")
    for wrong in (bytes(32), b"\x01", order.to_bytes(32, "big")):
        with pytest.raises(ValueError, match="valid"):
            secp256k1.public_of(wrong)
        with pytest.raises(ValueError, match="valid"):
            secp256k1.agree(wrong, secp256k1.public_of(bytes(31) + b"\x01"))


def test_a_draw_outside_the_range_is_drawn_again() -> None:
    draws = iter((bytes(32), b"\xff" * 32, bytes(31) + b"\x09"))
    assert secp256k1.generate_secret(lambda size: next(draws)) == bytes(31) + b"\x09"
    with pytest.raises(ValueError, match="randomness"):
        secp256k1.generate_secret(bytes)
