"""Strangers on a pairing's topic, which all pairings of an application share: whoever knows no nametag ends nothing."""

from __future__ import annotations

import pytest
from kexkit.errors import Forged, Limit, NotMine
from kexkit_noise import limits, nametags, payload
from kexkit_noise._noise import Pattern
from kexkit_noise.pairing import Pairing
from kexkit_noise.payload import PayloadV2

from tests.noise.handshake_pairs import pair, secret
from tests.noise.test_pairing import NOW, confirm, scan, show, take

STRANGERS_TAG = bytes(range(16))


@pytest.mark.parametrize(
    "garbage",
    [
        b"",
        bytes(15),
        STRANGERS_TAG,
        STRANGERS_TAG + bytes(10),
        STRANGERS_TAG + bytes((Pattern.WAKU_PAIRING.protocol_id, 200)) + bytes(300),
        payload.encode(PayloadV2(STRANGERS_TAG, Pattern.XX.protocol_id, b"", bytes(264))),
        bytes(limits.PAYLOAD_BYTES + 1),
    ],
    ids=["nothing", "short", "a tag", "no form", "wrong lengths", "another protocol", "too long"],
)
def test_garbage_of_who_has_not_the_nametag_costs_no_try_and_ends_no_pairing(garbage: bytes) -> None:
    responder = show()
    initiator, first = scan(responder)
    for side in (responder, initiator):
        for _ in range(limits.PAIRING_TRIES + 1):
            progress = side.receive(garbage, NOW)
            assert isinstance(progress.refused, NotMine)
            assert progress.pairing is side
    after, _ = confirm(take(responder, first))
    assert after.auth_code == initiator.auth_code


def test_garbage_under_the_nametag_is_counted() -> None:
    responder = show()
    for _ in range(limits.PAIRING_TRIES):
        responder = responder.receive(responder.nametag + bytes(10), NOW).pairing
    with pytest.raises(Limit):
        responder.receive(b"", NOW)


def test_a_refusal_that_is_kept_holds_no_frame_with_keys() -> None:
    responder = show()
    _, first = scan(responder)
    refused = responder.receive(first[:-1] + bytes((first[-1] ^ 1,)), NOW).refused
    assert isinstance(refused, Forged)
    assert (refused.__traceback__, refused.__context__, refused.__cause__) == (None, None, None)


def test_the_digits_protect_who_scans_and_not_who_shows_from_one_who_saw_code_and_nametag(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The tries that eight digits take are 10**8; two show the same. What follows from it is in waku-noise.md."""
    monkeypatch.setattr(nametags, "_CODE_DIGITS", 2)
    responder = show()
    initiator, _ = scan(responder)
    for number in range(5000):
        made = Pairing.scan(
            responder.qr.text,
            responder.nametag,
            application="app",
            version="0.1",
            static=pair("mallory"),
            random=secret(f"try {number}") + secret("what opens it"),
            now=NOW,
        )
        if made.pairing.auth_code == initiator.auth_code:
            break
    assert made.frame is not None
    shown, second = confirm(take(responder, made.frame))
    assert shown.auth_code == initiator.auth_code
    third = made.pairing.confirm(NOW).pairing.receive(second, NOW).frame
    assert third is not None
    assert take(shown, third).remote_static == pair("mallory").public
    waiting = initiator.confirm(NOW).pairing
    assert waiting.receive(second, NOW).pairing.done is False
