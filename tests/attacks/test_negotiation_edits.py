"""What travels beside and after offers, edited under every policy: bundles, openings, hints, confirmations, answers.

Either the best opens, or texts wait for a reason that has a name; once nobody edits any more, they come, once each.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from random import Random

import pytest
from attrs import evolve
from kexkit._wire.protocol_message import ProtocolMessage
from kexkit.api import Envelope
from kexkit.errors import Refusal
from kexkit.policy import STRICT, WITHOUT_FORWARD_SECRECY, FirstFlight, Policy

from tests.attacks.forging import flipped
from tests.attacks.man_in_the_middle import (
    DAY,
    HEALING,
    HOUR,
    PSK_NAME,
    SECOND,
    X3DH_NAME,
    XK1,
    XX,
    Hook,
    Middle,
    a_middle,
    able,
    pass_on,
    with_offers,
    without_offers,
)

POLICIES = {"default": Policy(), "strict": STRICT, "without forward secrecy": WITHOUT_FORWARD_SECRECY}
LISTS = (
    (HEALING, X3DH_NAME),
    (X3DH_NAME, HEALING),
    (XK1, HEALING, X3DH_NAME),
    (XX, X3DH_NAME),
    (X3DH_NAME,),
    (HEALING,),
)
EVERY_POLICY = pytest.mark.parametrize("theirs", POLICIES.values(), ids=[f"to {name}" for name in POLICIES])
EITHER_POLICY = pytest.mark.parametrize("ours", POLICIES.values(), ids=POLICIES.keys())


def must_come(middle: Middle, text: str = "one") -> None:
    """Nobody edits any more."""
    middle.heal()
    best = middle.best("alice", "bob")
    middle.assert_best("alice", "bob")
    if best is not None:
        assert middle.heard("bob") == [text]
    else:
        assert middle.heard("bob") == []
        assert middle.causes("alice") & {"NoCommonMechanism", "MechanismMissing", "OfferMissing", "Unconfirmed"}


def rewritten(middle: Middle, who: str, change: Callable[[ProtocolMessage], ProtocolMessage]) -> Hook:
    def hook(sender: str, envelope: Envelope) -> Sequence[Envelope]:
        message = middle.inside(envelope)
        if sender != who or message is None:
            return [envelope]
        return [middle.remade(who, "bob" if who == "alice" else "alice", change(message))]

    return hook


# --- policies --------------------------------------------------------------------------------------------------------


@EITHER_POLICY
@EVERY_POLICY
def test_offers_stripped_for_ever_under_every_pair_of_policies(ours: Policy, theirs: Policy) -> None:
    for mine in LISTS:
        for other in LISTS[::2]:
            with a_middle(alice=able(*mine, policy=ours), bob=able(*other, policy=theirs)) as middle:
                middle.hook = rewritten(middle, "bob", lambda message: evolve(message, offers=()))
                middle.adds("alice", "bob", without_offers)
                if not middle.alice.person(middle.bob.me.identity).devices:
                    continue  # nothing is known of him at all: there is nothing to negotiate with
                middle.says("alice", "bob", "one")
                middle.wait(SECOND, HOUR)
                middle.assert_best("alice", "bob")
                begun = set(middle.begun("alice"))
                assert begun <= {X3DH_NAME}
                if ours.first_flight is FirstFlight.HOLD or X3DH_NAME not in middle.alice.engine.setting.offered:
                    assert not begun
                middle.hook = pass_on
                middle.adds("alice", "bob")
                must_come(middle)


@EITHER_POLICY
@EVERY_POLICY
def test_stale_offers_under_every_pair_of_policies(ours: Policy, theirs: Policy) -> None:
    for mine in LISTS:
        for before, other in pairwise(LISTS):
            with a_middle(alice=able(*mine, policy=ours), bob=able(*before, policy=theirs)) as middle:
                old = middle.bob.code()
                middle.becomes("bob", able(*other, policy=theirs))
                middle.hook = rewritten(middle, "bob", lambda message, old=old: evolve(message, offers=old.offers))  # type: ignore[misc]  # bound
                middle.alice.add(old)
                middle.says("alice", "bob", "one")
                middle.wait(SECOND, HOUR)
                middle.assert_best("alice", "bob")
                middle.hook = pass_on
                middle.adds("alice", "bob")
                middle.says("alice", "bob", "two")
                middle.heal()
                middle.assert_best("alice", "bob")
                wanted = ["one", "two"] if middle.best("alice", "bob") is not None else []
                assert sorted(middle.heard("bob")) == wanted


# --- bundles ---------------------------------------------------------------------------------------------------------


def test_a_bundle_that_is_kept_back_is_waited_for_and_nothing_else_is_tried() -> None:
    """The offer says that x3dh is best; its key is in the bundle."""
    both = able(X3DH_NAME, HEALING, policy=Policy())
    with a_middle(alice=both, bob=both) as middle:
        middle.hook = rewritten(middle, "bob", lambda message: evolve(message, bundles=()))
        middle.adds("alice", "bob", lambda code: evolve(code, bundles=()))
        middle.says("alice", "bob", "one")
        middle.wait(HOUR)
        assert not middle.sessions("alice", "bob")
        assert "its keys are not known, or have expired" in middle.causes("alice")
        must_come(middle)


@pytest.mark.parametrize("seed", range(4))
def test_an_edited_bundle_is_refused_with_all_that_it_came_with(seed: int) -> None:
    random = Random(seed)
    both = able(X3DH_NAME, HEALING, policy=Policy())
    with a_middle(alice=both, bob=both, mallory=both) as middle:
        bundle = middle.bob.code().bundles[0]
        edits = [flipped(bundle, random.randrange(len(bundle) * 8)) for _ in range(24)]
        for edited in (*edits, *middle.mallory.code().bundles, bundle[: len(bundle) // 2], b""):
            try:
                middle.alice.add(evolve(middle.bob.code(), bundles=(edited,)))
            except Refusal:
                assert not middle.knows("alice", "bob")
            else:
                (prekey,) = [one.public for one in middle.device("alice", "bob").adverts if one.mechanism == X3DH_NAME]
                assert prekey in bundle, "an edit that no signature covers changes no key"
                break


# --- openings, hints, confirmations, answers -------------------------------------------------------------------------


def spoiling(middle: Middle, who: str, random: Random, share: float) -> Hook:
    """Bits of whatever a session or a handshake of this person's made are turned over, in so many of its frames."""

    def spoil(raw: bytes) -> bytes:
        return flipped(raw, random.randrange(len(raw) * 8)) if raw and random.random() < share else raw

    def hook(sender: str, envelope: Envelope) -> Sequence[Envelope]:
        if sender != who:
            return [envelope]
        if envelope.version == 2:
            return [evolve(envelope, payload=spoil(envelope.payload))]
        message = middle.inside(envelope)
        assert message is not None
        slots = {installation: spoil(frame) for installation, frame in message.slots.items()}
        frames = tuple(evolve_frame(one, spoil(one.frame)) for one in message.frames)
        to = "bob" if who == "alice" else "alice"
        return [middle.remade(who, to, evolve(message, slots=slots, frames=frames))]

    return hook


