"""Regular work goes on: over restarts, after failures, and when a policy changes its mind."""

from __future__ import annotations

import pytest
from kexkit import _records as records
from kexkit.api import Change
from kexkit.limits import ADVERTISE_EVERY_MS, PURGE_BATCH, SEEN_DAYS, TIMER_RETRY_MS
from kexkit.policy import Policy

from tests.world.mechanisms import BOTH, EACH, X3DH_ALONE, Mechanism
from tests.world.peer import Peer
from tests.world.world import DAY, a_world


def planned(peer: Peer, kind: int) -> list[int]:
    return [due for due, k, _ in map(records.split_timer, peer.table("timer")) if k == kind]


@EACH
def test_many_restarts_plan_regular_work_once(mechanism: Mechanism) -> None:
    with a_world(1, mechanism) as world:
        world.introduce()
        rows = {
            records.timer_key(world.clock.now - n, records.Timer.DRAWER_EXPIRY, bytes([n % 256])): b""
            for n in range(400)
        }
        world.bob.rows.commit(Change({}, rows))
        for _ in range(5):
            world.crash("bob")
        world.settle()
        world.clock.now += 8 * 3600 * 1000
        world.settle()
        for kind in (records.Timer.ADVERTISE, records.Timer.PURGE_SEEN):
            assert len(planned(world.bob, kind)) == 1


@pytest.mark.parametrize("kind", [records.Timer.ADVERTISE, records.Timer.PURGE_SEEN])
def test_regular_work_that_was_put_off_is_done_later_and_goes_on(kind: int) -> None:
    with a_world(2, X3DH_ALONE) as world:
        world.settle()
        (due,) = planned(world.bob, kind)
        world.clock.now = due
        while planned(world.bob, kind) == [due]:
            world.bob.perform(lambda: world.bob.engine.put_off(world.bob.moment()))
        assert planned(world.bob, kind) == [due + TIMER_RETRY_MS]
        for _ in range(3):
            world.clock.now += DAY
            world.settle()
            (next_due,) = planned(world.bob, kind)
            assert next_due > world.clock.now


def test_advertising_begins_again_when_the_policy_allows_it_again() -> None:
    quiet = Mechanism("quiet", BOTH.make, Policy(advertise=False))
    with a_world(3, BOTH) as world:
        world.settle()
        world.bob.mechanism = quiet
        world.crash("bob")
        world.clock.now += 2 * ADVERTISE_EVERY_MS
        world.settle()
        assert planned(world.bob, records.Timer.ADVERTISE) == []
        world.bob.mechanism = BOTH
        world.crash("bob")
        before = len(world.network.logged())
        world.settle()
        assert len(world.network.logged()) == before + 1
        assert len(planned(world.bob, records.Timer.ADVERTISE)) == 1


@pytest.mark.parametrize("rows", [PURGE_BATCH - 1, PURGE_BATCH, PURGE_BATCH + 1])
def test_hashes_of_days_long_past_go_in_portions(rows: int) -> None:
    with a_world(4, X3DH_ALONE) as world:
        world.settle()
        today = world.clock.now // DAY
        old = {records.seen_key(today - SEEN_DAYS - 1, n.to_bytes(32, "big")): b"" for n in range(rows)}
        kept = records.seen_key(today - SEEN_DAYS + 2, bytes(32))
        world.bob.rows.commit(Change({}, {**old, kept: b""}))
        world.clock.now += DAY
        while (due := world.bob.tick()) is not None and due <= world.clock.now + 2:
            world.clock.now += due > world.clock.now
        assert [key[1] for key in world.bob.rows.dump() if key[0] == "seen"] == [kept[1]]
        portions = [sum(key[0] == "seen" for key in change.drop) for change in world.bob.disk.changes]
        assert max(portions) == min(rows, PURGE_BATCH)


@pytest.mark.parametrize("rows", [PURGE_BATCH - 1, PURGE_BATCH, PURGE_BATCH + 1, 3 * PURGE_BATCH])
def test_rows_of_an_ended_session_go_in_portions_with_their_timers(rows: int) -> None:
    with a_world(5, X3DH_ALONE) as world:
        world.settle()
        owned = records.drawer_key("x3dh/1", bytes(32))
        until = world.clock.now + DAY
        made = {(owned[0], owned[1] + n.to_bytes(4, "big")): until.to_bytes(8, "big") for n in range(rows)}
        timers = {records.timer_key(until, records.Timer.DRAWER_EXPIRY, key[1]): b"" for key in made}
        purge = records.timer_key(world.clock.now, records.Timer.PURGE_DRAWER, owned[1])
        world.bob.rows.commit(Change({}, {**made, **timers, purge: b""}))
        for _ in range(8):
            world.clock.now += 1
            world.settle()
        assert not any(key in world.bob.rows.dump() for key in (*made, *timers))
        portions = [sum(key[0] == "drawer" for key in change.drop) for change in world.bob.disk.changes]
        assert max(portions) == min(rows, PURGE_BATCH)
