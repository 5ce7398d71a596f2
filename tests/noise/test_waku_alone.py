"""kexkit_noise.waku: handshakes and sessions without kexkit around them. tests/interop has js at the other end."""

from __future__ import annotations

import pickle
import re
from pathlib import Path
from random import Random

import pytest
from kexkit.errors import InvalidInput, Malformed, NotMine, Refusal, StoreCorrupt
from kexkit_noise.waku import Keys, Pattern, PlainSession, WakuHandshake, key_pair

EACH = pytest.mark.parametrize("pattern", Pattern, ids=str)
TAG = bytes(range(16))
BITS = range(8 * 16, 8 * 300, 7)
"""from the protocol id on, through keys and the sealed payload"""


def two(pattern: Pattern, random: Random) -> tuple[WakuHandshake, WakuHandshake]:
    """Initiator and responder, with what the pattern has them know."""
    statics = [key_pair(random.randbytes(32)) for _ in range(2)]
    shown = key_pair(random.randbytes(32)) if pattern is Pattern.WAKU_PAIRING else None
    psk = random.randbytes(32) if pattern is Pattern.XXPSK0 else None
    ends = []
    for initiator, own, other in ((True, *statics), (False, *reversed(statics))):
        known = "s" in pattern.pre_messages[initiator]
        keys = Keys(
            own,
            ephemeral=None if initiator else shown,
            remote_static=other.public if known else None,
            remote_ephemeral=shown.public if initiator and shown else None,
            psk=psk,
        )
        ends.append(WakuHandshake.begin(pattern, initiator=initiator, keys=keys, nametag=TAG, prologue=b"both"))
    return ends[0], ends[1]


def sessions(pattern: Pattern, random: Random) -> tuple[PlainSession, PlainSession]:
    one, other = two(pattern, random)
    for number in range(pattern.messages):
        assert one.writes != other.writes
        content = b"%d" % number
        writer, reader = (one, other) if one.writes else (other, one)
        writer, frame = writer.write(content, ephemeral=random.randbytes(32))
        reader, read = reader.read(frame)
        assert read == content
        assert (writer.nametag, writer.h, writer.code) == (reader.nametag, reader.h, reader.code)
        writer, reader = WakuHandshake.decode(writer.encode()), WakuHandshake.decode(reader.encode())
        one, other = (writer, reader) if number % 2 == 0 else (reader, writer)
    assert one.complete
    assert other.complete
    return one.session(), other.session()


@EACH
def test_two_ends_that_restart_after_every_message_have_one_session(pattern: Pattern) -> None:
    random = Random(1)
    one, other = sessions(pattern, random)
    assert one.topic == other.topic
    for _ in range(3):
        one, frame = one.seal(text := random.randbytes(300))
        opened = other.open(frame)
        assert opened.plaintext == text
        one, other = opened.successor, one


@EACH
def test_a_message_that_is_refused_leaves_the_handshake_for_the_genuine_one(pattern: Pattern) -> None:
    """Message 2: the first that is sealed in all of them."""
    random = Random(2)
    one, other = two(pattern, random)
    one, frame = one.write(b"first", ephemeral=random.randbytes(32))
    other, _ = other.read(frame)
    other, frame = other.write(b"genuine", ephemeral=random.randbytes(32))
    before = one.encode()
    spoiled = [frame[: bit // 8] + bytes((frame[bit // 8] ^ 1 << bit % 8,)) + frame[bit // 8 + 1 :] for bit in BITS]
    for wrong in (*spoiled, bytes(16) + frame[16:], frame + b"\0", frame[:-1], b""):
        with pytest.raises(Refusal):
            one.read(wrong)
        assert one.encode() == before
    assert one.read(frame)[1] == b"genuine"


def test_it_is_nobodys_turn_twice() -> None:
    random = Random(3)
    one, other = two(Pattern.XX, random)
    with pytest.raises(InvalidInput):
        other.write(b"", ephemeral=random.randbytes(32))
    after, frame = one.write(b"", ephemeral=random.randbytes(32))
    with pytest.raises(InvalidInput):
        after.session()
    reader, _ = other.read(frame)
    with pytest.raises((NotMine, Malformed)):
        reader.read(frame)


def test_what_is_stored_of_it_is_checked_and_its_secrets_are_not_shown() -> None:
    one, _ = two(Pattern.XX, Random(4))
    secret = Random(4).randbytes(32)
    for raw in (b"", TAG, one.encode()[:-1]):
        with pytest.raises(StoreCorrupt):
            WakuHandshake.decode(raw)
    assert secret in one.encode()
    assert secret.hex() not in repr(one)
    assert repr(secret)[2:10] not in repr(one)
    with pytest.raises(TypeError):
        pickle.dumps(one)
    with pytest.raises(InvalidInput, match="16 bytes"):
        WakuHandshake.begin(Pattern.XX, initiator=True, keys=Keys(key_pair(secret)), nametag=b"short")


def test_the_readme_s_handshake_runs() -> None:
    text = (Path(__file__).parents[2] / "plugins" / "noise" / "README.md").read_text("utf-8")
    (code,) = re.findall(r"```python\n(import secrets.*?)```", text, re.DOTALL)
    _, other = two(Pattern.XX, Random(5))

    class Network:
        def __init__(self) -> None:
            self.other, self.answers = other, list[bytes]()

        def send(self, frame: bytes) -> None:
            if self.other.complete:
                assert self.other.session().open(frame).plaintext == b"hello"
                return
            self.other, _ = self.other.read(frame)
            if self.other.writes:
                self.other, answer = self.other.write(b"", ephemeral=secrets_of.randbytes(32))
                self.answers.append(answer)

        def receive(self) -> bytes:
            return self.answers.pop(0)

    secrets_of, network = Random(6), Network()
    names = {"nametag": TAG, "network": network, "prologue": b"both"}
    exec(code, names)
    assert network.other.complete
