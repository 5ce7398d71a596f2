"""Handshake, statement and key schedule once more, written from docs/protocols alone, on `cryptography` and hashlib.

Nothing of the plugin is used here: what both write must be readable for both. Only XK1 and XX, and the ratchet's first
turns: the vectors of tests/vectors walk further.
"""

from __future__ import annotations

import hmac
from hashlib import sha256
from uuid import UUID

from attrs import define, field
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

P = b"kexkit/healing-noise/1 "


def tagged(label: bytes, material: bytes) -> bytes:
    label_hash = sha256(label).digest()
    return sha256(label_hash + label_hash + material).digest()


def hmac_of(key: bytes, data: bytes) -> bytes:
    return hmac.digest(key, data, "sha256")


def hkdf(salt: bytes, secret: bytes, info: bytes, size: int) -> bytes:
    key, block, out = hmac_of(salt, secret), b"", b""
    for number in range(1, -(-size // 32) + 1):
        block = hmac_of(key, block + info + bytes((number,)))
        out += block
    return out[:size]


def padded(text: bytes) -> bytes:
    count = 248 - len(text) % 248
    return text + bytes((count,)) * count


def unpadded(text: bytes) -> bytes:
    assert len(text) % 248 == 0
    assert text.endswith(bytes((text[-1],)) * text[-1])
    return text[: -text[-1]]


def public_of(private: bytes) -> bytes:
    return X25519PrivateKey.from_private_bytes(private).public_key().public_bytes_raw()


def dh(private: bytes, public: bytes) -> bytes:
    return X25519PrivateKey.from_private_bytes(private).exchange(X25519PublicKey.from_public_bytes(public))


def nonce_of(n: int) -> bytes:
    return bytes(4) + n.to_bytes(8, "little")


def frame_of(tag: bytes, protocol: int, keys: bytes, transport: bytes) -> bytes:
    return tag + bytes((protocol, len(keys))) + keys + len(transport).to_bytes(8, "little") + transport


def parts_of(frame: bytes, protocol: int) -> tuple[bytes, bytes, bytes]:
    assert frame[16] == protocol
    end = 18 + frame[17]
    assert int.from_bytes(frame[end : end + 8], "little") == len(frame) - end - 8
    return frame[:16], frame[18:end], frame[end + 8 :]


def topic_of(label: bytes, material: bytes) -> str:
    return f"/kexkit/1/wakunoise/1/sessions/{tagged(label, material)[:16].hex()}/proto"


def statement_body(identity: bytes, installation: str, static: bytes, begins: int, ends: int) -> bytes:
    window = begins.to_bytes(8, "big") + ends.to_bytes(8, "big")
    return b"\x01" + identity + UUID(installation).bytes + static + window


@define
class Symmetric:
    """Noise's symmetric state, with Waku's additional data for payloads."""

    h: bytes
    ck: bytes
    k: bytes = b""
    n: int = 0

    @classmethod
    def of(cls, name: bytes, prologue: bytes) -> Symmetric:
        h = name.ljust(32, b"\0") if len(name) <= 32 else sha256(name).digest()
        state = cls(h, h)
        state.mix_hash(prologue)
        return state

    def mix_hash(self, data: bytes) -> None:
        self.h = sha256(self.h + data).digest()

    def mix_key(self, secret: bytes) -> None:
        both = hkdf(self.ck, secret, b"", 64)
        self.ck, self.k, self.n = both[:32], both[32:], 0

    def seal(self, text: bytes, more: bytes = b"") -> bytes:
        sealed = ChaCha20Poly1305(self.k).encrypt(nonce_of(self.n), text, self.h + more) if self.k else text
        self.n += 1
        self.mix_hash(sealed)
        return sealed

    def open(self, sealed: bytes, more: bytes = b"") -> bytes:
        text = ChaCha20Poly1305(self.k).decrypt(nonce_of(self.n), sealed, self.h + more) if self.k else sealed
        self.n += 1
        self.mix_hash(sealed)
        return text

    def split(self) -> tuple[bytes, bytes]:
        both = hkdf(self.ck, b"", b"", 64)
        return both[:32], both[32:]


@define
class Shaking:
    """One end of XK1 or XX, healing or plain."""

    xk1: bool
    heals: bool
    static: bytes
    ephemeral: bytes
    ratchet: bytes
    statement: bytes
    tag: bytes
    """of message 1"""
    state: Symmetric
    theirs: bytes = b""
    their_ephemeral: bytes = b""
    their_ratchet: bytes = b""
    their_statement: bytes = b""

    @classmethod
    def begin(
        cls, *, xk1: bool, heals: bool, digest: bytes, keys: tuple[bytes, bytes, bytes], statement: bytes, known: bytes
    ) -> Shaking:
        """`digest`: of the responder's offer. `known`: the responder's static, public, where the pattern has it."""
        name = f"{'healing-' if heals else ''}noise-{'xk1' if xk1 else 'xx'}/1".encode()
        named = bytes((len(name),)) + name + digest
        prologue = b"kexkit/noise/1" + tagged(b"kexkit/opening/1", named)
        state = Symmetric.of(f"Noise_{'XK1' if xk1 else 'XX'}_25519_ChaChaPoly_SHA256".encode(), prologue)
        if xk1:
            state.mix_hash(known)
        tag = tagged(b"kexkit/noise hello/1", named)[:16]
        return cls(xk1, heals, *keys, statement, tag, state, known if xk1 else b"")

    @property
    def protocol(self) -> int:
        return (11 if self.xk1 else 12) + (0x80 if self.heals else 0)

    def topic(self, initiators_ephemeral: bytes) -> str:
        return topic_of(b"kexkit/handshake topic/1", initiators_ephemeral)

    def second_tag(self) -> bytes:
        return tagged(b"kexkit/noise tag2/1", self.state.h)[:16] if self.heals else hkdf(self.state.h, b"", b"", 16)

    def third_tag(self) -> bytes:
        if self.heals:
            return hkdf(self.state.ck, b"", b"kexkit/noise tag3/1", 16)
        return hkdf(self.state.h, b"", b"", 16)

    def _content(self, statement: bytes) -> bytes:
        ratchet = public_of(self.ratchet) if self.heals else b""
        return padded(b"\x01" + ratchet + len(statement).to_bytes(2, "big") + statement)

    def _note(self, content: bytes) -> None:
        content, size = unpadded(content), 32 if self.heals else 0
        assert content[:1] == b"\x01"
        self.their_ratchet, self.their_statement = content[1 : 1 + size], content[3 + size :]
        assert int.from_bytes(content[1 + size : 3 + size], "big") == len(self.their_statement)

    # --- the initiator ---

    def first(self) -> bytes:
        public = public_of(self.ephemeral)
        self.state.mix_hash(public)
        return frame_of(self.tag, self.protocol, b"\0" + public, self.state.seal(padded(b""), self.tag))

    def third(self, second: bytes) -> bytes:
        expected = self.second_tag()
        tag, keys, transport = parts_of(second, self.protocol)
        assert tag == expected
        assert keys[:1] == b"\0"
        self.their_ephemeral = keys[1:33]
        self.state.mix_hash(self.their_ephemeral)
        self.state.mix_key(dh(self.ephemeral, self.their_ephemeral))
        if not self.xk1:
            assert keys[33:34] == b"\x01"
            self.theirs = self.state.open(keys[34:])
        else:
            assert len(keys) == 33
        self.state.mix_key(dh(self.ephemeral, self.theirs))
        self._note(self.state.open(transport, tag))
        tag = self.third_tag()
        sealed = self.state.seal(public_of(self.static))
        self.state.mix_key(dh(self.static, self.their_ephemeral))
        return frame_of(tag, self.protocol, b"\x01" + sealed, self.state.seal(self._content(self.statement), tag))

    # --- the responder ---

    def second(self, first: bytes) -> bytes:
        tag, keys, transport = parts_of(first, self.protocol)
        assert tag == self.tag
        assert keys[:1] == b"\0"
        self.their_ephemeral = keys[1:]
        self.state.mix_hash(self.their_ephemeral)
        assert unpadded(self.state.open(transport, tag)) == b""
        tag, public = self.second_tag(), public_of(self.ephemeral)
        self.state.mix_hash(public)
        self.state.mix_key(dh(self.ephemeral, self.their_ephemeral))
        fields = b"\0" + public
        if not self.xk1:
            fields += b"\x01" + self.state.seal(public_of(self.static))
        self.state.mix_key(dh(self.static, self.their_ephemeral))
        content = self._content(b"" if self.xk1 else self.statement)
        return frame_of(tag, self.protocol, fields, self.state.seal(content, tag))

    def take_third(self, third: bytes) -> None:
        expected = self.third_tag()
        tag, keys, transport = parts_of(third, self.protocol)
        assert tag == expected
        assert keys[:1] == b"\x01"
        self.theirs = self.state.open(keys[1:])
        self.state.mix_key(dh(self.ephemeral, self.theirs))
        self._note(self.state.open(transport, tag))


@define
class Chain:
    """A chain under its header key."""

    key: bytes
    header: bytes
    n: int = 0

    def step(self) -> tuple[int, bytes]:
        n, message = self.n, hmac_of(self.key, b"\x01")
        self.key, self.n = hmac_of(self.key, b"\x02"), n + 1
        return n, message

    def tag(self, n: int) -> bytes:
        return hmac_of(hmac_of(self.header, P + b"tag"), n.to_bytes(8, "big"))[:16]

    @property
    def cipher(self) -> ChaCha20Poly1305:
        return ChaCha20Poly1305(hmac_of(self.header, P + b"header"))


@define
class Healing:
    """The ratchet, in order only."""

    sid: bytes
    topic: str
    root: bytes
    own: bytes
    peer: bytes
    sending: Chain | None
    receiving: Chain | None
    next_sending: bytes
    next_receiving: bytes
    last: int = field(default=0)
    pn: int = field(default=0)

    @classmethod
    def after(cls, end: Shaking, *, initiator: bool) -> Healing:
        h, (k1, k2) = end.state.h, end.state.split()
        made = hkdf(h, k1 + k2, P + b"init", 128)
        root, header_i, next_r = made[:32], made[32:64], made[64:96]
        stepped = hkdf(root, dh(end.ratchet, end.their_ratchet), P + b"root", 96)
        first, next_i = Chain(stepped[32:64], header_i), stepped[64:]
        sid, topic = tagged(b"kexkit/noise sid/1", h), topic_of(b"kexkit/session topic/1", made[96:])
        if initiator:
            return cls(sid, topic, stepped[:32], end.ratchet, end.their_ratchet, first, None, next_i, next_r)
        return cls(sid, topic, stepped[:32], b"", end.their_ratchet, None, first, next_r, next_i)

    def seal(self, text: bytes, ratchet: bytes, nonce: bytes) -> bytes:
        if self.sending is None:
            self.own, self.pn = ratchet, self.last
            made = hkdf(self.root, dh(self.own, self.peer), P + b"root", 96)
            self.root, self.sending, self.next_sending = made[:32], Chain(made[32:64], self.next_sending), made[64:]
        n, key = self.sending.step()
        tag = self.sending.tag(n)
        head = self.sending.cipher.encrypt(nonce_of(n), public_of(self.own), P + b"hdr" + self.sid + tag)
        head = b"\x01" + head
        body = ChaCha20Poly1305(key).encrypt(
            nonce, padded(self.pn.to_bytes(4, "big") + text), P + b"msg" + self.sid + tag + head
        )
        return frame_of(tag, 0x80, head, nonce + body)

    def open(self, frame: bytes) -> bytes:
        tag, head, rest = parts_of(frame, 0x80)
        chain = self.receiving
        if chain is None or chain.tag(chain.n) != tag:
            chain = Chain(b"", self.next_receiving)
            assert chain.tag(0) == tag
        public = chain.cipher.decrypt(nonce_of(chain.n), head[1:], P + b"hdr" + self.sid + tag)
        if chain is not self.receiving:
            assert public != self.peer
            made = hkdf(self.root, dh(self.own, public), P + b"root", 96)
            self.root, chain.key, self.next_receiving = made[:32], made[32:64], made[64:]
            assert self.sending is not None
            self.peer, self.receiving, self.last, self.own, self.sending = public, chain, self.sending.n, b"", None
        assert public == self.peer
        _, key = chain.step()
        return unpadded(ChaCha20Poly1305(key).decrypt(rest[:12], rest[12:], P + b"msg" + self.sid + tag + head))[4:]


@define
class Plain:
    """Waku's session: the n-th message of a direction has nonce n, and a nametag from n."""

    topic: str
    out: tuple[bytes, bytes]
    into: tuple[bytes, bytes]
    sent: int = 0
    got: int = 0

    @classmethod
    def after(cls, end: Shaking, *, initiator: bool) -> Plain:
        (k1, k2), secrets = end.state.split(), hkdf(end.state.h, b"", b"", 64)
        ours, theirs = (k1, secrets[32:]), (k2, secrets[:32])
        name = sha256(sha256(secrets[:32]).digest()).digest()
        topic = f"/kexkit/1/wakunoise/1/sessions/{name.hex()}/proto"
        return cls(topic, ours, theirs) if initiator else cls(topic, theirs, ours)

    def seal(self, text: bytes, ratchet: bytes, nonce: bytes) -> bytes:
        del ratchet, nonce
        key, secret = self.out
        tag, n = sha256(secret + self.sent.to_bytes(8, "little")).digest()[:16], self.sent
        self.sent += 1
        return frame_of(tag, 0, b"", ChaCha20Poly1305(key).encrypt(nonce_of(n), padded(text), tag))

    def open(self, frame: bytes) -> bytes:
        tag, head, body = parts_of(frame, 0)
        key, secret = self.into
        assert (tag, head) == (sha256(secret + self.got.to_bytes(8, "little")).digest()[:16], b"")
        self.got += 1
        return unpadded(ChaCha20Poly1305(key).decrypt(nonce_of(self.got - 1), body, tag))
