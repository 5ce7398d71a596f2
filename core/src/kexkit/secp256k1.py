"""The one curve of Status, on libsecp256k1: points, agreement, signatures. Public, so that plugins share it.

Points are 33 bytes compressed, secrets 32 bytes, digests 32 bytes. Signatures are low-s, made and taken. One is
checked *against the key that is expected*: recovery finds some key for about half of all random bytes.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any, Final

from coincurve._libsecp256k1 import ffi, lib
from coincurve.context import GLOBAL_CONTEXT
from Crypto.Hash import keccak as _keccak

from kexkit.errors import Forged, Malformed

ORDER: Final = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
_HALF: Final = (ORDER // 2).to_bytes(32, "big")
_ORDER: Final = ORDER.to_bytes(32, "big")
_ZERO: Final = bytes(32)
_ctx: Any = GLOBAL_CONTEXT.ctx


@ffi.callback("int(unsigned char *, const unsigned char *, const unsigned char *, void *)")  # type: ignore[untyped-decorator]
def _x_alone(output: Any, x: Any, y: Any, data: Any) -> int:
    """Status uses the bare x coordinate, where libsecp256k1 by default hashes the compressed point."""
    ffi.memmove(output, x, 32)
    return 1


def _keccak_by_object(data: bytes) -> bytes:
    return _keccak.new(data=data, digest_bits=256).digest()


def _quicker_keccak() -> Callable[[bytes], bytes]:
    """The same code of pycryptodome's, in one crossing instead of four: each message is hashed thrice at either end.

    That crossing is pycryptodome's own affair, so it is used only where it is found, and gives what the other gives.
    """
    try:
        from Crypto.Util._raw_api import ffi as theirs

        one_shot, digest_type = _keccak._raw_keccak_lib.keccak_oneshot, theirs.typeof("uint8_t[32]")
        new, view = theirs.new, theirs.buffer

        def at_once(data: bytes) -> bytes:
            out = new(digest_type)
            if one_shot(data, len(data), out, 32, 64, 24, 1):  # capacity, rounds, and the padding that is not SHA-3's
                raise ValueError("Keccak-256 failed")
            return bytes(view(out))

        if all(at_once(text) == _keccak_by_object(text) for text in (b"", b"kexkit" * 50)):
            return at_once
    except (ImportError, AttributeError, TypeError, ValueError):
        pass
    return _keccak_by_object


_keccak256: Final = _quicker_keccak()


def keccak256(data: bytes) -> bytes:
    """Ethereum's Keccak-256, which is not SHA3-256."""
    return _keccak256(data)


def is_secret(secret: bytes) -> bool:
    return len(secret) == 32 and _ZERO < secret < _ORDER


def generate_secret(rng: Callable[[int], bytes]) -> bytes:
    """A uniform scalar; a draw outside the range (probability 2**-128) is drawn again."""
    for _ in range(8):
        secret = rng(32)
        if is_secret(secret):
            return secret
    raise ValueError("the randomness source yields no valid secret")


@lru_cache(maxsize=1024)  # of points: the same few keys are used again and again, and none of them is secret
def _parse(public: bytes) -> Any:
    if len(public) != 33 or public[0] not in (2, 3):
        raise Malformed("A public key is not 33 compressed bytes.")
    point = ffi.new("secp256k1_pubkey *")
    if not lib.secp256k1_ec_pubkey_parse(_ctx, point, public, 33):
        raise Malformed("A public key is not on the curve.")
    return point


def _compressed(point: Any) -> bytes:
    out = ffi.new("unsigned char [33]")
    size = ffi.new("size_t *", 33)
    lib.secp256k1_ec_pubkey_serialize(_ctx, out, size, point, lib.SECP256K1_EC_COMPRESSED)
    return bytes(ffi.buffer(out, 33))


def check_public(public: bytes) -> None:
    """Raise Malformed unless these are 33 bytes of a point on the curve."""
    _parse(public)


def public_of(secret: bytes) -> bytes:
    point = ffi.new("secp256k1_pubkey *")
    if len(secret) != 32 or not lib.secp256k1_ec_pubkey_create(_ctx, point, secret):
        raise ValueError("not a valid secret")
    return _compressed(point)


