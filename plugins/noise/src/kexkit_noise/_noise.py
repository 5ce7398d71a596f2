"""Noise handshakes as values that can be kept between any two messages. The only module that knows `noiseprotocol`.

The library runs the message patterns. It lacks, and this adds: the patterns XK1, K1K1 and Waku's pairing; Waku's
additional data (h || nametag) for payloads; a failed read that changes nothing; storage; safety between threads.
Each step builds the library's mutable state from an immutable `Handshake`, runs one message, and reads a new value off.
"""

from __future__ import annotations

import hmac
from copy import copy
from enum import Enum
from hashlib import sha256
from struct import Struct, error
from typing import Any, Final

from attrs import field, frozen
from cryptography.exceptions import InvalidTag
from kexkit.errors import Forged, InvalidInput, Limit, Malformed, StoreCorrupt, StoreNewer
from noise.backends.default.backend import DefaultNoiseBackend
from noise.backends.default.hashes import SHA256Hash
from noise.backends.default.keypairs import KeyPair25519
from noise.constants import TOKEN_E, TOKEN_EE, TOKEN_ES, TOKEN_S, TOKEN_SE, TOKEN_SS
from noise.functions.patterns import Pattern as LibraryPattern
from noise.noise_protocol import NoiseProtocol
from noise.patterns import PatternXX
from noise.state import CipherState, HandshakeState, SymmetricState

from kexkit_noise import limits
from kexkit_noise.payload import pad, unpad

KEY_BYTES: Final = 32
TAG_BYTES: Final = 16
_MESSAGES: Final = 3


class Pattern(Enum):
    """The five handshakes that Waku's specifications 35 and 43 have, by their Noise names and protocol ids."""

    XX = (b"XX", 12)
    XK1 = (b"XK1", 11)
    K1K1 = (b"K1K1", 10)
    XXPSK0 = (b"XXpsk0", 13)
    WAKU_PAIRING = (b"WakuPairing", 14)

    def __init__(self, name: bytes, protocol_id: int) -> None:
        self.noise_name: Final = b"Noise_%s_25519_ChaChaPoly_SHA256" % name
        self.protocol_id: Final = protocol_id
        self.messages: Final = _MESSAGES


# --- keys ------------------------------------------------------------------------------------------------------------

_PRIME: Final = 2**255 - 19
_LOW_ORDER: Final = frozenset(
    n.to_bytes(KEY_BYTES, "little")
    for n in (
        0,
        1,
        325606250916557431795983626356110631294008115727848805560023387167927233504,
        39382357235489614581723060781553021112529911719440698176882885853963445705823,
        _PRIME - 1,
        _PRIME,
        _PRIME + 1,
    )
)
"""The points whose agreement is zero whatever the other side's key: RFC 7748, 6.1, and their other encodings."""


def _masked(point: bytes) -> bytes:
    """X25519 ignores the highest bit, so two encodings may be one point."""
    return point[:-1] + bytes((point[-1] & 0x7F,))


def _same(one: bytes, other: bytes) -> bool:
    return _masked(one) == _masked(other)


class _Pair(KeyPair25519):  # type: ignore[misc]  # the library is untyped
    """The library would take any point, and find out at the agreement, which may be a message later."""

    @classmethod
    def from_public_bytes(cls, point: bytes) -> Any:
        if len(point) != KEY_BYTES:
            raise Malformed("An X25519 key has 32 bytes.")
        if _masked(point) in _LOW_ORDER:
            raise Malformed("An X25519 key is a point of low order: the secret would be known to everybody.")
        return super().from_public_bytes(point)


_public: Final = _Pair.from_public_bytes


@frozen
class KeyPair:
    """An X25519 key pair, raw."""

    private: bytes = field(repr=False)
    public: bytes
    _loaded: Any = field(default=None, repr=False, eq=False)

    def loaded(self) -> Any:
        """The library's pair. Loading costs as much as an agreement, so who made this pair may leave it here."""
        return self._loaded or _Pair.from_private_bytes(self.private)


def key_pair(private: bytes) -> KeyPair:
    if len(private) != KEY_BYTES:
        raise InvalidInput("An X25519 private key has 32 bytes.")
    loaded = _Pair.from_private_bytes(private)
    return KeyPair(private, loaded.public_bytes, loaded)


def agree(private: bytes, public: bytes) -> bytes:
    """X25519. Malformed if the point contributes nothing."""
    point = _public(public)
    secret: bytes = key_pair(private).loaded().private.exchange(point.public)
    return secret


