"""What this application allows. The engine asks nothing else for permission."""

from __future__ import annotations

from enum import Enum

from attrs import frozen

from kexkit.api import Guarantee
from kexkit.errors import InvalidInput


class FirstFlight(Enum):
    """What may leave in a session that the peer has not confirmed."""

    SEND = "send"
    """texts, in a session that gives what policy demands"""
    HOLD = "hold"
    """nothing but the confirmation itself"""


class Downgrade(Enum):
    """What happens when a device's newer offer gives only less than before, or shows a new key."""

    ASK = "ask"
    """texts wait until `Node.consent`"""
    REFUSE = "refuse"
    """they wait for a better offer, whatever a person says"""
    ACCEPT = "accept"
    """they leave, and an event says so"""


class Publish(Enum):
    """Where our signed offer goes, which says what mechanisms we speak, and that there is such a device."""

    ADVERTISE = "advertise"
    """to our contact-code topic, where whoever knows our key can read it, and wherever else it is of use"""
    CONTACTS = "contacts"
    """to people alone: in messages to them, in confirmations, in codes that are handed over as a picture"""
    NONE = "none"
    """nowhere: there is none, and others take us for a Status device"""


class Consent(Enum):
    """For one person, all of their devices."""

    WEAKER = "what is left to choose from may give less than before"
    BARE = "devices that make no offers may be written to though they confirm nothing"
    AGAIN = "what failed to begin may be tried again"
    STATIC = "devices that showed a new long-term key are theirs"
    CODE = "what a contact code says of their devices' offers, and nobody signed, is not true"
    RELEASE = "texts that came over refused sessions shall be shown"


@frozen
class Policy:
    """The default sends nothing without forward secrecy and proof of who both are, and hears strangers."""

    require: Guarantee = Guarantee.SECRET | Guarantee.FROM_PEER | Guarantee.TO_PEER | Guarantee.FORWARD_SECRECY
    """what a session must give before a text of ours leaves through it"""
    mechanisms: frozenset[str] | None = None
    """names allowed; None: all that are loaded. Sessions of others that there are, are heard until they are replaced"""
    hear_unprotected: bool = True
    """take texts that belong to no session (Status's fallback); they are flagged, and lower no session"""
    hear_strangers: bool = True
    """False: only people who were added are heard"""
    advertise: bool = True
    """publish our bundle, and what `publish` says, on our contact-code topic, where whoever knows our key finds it"""
    publish: Publish = Publish.ADVERTISE
    """`NONE` is for installations that never made an offer"""
    first_flight: FirstFlight = FirstFlight.SEND
    downgrade: Downgrade = Downgrade.ASK
    new_static: Downgrade = Downgrade.ACCEPT
    """what happens when a device shows another long-term key than before; an event says so in any case"""
    hear_new_bare: bool = True
    """hear a device that makes no offers, of a person whose other devices do"""

    def __attrs_post_init__(self) -> None:
        if self.publish is Publish.NONE and self.first_flight is FirstFlight.HOLD:
            raise InvalidInput(
                "A device without offers is never confirmed, and this policy would send nothing before it is.",
                advice="Publish to contacts, or let first flights leave.",
            )

    def allows(self, mechanism: str) -> bool:
        return self.mechanisms is None or mechanism in self.mechanisms

    def permits(self, grade: Guarantee | None) -> bool:
        return grade is not None and self.require in grade


#: Also sends when nothing but the peer's key is known: anyone who later steals that key reads such a text.
WITHOUT_FORWARD_SECRECY = Policy(require=Guarantee.SECRET)

#: Nothing leaves before the peer has confirmed the choice, nothing gets weaker, and new keys are asked about.
STRICT = Policy(
    first_flight=FirstFlight.HOLD, downgrade=Downgrade.REFUSE, new_static=Downgrade.ASK, hear_new_bare=False
)

__all__ = ["STRICT", "WITHOUT_FORWARD_SECRECY", "Consent", "Downgrade", "FirstFlight", "Policy", "Publish"]
