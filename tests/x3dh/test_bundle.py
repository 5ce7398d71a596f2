"""Bundles: one signed text has one reading, and nothing else is taken from the network."""

from __future__ import annotations

from itertools import pairwise

import pytest
from kexkit import secp256k1
from kexkit.errors import Forged, Limit, Malformed, Refusal
from kexkit.identity import SoftwareIdentity
from kexkit.testing.key_exchange_party import SeededRng
from kexkit_x3dh import bundle, limits
from kexkit_x3dh._pb import bundle_pb2 as pb
from kexkit_x3dh.bundle import BundlePolicy, PublishedPrekey

from tests.x3dh.support import OFF_CURVE, strangers

NOW = 1_761_234_567_891
STAMP = NOW * 10**6 + 234_567
ALICE = SoftwareIdentity.generate(SeededRng("alice"))
ONE, TWO = "1a2b3c4d-0000-4000-8000-000000000001", "91ce0000-0000-4000-8000-000000000002"


def prekey(seed: str = "prekey", version: int = 1) -> PublishedPrekey:
    return PublishedPrekey(secp256k1.public_of(SeededRng(seed)(32)), version, 1)


def made(prekeys: dict[str, PublishedPrekey] | None = None, timestamp: int = STAMP) -> bytes:
    return bundle.make(ALICE, {ONE: prekey()} if prekeys is None else prekeys, timestamp)


def read(raw: bytes, policy: BundlePolicy = BundlePolicy.STRICT) -> bundle.Bundle:
    return bundle.read(raw, maker=ALICE.public, now=NOW, policy=policy)


def refused(raw: bytes) -> Refusal | None:
    try:
        read(raw)
    except Refusal as refusal:
        return refusal
    return None


def test_what_is_made_is_read() -> None:
    prekeys = {ONE: prekey("one", 7), TWO: prekey("two", 999_999)}
    found = read(made(prekeys))
    assert (found.prekeys, found.timestamp, found.identity) == (prekeys, STAMP, ALICE.public)


def test_one_bundle_has_one_encoding_whatever_order_it_was_given_in() -> None:
    assert made({ONE: prekey(), TWO: prekey()}) == made({TWO: prekey(), ONE: prekey()})


