"""Strangers on a pairing's topic, which all pairings of an application share: whoever knows no nametag ends nothing."""

from __future__ import annotations

import pytest
from kexkit.errors import Limit, NotMine
from kexkit_noise import limits, payload
from kexkit_noise._noise import Pattern
from kexkit_noise.payload import PayloadV2

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
