"""The attacks that the design of negotiation names, each by its number, against real devices.

Alice and Bob both have healing Noise and Status's own exchange, unless a test says otherwise, under the default policy.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager

import pytest
from attrs import evolve
from kexkit import _records as records
from kexkit._negotiation import choose
from kexkit._transitions import State
from kexkit._wire import offers as wire
from kexkit._wire import topics
from kexkit._wire.offers import Entry, Extension, OfferBody, Sibling, hello_tag
from kexkit._wire.protocol_message import Frame, ProtocolMessage
from kexkit.api import Change, Envelope, Guarantee
from kexkit.contact import ContactCode, Pin
from kexkit.errors import (
    Forged,
    MechanismMissing,
    OfferForeign,
    OfferMalformed,
    OfferSignature,
    OfferTooLarge,
    OfferUnsupported,
    PluginError,
    Refusal,
)
from kexkit.events import NegotiationTrouble, SessionOpened, TextReceived, Waiting
from kexkit.limits import DEVICES_PER_PEER, PROVISIONAL_TEXTS
from kexkit.policy import STRICT, WITHOUT_FORWARD_SECRECY, Downgrade, FirstFlight, Policy
from kexkit.testing import MemoryStore
from kexkit_noise import offers as noise_offers
from kexkit_noise import statement
from kexkit_x3dh import bundle as bundles

from tests.attacks.forging import flipped
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
    pass_on,
    raw_body,
    signed_anew,
    with_body,
    with_offers,
    without_offers,
)
from tests.world.mechanisms import Mechanism

BOTH = (HEALING, X3DH_NAME)
PAUSES = (SECOND, 61 * SECOND, 11 * 60 * SECOND, HOUR)
OTHER = "11111111-1111-4111-8111-111111111111"


def two(
    ours: Policy | None = None, theirs: Policy | None = None, **others: Mechanism
) -> AbstractContextManager[Middle]:
    return a_middle(alice=able(*BOTH, policy=ours or Policy()), bob=able(*BOTH, policy=theirs or Policy()), **others)


def open_over(middle: Middle, who: str = "alice", whom: str = "bob") -> set[str]:
    return {*middle.mechanisms(who, whom), *middle.mechanisms(whom, who)}


def outdated_code(middle: Middle, before: Sequence[str], now: Sequence[str] = BOTH) -> ContactCode:
    """Bob's code from the time when he had other plugins."""
    policy = middle.bob.mechanism.policy
    middle.becomes("bob", able(*before, policy=policy))
    old = middle.bob.code()
    middle.becomes("bob", able(*now, policy=policy))
    return old


def talking(middle: Middle) -> None:
    """Both know each other, and have a session that both confirmed."""
    middle.adds("alice", "bob")
    middle.adds("bob", "alice")
    middle.says("alice", "bob", "hello")
    middle.says("bob", "alice", "hello back")
    assert open_over(middle) == {middle.best("alice", "bob")}


# --- 1 to 8: what is done to offers ----------------------------------------------------------------------------------

FIVE_EDITS = {
    "delete": lambda entries: entries[1:],
    "reorder": lambda entries: entries[::-1],
    "insert": lambda entries: (*entries, Entry("more@example.org/1")),
    "rename": lambda entries: (evolve(entries[0], name="more@example.org/1"), *entries[1:]),
}


@pytest.mark.parametrize("edit", FIVE_EDITS.values(), ids=FIVE_EDITS.keys())
def test_01_an_edited_entry_spoils_the_signature_and_the_person_is_not_taken_for_bare(
    edit: Callable[..., object],
) -> None:
    with two() as middle:
        edited = listing(edit)(middle.bob.code().offers[0])  # type: ignore[arg-type]  # of entries to entries
        with pytest.raises(OfferSignature):
            middle.adds("alice", "bob", with_offers(edited))
        assert not middle.knows("alice", "bob")
        talking(middle)
        before = middle.device("alice", "bob")
        with pytest.raises(OfferSignature):
            middle.adds("alice", "bob", with_offers(with_body(edited, lambda body: evolve(body, seq=body.seq + 1))))
        assert middle.device("alice", "bob") == before


