"""What finds a key and a nonce used twice can fail."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.crash.sealing import digest, reused

KEY, OTHER_KEY = digest(b"key"), digest(b"another key")
Seal = tuple[str, int, str, str, str, bytes]


def seal(layer: str, life: int, text: str, *, key: str = KEY, nonce: str = "00") -> Seal:
    return layer, life, key, nonce, digest(text.encode()), f"{layer} {life} {text}, sealed".encode()


def papers(folder: Path, *seals: Seal, wrapped: bool, left: tuple[int, ...]) -> Path:
    """As a life leaves them: all were written down, those whose places are `left` were also published."""
    (folder / "seals").write_text("".join(json.dumps([*rest, sealed.hex()]) + "\n" for *rest, sealed in seals))
    payloads = [b"envelope of " + sealed if wrapped else b"tag, " + sealed + b", rest" for *_, sealed in seals]
    inside = [f"{digest(p)} {(b'frame: ' + one[5]).hex()}\n" for p, one in zip(payloads, seals, strict=True) if wrapped]
    (folder / "envelopes").write_text("".join(inside))
    sent = [json.dumps(["topic", payloads[place].hex(), 1, 0]) + "\n" for place in left]
    (folder / "network").write_text("".join(sent))
    return folder


@pytest.mark.parametrize("wrapped", [True, False])
@pytest.mark.parametrize("layer", ["x3dh", "text", "header", "handshake"])
def test_a_key_and_a_nonce_that_left_with_two_texts_are_found(tmp_path: Path, layer: str, wrapped: bool) -> None:
    one, other = seal(layer, 1, "one"), seal(layer, 2, "other")
    assert list(reused(papers(tmp_path, one, other, wrapped=wrapped, left=(0, 1))))
    assert not list(reused(papers(tmp_path, one, one, wrapped=wrapped, left=(0, 1))))
    for fresh in (seal(layer, 2, "other", key=OTHER_KEY), seal(layer, 2, "other", nonce="01")):
        assert not list(reused(papers(tmp_path, one, fresh, wrapped=wrapped, left=(0, 1))))


@pytest.mark.parametrize(("layer", "counts"), [("x3dh", True), ("text", True), ("header", False), ("handshake", False)])
def test_where_nonces_are_drawn_even_what_nobody_saw_has_one_of_its_own(
    tmp_path: Path, layer: str, counts: bool
) -> None:
    found = list(reused(papers(tmp_path, seal(layer, 1, "one"), seal(layer, 2, "other"), wrapped=True, left=(1,))))
    assert bool(found) is counts


@pytest.mark.parametrize("layer", ["x3dh", "text"])
def test_a_message_key_seals_two_texts_in_no_life(tmp_path: Path, layer: str) -> None:
    one, other = seal(layer, 1, "one"), seal(layer, 1, "other", nonce="01")
    assert list(reused(papers(tmp_path, one, other, wrapped=True, left=())))
