"""Attacks 16 to 26 of the design of negotiation, each by its number: on names, keys, clocks, stores and patience."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
from attrs import evolve
from kexkit._negotiation import choose
from kexkit._transitions import State
from kexkit._wire import offers as wire
from kexkit._wire import topics
from kexkit._wire.offers import Entry, Extension, OfferBody, hello_tag
from kexkit._wire.protocol_message import ProtocolMessage
from kexkit.api import Change, Envelope, Guarantee
from kexkit.contact import ContactCode
from kexkit.errors import (
    Forged,
    MechanismMissing,
    OfferMalformed,
    OfferSignature,
    OfferUnsupported,
    PluginError,
    Refusal,
)
from kexkit.events import InstallationSkipped, NegotiationTrouble, Skip, Waiting
from kexkit.policy import STRICT, WITHOUT_FORWARD_SECRECY, Downgrade, FirstFlight, Policy
from kexkit.testing import MemoryStore
from kexkit_noise import offers as noise_offers
from kexkit_noise import statement
from kexkit_x3dh import bundle as bundles

from tests.attacks.man_in_the_middle import (
    DAY,
    HEALING,
    HOUR,
    PSK_NAME,
    SECOND,
    X3DH_NAME,
    XK1,
    Middle,
    a_middle,
    able,
    drop,
    listing,
    make_no_offers,
    raw_body,
    signed_anew,
    with_offers,
    without_offers,
)
from tests.attacks.negotiation_rows import BOTH, open_over, outdated_code, stripping, talking, two


def test_16_bobs_static_under_mallorys_name_makes_no_session_with_bob() -> None:
    """Mallory signs that Bob's static is hers; Bob never issued the offer that Alice answers."""
    with two(mallory=able(HEALING, policy=Policy())) as middle:
        mallory = middle.mallory
        stated = noise_offers.stated_in(entry_of(middle.offer_of("bob")).public, middle.bob.me)
        window = (stated.not_before, stated.not_after)
        hers = statement.make(stated.static, not_before=window[0], not_after=window[1], ctx=mallory.moment().context)
        public = noise_offers._PUBLIC.pack(stated.static, *window, hers.signature)
        offer = signed_anew(
            mallory, middle.offer_of("mallory"), lambda body: evolve(body, entries=(Entry(HEALING, public),))
        )
        middle.alice.add(ContactCode(mallory.me.identity, offers=(offer,)))
        middle.says("alice", "mallory", "for mallory")
        openings = [each for who, each in middle.log if who == "alice" and each.version == 2]
        assert len(openings) == 1
        topic = topics.content_topic(topics.partitioned_name(middle.bob.me.identity))
        tag = hello_tag(HEALING, wire.read(middle.offer_of("bob"), expected_identity=middle.bob.me.identity).digest)
        moved = evolve(openings[0], topic=topic, payload=tag + openings[0].payload[len(tag) :])
        for envelope in (*openings, evolve(openings[0], topic=topic), moved):
            middle.bob.receive(envelope)
        middle.settle()
        assert middle.heard("bob") == []
        assert middle.mechanisms("bob", "alice") == []
        assert middle.mechanisms("alice", "mallory") == []


def entry_of(signed: bytes) -> Entry:
    return wire.read(signed, expected_identity=signed[1:34]).body.entries[0]


def test_16_bobs_prekey_in_mallorys_bundle_makes_no_session_with_bob() -> None:
    with two(mallory=able(X3DH_NAME, policy=Policy())) as middle:
        theirs = bundles.parse(middle.bob.code().bundles[0])
        stolen = dict.fromkeys([middle.mallory.me.installation], next(iter(theirs.prekeys.values())))
        bundle = bundles.make(middle.mallory.identity, stolen, theirs.timestamp)
        middle.alice.add(ContactCode(middle.mallory.me.identity, bundles=(bundle,)))
        middle.hook = drop
        middle.says("alice", "mallory", "for mallory")
        (message,) = [
            m for m in map(middle.inside, (each for who, each in middle.log if who == "alice")) if m and m.slots
        ]
        (frame,) = message.slots.values()
        forwarded = evolve(message, slots={middle.bob.me.installation: frame})
        middle.bob.receive(middle.remade("alice", "bob", forwarded))
        assert middle.heard("bob") == []
        assert not middle.knows("bob", "alice")


def test_17_a_name_has_one_owner() -> None:
    with pytest.raises(PluginError, match="Two key exchanges"), a_middle(alice=able(HEALING, HEALING)):
        pass


