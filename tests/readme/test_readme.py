"""The README's bot, as it stands there, answers over a real relay."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import anyio
import pytest
from kexkit import TextReceived, load_plugins, open_node
from kexkit_transport_relay import serve

BOT = Path(__file__).with_name("echo_bot.py")
README = Path(__file__).parents[2] / "README.md"
PATIENCE = 30


@contextmanager
def running_bot(folder: Path, url: str) -> Iterator[subprocess.Popen[str]]:
    bot = subprocess.Popen(
        [sys.executable, str(BOT), str(folder), url],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    try:
        yield bot
    finally:
        bot.kill()
        bot.wait(PATIENCE)
        if bot.stdout is not None:
            bot.stdout.close()


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_the_bot_answers_whoever_has_its_code(tmp_path: Path, anyio_backend: str) -> None:
    plugins = load_plugins(["x3dh", "noise", "sqlite", "relay"])
    async with serve(tmp_path / "relay") as relay:
        with running_bot(tmp_path / "bot", relay.url) as bot:
            assert bot.stdout is not None
            code = await anyio.to_thread.run_sync(bot.stdout.readline)
            async with (
                plugins.store("sqlite").open({"path": str(tmp_path / "me")}) as store,
                plugins.transport("relay").open({"url": relay.url}) as transport,
                open_node(store, transport, plugins.key_exchanges) as node,
            ):
                await node.send(await node.add(code), "hello")
                with anyio.fail_after(PATIENCE):
                    async for event in node.events():
                        if isinstance(event, TextReceived):
                            assert event.text == "You said: hello"
                            await node.ack(event)
                            return


def test_the_bot_in_the_readme_is_the_one_that_runs() -> None:
    assert f"```python\n{BOT.read_text(encoding='utf-8')}```" in README.read_text(encoding="utf-8")


def test_the_readme_lists_what_the_bundle_installs() -> None:
    bundle = tomllib.loads((README.parent / "pyproject.toml").read_text(encoding="utf-8"))
    installed = {line.partition("==")[0] for line in bundle["project"]["dependencies"]}
    rows = re.findall(
        r"^\| \[.+?\]\((.+?)/README\.md\) \| `(.+?)` \|", README.read_text(encoding="utf-8"), re.MULTILINE
    )
    assert {name for _, name in rows} == installed
    assert all((README.parent / folder / "README.md").is_file() for folder, _ in rows)
