"""Noise handshakes as values that can be kept between any two messages. The only module that knows `noiseprotocol`.

The library runs the message patterns. It lacks, and this adds: the patterns XK1, K1K1 and Waku's pairing; Waku's
additional data (h || nametag) for payloads; a failed read that changes nothing; storage; safety between threads.
Each step builds the library's mutable state from an immutable `Handshake`, runs one message, and reads a new value off.
"""

from __future__ import annotations

import hmac
from copy import copy
from hashlib import sha256
from struct import Struct, error
from typing import Any, Final

from attrs import field, frozen
from cryptography.exceptions import InvalidTag
from kexkit.api import Unpicklable
from kexkit.errors import Forged, InvalidInput, Limit, Malformed, StoreCorrupt, StoreNewer
from noise.backends.default.backend import DefaultNoiseBackend
from noise.backends.default.hashes import SHA256Hash
from noise.backends.default.keypairs import KeyPair25519
from noise.constants import TOKEN_E, TOKEN_S
from noise.functions.patterns import Pattern as LibraryPattern
from noise.noise_protocol import NoiseProtocol
from noise.patterns import PatternXX
from noise.state import CipherState, HandshakeState, SymmetricState

from kexkit_noise import limits
from kexkit_noise.keys import KEY_BYTES, KeyPair, agree, key_pair, public_key, same_point
from kexkit_noise.patterns import FLAGS, HELD, MESSAGES, Pattern
from kexkit_noise.payload import pad, unpad

__all__ = ["KEY_BYTES", "Handshake", "KeyPair", "Keys", "Pattern", "Read", "Split", "Written", "agree", "key_pair"]

TAG_BYTES: Final = 16


@frozen
class Keys(Unpicklable):
    """What is known before the first message; which of it is needed depends on pattern and role."""

    static: KeyPair | None = None
    ephemeral: KeyPair | None = None
    """only of a pairing's responder, who shows it in the QR code"""
    remote_static: bytes | None = None
    remote_ephemeral: bytes | None = None
    psk: bytes | None = field(default=None, repr=False)


# --- what the library lacks ------------------------------------------------------------------------------------------


_LACKING: Final = (Pattern.XK1, Pattern.K1K1, Pattern.WAKU_PAIRING)


def _library_pattern(pattern: Pattern) -> type:
    class Ours(LibraryPattern):  # type: ignore[misc]  # the library is untyped
        def __init__(self) -> None:
            super().__init__()
            self.pre_messages = list(map(list, pattern.pre_messages))
            self.tokens = list(map(list, pattern.tokens))

    return Ours


class _Pair(KeyPair25519):  # type: ignore[misc]  # the library is untyped
    """A key pair or a public key as the library holds it; it would take any point."""

    @classmethod
    def from_public_bytes(cls, point: bytes) -> _Pair:
        return cls(None, public_key(point), point)

    @classmethod
    def of(cls, pair: KeyPair) -> _Pair:
        private = pair.loaded()
        return cls(private, private.public_key(), pair.public)


class _Sha256(SHA256Hash):  # type: ignore[misc]  # the library is untyped
    def hash(self, data: bytes) -> bytes:
        return sha256(data).digest()


def _hmac_sha256(key: bytes, data: bytes, algorithm: object) -> bytes:
    return hmac.digest(key, data, "sha256")


class _Backend(DefaultNoiseBackend):  # type: ignore[misc]  # the library is untyped
    """Knows our patterns alone; hashes through hashlib, which costs a third of the library's way."""

    def __init__(self) -> None:
        super().__init__()
        self.patterns = {"XX": PatternXX} | {each.short: _library_pattern(each) for each in _LACKING}
        self.hashes = {"SHA256": _Sha256}
        self.keypairs = {"25519": _Pair}
        self.hmac = _hmac_sha256

    def map_protocol_name_to_crypto(self, unpacked_name: Any) -> Any:
        """The library takes the leading capitals of a name for the pattern, and the rest of XK1 for modifiers."""
        whole = unpacked_name.pattern + "+".join(unpacked_name.pattern_modifiers)
        if whole in self.patterns:
            unpacked_name.pattern, unpacked_name.pattern_modifiers = whole, []
        return super().map_protocol_name_to_crypto(unpacked_name)


