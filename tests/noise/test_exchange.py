"""What a Noise mechanism puts on the wire, and how the plugin is configured."""

from __future__ import annotations

import hmac
import importlib.metadata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kexkit import load_plugins
from kexkit.api import Carriage, Guarantee, Hear, Opening
from kexkit.errors import Forged, InvalidInput, Malformed, NoOffer, PluginError, Unknown
from kexkit.identity import tagged_digest
from kexkit.limits import HALF_OPEN_MS
from kexkit_noise import kexkit_key_exchanges, limits, payload
from kexkit_noise.answering import Answering
from kexkit_noise.calling import Calling
from kexkit_noise.exchange import BY_DEFAULT, NoiseExchange
from kexkit_noise.mechanisms import MECHANISMS
from kexkit_noise.sessions import Running

from tests.noise.meeting import NAMES, PSK, Meeting, mechanism, only, pair_of, static_of

ALL = pytest.mark.parametrize("name", NAMES)
MARK = b"a text that must never be in a handshake"
SECOND = 1000


# --- the wire ---------------------------------------------------------------------------------------------------------


@ALL
def test_frames_are_waku_s_payloads_and_nobody_takes_a_healing_one_for_waku_s(name: str) -> None:
    ours = MECHANISMS[name]
    sent = Meeting(pair_of(name)).all()
    ids = {"xk1": 11, "xx": 12, "k1k1": 10, "xxpsk0": 13}
    waku = ids[ours.pattern.name.lower()]
    for frame in (each.frame for each in sent):
        assert frame[16] == (0x80 | waku if name.startswith("healing") else waku)
        payload.decode(frame, frame[16])


@ALL
def test_messages_two_and_three_travel_on_a_topic_of_the_handshake(name: str) -> None:
    pair = pair_of(name)
    first, second, third = Meeting(pair).all()
    assert first.topic == (pair.bob.issued[0].to or Hear("")).topic
    assert second.topic == third.topic != first.topic
    assert second.topic is not None
    assert second.topic.startswith("/kexkit/1/wakunoise/1/sessions/")
    (text,) = pair.alice.seal(MARK, pair.bob.me)
    assert text.topic not in (first.topic, second.topic)


@ALL
def test_handshakes_carry_no_text_and_seal_none(name: str) -> None:
    pair = pair_of(name)
    frames = []
    first = Meeting(pair).first()
    with pytest.raises(InvalidInput):
        only(pair.alice, Calling).seal(MARK, ctx=pair.alice.context)
    second = Meeting(pair).second(first)
    with pytest.raises(InvalidInput):
        only(pair.bob, Answering).seal(MARK, ctx=pair.bob.context)
    third = Meeting(pair).third(second)
    pair.deliver(third)
    frames += [first, second, third, *pair.alice.seal(MARK, pair.bob.me), *pair.bob.seal(MARK, pair.alice.me)]
    assert not any(MARK in sent.frame for sent in frames)


@ALL
def test_statements_stand_in_clear_in_k1k1_alone_and_identities_nowhere_else(name: str) -> None:
    pair = pair_of(name)
    sent = Meeting(pair).all()
    for party in (pair.alice, pair.bob):
        shown = [
            each for each in sent if party.me.identity in each.frame or party.issued[0].offer.public[:32] in each.frame
        ]
        assert shown == ([sent[0]] if "k1k1" in name and party is pair.alice else [])


@ALL
def test_nobody_is_known_and_nothing_is_graded_before_the_third_message(name: str) -> None:
    pair = pair_of(name)
    first = Meeting(pair).first()
    assert only(pair.alice, Calling).grade is None
    assert only(pair.alice, Calling).peer == pair.bob.me, "whom it is meant for; nothing is sealed to them yet"
    second = Meeting(pair).second(first)
    assert (only(pair.bob, Answering).grade, only(pair.bob, Answering).peer) == (None, None)
    third = Meeting(pair).third(second)
    assert only(pair.alice, Running).grade == MECHANISMS[name].guarantees
    pair.deliver(third)
    assert only(pair.bob, Running).grade == MECHANISMS[name].guarantees
    assert only(pair.bob, Running).peer == pair.alice.me


