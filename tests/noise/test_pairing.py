"""Pairing by QR code: who learns what, when, and what cannot end it."""

from __future__ import annotations

import hmac
import pickle

import pytest
from attrs import frozen
from hypothesis import given, settings
from hypothesis import strategies as st
from kexkit.errors import Forged, InvalidInput, Limit, Malformed, NotMine, Unsupported
from kexkit_noise import limits, nametags, payload
from kexkit_noise._noise import Handshake, Keys, Pattern, key_pair
from kexkit_noise.pairing import Pairing
from kexkit_noise.payload import PayloadV2

from tests.noise.handshake_pairs import pair, secret

NOW = 1_000_000
SHOWING = secret("showing 1") + secret("showing 2") + secret("showing 3")[:16]
SCANNING = secret("scanning 1") + secret("scanning 2")


def show(random: bytes = SHOWING) -> Pairing:
    return Pairing.show("app", "0.1", "10", static=pair("responder"), random=random, now=NOW)


def scan(shown: Pairing, *, text: str | None = None, nametag: bytes | None = None) -> tuple[Pairing, bytes]:
    progress = Pairing.scan(
        text or shown.qr.text,
        nametag or shown.nametag,
        application="app",
        version="0.1",
        static=pair("initiator"),
        random=SCANNING,
        now=NOW,
    )
    assert progress.frame is not None
    return progress.pairing, progress.frame


def take(pairing: Pairing, frame: bytes) -> Pairing:
    progress = pairing.receive(frame, NOW)
    assert progress.refused is None
    assert progress.frame is None
    return progress.pairing


def confirm(pairing: Pairing) -> tuple[Pairing, bytes]:
    progress = pairing.confirm(NOW)
    assert progress.frame is not None
    return progress.pairing, progress.frame


@frozen
class Stage:
    """Just before a frame is received."""

    reader: Pairing
    frame: bytes


def stages() -> tuple[list[Stage], Pairing, Pairing]:
    """The three frames with their readers, and both sides at the end."""
    responder = show()
    initiator, first = scan(responder)
    after_first, second = confirm(take(responder, first))
    confirmed = initiator.confirm(NOW).pairing
    ended = confirmed.receive(second, NOW)
    assert ended.frame is not None
    last = take(after_first, ended.frame)
    return [Stage(responder, first), Stage(confirmed, second), Stage(after_first, ended.frame)], ended.pairing, last


def test_two_devices_that_confirm_the_same_code_share_keys_and_know_each_others_static() -> None:
    _, initiator, responder = stages()
    assert initiator.done
    assert responder.done
    assert initiator.split() == responder.split()
    assert initiator.psk() == responder.psk()
    assert initiator.auth_code == responder.auth_code
    assert (initiator.remote_static, responder.remote_static) == (pair("responder").public, pair("initiator").public)
    assert initiator.topic == responder.topic == "/app/0.1/wakunoise/1/sessions_shard-10/proto"
    keys = initiator.split()
    extracted = hmac.digest(keys.h, keys.k1 + keys.k2, "sha256")
    assert initiator.psk() == hmac.digest(extracted, b"kexkit/pairing psk/1\x01", "sha256")


def test_no_static_leaves_before_its_owner_has_confirmed_the_code() -> None:
    responder = show()
    initiator, first = scan(responder)
    waiting = take(responder, first)
    assert waiting.auth_code == initiator.auth_code
    assert waiting.receive(first, NOW).frame is None
    _, second = confirm(waiting)
    heard = initiator.receive(second, NOW)
    assert heard.frame is None
    assert heard.refused is None
    assert not heard.pairing.done
    assert heard.pairing.remote_static is None
    done, third = confirm(heard.pairing)
    assert done.done
    assert third == stages()[0][2].frame


def test_the_order_of_confirming_and_hearing_does_not_matter() -> None:
    responder = show()
    initiator, first = scan(responder)
    after, second = confirm(take(responder, first))
    early = initiator.confirm(NOW).pairing.receive(second, NOW)
    late = initiator.receive(second, NOW).pairing.confirm(NOW)
    assert early.frame == late.frame
    assert early.frame is not None
    assert take(after, early.frame).split() == early.pairing.split() == late.pairing.split()


