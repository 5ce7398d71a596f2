"""Transport payloads: who can open them, who vouches for them, and what is refused."""

from __future__ import annotations

import pytest
from kexkit import secp256k1
from kexkit._wire import application, payload26
from kexkit.errors import Forged, InvalidInput, Malformed, Refusal
from kexkit.identity import SoftwareIdentity

from tests.wire.samples import ALICE, BOB, seeded

KEY = bytes(range(32))
DATA = b"what is said"


def _high_s(signature: bytes) -> bytes:
    """The other signature over the same digest, which libsecp256k1 never makes."""
    s = secp256k1.ORDER - int.from_bytes(signature[32:64], "big")
    return signature[:32] + s.to_bytes(32, "big") + bytes((signature[64] ^ 1,))


class _HighS(SoftwareIdentity):
    def sign_status(self, material: bytes) -> bytes:
        return _high_s(super().sign_status(material))


def test_any_changed_bit_of_a_symmetric_payload_is_a_forgery() -> None:
    sealed = payload26.seal_symmetric(DATA, KEY, sign=ALICE, rng=seeded(1))
    for at in range(len(sealed)):
        spoiled = bytearray(sealed)
        spoiled[at] ^= 1 << at % 8
        with pytest.raises(Forged):
            payload26.open_symmetric(bytes(spoiled), KEY)


def test_any_changed_bit_of_an_asymmetric_payload_is_refused() -> None:
    sealed = payload26.seal_asymmetric(DATA, BOB.public, sign=ALICE, rng=seeded(1))
    for at in range(len(sealed)):
        spoiled = bytearray(sealed)
        spoiled[at] ^= 1 << at % 8
        with pytest.raises((Forged, Malformed)):
            payload26.open_asymmetric(bytes(spoiled), BOB)


def test_what_opens_for_one_person_is_known_again_under_the_negative_of_its_key() -> None:
    sealed = payload26.seal_asymmetric(DATA, BOB.public, sign=ALICE, rng=seeded(1))
    y = 2**256 - 2**32 - 977 - int.from_bytes(sealed[33:65], "big")
    mirrored = sealed[:33] + y.to_bytes(32, "big") + sealed[65:]
    assert payload26.open_asymmetric(mirrored, BOB) == payload26.open_asymmetric(sealed, BOB)
    assert payload26.invariant(mirrored) == payload26.invariant(sealed)


def test_whatever_else_is_changed_in_a_payload_makes_another_of_it() -> None:
    to_bob = payload26.seal_asymmetric(DATA, BOB.public, sign=ALICE, rng=seeded(1))
    shared = payload26.seal_symmetric(DATA, KEY, sign=ALICE, rng=seeded(1))
    assert shared[0] != to_bob[0] == 4
    for sealed, spared in ((to_bob, range(33, 65)), (shared, range(0))):
        for at in set(range(len(sealed))).difference(spared):
            changed = sealed[:at] + bytes((sealed[at] ^ 1,)) + sealed[at + 1 :]
            assert payload26.invariant(changed) != payload26.invariant(sealed)
    assert payload26.invariant(b"") == b""


def test_a_payload_opens_for_nobody_else() -> None:
    with pytest.raises(Forged):
        payload26.open_symmetric(payload26.seal_symmetric(DATA, KEY, sign=None, rng=seeded(1)), KEY[::-1])
    with pytest.raises(Forged):
        payload26.open_asymmetric(payload26.seal_asymmetric(DATA, BOB.public, sign=None, rng=seeded(1)), ALICE)


@pytest.mark.parametrize("key", [bytes(32), b"", bytes(range(31)), bytes(range(33)), bytes(range(16))])
def test_a_key_that_is_no_key_is_our_own_fault(key: bytes) -> None:
    with pytest.raises(InvalidInput):
        payload26.seal_symmetric(DATA, key, sign=None, rng=seeded(1))
    with pytest.raises(InvalidInput):
        payload26.open_symmetric(bytes(100), key)


