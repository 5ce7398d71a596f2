"""What is in the way of a negotiation, in words, with what a person can do about it."""

from __future__ import annotations

from typing import Final, TypeAlias

from kexkit import (
    ChoiceNarrowed,
    CloneSuspected,
    Consent,
    InstallationSkipped,
    NegotiationTrouble,
    OfferShrunk,
    ReplacedUnknown,
    Skip,
    Waiting,
)

from kexkit_cli.safe_text import safe

CONSENTS: Final = {consent.name.lower(): consent for consent in Consent}
"""as they are typed: 'weaker', 'bare', 'again', 'static', 'code', 'release'"""

_REMEDIES: Final = {
    "DowngradeNeedsConsent": (Consent.WEAKER, "Say that less is enough for them with: {}"),
    "Unconfirmed": (Consent.BARE, "If theirs is an application that makes no offers, such as Status: {}"),
    "NegotiationFailed": (Consent.AGAIN, "Try again at once with: {}"),
    "StaticChanged": (Consent.STATIC, "Ask them whether they have a new device or a new key; if so: {}"),
    "OfferMissing": (Consent.CODE, "It leaves once that comes. If only a contact code spoke of it, and was wrong: {}"),
}
"""an error behind a text that waits, or a trouble -> what makes it go on"""
_CHOSEN_AGAIN: Final = frozenset({"STALE", "NOT_BEST"})


def remedy(event: Waiting | NegotiationTrouble | InstallationSkipped, command: str) -> str:
    """What to do, or nothing. `command` consents, with '{}' for what: 'kexkit consent alice {}'."""
    if isinstance(event, InstallationSkipped) and event.why is Skip.NOT_NEWEST:
        return "Devices that are gone can be forgotten: kexkit forget"
    if event.cause in _REMEDIES:
        consent, words = _REMEDIES[event.cause]
        return words.format(command.format(consent.name.lower()))
    if isinstance(event, (Waiting, InstallationSkipped)):
        return ""
    if not event.mechanism:
        return "A newer offer of theirs ends that."
    if event.cause in _CHOSEN_AGAIN:
        return "The choice is made again by itself."
    if event.cause == "POLICY":
        return f"One end wants no less than before. If that is you: {command.format(Consent.WEAKER.name.lower())}"
    release = command.format(Consent.RELEASE.name.lower())
    return f"If texts were kept back with it, this shows them: {release}"


Told: TypeAlias = (
    NegotiationTrouble | OfferShrunk | ChoiceNarrowed | ReplacedUnknown | CloneSuspected | InstallationSkipped
)
"""what `in_words` has words for"""


def in_words(event: Told, name: str) -> str:
    """What stands in it comes from core, but for names of mechanisms: those are the peer's, and checked there."""
    if isinstance(event, InstallationSkipped):
        return f"Device {safe(event.installation)} of {name} is left out: {event.reason.rstrip('.')}."
    if isinstance(event, OfferShrunk):
        return f"A device of {name} no longer offers {', '.join(event.gone)}."
    if isinstance(event, ChoiceNarrowed):
        return f"A device of {name} leaves {', '.join(event.gone)} out, although it offers that as before."
    if isinstance(event, ReplacedUnknown):
        return f"A device of {name} replaces a session over {event.mechanism} that this device does not have."
    if isinstance(event, CloneSuspected):
        whose = "This device" if event.ours else f"A device of {name}"
        return f"{whose} may exist twice, as a copy or with stolen keys. {event.reason} Ask {name}, by another way."
    if not event.mechanism:
        return f"An offer of {name} cannot be used: {event.reason}"
    return f"Negotiating with {name} over {event.mechanism}: {event.reason}"


def waits(event: Waiting) -> str:
    return f"It waits: {event.reason.rstrip('.')}."


def consented(name: str, what: Consent, count: int) -> str:
    """`count` is core's: devices, or texts."""
    if what is Consent.RELEASE:
        return f"{_counted(count, 'text')} of {name} will be shown." if count else f"No text of {name} was kept back."
    if what is Consent.CODE and not count:
        return f"Nothing that is known of {name} rests on a contact code alone."
    if not count:
        return f"No device of {name} is known yet; nothing was to be decided."
    return f"Noted for {_counted(count, 'device')} of {name}: {what.value}."


def _counted(count: int, thing: str) -> str:
    return f"{count} {thing}" + ("" if count == 1 else "s")
