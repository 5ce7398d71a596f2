"""Live with status-go: what it does that kexkit does not. The oracle does the same, and the document says so."""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from hashlib import sha256
from random import Random
from typing import Final

import pytest
from coincurve import PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st
from kexkit.errors import Forged, Malformed, Refusal

from tests.interop import status_go_messages, status_go_ratchet
from tests.interop.conversations import DAY_MS
from tests.interop.devices import Refused, StatusGoDevice, Workshop
from tests.interop.live_status_go import LiveStatusGo, live_workshop
from tests.interop.protobuf import last, map_of, read, write
from tests.interop.status_go_peer import StatusGoPeer
from tests.interop.test_live_status_go import Pair, begins, meet, passes
from tests.interop.twins import ACTS, KEYS, KINDS, Act, Stage, forged, tampered

ORDER: Final = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
"""of the curve"""


# --- the oracle ------------------------------------------------------------------------------------------------------


def both_see_the_same(live: LiveStatusGo, acts: list[Act], each: int) -> None:
    real = Stage.of(live.device, live_workshop(0), each)
    oracle = Stage.of(Workshop.status_go, live_workshop(0), each)
    for act in acts:
        real.act(act)
        oracle.act(act)
        assert oracle.seen == real.seen


@settings(max_examples=150, deadline=None, derandomize=True)
@given(acts=ACTS, each=st.integers(1, 2))
def test_the_oracle_does_what_the_real_one_does(status_go: LiveStatusGo, acts: list[Act], each: int) -> None:
    both_see_the_same(status_go, acts, each)


@pytest.mark.parametrize("seed", range(30))
def test_the_oracle_does_what_the_real_one_does_for_long(status_go: LiveStatusGo, seed: int) -> None:
    random = Random(seed)
    acts = [(random.choice(KINDS), random.randrange(2**16), random.randrange(2**16)) for _ in range(120)]
    both_see_the_same(status_go, acts, random.choice((1, 2, 2, 4)))


PARTS: Final = st.lists(
    st.tuples(
        st.sampled_from([5001, 5002, 5003, 5004, 5005, 6003, 20055]), st.binary(max_size=9) | st.integers(1, 300)
    ),
    max_size=4,
)
MESSAGES: Final = PARTS.map(lambda parts: write((6003, b"body"), *parts))


@settings(max_examples=300, deadline=None, derandomize=True)
@given(
    payload=st.binary(max_size=30)
    | st.builds(lambda parts, one: write(*parts, (5004, one)), PARTS, MESSAGES)
    | MESSAGES
)
def test_the_oracle_tells_data_sync_from_bare_texts_as_the_real_one_does(
    status_go: LiveStatusGo, payload: bytes
) -> None:
    real = status_go.unwrap(payload)
    assert status_go_messages.is_payload(payload) is (real is not None)
    assert status_go_messages.unwrap(payload) == (real or (payload,))


# --- what is changed on the way --------------------------------------------------------------------------------------


@pytest.mark.parametrize("ours", [True, False], ids=["of kexkit", "of status-go"])
def test_no_changed_byte_of_a_text_is_read_as_another_text(status_go: LiveStatusGo, ours: bool) -> None:
    pair = Pair.made(status_go)
    passes(pair.ours, pair.theirs)
    passes(pair.theirs, pair.ours)
    sender, receiver = (pair.ours, pair.theirs) if ours else (pair.theirs, pair.ours)
    passes(sender, receiver)
    message = sender.send(receiver.identity, b"as it was")
    refused = 0
    for place in range(len(message)):
        changed = message[:place] + bytes((message[place] ^ 1,)) + message[place + 1 :]
        try:
            assert receiver.receive(sender.identity, changed) == b"as it was"
        except Refused:
            refused += 1
    assert refused > len(message) * 0.9
    if ours:
        assert receiver.receive(sender.identity, message) == b"as it was", "it opens again"
    passes(sender, receiver)