def test_01_a_doubled_entry_is_against_the_grammar() -> None:
    with two() as middle, pytest.raises(OfferMalformed):
        middle.adds("alice", "bob", with_offers(listing(lambda entries: entries * 2)(middle.bob.code().offers[0])))


def test_02_an_offer_stripped_at_first_contact_comes_back_inside_the_session_and_the_text_moves_up() -> None:
    with two() as middle:
        middle.hook = stripping(middle)
        middle.adds("alice", "bob", without_offers)
        middle.says("alice", "bob", "one")
        assert middle.begun("alice") == [X3DH_NAME]
        assert open_over(middle) == {HEALING}
        (told,) = [event for event in middle.bob.read_inbox() if isinstance(event, TextReceived)]
        assert (told.text, Guarantee.POST_COMPROMISE in told.grade) == ("one", True)
        assert not middle.bob.table("withheld")


@pytest.mark.parametrize(
    "policy", [STRICT, Policy(mechanisms=frozenset({HEALING})), Policy(first_flight=FirstFlight.HOLD)], ids=str
)
def test_02_nothing_leaves_for_who_seems_bare_if_policy_wants_a_better_one_or_a_confirmation(policy: Policy) -> None:
    with two(policy) as middle:
        middle.hook = stripping(middle)
        middle.adds("alice", "bob", without_offers)
        middle.says("alice", "bob", "one")
        middle.wait(*PAUSES)
        assert not middle.begun("alice")
        assert middle.heard("bob") == []
        assert middle.causes("alice") & {"Unconfirmed", "NoCommonMechanism", "MechanismMissing"}


def stripping(middle: Middle) -> Callable[[str, Envelope], Sequence[Envelope]]:
    def hook(sender: str, envelope: Envelope) -> Sequence[Envelope]:
        message = middle.inside(envelope)
        if message is None:
            return [envelope]
        return [middle.remade(sender, "bob" if sender == "alice" else "alice", evolve(message, offers=()))]

    return hook


def test_03_what_is_stripped_later_is_known_already() -> None:
    with two() as middle:
        talking(middle)
        middle.hook = stripping(middle)
        middle.adds("alice", "bob", without_offers)
        middle.says("alice", "bob", "one")
        assert X3DH_NAME not in middle.begun("alice")
        assert "one" in middle.heard("bob")


def test_03_a_pin_without_its_offer_waits() -> None:
    with two() as middle:
        pins = (Pin(middle.bob.me.installation, 1),)
        middle.hook = stripping(middle)
        middle.adds("alice", "bob", lambda code: evolve(code, offers=(), pins=pins))
        middle.says("alice", "bob", "one")
        assert not middle.begun("alice")
        assert "OfferMissing" in middle.causes("alice")
        middle.hook = pass_on
        middle.adds("alice", "bob")
        middle.settle()
        assert (middle.heard("bob"), open_over(middle)) == (["one"], {HEALING})


def test_03_a_pin_stops_what_went_on_with_somebody_bare() -> None:
    """Bob's program knew of no offers, then a code says that he has one: nothing more goes over what he had before."""
    with two() as middle:
        make_no_offers(middle.bob)
        middle.adds("alice", "bob", without_offers)
        middle.says("alice", "bob", "one")
        middle.says("bob", "alice", "two")
        assert middle.mechanisms("alice", "bob") == [X3DH_NAME]
        pins = (Pin(middle.bob.me.installation, 1),)
        middle.adds("alice", "bob", lambda code: evolve(code, offers=(), pins=pins))
        before = middle.begun("alice")
        middle.says("alice", "bob", "three")
        assert middle.begun("alice") == before
        assert "OfferMissing" in middle.causes("alice")


