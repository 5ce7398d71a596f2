"""A durable kexkit store in one SQLite file.

Importing this module is cheap: sqlite3 is imported when a store is opened.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from kexkit.api import Store, StoreFactory
from kexkit.hookspecs import hookimpl

kexkit_api = "1"


@asynccontextmanager
async def open_store(settings: Mapping[str, str]) -> AsyncIterator[Store]:
    """Open the store at settings['path'] (a folder, or a file), made if it is not there.

    settings['synchronous'] is 'FULL', or 'NORMAL' for those who accept that a power cut may undo the last changes.
    """
    from kexkit_storage_sqlite._opening import held

    with held(settings) as store:
        await store.ready()
        yield store


@hookimpl
def kexkit_stores(config: Mapping[str, str]) -> list[StoreFactory]:
    return [StoreFactory("sqlite", open_store)]


__all__ = ["kexkit_api", "kexkit_stores", "open_store"]