def test_17_another_protocol_under_the_same_name_opens_nothing() -> None:
    """A squatter's offer does not read as the real one's, so its name counts as not offered; nothing worse is tried."""
    with a_middle(alice=able(HEALING, policy=Policy()), bob=able(HEALING, policy=Policy())) as middle:
        foreign = signed_anew(
            middle.bob,
            middle.offer_of("bob"),
            lambda body: evolve(body, entries=(Entry(HEALING, b"another protocol"),)),
        )
        with pytest.raises(Refusal):
            middle.adds("alice", "bob", with_offers(foreign))
        mixed = signed_anew(
            middle.bob,
            middle.offer_of("bob"),
            lambda body: evolve(body, entries=(Entry(HEALING, b"another protocol"), Entry(X3DH_NAME))),
        )
        middle.alice.mechanism = able(*BOTH, policy=Policy(mechanisms=frozenset({HEALING})))
        middle.alice.boot()
        middle.adds("alice", "bob", with_offers(mixed))
        middle.says("alice", "bob", "one")
        assert not middle.log or not middle.begun("alice")
        assert middle.heard("bob") == []


@pytest.mark.parametrize("name", ["x3dh/01", "X3DH/1", "x3dh/1 ", "x3dh", "x3dh/0", "/1"])
def test_18_names_are_exact_bytes(name: str) -> None:
    with two() as middle, pytest.raises(OfferMalformed):
        middle.adds("alice", "bob", with_offers(listing(lambda _: (Entry(name),))(middle.bob.code().offers[0])))


def test_18_a_version_is_another_name() -> None:
    assert choose(("x3dh/1",), ("x3dh/10", "x3dh/2")) is None
    with two() as middle:
        later = signed_anew(middle.bob, middle.offer_of("bob"), lambda body: evolve(body, entries=(Entry("x3dh/10"),)))
        middle.adds("alice", "bob", with_offers(later))
        middle.says("alice", "bob", "one")
        assert not middle.begun("alice")
        assert MechanismMissing.__name__ in middle.causes("alice")


def test_19_an_unknown_critical_extension_is_unsupported_and_the_person_not_bare() -> None:
    def critical(body: OfferBody) -> OfferBody:
        return evolve(body, extensions=(Extension(0x8001, b""),))

    with two() as middle:
        offer = signed_anew_raw(middle, critical)
        with pytest.raises(OfferUnsupported):
            middle.adds("alice", "bob", with_offers(offer))
        assert not middle.knows("alice", "bob")


def test_19_one_that_comes_in_a_message_binds_its_maker_who_is_bare_no_more() -> None:
    with two() as middle:
        middle.adds("alice", "bob", without_offers)
        offer = signed_anew_raw(middle, lambda body: evolve(body, extensions=(Extension(0x8001, b""),)))
        forged = offer[:-1] + bytes((offer[-1] ^ 1,))
        for raw, causes in ((forged, set[str]()), (offer, {"OfferUnsupported"}), (offer, {"OfferUnsupported"})):
            message = ProtocolMessage(installation=middle.bob.me.installation, offers=(raw,))
            middle.deliver(middle.remade("bob", "alice", message), sender="bob")
            assert {told.cause for told in middle.events("alice", NegotiationTrouble)} == causes
        assert len(middle.events("alice", NegotiationTrouble)) == 1, "it is told once"
        middle.hook = drop
        middle.says("alice", "bob", "one")
        assert not middle.begun("alice"), "nothing leaves over x3dh/1, which his bundle would allow"
        assert "OfferMissing" in middle.causes("alice")
        middle.heal()
        middle.adds("alice", "bob")
        middle.settle()
        assert X3DH_NAME not in middle.begun("alice")


def signed_anew_raw(middle: Middle, change: Callable[[OfferBody], OfferBody]) -> bytes:
    signed = middle.offer_of("bob")
    raw = raw_body(change(wire.read(signed, expected_identity=signed[1:34]).body))
    return raw + middle.bob.identity.sign(b"kexkit/offer/1", raw)


@pytest.mark.parametrize("skew", [-30 * DAY, -HOUR, -150 * SECOND, 13 * DAY, 15 * DAY, 40 * DAY])
def test_20_a_clock_that_is_off_never_makes_anybody_bare(skew: int) -> None:
    """Back: his offer is of the future. Forward: it is over. Nothing leaves under less, and it is evidence."""
    with two() as middle:
        middle.alice.skew = skew
        code = middle.bob.code()
        middle.hook = drop
        middle.alice.add(code)
        middle.says("alice", "bob", "one")
        assert X3DH_NAME not in middle.begun("alice")
        assert middle.device("alice", "bob").offer_seq
        if skew != 13 * DAY:
            assert not middle.sessions("alice", "bob")
            assert middle.causes("alice") & {"OfferNotYetValid", "OfferExpired"}


