"""What the engine is set up with. It never changes while a node is open."""

from __future__ import annotations

from collections.abc import Mapping

from attrs import field, frozen

from kexkit.api import Carriage, Device, KeyExchange
from kexkit.errors import PluginError
from kexkit.policy import Policy


@frozen
class Setting:
    """Who we are, what we can speak, what we may do."""

    me: Device
    exchanges: tuple[KeyExchange, ...]
    """in our order of preference"""
    policy: Policy
    by_name: Mapping[str, KeyExchange] = field(init=False)
    slot: KeyExchange | None = field(init=False)
    """the one whose frames are Status's map, and whose offer is Status's bundle"""
    allowed: frozenset[str] = field(init=False)
    """names that policy lets us use for what we send"""

    @by_name.default
    def _by_name(self) -> Mapping[str, KeyExchange]:
        return {exchange.name: exchange for exchange in self.exchanges}

    @slot.default
    def _slot(self) -> KeyExchange | None:
        slots = [exchange for exchange in self.exchanges if exchange.carriage is Carriage.SLOT]
        if len(slots) > 1:
            raise PluginError(f"Two key exchanges claim Status's slot: {slots[0].name} and {slots[1].name}.")
        return slots[0] if slots else None

    @allowed.default
    def _allowed(self) -> frozenset[str]:
        """By their names, and by what they can reach at best."""
        able = (exchange for exchange in self.exchanges if self.policy.require in exchange.guarantees)
        return frozenset(exchange.name for exchange in able if self.policy.allows(exchange.name))

    @property
    def signs_offers(self) -> bool:
        """Status's bundle speaks for the slot alone; any other mechanism is advertised by a signed offer."""
        return len(self.exchanges) > (self.slot is not None)

    def usable(self, mechanism: str) -> KeyExchange | None:
        """Loaded here and allowed by policy."""
        exchange = self.by_name.get(mechanism)
        return exchange if exchange is not None and self.policy.allows(mechanism) else None