class _Symmetric(SymmetricState):  # type: ignore[misc]  # the library is untyped
    """Of the parts of a message that are encrypted, the statics come first and the payload last, with more data."""

    extra = b""
    statics = 0

    def _additional_data(self) -> bytes:
        if self.statics:
            self.statics -= 1
            return bytes(self.h)
        return bytes(self.h) + self.extra

    def encrypt_and_hash(self, plaintext: bytes) -> bytes:
        ciphertext: bytes = self.cipher_state.encrypt_with_ad(self._additional_data(), plaintext)
        self.mix_hash(ciphertext)
        return ciphertext

    def decrypt_and_hash(self, ciphertext: bytes) -> bytes:
        plaintext: bytes = self.cipher_state.decrypt_with_ad(self._additional_data(), ciphertext)
        self.mix_hash(ciphertext)
        return plaintext

    def split(self) -> None:
        """Left to the value, which keeps the chaining key until it is asked."""


_BACKEND: Final = _Backend()
_PROTOCOLS: Final[dict[Pattern, Any]] = {pattern: NoiseProtocol(pattern.noise_name, _BACKEND) for pattern in Pattern}


_FIELD_BYTES: Final = (KEY_BYTES, KEY_BYTES + TAG_BYTES)
_TRANSPORT_BYTES: Final = len(pad(bytes(limits.HANDSHAKE_PAYLOAD_BYTES))) + TAG_BYTES


# --- the handshake ---------------------------------------------------------------------------------------------------


@frozen
class Written(Unpicklable):
    state: Handshake = field(repr=False)
    fields: bytes
    """flags and keys, as in PayloadV2's handshake message"""
    transport: bytes = field(repr=False)


@frozen
class Read(Unpicklable):
    state: Handshake = field(repr=False)
    payload: bytes = field(repr=False)


@frozen
class Split(Unpicklable):
    """What a finished handshake leaves."""

    k1: bytes = field(repr=False)
    """seals from initiator to responder"""
    k2: bytes = field(repr=False)
    """and back"""
    h: bytes
    """the transcript, which is public"""


_FORMAT: Final = 1
_STORED: Final = Struct(">BBBB32s32sQ")
_PATTERNS: Final = {pattern.protocol_id: pattern for pattern in Pattern}