def test_04_a_stale_offer_of_other_names_is_answered_with_the_present_one_in_clear_where_it_is_bound() -> None:
    with two() as middle:
        old = outdated_code(middle, (HEALING,))
        middle.adds("alice", "bob", lambda _: old)
        middle.hook = stripping(middle)
        middle.says("alice", "bob", "one")
        hints = [each for who, each in middle.log if who == "bob" and middle.offer_of("bob") in each.payload]
        assert [each.version for each in hints] == [2]
        assert middle.device("alice", "bob").offer == middle.offer_of("bob")
        assert (middle.heard("bob"), open_over(middle)) == (["one"], {HEALING})


def test_04_a_stale_offer_whose_choice_is_worse_is_refused_inside_the_session() -> None:
    with two() as middle:
        old = outdated_code(middle, (X3DH_NAME,))
        middle.adds("alice", "bob", lambda _: old)
        middle.hook = stripping(middle)
        middle.says("alice", "bob", "one")
        assert "STALE" in {event.cause for event in middle.events("bob", NegotiationTrouble)}
        assert (middle.heard("bob"), open_over(middle)) == (["one"], {HEALING})


def test_04_a_stale_offer_with_the_same_result_is_accepted() -> None:
    with two() as middle:
        old = middle.bob.code()
        middle.clock.now += 8 * DAY
        middle.bob.boot()
        middle.settle()
        assert middle.offer_of("bob") != old.offers[0]
        middle.adds("alice", "bob", lambda _: old)
        middle.hook = stripping(middle)
        middle.says("alice", "bob", "one")
        assert (middle.heard("bob"), open_over(middle)) == (["one"], {HEALING})
        assert len(middle.sessions("bob", "alice")) == 1
        assert middle.device("alice", "bob").offer == middle.offer_of("bob"), "the answer brought what was kept back"


def test_05_an_old_offer_changes_nothing_for_who_knows_a_newer_one() -> None:
    with two() as middle:
        old = outdated_code(middle, (X3DH_NAME,))
        talking(middle)
        before = middle.device("alice", "bob")
        middle.adds("alice", "bob", lambda _: old)
        middle.settle()
        assert middle.device("alice", "bob") == before
        middle.says("alice", "bob", "one")
        assert X3DH_NAME not in middle.begun("alice")


def test_06_the_offer_of_somebody_else_is_foreign() -> None:
    with two(mallory=able(*BOTH, policy=Policy())) as middle:
        with pytest.raises(OfferForeign):
            middle.adds("alice", "bob", with_offers(*middle.mallory.code().offers))
        assert not middle.knows("alice", "bob")


def test_07_the_offer_of_the_laptop_says_nothing_of_the_phone() -> None:
    with two() as middle:
        laptop = middle.second_device("bob", "laptop", able(X3DH_NAME, policy=Policy()))
        middle.adds("alice", "bob", with_offers(*laptop.code().offers))
        assert middle.device("alice", "laptop").offer_seq
        assert not middle.device("alice", "bob").offer_seq


def test_07_a_first_flight_for_the_phone_is_nothing_to_the_laptop() -> None:
    with two() as middle:
        laptop = middle.second_device("bob", "laptop", able(*BOTH, policy=Policy()))
        middle.hook = drop
        middle.adds("alice", "bob", without_offers)
        middle.says("alice", "bob", "one")
        (envelope,) = [each for who, each in middle.log if who == "alice" and middle.inside(each).slots]  # type: ignore[union-attr]  # version 1
        message = middle.inside(envelope)
        assert message is not None
        slots = {laptop.me.installation: message.slots[middle.bob.me.installation]}
        laptop.receive(middle.remade("alice", "bob", evolve(message, slots=slots)))
        assert middle.heard("laptop") == []
        assert middle.mechanisms("laptop", "alice") == []


def test_08_a_device_whose_offer_is_withheld_is_missed_as_soon_as_another_names_it() -> None:
    with two() as middle:
        laptop = middle.second_device("bob", "laptop", able(*BOTH, policy=Policy()))
        names_it = lambda body: evolve(body, siblings=(Sibling(middle.bob.me.installation, 1),))  # noqa: E731
        told = signed_anew(laptop, laptop.code().offers[0], names_it)
        middle.hook = drop
        middle.adds("alice", "bob", lambda code: evolve(code, offers=(told,)))
        middle.says("alice", "bob", "one")
        waits = {(e.installation, e.cause) for e in middle.events("alice", Waiting)}
        assert (middle.bob.me.installation, "OfferMissing") in waits
        assert not middle.sessions("alice", "bob")
        assert middle.mechanisms("alice", "laptop", State.OPENING) == [HEALING]


