"""What the engine is set up with. It never changes while a node is open."""

from __future__ import annotations

from collections.abc import Mapping

from attrs import field, frozen

from kexkit._negotiation import BARE
from kexkit.api import Carriage, Device, KeyExchange
from kexkit.errors import PluginError
from kexkit.policy import Policy, Publish


@frozen
class Setting:
    """Who we are, what we can speak, what we may do."""

    me: Device
    exchanges: tuple[KeyExchange, ...]
    """in our order of preference"""
    policy: Policy
    negotiates: bool = True
    """sign offers and confirm choices; False: Status's encryption layer alone, for which every session just begins"""
    confirms: bool = field(init=False)
    """we make offers, and tell what we chose. Who makes none speaks Status's mechanism alone, and confirms nothing, but
    reads what others offer"""
    by_name: Mapping[str, KeyExchange] = field(init=False)
    slot: KeyExchange | None = field(init=False)
    """the one whose frames are Status's map, and whose offer is Status's bundle"""
    allowed: frozenset[str] = field(init=False)
    """names that policy lets us use"""
    offered: tuple[str, ...] = field(init=False)
    """the same in order of preference: what we offer"""

    @confirms.default
    def _confirms(self) -> bool:
        return self.negotiates and self.policy.publish is not Publish.NONE

    @by_name.default
    def _by_name(self) -> Mapping[str, KeyExchange]:
        names = [exchange.name for exchange in self.exchanges]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise PluginError(f"Two key exchanges are called {twice}.", plugin=twice)
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
        able = [exchange for exchange in self.exchanges if self.policy.require in exchange.guarantees]
        if self.negotiates and not self.confirms:
            able = [exchange for exchange in able if exchange is self.slot]
        return frozenset(exchange.name for exchange in able if self.policy.allows(exchange.name))

    @offered.default
    def _offered(self) -> tuple[str, ...]:
        return tuple(exchange.name for exchange in self.exchanges if exchange.name in self.allowed)

    @property
    def bare(self) -> tuple[str, ...]:
        """What a device offers that makes no offers: whatever claims Status's slot here, else what Status has there."""
        return (self.slot.name,) if self.slot is not None else BARE
