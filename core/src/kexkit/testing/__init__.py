"""What tests of kexkit, of its plugins and of applications stand on."""

from kexkit.testing.memory_network import Faults, MemoryNetwork
from kexkit.testing.memory_store import MemoryStore
from kexkit.testing.store_kit import StoreKit

__all__ = ["Faults", "MemoryNetwork", "MemoryStore", "StoreKit"]
