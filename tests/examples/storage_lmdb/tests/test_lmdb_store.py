from contextlib import AbstractAsyncContextManager
from pathlib import Path

from kexkit.api import Store
from kexkit.testing import StoreKit
from kexkit_storage_lmdb import open_store


class TestLmdbStore(StoreKit):
    def open(self, path: Path) -> AbstractAsyncContextManager[Store]:
        return open_store({"path": str(path)})