@frozen(eq=False)
class Handshake:
    """One side of a handshake between two messages. Every operation gives a new value and leaves this one as it was."""

    pattern: Pattern
    initiator: bool
    step: int
    """messages that are done"""
    h: bytes
    """the transcript, public (but in XXpsk0)"""
    ck: bytes = field(repr=False)
    """the chaining key, secret; split() still needs it when the handshake is complete"""
    _k: bytes = field(repr=False)
    _n: int = field(repr=False)
    _psk: bytes = field(repr=False)
    _s: Any = field(repr=False)
    _e: Any = field(repr=False)
    _rs: Any = field(repr=False)
    _re: Any = field(repr=False)

    @classmethod
    def begin(cls, pattern: Pattern, *, initiator: bool, prologue: bytes, keys: Keys) -> Handshake:
        _demand(pattern, initiator, keys)
        protocol = copy(_PROTOCOLS[pattern])
        pairs = {
            "s": keys.static and _Pair.of(keys.static),
            "e": keys.ephemeral and _Pair.of(keys.ephemeral),
            "rs": None if keys.remote_static is None else _Pair.from_public_bytes(keys.remote_static),
            "re": None if keys.remote_ephemeral is None else _Pair.from_public_bytes(keys.remote_ephemeral),
        }
        _refuse_reflection(**pairs)
        state = HandshakeState.initialize(protocol, initiator, prologue, **pairs)
        symmetric = state.symmetric_state
        return cls(pattern, initiator, 0, symmetric.h, symmetric.ck, b"", 0, keys.psk or b"", **pairs)

    @property
    def complete(self) -> bool:
        return self.step == MESSAGES

    @property
    def writes(self) -> bool:
        """The next message is ours."""
        return not self.complete and self.initiator == (self.step % 2 == 0)

    @property
    def remote_static(self) -> bytes | None:
        return _point(self._rs) or None

    @property
    def remote_ephemeral(self) -> bytes | None:
        return _point(self._re) or None

    @property
    def local_ephemeral_public(self) -> bytes | None:
        return _point(self._e) or None

    def write(self, payload: bytes, nametag: bytes, *, ephemeral: bytes = b"") -> Written:
        """The next message. `ephemeral`: 32 random bytes, used once, where the message brings a new key."""
        if len(payload) > limits.HANDSHAKE_PAYLOAD_BYTES:
            raise InvalidInput(f"A handshake message carries at most {limits.HANDSHAKE_PAYLOAD_BYTES} bytes.")
        state, message = self.write_unpadded(pad(payload), nametag, ephemeral=ephemeral)
        fields, start = [], 0
        for flag in FLAGS[self.pattern][self.step]:
            end = start + _FIELD_BYTES[flag]
            fields.append(bytes((flag,)) + message[start:end])
            start = end
        return Written(state, b"".join(fields), message[start:])

    def read(self, fields: bytes, transport: bytes, nametag: bytes) -> Read:
        """The peer's next message, or a refusal."""
        if len(transport) > _TRANSPORT_BYTES:
            raise Limit(f"A handshake message carries at most {limits.HANDSHAKE_PAYLOAD_BYTES} bytes.")
        if self.complete:
            raise Malformed("A handshake message came after the last one.")
        keys, start = [], 0
        for flag in FLAGS[self.pattern][self.step]:
            end = start + 1 + _FIELD_BYTES[flag]
            if fields[start : start + 1] != bytes((flag,)):
                raise Malformed("A key in a handshake message is missing, or is sealed where it should be clear.")
            keys.append(fields[start + 1 : end])
            start = end
        if start != len(fields):
            raise Malformed("The keys of a handshake message have the wrong length.")
        state, padded = self.read_unpadded(b"".join(keys) + transport, nametag)
        return Read(state, unpad(padded))

    def write_unpadded(self, payload: bytes, extra: bytes = b"", *, ephemeral: bytes = b"") -> tuple[Handshake, bytes]:
        """Noise as its own specification has it: without padding and flags, and with `extra` empty."""
        if not self.writes:
            raise InvalidInput("The next handshake message is not ours to write.")
        state = self._running(extra)
        if TOKEN_E in state.message_patterns[0]:
            state.e = _Pair.of(key_pair(ephemeral))
        message = bytearray()
        state.write_message(payload, message)
        return self._after(state), bytes(message)

    def read_unpadded(self, message: bytes, extra: bytes = b"") -> tuple[Handshake, bytes]:
        if self.writes or self.complete:
            raise Malformed("A handshake message came out of turn.")
        state = self._running(extra)
        payload = bytearray()
        try:
            state.read_message(message, payload)
        except InvalidTag:
            raise Forged("A payload does not authenticate.") from None
        except ValueError:
            raise Malformed("A key in a handshake message is a point of low order, or none.") from None
        _refuse_reflection(state.s, state.e, state.rs, state.re)
        return self._after(state), bytes(payload)

    def split(self) -> Split:
        if not self.complete:
            raise InvalidInput("The handshake is not complete.")
        k1, k2 = _PROTOCOLS[self.pattern].hkdf(self.ck, b"", 2)
        return Split(k1, k2, self.h)

    def encode(self) -> bytes:
        """All of it, secrets included: store it where secrets are kept."""
        held = {"k": self._k, "psk": self._psk, "s": _private(self._s), "rs": _point(self._rs), "re": _point(self._re)}
        held["e"] = _point(self._e) if self.complete else _private(self._e)
        head = _STORED.pack(_FORMAT, self.pattern.protocol_id, self.initiator, self.step, self.h, self.ck, self._n)
        return head + b"".join(held[name] for name in HELD[self.pattern, self.initiator, self.step])

    @classmethod
    def decode(cls, raw: bytes) -> Handshake:
        if raw[:1] > bytes((_FORMAT,)):
            raise StoreNewer("A stored handshake was written by a newer kexkit-noise.")
        try:
            form, number, initiator, step, h, ck, n = _STORED.unpack_from(raw)
            place = pattern, _, _ = _PATTERNS[number], bool(initiator), step
            names, parts = HELD[place], _thirty_twos(raw[_STORED.size :])
            if form != _FORMAT or initiator > 1:
                raise ValueError
            held = dict(zip(names, parts, strict=True))
            private = ("s",) if step == MESSAGES else ("s", "e")
            pairs = {name: _Pair.of(key_pair(held.pop(name))) for name in private if name in held}
            pairs |= {name: _Pair.from_public_bytes(held.pop(name)) for name in ("e", "rs", "re") if name in held}
        except (error, KeyError, ValueError, Malformed):
            raise StoreCorrupt("A stored handshake is damaged.") from None
        k, psk = held.get("k", b""), held.get("psk", b"")
        return cls(pattern, bool(initiator), step, h, ck, k, n, psk, *(pairs.get(x) for x in ("s", "e", "rs", "re")))

    def __reduce__(self) -> str:
        raise TypeError("a handshake is not pickled; store encode() where secrets are kept")

    def _running(self, extra: bytes) -> Any:
        """The library's state, as it would be had it run the messages so far."""
        protocol = copy(_PROTOCOLS[self.pattern])
        protocol.psks = [self._psk]
        symmetric = _Symmetric()
        symmetric.noise_protocol, symmetric.h, symmetric.ck = protocol, self.h, self.ck
        symmetric.cipher_state = protocol.cipher_state_handshake = CipherState(protocol)
        if self._k:
            symmetric.cipher_state.initialize_key(self._k)
            symmetric.cipher_state.n = self._n
        state = HandshakeState()
        state.noise_protocol, state.symmetric_state, state.initiator = protocol, symmetric, self.initiator
        state.s, state.e, state.rs, state.re = self._s, self._e, self._rs, self._re
        state.message_patterns = protocol.pattern.tokens[self.step :]
        symmetric.extra, symmetric.statics = extra, state.message_patterns[0].count(TOKEN_S)
        return state

    def _after(self, state: Any) -> Handshake:
        """What the library's state has become. What no later message needs is gone: psk, and at the end all keys."""
        symmetric, cipher, step = state.symmetric_state, state.symmetric_state.cipher_state, self.step + 1
        k, n, s, e = b"", 0, state.s, state.e
        if step == MESSAGES:
            s, e = None, e and _Pair(None, e.public, e.public_bytes)
        elif cipher.has_key():
            k, n = cipher.k, cipher.n
        return Handshake(
            self.pattern, self.initiator, step, symmetric.h, symmetric.ck, k, n, b"", s, e, state.rs, state.re
        )


