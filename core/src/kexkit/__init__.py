"""End-to-end encrypted chat in which the key exchange is a plugin.

    async with open_node(store, transport, plugins.key_exchanges) as node:
        peer = await node.add(code)
        await node.send(peer, "hello")
        async for event in node.events():
            ...
            await node.ack(event)

What is named here is public and stable; so are `kexkit.api` and `kexkit.hookspecs` (for plugin authors),
`kexkit.errors`, `kexkit.testing` and, with care, `kexkit.hazmat`. Modules with an underscore are not.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kexkit._host import (
        PluginReport,
        Plugins,
        examine_plugins,
        installed_plugins,
        load_commands,
        load_plugins,
    )
    from kexkit._negotiation import choose
    from kexkit.api import Guarantee
    from kexkit.contact import ContactCode, parse_contact_code
    from kexkit.errors import KexkitError
    from kexkit.events import (
        ChoiceNarrowed,
        CloneSuspected,
        Delivery,
        DeliveryChanged,
        Event,
        EventsMissed,
        FrameRefused,
        InstallationSkipped,
        NegotiationTrouble,
        OfferSeen,
        OfferShrunk,
        PeerMet,
        Question,
        ReplacedUnknown,
        SessionOpened,
        Skip,
        TextReceived,
        TransportTrouble,
        Unreadable,
        Waiting,
    )
    from kexkit.identity import SoftwareIdentity
    from kexkit.node import Contact, KnownDevice, Node, Sent, StoredText, open_node
    from kexkit.policy import STRICT, WITHOUT_FORWARD_SECRECY, Consent, Downgrade, FirstFlight, Policy, Publish

__version__ = "0.1.0"

_HOME = {
    "kexkit._negotiation": ("choose",),
    "kexkit._host": (
        "PluginReport",
        "Plugins",
        "examine_plugins",
        "installed_plugins",
        "load_commands",
        "load_plugins",
    ),
    "kexkit.api": ("Guarantee",),
    "kexkit.contact": ("ContactCode", "parse_contact_code"),
    "kexkit.errors": ("KexkitError",),
    "kexkit.events": (
        "ChoiceNarrowed",
        "CloneSuspected",
        "Delivery",
        "DeliveryChanged",
        "Event",
        "EventsMissed",
        "FrameRefused",
        "InstallationSkipped",
        "NegotiationTrouble",
        "OfferSeen",
        "OfferShrunk",
        "PeerMet",
        "Question",
        "ReplacedUnknown",
        "SessionOpened",
        "Skip",
        "TextReceived",
        "TransportTrouble",
        "Unreadable",
        "Waiting",
    ),
    "kexkit.identity": ("SoftwareIdentity",),
    "kexkit.node": ("Contact", "KnownDevice", "Node", "Sent", "StoredText", "open_node"),
    "kexkit.policy": ("STRICT", "WITHOUT_FORWARD_SECRECY", "Consent", "Downgrade", "FirstFlight", "Policy", "Publish"),
}
_WHERE = {name: module for module, names in _HOME.items() for name in names}


def __getattr__(name: str) -> Any:
    """Import on first use: a command line that only lists plugins pays for no cryptography."""
    try:
        found = getattr(import_module(_WHERE[name]), name)
    except KeyError:
        raise AttributeError(f"module 'kexkit' has no attribute {name!r}") from None
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted([*globals(), *_WHERE])


__all__ = [
    "STRICT",
    "WITHOUT_FORWARD_SECRECY",
    "ChoiceNarrowed",
    "CloneSuspected",
    "Consent",
    "Contact",
    "ContactCode",
    "Delivery",
    "DeliveryChanged",
    "Downgrade",
    "Event",
    "EventsMissed",
    "FirstFlight",
    "FrameRefused",
    "Guarantee",
    "InstallationSkipped",
    "KexkitError",
    "KnownDevice",
    "NegotiationTrouble",
    "Node",
    "OfferSeen",
    "OfferShrunk",
    "PeerMet",
    "PluginReport",
    "Plugins",
    "Policy",
    "Publish",
    "Question",
    "ReplacedUnknown",
    "Sent",
    "SessionOpened",
    "Skip",
    "SoftwareIdentity",
    "StoredText",
    "TextReceived",
    "TransportTrouble",
    "Unreadable",
    "Waiting",
    "__version__",
    "choose",
    "examine_plugins",
    "installed_plugins",
    "load_commands",
    "load_plugins",
    "open_node",
    "parse_contact_code",
]
