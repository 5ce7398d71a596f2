"""What a Noise handshake refuses: points of low order, forged messages, what belongs to another device."""

from __future__ import annotations

from hashlib import sha256

import pytest
from attrs import evolve
from kexkit.api import Device, Hear
from kexkit.errors import Forged, Malformed, NoOffer, NotMine, OfferForeign
from kexkit_noise import mechanisms
from kexkit_noise.calling import Calling
from kexkit_noise.keys import KeyPair

from tests.noise.meeting import (
    NAMES,
    SENDS_STATIC,
    TELLS_STATIC,
    Meeting,
    answer_of,
    nobody_is_believed,
    only,
    pair_of,
    refused,
    static_of,
)

ALL = pytest.mark.parametrize("name", NAMES)
LOW_ORDER = [
    bytes(32),
    b"\x01" + bytes(31),
    bytes.fromhex("e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800"),
    bytes.fromhex("5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157"),
    b"\xec" + b"\xff" * 30 + b"\x7f",
    b"\xed" + b"\xff" * 30 + b"\x7f",
    b"\xee" + b"\xff" * 30 + b"\x7f",
]


# --- points of low order ----------------------------------------------------------------------------------------------


@ALL
@pytest.mark.parametrize("point", LOW_ORDER, ids=lambda point: point.hex()[:8])
def test_points_of_low_order_are_refused_wherever_they_stand_in_clear(name: str, point: bytes) -> None:
    """The ephemerals of messages 1 and 2; with the highest bit set, too, which X25519 ignores."""
    for marked in (point, point[:-1] + bytes((point[-1] | 0x80,))):
        pair = pair_of(name)
        first = Meeting(pair).first()
        bad = first.frame[:19] + marked + first.frame[51:]
        assert refused(lambda bad=bad, first=first, pair=pair: pair.bob.receive(first.altered(bad)))
        second = Meeting(pair).second(first)
        bad = second.frame[:19] + marked + second.frame[51:]
        assert refused(lambda bad=bad, second=second, pair=pair: pair.alice.receive(second.altered(bad)))
        pair.deliver(Meeting(pair).third(second))
        pair.say(pair.alice, b"the genuine ones still work")


@pytest.mark.parametrize("name", [name for name in NAMES if name.startswith("healing")])
@pytest.mark.parametrize("point", LOW_ORDER, ids=lambda point: point.hex()[:8])
def test_a_first_ratchet_key_of_low_order_is_refused(name: str, point: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """A dishonest responder's, then a dishonest initiator's."""
    honest = mechanisms.Mechanism.write_payload

    def dishonest(self: mechanisms.Mechanism, ratchet: bytes, stated: bytes) -> bytes:
        return honest(self, point, stated)

    pair = pair_of(name)
    first = Meeting(pair).first()
    with monkeypatch.context() as patch:
        patch.setattr(mechanisms.Mechanism, "write_payload", dishonest)
        bad = Meeting(pair).second(first)
    assert isinstance(refused(lambda: pair.alice.receive(bad)), Malformed)
    nobody_is_believed(pair)

    pair = pair_of(name)
    second = Meeting(pair).second(Meeting(pair).first())
    with monkeypatch.context() as patch:
        patch.setattr(mechanisms.Mechanism, "write_payload", dishonest)
        (bad,) = pair.alice.copy().receive(second).sent
    assert isinstance(refused(lambda: pair.bob.receive(bad)), Malformed)
    pair.deliver(Meeting(pair).third(second))
    pair.say(pair.alice, b"the genuine one still opens")


@pytest.mark.parametrize("name", SENDS_STATIC)
def test_a_first_message_carries_nothing_beside_its_keys(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What stood there would be in clear: a program that puts something there is not ours."""
    pair = pair_of(name)
    with monkeypatch.context() as patch:
        patch.setattr(mechanisms.Mechanism, "first_says_who", property(lambda _: True))
        first = Meeting(pair).first()
    assert isinstance(refused(lambda: pair.bob.receive(first)), Malformed)


# --- forgeries --------------------------------------------------------------------------------------------------------


@ALL
def test_forged_messages_first_and_the_genuine_ones_after_them(name: str) -> None:
    """Everything that is public is right in them: tags, lengths, protocol id, keys on the curve."""
    pair = pair_of(name)
    first = Meeting(pair).first()
    bobs = static_of(pair.bob)
    forged = answer_of(pair, first, evolve(bobs, pair=KeyPair(static_of(pair.carol).pair.private, bobs.pair.public)))
    assert forged.frame[:16] == only(pair.alice, Calling).nametag
    assert refused(lambda: pair.alice.receive(forged))
    second = Meeting(pair).second(first)
    third = Meeting(pair).third(second)
    before = pair.bob.state()
    for place in range(16, len(third.frame), 7):
        bad = bytearray(third.frame)
        bad[place] ^= 1
        assert refused(lambda bad=bad: pair.bob.receive(third.altered(bytes(bad))))
    assert pair.bob.state() == before
    pair.deliver(third)
    pair.say(pair.bob, b"it opens")
    pair.say(pair.alice, b"both ways")


@ALL
def test_an_opening_that_answers_no_offer_is_dropped_before_any_agreement(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair = pair_of(name)
    first = Meeting(pair).first()
    opening = evolve(
        pair.bob.opening(None, pair.bob.issued[0].bind), to=Hear(first.topic or "", sha256().digest()[:16])
    )

    def never(*_: object, **__: object) -> None:
        raise AssertionError("a handshake was begun")

    monkeypatch.setattr("kexkit_noise._noise.Handshake.begin", never)
    with pytest.raises(NotMine):
        pair.bob.exchange.accept(first.frame, opening, {}, ctx=pair.bob.context)
    with pytest.raises(NotMine):
        pair.bob.exchange.accept(first.frame, evolve(opening, to=None), {}, ctx=pair.bob.context)


@pytest.mark.parametrize("name", TELLS_STATIC)
def test_a_second_message_with_another_device_s_genuine_statement_is_foreign(name: str) -> None:
    """Bob's laptop has his identity and a static of its own; the phone was meant."""
    pair = pair_of(name)
    first = Meeting(pair).first()
    laptop = pair.bob.copy(seed="laptop", me=Device(pair.bob.me.identity, pair.carol.me.installation))
    laptop.drawer.clear()
    laptop.make_offer()
    second = answer_of(pair, first, static_of(laptop))
    assert isinstance(refused(lambda: pair.alice.receive(second)), Forged | OfferForeign)
    nobody_is_believed(pair)


def test_a_session_without_an_offer_does_not_begin() -> None:
    pair = pair_of("noise-xx/1")
    pair.alice.adverts.clear()
    with pytest.raises(NoOffer):
        pair.alice.initiate(pair.bob.me)
