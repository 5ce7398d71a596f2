"""A relay of the demo's own: the real server, in a process of its own on a free port, gone when the demo is."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from subprocess import DEVNULL, PIPE

import anyio
from anyio.abc import Process
from anyio.streams.text import TextReceiveStream
from kexkit.errors import TransportError

from kexkit_cli.limits import RELAY_START_SECONDS, RELAY_STOP_SECONDS


@asynccontextmanager
async def own_relay(folder: Path) -> AsyncIterator[str]:
    """The URL of a relay that lives as long as this context; should we be killed, it ends by itself."""
    command = [sys.executable, "-P", "-m", "kexkit_cli", "--plugins", "relay", "--stop-with-stdin", "relay"]
    command += ["--port", "0", "--data", str(folder), "--json"]
    environment = {**os.environ, "KEXKIT_HOME": str(folder)}
    process = await anyio.open_process(
        command, stdin=PIPE, stdout=PIPE, stderr=DEVNULL, env=environment, start_new_session=True
    )
    try:
        yield await _url(process)
    finally:
        with anyio.CancelScope(shield=True):
            await _stop(process)


async def _url(process: Process) -> str:
    assert process.stdout is not None
    said = ""
    with anyio.move_on_after(RELAY_START_SECONDS):
        async for part in TextReceiveStream(process.stdout):
            said += part
            if "\n" in said:
                break
    try:
        return str(json.loads(said.partition("\n")[0])["url"])
    except (ValueError, KeyError, TypeError):
        raise TransportError("The demo's relay did not start.", advice="See why with: kexkit relay --port 0") from None


async def _stop(process: Process) -> None:
    assert process.stdin is not None
    await process.stdin.aclose()
    with anyio.move_on_after(RELAY_STOP_SECONDS):
        await process.wait()
    if process.returncode is None:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()
    await process.aclose()