@pytest.mark.parametrize("size", range(48))
def test_a_sealed_payload_that_is_too_short_ends_status_gos_call_and_is_refused_by_kexkit(
    status_go: LiveStatusGo, size: int
) -> None:
    pair = Pair.made(status_go)
    for sender, receiver in ((pair.ours, pair.theirs), (pair.theirs, pair.ours)):
        cut = _cut(sender.send(receiver.identity, b""), size)
        if receiver is pair.ours:
            refusal = "Malformed"
        else:
            refusal = "panic: .* slice bounds out of range" if size < 32 else "invalid signature"
        with pytest.raises(Refused, match=refusal):
            receiver.receive(sender.identity, cut)
        passes(sender, receiver)


@pytest.mark.parametrize("size", [32, 47])
def test_a_short_payload_whose_sender_has_the_key_ends_the_call_too(
    status_go: LiveStatusGo, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    workshop = live_workshop(0)
    sender, receiver = workshop.status_go(workshop.person()), status_go.device(workshop, workshop.person())
    meet(sender, receiver)

    def encrypt(key: bytes, body: bytes, header: bytes) -> bytes:
        _, authentication, vector = status_go_ratchet._body_keys(key)
        covered = vector[: size - 32]
        return covered + hmac.digest(authentication, header + covered, sha256)

    with monkeypatch.context() as changed:
        changed.setattr(status_go_ratchet, "encrypt", encrypt)
        message = sender.send(receiver.identity, b"")
    with pytest.raises(Refused, match=r"panic: .* slice bounds out of range"):
        receiver.receive(sender.identity, message)
    passes(sender, receiver)


def _cut(message: bytes, size: int) -> bytes:
    fields = read(message)
    ((name, entry),) = map_of(fields[101]).items()
    parts = {number: last(read(entry), number) for number in read(entry)}
    sealed = write(*((number, part[:size] if number == 3 else part) for number, part in parts.items()))
    return write((2, last(fields, 2)), (3, last(fields, 3)), (101, write((1, name.encode()), (2, sealed))))


def test_a_changed_opening_spoils_the_session_for_status_go_until_its_next_prekey(status_go: LiveStatusGo) -> None:
    pair = Pair.made(status_go)
    message = pair.ours.send(pair.theirs.identity, b"first")
    with pytest.raises(Refused, match="invalid signature"):
        pair.theirs.receive(pair.ours.identity, tampered(message, pair.theirs.installation, 2))
    with pytest.raises(Refused, match="invalid signature"):
        pair.theirs.receive(pair.ours.identity, message)
    _heals_with_their_next_prekey(pair)


def test_somebody_elses_device_with_our_id_takes_our_place_at_status_go_until_its_next_prekey(
    status_go: LiveStatusGo,
) -> None:
    pair = Pair.made(status_go)
    secret = PrivateKey(pair.workshop.person())
    clock, rng = pair.workshop.clock.now_ns, pair.workshop.random.randbytes
    other = StatusGoDevice(StatusGoPeer(secret, pair.ours.installation, clock, rng))
    other.process_bundle(pair.theirs.identity, pair.theirs.bundle())
    passes(other, pair.theirs)
    with pytest.raises(Refused, match="bad until"):
        passes(pair.ours, pair.theirs)
    _heals_with_their_next_prekey(pair)


def _heals_with_their_next_prekey(pair: Pair) -> None:
    with pytest.raises(Refused):
        passes(pair.ours, pair.theirs)
    pair.theirs.age(DAY_MS)
    pair.ours.process_bundle(pair.theirs.identity, pair.theirs.bundle())
    assert begins(passes(pair.ours, pair.theirs), pair.theirs.installation)
    passes(pair.theirs, pair.ours)


# --- copies ----------------------------------------------------------------------------------------------------------


def test_a_copy_opens_again_at_status_go_until_it_is_told_that_the_text_was_processed(status_go: LiveStatusGo) -> None:
    pair = Pair.made(status_go)
    message = passes(pair.ours, pair.theirs)
    for _ in range(30):
        passes(pair.theirs, pair.ours)
        passes(pair.ours, pair.theirs)
    pair.theirs.restart()
    assert pair.theirs.receive(pair.ours.identity, message) == b"text"
    pair.theirs.forgets_used_keys = True
    assert pair.theirs.receive(pair.ours.identity, message) == b"text"
    with pytest.raises(Refused, match=r"invalid signature|bad until"):
        pair.theirs.receive(pair.ours.identity, message)


@pytest.mark.parametrize(("turns", "refusal"), [(0, "Replayed"), (8, "Replayed"), (9, "Unknown")])
def test_a_copy_of_status_gos_text_is_refused_by_kexkit(status_go: LiveStatusGo, turns: int, refusal: str) -> None:
    pair = Pair.made(status_go)
    passes(pair.theirs, pair.ours)
    passes(pair.ours, pair.theirs)
    message = passes(pair.theirs, pair.ours)
    for _ in range(turns):
        passes(pair.ours, pair.theirs)
        passes(pair.theirs, pair.ours)
    before = pair.ours.state()
    with pytest.raises(Refused, match=refusal):
        pair.ours.receive(pair.theirs.identity, message)
    assert pair.ours.state() == before


# --- sessions --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ours", [True, False], ids=["kexkit begins", "status-go begins"])
def test_the_header_of_the_opening_is_repeated_until_the_peer_is_heard(status_go: LiveStatusGo, ours: bool) -> None:
    pair = Pair.made(status_go)
    first, second = (pair.ours, pair.theirs) if ours else (pair.theirs, pair.ours)
    for _ in range(3):
        assert begins(passes(first, second), second.installation)
    assert not begins(passes(second, first), first.installation)
    assert not begins(passes(first, second), second.installation)


@pytest.mark.parametrize("ours", [True, False], ids=["kexkit speaks", "status-go speaks"])
def test_after_a_prekey_of_status_go_is_replaced_whoever_speaks_first_begins_anew(
    status_go: LiveStatusGo, ours: bool
) -> None:
    pair = Pair.made(status_go)
    passes(pair.ours, pair.theirs)
    passes(pair.theirs, pair.ours)
    pair.theirs.age(DAY_MS)
    assert not begins(passes(pair.theirs, pair.ours), pair.ours.installation), "this one brings the new prekey"
    first, second = (pair.ours, pair.theirs) if ours else (pair.theirs, pair.ours)
    assert begins(passes(first, second), second.installation)
    assert not begins(passes(second, first), first.installation)


def test_after_a_prekey_of_kexkit_is_replaced_status_go_begins_a_new_session(status_go: LiveStatusGo) -> None:
    pair = Pair.made(status_go)
    passes(pair.theirs, pair.ours)
    pair.workshop.clock.ms += DAY_MS
    assert not begins(passes(pair.ours, pair.theirs), pair.theirs.installation)
    assert begins(passes(pair.theirs, pair.ours), pair.ours.installation)


# --- bundles ---------------------------------------------------------------------------------------------------------


def test_of_bundles_in_wrong_order_status_go_takes_the_lowest_and_kexkit_the_highest(status_go: LiveStatusGo) -> None:
    pair = Pair.made(status_go, introduced=False)
    bundles = []
    for _ in range(2):
        bundles.append((pair.ours.bundle(), pair.theirs.bundle()))
        pair.a_day_goes_by()
    for ours, theirs in reversed(bundles):
        pair.theirs.process_bundle(pair.ours.identity, ours)
        pair.ours.process_bundle(pair.theirs.identity, theirs)
    assert _begun_with(pair.theirs.send(pair.ours.identity, b"text")) == _prekey(bundles[0][0])
    assert _begun_with(pair.ours.send(pair.theirs.identity, b"text")) == _prekey(bundles[1][1])


def test_a_signature_with_a_high_s_is_taken_by_status_go_and_refused_by_kexkit(status_go: LiveStatusGo) -> None:
    pair = Pair.made(status_go, introduced=False)
    signature = last(read(pair.ours.bundle()), 4)
    high = (ORDER - int.from_bytes(signature[32:64])).to_bytes(32)
    _differ(pair, _with(pair.ours.bundle(), {4: signature[:32] + high + bytes((signature[64] ^ 1,))}), Forged)


def test_digits_that_could_be_of_two_numbers_are_taken_by_status_go_and_refused_by_kexkit(
    status_go: LiveStatusGo,
) -> None:
    """The version grows by the first digit of the timestamp: what is signed stays the same."""
    pair = Pair.made(status_go, introduced=False)
    bundle = pair.ours.bundle()
    fields = read(bundle)
    digits, version = str(last(fields, 5)), f"1{str(last(fields, 5))[0]}"
    entry = write((1, _prekey(bundle)), (2, int(version)), (3, 1))
    moved = {2: write((1, pair.ours.installation.encode()), (2, entry)), 5: int(digits[1:])}
    _differ(pair, _with(bundle, moved), Malformed)


def _differ(pair: Pair, bundle: bytes, refusal: type[Refusal]) -> None:
    pair.theirs.process_bundle(pair.ours.identity, bundle)
    assert _begun_with(pair.theirs.send(pair.ours.identity, b"text")) == _prekey(bundle)
    other = pair.workshop.kexkit(pair.workshop.person())
    with pytest.raises(refusal):
        other.process_bundle(pair.ours.identity, bundle)


@pytest.mark.parametrize("session", [True, False], ids=["a session of ours", "none of ours"])
def test_a_bundle_that_nobody_signed_makes_status_go_seal_to_nobody(status_go: LiveStatusGo, session: bool) -> None:
    """Ours with a higher version undoes it; so does a session that we began."""
    pair = Pair.made(status_go)
    if session:
        passes(pair.ours, pair.theirs)
    anybody = pair.workshop.kexkit(pair.workshop.person())
    bundle = forged(pair.ours.bundle(), KEYS[0], 2)
    with pytest.raises(Refused, match="signature mismatch"):
        pair.theirs.receive(anybody.identity, write((2, anybody.installation.encode()), (3, bundle), (102, b"hello")))
    if session:
        passes(pair.theirs, pair.ours)
        return
    for _ in range(2):
        with pytest.raises(Refused, match="Unknown"):
            passes(pair.theirs, pair.ours)
        pair.workshop.clock.ms += DAY_MS
        passes(pair.ours, pair.theirs)
    passes(pair.theirs, pair.ours)


def test_a_bundle_that_nobody_signed_changes_nothing_at_kexkit(status_go: LiveStatusGo) -> None:
    pair = Pair.made(status_go)
    before = pair.ours.state()
    with pytest.raises(Forged):
        pair.ours.process_bundle(pair.theirs.identity, forged(pair.theirs.bundle(), KEYS[0], 2))
    assert pair.ours.state() == before
    passes(pair.ours, pair.theirs)


def test_a_bundle_of_its_own_that_it_did_not_sign_is_signed_by_status_go_until_its_next_prekey(
    status_go: LiveStatusGo,
) -> None:
    pair = Pair.made(status_go)
    with pytest.raises(Refused, match="signature mismatch"):
        pair.theirs.process_bundle(b"", forged(pair.theirs.bundle(), KEYS[0], 1))
    published = pair.theirs.bundle()
    assert _prekey(published) == KEYS[0]
    stranger = pair.workshop.kexkit(pair.workshop.person())
    stranger.process_bundle(pair.theirs.identity, published)
    with pytest.raises(Refused, match="session not found"):
        passes(stranger, pair.theirs)
    pair.theirs.age(DAY_MS)
    stranger.process_bundle(pair.theirs.identity, pair.theirs.bundle())
    passes(stranger, pair.theirs)


def _with(message: bytes, changes: Mapping[int, bytes | int]) -> bytes:
    fields = {number: last(read(message), number) for number in read(message)}
    return write(*sorted({**fields, **changes}.items()))


def _prekey(bundle: bytes) -> bytes:
    """Of the only device that it lists."""
    ((_, entry),) = map_of(read(bundle)[2]).items()
    return bytes(last(read(entry), 1))


def _begun_with(message: bytes) -> bytes:
    """The prekey in the header of an opening for one device."""
    ((_, entry),) = map_of(read(message)[101]).items()
    return bytes(last(read(last(read(entry), 1)), 4))
