"""What the command returns to the shell. This table is the only one; README.md tells it to people, a test compares."""

from __future__ import annotations

from enum import IntEnum

from kexkit import errors
from kexkit.errors import (
    ConfirmationConflict,
    ConfirmationMismatch,
    ConfirmationMissing,
    DowngradeRefused,
    Forged,
    InvalidInput,
    KexkitError,
    Limit,
    LocalError,
    Malformed,
    NoCommonMechanism,
    NoOffer,
    NotForThisDevice,
    OfferEquivocation,
    OfferExpired,
    OfferForeign,
    OfferMissing,
    OfferNotYetValid,
    OfferRollback,
    OfferStale,
    PeerError,
    PluginError,
    PolicyRefused,
    Replayed,
    Unconfirmed,
    Unknown,
    UnknownPeer,
)


class Exit(IntEnum):
    """One number for each kind of outcome that a script would tell apart."""

    OK = 0
    FAILURE = 1
    USAGE = 2
    NOT_FOUND = 3
    NOT_CONFIRMED = 4
    UNREADABLE = 5
    UNTRUSTED = 6
    REFUSED = 7
    PLUGIN = 8
    INTERRUPTED = 130


MEANING = {
    Exit.OK: "done",
    Exit.FAILURE: "failure: the sentence on stderr says which",
    Exit.USAGE: "wrong usage, or an argument or setting that cannot be read",
    Exit.NOT_FOUND: "no such profile, peer, or device",
    Exit.NOT_CONFIRMED: "not confirmed in time: it has not left yet, or nothing came",
    Exit.UNREADABLE: "a message came that could not be decrypted",
    Exit.UNTRUSTED: "an identity is not what it should be, or a signature does not verify",
    Exit.REFUSED: "negotiation refused: by policy, because no key exchange is common, or until you consent",
    Exit.PLUGIN: "a plugin is missing, incompatible or broken",
    Exit.INTERRUPTED: "interrupted",
}


class NoSuchProfile(LocalError):
    """There is no such profile here."""


class ProfileUnusable(LocalError):
    """The profile's folder cannot be read or written."""


class IdentityChanged(LocalError):
    """The store holds another identity than the profile was made with."""


class NotConfirmed(LocalError):
    """It was not confirmed in time."""


class LinesNotSent(LocalError):
    """Some lines were no texts that can be sent."""


class OutputLost(LocalError):
    """What is printed cannot be written: a full disk, or a device that failed."""


class MessageUnreadable(PeerError):
    """A message came that could not be decrypted."""


#: The first class that fits decides, so a subclass with its own code stands before its parent.
BY_ERROR: tuple[tuple[type[KexkitError], Exit], ...] = (
    (NoSuchProfile, Exit.NOT_FOUND),
    (UnknownPeer, Exit.NOT_FOUND),
    (NotConfirmed, Exit.NOT_CONFIRMED),
    (MessageUnreadable, Exit.UNREADABLE),
    (Unknown, Exit.UNREADABLE),
    (Replayed, Exit.UNREADABLE),
    (NotForThisDevice, Exit.UNREADABLE),
    (IdentityChanged, Exit.UNTRUSTED),
    (OfferForeign, Exit.UNTRUSTED),
    (ConfirmationMismatch, Exit.UNTRUSTED),
    (Forged, Exit.UNTRUSTED),
    (Unconfirmed, Exit.NOT_CONFIRMED),
    (OfferMissing, Exit.NOT_CONFIRMED),
    (NoCommonMechanism, Exit.REFUSED),
    (PolicyRefused, Exit.REFUSED),
    (NoOffer, Exit.REFUSED),
    (OfferExpired, Exit.REFUSED),
    (OfferNotYetValid, Exit.REFUSED),
    (OfferStale, Exit.REFUSED),
    (OfferRollback, Exit.REFUSED),
    (OfferEquivocation, Exit.REFUSED),
    (ConfirmationMissing, Exit.REFUSED),
    (ConfirmationConflict, Exit.REFUSED),
    (DowngradeRefused, Exit.REFUSED),
    (PluginError, Exit.PLUGIN),
    (InvalidInput, Exit.USAGE),
    (Malformed, Exit.USAGE),
    (Limit, Exit.USAGE),
)


def exit_of(error: KexkitError) -> Exit:
    for kind, code in BY_ERROR:
        if isinstance(error, kind):
            return code
    return Exit.FAILURE


def exit_of_cause(cause: str) -> Exit:
    """Of a text that waits: the name of an error in `kexkit.errors`, or nothing. It is no failure of ours."""
    kind = getattr(errors, cause, None)
    found = exit_of(kind()) if isinstance(kind, type) and issubclass(kind, KexkitError) else Exit.NOT_CONFIRMED
    return found if found is Exit.REFUSED else Exit.NOT_CONFIRMED
