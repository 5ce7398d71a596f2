"""First messages: who can make and read them, that each opens once, and that they bind both people."""

from __future__ import annotations

from itertools import product

import pytest
from attrs import evolve
from kexkit import secp256k1
from kexkit.api import NOTHING, Advert, Close, Context, Device, Guarantee, Opening, Wants
from kexkit.errors import Forged, Malformed, NoOffer, Refusal, Replayed, Unknown
from kexkit.identity import SoftwareIdentity, tagged_digest
from kexkit.testing.key_exchange_party import SeededRng, Sent
from kexkit.testing.pair import Pair
from kexkit_x3dh import agreement, limits
from kexkit_x3dh.exchange import X3DH

from tests.x3dh.support import OFF_CURVE, met, opening, parsed, refusal, seal, session, strangers

DAY = 24 * 3600 * 1000


def replays(pair: Pair, sent: Sent) -> type[Refusal]:
    refused = refusal(pair.bob, sent)
    assert refused is not None
    return type(refused)


def test_a_first_message_opens_once_before_and_after_the_answer_and_after_a_restart() -> None:
    pair = strangers()
    sent = opening(pair)
    pair.bob.receive(sent)
    assert replays(pair, sent) is Replayed
    pair.bob = pair.bob.copy()
    assert replays(pair, sent) is Replayed
    pair.say(pair.bob, b"answer")
    assert replays(pair, sent) is Replayed


def test_a_first_message_opens_once_even_when_its_session_is_over() -> None:
    pair = strangers()
    sent = opening(pair)
    pair.bob.receive(sent)
    pair.bob.cue(session(pair.bob, pair.alice).id, Close())
    assert not pair.bob.sessions
    assert replays(pair, sent) is Replayed


def test_a_first_message_that_names_another_installation_is_still_the_same_one() -> None:
    pair = strangers()
    sent = opening(pair)
    pair.bob.receive(sent)
    elsewhere = Sent(evolve(sent.sender, installation="another"), sent.to, sent.frame)
    assert replays(pair, elsewhere) is Replayed


def test_two_people_who_draw_the_same_ephemeral_begin_two_sessions() -> None:
    pair = strangers()
    pair.carol.rng = pair.alice.rng.copy()
    for party in (pair.alice, pair.carol):
        party.initiate(pair.bob.me)
        (sent,) = party.seal(b"first", pair.bob.me)
        assert pair.bob.receive(sent).texts == [b"first"]
    assert len(pair.bob.sessions) == 2


def test_after_the_prekeys_rotation_a_first_message_opens_still_once_and_after_its_end_never() -> None:
    pair = strangers()
    sent, second = opening(pair), opening(pair, b"second")
    pair.bob.receive(sent)
    pair.bob.sessions.clear()
    pair.advance(limits.PREKEY_MS)
    assert replays(pair, sent) is Replayed
    assert refusal(pair.bob.copy(), second) is None
    pair.advance(limits.PREKEY_GRACE_MS - 1)
    assert replays(pair, sent) is Replayed
    assert refusal(pair.bob.copy(), second) is None
    pair.advance(1)
    assert replays(pair, second) is Unknown


def test_an_expired_prekey_opens_nothing_even_if_its_row_is_still_there() -> None:
    pair = strangers()
    sent = opening(pair)
    pair.clock.now += limits.PREKEY_END_MS
    assert replays(pair, sent) is Unknown


def test_the_row_of_a_seen_opening_outlives_the_prekey() -> None:
    pair = strangers()
    pair.bob.receive(opening(pair))

    def ends(prefix: bytes) -> list[int]:
        return sorted(kept.until or 0 for row, kept in pair.bob.drawer.items() if row.startswith(prefix))

    assert ends(b"opening") == ends(b"prekey")
    pair.advance(limits.PREKEY_MS)
    assert ends(b"prekey")[0] < ends(b"opening")[0]


