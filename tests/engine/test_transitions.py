"""The table of a session's life is complete, is what its picture shows, and is what the engine goes by."""

from __future__ import annotations

import re

import pytest
from kexkit import _transitions as transitions
from kexkit._transitions import SEALS, TABLE, Cause, State, after
from kexkit.errors import PluginError

from tests.world.mechanisms import EACH, Mechanism
from tests.world.walking import TROUBLE, Walk
from tests.world.world import DAY, a_world

EVERY = [(state, cause) for state in State for cause in Cause]


@pytest.mark.parametrize(("state", "cause"), EVERY, ids=lambda one: one.name.lower())
def test_every_pair_is_in_the_table_or_is_a_typed_error(state: State, cause: Cause) -> None:
    if cause in TABLE[state]:
        assert after(state, cause) is TABLE[state][cause]
    else:
        with pytest.raises(PluginError, match=state.name.lower()):
            after(state, cause)


def test_the_numbers_of_states_are_stored_and_stay() -> None:
    assert {state.name: state.value for state in State} == {
        "NOTHING": 0,
        "OPENING": 1,
        "PROVISIONAL": 2,
        "OPEN": 3,
        "STALE": 4,
        "CLOSED": 5,
    }


def test_a_session_begins_once_and_ends_for_good() -> None:
    begins = {Cause.BEGIN, Cause.BEGIN_READY, Cause.ACCEPT, Cause.ACCEPT_READY}
    assert set(TABLE[State.NOTHING]) == begins
    for state, row in TABLE.items():
        if state is not State.NOTHING:
            assert begins.isdisjoint(row)
            assert state is State.CLOSED or row[Cause.ENDED] is State.CLOSED
    assert TABLE[State.CLOSED] == {}


def test_what_is_stale_never_seals_again_and_what_hears_stays_alive() -> None:
    assert State.STALE not in SEALS
    assert {TABLE[State.STALE][cause] for cause in TABLE[State.STALE]} == {State.STALE, State.CLOSED}
    for row in TABLE.values():
        if Cause.HEARD in row:
            assert row[Cause.HEARD] is not State.CLOSED
        if Cause.OUTDATED in row:
            assert row[Cause.OUTDATED] is State.STALE
    can_be_outdated = {state for state, row in TABLE.items() if Cause.OUTDATED in row}
    assert can_be_outdated == set(State) - {State.NOTHING, State.CLOSED}


def test_the_picture_shows_every_state_and_every_cause_that_leads_to_another() -> None:
    picture = transitions.__doc__ or ""
    words = set(re.findall(r"[a-z_]+", picture))
    named = {Cause.ENDED: "ended", Cause.HEARD: "heard", Cause.READY: "ready", Cause.OUTDATED: "outdated"}
    for state in State:
        assert state.name.lower() in words, state
    for state, row in TABLE.items():
        for cause, target in row.items():
            if state is not target:
                assert named.get(cause, cause.name.lower()) in words, (state, cause)


@EACH
def test_every_session_of_a_walk_is_in_a_state_of_the_table(mechanism: Mechanism) -> None:
    """No session is ever stored as nothing or as closed, and all but the unused states occur."""
    seen = set()
    with a_world(5, mechanism, faults=TROUBLE) as world:
        world.introduce()
        walk = Walk(world)
        for _ in range(150):
            walk.step()
            for peer in world.peers.values():
                for identity in peer.table("peer"):
                    seen |= {State(ref.state) for device in peer.person(identity).devices for ref in device.sessions}
        world.quiesce()
        world.clock.now += 2 * DAY
        world.quiesce()
    assert seen <= {State.PROVISIONAL, State.OPEN, State.STALE}
    assert {State.PROVISIONAL, State.OPEN} <= seen
