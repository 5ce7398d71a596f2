"""docs/protocols/negotiation.md says what is on the wire: its example, its labels, its numbers."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from kexkit import limits
from kexkit._wire import confirms, offers
from kexkit._wire.confirms import Ruling
from kexkit._wire.offers import Entry, OfferBody
from kexkit.identity import SoftwareIdentity

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "protocols" / "negotiation.md").read_text("utf-8")
ME = SoftwareIdentity(b"\x01" * 32)
BODY = OfferBody(
    identity=ME.public,
    installation="00000000-0000-4000-8000-000000000001",
    seq=1760000000000,
    not_before=1760000000,
    not_after=1760000000 + 14 * 24 * 3600,
    entries=(Entry("healing-noise-xk1/1", b"\xaa\xbb"), Entry("x3dh/1")),
)


def _example() -> bytes:
    (printed,) = re.findall(r"```\n([0-9a-f\n]+)```", TEXT)
    return bytes.fromhex(printed)


def test_the_example_is_what_that_installation_signs_and_what_a_reader_takes() -> None:
    signed = offers.sign(BODY, ME)
    assert signed.received == _example()
    read = offers.parse(_example(), expected_identity=ME.public, now_ms=BODY.seq)
    assert read.body == BODY
    values = re.findall(r"^\| .* \| `([0-9a-f]{64})` \|$", TEXT, re.MULTILINE)
    assert [bytes.fromhex(value) for value in values] == [
        read.digest,
        offers.opening_bind("x3dh/1", read.digest),
        offers.bare_digest(ME.public, BODY.installation),
    ]


@pytest.mark.parametrize(
    "said",
    [
        f"n u8 (0 to {limits.OFFER_ENTRIES})",
        f"k u8 (0 to {limits.OFFER_SIBLINGS})",
        f"e u8 (0 to {limits.OFFER_EXTENSIONS})",
        f"{limits.OFFER_BYTES} bytes at most",
        f"at most {limits.OFFER_LIFETIME_S // 86400} days; ours is {limits.OWN_OFFER_LIFETIME_MS // 86_400_000}",
        f"v u8 (0 to {limits.CONFIRM_VIEWS})",
        f"c u8 (0 to {limits.VERDICT_OFFERS})",
        f"{limits.PROVISIONAL_TEXTS} texts or two days",
        f"they fit {limits.QR_BYTES} bytes",
        "Rulings: " + ", ".join(f"{each.value} {each.name.lower().replace('_', ' ')}" for each in Ruling) + ".",
        offers._LABEL.decode(),
        confirms._LABEL.decode(),
    ],
)
def test_the_document_has_the_numbers_and_labels_of_the_code(said: str) -> None:
    assert said in TEXT
    assert limits.PROVISIONAL_MS == limits.OWN_OFFER_GRACE_MS == 2 * 86_400_000  # "two days" in the text
    assert (limits.ATTEMPTS, limits.OFFER_CHECKS, limits.OFFER_CHECK_MS) == (5, 10, 60_000)  # "five", "ten", "a minute"


def test_what_the_source_cites_is_in_the_document() -> None:
    sources = [path.read_text("utf-8") for path in (ROOT / "core" / "src" / "kexkit").rglob("*.py")]
    cited = {section for text in sources for section in re.findall(r"negotiation\s+(\d\.\d)", text)}
    assert cited
    assert cited <= set(re.findall(r"^## (\d\.\d) ", TEXT, re.MULTILINE))