def test_the_session_id_is_made_of_both_people_and_both_keys() -> None:
    pair = strangers()
    sent = opening(pair)
    message, value = parsed(sent), session(pair.alice, pair.bob)
    material = b""
    for device in (pair.alice.me, pair.bob.me):
        material += device.identity + b"\x24" + device.installation.encode()
    material += message.x3dh_header.key[1:] + message.x3dh_header.id[1:]
    assert value.id == tagged_digest(b"kexkit/x3dh/1 sid", material)
    pair.bob.receive(sent)
    assert session(pair.bob, pair.alice).id == value.id


def test_a_first_message_under_another_persons_name_does_not_open() -> None:
    pair = strangers()
    sent = opening(pair)
    assert type(refusal(pair.bob, Sent(pair.carol.me, sent.to, sent.frame))) is Forged


def test_a_first_message_to_another_device_does_not_open() -> None:
    pair = strangers()
    sent = opening(pair)
    assert type(refusal(pair.carol, sent)) is Unknown


def test_a_prekey_that_somebody_else_published_as_hers_leads_to_nobody() -> None:
    """Mallory signs Bob's prekey under her identity: what Alice seals for her, neither of the two can open."""
    pair = strangers()
    bobs = pair.alice.adverts[pair.bob.me]
    pair.alice.adverts[pair.carol.me] = Advert(pair.carol.me, bobs.public, 9, bobs.issued, bobs.expires)
    pair.alice.initiate(pair.carol.me)
    (sent,) = pair.alice.seal(b"for carol", pair.carol.me)
    assert type(refusal(pair.carol, sent)) is Unknown
    assert type(refusal(pair.bob, sent)) is Forged


# --- what who can compute ---------------------------------------------------------------------------------------------

SECRETS = {name: SeededRng(name)(32) for name in ("initiator", "ephemeral", "responder", "prekey")}
PUBLICS = {name: secp256k1.public_of(secret) for name, secret in SECRETS.items()}


def real_secret() -> bytes:
    return agreement.initiator_secret(
        SoftwareIdentity(SECRETS["initiator"]),
        SECRETS["ephemeral"],
        peer=PUBLICS["responder"],
        prekey=PUBLICS["prekey"],
    )


def reach(known: set[str]) -> set[bytes]:
    """All secrets that follow the published form, from every agreement of a known key with a public one."""
    agreed = {secp256k1.agree(SECRETS[one], PUBLICS[other]) for one in known for other in PUBLICS if one != other}
    return {secp256k1.keccak256(b"".join(three)) for three in product(agreed, repeat=3)}


@pytest.mark.parametrize(
    "known", [{name for name, has in zip(SECRETS, row, strict=True) if has} for row in product((False, True), repeat=4)]
)
def test_the_secret_takes_just_the_keys_that_x3dh_says(known: set[str]) -> None:
    """So whoever has my identity key alone cannot speak to me as another; whoever has my prekey can, until it goes."""
    possible = (
        bool(known & {"initiator", "prekey"})
        and bool(known & {"ephemeral", "responder"})
        and bool(known & {"ephemeral", "prekey"})
    )
    assert (real_secret() in reach(known)) is possible


def test_both_ends_agree_and_no_agreement_may_change_places() -> None:
    passive = agreement.responder_secret(
        SoftwareIdentity(SECRETS["responder"]),
        SECRETS["prekey"],
        peer=PUBLICS["initiator"],
        ephemeral=PUBLICS["ephemeral"],
    )
    assert passive == real_secret()
    one, two, three = (
        secp256k1.agree(SECRETS["initiator"], PUBLICS["prekey"]),
        secp256k1.agree(SECRETS["ephemeral"], PUBLICS["responder"]),
        secp256k1.agree(SECRETS["ephemeral"], PUBLICS["prekey"]),
    )
    assert passive == secp256k1.keccak256(one + two + three)
    assert passive != secp256k1.keccak256(two + one + three)


