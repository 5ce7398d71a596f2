"""What a forked child must not do with its parent's store: use it, keep it locked, or close it."""

from __future__ import annotations

import os
import weakref
from typing import Protocol

from kexkit.errors import StoreUnusable


class Forkable(Protocol):
    def forget_in_child(self) -> None: ...


_live: weakref.WeakSet[Forkable] = weakref.WeakSet()


def watch(thing: Forkable) -> None:
    """From now on a forked child calls `forget_in_child` before anything else."""
    _live.add(thing)


def _after_fork() -> None:
    for thing in _live:
        thing.forget_in_child()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def never_collect(thing: object) -> None:
    """An SQLite connection closed in a child could delete a log that the parent, or its successor, still needs.

    Python would close it when the child ends; one reference too many prevents that.
    """
    import ctypes

    ctypes.pythonapi.Py_IncRef(ctypes.py_object(thing))


class OneProcess:
    """The process that opened a store, checked at each use: not every fork runs Python's hooks."""

    def __init__(self) -> None:
        self._pid = os.getpid()

    def is_this(self) -> bool:
        return os.getpid() == self._pid

    def check(self) -> None:
        if os.getpid() != self._pid:
            raise StoreUnusable(
                f"This store was opened by process {self._pid} before it forked.", advice="Open stores after forking."
            )