@pytest.mark.parametrize("skew", [-30 * DAY, -HOUR, -150 * SECOND, 15 * DAY, 400 * DAY])
@pytest.mark.parametrize("names", [BOTH, (X3DH_NAME, XK1, HEALING), (XK1, X3DH_NAME)], ids=" ".join)
def test_20_what_was_read_by_a_clock_that_is_off_is_no_less_once_it_is_right(names: tuple[str, ...], skew: int) -> None:
    """No entry of an offer is left out because of its own dates, which would make something else look best to both."""
    device = able(*names, policy=WITHOUT_FORWARD_SECRECY)
    with a_middle(alice=device, bob=device) as middle:
        middle.alice.skew = skew
        middle.adds("alice", "bob")
        middle.alice.skew = 0
        middle.says("alice", "bob", "one")
        middle.wait(SECOND, 7 * HOUR)
        middle.assert_best("alice", "bob")
        assert tuple(middle.device("alice", "bob").offered) == names
        assert middle.heard("bob") == ["one"]


def test_20_the_dates_of_others_do_not_move_our_clock_and_old_numbers_stay_barred() -> None:
    with two() as middle:
        old = outdated_code(middle, (X3DH_NAME,))
        middle.adds("alice", "bob")
        middle.alice.skew = -2 * HOUR
        middle.adds("alice", "bob", lambda _: old)
        assert middle.device("alice", "bob").offer == middle.offer_of("bob")


def test_21_a_store_that_was_put_back_is_noticed_by_whoever_knows_better() -> None:
    with two() as middle:
        rows = middle.alice.rows.dump()
        middle.becomes("alice", able(X3DH_NAME, HEALING, policy=Policy()))
        talking(middle)
        middle.alice.mechanism = able(*BOTH, policy=Policy())
        put_back(middle, rows)  # it lists what she has, so no new one is signed
        middle.adds("alice", "bob")
        middle.says("alice", "bob", "from the past")
        assert "ROLLBACK" in {event.cause for event in middle.events("bob", NegotiationTrouble)}
        assert "from the past" not in middle.heard("bob")


def put_back(middle: Middle, rows: dict[tuple[str, bytes], tuple[bytes, int]]) -> None:
    store = MemoryStore()
    store.commit(Change({}, {key: value for key, (value, _) in rows.items()}))
    middle.alice.rows = store
    middle.alice.boot()


def test_21_after_a_restore_our_own_numbers_grow_beyond_all_before() -> None:
    with two() as middle:
        rows = middle.alice.rows.dump()
        middle.clock.now += 8 * DAY
        middle.alice.boot()
        before = middle.offer_of("alice")
        put_back(middle, rows)
        after = middle.offer_of("alice")
        seqs = [wire.read(one, expected_identity=one[1:34]).body.seq for one in (before, after)]
        assert seqs[1] >= seqs[0]


# --- 22 to 26: poses, patience, people with several devices ----------------------------------------------------------


def test_22_who_poses_as_a_bare_device_needs_the_keys_and_is_refused_where_offers_are_known() -> None:
    with two() as middle:
        middle.adds("bob", "alice")
        make_no_offers(middle.alice)
        middle.adds("alice", "bob")
        middle.says("alice", "bob", "nothing new about me")
        assert middle.heard("bob") == []
        assert middle.mechanisms("bob", "alice") == []
        assert "DowngradeRefused" in middle.causes("bob")


@pytest.mark.parametrize("policy", [Policy(), STRICT], ids=["default", "strict"])
def test_22_a_new_bare_device_of_somebody_with_offers_is_told_of_and_refused_if_strict(policy: Policy) -> None:
    with two(theirs=policy) as middle:
        middle.adds("bob", "alice")
        second = middle.second_device("alice", "second", able(X3DH_NAME, policy=Policy()))
        make_no_offers(second)
        second.add(middle.bob.code())
        middle.says("second", "bob", "from a new one")
        assert middle.heard("bob") == ([] if policy is STRICT else ["from a new one"])
        assert "DowngradeRefused" in middle.causes("bob")


def test_22_without_her_key_nobody_poses_as_alice() -> None:
    with two(mallory=able(X3DH_NAME, policy=Policy())) as middle:
        make_no_offers(middle.mallory)
        middle.mallory.add(middle.bob.code())
        middle.hook = drop
        middle.says("mallory", "bob", "I am alice")
        (message,) = [
            m for m in map(middle.inside, (each for who, each in middle.log if who == "mallory")) if m and m.slots
        ]
        posing = evolve(message, installation=middle.alice.me.installation, bundles=())
        middle.bob.receive(middle.remade("alice", "bob", posing))
        assert middle.heard("bob") == []