# --- refusals to begin ------------------------------------------------------------------------------------------------


def begin(pair: Pair, opening_: Opening) -> object:
    return pair.alice.exchange.initiate(opening_, NOTHING, ctx=pair.alice.context)


def test_an_expired_bundle_begins_nothing() -> None:
    pair = strangers()
    advert = pair.alice.adverts[pair.bob.me]
    assert advert.expires == advert.issued // 10**6 + limits.ADVERT_MS
    pair.clock.now = advert.expires - 1
    begin(pair, Opening(pair.bob.me, advert))
    pair.clock.now += 1
    with pytest.raises(NoOffer):
        begin(pair, Opening(pair.bob.me, advert))


def test_nobody_to_begin_with_is_no_offer() -> None:
    with pytest.raises(NoOffer):
        begin(strangers(), Opening(None, None))


@pytest.mark.parametrize("public", [OFF_CURVE, b"", bytes(33), b"\x02" * 32, b"\x04" + bytes(64)])
@pytest.mark.parametrize("place", ["prekey", "identity"])
def test_a_key_that_is_no_point_begins_nothing_and_answers_nothing(place: str, public: bytes) -> None:
    pair = strangers()
    advert = pair.alice.adverts[pair.bob.me]
    if place == "prekey":
        bad = evolve(advert, public=public)
    else:
        bad = evolve(advert, device=Device(public, advert.device.installation))
        sent = opening(pair)
        assert isinstance(refusal(pair.bob, Sent(Device(public, "x"), sent.to, sent.frame)), Malformed)
    with pytest.raises(Malformed):
        begin(pair, Opening(bad.device, bad))


@pytest.mark.parametrize(("size", "taken"), [(0, False), (1, True), (254, True), (255, True), (256, False)])
def test_an_installation_fits_behind_a_length_of_one_byte(size: int, taken: bool) -> None:
    assert limits.INSTALLATION_BYTES == 255
    pair = strangers()
    sent = opening(pair)
    refused = refusal(pair.bob, Sent(Device(sent.sender.identity, "x" * size), sent.to, sent.frame))
    assert (refused is None) is taken
    advert = evolve(pair.alice.adverts[pair.bob.me], device=Device(pair.bob.me.identity, "x" * size))
    if taken:
        begin(pair, Opening(advert.device, advert))
    else:
        with pytest.raises(Malformed):
            begin(pair, Opening(advert.device, advert))


def test_a_first_message_without_a_sender_is_refused() -> None:
    pair = strangers()
    with pytest.raises(Malformed):
        pair.bob.exchange.accept(opening(pair).frame, Opening(None, None), NOTHING, ctx=pair.bob.context)


def test_two_devices_of_one_person_talk() -> None:
    pair = strangers()
    pair.bob.identity = pair.alice.identity
    pair.bob.me = Device(pair.alice.me.identity, pair.bob.me.installation)
    pair.bob.drawer.clear()
    pair.publish(pair.bob)
    pair.meet()


# --- grades -----------------------------------------------------------------------------------------------------------


def test_grades_rise_when_the_prekey_leaves_the_chains() -> None:
    pair = strangers()
    pair.alice.initiate(pair.bob.me)
    forward, healing = Guarantee.FORWARD_SECRECY, Guarantee.POST_COMPROMISE
    young = session(pair.alice, pair.bob).grade
    assert young is not None
    assert forward in young
    assert healing not in young
    took = pair.bob.receive(seal(pair.alice, pair.bob))
    assert session(pair.alice, pair.bob).grade == young
    assert took.plain[0].grade == young & ~forward  # as long as the prekey is here
    assert session(pair.bob, pair.alice).grade == X3DH().guarantees
    took = pair.alice.receive(seal(pair.bob, pair.alice))
    assert took.plain[0].grade == X3DH().guarantees
    assert session(pair.alice, pair.bob).grade == X3DH().guarantees
    took = pair.bob.receive(seal(pair.alice, pair.bob))
    assert took.plain[0].grade == X3DH().guarantees
    assert Guarantee.BINDS not in X3DH().guarantees


