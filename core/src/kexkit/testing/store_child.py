"""A process that a StoreKit starts, to die or to be refused."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import anyio

from kexkit.api import Change, Key
from kexkit.errors import StoreBusy

if TYPE_CHECKING:
    from kexkit.testing.store_kit import StoreKit

TWINS: tuple[Key, Key] = (("twin", b"left"), ("twin", b"right"))
"""two rows that the child writes together, always with equal values"""


@contextlib.contextmanager
def child(kit: StoreKit, path: Path, *, writes: int) -> Iterator[subprocess.Popen[str]]:
    """A process that opens the kit's store, writes `writes` changes, says each number on its output once it is kept,
    and ends without closing anything. `writes=0`: says 'open' or 'busy' and ends."""
    kind = type(kit)
    task = {
        "sys_path": sys.path,
        "module": kind.__module__,
        "file": getattr(sys.modules[kind.__module__], "__file__", None),
        "kit": kind.__qualname__,
        "path": str(path),
        "writes": writes,
    }
    command = [sys.executable, "-c", f"from {__name__} import main; main()", json.dumps(task)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603
        try:
            yield process
        finally:
            process.kill()


def _module(name: str, file: str) -> ModuleType:
    with contextlib.suppress(ModuleNotFoundError):
        return importlib.import_module(name)
    spec = importlib.util.spec_from_file_location(name, file)  # pytest may have loaded it by path alone
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


async def _live(kit: StoreKit, path: Path, writes: int) -> None:
    try:
        async with kit.open(path) as store:
            if not writes:
                _say("open")
                return
            kept = await store.load(TWINS)
            first = int(kept[TWINS[0]].value) + 1 if kept else 1
            for number in range(first, first + writes):
                value = b"%d" % number
                await store.apply(Change(dict.fromkeys(TWINS, number - 1), dict.fromkeys(TWINS, value)))
                _say(str(number))
            os._exit(0)  # right after apply() returned: nothing is closed, nothing is flushed
    except StoreBusy:
        _say("busy")


def _say(text: str) -> None:
    os.write(1, text.encode() + b"\n")


def main() -> None:
    """The process."""
    asked = json.loads(sys.argv[1])
    sys.path[:] = asked["sys_path"]
    found: object = _module(asked["module"], asked["file"])
    for name in asked["kit"].split("."):
        found = getattr(found, name)
    assert isinstance(found, type)
    anyio.run(_live, found(), Path(asked["path"]), asked["writes"])