def test_23_a_signature_of_another_use_makes_no_offer() -> None:
    """All pairs of uses are tried in `test_signatures_across_uses`; these are of real devices."""
    with two() as middle:
        offer = middle.offer_of("bob")
        public = entry_of(offer).public
        bundle = bundles.parse(middle.bob.code().bundles[0])
        digest_of_statement = middle.bob.identity.sign(b"kexkit/noise-static/1", offer[:-64])
        for signature in (public[-64:], bundle.signature[:64], digest_of_statement):
            with pytest.raises((OfferSignature, Forged)):
                middle.adds("alice", "bob", with_offers(offer[:-64] + signature))


@pytest.mark.parametrize(
    "names", [(HEALING, X3DH_NAME), (PSK_NAME, X3DH_NAME), (XK1, HEALING, X3DH_NAME)], ids=" ".join
)
def test_24_the_good_one_is_made_to_fail_for_a_month_and_nothing_else_is_tried(names: tuple[str, ...]) -> None:
    """Denial, and never a weaker session: every handshake frame is dropped."""
    device = able(*names, policy=WITHOUT_FORWARD_SECRECY)
    with a_middle(alice=device, bob=device) as middle:

        def failing(sender: str, envelope: Envelope) -> Sequence[Envelope]:
            message = middle.inside(envelope)
            return [] if message is None or message.frames else [envelope]

        middle.hook = failing
        middle.adds("alice", "bob")
        for day in range(30):
            middle.alice.send(middle.bob.me.identity, f"text {day}")
            middle.wait(DAY)
            assert set(middle.begun("alice")) <= {names[0]}
            assert set(middle.mechanisms("alice", "bob", *State)) <= {names[0]}
        assert open_over(middle) == set()


def test_24_less_than_before_is_refused_by_the_responder_too_and_no_second_best_is_taken() -> None:
    """Even if the initiator's policy would take it: its program may be another by now, or somebody else's."""
    careless = evolve(WITHOUT_FORWARD_SECRECY, downgrade=Downgrade.ACCEPT)
    with a_middle(
        alice=able(HEALING, PSK_NAME, policy=careless), bob=able(HEALING, PSK_NAME, policy=WITHOUT_FORWARD_SECRECY)
    ) as middle:
        talking(middle)
        middle.becomes("alice", able(PSK_NAME, policy=careless))
        middle.says("alice", "bob", "weak")
        assert middle.begun("alice") == [PSK_NAME]
        assert "weak" not in middle.heard("bob")
        assert PSK_NAME not in open_over(middle)
        assert {"POLICY"} <= {event.cause for event in middle.events("bob", NegotiationTrouble)}


def test_25_no_text_is_lured_into_a_first_flight_that_is_held() -> None:
    """With an offer the confirmation goes alone; the text follows the answer."""
    held = Policy(require=Guarantee.SECRET, first_flight=FirstFlight.HOLD)
    psk = able(PSK_NAME, X3DH_NAME, policy=held)
    with a_middle(alice=psk, bob=psk) as middle:
        middle.hook = lambda sender, envelope: [envelope] if sender == "alice" else []
        middle.adds("alice", "bob")
        middle.says("alice", "bob", "one")
        assert middle.begun("alice") == [PSK_NAME]
        assert middle.heard("bob") == []
        assert open_over(middle) == {PSK_NAME}, "Bob knows the choice, and has no text"
        middle.heal()
        assert middle.heard("bob") == ["one"]


def test_25_what_is_lured_is_never_below_what_the_initiator_allows() -> None:
    with two(Policy(mechanisms=frozenset({HEALING, PSK_NAME}))) as middle:
        middle.hook = stripping(middle)
        middle.adds("alice", "bob", without_offers)
        middle.says("alice", "bob", "one")
        assert not middle.begun("alice")


def test_26_a_weak_device_is_skipped_and_told_of_and_lowers_no_other() -> None:
    with two() as middle:
        middle.second_device("bob", "laptop", able(XK1, PSK_NAME, policy=WITHOUT_FORWARD_SECRECY))
        middle.adds("alice", "bob")
        middle.adds("alice", "laptop")
        middle.says("alice", "bob", "one")
        assert middle.heard("bob") == ["one"]
        assert open_over(middle) == {HEALING}
        assert middle.heard("laptop") == []
        (skipped,) = middle.events("alice", InstallationSkipped)
        assert (skipped.installation, skipped.why) == (middle.laptop.me.installation, Skip.POLICY)
        assert skipped.cause
        assert not [e for e in middle.events("alice", Waiting) if e.installation == middle.laptop.me.installation]