def test_every_bit_that_is_signed_counts() -> None:
    raw = made()
    genuine = read(raw)
    for place in range(len(raw) * 8):
        changed = bytearray(raw)
        changed[place // 8] ^= 1 << place % 8
        if refused(bytes(changed)) is None:  # the protocol version, and what protobuf can say twice
            found = read(bytes(changed))
            assert (found.timestamp, list(found.prekeys)) == (genuine.timestamp, list(genuine.prekeys))
            assert found.prekeys[ONE].public == genuine.prekeys[ONE].public
            assert found.prekeys[ONE].version == genuine.prekeys[ONE].version


def splits(digits: str) -> list[tuple[int, int]]:
    """Every way in which these digits can be a version and a timestamp that are written without leading zeros."""
    ways = [(digits[:cut], digits[cut:]) for cut in range(1, len(digits))]
    return [
        (int(version), int(stamp))
        for version, stamp in ways
        if (version, stamp) == (str(int(version)), str(int(stamp))) and int(version) < 2**32 and int(stamp) < 2**63
    ]


@pytest.mark.parametrize("version", [1, 42, 999_999])
def test_digits_that_move_between_version_and_timestamp_are_refused(version: int) -> None:
    """The same signature fits them all; status-go takes them, and a higher version silences a device."""
    genuine = made({ONE: prekey(version=version)})
    signature = bundle.parse(genuine).signature
    variants = splits(f"{version}{STAMP}")
    assert len(variants) > 3
    for moved, stamp in variants:
        wire = pb.Bundle.FromString(genuine)
        wire.signed_pre_keys[ONE].version, wire.timestamp = moved, stamp
        assert wire.signature == signature
        if (moved, stamp) == (version, STAMP):
            assert refused(wire.SerializeToString()) is None
        else:
            assert refused(wire.SerializeToString()) is not None
            read(wire.SerializeToString(), BundlePolicy.RECORDINGS)  # the signature does not tell them apart


def test_digits_that_move_between_a_version_and_the_next_installation_are_refused() -> None:
    prekeys = {ONE: prekey("one", 12), TWO: prekey("two", 3)}
    genuine = pb.Bundle.FromString(made(prekeys))
    for version, name in ((1, "2" + TWO), (129, TWO[1:]), (1, "2" + TWO[:-1])):
        wire = pb.Bundle()
        wire.CopyFrom(genuine)
        wire.signed_pre_keys[ONE].version = version
        wire.signed_pre_keys[name].CopyFrom(genuine.signed_pre_keys[TWO])
        del wire.signed_pre_keys[TWO]
        assert refused(wire.SerializeToString()) is not None


def readings(material: bytes) -> int:
    """In how many ways this signed text can be entries and a timestamp that STRICT takes."""

    def entries(rest: bytes) -> int:
        ways = 0
        if bundle.is_installation(rest[:36].decode("latin-1")) and len(rest) > 69:
            for digits in range(1, 7):
                version, after = rest[69 : 69 + digits], rest[69 + digits :]
                if version.isdigit() and str(int(version)).encode() == version:
                    ways += entries(after) + (len(after) == 19 and after.isdigit())
        return ways

    return entries(material)


@pytest.mark.parametrize("version", [0, 1, 9, 12, 123456, 999_999])
@pytest.mark.parametrize("names", [[ONE], [ONE, TWO], [ONE, "11111111-1111-4111-8111-111111111111", TWO]])
def test_a_signed_text_can_be_read_in_one_way(version: int, names: list[str]) -> None:
    prekeys = {name: prekey(name, version) for name in names}
    assert readings(bundle.signed_material(prekeys, STAMP)) == 1


@pytest.mark.parametrize(
    "name", ["", "1", "phone", ONE.upper(), ONE[:-1], ONE + "0", ONE.replace("-", "_"), ONE + "\n", "é" + ONE[1:]]
)
def test_an_installation_that_is_no_uuid_is_refused(name: str) -> None:
    raw = made({name: prekey()})
    assert isinstance(refused(raw), Malformed)
    assert name in read(raw, BundlePolicy.RECORDINGS).prekeys


@pytest.mark.parametrize(("version", "taken"), [(0, True), (999_998, True), (999_999, True), (1_000_000, False)])
def test_a_version_has_at_most_six_digits(version: int, taken: bool) -> None:
    assert limits.VERSION_MAX == 999_999
    assert (refused(made({ONE: prekey(version=version)})) is None) is taken


@pytest.mark.parametrize(
    ("timestamp", "taken"), [(10**18 - 1, False), (10**18, True), (0, False), (-5, False), (STAMP - 10**17, True)]
)
def test_a_timestamp_has_nineteen_digits(timestamp: int, taken: bool) -> None:
    assert limits.TIMESTAMP_DIGITS == 19
    assert (refused(made(timestamp=timestamp)) is None) is taken


@pytest.mark.parametrize(("ahead", "taken"), [(-1, True), (0, True), (1, False), (10**12, False)])
def test_a_timestamp_leads_our_clock_by_two_minutes_at_most(ahead: int, taken: bool) -> None:
    stamp = (NOW + limits.AHEAD_MS) * 10**6 + ahead
    assert (refused(made(timestamp=stamp)) is None) is taken


@pytest.mark.parametrize(("count", "taken"), [(0, False), (1, True), (15, True), (16, True), (17, False)])
def test_a_bundle_lists_sixteen_installations_at_most_and_one_at_least(count: int, taken: bool) -> None:
    assert limits.BUNDLE_INSTALLATIONS == 16
    names = [f"{number:08x}-0000-4000-8000-000000000000" for number in range(count)]
    assert (refused(made({name: prekey() for name in names})) is None) is taken


@pytest.mark.parametrize(("more", "taken"), [(-1, True), (0, True), (1, False)])
def test_a_bundle_has_a_largest_size(more: int, taken: bool) -> None:
    raw = made()
    padding = limits.BUNDLE_BYTES - len(raw) - 4 + more  # an unknown field of so many bytes
    raw += b"\xba\x3e" + bytes((padding & 127 | 128, padding >> 7)) + bytes(padding)
    assert len(raw) == limits.BUNDLE_BYTES + more
    refusal = refused(raw)
    assert (refusal is None) is taken
    assert refusal is None or isinstance(refusal, Limit)


@pytest.mark.parametrize("public", [OFF_CURVE, b"", bytes(33), b"\x02" * 32, b"\x04" + bytes(64), b"\x06" + bytes(64)])
def test_a_prekey_that_is_no_point_is_refused(public: bytes) -> None:
    assert isinstance(refused(made({ONE: PublishedPrekey(public, 1, 1)})), Malformed)


def test_the_high_s_twin_of_a_signature_is_refused() -> None:
    wire = pb.Bundle.FromString(made())
    s = secp256k1.ORDER - int.from_bytes(wire.signature[32:64], "big")
    wire.signature = wire.signature[:32] + s.to_bytes(32, "big") + bytes((wire.signature[64] ^ 1,))
    assert isinstance(refused(wire.SerializeToString()), Forged)
    read(wire.SerializeToString(), BundlePolicy.RECORDINGS)


@pytest.mark.parametrize("policy", BundlePolicy)
def test_a_bundle_of_somebody_else_is_refused_whoever_signed_it(policy: BundlePolicy) -> None:
    mallory = SoftwareIdentity.generate(SeededRng("mallory"))
    for signer, named in ((mallory, mallory), (mallory, ALICE), (ALICE, mallory)):
        wire = pb.Bundle.FromString(bundle.make(signer, {ONE: prekey()}, STAMP))
        wire.identity = named.public
        with pytest.raises(Forged):
            bundle.read(wire.SerializeToString(), maker=ALICE.public, now=NOW, policy=policy)


def test_random_signatures_are_nobodys() -> None:
    """About half of them recover to some key."""
    wire, rng = pb.Bundle.FromString(made()), SeededRng("signatures")
    for _ in range(300):
        wire.signature = rng(64) + bytes((rng(1)[0] & 1,))
        assert isinstance(refused(wire.SerializeToString()), Forged)


def test_a_bundle_that_does_not_list_its_carrier_is_fine() -> None:
    pair = strangers()
    adverts = pair.alice.exchange.read_offer(pair.bob.issued[0].offer.public, maker=pair.bob.me, ctx=pair.alice.context)
    assert [advert.device for advert in adverts] == [pair.bob.me]
    assert adverts[0].traits == {"negotiated-topic"}


def test_adverts_come_in_order_of_installation_and_without_the_trait_of_later_versions() -> None:
    raw = made({TWO: prekey("two"), ONE: PublishedPrekey(prekey().public, 4, 0)})
    pair = strangers()
    pair.clock.now = NOW
    maker = pair.bob.me
    bob = pb.Bundle.FromString(raw)
    bob.identity = maker.identity
    found = bundle.parse(bob.SerializeToString())
    bob.signature = pair.bob.identity.sign_status(bundle.signed_material(found.prekeys, found.timestamp))
    adverts = pair.alice.exchange.read_offer(bob.SerializeToString(), maker=maker, ctx=pair.alice.context)
    assert [(advert.device.installation, advert.epoch, bool(advert.traits)) for advert in adverts] == [
        (ONE, 4, False),
        (TWO, 1, True),
    ]
    assert all(one.device.installation < other.device.installation for one, other in pairwise(adverts))
