"""Strangers who know an offer send openings: what is left of them when the next ones have pushed them out."""

from __future__ import annotations

import os

import pytest
from kexkit import _records as records
from kexkit._engine.negotiating import opening_place
from kexkit._wire.offers import opening_bind
from kexkit.api import Envelope
from kexkit.limits import HALF_OPEN
from kexkit_noise import mechanisms, payload
from kexkit_noise._noise import Handshake, Keys, Pattern, key_pair
from kexkit_noise.payload import PayloadV2

from tests.noise.test_world import ALONE
from tests.world.mechanisms import Mechanism
from tests.world.world import World, a_world

XK1 = next(one for one in ALONE if one.name == "healing-noise-xk1/1")
XX = next(one for one in ALONE if one.name == "healing-noise-xx/1")


def openings(world: World, spoken: Mechanism, count: int) -> None:
    """To Bob's offer, each as if from somebody new. Alice knows the offer; whoever reads it can do this."""
    (device,) = world.alice.person(world.bob.me.identity).devices
    (advert,) = (one for one in device.adverts if one.mechanism == spoken.name)
    place = opening_place(spoken.name, world.bob.me.identity, device.offer_digest)
    prologue = mechanisms.prologue(opening_bind(spoken.name, device.offer_digest))
    known = mechanisms.MECHANISMS[spoken.name]
    for number in range(count):
        static = key_pair(os.urandom(32))
        keys = Keys(static, remote_static=advert.public[:32] if known.pattern is Pattern.XK1 else None)
        state = Handshake.begin(known.pattern, initiator=True, prologue=prologue, keys=keys)
        first = state.write(b"", place.tag, ephemeral=os.urandom(32))
        frame = payload.encode(PayloadV2(place.tag, known.protocol_id, first.fields, first.transport))
        world.network.inject(Envelope(place.topic, frame, 2, world.clock.now * 10**6 + number))
        if number % HALF_OPEN == 0:
            world.settle()
    world.settle()


@pytest.mark.parametrize("spoken", [XK1, XX], ids=lambda spoken: spoken.name)
def test_an_opening_that_was_pushed_out_leaves_no_timer(spoken: Mechanism) -> None:
    with a_world(1, spoken) as world:
        world.introduce()
        world.settle()
        before = len(world.bob.table("timer"))
        openings(world, spoken, 2 * HALF_OPEN)
        assert len(world.bob.table("half")) == len(world.bob.table("session")) == HALF_OPEN
        assert len(world.bob.table("timer")) <= before + 2 * HALF_OPEN


def test_a_handshake_that_is_done_leaves_no_timer_of_a_half_open_one() -> None:
    with a_world(1, XK1) as world:
        world.introduce()
        world.send("alice", "bob")
        world.quiesce()
        world.must_agree()
        kinds = [records.split_timer(row)[1] for row in world.bob.table("timer")]
        assert records.Timer.HALF_EXPIRY not in kinds
        assert not world.bob.table("half")
