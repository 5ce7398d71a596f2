"""Every bound of the wire: one less and the bound itself pass, one more does not."""

from __future__ import annotations

import base64
import inspect
import json
import re
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import pytest
from attrs import evolve
from kexkit import limits
from kexkit._pb.status import mvds_pb2, protocol_message_pb2
from kexkit._wire import (
    application,
    chat_message,
    confirms,
    contact_qr,
    mvds,
    offers,
    payload26,
    protocol_message,
    topics,
    waku,
)
from kexkit._wire.chat_message import ChatText
from kexkit._wire.confirms import View, encode_confirm, encode_verdict
from kexkit._wire.offers import Entry, Extension, OfferBody, Sibling
from kexkit._wire.protocol_message import Frame, ProtocolMessage
from kexkit.api import Envelope
from kexkit.contact import ContactCode, Pin, parse_contact_code
from kexkit.errors import (
    InvalidInput,
    KexkitError,
    Limit,
    OfferMalformed,
    OfferNotYetValid,
    OfferTooLarge,
)

from tests.wire.confirmations import confirm, verdict
from tests.wire.samples import ALICE, NOW_MS, NOW_S, PHONE, offer_body
from tests.wire.test_contact import bundle
from tests.wire.test_offers import _signed

KEY = bytes(range(32))
UNKNOWN_FIELD = b"\xfa\xff\x7f"  # a length-delimited field that no schema of ours has


def _filled(raw: bytes, size: int) -> bytes:
    """The same message with an unknown field, `size` bytes in all."""
    room = size - len(raw) - len(UNKNOWN_FIELD)
    for width in (1, 2, 3):
        content = room - width
        length = b"".join(bytes((content >> 7 * at & 0x7F | (0x80 if at < width - 1 else 0),)) for at in range(width))
        if content >> 7 * width == 0 and content >= 0:
            return raw + UNKNOWN_FIELD + length + bytes(content)
    raise AssertionError(size)


def _wire_message(**fields: object) -> bytes:
    return protocol_message_pb2.ProtocolMessage(**fields).SerializeToString()  # type: ignore[arg-type]  # by schema


def _frame_message(installation: str = "", mechanism: str = "a/1", count: int = 1) -> bytes:
    frame = protocol_message_pb2.KexkitFrame(installation=installation, mechanism=mechanism)
    return _wire_message(kexkit_frames=[frame] * count)


def _public_of_size(size: int) -> ProtocolMessage:
    overhead = len(protocol_message.encode(ProtocolMessage("a", public=bytes(size - 100)))) - (size - 100)
    return ProtocolMessage("a", public=bytes(size - overhead))


def _wrap_of_size(size: int) -> bytes:
    overhead = len(application.wrap(bytes(size - 200), 1, ALICE)) - (size - 200)
    return application.wrap(bytes(size - overhead), 1, ALICE)


def _offer_of_size(size: int) -> OfferBody:
    empty = evolve(offer_body(), entries=(Entry("x3dh/1", b""),))
    room = size - len(offers.encode(empty)) - 64
    return evolve(empty, entries=(Entry("x3dh/1", bytes(room)),))


def _offer_raw(body: OfferBody, old: bytes, new: bytes) -> bytes:
    """A body that our encoder would not write, signed."""
    raw = offers.encode(body)
    assert raw.count(old) == 1
    return _signed(raw.replace(old, new))


def _read(raw: bytes, now_ms: int = NOW_MS) -> None:
    offers.parse(raw, expected_identity=ALICE.public, now_ms=now_ms)


def _many_entries(count: int) -> bytes:
    body = offer_body(entries=(Entry("x3dh/1"),), siblings=(), extensions=())
    names = b"".join(b"\x04a" + bytes((97 + at,)) + b"/1\x00\x00" for at in range(count))
    return _offer_raw(body, b"\x01\x06x3dh/1\x00\x00", bytes((count,)) + names)


def _many_siblings(count: int) -> bytes:
    body = offer_body(entries=(), siblings=(), extensions=())
    uuids = b"".join(bytes((at,)) + bytes(5) + b"\x40\x00\x80" + bytes(7) + bytes(8) for at in range(count))
    raw = offers.encode(body)
    return _signed(raw[:-2] + bytes((count,)) + uuids + b"\x00")