@ALL
def test_only_keys_that_were_never_a_handshake_s_go_on_in_a_session(name: str) -> None:
    """Ephemerals and the responder's ratchet key are gone when the session runs, and no static is in it."""
    pair = pair_of(name)
    Meeting(pair).all()
    for party, role in ((pair.alice, "initiator"), (pair.bob, "responder")):
        snapshot = only(party, Running).snapshot()
        ephemeral, *ratchet = [drawn for drawn in party.rng.drawn[1:] if len(drawn) == 32]
        assert ephemeral not in snapshot
        assert static_of(party).pair.private not in snapshot
        if MECHANISMS[name].heals:
            assert (ratchet[0] in snapshot) == (role == "initiator"), "whose turn it is keeps its key"


@ALL
@given(st.binary(max_size=250), st.booleans())
@settings(derandomize=True, max_examples=200)
def test_any_payload_is_malformed_or_has_one_encoding(name: str, raw: bytes, stated: bool) -> None:
    ours = MECHANISMS[name]
    ratchet = bytes(32 if ours.heals else 0)
    right = ours.write_payload(ratchet, raw.ljust(162, b"s")[:162] if stated else b"")
    assert ours.read_payload(right, stated=stated)[0] == ratchet
    wrong = [raw, right[:-1], right + b"\0", b"\0" + right[1:], b"\x02" + right[1:]]
    at = 1 + len(ratchet)
    wrong += [right[:at] + bytes((high, low)) + right[at + 2 :] for high, low in ((1, 0), (0, 161), (0, 163), (0, 1))]
    for each in wrong:
        try:
            assert ours.write_payload(*ours.read_payload(each, stated=stated)) == each
        except Malformed:
            continue
        assert each == right or each is raw


# --- secrets and settings ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [name for name in NAMES if "psk" in name])
def test_a_psk_is_the_opening_s_or_the_mechanism_s_and_without_one_nothing_begins(name: str) -> None:
    pair = pair_of(name)
    bare = NoiseExchange(name)
    alice, bob = pair.alice, pair.bob
    first = Meeting(pair).first()
    alice.exchange = bob.exchange = bare
    with pytest.raises(NoOffer):
        alice.initiate(bob.me)
    with pytest.raises(Unknown):
        bob.receive(first)
    bob.secret = bytes(32)
    with pytest.raises(Forged):
        bob.receive(first)
    bob.secret = PSK
    assert bob.receive(first).sent


@pytest.mark.parametrize("wrong", [b"", bytes(31), bytes(33), b"a password"])
def test_a_psk_is_a_key_and_not_a_password(wrong: bytes) -> None:
    with pytest.raises(InvalidInput):
        NoiseExchange("noise-xxpsk0/1", wrong)
    pair = pair_of("noise-xxpsk0/1")
    pair.alice.secret = wrong
    with pytest.raises(InvalidInput):
        pair.alice.initiate(pair.bob.me)


def test_a_psk_without_a_use_is_a_mistake() -> None:
    with pytest.raises(InvalidInput):
        NoiseExchange("noise-xx/1", PSK)
    assert PSK.hex() not in repr(NoiseExchange("noise-xxpsk0/1", PSK))


def test_an_initiator_has_published_a_static_before() -> None:
    pair = pair_of("healing-noise-xk1/1")
    pair.alice.drawer.clear()
    with pytest.raises(NoOffer):
        pair.alice.initiate(pair.bob.me)


def test_an_expired_offer_begins_nothing() -> None:
    pair = pair_of("healing-noise-xk1/1")
    pair.clock.now = pair.alice.adverts[pair.bob.me].expires
    with pytest.raises(NoOffer):
        pair.alice.initiate(pair.bob.me)


