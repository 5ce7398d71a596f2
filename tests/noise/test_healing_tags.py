"""What an observer can tell of healing messages, and what a copied or restored state does to nonces."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from kexkit_noise import healing, healing_keys
from kexkit_noise._noise import Split
from kexkit_noise.healing import HealingSession
from kexkit_noise.healing_state import Speaking
from kexkit_noise.keys import key_pair
from kexkit_noise.nametags import nametag_secrets
from kexkit_noise.plain import PlainSession

from tests.noise.healing_support import SESSION, Couple, End, begun, couple, met, stream, waku_tag

TEXTS = [b"text %d" % n for n in range(40)]


def recorded(pair: Couple) -> list[bytes]:
    """The same texts, turning in the same way."""
    frames = []
    for n, text in enumerate(TEXTS):
        sender = pair.ends[n // 3 % 2]
        frames.append(sender.seal(text))
        pair.other(sender).open(frames[-1])
    return frames


def test_two_recordings_of_the_same_texts_have_no_tag_and_no_header_in_common() -> None:
    one, other = recorded(couple("one")), recorded(couple("other"))
    for part in (slice(0, 16), slice(19, 67), slice(75, 87), slice(87, None)):
        seen = [frame[part] for frame in one + other]
        assert len(set(seen)) == len(seen)
    assert {frame[16:19] + frame[67:75] for frame in one + other} == {b"\x80\x31\x01" + (276).to_bytes(8, "little")}


def test_no_tag_of_a_healing_session_follows_from_the_transcript_and_the_wire() -> None:
    """All that is public of two sessions agrees, h and the ratchet keys; what is secret of the handshake does not."""
    draw, h = stream("public"), bytes(32)
    ours, theirs = key_pair(draw(32)), key_pair(draw(32))
    tags: list[set[bytes]] = []
    topics = set()
    for seed in ("one", "other"):
        secret = stream(seed)
        split = Split(secret(32), secret(32), h)
        pair = Couple(
            End(begun(split, ours, theirs.public, initiator=True), stream("same")),
            End(begun(split, theirs, ours.public, initiator=False), stream("same too")),
        )
        tags.append({frame[:16] for frame in recorded(pair)})
        topics.add(pair.initiator.value.topic)
    assert tags[0].isdisjoint(tags[1])
    assert len(topics) == 2
    secrets = nametag_secrets(h)
    public = {
        waku_tag(s, n) for s in (secrets.initiator_to_responder, secrets.responder_to_initiator) for n in range(99)
    }
    assert public.isdisjoint(tags[0] | tags[1])


def test_every_tag_of_a_plain_session_follows_from_the_transcript_alone() -> None:
    h = bytes(range(32))
    secrets = nametag_secrets(h)
    for initiator, secret in ((True, secrets.initiator_to_responder), (False, secrets.responder_to_initiator)):
        session = PlainSession.begin(Split(*_keys("plain"), h), session=SESSION, initiator=initiator)
        for n in range(50):
            session, frame = session.seal(b"text")
            assert frame[:16] == waku_tag(secret, n)
    other = PlainSession.begin(Split(*_keys("another"), h), session=SESSION, initiator=True)
    assert other.topic == session.topic


def _keys(seed: str) -> tuple[bytes, bytes]:
    draw = stream(seed)
    return draw(32), draw(32)


def test_who_owes_the_turn_does_not_show() -> None:
    """A first message of a chain and a later one have the same form and length."""
    pair = met()
    later = pair.initiator.seal(b"text")
    pair.initiator.open(pair.responder.seal(b"text"))
    first = pair.initiator.seal(b"text")
    assert len(first) == len(later)
    assert first[16:19] == later[16:19]


# --- copies ----------------------------------------------------------------------------------------------------------


def record(monkeypatch: pytest.MonkeyPatch) -> tuple[dict[tuple[bytes, bytes], set[bytes]], ...]:
    """What was sealed under each (key, nonce): texts, and headers."""
    texts: dict[tuple[bytes, bytes], set[bytes]] = {}
    headers: dict[tuple[bytes, bytes], set[bytes]] = {}

    def recording(sealed: dict[tuple[bytes, bytes], set[bytes]]) -> Callable[[bytes], object]:
        class Cipher:
            def __init__(self, key: bytes) -> None:
                self._key, self._cipher = key, real(key)

            def encrypt(self, nonce: bytes, plain: bytes, data: bytes) -> bytes:
                sealed.setdefault((self._key, nonce), set()).add(plain)
                return self._cipher.encrypt(nonce, plain, data)

            def decrypt(self, nonce: bytes, content: bytes, data: bytes) -> bytes:
                return self._cipher.decrypt(nonce, content, data)

        return Cipher

    real = ChaCha20Poly1305
    monkeypatch.setattr(healing, "ChaCha20Poly1305", recording(texts))
    monkeypatch.setattr(healing_keys, "ChaCha20Poly1305", recording(headers))
    return texts, headers


@pytest.mark.parametrize("seed", range(6))
def test_states_that_are_copied_and_set_back_never_seal_two_texts_under_one_key_and_nonce(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    chance, pair = random.Random(seed), couple(seed)
    texts, _ = record(monkeypatch)
    old: list[list[bytes]] = [[], []]
    for n in range(300):
        which = chance.randrange(2)
        end = pair.ends[which]
        old[which].append(end.value.snapshot())
        if chance.random() < 0.2:
            end.value = HealingSession.restore(chance.choice(old[which]))
        frame = end.seal(b"text %d" % n)
        if pair.other(end).refuses(frame) is None:
            pair.other(end).open(frame)
    assert len(texts) == 300
    assert all(len(sealed) == 1 for sealed in texts.values())


def test_a_header_nonce_comes_again_only_with_the_same_ratchet_key_while_a_state_goes_on_from_itself(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _, headers = record(monkeypatch)
    recorded(couple())
    assert len(headers) == len(TEXTS)
    pair = met("another")
    speaking = pair.initiator.value
    assert isinstance(speaking.ratchet.sending, Speaking)
    for n in range(3):
        speaking.seal(b"from one state %d" % n, stream(n))
    assert all(len(keys) == 1 for keys in headers.values())


def test_two_copies_that_both_turn_seal_two_ratchet_keys_under_one_header_nonce_and_neither_text_suffers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What docs/protocols/healing-noise.md does not claim: seen here so that it is known for what it is."""
    pair = met()
    texts, headers = record(monkeypatch)
    for n in range(2):
        pair.responder.value.seal(b"from a copy %d" % n, stream(n))
    assert sorted(len(keys) for keys in headers.values()) == [2]
    assert sorted(len(sealed) for sealed in texts.values()) == [1, 1]
