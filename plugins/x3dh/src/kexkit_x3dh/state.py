"""What changes in a session: the two halves of the ratchet, and their bytes.

The sending half has two phases, and each holds what it needs and no more. `Speaking`: our key pair and its chain.
`Listening`: the peer has turned since; pair and chain are gone, and the next text makes new ones.
"""

from __future__ import annotations

from struct import Struct
from typing import Final, TypeAlias

from kexkit import secp256k1
from kexkit.api import Unpicklable, value
from kexkit.errors import Malformed, StoreCorrupt

from kexkit_x3dh import limits
from kexkit_x3dh.chains import chain_step
from kexkit_x3dh.skipped import Gaps

RECENT: Final = 8
"""Ratchet keys of the peer that are remembered, by 8 bytes each, so that a late copy is known for what it is."""
_MARK_BYTES: Final = 8
_KEY_BYTES: Final = 32
_NO_KEY: Final = bytes(33)
_NO_MARK: Final = bytes(_MARK_BYTES)
_STATE: Final = Struct(f">B32s32s33sQ32sQ33s32sQQQQQI{RECENT * _MARK_BYTES}s")
_HEARD, _SPEAKS, _SENDS_YOUNG, _HEARS_YOUNG, _SEED_GONE = 1, 2, 4, 8, 16


@value(eq=False, repr=False)
class Speaking(Unpicklable):
    secret: bytes
    public: bytes
    pn: int
    """messages of our chain before"""
    young: bool
    """the responder's prekey is one of the two keys that seeded the chain"""
    chain: bytes
    n: int
    """of the next message"""


@value(eq=False, repr=False)
class Listening:
    n: int
    """messages of our last chain"""


Sending: TypeAlias = Speaking | Listening


@value(eq=False, repr=False)
class Receiving(Unpicklable):
    key: bytes
    """the peer's ratchet key; empty: it has sent nothing yet"""
    chain: bytes
    n: int
    """of the next message"""
    young: bool
    """the responder's prekey is one of the two keys that seeded the chain"""
    made: int
    """receiving keys so far, all chains together"""
    gaps: Gaps
    recent: tuple[bytes, ...]
    """marks of the peer's earlier ratchet keys, the last first"""
    first: bytes = b""
    """the key of message 0, if that comes next and the chain key here is already the one after it"""


def without_seed(receiving: Receiving) -> Receiving:
    """A responder may speak under its prekey, in a chain whose key is the agreed secret itself. Who began keeps what
    opens that chain, and not the secret: with our ratchet key it makes again the chain in which we have spoken."""
    chain, first = chain_step(receiving.chain)
    return Receiving(receiving.key, chain, 0, True, 0, receiving.gaps, (), first)


def mark(key: bytes) -> bytes:
    return key[1 : 1 + _MARK_BYTES]


def pack(heard: bool, root: bytes, sending: Sending, receiving: Receiving) -> bytes:
    """Always of one length."""
    flags = heard * _HEARD | receiving.young * _HEARS_YOUNG
    secret = public = chain = b""
    pn = 0
    if isinstance(sending, Speaking):
        flags |= _SPEAKS | sending.young * _SENDS_YOUNG
        secret, public, pn, chain = sending.secret, sending.public, sending.pn, sending.chain
    gaps, first = receiving.gaps, receiving.first
    if first:
        flags |= _SEED_GONE
    return _STATE.pack(
        flags,
        root,
        secret,
        public,
        pn,
        chain,
        sending.n,
        receiving.key,
        receiving.chain,
        receiving.n,
        receiving.made,
        gaps.first,
        gaps.next,
        gaps.end,
        gaps.unused,
        first or b"".join(receiving.recent),
    )


def unpack(raw: bytes) -> tuple[bool, bytes, Sending, Receiving]:
    if len(raw) != _STATE.size:
        raise StoreCorrupt("A stored session has not the length of one.")
    flags, root, secret, public, pn, chain, n, *received, marks = _STATE.unpack(raw)
    key, receive_chain, receive_n, made, first, next_, end, unused = received
    key_0 = b""
    if flags & _SEED_GONE:
        key_0, marks = marks[:_KEY_BYTES], marks[_KEY_BYTES:]
    recent = (marks[place : place + _MARK_BYTES] for place in range(0, len(marks), _MARK_BYTES))
    key = b"" if key == _NO_KEY else key
    sending: Sending = Listening(n)
    if flags & _SPEAKS:
        sending = Speaking(secret, public, pn, bool(flags & _SENDS_YOUNG), chain, n)
    receiving = Receiving(
        key,
        receive_chain,
        receive_n,
        bool(flags & _HEARS_YOUNG),
        made,
        Gaps(first, next_, end, unused),
        tuple(each for each in recent if each != _NO_MARK),
        key_0,
    )
    _check(sending, receiving, flags)
    return bool(flags & _HEARD), root, sending, receiving


def _check(sending: Sending, receiving: Receiving, flags: int) -> None:
    """Nothing that `pack` could not have written."""
    gaps = receiving.gaps
    try:
        if receiving.key:
            secp256k1.check_public(receiving.key)
        if isinstance(sending, Speaking):
            secp256k1.check_public(sending.public)
    except Malformed:
        raise StoreCorrupt("A stored session holds a key that is none.") from None
    if (
        flags >= 32
        or (receiving.first and (receiving.made or receiving.recent or gaps or not receiving.young))
        or (isinstance(sending, Speaking) and not secp256k1.is_secret(sending.secret))
        or (isinstance(sending, Listening) and not receiving.key)
        or max(sending.n, receiving.n) > limits.CHAIN_MESSAGES
        or receiving.n > receiving.made
        or gaps.first > gaps.next
        or gaps.end > receiving.made
    ):
        raise StoreCorrupt("A stored session contradicts itself.")
