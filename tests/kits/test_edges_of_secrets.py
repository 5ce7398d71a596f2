"""The kit's hunt for secrets blames nobody for what the kit itself altered, and still knows every key."""

from __future__ import annotations

from kexkit.testing.key_exchange_leaks import _secrets, _windows

from tests.kits.test_the_kit_itself import TestRatchet as Kit


def test_no_public_frame_shows_a_secret_whichever_of_its_bytes_is_changed() -> None:
    pair = Kit()._settled()
    secrets = _secrets(pair)
    frame = pair.log[0].sent.frame
    for place in range(len(frame)):
        around = max(place - 15, 0)
        for value in range(256):
            changed = frame[around:place] + bytes((value,)) + frame[place + 1 : place + 16]
            assert secrets.isdisjoint(_windows((changed,)))


def test_every_key_that_was_drawn_is_a_secret() -> None:
    pair = Kit()._settled()
    secrets = _secrets(pair)
    drawn = [each for party in (pair.alice, pair.bob) for each in party.rng.drawn if len(each) == 32]
    assert drawn
    assert all(set(_windows((each,))) <= secrets for each in drawn)
