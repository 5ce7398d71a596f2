"""Who began keeps nothing that makes again what it has said, and still hears who answers under the prekey."""

from __future__ import annotations

from itertools import permutations

import pytest
from kexkit import secp256k1
from kexkit.errors import Forged, Refusal, Replayed
from kexkit.testing.key_exchange_party import Party, Sent
from kexkit_x3dh import agreement, chains, cipher, frames, limits, parties, prekeys
from kexkit_x3dh.session import answer
from kexkit_x3dh.state import Speaking

from tests.x3dh.support import opening, refusal, seal, session, strangers


@pytest.mark.parametrize("texts", [1, 3])
def test_who_steals_the_state_of_one_who_began_and_waits_reads_nothing_of_what_it_said(texts: int) -> None:
    """Its ratchet key must stay until the answer; with it and the agreed secret its chain could be made again."""
    pair = strangers()
    sent = opening(pair)
    for _ in range(texts - 1):
        seal(pair.alice, pair.bob)
    stolen = session(pair.alice, pair.bob)
    assert isinstance(stolen.sending, Speaking)
    agreed = secp256k1.agree(stolen.sending.secret, stolen.parties.prekey)
    rows = [stolen.snapshot(), *(kept.value for kept in pair.alice.drawer.values())]
    keys = {row[place : place + 32] for row in rows for place in range(len(row) - 31)}
    read = frames.read(sent.frame)
    assert isinstance(read, frames.RatchetFrame)
    header = frames.header_bytes(read.n, read.pn, read.key)
    for key in keys:
        tried = (key, chains.chain_step(key)[1], chains.chain_step(chains.root_step(key, agreed)[1])[1])
        for message_key in tried:
            with pytest.raises(Forged):
                cipher.open_sealed(message_key, read.sealed, header)


@pytest.mark.parametrize("order", list(permutations(range(3))))
@pytest.mark.parametrize("restarts", [False, True])
@pytest.mark.parametrize("turned", [False, True])
def test_a_responder_that_speaks_under_its_prekey_is_read_in_any_order(
    order: tuple[int, ...], restarts: bool, turned: bool
) -> None:
    """No device of ours does, nor one of Status's that has heard; the dialect lets it, and its recordings do."""
    pair = strangers()
    first = opening(pair)
    began = session(pair.alice, pair.bob)
    secret = agreement.responder_secret(
        pair.bob.identity,
        _prekey_of(pair.bob, began.parties.prekey),
        peer=pair.alice.me.identity,
        ephemeral=began.parties.ephemeral,
    )
    who = parties.answered(pair.bob.me, pair.alice.me, prekey=began.parties.prekey, ephemeral=began.parties.ephemeral)
    prekey = _prekey_of(pair.bob, began.parties.prekey)
    pair.bob.sessions[who.id] = answer(who, secret, prekey, limits.PRODUCTION)
    said = [seal(pair.bob, pair.alice, text) for text in (b"zero", b"one", b"two")]
    if turned:
        pair.bob.receive(first)
        said[2] = seal(pair.bob, pair.alice, b"two")
    for place in order:
        if restarts:
            pair.alice = pair.alice.copy()
        assert pair.alice.receive(said[place]).texts == [(b"zero", b"one", b"two")[place]]
        assert _refused(pair.alice, said[place]) is Replayed
    assert session(pair.alice, pair.bob).receiving.gaps.unused == turned  # what Bob said last under his prekey is lost
    assert pair.say(pair.alice, b"and on") == [b"and on"]
    assert pair.say(pair.bob, b"and back") == [b"and back"]


def _prekey_of(party: Party, public: bytes) -> bytes:
    return prekeys.read_prekey(party.drawer[prekeys.prekey_row(public)].value).secret


def _refused(party: Party, sent: Sent) -> type[Refusal]:
    refused = refusal(party, sent)
    assert refused is not None
    return type(refused)