def test_a_late_text_of_the_first_chain_keeps_its_own_grade() -> None:
    pair = strangers()
    pair.alice.initiate(pair.bob.me)
    late = seal(pair.alice, pair.bob, b"late")
    pair.settle([seal(pair.alice, pair.bob, b"early")])
    pair.say(pair.bob, b"turn")
    pair.say(pair.alice, b"turn")
    assert Guarantee.FORWARD_SECRECY not in pair.bob.receive(late).plain[0].grade


def test_a_thief_reads_first_messages_with_the_prekey_and_not_without_it() -> None:
    pair = strangers()
    sent = opening(pair)
    pair.bob.receive(sent)

    def stolen() -> bool:
        thief = pair.bob.copy(seed="thief")
        thief.sessions.clear()
        thief.drawer = {row: kept for row, kept in thief.drawer.items() if not row.startswith(b"opening")}
        return refusal(thief, sent) is None

    assert stolen()
    pair.advance(limits.PREKEY_MS)
    assert stolen()
    pair.advance(limits.PREKEY_GRACE_MS)
    assert not stolen()


def test_the_agreed_secret_is_in_no_state_once_the_ratchet_has_turned() -> None:
    pair = strangers()
    pair.alice.initiate(pair.bob.me)
    value = session(pair.alice, pair.bob)
    secret = value.root  # before anything was sealed
    assert secret in value.snapshot()
    first = seal(pair.alice, pair.bob)
    assert secret not in session(pair.alice, pair.bob).snapshot()
    pair.bob.receive(first)
    assert secret not in session(pair.bob, pair.alice).snapshot()
    pair.alice.receive(seal(pair.bob, pair.alice))
    assert secret not in session(pair.alice, pair.bob).snapshot()
    everything = b"".join(kept.value for party in (pair.alice, pair.bob) for kept in party.drawer.values())
    assert secret not in everything


def test_who_only_listens_holds_no_ratchet_key() -> None:
    pair = met()
    value = session(pair.alice, pair.bob)
    secret = value.sending.secret  # type: ignore[union-attr]  # alice spoke last
    assert secret in value.snapshot()
    pair.say(pair.bob, b"turn")
    assert secret not in session(pair.alice, pair.bob).snapshot()


def test_accepting_draws_no_randomness() -> None:
    pair = strangers()
    sent, drawn = opening(pair), len(pair.bob.rng.drawn)
    pair.bob.receive(sent)
    assert len(pair.bob.rng.drawn) == drawn


def test_randomness_is_drawn_in_the_order_that_is_written_down() -> None:
    pair = strangers()
    sizes = [len(drawn) for drawn in pair.bob.rng.drawn]
    assert sizes == [32]  # a prekey
    before = len(pair.alice.rng.drawn)
    pair.alice.initiate(pair.bob.me)
    assert [len(drawn) for drawn in pair.alice.rng.drawn[before:]] == [32]  # the ephemeral
    sent = [seal(pair.alice, pair.bob), seal(pair.alice, pair.bob)]
    assert [len(drawn) for drawn in pair.alice.rng.drawn[before + 1 :]] == [32, 16, 16]
    assert secp256k1.public_of(pair.alice.rng.drawn[before]) == parsed(sent[0]).x3dh_header.key
    assert secp256k1.public_of(pair.alice.rng.drawn[before + 1]) == parsed(sent[0]).dr_header.key
    assert parsed(sent[1]).payload[:16] == pair.alice.rng.drawn[-1]


def test_wants_come_before_anything_else() -> None:
    pair = strangers()
    context: Context = pair.bob.context
    wanted = pair.bob.exchange.accept(opening(pair).frame, Opening(pair.alice.me, None), NOTHING, ctx=context)
    assert isinstance(wanted, Wants)
    assert len(wanted.rows) == 2
