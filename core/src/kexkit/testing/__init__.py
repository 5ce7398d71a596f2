"""What tests of kexkit, of its plugins and of applications stand on."""

# ruff: noqa: E402
import pytest

# Before they are imported: a failed assertion of a kit then shows its values, as in a test file.
pytest.register_assert_rewrite(*(f"{__name__}.store_{part}" for part in ("kit", "rules", "model")))

pytest.register_assert_rewrite(f"{__name__}.transport_kit")

from kexkit.testing.key_exchange_kit import KeyExchangeKit
from kexkit.testing.memory_network import Faults, MemoryNetwork
from kexkit.testing.memory_store import MemoryStore
from kexkit.testing.pair import Pair
from kexkit.testing.store_kit import StoreKit
from kexkit.testing.transport_kit import TransportKit

__all__ = ["Faults", "KeyExchangeKit", "MemoryNetwork", "MemoryStore", "Pair", "StoreKit", "TransportKit"]
