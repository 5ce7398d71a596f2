"""Every error kexkit raises, by whose fault it is.

`KexkitError` has five branches: `LocalError` (this application or its configuration), `PeerError` (the other side or
the network), `StorageError`, `TransportError`, `PluginError`. A message says what happened, to whom, and what to do;
it never carries key material or text. Foreign exceptions are converted where they enter, so that nothing else escapes.
"""

from __future__ import annotations


class KexkitError(Exception):
    """The root. `advice` says what to do; `str()` is one sentence fit to show a person."""

    advice: str = ""

    def __init__(self, message: str = "", *, advice: str = "") -> None:
        super().__init__(message or (type(self).__doc__ or "").splitlines()[0])
        if advice:
            self.advice = advice

    def __str__(self) -> str:
        text = str(self.args[0]) if self.args else ""
        return f"{text} {self.advice}".strip() if self.advice else text


# --- ours ------------------------------------------------------------------------------------------------------------


class LocalError(KexkitError):
    """This application asked for something that cannot be done."""


class InvalidInput(LocalError):
    """An argument is malformed: nothing was done."""


class UnknownPeer(LocalError):
    """No such contact here. Add their contact code first."""


class UnknownDevice(UnknownPeer):
    """No such device of this person is known here."""


class NodeClosed(LocalError):
    """The node is closed. Open it again."""


class PolicyRefused(LocalError):
    """The local policy forbids this."""


class NoCommonMechanism(LocalError):
    """The peer offers no key exchange that is loaded and allowed here."""


class MechanismMissing(NoCommonMechanism):
    """The peer offers only key exchanges whose plugins are not loaded here."""


class OfferMissing(NoCommonMechanism):
    """The peer's device is known to have an offer that has not come yet: nothing begins without it."""


class DowngradeNeedsConsent(NoCommonMechanism):
    """What is left to choose from gives less than a session with this device gave before."""


class StaticChanged(NoCommonMechanism):
    """A device of the peer has another long-term key than before. Ask them, then consent."""


class Unconfirmed(NoCommonMechanism):
    """The peer has not confirmed the session, and no more leaves in it until they do."""


class NegotiationFailed(NoCommonMechanism):
    """Sessions with this device failed to begin too often. A newer offer, another policy or you can change that."""


# --- theirs, or the network's ----------------------------------------------------------------------------------------


class PeerError(KexkitError):
    """The peer or the network did something wrong. Nothing here changed."""


class Refusal(PeerError):
    """A frame or an offer is refused. Nothing changed."""


class NotMine(Refusal):
    """Another session's frame; said cheaply, from the header alone."""


class Malformed(Refusal):
    """The bytes do not parse."""


class Forged(Refusal):
    """Authentication failed."""


class Replayed(Refusal):
    """Its place has been used, or its key has expired."""


class Cloned(Refusal):
    """A frame shows that one end of a session exists twice: its device was copied, or its keys were stolen."""

    def __init__(self, message: str = "", *, session: bytes = b"", ours: bool = False, advice: str = "") -> None:
        """`session`: its id; `ours`: it is our end that exists twice."""
        super().__init__(message, advice=advice)
        self.session = session
        self.ours = ours


class Unknown(Refusal):
    """It needs a key that is not here, or not yet. The frame is held and tried again when something changes."""


class Limit(Refusal):
    """A bound is exceeded."""


class NoOffer(Refusal):
    """A session cannot begin with what is known of the peer."""


class NotForThisDevice(Refusal):
    """The message is for other devices of ours."""


class Unsupported(Refusal):
    """It is well-formed, but needs a newer version or something that is not here."""


class OfferMalformed(Malformed):
    """An offer does not parse."""


class OfferTooLarge(Limit):
    """An offer exceeds its size."""


class OfferSignature(Forged):
    """An offer's signature does not verify."""


class OfferForeign(Refusal):
    """An offer is of another identity than the one expected."""


class OfferExpired(Refusal):
    """An offer has expired."""


class OfferNotYetValid(Refusal):
    """An offer begins in the future. Check both clocks."""


class OfferStale(Refusal):
    """An offer is older than one that is known to exist."""


class OfferEquivocation(Refusal):
    """Two different offers of one device bear one number. Nothing begins with it until a higher one comes."""


class OfferRollback(Refusal):
    """A device confirmed with an older offer than one it published: its store was put back, or cloned."""


class ConfirmationMissing(Refusal):
    """A device that makes offers answered without confirming what was chosen."""


class ConfirmationConflict(Refusal):
    """Two different confirmations came for one session."""


class ConfirmationMismatch(Refusal):
    """A confirmation is of another session, or of other people."""


class DowngradeRefused(Refusal):
    """A device that makes offers began a session as if it made none."""


class OfferUnsupported(Unsupported):
    """An offer needs a newer version of kexkit. Upgrade it."""


# --- the store's -----------------------------------------------------------------------------------------------------


class StorageError(KexkitError):
    """The store failed. Unless it is a Conflict, the outcome of the last change is unknown."""


class Conflict(StorageError):
    """A row that the change relied on has moved: nothing was written."""


class StoreBusy(StorageError):
    """Another process holds this store. Close it there, or use another profile."""


class StoreNewer(StorageError):
    """The store was written by a newer version. Upgrade kexkit."""


class StoreCorrupt(StorageError):
    """The store's bytes are damaged. Restore a backup."""


class StoreUnusable(StorageError):
    """The store cannot be opened or written here."""


# --- the transport's -------------------------------------------------------------------------------------------------


class TransportError(KexkitError):
    """The transport failed. What was to be sent stays in the outbox and is tried again."""


class TransportRefused(TransportError):
    """The network refused, and will again. An envelope stays in the outbox."""


# --- a plugin's ------------------------------------------------------------------------------------------------------


class PluginError(KexkitError):
    """A plugin broke its contract. `plugin` names it."""

    def __init__(self, message: str = "", *, plugin: str = "", advice: str = "") -> None:
        super().__init__(message, advice=advice)
        self.plugin = plugin


class PluginMissing(PluginError):
    """No such plugin is installed."""


class PluginDuplicate(PluginError):
    """Two plugins claim one name."""


class PluginIncompatible(PluginError):
    """The plugin was made for another version of the contract."""