def test_08_the_device_that_answers_brings_what_was_withheld_of_its_siblings() -> None:
    with two() as middle:
        laptop = middle.second_device("bob", "laptop", able(*BOTH, policy=Policy()))
        old = middle.bob.code()
        middle.clock.now += SECOND
        pair(middle, "bob", "laptop")
        middle.hook = stripping(middle)
        middle.adds("alice", "bob", lambda _: old)
        assert not middle.knows("alice", "laptop")
        middle.says("alice", "bob", "one")
        assert middle.heard("bob") == ["one"]
        assert middle.device("alice", "laptop").offer == middle.offer_of("laptop")
        assert laptop.me.installation in {each.installation for each in middle.alice.person(laptop.me.identity).devices}


def pair(middle: Middle, who: str, other: str) -> None:
    """One's device knows that the other is of the same person."""
    peer, signed = middle.peers[who], middle.offer_of(other)
    offer = wire.read(signed, expected_identity=signed[1:34])
    ourselves = records.new_peer()
    names = [entry.name for entry in offer.body.entries]
    ourselves.devices.add(
        installation=offer.body.installation,
        enabled=True,
        offer=signed,
        offer_seq=offer.body.seq,
        offer_digest=offer.digest,
        offered=names,
    )
    peer.rows.commit(Change({}, {records.peer_key(peer.me.identity): records.write(ourselves)}))
    peer.boot()


# --- 9 to 13: what is done to sessions -------------------------------------------------------------------------------


def first_flight(middle: Middle) -> ProtocolMessage:
    """Alice's first text over x3dh, which has not arrived."""
    middle.hook = drop
    middle.adds("alice", "bob", without_offers)
    middle.says("alice", "bob", "one")
    messages = [middle.inside(each) for who, each in middle.log if who == "alice"]
    (found,) = [message for message in messages if message is not None and message.slots]
    return found


def test_09_a_confirmation_cannot_be_taken_off_nothing_of_the_text_opens_without_it() -> None:
    """Whatever byte of the frame is changed or cut, the message falls whole; untouched, it opens."""
    with two() as middle:
        message = first_flight(middle)
        ((installation, frame),) = message.slots.items()
        spoiled = [flipped(frame, bit * 8) for bit in range(0, len(frame), 29)] + [
            frame[:-1],
            frame[:-40],
            frame + b"x",
        ]
        for one in spoiled:
            middle.bob.receive(middle.remade("alice", "bob", evolve(message, slots={installation: one})))
            assert middle.heard("bob") == []
            assert not middle.mechanisms("bob", "alice")
        middle.heal()
        assert (middle.heard("bob"), open_over(middle)) == (["one"], {HEALING})


def test_09_who_makes_offers_and_answers_without_a_confirmation_is_not_believed() -> None:
    status = able(X3DH_NAME, policy=Policy())
    with a_middle(alice=status, bob=status) as middle:
        code = middle.bob.code()
        make_no_offers(middle.bob)
        middle.adds("alice", "bob", lambda _: code)
        middle.says("alice", "bob", "one")
        middle.says("bob", "alice", "two")
        assert middle.heard("alice") == []
        assert middle.mechanisms("alice", "bob") == []
        assert "ConfirmationMissing" in middle.causes("alice")


def test_10_a_confirmation_played_back_or_to_others_or_by_others_opens_nothing() -> None:
    with two(mallory=able(*BOTH, policy=Policy())) as middle:
        message = first_flight(middle)
        ((_, frame),) = message.slots.items()
        for maker, to in (("bob", "alice"), ("alice", "mallory"), ("mallory", "bob")):
            slots = {middle.peers[to].me.installation: frame}
            installation = middle.peers[maker].me.installation
            played = ProtocolMessage(installation, slots=slots)
            middle.peers[to].receive(middle.remade(maker, to, played))
            assert middle.heard(to) == []
            assert not any(isinstance(event, SessionOpened) for event in middle.peers[to].told_ever)