def test_there_is_no_code_to_confirm_before_the_first_message() -> None:
    responder = show()
    assert responder.auth_code is None
    with pytest.raises(InvalidInput, match="no code"):
        responder.confirm(NOW)


def test_confirming_twice_sends_nothing_twice() -> None:
    for side in stages()[1:]:
        again = side.confirm(NOW)
        assert again.frame is None
        assert again.pairing.split() == side.split()


def test_nothing_is_known_of_the_peer_before_the_end() -> None:
    for stage in stages()[0]:
        assert stage.reader.remote_static is None
        for ask in (stage.reader.split, stage.reader.psk):
            with pytest.raises(InvalidInput, match="not complete"):
                ask()


# --- what does not fit -----------------------------------------------------------------------------------------------


def refused(
    stage: Stage, frame: bytes, kind: type[Exception] | tuple[type[Exception], ...], *, counted: bool = True
) -> None:
    """It says why, and the genuine frame is taken after it."""
    progress = stage.reader.receive(frame, NOW)
    assert isinstance(progress.refused, kind)
    assert progress.frame is None
    assert progress.pairing.tries == stage.reader.tries + counted
    assert progress.pairing.receive(stage.frame, NOW).refused is None


def test_garbage_never_ends_a_pairing() -> None:
    for stage in stages()[0]:
        for position in (*range(16, 140), len(stage.frame) - 1):
            spoiled = stage.frame[:position] + bytes((stage.frame[position] ^ 1,)) + stage.frame[position + 1 :]
            refused(stage, spoiled, (Malformed, Forged))
        for spoiled in (stage.frame[:-1], stage.frame + b"\0"):
            refused(stage, spoiled, Malformed)
        refused(stage, b"", NotMine, counted=False)


@settings(max_examples=60, derandomize=True)
@given(st.binary(max_size=500))
def test_no_bytes_at_all_end_a_pairing(raw: bytes) -> None:
    for stage in stages()[0]:
        for frame in (raw, stage.frame[:16] + raw, stage.frame[:18] + raw):
            progress = stage.reader.receive(frame, NOW)
            assert progress.refused is not None or frame == stage.frame
            assert progress.pairing.receive(stage.frame, NOW).refused is None


def test_frames_of_another_nametag_and_echoes_of_our_own_are_not_ours_and_cost_no_try() -> None:
    listed, initiator, responder = stages()
    for stage in listed:
        other = secret("another")[:16] + stage.frame[16:]
        refused(stage, other, NotMine, counted=False)
        for sent in (each.frame for each in listed if each is not stage):
            refused(stage, sent, NotMine, counted=False)
    for side in (initiator, responder):
        following = nametags.message_nametag(side.split().h) + listed[-1].frame[16:]
        for frame in (*(stage.frame for stage in listed), following):
            assert isinstance(side.receive(frame, NOW).refused, NotMine)


def test_whoever_waits_for_the_code_to_be_confirmed_takes_no_frame() -> None:
    """Not even one with the nametag of the message that it will write itself, which everybody can compute."""
    responder = show()
    _, first = scan(responder)
    waiting = take(responder, first)
    _, second = confirm(waiting)
    assert isinstance(waiting.receive(second, NOW).refused, NotMine)


def forged(place: Stage, content: bytes, *, static: str, initiator: bool) -> bytes:
    """The message at this place by somebody who does all of Noise right, under `static` and with `content`."""
    shown, at = show(), place.reader._handshake.step
    statics = {True: pair("initiator"), False: pair("responder")} | {initiator: pair(static)}
    known = {
        True: Keys(statics[True], remote_ephemeral=shown.qr.ephemeral),
        False: Keys(statics[False], ephemeral=key_pair(SHOWING[:32])),
    }
    writer, reader = (
        Handshake.begin(Pattern.WAKU_PAIRING, initiator=role, prologue=shown.qr.prologue, keys=known[role])
        for role in (True, False)
    )
    contents = [nametags.commitment(pair("initiator").public, SCANNING[32:]), SHOWING[32:64], SCANNING[32:]]
    contents[at] = content
    frame = b""
    for step in range(at + 1):
        tag = nametags.message_nametag(writer.h) if step else shown.nametag
        written = writer.write(contents[step], tag, ephemeral=SCANNING[:32])
        frame = payload.encode(PayloadV2(tag, Pattern.WAKU_PAIRING.protocol_id, written.fields, written.transport))
        writer, reader = reader.read(written.fields, written.transport, tag).state, written.state
    return frame


