"""The commands that plugins bring, for `kexkit --help` and completion, without loading a plugin each time.

Finding and importing plugins takes several times as long as everything else that `--help` does. What they said last
time is kept in a file of the cache folder, with a fingerprint of what is installed and enabled. It holds nothing but
lines to show: which plugin answers to a command is found out anew whenever one is run.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress

from kexkit_cli.invocation import Invocation
from kexkit_cli.limits import CACHED_CHARACTERS
from kexkit_cli.places import cache_folder, config_file

Lines = list[tuple[str, str]]
"""name and summary"""
_FORMAT = "kexkit commands 1"


def plugin_commands(invocation: Invocation) -> Lines:
    """Never raises: help is shown whatever the state of the plugins."""
    fingerprint = _fingerprint(invocation)
    file = os.path.join(cache_folder(), "commands")
    known = _read(file, fingerprint)
    if known is not None:
        return known
    lines = _ask(invocation)
    _write(file, fingerprint, lines)
    return lines


def _ask(invocation: Invocation) -> Lines:
    from kexkit import load_commands
    from kexkit.errors import KexkitError

    from kexkit_cli.profiles import Config, config_of, enabled_plugins
    from kexkit_cli.safe_text import safe

    lines: Lines = []
    config = Config()
    with suppress(KexkitError):
        config = config_of(invocation)
    for name in enabled_plugins(invocation, config):
        with suppress(KexkitError):  # one by one, so that a duplicate hides nobody else's
            brought = load_commands([name], config.plugins).commands.values()
            lines += [(entry.name, safe(entry.summary)) for entry in brought]
    return sorted(set(lines))


def _fingerprint(invocation: Invocation) -> str:
    """Installing, upgrading or removing a package changes a folder of the path."""
    parts: list[object] = [sys.prefix, sys.version, invocation.plugins]
    own = _own_places()
    for place in (config_file(invocation.profile), *(place for place in sys.path if place not in own)):
        try:
            parts.append((place, os.stat(place or ".").st_mtime_ns))
        except (OSError, ValueError):
            parts.append((place, None))
    return repr(parts)


def _own_places() -> set[str]:
    """Where the script lies, and where one stands: files come and go there, and packages are installed elsewhere."""
    try:
        return {"", os.getcwd(), os.path.dirname(os.path.abspath(sys.argv[0]))}
    except OSError:
        return {""}


def _read(file: str, fingerprint: str) -> Lines | None:
    try:
        with open(file, encoding="utf-8") as stream:
            head, known, *rows = stream.read(CACHED_CHARACTERS).split("\n")
    except (OSError, ValueError):
        return None
    if head != _FORMAT or known != fingerprint or not rows or rows.pop() != "":
        return None
    pairs = [row.partition("\t") for row in rows]
    return [(name, summary) for name, _, summary in pairs if name.isprintable() and summary.isprintable()]


def _write(file: str, fingerprint: str, lines: Lines) -> None:
    """Whole or not at all; where it cannot be kept, the next start is as slow as this one."""
    text = "\n".join([_FORMAT, fingerprint, *(f"{name}\t{summary}" for name, summary in lines), ""])
    fresh = f"{file}.{os.getpid()}"
    with suppress(OSError, ValueError):
        os.makedirs(os.path.dirname(file), mode=0o700, exist_ok=True)
        with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as stream:
            stream.write(text)
        os.replace(fresh, file)
