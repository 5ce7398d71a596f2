"""The QR code of a pairing (43): five fields in base64url, padded, between colons, as all implementations write it."""

from __future__ import annotations

from base64 import b64decode, urlsafe_b64encode
from typing import Final

from attrs import frozen
from kexkit.errors import InvalidInput, Limit, Malformed

from kexkit_noise import limits
from kexkit_noise.keys import KEY_BYTES, public_key

_FIELDS: Final = 5
COMMITMENT_BYTES: Final = 32


@frozen
class QrCode:
    """What the responder shows. The first message's nametag is not in it; it is handed over beside it."""

    application: str
    version: str
    shard: str
    ephemeral: bytes
    commitment: bytes

    @property
    def text(self) -> str:
        written = ":".join(map(_written, self._raw()))
        if len(written) > limits.QR_CHARACTERS:
            raise InvalidInput(f"A QR code for pairing has at most {limits.QR_CHARACTERS} characters.")
        return written

    @property
    def prologue(self) -> bytes:
        return self.text.encode()

    def _raw(self) -> tuple[bytes, ...]:
        return self.application.encode(), self.version.encode(), self.shard.encode(), self.ephemeral, self.commitment


def read(text: str) -> QrCode:
    """Exactly what `text` gives again: both sides hash the code, so a second spelling would only fail later."""
    if len(text) > limits.QR_CHARACTERS:
        raise Limit(f"A QR code for pairing has at most {limits.QR_CHARACTERS} characters.")
    parts = text.split(":")
    if len(parts) != _FIELDS:
        raise Malformed("This is no QR code for pairing.")
    application, version, shard, ephemeral, commitment = map(_decoded, parts)
    if len(ephemeral) != KEY_BYTES or len(commitment) != COMMITMENT_BYTES:
        raise Malformed("A key or a commitment in a QR code has the wrong length.")
    public_key(ephemeral)
    try:
        return QrCode(application.decode(), version.decode(), shard.decode(), ephemeral, commitment)
    except UnicodeDecodeError:
        raise Malformed("A name in a QR code is no text.") from None


def _written(raw: bytes) -> str:
    return urlsafe_b64encode(raw).decode("ascii")


def _decoded(part: str) -> bytes:
    try:
        raw = b64decode(part, altchars=b"-_", validate=True)
    except ValueError:
        raw = None
    if raw is None or _written(raw) != part:
        raise Malformed("A field of a QR code is not padded base64url.")
    return raw
