"""What can be told of a negotiation without one: what is offered here, and what a contact and we have in common.

Which of those a text then leaves over is core's to say: it depends on the device, on its newest offer, and on what
sessions with it gave before.
"""

from __future__ import annotations

from collections.abc import Sequence

from kexkit import Contact, Guarantee, Policy, Publish
from kexkit.api import Carriage, KeyExchange
from kexkit.errors import MechanismMissing, NoCommonMechanism


def offered(exchanges: Sequence[KeyExchange], policy: Policy) -> tuple[str, ...]:
    """The names that stand in our offer, in its order: what policy allows. Without one, what others then assume."""
    if policy.publish is Publish.NONE:
        exchanges = [one for one in exchanges if one.carriage is Carriage.SLOT]
    return tuple(one.name for one in exchanges if policy.allows(one.name) and policy.require in one.guarantees)


def common(contact: Contact, exchanges: Sequence[KeyExchange], policy: Policy) -> tuple[str, ...]:
    """What both of us offer, in our order."""
    return tuple(name for name in offered(exchanges, policy) if name in contact.mechanisms)


def check_common(contact: Contact, exchanges: Sequence[KeyExchange], policy: Policy, name: str) -> None:
    """Raise where nothing can ever be sealed as things stand; a peer of whom nothing is known yet may turn up."""
    if not contact.mechanisms or common(contact, exchanges, policy):
        return
    ours = ", ".join(offered(exchanges, policy)) or "none"
    told = f"{name} offers {', '.join(contact.mechanisms)}; allowed here: {ours}."
    loaded = [one for one in exchanges if one.name in contact.mechanisms]
    if not loaded:
        raise MechanismMissing(told, advice="Nothing was sent. Enable a plugin for one of them with --plugins.")
    weak = [one for one in loaded if policy.allows(one.name)]
    if not weak:
        advice = "Nothing was sent. This profile's settings forbid what is loaded of it: see its config.toml."
    elif (missing := policy.require & ~weak[0].guarantees) == Guarantee.FORWARD_SECRECY:
        advice = f"Nothing was sent. {weak[0].name} gives no forward secrecy: --without-forward-secrecy allows it."
    else:
        advice = f"Nothing was sent. What {weak[0].name} does not give is demanded here: {in_words(missing)}."
    raise NoCommonMechanism(told, advice=advice)


def family(name: str) -> str:
    """'psk' of 'psk@example.org/1', and 'noise-xk1' of 'noise-xk1/1'."""
    return name.partition("/")[0].partition("@")[0]


def is_called(name: str, wanted: str) -> bool:
    """By its whole name, by its name without a version, or by a family that it is of: 'noise' for 'noise-xk1/1'."""
    return wanted in (name, name.partition("/")[0], family(name)) or family(name).startswith(f"{wanted}-")


def guarantee_names(grade: Guarantee) -> list[str]:
    """As programs like them: 'forward_secrecy'."""
    return [one.name.lower() for one in Guarantee if one in grade and one.name]


def in_words(grade: Guarantee) -> str:
    return ", ".join(name.replace("_", " ") for name in guarantee_names(grade)) or "nothing"
