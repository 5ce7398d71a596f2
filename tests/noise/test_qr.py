"""A pairing's QR code: one spelling, five fields, nothing in it that could not be used."""

from __future__ import annotations

from base64 import b64encode, urlsafe_b64encode

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kexkit.errors import InvalidInput, Limit, Malformed, Refusal
from kexkit_noise import limits, qr
from kexkit_noise.qr import QrCode

from tests.noise.handshake_pairs import pair

KEY = pair("shown").public
CODE = QrCode("app", "0.1", "10", KEY, bytes(32))
NAMES = st.text(st.characters(codec="utf-8"), max_size=30)


def field(raw: bytes) -> str:
    return urlsafe_b64encode(raw).decode()


@settings(derandomize=True)
@given(NAMES, NAMES, NAMES, st.binary(min_size=32, max_size=32))
def test_a_code_comes_back_from_its_text(application: str, version: str, shard: str, commitment: bytes) -> None:
    code = QrCode(application, version, shard, KEY, commitment)
    assert qr.read(code.text) == code
    assert code.prologue == code.text.encode()


@settings(derandomize=True, max_examples=300)
@given(st.text(max_size=120) | st.text("AQIDBA==:-_", max_size=200))
def test_any_text_gives_a_code_of_this_very_spelling_or_a_refusal(text: str) -> None:
    try:
        assert qr.read(text).text == text
    except Refusal:
        return


def test_another_spelling_of_the_same_code_is_refused() -> None:
    """Both sides hash the text; js would take the first of these and make another text of it."""
    parts = CODE.text.split(":")
    unpadded = [part.rstrip("=") for part in parts]
    standard = [*parts[:3], b64encode(b"\xfb\xff" + KEY[2:]).decode(), parts[4]]
    loose = [*parts[:4], parts[4][:-2] + "B="]
    for spelling in (unpadded, standard, loose, [" " + parts[0], *parts[1:]], [parts[0] + "\n", *parts[1:]]):
        with pytest.raises(Malformed, match="base64url"):
            qr.read(":".join(spelling))


@pytest.mark.parametrize("count", [0, 1, 4, 6])
def test_a_code_has_five_fields(count: int) -> None:
    with pytest.raises(Malformed):
        qr.read(":".join([field(KEY)] * count))


@pytest.mark.parametrize("size", [0, 31, 33])
def test_key_and_commitment_have_32_bytes(size: int) -> None:
    names = [field(b"app"), field(b"0.1"), field(b"10")]
    for last in ([field(KEY[:1] * size), field(bytes(32))], [field(KEY), field(bytes(size))]):
        with pytest.raises(Malformed, match="length"):
            qr.read(":".join(names + last))


def test_a_shown_key_of_low_order_is_refused() -> None:
    with pytest.raises(Malformed, match="low order"):
        qr.read(QrCode("app", "0.1", "10", bytes(32), bytes(32)).text)


def test_a_name_that_is_no_text_is_refused() -> None:
    with pytest.raises(Malformed, match="no text"):
        qr.read(":".join((field(b"\xff"), field(b"1"), field(b"1"), field(KEY), field(bytes(32)))))


def test_a_code_has_at_most_so_many_characters() -> None:
    longest = (limits.QR_CHARACTERS - len(QrCode("", "", "", KEY, bytes(32)).text)) // 4 * 3
    for size in (longest - 1, longest):
        code = QrCode("a" * size, "", "", KEY, bytes(32))
        assert qr.read(code.text) == code
    with pytest.raises(InvalidInput):
        _ = QrCode("a" * (longest + 1), "", "", KEY, bytes(32)).text
    with pytest.raises(Limit):
        qr.read("A" * (limits.QR_CHARACTERS + 1))
