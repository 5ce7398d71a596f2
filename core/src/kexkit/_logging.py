"""structlog, with a processor through which no secret and no text passes.

Only fields on the list below are written; the list names what is harmless, so that a forgotten field is dropped, not
leaked. Identities are shortened. A host that configures structlog itself may put `redact` among its own processors.
"""

from __future__ import annotations

from collections.abc import MutableMapping
from contextlib import suppress
from typing import Any, Final

import structlog

HARMLESS: Final = frozenset(
    {
        "event",
        "level",
        "timestamp",
        "logger",
        "cause",
        "mechanism",
        "peer",
        "plugin",
        "topic",
        "count",
        "seconds",
        "ours",
    }
)
SHORT: Final = 10
"""Characters of an identity that a log line shows: enough to tell contacts apart"""


def redact(logger: object, method: str, fields: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """A structlog processor: drops every field that is not known to be harmless."""
    kept: dict[str, Any] = {}
    for name, content in fields.items():
        if name not in HARMLESS:
            kept[name] = "[dropped]"
        elif isinstance(content, bytes):
            kept[name] = content.hex()[:SHORT]
        else:
            kept[name] = content
    return kept


class Log:
    """kexkit's logger: redacts before whatever the host has configured sees anything. Silent until the host has."""

    __slots__ = ("_logger",)

    def __init__(self) -> None:
        self._logger: Any = structlog.get_logger("kexkit")

    def info(self, event: str, **fields: Any) -> None:
        self._write("info", event, fields)

    def warning(self, event: str, **fields: Any) -> None:
        self._write("warning", event, fields)

    def _write(self, method: str, event: str, fields: dict[str, Any]) -> None:
        if structlog.is_configured():
            with suppress(Exception):  # a host's processor that breaks down does not stop a node
                getattr(self._logger, method)(event, **redact(None, method, fields))
