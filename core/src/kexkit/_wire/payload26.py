"""The transport payload of 26/WAKU2-PAYLOAD, version 1, as Status uses it.

    frame      = flags (1) || length (1 to 3, little endian) || data || padding || [signature 65]
    symmetric  = AES-256-GCM(key, nonce, frame) || nonce 12
    asymmetric = ephemeral public 65 || iv 16 || AES-128-CTR(frame) || HMAC-SHA-256(iv || ciphertext)

The signature is over everything before it and identifies the sender by recovery: whoever relies on the signer compares
it with whom they expect.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable
from hashlib import sha256
from typing import Final

from attrs import field
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from kexkit import limits, secp256k1
from kexkit.api import Identity, Unpicklable, value
from kexkit.errors import Forged, InvalidInput, Limit, Malformed

_SIGNED: Final = 0b100
_LENGTH_SIZE: Final = 0b11
_KNOWN_FLAGS: Final = _LENGTH_SIZE | _SIGNED
_SIGNATURE: Final = 65
_BLOCK: Final = 256  # frames are padded to a multiple of it
_NONCE: Final = 12
_TAG: Final = 16
_POINT: Final = 65
_COORDINATE: Final = 32
_UNCOMPRESSED: Final = (
    b"\x04"  # how a point begins; of payloads under a shared key, whose cipher covers all, one in 256
)
_IV: Final = 16
_MAC: Final = 32
_NO_KEY: Final = bytes(32)


@value
class Opened(Unpicklable):
    """What a payload held. Without a signer nobody vouches for the data."""

    data: bytes = field(repr=False)
    signer: bytes | None
    """33 bytes, recovered from the signature"""


# --- the frame -------------------------------------------------------------------------------------------------------


def _length_size(size: int) -> int:
    """Bytes of the length field: as few as do, but never none."""
    return 1 if size < 0x100 else 2 if size < 0x10000 else 3


def padding_size(size: int, *, signed: bool) -> int:
    """1 to 256 bytes, so that the frame with its signature fills whole blocks."""
    total = 1 + _length_size(size) + size + (_SIGNATURE if signed else 0)
    return _BLOCK - total % _BLOCK


def encode_frame(data: bytes, padding: bytes, *, sign: Identity | None) -> bytes:
    size = len(data)
    if size > limits.PAYLOAD_BYTES:
        raise InvalidInput(f"A payload carries at most {limits.PAYLOAD_BYTES} bytes.")
    width = _length_size(size)
    flags = width | (_SIGNED if sign is not None else 0)
    frame = b"".join((bytes((flags,)), size.to_bytes(width, "little"), data, padding))
    return frame if sign is None else frame + sign.sign_status(frame)


def decode_frame(frame: bytes, *, allow_high_s: bool = False) -> Opened:
    """Padding may be anything. Flag bits without a meaning must be zero, which Status's readers do not demand and its
    writers always do: else a signature that a person made for a bundle would vouch for a frame, since a bundle's
    signed text begins with a letter or digit and is signed in the same way."""
    if not frame:
        raise Malformed("A payload frame is empty.")
    flags = frame[0]
    if flags & ~_KNOWN_FLAGS:
        raise Malformed("A payload frame has flags that are not known here.")
    end = len(frame)
    signer: bytes | None = None
    start = 1 + (flags & _LENGTH_SIZE)
    if flags & _SIGNED:
        end -= _SIGNATURE
    stop = start + int.from_bytes(frame[1:start], "little")
    if stop > end:  # also when the length field itself is cut off, since stop is never before start
        raise Malformed("A payload frame is shorter than it says.")
    if flags & _SIGNED:
        signer = secp256k1.recover(frame[end:], secp256k1.keccak256(frame[:end]), allow_high_s=allow_high_s)
    return Opened(frame[start:stop], signer)


def _padded_frame(data: bytes, sign: Identity | None, rng: Callable[[int], bytes]) -> bytes:
    return encode_frame(data, rng(padding_size(len(data), signed=sign is not None)), sign=sign)


def _sealed(payload: bytes) -> bytes:
    if len(payload) > limits.PAYLOAD_BYTES:
        raise InvalidInput(f"A sealed payload has at most {limits.PAYLOAD_BYTES} bytes.")
    return payload


def _bounded(payload: bytes, least: int) -> None:
    if len(payload) > limits.PAYLOAD_BYTES:
        raise Limit(f"A payload has more than {limits.PAYLOAD_BYTES} bytes.")
    if len(payload) < least:
        raise Malformed("A payload is too short.")


def invariant(payload: bytes) -> bytes:
    """All of a sealed payload that cannot be changed while it still opens. What is sealed to an identity key opens as
    well under the negative of its ephemeral key, which no MAC covers: of that point x alone counts."""
    return payload if payload[:1] != _UNCOMPRESSED else payload[: _POINT - _COORDINATE] + payload[_POINT:]


# --- under a shared key ----------------------------------------------------------------------------------------------


def _check_key(key: bytes) -> None:
    if len(key) != 32 or key == _NO_KEY:
        raise InvalidInput("A symmetric key has 32 bytes that are not all zero.")


def seal_frame_symmetric(frame: bytes, key: bytes, nonce: bytes) -> bytes:
    _check_key(key)
    return AESGCM(key).encrypt(nonce, frame, None) + nonce


def open_frame_symmetric(payload: bytes, key: bytes) -> bytes:
    _check_key(key)
    _bounded(payload, _TAG + _NONCE)
    try:
        return AESGCM(key).decrypt(payload[-_NONCE:], payload[:-_NONCE], None)
    except InvalidTag:
        raise Forged("A payload does not open under this key.") from None


def seal_symmetric(data: bytes, key: bytes, *, sign: Identity | None, rng: Callable[[int], bytes]) -> bytes:
    """For everyone who holds the key. Draws the padding, then the nonce."""
    return _sealed(seal_frame_symmetric(_padded_frame(data, sign, rng), key, rng(_NONCE)))


def open_symmetric(payload: bytes, key: bytes, *, allow_high_s: bool = False) -> Opened:
    """`allow_high_s` is for reading recordings of other programs; nothing else passes it."""
    return decode_frame(open_frame_symmetric(payload, key), allow_high_s=allow_high_s)


# --- to one identity key (ECIES as in devp2p) ------------------------------------------------------------------------


def _ecies_keys(agreed: bytes) -> tuple[bytes, bytes]:
    """NIST SP 800-56 concatenation KDF, one round: the cipher's key and the MAC's."""
    derived = sha256(b"\x00\x00\x00\x01" + agreed).digest()
    return derived[:16], sha256(derived[16:]).digest()


def _ctr(key: bytes, iv: bytes, data: bytes) -> bytes:
    return Cipher(algorithms.AES(key), modes.CTR(iv)).encryptor().update(data)  # a keystream: the same both ways


def seal_frame_asymmetric(frame: bytes, recipient: bytes, ephemeral: bytes, iv: bytes) -> bytes:
    """With a given ephemeral secret, which must be fresh: it and the recipient's key decide the cipher's key."""
    key, mac_key = _ecies_keys(secp256k1.agree(ephemeral, recipient))
    body = iv + _ctr(key, iv, frame)
    public = secp256k1.uncompressed(secp256k1.public_of(ephemeral))
    return b"".join((public, body, hmac.digest(mac_key, body, "sha256")))


def open_frame_asymmetric(payload: bytes, identity: Identity) -> bytes:
    _bounded(payload, _POINT + _IV + _MAC)
    key, mac_key = _ecies_keys(identity.agree(secp256k1.compressed(payload[:_POINT])))
    body, mac = payload[_POINT:-_MAC], payload[-_MAC:]
    if not hmac.compare_digest(hmac.digest(mac_key, body, "sha256"), mac):
        raise Forged("A payload does not open under this identity.")
    return _ctr(key, body[:_IV], body[_IV:])


def seal_asymmetric(data: bytes, recipient: bytes, *, sign: Identity | None, rng: Callable[[int], bytes]) -> bytes:
    """For one person. Draws the padding, the ephemeral secret, then the iv."""
    frame = _padded_frame(data, sign, rng)
    return _sealed(seal_frame_asymmetric(frame, recipient, secp256k1.generate_secret(rng), rng(_IV)))


def open_asymmetric(payload: bytes, identity: Identity, *, allow_high_s: bool = False) -> Opened:
    """`allow_high_s` is for reading recordings of other programs; nothing else passes it."""
    return decode_frame(open_frame_asymmetric(payload, identity), allow_high_s=allow_high_s)