def evolve_frame(frame, raw: bytes):  # type: ignore[no-untyped-def]  # of ProtocolMessage
    return type(frame)(frame.installation, frame.mechanism, raw, frame.offer)


@pytest.mark.parametrize("who", ["alice", "bob"])
@pytest.mark.parametrize("share", [1.0, 0.5], ids=["all", "half"])
@pytest.mark.parametrize("name", [X3DH_NAME, HEALING, PSK_NAME, XK1, XX])
def test_spoiled_frames_open_nothing_wrong_and_the_genuine_ones_still_open(name: str, share: float, who: str) -> None:
    """First flights, handshakes, confirmations and answers alike, while offers were stripped or not."""
    names = (name, X3DH_NAME) if name != X3DH_NAME else (name,)
    for seed in range(4):
        device = able(*names, policy=WITHOUT_FORWARD_SECRECY)
        with a_middle(alice=device, bob=device) as middle:
            middle.hook = spoiling(middle, who, Random(seed), share)
            middle.adds("alice", "bob", without_offers if seed % 2 else lambda code: code)
            middle.says("alice", "bob", "one")
            middle.wait(SECOND, HOUR)
            middle.assert_best("alice", "bob")
            if share == 1.0:
                assert not middle.mechanisms("alice", "bob")
                assert set(middle.begun("alice")) <= {name, X3DH_NAME if seed % 2 else name}
            must_come(middle)