@lru_cache(maxsize=1024)  # as above
def uncompressed(public: bytes) -> bytes:
    """65 bytes, 04 || x || y."""
    out = ffi.new("unsigned char [65]")
    size = ffi.new("size_t *", 65)
    lib.secp256k1_ec_pubkey_serialize(_ctx, out, size, _parse(public), lib.SECP256K1_EC_UNCOMPRESSED)
    return bytes(ffi.buffer(out, 65))


def compressed(public: bytes) -> bytes:
    """From 65 uncompressed bytes to 33."""
    if len(public) != 65 or public[0] != 4:
        raise Malformed("A public key is not 65 uncompressed bytes.")
    point = ffi.new("secp256k1_pubkey *")
    if not lib.secp256k1_ec_pubkey_parse(_ctx, point, public, 65):
        raise Malformed("A public key is not on the curve.")
    return _compressed(point)


def agree(secret: bytes, public: bytes) -> bytes:
    """The x coordinate of secret * public, in constant time; Malformed for a bad point."""
    if not is_secret(secret):
        raise ValueError("not a valid secret")
    out = ffi.new("unsigned char [32]")
    try:
        point = _parse(public)
        agreed = lib.secp256k1_ecdh(_ctx, out, point, secret, _x_alone, ffi.NULL)
    except Malformed:
        del secret  # a peer chooses the point, so a peer causes this error: its traceback's locals hold no key
        raise
    if not agreed:
        del secret
        raise Malformed("The agreement failed.")
    return bytes(ffi.buffer(out, 32))


def sign_recoverable(secret: bytes, digest: bytes) -> bytes:
    """65 bytes, r || s || v with v 0 or 1 in practice, RFC 6979, low s."""
    if len(digest) != 32 or not is_secret(secret):
        raise ValueError("a 32-byte digest and a valid secret are needed")
    signature = ffi.new("secp256k1_ecdsa_recoverable_signature *")
    lib.secp256k1_ecdsa_sign_recoverable(_ctx, signature, digest, secret, ffi.NULL, ffi.NULL)
    out = ffi.new("unsigned char [64]")
    v = ffi.new("int *")
    lib.secp256k1_ecdsa_recoverable_signature_serialize_compact(_ctx, out, v, signature)
    return bytes(ffi.buffer(out, 64)) + bytes((v[0],))


def sign(secret: bytes, digest: bytes) -> bytes:
    """64 bytes, r || s, RFC 6979, low s."""
    return sign_recoverable(secret, digest)[:64]


def recover(signature: bytes, digest: bytes, *, allow_high_s: bool = False) -> bytes:
    """The 33-byte key that made this 65-byte signature, or Forged. It identifies; compare it with whom you expect.

    `allow_high_s` is for reading recordings of other programs; nothing else passes it.
    """
    if len(digest) != 32:
        raise ValueError("a 32-byte digest is needed")
    if len(signature) != 65 or signature[64] > 1:
        raise Forged("A signature is not 65 bytes ending in 0 or 1.")
    if not allow_high_s and signature[32:64] > _HALF:
        raise Forged("A signature has a high s.")
    parsed = ffi.new("secp256k1_ecdsa_recoverable_signature *")
    if not lib.secp256k1_ecdsa_recoverable_signature_parse_compact(_ctx, parsed, signature, signature[64]):
        raise Forged("A signature is out of range.")
    point = ffi.new("secp256k1_pubkey *")
    if not lib.secp256k1_ecdsa_recover(_ctx, point, parsed, digest):
        raise Forged("A signature fits no key.")
    return _compressed(point)


def verify(signature: bytes, digest: bytes, public: bytes) -> None:
    """Raise Forged unless this 64-byte low-s signature over the digest is by `public`."""
    if len(digest) != 32:
        raise ValueError("a 32-byte digest is needed")
    if len(signature) != 64:
        raise Forged("A signature is not 64 bytes.")
    parsed = ffi.new("secp256k1_ecdsa_signature *")
    if not lib.secp256k1_ecdsa_signature_parse_compact(_ctx, parsed, signature):
        raise Forged("A signature is out of range.")
    if not lib.secp256k1_ecdsa_verify(_ctx, parsed, digest, _parse(public)):  # refuses high s by itself
        raise Forged("A signature does not verify.")