@frozen
class Keys:
    """What is known before the first message; which of it is needed depends on pattern and role."""

    static: KeyPair | None = None
    ephemeral: KeyPair | None = None
    """only of a pairing's responder, who shows it in the QR code"""
    remote_static: bytes | None = None
    remote_ephemeral: bytes | None = None
    psk: bytes | None = field(default=None, repr=False)


# --- what the library lacks ------------------------------------------------------------------------------------------


class _Named(LibraryPattern):  # type: ignore[misc]  # the library is untyped
    """The library reads leading capitals as the pattern and the rest of the name as modifiers; here it is the name."""

    rest: str

    def apply_pattern_modifiers(self, modifiers: list[str]) -> None:
        if modifiers != [self.rest]:
            raise ValueError(f"{modifiers} where {self.rest!r} was expected")


class _XK1(_Named):
    rest = "1"

    def __init__(self) -> None:
        super().__init__()
        self.pre_messages = [[], [TOKEN_S]]
        self.tokens = [[TOKEN_E], [TOKEN_E, TOKEN_EE, TOKEN_ES], [TOKEN_S, TOKEN_SE]]


class _K1K1(_Named):
    rest = "1K1"

    def __init__(self) -> None:
        super().__init__()
        self.pre_messages = [[TOKEN_S], [TOKEN_S]]
        self.tokens = [[TOKEN_E], [TOKEN_E, TOKEN_EE, TOKEN_ES], [TOKEN_SE]]


class _WakuPairing(_Named):
    rest = "akuPairing"

    def __init__(self) -> None:
        super().__init__()
        self.pre_messages = [[], [TOKEN_E]]
        self.tokens = [[TOKEN_E, TOKEN_EE], [TOKEN_S, TOKEN_ES], [TOKEN_S, TOKEN_SE, TOKEN_SS]]


class _Sha256(SHA256Hash):  # type: ignore[misc]  # the library is untyped
    def hash(self, data: bytes) -> bytes:
        return sha256(data).digest()


def _hmac_sha256(key: bytes, data: bytes, algorithm: object) -> bytes:
    return hmac.digest(key, data, "sha256")


class _Backend(DefaultNoiseBackend):  # type: ignore[misc]  # the library is untyped
    """Knows our patterns alone; hashes through hashlib, which costs a third of the library's way."""

    def __init__(self) -> None:
        super().__init__()
        self.patterns = {"XX": PatternXX, "XK": _XK1, "K": _K1K1, "W": _WakuPairing}
        self.hashes = {"SHA256": _Sha256}
        self.keypairs = {"25519": _Pair}
        self.hmac = _hmac_sha256


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


def _layouts(tokens: list[list[str]]) -> tuple[tuple[int, ...], ...]:
    """For each message the flags of its keys: an ephemeral is clear, a static sealed as soon as there is a key."""
    keyed, found = False, []
    for message in tokens:
        flags = []
        for token in message:
            if token in (TOKEN_E, TOKEN_S):
                flags.append(int(token == TOKEN_S and keyed))
            else:
                keyed = True
        found.append(tuple(flags))
    return tuple(found)


_LAYOUTS: Final = {pattern: _layouts(protocol.pattern.tokens) for pattern, protocol in _PROTOCOLS.items()}
_FIELD_BYTES: Final = (KEY_BYTES, KEY_BYTES + TAG_BYTES)


# --- the handshake ---------------------------------------------------------------------------------------------------


@frozen
class Written:
    state: Handshake = field(repr=False)
    fields: bytes
    """flags and keys, as in PayloadV2's handshake message"""
    transport: bytes = field(repr=False)


@frozen
class Read:
    state: Handshake = field(repr=False)
    payload: bytes = field(repr=False)


@frozen
class Split:
    """What a finished handshake leaves."""

    k1: bytes = field(repr=False)
    """seals from initiator to responder"""
    k2: bytes = field(repr=False)
    """and back"""
    h: bytes
    """the transcript, which is public"""


