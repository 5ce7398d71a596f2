"""Confirmations, verdicts and data sync payloads that the tests of the wire share."""

from __future__ import annotations

from hypothesis import strategies as st
from kexkit import limits, secp256k1
from kexkit._wire import application, mvds, offers
from kexkit._wire.confirms import Confirm, Ruling, Verdict, View, encode_confirm, encode_verdict, record_digest

from tests.wire.samples import (
    ALICE,
    BOB,
    LAPTOP,
    NOW_S,
    PHONE,
    TABLET,
    installations,
    mechanism_names,
    offer_bodies,
    offer_body,
    sequences,
    uuids,
)

GROUP = mvds.one_to_one_group(ALICE.public, BOB.public)
OFFER = offers.sign(offer_body(), ALICE).received
HERS = offers.sign(offer_body(identity=BOB.public, installation=TABLET, siblings=()), BOB).received


def confirm(**changes: object) -> Confirm:
    fields: dict[str, object] = {
        "session": b"\x01" * 32,
        "initiator": ALICE.public,
        "initiator_installation": PHONE,
        "responder": BOB.public,
        "responder_installation": "Bob's télephone",
        "offer_digest": b"\x02" * 32,
        "mechanism": "x3dh/1",
        "mask": 0b11,
        "offer": OFFER,
        "views": (View(min(LAPTOP, TABLET), 7), View(max(LAPTOP, TABLET), 0)),
        "previous": b"\x0b" * 32,
    }
    return Confirm(**{**fields, **changes})  # type: ignore[arg-type]  # every test names fields of Confirm


def verdict(**changes: object) -> Verdict:
    fields: dict[str, object] = {
        "session": b"\x01" * 32,
        "record": record_digest(encode_confirm(confirm())),
        "ruling": Ruling.STALE,
        "seq": 12,
        "offer_digest": b"\x04" * 32,
        "offers": (HERS, b"\x05" * 65),
    }
    return Verdict(**{**fields, **changes})  # type: ignore[arg-type]  # every test names fields of Verdict


CONFIRM = encode_confirm(confirm())
VERDICT = encode_verdict(verdict())
TEXT = application.wrap(b"payload", 1, ALICE)
WRAPPED = mvds.wrap((TEXT, TEXT), group=GROUP, timestamp=NOW_S, confirm=CONFIRM)

digests = st.binary(min_size=32, max_size=32)
identities = st.integers(1, 2**64).map(lambda secret: secp256k1.public_of(secret.to_bytes(32, "big")))
views = st.dictionaries(uuids, sequences, max_size=limits.CONFIRM_VIEWS).map(
    lambda seen: tuple(View(installation, seq) for installation, seq in sorted(seen.items()))
)


@st.composite
def confirms(draw: st.DrawFn) -> Confirm:
    body = draw(offer_bodies())
    return Confirm(
        session=draw(digests),
        initiator=body.identity,
        initiator_installation=body.installation,
        responder=draw(identities),
        responder_installation=draw(installations),
        offer_digest=draw(digests),
        mechanism=draw(mechanism_names),
        mask=draw(st.integers(0, (1 << len(body.entries)) - 1)),
        offer=offers.sign(body, ALICE).received,
        views=draw(views),
        previous=draw(st.none() | digests.filter(any)),
    )


verdicts = st.builds(
    Verdict,
    session=digests,
    record=digests,
    ruling=st.sampled_from(Ruling),
    seq=sequences,
    offer_digest=digests,
    offers=st.lists(st.binary(min_size=1, max_size=200), max_size=limits.VERDICT_OFFERS).map(tuple),
)
