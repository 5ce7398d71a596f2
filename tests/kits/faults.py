"""Mechanisms with one fault each. A kit that lets one of them pass is broken: that is what they are for."""

from __future__ import annotations

from collections.abc import Callable

from attrs import frozen
from kexkit.api import (
    Context,
    Device,
    Opening,
    Session,
)
from kexkit.testing.key_exchange_party import Make
from kexkit_psk.exchange import Psk
from kexkit_psk.session import PskSession

from tests.kits.toy_ladder import Ladder, LadderSession
from tests.kits.toy_ratchet import Ratchet, RatchetSession

FAULTS: dict[str, tuple[Make, str]] = {}
"""what is wrong -> a mechanism with that fault, and the test of the kit that must fail"""

TALK = "test_texts_of_any_size_open_in_both_directions"
ALTERED = "test_an_altered_frame_is_refused_and_the_genuine_one_still_opens"
RESIZED = "test_a_cut_or_lengthened_frame_is_refused_and_the_genuine_one_still_opens"
NOISE = "test_any_bytes_are_refused_and_nothing_else_happens"
ONCE = "test_a_frame_opens_at_most_once"
TWICE = "test_equal_randomness_gives_equal_steps_on_the_session_and_on_its_snapshot"
FORWARD = "test_a_theft_does_not_open_what_was_opened_before_if_it_says_so"
HEALING = "test_an_old_theft_does_not_open_what_comes_after_a_full_turn_if_it_says_so"
SETTLED = "test_a_settled_session_gives_all_that_is_declared"
TWIN = "test_that_an_end_exists_twice_is_said_only_of_a_copy_and_then_if_it_says_so"
REPR = "test_a_repr_shows_no_secret"
PICKLE = "test_a_pickle_holds_no_secret"
TRACE = "test_a_traceback_shows_no_secret_even_with_its_locals"
STRANGER = "test_a_stranger_cannot_make_a_frame_that_opens_as_the_peers"
AGAIN_SAME = "test_a_lost_flight_is_sent_again_as_the_same_bytes"


def fault(caught_by: str) -> Callable[[type], type]:
    """Registers a mechanism, or a session class for the mechanism that it belongs to."""

    def register(broken: type) -> type:
        name = " ".join(broken.__name__.split("_"))
        make: Make
        if issubclass(broken, PskSession):
            make = psk_of(broken)
        elif issubclass(broken, RatchetSession):
            make = lambda: Ratchet(broken)  # noqa: E731
        elif issubclass(broken, LadderSession):
            make = lambda: Ladder(broken)  # noqa: E731
        elif issubclass(broken, Psk):
            make = lambda: broken(bytes(32))  # noqa: E731
        else:
            make = broken
        FAULTS[name] = (make, caught_by)
        return broken

    return register


def turned_into(kind: type[PskSession], s: PskSession) -> PskSession:
    return kind(s.id, s.stamp, s.send_key, s.open_key, s.peer, s.sent, s.top, s.seen)


def psk_of(kind: type[PskSession]) -> Make:
    @frozen
    class Broken(Psk):
        def _session(self, stamp: bytes, opening: Opening, peer: Device, ctx: Context, *, we_began: bool) -> PskSession:
            return turned_into(kind, super()._session(stamp, opening, peer, ctx, we_began=we_began))

        def restore(self, snapshot: bytes) -> Session:
            restored = super().restore(snapshot)
            assert isinstance(restored, PskSession)
            return turned_into(kind, restored)

    return lambda: Broken(bytes(32))
