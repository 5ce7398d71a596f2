"""How many sessions with one device are kept for letters that come late: the bound, one less, one more."""

from __future__ import annotations

from random import Random

import pytest
from kexkit.limits import SESSIONS_PER_DEVICE

from tests.interop.conversations import DAY_MS
from tests.interop.devices import Refused, Workshop


def _letters_after(begun: int) -> tuple[bytes | None, list[bytes | None]]:
    """A device begins one session after another: what its letter in the first opens to now, and those that began."""
    workshop = Workshop(Random(0))
    ours, theirs = workshop.kexkit(workshop.person()), workshop.status_go(workshop.person())
    theirs.process_bundle(ours.identity, ours.bundle())
    opened, late = [], b""
    for number in range(begun):
        theirs.peer.infos.clear()
        theirs.peer.ratchets.clear()
        opened.append(ours.receive(theirs.identity, theirs.send(ours.identity, b"first of %d" % number)))
        late = late or theirs.send(ours.identity, b"late")
    return ours.receive(theirs.identity, late), opened


@pytest.mark.parametrize("begun", [SESSIONS_PER_DEVICE - 1, SESSIONS_PER_DEVICE])
def test_as_many_sessions_as_the_bound_says_still_open_what_was_on_the_way(begun: int) -> None:
    late, opened = _letters_after(begun)
    assert late == b"late"
    assert opened == [b"first of %d" % number for number in range(begun)]


def test_one_session_more_displaces_the_oldest() -> None:
    with pytest.raises(Refused, match="Replayed: An opening comes again"):
        _letters_after(SESSIONS_PER_DEVICE + 1)


def test_a_device_that_hears_nothing_of_us_is_heard_however_often_we_begin_anew() -> None:
    """Its prekey is replaced every day, so we begin every day, and it goes on in the session it has."""
    workshop = Workshop(Random(0))
    ours, theirs = workshop.kexkit(workshop.person()), workshop.status_go(workshop.person())
    theirs.process_bundle(ours.identity, ours.bundle())
    for day in range(2 * SESSIONS_PER_DEVICE):
        text = b"text of day %d" % day
        assert ours.receive(theirs.identity, theirs.send(ours.identity, text)) == text
        workshop.clock.ms += DAY_MS
        theirs.bundle()
        ours.process_bundle(theirs.identity, theirs.bundle())
        ours.send(theirs.identity, b"it gets lost")


@pytest.mark.parametrize(("turns", "refusal"), [(0, "Replayed"), (7, "Replayed"), (8, "Replayed"), (9, "Unknown")])
def test_a_copy_is_known_for_one_until_eight_turns_later(turns: int, refusal: str) -> None:
    workshop = Workshop(Random(0))
    ours, theirs = workshop.kexkit(workshop.person()), workshop.status_go(workshop.person())
    theirs.process_bundle(ours.identity, ours.bundle())

    def turn() -> bytes:
        theirs.receive(ours.identity, ours.send(theirs.identity, b"ours"))
        letter = theirs.send(ours.identity, b"theirs")
        assert ours.receive(theirs.identity, letter) == b"theirs"
        return letter

    assert ours.receive(theirs.identity, theirs.send(ours.identity, b"first")) == b"first"
    copied = turn()
    for _ in range(turns):
        turn()
    before = ours.state()
    with pytest.raises(Refused, match=refusal):
        ours.receive(theirs.identity, copied)
    assert ours.state() == before