def test_an_opening_without_a_place_begins_nothing() -> None:
    pair = pair_of("healing-noise-xk1/1")
    opening = Opening(pair.bob.me, pair.alice.adverts[pair.bob.me], bytes(32))
    with pytest.raises(NoOffer):
        pair.alice.exchange.initiate(opening, {}, ctx=pair.alice.context)


def test_a_mechanism_is_one_of_the_eight() -> None:
    assert len(NAMES) == 8
    for name in NAMES:
        exchange = mechanism(name)
        assert (exchange.name, exchange.carriage) == (name, Carriage.BARE)
        assert Guarantee.OFFLINE_START not in exchange.guarantees
    with pytest.raises(InvalidInput, match="noise-ik/1"):
        NoiseExchange("noise-ik/1")


def test_the_plugin_brings_three_unless_others_are_named() -> None:
    assert [kx.name for kx in kexkit_key_exchanges(config={})] == list(BY_DEFAULT)
    assert BY_DEFAULT == ("healing-noise-xk1/1", "noise-xk1/1", "noise-xx/1")
    named = {"mechanisms": "noise-xxpsk0/1, healing-noise-k1k1/1", "psk": PSK.hex()}
    assert kexkit_key_exchanges(config=named) == [
        NoiseExchange("noise-xxpsk0/1", PSK),
        NoiseExchange("healing-noise-k1k1/1"),
    ]


@pytest.mark.parametrize(
    "config",
    [
        {"mechanism": "noise-xx/1"},
        {"mechanisms": "noise-ik/1"},
        {"mechanisms": ""},
        {"psk": "password", "mechanisms": "noise-xxpsk0/1"},
        {"psk": "00", "mechanisms": "noise-xxpsk0/1"},
    ],
)
def test_a_wrong_setting_is_told_without_its_value(config: dict[str, str]) -> None:
    with pytest.raises(InvalidInput) as told:
        kexkit_key_exchanges(config=config)
    assert "password" not in str(told.value)


def test_the_host_finds_it_and_quarantines_it_with_wrong_settings() -> None:
    assert "noise" in {point.name for point in importlib.metadata.entry_points(group="kexkit")}
    plugins = load_plugins(["noise"])
    assert [kx.name for kx in plugins.key_exchanges] == list(BY_DEFAULT)
    with pytest.raises(PluginError, match="noise-ik/1"):
        load_plugins(["noise"], {"noise": {"mechanisms": "noise-ik/1"}})


@ALL
def test_tags_topic_and_id_follow_from_the_transcript_and_a_healing_third_tag_from_its_secret(name: str) -> None:
    pair = pair_of(name)
    first = Meeting(pair).first()
    calling = only(pair.alice, Calling)
    second = Meeting(pair).second(first)
    third = Meeting(pair).third(second)
    read = payload.decode(second.frame, second.frame[16])
    after = calling.state.read(read.fields, read.transport, second.frame[:16]).state
    ephemeral = first.frame[19:51]
    topic = tagged_digest(b"kexkit/handshake topic/1", ephemeral)[:16].hex()
    assert second.topic == f"/kexkit/1/wakunoise/1/sessions/{topic}/proto"
    assert calling.id == tagged_digest(b"kexkit/noise opening id/1", calling.state.h)
    if name.startswith("healing"):
        assert second.frame[:16] == tagged_digest(b"kexkit/noise tag2/1", calling.state.h)[:16]
        assert third.frame[:16] == hkdf(after.ck, b"kexkit/noise tag3/1")
    else:
        assert second.frame[:16] == hkdf(calling.state.h, b"")
        assert third.frame[:16] == hkdf(after.h, b"")


def hkdf(salt: bytes, info: bytes) -> bytes:
    """RFC 5869 with an empty secret, 16 bytes."""
    return hmac.digest(hmac.digest(salt, b"", "sha256"), info + b"\x01", "sha256")[:16]


def test_a_handshake_never_lives_longer_than_core_keeps_what_is_half_open() -> None:
    assert limits.HANDSHAKE_MS < limits.ANSWERING_MS <= HALF_OPEN_MS