@pytest.mark.parametrize("prefix", [0, 2, 3, 6, 7])
def test_an_ephemeral_key_stands_uncompressed(prefix: int) -> None:
    sealed = payload26.seal_asymmetric(DATA, BOB.public, sign=None, rng=seeded(1))
    with pytest.raises(Malformed):
        payload26.open_asymmetric(bytes((prefix,)) + sealed[1:], BOB)


def test_a_recipient_who_is_no_point_is_refused() -> None:
    with pytest.raises(Malformed):
        payload26.seal_asymmetric(DATA, bytes(33), sign=None, rng=seeded(1))


def test_the_signature_covers_flags_length_data_and_padding() -> None:
    frame = payload26.encode_frame(DATA, b"padding", sign=ALICE)
    for at in range(len(frame) - 65):
        spoiled = bytearray(frame)
        spoiled[at] ^= 0x40
        try:
            assert payload26.decode_frame(bytes(spoiled)).signer != ALICE.public
        except Refusal:
            continue


def test_the_data_of_a_signed_frame_ends_before_the_signature() -> None:
    def claiming(size: int) -> bytes:
        frame = bytes((0b101, size)) + DATA
        return frame + ALICE.sign_status(frame)

    assert payload26.decode_frame(claiming(len(DATA))).data == DATA
    for size in (len(DATA) + 1, len(DATA) + 65, 255):
        with pytest.raises(Malformed):
            payload26.decode_frame(claiming(size))


@pytest.mark.parametrize("frame", [b"", b"\x01", b"\x02\x00", b"\x03\x00\x00", b"\x04", b"\x04" + bytes(64)])
def test_a_frame_that_is_cut_off_is_malformed(frame: bytes) -> None:
    with pytest.raises(Malformed):
        payload26.decode_frame(frame)


@pytest.mark.parametrize("bit", range(3, 8))
@pytest.mark.parametrize("flags", [0b001, 0b101])
def test_a_flag_without_a_meaning_is_malformed(flags: int, bit: int) -> None:
    frame = bytes((flags | 1 << bit, len(DATA))) + DATA
    with pytest.raises(Malformed):
        payload26.decode_frame(frame + ALICE.sign_status(frame))


@pytest.mark.parametrize("recovery", [2, 3, 27, 28, 255])
def test_only_zero_and_one_are_recovery_numbers(recovery: int) -> None:
    frame = payload26.encode_frame(DATA, b"padding", sign=ALICE)
    with pytest.raises(Forged):
        payload26.decode_frame(frame[:-1] + bytes((recovery,)))


def test_a_high_s_is_read_in_recordings_only() -> None:
    spoiler = _HighS(ALICE.expose_secret())
    symmetric = payload26.seal_symmetric(DATA, KEY, sign=spoiler, rng=seeded(1))
    asymmetric = payload26.seal_asymmetric(DATA, BOB.public, sign=spoiler, rng=seeded(1))
    wrapped = application.wrap(DATA, 1, spoiler)
    with pytest.raises(Forged):
        payload26.open_symmetric(symmetric, KEY)
    with pytest.raises(Forged):
        payload26.open_asymmetric(asymmetric, BOB)
    with pytest.raises(Forged):
        application.unwrap(wrapped)
    assert payload26.open_symmetric(symmetric, KEY, allow_high_s=True).signer == ALICE.public
    assert payload26.open_asymmetric(asymmetric, BOB, allow_high_s=True).signer == ALICE.public
    assert application.unwrap(wrapped, allow_high_s=True).signer == ALICE.public


def test_nothing_is_drawn_twice_and_nothing_repeats() -> None:
    rng = seeded(1)
    sealed = {payload26.seal_symmetric(DATA, KEY, sign=None, rng=rng) for _ in range(50)}
    assert len({payload[-12:] for payload in sealed}) == 50
    sealed = {payload26.seal_asymmetric(DATA, BOB.public, sign=None, rng=rng) for _ in range(50)}
    assert len({payload[:65] for payload in sealed}) == 50


def test_what_was_said_is_not_in_a_repr() -> None:
    opened = payload26.Opened(b"a secret", ALICE.public)
    unwrapped = application.unwrap(application.wrap(b"a secret", 1, ALICE))
    assert "secret" not in repr(opened) + repr(unwrapped)
