"""Identities, randomness and values that the tests of the wire share. Everything is repeatable."""

from __future__ import annotations

import random
from collections.abc import Callable
from uuid import UUID

from hypothesis import settings
from hypothesis import strategies as st
from kexkit import limits
from kexkit._wire.offers import Entry, Extension, OfferBody, Sibling
from kexkit._wire.protocol_message import Frame, ProtocolMessage
from kexkit.identity import SoftwareIdentity

repeatable = settings(derandomize=True, deadline=None, max_examples=100, database=None)

NOW_S = 1_729_726_800
NOW_MS = NOW_S * 1000


def seeded(seed: int) -> Callable[[int], bytes]:
    return random.Random(seed).randbytes


ALICE = SoftwareIdentity.generate(seeded(1))
BOB = SoftwareIdentity.generate(seeded(2))
PHONE = str(UUID(bytes=seeded(3)(16), version=4))
LAPTOP = str(UUID(bytes=seeded(4)(16), version=4))
TABLET = str(UUID(bytes=seeded(5)(16), version=4))


def offer_body(**changes: object) -> OfferBody:
    fields: dict[str, object] = {
        "identity": ALICE.public,
        "installation": PHONE,
        "seq": NOW_MS,
        "not_before": NOW_S - 60,
        "not_after": NOW_S + 14 * 86400,
        "entries": (Entry("psk@example.org/1", b"\x07" * 32), Entry("x3dh/1")),
        "siblings": (Sibling(LAPTOP, 12),),
        "extensions": (Extension(7, b"unknown"),),
    }
    return OfferBody(**{**fields, **changes})  # type: ignore[arg-type]  # every test names fields of OfferBody


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
installations = texts.filter(lambda text: len(text.encode()) <= limits.INSTALLATION_BYTES)
blobs = st.binary(max_size=300)

protocol_messages = st.builds(
    ProtocolMessage,
    installation=installations,
    bundles=st.lists(blobs, max_size=limits.BUNDLES).map(tuple),
    slots=st.dictionaries(installations, blobs, max_size=5),
    public=st.none() | st.binary(min_size=1, max_size=300),
    offers=st.lists(blobs, max_size=limits.OFFERS).map(tuple),
    frames=st.lists(
        st.builds(Frame, installations, st.from_regex(r"[a-z]{1,20}/[1-9]", fullmatch=True), blobs), max_size=5
    ).map(tuple),
)

uuids = st.binary(min_size=16, max_size=16).map(lambda raw: str(UUID(bytes=raw, version=4)))
sequences = st.integers(0, limits.OFFER_SEQUENCE_MAX)
mechanism_names = st.from_regex(r"[a-z][a-z0-9-]{0,15}(@[a-z0-9.-]{3,30})?/[1-9][0-9]{0,2}", fullmatch=True)


@st.composite
def offer_bodies(draw: st.DrawFn) -> OfferBody:
    installation, *others = sorted(draw(st.sets(uuids, min_size=1, max_size=3)))
    not_before = draw(st.integers(0, 2**62))
    names = draw(st.lists(mechanism_names, max_size=4, unique=True))
    return OfferBody(
        identity=ALICE.public,
        installation=installation,
        seq=draw(sequences),
        not_before=not_before,
        not_after=not_before + draw(st.integers(1, limits.OFFER_LIFETIME_S)),
        entries=tuple(Entry(name, draw(st.binary(max_size=120))) for name in names),
        siblings=tuple(Sibling(other, draw(sequences)) for other in others),
        extensions=tuple(
            Extension(number, draw(st.binary(max_size=50)))
            for number in sorted(draw(st.sets(st.integers(0, 0x7FFF), max_size=4)))
        ),
    )