_FORMAT: Final = 1
_STORED: Final = Struct(">BBBBB32s32sQ")
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
        protocol = copy(_PROTOCOLS[pattern])
        _demand(pattern, initiator, keys)
        pairs = {
            "s": keys.static and keys.static.loaded(),
            "e": keys.ephemeral and keys.ephemeral.loaded(),
            "rs": keys.remote_static and _public(keys.remote_static),
            "re": keys.remote_ephemeral and _public(keys.remote_ephemeral),
        }
        _refuse_reflection(**pairs)
        state = HandshakeState.initialize(protocol, initiator, prologue, **pairs)
        symmetric = state.symmetric_state
        return cls(pattern, initiator, 0, symmetric.h, symmetric.ck, b"", 0, keys.psk or b"", **pairs)

    @property
    def complete(self) -> bool:
        return self.step == _MESSAGES

    @property
    def writes(self) -> bool:
        """The next message is ours."""
        return not self.complete and self.initiator == (self.step % 2 == 0)

    @property
    def remote_static(self) -> bytes | None:
        return self._rs and self._rs.public_bytes

    @property
    def remote_ephemeral(self) -> bytes | None:
        return self._re and self._re.public_bytes

    @property
    def local_ephemeral_public(self) -> bytes | None:
        return self._e and self._e.public_bytes

    def write(self, payload: bytes, nametag: bytes, *, ephemeral: bytes = b"") -> Written:
        """The next message. `ephemeral`: 32 random bytes, used once, where the message brings a new key."""
        padded = pad(payload)
        if len(padded) + TAG_BYTES > limits.HANDSHAKE_PAYLOAD_BYTES:
            raise InvalidInput("The payload of a handshake message is too long.")
        state, message = self.write_unpadded(padded, nametag, ephemeral=ephemeral)
        fields, start = [], 0
        for flag in _LAYOUTS[self.pattern][self.step]:
            end = start + _FIELD_BYTES[flag]
            fields.append(bytes((flag,)) + message[start:end])
            start = end
        return Written(state, b"".join(fields), message[start:])

    def read(self, fields: bytes, transport: bytes, nametag: bytes) -> Read:
        """The peer's next message, or a refusal."""
        if len(transport) > limits.HANDSHAKE_PAYLOAD_BYTES:
            raise Limit("The payload of a handshake message is too long.")
        if self.complete:
            raise Malformed("A handshake message came after the last one.")
        keys, start = [], 0
        for flag in _LAYOUTS[self.pattern][self.step]:
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
            state.e = key_pair(ephemeral).loaded()
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
        parts = (self._k, self._psk, _private(self._s), _private(self._e), _point(self._rs), _point(self._re))
        # A finished handshake has no private keys, but its ephemeral is still asked for.
        public_e = _point(self._e) if not _private(self._e) else b""
        present = sum(1 << i for i, part in enumerate((*parts, public_e)) if part)
        head = _STORED.pack(
            _FORMAT, self.pattern.protocol_id, self.initiator, self.step, present, self.h, self.ck, self._n
        )
        return head + b"".join(parts) + public_e

    @classmethod
    def decode(cls, raw: bytes) -> Handshake:
        if raw[:1] > bytes((_FORMAT,)):
            raise StoreNewer("A stored handshake was written by a newer kexkit-noise.")
        try:
            form, pattern, initiator, step, present, h, ck, n = _STORED.unpack_from(raw)
            parts = _stored_parts(raw[_STORED.size :], present)
            if form != _FORMAT or initiator > 1 or step > _MESSAGES:
                raise ValueError
            k, psk, s, e, rs, re, public_e = parts
            pairs = (s and key_pair(s).loaded(), (e and key_pair(e).loaded()) or (public_e and _public(public_e)))
            remote = (rs and _public(rs), re and _public(re))
            return cls(
                _PATTERNS[pattern], bool(initiator), step, h, ck, k, n, psk, *(p or None for p in pairs + remote)
            )
        except (error, KeyError, ValueError, Malformed):
            raise StoreCorrupt("A stored handshake is damaged.") from None

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
        if step == _MESSAGES:
            s, e = None, e and _Pair(None, e.public, e.public_bytes)
        elif cipher.has_key():
            k, n = cipher.k, cipher.n
        return Handshake(
            self.pattern, self.initiator, step, symmetric.h, symmetric.ck, k, n, b"", s, e, state.rs, state.re
        )


def _demand(pattern: Pattern, initiator: bool, keys: Keys) -> None:
    """Exactly the keys that pattern and role need: a missing one fails late, and a needless one is a misunderstanding."""
    before = _PROTOCOLS[pattern].pattern.pre_messages
    theirs, ours = before[initiator], before[not initiator]
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
    if any(_same(own, pair.public_bytes) for own in ours for pair in (rs, re) if pair):
        raise Forged("The peer uses a key of ours.")


def _private(pair: Any) -> bytes:
    raw: bytes = pair.private.private_bytes_raw() if pair and pair.private else b""
    return raw


def _point(pair: Any) -> bytes:
    raw: bytes = pair.public_bytes if pair else b""
    return raw


def _stored_parts(raw: bytes, present: int) -> list[bytes]:
    """Seven keys, of which those are there whose bits are set."""
    parts, start = [], 0
    for i in range(7):
        end = start + KEY_BYTES * (present >> i & 1)
        parts.append(raw[start:end])
        start = end
    if present >> 7 or start != len(raw):
        raise ValueError
    return parts
