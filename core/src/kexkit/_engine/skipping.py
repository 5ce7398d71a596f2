"""Devices that texts leave out: which, why, and what becomes of the texts meanwhile.

Each pair of devices negotiates alone, and no device lowers what the others get. A text that another device of the
person has, or is about to have, does not wait for one that is left out: its row is set aside, counts for nothing, and
goes in time; should the cause end before, it is sealed after all. A text that nobody has waits.
"""

from __future__ import annotations

from collections.abc import Sequence

from kexkit import _records as records
from kexkit._engine.frames import Postponed, Sealed
from kexkit._engine.peers import Person, device_of, is_withdrawn, load_person, save_person, targets
from kexkit._engine.requests import Draft, Flow, Moment, scan
from kexkit._engine.setting import Setting
from kexkit.api import Key
from kexkit.errors import (
    DowngradeNeedsConsent,
    KexkitError,
    NegotiationFailed,
    NoCommonMechanism,
    OfferEquivocation,
    OfferExpired,
    OfferMissing,
    OfferNotYetValid,
    Unconfirmed,
)
from kexkit.events import InstallationSkipped, Skip
from kexkit.limits import ATTEMPTS, KEPT_ASIDE_MS, PURGE_BATCH, TARGETS

_WHY: tuple[tuple[type[KexkitError], Skip | None], ...] = (
    (DowngradeNeedsConsent, Skip.FLOOR),
    (OfferMissing, Skip.MISSING),
    (OfferExpired, Skip.MISSING),
    (OfferNotYetValid, Skip.MISSING),
    (OfferEquivocation, Skip.MISSING),
    (Unconfirmed, None),
    (NegotiationFailed, None),
    (NoCommonMechanism, Skip.POLICY),
)
"""the first class that fits; None: time brings an end to it"""

_ADVICE = {
    Skip.FLOOR: "If less is enough for it, consent to that; a better offer of it ends this too.",
    Skip.NOT_NEWEST: "Forget devices of theirs that are gone.",
    Skip.POLICY: "Another policy ends this, or a plugin, or your consent where that was asked for.",
    Skip.MISSING: "It gets them once it publishes. If it is gone, forget it; what only a code says of it you may lift.",
    Skip.FAILED: "Consent to another try.",
}
_TURNS = Skip.NOT_NEWEST.name
BEYOND = f"texts go to {TARGETS} devices of a person, and it is not among the newest"


def why(device: records.PeerDevice, problem: KexkitError, *, beginning: bool = False) -> Skip | None:
    """None: it is only a matter of time. `beginning`: the problem is that no session may begin."""
    if isinstance(problem, NegotiationFailed) and device.attempts >= ATTEMPTS:
        return Skip.FAILED
    if isinstance(problem, Unconfirmed) and beginning:
        return Skip.POLICY  # it will never confirm anything, so it is never sent anything
    return next((skip for kind, skip in _WHY if isinstance(problem, kind)), None)


def left_out(
    draft: Draft, person: Person, parts: Sequence[Sealed | Postponed], setting: Setting, moment: Moment
) -> frozenset[str]:
    """The devices for which a new text is only kept aside, for others have it or wait for nothing but time."""
    skips = [part for part in parts if isinstance(part, Postponed) and part.skip is not None]
    if len(skips) == len(parts):
        return frozenset()
    for part in skips:
        tell(draft, person, part)
    if len(person.record.devices) > TARGETS:
        _tell_of_others(draft, person, setting)
    for one in parts:
        if isinstance(one, Sealed) and not one.flight:
            reached(person, one.installation)
    return frozenset(part.installation for part in skips)


def _tell_of_others(draft: Draft, person: Person, setting: Setting) -> None:
    """Those that are not among the newest, our own excepted: of those only paired ones are meant at all."""
    if person.identity == setting.me.identity:
        return
    meant = {device.installation for device in targets(person, setting)}
    for device in person.record.devices:
        if device.installation not in meant and not is_withdrawn(device):
            tell(draft, person, not_newest(device.installation))


def not_newest(installation: str) -> Postponed:
    return Postponed(installation, BEYOND, skip=Skip.NOT_NEWEST)


def tell(draft: Draft, person: Person, part: Postponed) -> None:
    """Once for each cause, until texts reach the device again."""
    device, skip = device_of(person, part.installation), part.skip
    if device is None or skip is None:
        return
    mark, told = f"{skip.name} {part.cause}".rstrip(), device.skipped.split("\n") if device.skipped else []
    if mark in told:
        return
    device.skipped = "\n".join((*told, mark))
    person.changed = True
    draft.events.append(
        InstallationSkipped(person.identity, part.installation, skip, part.cause, part.reason, _ADVICE[skip])
    )


def reached(person: Person, installation: str) -> None:
    """What was told of it is over. Where it was only not the newest, the next that publishes may change that again, and
    nobody wants to hear of it each time."""
    device = device_of(person, installation)
    if device is not None and device.skipped and device.skipped != _TURNS:
        device.skipped = _TURNS if _TURNS in device.skipped.split("\n") else ""
        person.changed = True


def set_aside(draft: Draft, person: Person, key: Key, installation: str, moment: Moment) -> None:
    """The text is kept for this device, and does not wait for it. One timer serves all that is kept for a device."""
    until = moment.now + KEPT_ASIDE_MS
    draft.write(key, records.aside_row(until))
    see_to_it(draft, person, installation, until)


def see_to_it(draft: Draft, person: Person, installation: str, until: int) -> None:
    """That what is kept for a device goes in time; also where it was forgotten, and came again meanwhile."""
    device = device_of(person, installation)
    if device is not None and not device.aside:
        device.aside = True
        person.changed = True
        _plan(draft, until, records.device_reference(person.identity, installation))


def _plan(draft: Draft, due: int, reference: bytes) -> None:
    draft.write(records.timer_key(due, records.Timer.ASIDE_EXPIRY, reference), b"")


def expire_aside(draft: Draft, reference: bytes, moment: Moment) -> Flow[None]:
    """What was kept for a device long enough goes, a page at a time; then again when the next is due."""
    identity, installation, after = records.split_device_reference(reference)
    place = records.device_reference(identity, installation)
    prefix = records.waiting_prefix(identity)
    rows = yield from scan("waiting", prefix + after, records.prefix_end(prefix), limit=PURGE_BATCH)
    for key, row in rows:
        until = records.aside_until(row.value)
        if until is None or records.split_waiting(key[1])[3] != installation:
            continue
        if until > moment.now:
            _plan(draft, until, place)
            return
        draft.remove(key)
    if len(rows) == PURGE_BATCH:
        _plan(draft, moment.now + 1, place + rows[-1][0][1][len(prefix) :] + b"\x00")
        return
    person = yield from load_person(draft, identity)
    device = device_of(person, installation)
    if device is not None:
        device.aside = False
        person.changed = True
        save_person(draft, person)