def _many_extensions(count: int) -> bytes:
    raw = offers.encode(offer_body(entries=(), siblings=(), extensions=()))
    return _signed(raw[:-1] + bytes((count,)) + b"".join(bytes((0, at, 0, 0)) for at in range(count)))


def _sequence(seq: int) -> bytes:
    return _offer_raw(offer_body(siblings=()), NOW_MS.to_bytes(8, "big"), seq.to_bytes(8, "big"))


def _lifetime(seconds: int) -> bytes:
    body = offer_body(not_before=NOW_S, not_after=NOW_S + 1)
    return _offer_raw(body, (NOW_S + 1).to_bytes(8, "big"), (NOW_S + seconds).to_bytes(8, "big"))


def _qr_of_size(size: int) -> str:
    head = b"\x01" + ALICE.public + b"\x00\x00\x01"
    content = bytes(size - len(head) - 2 - 4)
    body = head + len(content).to_bytes(2, "big") + content
    return contact_qr.PREFIX + base64.b32encode(body + contact_qr._check(body)).decode().rstrip("=")


def _code_of_size(size: int) -> str:
    document = json.dumps({"identity": base64.b64encode(ALICE.public).decode()}).encode()
    return base64.b64encode(document.ljust(size * 3 // 4)).decode().rstrip("=").ljust(size)


def _code_with_offers(count: int) -> str:
    offer = base64.b64encode(b"offer").decode()
    document = {"identity": base64.b64encode(ALICE.public).decode(), "kexkit_offers": [offer] * count}
    return base64.b64encode(json.dumps(document).encode()).decode()


def _validate(**changes: object) -> None:
    good = ChatText(clock=NOW_MS, timestamp=NOW_MS, text="hello", chat_id="0x04")
    chat_message.validate(evolve(good, **changes), now_ms=NOW_MS)  # type: ignore[arg-type]  # each names a field


def _envelope(payload: int = 0, topic: int = 0) -> Envelope:
    return Envelope("a" * topic, bytes(payload), 1, 0)


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes((*out, number))


def _offer_beyond(size: int) -> bytes:
    if size <= limits.OFFER_BYTES:
        return offers.sign(_offer_of_size(size), ALICE).received
    raw = offers.encode(_offer_of_size(limits.OFFER_BYTES))
    return _signed(raw.replace(b"x3dh/1", b"x3dhh/1").replace(b"\x06x3dhh", b"\x07x3dhh"))


def _code_with_offer(size: int) -> str:
    document = {
        "identity": base64.b64encode(ALICE.public).decode(),
        "kexkit_offers": [base64.b64encode(bytes(size)).decode()],
    }
    return base64.b64encode(json.dumps(document).encode()).decode()


def _qr_with_bundles(count: int) -> str:
    body = b"\x01" + ALICE.public + b"\x00\x00" + bytes((count,)) + b"\x00\x01a" * count
    return contact_qr.PREFIX + base64.b32encode(body + contact_qr._check(body)).decode().rstrip("=")


def _payload_message(**fields: object) -> bytes:
    return mvds_pb2.DataSyncPayload(**fields).SerializeToString()  # type: ignore[arg-type]  # by schema


def _ids_of_every_kind(count: int) -> bytes:
    """Acknowledged, offered in both ways, asked for; a group counts as one too."""
    group = mvds_pb2.DataSyncGroupOffer(message_ids=[b""] * 7)
    return _payload_message(acks=[b""] * (count - 10), offers=[b""], requests=[b""], group_offers=[group])


def _views(count: int) -> tuple[View, ...]:
    return tuple(View(f"{at}0000000-0000-4000-8000-000000000000", at) for at in range(count))


def _confirm_with_views(count: int) -> bytes:
    rows = b"".join(bytes((at << 4,)) + bytes(5) + b"\x40\x00\x80" + bytes(7) + bytes(8) for at in range(count))
    return encode_confirm(confirm(views=()))[:-1] + bytes((count,)) + rows


def _verdict_with_offers(sizes: list[int]) -> bytes:
    listed = b"".join(size.to_bytes(2, "big") + bytes(size) for size in sizes)
    return encode_verdict(verdict(offers=()))[:-1] + bytes((len(sizes),)) + listed


def _verdict_of_size(size: int) -> bytes:
    return _verdict_with_offers([limits.OFFER_BYTES, limits.OFFER_BYTES, size - 114 - 2 * limits.OFFER_BYTES])


# (bound, what is raised beyond it, what is done with that many)
CASES: list[tuple[str, type[KexkitError], Callable[[int], object]]] = [
    (
        "PAYLOAD_BYTES",
        Limit,
        lambda n: payload26.open_frame_symmetric(payload26.seal_frame_symmetric(bytes(n - 28), KEY, bytes(12)), KEY),
    ),
    (
        "PAYLOAD_BYTES",
        Limit,
        lambda n: payload26.open_frame_asymmetric(
            payload26.seal_frame_asymmetric(bytes(n - 113), ALICE.public, KEY, bytes(16)), ALICE
        ),
    ),
    ("PAYLOAD_BYTES", InvalidInput, lambda n: payload26.encode_frame(bytes(n), b"", sign=None)),
    ("PAYLOAD_BYTES", InvalidInput, lambda n: waku.encode(_envelope(payload=n))),
    ("PAYLOAD_BYTES", Limit, lambda n: waku.parse(b"\x0a" + _varint(n) + bytes(n))),
    ("WAKU_MESSAGE_BYTES", Limit, lambda n: waku.parse(_filled(waku.encode(_envelope()), n))),
    ("CONTENT_TOPIC_CHARACTERS", InvalidInput, lambda n: waku.encode(_envelope(topic=n))),
    ("CONTENT_TOPIC_CHARACTERS", Limit, lambda n: waku.parse(b"\x12" + _varint(n) + b"a" * n)),
    ("META_BYTES", InvalidInput, lambda n: waku.encode(_envelope(), meta=bytes(n))),
    ("META_BYTES", Limit, lambda n: waku.parse(b"\x5a" + _varint(n) + bytes(n))),
    ("TOPIC_NAME_BYTES", InvalidInput, lambda n: topics.content_topic("a" * n)),
    ("PROTOCOL_MESSAGE_BYTES", InvalidInput, lambda n: protocol_message.encode(_public_of_size(n))),
    ("PROTOCOL_MESSAGE_BYTES", Limit, lambda n: protocol_message.parse(_filled(b"", n))),
    (
        "SLOTS",
        InvalidInput,
        lambda n: protocol_message.encode(ProtocolMessage("a", slots={str(at): b"" for at in range(n)})),
    ),
    (
        "SLOTS",
        Limit,
        lambda n: protocol_message.parse(_wire_message(encrypted_message={str(at): b"" for at in range(n)})),
    ),
    ("BUNDLES", InvalidInput, lambda n: protocol_message.encode(ProtocolMessage("a", (b"",) * n))),
    ("BUNDLES", Limit, lambda n: protocol_message.parse(_wire_message(bundles=[b""] * n))),
    ("OFFERS", InvalidInput, lambda n: protocol_message.encode(ProtocolMessage("a", offers=(b"",) * n))),
    ("OFFERS", Limit, lambda n: protocol_message.parse(_wire_message(kexkit_offers=[b""] * n))),
    ("OFFERS", Limit, lambda n: parse_contact_code(_code_with_offers(n))),
    (
        "FRAMES",
        InvalidInput,
        lambda n: protocol_message.encode(ProtocolMessage("a", frames=(Frame("", "a/1", b""),) * n)),
    ),
    ("FRAMES", Limit, lambda n: protocol_message.parse(_frame_message(count=n))),
    ("INSTALLATION_BYTES", InvalidInput, lambda n: protocol_message.encode(ProtocolMessage("e" * n))),
    ("INSTALLATION_BYTES", Limit, lambda n: protocol_message.parse(_wire_message(installation_id="e" * n))),
    (
        "INSTALLATION_BYTES",
        Limit,
        lambda n: protocol_message.parse(_wire_message(encrypted_message={"e" * n: b""})),
    ),
    ("INSTALLATION_BYTES", Limit, lambda n: protocol_message.parse(_frame_message(installation="e" * n))),
    (
        "MECHANISM_NAME_BYTES",
        Limit,
        lambda n: protocol_message.parse(_frame_message(mechanism="é" * (n // 2) + "a" * (n % 2))),
    ),
    (
        "MECHANISM_NAME_BYTES",
        OfferMalformed,
        lambda n: _read(
            _offer_raw(offer_body(), b"\x06x3dh/1", bytes((n,)) + b"a" * 31 + b"@" + b"b" * (n - 34) + b"/1")
        ),
    ),
    ("APPLICATION_BYTES", InvalidInput, _wrap_of_size),
    ("APPLICATION_BYTES", Limit, lambda n: application.unwrap(_filled(b"", n))),
    ("APPLICATION_BYTES", Limit, lambda n: chat_message.parse(_filled(b"", n))),
    ("APPLICATION_BYTES", Limit, lambda n: mvds.unwrap(_filled(b"", n))),
    (
        "APPLICATION_BYTES",
        InvalidInput,
        lambda n: mvds.wrap((bytes(n - 52),), group=bytes(32), timestamp=1),
    ),
    ("DATA_SYNC_MESSAGES", Limit, lambda n: mvds.unwrap(_payload_message(messages=[{}] * n))),
    ("DATA_SYNC_MESSAGES", InvalidInput, lambda n: mvds.wrap((b"",) * n, group=bytes(32), timestamp=1)),
    ("DATA_SYNC_RECORDS", Limit, lambda n: mvds.unwrap(_ids_of_every_kind(n))),
    ("CONFIRM_BYTES", Limit, lambda n: mvds.unwrap(_payload_message(kexkit_confirmations=[bytes(n)]))),
    ("CONFIRM_BYTES", InvalidInput, lambda n: mvds.wrap((), group=bytes(32), timestamp=1, confirm=bytes(n))),
    ("TEXT_CHARACTERS", Limit, lambda n: _validate(text="🙂" * n)),
    ("CHAT_ID_CHARACTERS", Limit, lambda n: _validate(chat_id="é" * n)),
    ("CHAT_NAME_CHARACTERS", Limit, lambda n: _validate(response_to="é" * n)),
    ("CHAT_NAME_CHARACTERS", Limit, lambda n: _validate(ens_name="é" * n)),
    ("CHAT_NAME_CHARACTERS", Limit, lambda n: _validate(display_name="é" * n)),
    ("CLOCK_AHEAD_MS", Limit, lambda n: _validate(clock=NOW_MS + n)),
    ("CLOCK_MAX", InvalidInput, lambda n: chat_message.encode(ChatText(n, 1, "a", "b"))),
    ("OFFER_BYTES", InvalidInput, lambda n: offers.sign(_offer_of_size(n), ALICE)),
    ("OFFER_BYTES", OfferTooLarge, lambda n: _read(_offer_beyond(n))),
    ("OFFER_BYTES", InvalidInput, lambda n: ContactCode(ALICE.public, (), (bytes(n),)).to_text()),
    ("OFFER_BYTES", Limit, lambda n: parse_contact_code(_code_with_offer(n))),
    (
        "OFFER_ENTRIES",
        InvalidInput,
        lambda n: offers.encode(offer_body(entries=tuple(Entry(f"a{at}/1") for at in range(n)))),
    ),
    ("OFFER_ENTRIES", OfferMalformed, lambda n: _read(_many_entries(n))),
    (
        "OFFER_SIBLINGS",
        InvalidInput,
        lambda n: offers.encode(
            offer_body(siblings=tuple(Sibling(f"0000000{at}-0000-4000-8000-000000000000", 0) for at in range(n)))
        ),
    ),
    ("OFFER_SIBLINGS", OfferMalformed, lambda n: _read(_many_siblings(n))),
    (
        "OFFER_EXTENSIONS",
        InvalidInput,
        lambda n: offers.encode(offer_body(extensions=tuple(Extension(at, b"") for at in range(n)))),
    ),
    ("OFFER_EXTENSIONS", OfferMalformed, lambda n: _read(_many_extensions(n))),
    ("OFFER_SEQUENCE_MAX", InvalidInput, lambda n: offers.encode(offer_body(seq=n))),
    ("OFFER_SEQUENCE_MAX", OfferMalformed, lambda n: _read(_sequence(n))),
    ("OFFER_SEQUENCE_MAX", InvalidInput, lambda n: ContactCode(ALICE.public, pins=(Pin(PHONE, n),)).to_text()),
    ("OFFER_LIFETIME_S", InvalidInput, lambda n: offers.encode(offer_body(not_before=0, not_after=n))),
    ("OFFER_LIFETIME_S", OfferMalformed, lambda n: _read(_lifetime(n))),
    ("OFFER_AHEAD_S", OfferNotYetValid, lambda n: _read(offers.sign(offer_body(not_before=NOW_S + n), ALICE).received)),
    ("CONFIRM_BYTES", Limit, lambda n: confirms.read_verdict(_verdict_of_size(n))),
    (
        "CONFIRM_BYTES",
        InvalidInput,
        lambda n: encode_verdict(verdict(offers=(bytes(4096), bytes(4096), bytes(n - 8306)))),
    ),
    ("CONFIRM_VIEWS", Limit, lambda n: confirms.read_confirm(_confirm_with_views(n))),
    ("CONFIRM_VIEWS", InvalidInput, lambda n: encode_confirm(confirm(views=_views(n)))),
    ("VERDICT_OFFERS", Limit, lambda n: confirms.read_verdict(_verdict_with_offers([1] * n))),
    ("VERDICT_OFFERS", InvalidInput, lambda n: encode_verdict(verdict(offers=(b"offer",) * n))),
    ("OFFER_BYTES", Limit, lambda n: confirms.read_verdict(_verdict_with_offers([n]))),
    ("INSTALLATION_BYTES", InvalidInput, lambda n: encode_confirm(confirm(responder_installation="e" * n))),
    ("OFFER_SEQUENCE_MAX", InvalidInput, lambda n: encode_verdict(verdict(seq=n))),
    ("CONTACT_CODE_CHARACTERS", Limit, lambda n: parse_contact_code(_code_of_size(n))),
    ("CONTACT_CODE_BUNDLES", InvalidInput, lambda n: ContactCode(ALICE.public, (bundle(),) * n).to_text()),
    ("CONTACT_CODE_BUNDLES", Limit, lambda n: parse_contact_code(_qr_with_bundles(n))),
    ("QR_BYTES", Limit, lambda n: parse_contact_code(_qr_of_size(n))),
]


def _expected(error: type[KexkitError] | None) -> AbstractContextManager[object]:
    return nullcontext() if error is None else pytest.raises(error)


@pytest.mark.parametrize(("name", "error", "use"), CASES, ids=[f"{at}-{case[0]}" for at, case in enumerate(CASES)])
def test_a_bound_is_where_it_says(name: str, error: type[KexkitError], use: Callable[[int], object]) -> None:
    bound = getattr(limits, name)
    for number, expected in ((bound - 1, None), (bound, None), (bound + 1, error)):
        with _expected(expected):
            use(number)


def test_a_sealed_payload_that_grows_beyond_the_bound_is_not_sent() -> None:
    data = bytes(limits.PAYLOAD_BYTES)
    with pytest.raises(InvalidInput):
        payload26.seal_symmetric(data, KEY, sign=None, rng=bytes)
    with pytest.raises(InvalidInput):
        payload26.seal_asymmetric(data, ALICE.public, sign=None, rng=lambda size: b"\x01" * size)


def test_every_bound_of_the_wire_has_a_case() -> None:
    wire = inspect.getsource(limits).partition("# --- wire")[2].partition("\n# ---")[0]
    assert set(re.findall(r"^([A-Z_]+): Final", wire, re.MULTILINE)) == {name for name, *_ in CASES}