def test_11_an_opening_that_is_made_to_answer_another_offer_fails_and_nothing_else_is_tried() -> None:
    """Where frames travel alone the tag says which offer they answer: it is replaced by that of another live one."""
    with two() as middle:
        middle.clock.now += 8 * DAY
        middle.bob.boot()  # the same names, signed anew: both offers live
        digests = list(middle.bob.table("offered"))
        assert len(digests) == 2
        middle.adds("alice", "bob")
        seen = middle.device("alice", "bob").offer_digest
        (other,) = set(digests) - {seen}

        def retagged(sender: str, envelope: Envelope) -> Sequence[Envelope]:
            if envelope.payload.startswith(hello_tag(HEALING, seen)):
                tag = hello_tag(HEALING, other)
                return [evolve(envelope, payload=tag + envelope.payload[len(tag) :])]
            return [envelope]

        middle.hook = retagged
        middle.says("alice", "bob", "one")
        middle.wait(*PAUSES)
        assert (middle.heard("bob"), open_over(middle), middle.begun("alice")) == ([], set(), [])
        assert middle.mechanisms("alice", "bob", State.OPENING) == [HEALING]
        middle.heal()
        assert (middle.heard("bob"), open_over(middle)) == (["one"], {HEALING})


@pytest.mark.parametrize("lie", [b"", bytes(32)], ids=["none", "unknown"])
def test_11_a_frame_that_is_made_to_answer_another_offer_opens_nothing(lie: bytes) -> None:
    psk = able(PSK_NAME, X3DH_NAME)
    with a_middle(alice=psk, bob=psk) as middle:

        def lying(sender: str, envelope: Envelope) -> Sequence[Envelope]:
            message = middle.inside(envelope)
            if sender != "alice" or message is None or not message.frames:
                return [envelope]
            frames = tuple(Frame(one.installation, one.mechanism, one.frame, lie) for one in message.frames)
            return [middle.remade("alice", "bob", evolve(message, frames=frames))]

        middle.hook = lying
        middle.adds("alice", "bob")
        middle.says("alice", "bob", "one")
        middle.wait(*PAUSES)
        assert (middle.heard("bob"), open_over(middle)) == ([], set())
        assert set(middle.begun("alice")) == {PSK_NAME}
        middle.heal()
        assert (middle.heard("bob"), open_over(middle)) == (["one"], {PSK_NAME})


def test_12_who_drops_every_refusal_gains_so_many_texts_of_two_days_and_no_session() -> None:
    with two() as middle:
        old = outdated_code(middle, (X3DH_NAME,))
        middle.adds("alice", "bob", lambda _: old)
        middle.hook = lambda sender, envelope: [envelope] if sender == "alice" else []
        for number in range(PROVISIONAL_TEXTS + 5):
            middle.says("alice", "bob", f"text {number}")
        assert open_over(middle) == set()
        assert len(middle.alice.table("waiting")) == 5
        assert "Unconfirmed" in middle.causes("alice")
        assert middle.heard("bob") == []
        middle.heal()
        assert len(middle.heard("bob")) == PROVISIONAL_TEXTS + 5
        assert open_over(middle) == {HEALING}


def test_12_after_two_days_without_an_answer_texts_wait() -> None:
    with two() as middle:
        old = outdated_code(middle, (X3DH_NAME,))
        middle.adds("alice", "bob", lambda _: old)
        middle.hook = drop
        middle.says("alice", "bob", "one")
        middle.clock.now += 2 * DAY
        before = len(middle.begun("alice"))
        middle.alice.send(middle.bob.me.identity, "two")
        assert len(middle.alice.table("waiting")) == 1
        assert len(middle.begun("alice")) == before
        assert open_over(middle) == set()


