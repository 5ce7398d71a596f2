"""Genuine envelopes between whole nodes, attacked at every layer from the envelope to the signature inside.

After each attempt Bob's store is as it was, but for what a refusal may leave: the quarantine (a placeholder in `inbox`,
the frame in `held` with its `timer`, their count in `peer`) and the `cursor` of the topic. No text is told, and at the
end of each group the genuine envelope opens, and so does the next one. Each group has a negative control: without the
check that it is about, the attack is seen.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from itertools import permutations
from typing import Any
from uuid import uuid4

import pytest
from attrs import evolve
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from kexkit import SoftwareIdentity, TextReceived, Unreadable, secp256k1
from kexkit import _records as records
from kexkit._engine import chatting, noting, peers, receiving
from kexkit._engine.chatting import Composed, chat_id_of
from kexkit._engine.requests import Flow, Outcome
from kexkit._wire import application, payload26
from kexkit._wire.chat_message import TYPE, ChatText
from kexkit._wire.chat_message import encode as encode_chat
from kexkit._wire.protocol_message import Frame, ProtocolMessage
from kexkit.api import Envelope
from kexkit.contact import ContactCode
from kexkit.errors import Refusal
from kexkit.limits import PAYLOAD_BYTES
from kexkit_x3dh import bundle as bundles

from tests.attacks.forging import addressed_to, flipped, frame_of
from tests.attacks.scene import Scene, scene
from tests.engine.nodes import flushed, so_many, told
from tests.engine.test_strangers_and_trouble import ticking
from tests.world.mechanisms import PSK, X3DH_ALONE, Mechanism

EACH = pytest.mark.parametrize("mechanism", [X3DH_ALONE, PSK], ids=lambda one: one.name)
STEP = 37
"""every so manieth bit is turned: all eight places in a byte come"""


async def prove_seen(made: Scene, envelope: Envelope) -> None:
    """Without its check the attack writes a text, and the assertion says so."""
    with pytest.raises(AssertionError, match="a refusal changed"):
        await made.assert_withstood(envelope)


# --- the envelope ----------------------------------------------------------------------------------------------------


def bits_turned(envelope: Envelope) -> list[Envelope]:
    count = len(envelope.payload) * 8
    return [evolve(envelope, payload=flipped(envelope.payload, bit)) for bit in range(0, count, STEP)]


def damaged(envelope: Envelope) -> list[Envelope]:
    raw = envelope.payload
    cut = [raw[:size] for size in (0, 1, 11, 12, 28, 64, 65, 113, len(raw) // 2, len(raw) - 1)]
    grown = [raw + b"\0", b"\0" + raw, raw + raw, raw + bytes(PAYLOAD_BYTES - len(raw) + 1), bytes(PAYLOAD_BYTES)]
    versions = [evolve(envelope, version=version) for version in (0, 2, 3, 2**31)]
    return [*(evolve(envelope, payload=payload) for payload in cut + grown), *versions]


@EACH
@pytest.mark.anyio
async def test_an_envelope_with_a_bit_turned_is_nothing(mechanism: Mechanism) -> None:
    async with scene(mechanism) as made:
        genuine = await made.genuine()
        for forged in bits_turned(genuine):
            await made.assert_withstood(forged)
        await made.assert_untroubled(genuine)


@EACH
@pytest.mark.anyio
async def test_an_envelope_cut_grown_empty_or_of_an_unknown_version_is_nothing(mechanism: Mechanism) -> None:
    async with scene(mechanism) as made:
        genuine = await made.genuine()
        for forged in damaged(genuine):
            await made.assert_withstood(forged)
        await made.assert_untroubled(genuine)


@pytest.mark.anyio
async def test_negative_control_a_payload_whose_tag_is_not_checked_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    async with scene(X3DH_ALONE) as made:
        forged = bits_turned(await made.genuine())[-8]

        def unchecked(payload: bytes, key: bytes) -> payload26.Opened:
            start = payload[-12:] + (2).to_bytes(4, "big")  # where GCM's own counter begins
            frame = Cipher(algorithms.AES(key), modes.CTR(start)).decryptor().update(payload[:-28])
            size = frame[0] & 3
            end = 1 + size + int.from_bytes(frame[1 : 1 + size], "little")
            return payload26.Opened(frame[1 + size : end], made.identities["alice"].public)

        monkeypatch.setattr(payload26, "open_symmetric", unchecked)
        await prove_seen(made, forged)


@EACH
@pytest.mark.anyio
async def test_negative_control_a_version_that_nobody_compares_is_seen(
    mechanism: Mechanism, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with scene(mechanism) as made:
        forged = evolve(await made.genuine(), version=3)
        monkeypatch.setattr(receiving, "ENVELOPE_VERSION", 3)
        await prove_seen(made, forged)


# --- the protocol message --------------------------------------------------------------------------------------------


def rearranged(message: ProtocolMessage, installation: str) -> list[ProtocolMessage]:
    """Fields left out, doubled and exchanged. `installation` is another one to name."""
    frame = frame_of(message)
    strays = message.bundles + message.offers or (frame,)
    found = [message, evolve(message, installation=installation), evolve(message, installation="")]
    found += [evolve(message, bundles=(), offers=()), evolve(message, bundles=(), offers=(), installation=installation)]
    found += [evolve(message, bundles=message.bundles * 2, offers=message.offers * 2)]
    found += [evolve(message, bundles=message.offers, offers=message.bundles)]
    found += [evolve(message, bundles=(frame,), slots=dict.fromkeys(message.slots, strays[0]))]
    found += [evolve(message, bundles=(), offers=(), slots={"none": frame}, frames=())]
    found += [evolve(message, public=frame), evolve(message, slots={}, frames=())]
    doubled = tuple(message.frames) * 2 or (Frame(next(iter(message.slots)), X3DH_ALONE.main, frame),)
    return [*found, evolve(message, bundles=(), offers=(), frames=doubled)]


@EACH
@pytest.mark.anyio
async def test_what_alice_sealed_is_nothing_under_mallorys_signature(mechanism: Mechanism) -> None:
    """As it is, and with its fields left out, doubled and exchanged."""
    async with scene(mechanism) as made:
        genuine = await made.genuine()
        for message in rearranged(made.inside(genuine), made.nodes["mallory"].installation):
            await made.assert_withstood(made.post("mallory", message))
        await made.assert_untroubled(genuine)


@EACH
@pytest.mark.anyio
async def test_negative_control_an_envelopes_signer_who_is_not_recovered_is_seen(
    mechanism: Mechanism, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with scene(mechanism) as made:
        forged = made.post("mallory", made.inside(await made.genuine()))
        genuine, alice = receiving.open_payload, made.identities["alice"].public

        def credulous(*args: Any) -> receiving.Opened | None:
            opened = genuine(*args)
            return opened and evolve(opened, sender=alice)

        monkeypatch.setattr(receiving, "open_payload", credulous)
        await prove_seen(made, forged)


def misdirected(message: ProtocolMessage) -> list[ProtocolMessage]:
    frame = frame_of(message)
    found = [addressed_to(message, str(uuid4())), addressed_to(message, message.installation)]
    (here,) = [*message.slots, *(one.installation for one in message.frames)]
    for name in ("noise/9", "X3DH/1", "", "x" * 32):
        found.append(evolve(message, slots={}, frames=(Frame(here, name, frame),)))
    return found


@EACH
@pytest.mark.anyio
async def test_frames_for_other_devices_or_of_unknown_mechanisms_open_nowhere(mechanism: Mechanism) -> None:
    """Even under Alice's own signature."""
    async with scene(mechanism) as made:
        genuine = await made.genuine()
        for message in misdirected(made.inside(genuine)):
            await made.assert_withstood(made.post("alice", message))
        await made.assert_untroubled(genuine)


