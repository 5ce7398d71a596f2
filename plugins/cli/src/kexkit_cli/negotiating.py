"""What core will choose, told beforehand: of what the peer advertises, our first preference that the policy allows."""

from __future__ import annotations

from kexkit import Contact, Guarantee, Plugins, Policy
from kexkit.api import KeyExchange
from kexkit.errors import NoCommonMechanism


def allowed(plugins: Plugins, policy: Policy) -> list[KeyExchange]:
    """Those of ours that may be used at all."""
    return [one for one in plugins.key_exchanges if policy.allows(one.name) and policy.require in one.guarantees]


def usable(contact: Contact, plugins: Plugins, policy: Policy) -> list[KeyExchange]:
    """Best first."""
    return [one for one in allowed(plugins, policy) if one.name in contact.mechanisms]


def check_common(contact: Contact, plugins: Plugins, policy: Policy, name: str) -> None:
    """Raise where nothing can ever be sealed as things stand; a peer of whom nothing is known yet may turn up."""
    if not contact.mechanisms or usable(contact, plugins, policy):
        return
    ours = ", ".join(one.name for one in allowed(plugins, policy)) or "none"
    weak = [one.name for one in plugins.key_exchanges if one.name in contact.mechanisms and policy.allows(one.name)]
    advice = "Nothing was sent. Enable a plugin for one of them with --plugins."
    if weak:
        advice = f"Nothing was sent. {weak[0]} gives no forward secrecy: --without-forward-secrecy allows it."
    raise NoCommonMechanism(f"{name} offers {', '.join(contact.mechanisms)}; allowed here: {ours}.", advice=advice)


def guarantee_names(grade: Guarantee) -> list[str]:
    """As programs like them: 'forward_secrecy'."""
    return [one.name.lower() for one in Guarantee if one in grade and one.name]


def in_words(grade: Guarantee) -> str:
    return ", ".join(name.replace("_", " ") for name in guarantee_names(grade)) or "nothing"