def _demand(pattern: Pattern, initiator: bool, keys: Keys) -> None:
    """Exactly the keys that pattern and role need: a missing one would fail late, a needless one is a mistake."""
    theirs, ours = pattern.pre_messages[initiator], pattern.pre_messages[not initiator]
    needed = {
        "static": True,
        "ephemeral": TOKEN_E in ours,
        "remote_static": TOKEN_S in theirs,
        "remote_ephemeral": TOKEN_E in theirs,
        "psk": pattern is Pattern.XXPSK0,
    }
    wrong = [name for name, need in needed.items() if (getattr(keys, name) is not None) != need]
    if wrong or (keys.psk is not None and len(keys.psk) != KEY_BYTES):
        raise InvalidInput(
            f"{pattern.name} in this role needs exactly its own keys; wrong: {', '.join(wrong) or 'psk'}."
        )


def _refuse_reflection(s: Any, e: Any, rs: Any, re: Any) -> None:
    ours = [pair.public_bytes for pair in (s, e) if pair]
    if any(same_point(own, pair.public_bytes) for own in ours for pair in (rs, re) if pair):
        raise Forged("The peer uses a key of ours.")


def _private(pair: Any) -> bytes:
    raw: bytes = pair.private.private_bytes_raw() if pair else b""
    return raw


def _point(pair: Any) -> bytes:
    raw: bytes = pair.public_bytes if pair else b""
    return raw


def _thirty_twos(raw: bytes) -> list[bytes]:
    if len(raw) % KEY_BYTES:
        raise ValueError
    return [raw[i : i + KEY_BYTES] for i in range(0, len(raw), KEY_BYTES)]
