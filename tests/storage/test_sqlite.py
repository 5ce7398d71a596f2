"""The SQLite store keeps every promise of a store, as carefully as it can and as fast as it may."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from pathlib import Path

from kexkit.api import Store
from kexkit.testing import StoreKit
from kexkit_storage_sqlite import open_store


class TestSqlite(StoreKit):
    def open(self, path: Path) -> AbstractAsyncContextManager[Store]:
        return open_store({"path": str(path)})
