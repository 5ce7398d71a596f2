"""The tests of this folder can fail: each defect here is put in, and the test that guards against it must see it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from kexkit._engine import noting, peers, receiving, strangers
from kexkit._engine.peers import Person, advert_of, ensure_device
from kexkit._engine.requests import Draft
from kexkit._shell.writer import Writer
from kexkit._wire import protocol_message
from kexkit.api import Advert
from kexkit.errors import KexkitError

from tests.attacks import test_floods as floods
from tests.attacks import test_offers_and_bundles as published
from tests.attacks import test_sizes_and_shapes as shapes
from tests.engine import test_commits as commits
from tests.engine import test_store_trouble as trouble
from tests.world.mechanisms import PSK, X3DH_ALONE

MANY = 10**6


def takes_any(draft: Draft, person: Person, mechanism: str, advert: Advert) -> None:
    """Keeps whatever came last, as status-go's lookup does (SG2)."""
    device = ensure_device(person, advert.device.installation)
    if device is None:
        return
    known = advert_of(device, mechanism) or device.adverts.add(mechanism=mechanism)
    known.public, known.epoch, known.issued, known.expires = advert.public, advert.epoch, advert.issued, advert.expires
    person.changed = True


DEFECTS: dict[str, tuple[Any, str, Any, Callable[[], object]]] = {
    "devices without a bound": (
        peers,
        "DEVICES_PER_PEER",
        MANY,
        lambda: floods.test_a_flood_of_invented_devices_leaves_the_real_one_served(PSK),
    ),
    "whoever published last is served first": (
        peers,
        "has_spoken",
        lambda device: False,
        lambda: floods.test_a_flood_of_invented_devices_leaves_the_real_one_served(X3DH_ALONE),
    ),
    "sessions without a bound": (
        peers,
        "SESSIONS_PER_DEVICE",
        MANY,
        lambda: floods.test_a_flood_of_new_sessions_keeps_the_last_ones_and_goes_on(PSK),
    ),
    "held frames without a bound": (
        receiving,
        "HELD_PER_PEER",
        MANY,
        lambda: floods.test_unreadable_frames_are_kept_up_to_a_bound_and_shown(PSK),
    ),
    "strangers without a bound": (
        strangers,
        "STRANGERS",
        MANY,
        lambda: floods.test_strangers_are_kept_up_to_a_bound_and_contacts_are_served_all_the_same(PSK),
    ),
    "any offer displaces any other": (
        noting,
        "note_advert",
        takes_any,
        lambda: published.test_five_versions_in_any_order_with_copies_leave_the_same_state(X3DH_ALONE),
    ),
    "messages without bounds": (
        protocol_message,
        "_excess",
        lambda message: None,
        lambda: shapes.test_a_message_beyond_any_bound_is_refused(PSK),
    ),
}


@pytest.mark.parametrize("defect", DEFECTS)
def test_negative_control(defect: str, monkeypatch: pytest.MonkeyPatch) -> None:
    module, name, replacement, run = DEFECTS[defect]
    run()
    monkeypatch.setattr(module, name, replacement)
    with pytest.raises((AssertionError, KexkitError)):
        run()


@pytest.mark.anyio
async def test_negative_control_a_commit_of_unknown_outcome_that_is_not_looked_after(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("tests.engine.nodes.PATIENCE", 0.5)
    monkeypatch.setattr(
        Writer, "_doubted", property(lambda self: lambda: None, lambda self, value: None), raising=False
    )
    with pytest.raises((AssertionError, TimeoutError)):
        await trouble.test_a_text_whose_commit_seemed_to_fail_leaves_without_a_restart(PSK)


@pytest.mark.anyio
async def test_negative_control_every_text_in_a_commit_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kexkit._shell.writer.BATCH", 1)
    with pytest.raises(AssertionError):
        await commits.test_texts_sent_together_share_their_commits(PSK, monkeypatch)