def test_a_hint_that_says_something_else_misleads_nobody() -> None:
    """It travels in clear: its offer is replaced by an older one, a foreign one, and spoiled ones."""
    both = able(HEALING, X3DH_NAME, policy=Policy())
    for lie in ("older", "foreign", "spoiled"):
        with a_middle(alice=both, bob=able(HEALING, policy=Policy()), mallory=both) as middle:
            old = middle.bob.code()
            middle.becomes("bob", both)
            present = middle.offer_of("bob")
            lies = {"older": old.offers[0], "foreign": middle.offer_of("mallory"), "spoiled": flipped(present, 900)}
            told: list[bytes] = []

            def lying(sender: str, envelope: Envelope, present=present, said=lies[lie], told=told) -> list[Envelope]:  # type: ignore[no-untyped-def]  # bound
                if envelope.version == 2 and present in envelope.payload:
                    told.append(said)
                    same_length = said[: len(present)].ljust(len(present), b"\0")
                    return [evolve(envelope, payload=envelope.payload.replace(present, same_length))]
                message = middle.inside(envelope)
                return [] if sender == "bob" and message is not None else [envelope]

            middle.hook = lying
            middle.adds("alice", "bob", lambda _, old=old: old)  # type: ignore[misc]  # bound
            middle.says("alice", "bob", "one")
            middle.wait(HOUR)
            assert told
            assert middle.device("alice", "bob").offer == old.offers[0]
            assert not middle.begun("alice")
            assert not middle.mechanisms("alice", "bob")
            must_come(middle)


def test_a_hint_to_another_that_is_genuine_moves_nobody_back() -> None:
    """Hints, offers and codes of all times, shown in any order: the newest stays, and few sessions begin."""
    both = able(HEALING, X3DH_NAME, policy=Policy())
    with a_middle(alice=both, bob=both) as middle:
        codes = [middle.bob.code()]
        for names in ((X3DH_NAME,), (HEALING,), (X3DH_NAME, HEALING), (HEALING, X3DH_NAME)):
            middle.becomes("bob", able(*names, policy=Policy()))
            codes.append(middle.bob.code())
        middle.hook = rewritten(middle, "bob", lambda message: evolve(message, offers=()))
        random = Random(1)
        for number in range(30):
            middle.alice.add(random.choice(codes))
            middle.says("alice", "bob", f"text {number}")
        assert len(middle.sessions("alice", "bob")) <= len(codes), "each view begins one session at most"
        middle.heal()
        middle.assert_best("alice", "bob")
        assert sorted(middle.heard("bob")) == sorted(f"text {number}" for number in range(30))


def test_one_offer_beside_another_makes_the_newer_count_whatever_their_order() -> None:
    both = able(HEALING, X3DH_NAME, policy=Policy())
    for turn in (1, -1):
        with a_middle(alice=both, bob=able(X3DH_NAME, policy=Policy())) as middle:
            old = middle.bob.code().offers
            middle.becomes("bob", both)
            offers = (*old, *middle.bob.code().offers)[::turn]
            middle.adds("alice", "bob", with_offers(*offers))
            middle.says("alice", "bob", "one")
            middle.wait(DAY)
            assert not middle.begun("alice")
            assert middle.mechanisms("alice", "bob") == [HEALING]
