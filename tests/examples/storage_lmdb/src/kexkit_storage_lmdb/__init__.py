"""A kexkit store over LMDB."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from kexkit.api import Store, StoreFactory
from kexkit.hookspecs import hookimpl

kexkit_api = "1"


@asynccontextmanager
async def open_store(settings: Mapping[str, str]) -> AsyncIterator[Store]:
    """Open the store in the folder settings['path'], made if it is not there."""
    from kexkit_storage_lmdb.store import opened

    with opened(settings) as store:
        yield store


@hookimpl
def kexkit_stores(config: Mapping[str, str]) -> list[StoreFactory]:
    return [StoreFactory("lmdb", open_store)]
