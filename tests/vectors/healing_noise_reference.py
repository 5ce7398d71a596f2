"""Healing Noise once more, straight from docs/protocols/healing-noise.md, for vectors and for a thief.

It shares no code with the plugin: `cryptography` and the standard library alone. It favours being read over everything
else, changes in place, keeps skipped keys without bound, and tells all its keys.
"""

from __future__ import annotations

import hmac
from hashlib import sha256

from attrs import define, field
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

P = b"kexkit/healing-noise/1 "
LOOK_AHEAD = 1000


def labelled(label: str, material: bytes) -> bytes:
    tag = sha256(label.encode("ascii")).digest()
    return sha256(tag + tag + material).digest()


def mac(key: bytes, data: bytes) -> bytes:
    return hmac.new(key, data, sha256).digest()


def hkdf(salt: bytes, secret: bytes, info: bytes, length: int) -> bytes:
    """RFC 5869."""
    extracted, made, block = mac(salt, secret), b"", b""
    for counter in range(1, -(-length // 32) + 1):
        block = mac(extracted, block + info + bytes((counter,)))
        made += block
    return made[:length]


def public_of(private: bytes) -> bytes:
    return X25519PrivateKey.from_private_bytes(private).public_key().public_bytes_raw()


def agree(private: bytes, public: bytes) -> bytes:
    return X25519PrivateKey.from_private_bytes(private).exchange(X25519PublicKey.from_public_bytes(public))


def root_step(root: bytes, agreed: bytes) -> tuple[bytes, bytes, bytes]:
    made = hkdf(root, agreed, P + b"root", 96)
    return made[:32], made[32:64], made[64:]


def message_key(chain: bytes) -> bytes:
    return mac(chain, b"\x01")


def next_chain(chain: bytes) -> bytes:
    return mac(chain, b"\x02")


def nametag(header_key: bytes, n: int) -> bytes:
    return mac(mac(header_key, P + b"tag"), n.to_bytes(8, "big"))[:16]


def header_cipher(header_key: bytes) -> ChaCha20Poly1305:
    return ChaCha20Poly1305(mac(header_key, P + b"header"))


def header_nonce(n: int) -> bytes:
    return bytes(4) + n.to_bytes(8, "little")


def padded(content: bytes) -> bytes:
    missing = 248 - len(content) % 248
    return content + bytes((missing,)) * missing


def unpadded(content: bytes) -> bytes:
    count = content[-1]
    assert 1 <= count <= 248
    assert content[-count:] == bytes((count,)) * count
    return content[:-count]


def open_header(sid: bytes, header_key: bytes, n: int, frame: bytes) -> bytes | None:
    data = P + b"hdr" + sid + frame[:16]
    try:
        return header_cipher(header_key).decrypt(header_nonce(n), frame[19:67], data)
    except InvalidTag:
        return None


def open_text(sid: bytes, key: bytes, frame: bytes) -> tuple[int, bytes] | None:
    """pn and the text."""
    data = P + b"msg" + sid + frame[:16] + frame[18:67]
    try:
        content = unpadded(ChaCha20Poly1305(key).decrypt(frame[75:87], frame[87:], data))
    except InvalidTag:
        return None
    return int.from_bytes(content[:4], "big"), content[4:]


@define
class Start:
    """What both ends derive from a finished handshake."""

    sid: bytes
    topic: bytes
    """what names the topic, 32 bytes"""
    root_before: bytes
    header_i: bytes
    header_r: bytes
    root: bytes
    chain: bytes
    next_header_i: bytes

    @classmethod
    def derive(cls, k1: bytes, k2: bytes, h: bytes, private: bytes, peer: bytes) -> Start:
        made = hkdf(h, k1 + k2, P + b"init", 128)
        root, chain, next_header_i = root_step(made[:32], agree(private, peer))
        sid = labelled("kexkit/noise sid/1", h)
        return cls(sid, made[96:], made[:32], made[32:64], made[64:96], root, chain, next_header_i)

    @property
    def content_topic(self) -> str:
        return f"/kexkit/1/wakunoise/1/sessions/{labelled('kexkit/session topic/1', self.topic)[:16].hex()}/proto"


@define
class Sealed:
    """A message, and every value that went into it."""

    frame: bytes
    n: int
    pn: int
    chain: bytes
    header_key: bytes
    message_key: bytes
    ratchet_public: bytes


@define
class End:
    """One end of a session. Empty bytes: there is none."""

    sid: bytes
    root: bytes
    own: bytes
    peer: bytes
    send_chain: bytes
    send_header: bytes
    next_send_header: bytes
    receive_chain: bytes
    receive_header: bytes
    next_receive_header: bytes
    sent: int = 0
    pn: int = 0
    received: int = 0
    skipped: dict[bytes, bytes] = field(factory=dict)

    @classmethod
    def begin(cls, k1: bytes, k2: bytes, h: bytes, private: bytes, peer: bytes, *, initiator: bool) -> End:
        start = Start.derive(k1, k2, h, private, peer)
        none = b""
        if initiator:
            sending = (start.chain, start.header_i, start.next_header_i)
            return cls(start.sid, start.root, private, peer, *sending, none, none, start.header_r)
        receiving = (start.chain, start.header_i, start.next_header_i)
        return cls(start.sid, start.root, none, peer, none, none, start.header_r, *receiving)

    def seal(self, text: bytes, new_private: bytes, nonce: bytes) -> Sealed:
        """`new_private` is used if this message begins a chain."""
        if not self.send_chain:
            self.own, self.pn, self.send_header, self.sent = new_private, self.sent, self.next_send_header, 0
            agreed = agree(new_private, self.peer)
            self.root, self.send_chain, self.next_send_header = root_step(self.root, agreed)
        chain, n = self.send_chain, self.sent
        self.send_chain, self.sent = next_chain(chain), n + 1
        key, tag = message_key(chain), nametag(self.send_header, n)
        data = P + b"hdr" + self.sid + tag
        field_49 = b"\x01" + header_cipher(self.send_header).encrypt(header_nonce(n), public_of(self.own), data)
        data = P + b"msg" + self.sid + tag + field_49
        body = nonce + ChaCha20Poly1305(key).encrypt(nonce, padded(self.pn.to_bytes(4, "big") + text), data)
        frame = tag + bytes((0x80, 49)) + field_49 + len(body).to_bytes(8, "little") + body
        return Sealed(frame, n, self.pn, chain, self.send_header, key, public_of(self.own))

    def open(self, frame: bytes) -> bytes:
        tag = frame[:16]
        if tag in self.skipped:
            opened = open_text(self.sid, self.skipped.pop(tag), frame)
            assert opened is not None
            return opened[1]
        for n in range(self.received, self.received + LOOK_AHEAD) if self.receive_header else ():
            if nametag(self.receive_header, n) == tag:
                assert open_header(self.sid, self.receive_header, n, frame) == self.peer
                return self._advance(frame, n)[1]
        for n in range(LOOK_AHEAD) if self.own else ():
            if nametag(self.next_receive_header, n) == tag:
                return self._turn(frame, n)
        raise AssertionError("no place for this message")

    def _turn(self, frame: bytes, n: int) -> bytes:
        old_chain, old_header, old_received = self.receive_chain, self.receive_header, self.received
        peer = open_header(self.sid, self.next_receive_header, n, frame)
        assert peer is not None
        self.peer, self.receive_header, self.received = peer, self.next_receive_header, 0
        self.root, self.receive_chain, self.next_receive_header = root_step(self.root, agree(self.own, peer))
        self.own = self.send_chain = self.send_header = b""
        pn, text = self._advance(frame, n)
        for place in range(old_received, pn):
            self.skipped[nametag(old_header, place)] = message_key(old_chain)
            old_chain = next_chain(old_chain)
        return text

    def _advance(self, frame: bytes, n: int) -> tuple[int, bytes]:
        for place in range(self.received, n):
            self.skipped[nametag(self.receive_header, place)] = message_key(self.receive_chain)
            self.receive_chain = next_chain(self.receive_chain)
        opened = open_text(self.sid, message_key(self.receive_chain), frame)
        assert opened is not None
        self.receive_chain, self.received = next_chain(self.receive_chain), n + 1
        return opened