def test_a_static_that_was_not_committed_to_is_refused() -> None:
    _, second, third = stages()[0]
    for stage, initiator, opening in ((second, False, SHOWING[32:64]), (third, True, SCANNING[32:])):
        honest = "initiator" if initiator else "responder"
        assert forged(stage, opening, static=honest, initiator=initiator) == stage.frame
        refused(stage, forged(stage, opening, static="mallory", initiator=initiator), Forged)
        refused(stage, forged(stage, secret("other"), static=honest, initiator=initiator), Forged)


@pytest.mark.parametrize("size", [0, 31, 33])
def test_commitments_and_what_opens_them_have_32_bytes(size: int) -> None:
    for stage, initiator in zip(stages()[0], (True, False, True), strict=True):
        honest = "initiator" if initiator else "responder"
        refused(stage, forged(stage, bytes(size), static=honest, initiator=initiator), Malformed)


def test_a_code_of_another_application_or_version_is_refused() -> None:
    for application, version in (("other", "0.1"), ("app", "0.2")):
        other = Pairing.show(application, version, "10", static=pair("responder"), random=SHOWING, now=NOW)
        with pytest.raises(Unsupported):
            scan(other)


def test_who_scanned_another_code_or_got_another_nametag_never_pairs() -> None:
    responder, other = show(), show(secret("o1") + secret("o2") + SHOWING[64:])
    _, frame = scan(responder, text=other.qr.text)
    assert isinstance(responder.receive(frame, NOW).refused, Forged)
    _, frame = scan(responder, nametag=secret("other")[:16])
    assert isinstance(responder.receive(frame, NOW).refused, NotMine)


def test_a_person_in_the_middle_shows_in_the_code() -> None:
    """Mallory saw the QR code, and is quicker. The responder's code is then not the initiator's."""
    responder = show()
    initiator, _ = scan(responder)
    mallory = Pairing.scan(
        responder.qr.text,
        responder.nametag,
        application="app",
        version="0.1",
        static=pair("mallory"),
        random=secret("m1") + secret("m2"),
        now=NOW,
    )
    assert mallory.frame is not None
    assert take(responder, mallory.frame).auth_code != initiator.auth_code


# --- bounds ----------------------------------------------------------------------------------------------------------


def test_a_pairing_ends_after_its_time() -> None:
    for stage in stages()[0]:
        until = NOW + limits.PAIRING_MS
        assert stage.reader.receive(stage.frame, until - 1).refused is None
        for now in (until, until + 1):
            with pytest.raises(Limit, match="timed out"):
                stage.reader.receive(stage.frame, now)
            with pytest.raises(Limit, match="timed out"):
                stage.reader.confirm(now)


def test_a_pairing_ends_after_so_many_tries() -> None:
    stage = stages()[0][0]
    pairing, spoiled = stage.reader, stage.frame[:-1]
    for tries in range(limits.PAIRING_TRIES):
        assert pairing.tries == tries
        if tries == limits.PAIRING_TRIES - 1:
            assert pairing.receive(stage.frame, NOW).refused is None
        pairing = pairing.receive(spoiled, NOW).pairing
    with pytest.raises(Limit, match="Too much"):
        pairing.receive(stage.frame, NOW)


@pytest.mark.parametrize("size", [0, 64, 79, 81])
def test_a_pairing_is_shown_with_80_random_bytes(size: int) -> None:
    with pytest.raises(InvalidInput):
        show(bytes(size))


@pytest.mark.parametrize("size", [1, 15, 17])
def test_a_nametag_has_16_bytes(size: int) -> None:
    with pytest.raises(InvalidInput):
        scan(show(), nametag=bytes(size))


def test_no_secret_shows_in_a_repr_or_a_pickle() -> None:
    listed, initiator, responder = stages()
    for side in (initiator, responder, *(stage.reader for stage in listed)):
        shown = repr(side)
        for hidden in (SHOWING[:32], SHOWING[32:64], SHOWING[64:], SCANNING[:32], SCANNING[32:], secret("initiator")):
            assert repr(hidden) not in shown
        with pytest.raises(TypeError):
            pickle.dumps(side)
