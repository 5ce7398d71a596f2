"""Protocol buffers by hand, so that the oracle shares no line with what it judges: numbers and lengths of bytes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any


class NotProtobuf(ValueError):
    """The bytes are no message."""


Value = int | bytes | None


def varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def write(*fields: tuple[int, Value]) -> bytes:
    """Fields in the order given. proto3: zero and None are not written; b"" is, for it may be an empty message."""
    out = b""
    for number, content in fields:
        if isinstance(content, bytes):
            out += varint(number << 3 | 2) + varint(len(content)) + content
        elif content:
            out += varint(number << 3) + varint(content)
    return out


def read(raw: bytes) -> dict[int, list[Any]]:
    """Every field's values, in order: numbers or bytes."""
    found: dict[int, list[Any]] = {}
    at = 0
    while at < len(raw):
        tag, at = _varint(raw, at)
        if tag >> 3 == 0:
            raise NotProtobuf("no field has the number zero")
        content: int | bytes
        content, at = _varint(raw, at)
        if tag & 7 == 2:
            size = content
            content, at = raw[at : at + size], at + size
            if at > len(raw):
                raise NotProtobuf("a field is longer than the message")
        elif tag & 7 != 0:
            raise NotProtobuf("a wire type that nothing here uses")
        found.setdefault(tag >> 3, []).append(content)
    return found


def _varint(raw: bytes, at: int) -> tuple[int, int]:
    number = 0
    for shift in range(0, 70, 7):
        if at >= len(raw):
            break
        byte = raw[at]
        at += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number, at
    raise NotProtobuf("a number does not end")


def last(fields: dict[int, list[Any]], number: int, default: Any = b"") -> Any:
    """A field that is not repeated: the last one counts."""
    return fields.get(number, [default])[-1]


def map_of(entries: Iterable[bytes]) -> dict[str, bytes]:
    """map<string, bytes or message>"""
    found: dict[str, bytes] = {}
    for raw in entries:
        fields = read(raw)
        found[last(fields, 1).decode()] = last(fields, 2)
    return found