@EACH
@pytest.mark.anyio
async def test_negative_control_an_address_that_nobody_reads_is_seen(
    mechanism: Mechanism, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with scene(mechanism) as made:
        message = made.inside(await made.genuine())
        (exchange,) = made.nodes["bob"]._runtime.engine.setting.exchanges
        monkeypatch.setattr(receiving, "frames_for", lambda message, setting: [(exchange, frame_of(message), b"")])
        await prove_seen(made, made.post("alice", misdirected(message)[0]))


# --- the text inside -------------------------------------------------------------------------------------------------


async def pass_on(made: Scene, text: str) -> list[object]:
    """Mallory seals what Alice signed into his own session with Bob. All that Bob is then told."""
    mallory, bob = made.nodes["mallory"], made.identities["bob"].public
    chat = ChatText(clock=ticking(), timestamp=ticking(), text=text, chat_id=chat_id_of(bob))
    wrapped = application.wrap(encode_chat(chat), TYPE, made.identities["alice"])
    runtime = mallory._runtime

    def flow() -> Flow[Outcome]:
        composed = Composed(os.urandom(32), wrapped, chat.clock)
        return runtime.engine.send(bob, composed, runtime.moment(), again=False)

    await runtime.perform(flow)
    await flushed(mallory)
    await made.quiet()
    found = await told(made.nodes["bob"].events(), so_many(1, TextReceived, Unreadable))
    return [event for event in found if isinstance(event, TextReceived | Unreadable)]


@EACH
@pytest.mark.anyio
async def test_alices_signed_text_in_mallorys_session_is_a_placeholder_of_mallorys(mechanism: Mechanism) -> None:
    async with scene(mechanism) as made:
        genuine = await made.genuine()
        made.attempts += 1
        (event,) = await pass_on(made, "I owe you 100")
        assert isinstance(event, Unreadable)
        assert event.peer == made.identities["mallory"].public
        await made.assert_untroubled(genuine)


@EACH
@pytest.mark.anyio
async def test_negative_control_an_inner_signer_who_is_not_compared_is_seen(
    mechanism: Mechanism, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with scene(mechanism) as made:
        mallory = made.identities["mallory"].public

        class Careless:
            message_id = staticmethod(application.message_id)
            wrap = staticmethod(application.wrap)
            unwrap = staticmethod(lambda body: evolve(application.unwrap(body), signer=mallory))

        monkeypatch.setattr(chatting, "application", Careless)
        (event,) = await pass_on(made, "I owe you 100")
        assert isinstance(event, TextReceived)


# --- what people publish ---------------------------------------------------------------------------------------------


def bundle_of(signer: SoftwareIdentity, named: bytes, installation: str, number: int = 9) -> bytes:
    """Version `number` of a bundle, naming somebody."""
    public = secp256k1.public_of(bytes((number,)) * 32)
    prekeys = {installation: bundles.PublishedPrekey(public, number, 1)}
    made = bundles.pb.Bundle.FromString(bundles.make(signer, prekeys, (ticking() - 1000 + number) * 10**6))
    made.identity = named
    return made.SerializeToString(deterministic=True)


async def meet(made: Scene, code: ContactCode) -> None:
    runtime = made.nodes["bob"]._runtime
    await runtime.perform(lambda: runtime.engine.meet(code, "", runtime.moment()))


@pytest.mark.anyio
async def test_mallorys_bundle_under_alices_name_is_nobodys() -> None:
    async with scene(X3DH_ALONE) as made:
        genuine, alice = await made.genuine(), made.identities["alice"].public
        forged = bundle_of(made.identities["mallory"], alice, made.nodes["alice"].installation)
        honest = bundle_of(made.identities["mallory"], made.identities["mallory"].public, str(uuid4()))
        for maker, one in (("mallory", forged), ("alice", forged), ("alice", honest)):
            await made.assert_withstood(made.post(maker, ProtocolMessage(made.nodes[maker].installation, (one,))))
        before = made.dump()
        for one in (forged, honest):
            with pytest.raises(Refusal):
                await meet(made, ContactCode(alice, (one,), ()))
        assert made.dump() == before
        await made.assert_untroubled(genuine)


@pytest.mark.anyio
async def test_negative_control_a_bundle_whose_signer_is_not_compared_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    async with scene(X3DH_ALONE) as made:
        alice = made.identities["alice"].public
        forged = bundle_of(made.identities["mallory"], alice, made.nodes["alice"].installation)
        monkeypatch.setattr(bundles.secp256k1, "recover", lambda *args, **more: alice)
        before = made.dump()
        await meet(made, ContactCode(alice, (forged,), ()))
        assert made.dump() != before


async def known_after(order: Sequence[int]) -> set[tuple[int, bytes]]:
    """What Bob knows of Alice when versions of her bundle come in this order."""
    async with scene(X3DH_ALONE, alone=True) as made:
        alice, device = made.identities["alice"], str(uuid4())
        published = {one: bundle_of(alice, alice.public, device, one) for one in order}
        for one in order:
            await made.strike(made.post("alice", ProtocolMessage(device, (published[one],))))
        person = records.read_peer(made.stores["bob"].dump()[records.peer_key(alice.public)][0])
        (known,) = [one for one in person.devices if one.installation == device]
        return {(advert.epoch, advert.public) for advert in known.adverts}


@pytest.mark.anyio
async def test_bundles_in_any_order_leave_the_newest() -> None:
    newest = secp256k1.public_of(bytes((3,)) * 32)
    assert [await known_after((*order, order[0])) for order in permutations((1, 2, 3))] == [{(3, newest)}] * 6


@pytest.mark.anyio
async def test_negative_control_a_bundle_whose_age_is_not_compared_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    def forgetful(draft: Any, person: Any, mechanism: str, advert: Any, moment: Any, *, offered: bool) -> None:
        for device in person.record.devices:
            if device.installation == advert.device.installation:
                del device.adverts[:]
        peers.note_advert(draft, person, mechanism, advert, moment, offered=offered)

    monkeypatch.setattr(noting, "note_advert", forgetful)
    assert await known_after((3, 2, 1)) != await known_after((1, 2, 3))
