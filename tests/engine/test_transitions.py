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
        "REFUSED": 6,
        "FROZEN": 7,
    }


def test_a_session_begins_once_and_ends_for_good() -> None:
    begins = {Cause.BEGIN, Cause.BEGIN_READY, Cause.ACCEPT}
    assert set(TABLE[State.NOTHING]) == begins
    for state, row in TABLE.items():
        if state is not State.NOTHING:
            assert begins.isdisjoint(row)
            assert state is State.CLOSED or row[Cause.ENDED] is State.CLOSED
    assert TABLE[State.CLOSED] == {}


DEAD = frozenset({State.STALE, State.REFUSED, State.FROZEN, State.CLOSED})


def test_what_no_longer_seals_never_seals_again() -> None:
    assert DEAD.isdisjoint(SEALS)
    for state in DEAD:
        assert set(TABLE[state].values()) <= DEAD


def test_a_text_leaves_only_where_we_began_or_both_confirmed() -> None:
    assert {(state, cause) for state, row in TABLE.items() for cause in row if row[cause] in SEALS} == {
        (State.NOTHING, Cause.BEGIN_READY),
        (State.OPENING, Cause.READY),
        (State.OPENING, Cause.CONFIRMED),
        (State.PROVISIONAL, Cause.CONFIRMED),
    }


def test_what_is_refused_or_frozen_stays_so_until_it_ends() -> None:
    assert set(TABLE[State.REFUSED].values()) == {State.REFUSED, State.FROZEN, State.CLOSED}
    assert set(TABLE[State.FROZEN].values()) == {State.FROZEN, State.CLOSED}


def test_every_session_that_lives_can_be_contradicted() -> None:
    for state, row in TABLE.items():
        if state not in (State.NOTHING, State.CLOSED, State.FROZEN):
            assert row[Cause.CONTRADICTED] is State.FROZEN


def test_the_picture_shows_every_state_and_every_cause_that_leads_to_another() -> None:
    picture = transitions.__doc__ or ""
    words = set(re.findall(r"[a-z_]+", picture))
    for state in State:
        assert state.name.lower() in words, state
    for state, row in TABLE.items():
        for cause, target in row.items():
            if state is not target:
                assert cause.name.lower() in words, (state, cause)


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