@pytest.mark.parametrize("both_stripped", [True, False], ids=["both misled", "one misled"])
def test_13_both_begin_with_different_choices_and_only_the_best_is_left(both_stripped: bool) -> None:
    with two() as middle:
        kept: list[tuple[str, Envelope]] = []

        def keep(sender: str, envelope: Envelope) -> Sequence[Envelope]:
            kept.append((sender, envelope))
            return []

        middle.hook = keep
        middle.adds("alice", "bob", without_offers)
        middle.adds("bob", "alice", without_offers if both_stripped else lambda code: code)
        middle.says("alice", "bob", "one")
        middle.says("bob", "alice", "two")
        middle.hook = pass_on
        for sender, envelope in kept:
            middle.deliver(envelope, sender=sender)
        middle.settle()
        middle.wait(*PAUSES)
        assert (middle.heard("bob"), middle.heard("alice")) == (["one"], ["two"])
        assert open_over(middle) == {HEALING}
        middle.assert_best("alice", "bob")


# --- 14 to 21: floods, names, clocks, copies -------------------------------------------------------------------------


def test_14_a_huge_offer_costs_no_signature_check(monkeypatch: pytest.MonkeyPatch) -> None:
    checks = count_checks(monkeypatch)
    with two() as middle:
        names = [Entry(f"name{number}@example.org/1") for number in range(255)]
        genuine = middle.bob.code().offers[0]
        for huge, error in ((bytes(2**20), OfferTooLarge), (listing(lambda _: names)(genuine), OfferTooLarge)):
            with pytest.raises(error):
                middle.adds("alice", "bob", with_offers(huge))
        with pytest.raises(OfferMalformed):
            middle.adds("alice", "bob", with_offers(listing(lambda _: names[:17])(genuine)))
        assert not checks


def count_checks(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    checks: list[object] = []
    for module in ("noting", "judging"):
        monkeypatch.setattr(f"kexkit._engine.{module}.check_signature", checks.append)
    return checks


def test_14_offers_for_any_number_of_devices_take_the_room_of_sixteen() -> None:
    with two() as middle:
        talking(middle)
        genuine = middle.bob.code().offers[0]
        for number in range(3 * DEVICES_PER_PEER):
            invented = f"{number:08x}-1111-4111-8111-111111111111"
            offer = signed_anew(middle.bob, genuine, lambda body, to=invented: evolve(body, installation=to))  # type: ignore[misc]  # bound
            middle.adds("alice", "bob", with_offers(offer))
        assert len(middle.alice.person(middle.bob.me.identity).devices) == DEVICES_PER_PEER
        middle.says("alice", "bob", "still here")
        assert "still here" in middle.heard("bob")


def test_14_the_same_offer_ten_thousand_times_is_checked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    with two() as middle:
        code = middle.bob.code()
        middle.adds("alice", "bob", lambda _: code)
        checks = count_checks(monkeypatch)
        for _ in range(100):
            middle.adds("alice", "bob", lambda _: evolve(code, offers=code.offers * 3))
        assert not checks


def test_15_two_bodies_of_one_number_are_evidence_and_begin_nothing_until_a_later_one() -> None:
    with two() as middle:
        genuine = middle.bob.code().offers[0]
        other = signed_anew(middle.bob, genuine, lambda body: evolve(body, entries=body.entries[1:]))
        middle.adds("alice", "bob", with_offers(genuine, other))
        middle.hook = drop
        middle.says("alice", "bob", "one")
        assert {event.cause for event in middle.events("alice", NegotiationTrouble)} == {"OfferEquivocation"}
        device = middle.device("alice", "bob")
        assert {device.offer, device.conflict} == {genuine, other}
        assert not device.sessions
        assert "OfferEquivocation" in middle.causes("alice")
        middle.hook = pass_on
        middle.clock.now += 8 * DAY
        middle.bob.boot()
        middle.adds("alice", "bob")
        middle.settle()
        assert (middle.heard("bob"), open_over(middle)) == (["one"], {HEALING})


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
        skipped = {(e.installation, e.cause) for e in middle.events("alice", Waiting)}
        assert any(where == middle.laptop.me.installation and cause for where, cause in skipped)
