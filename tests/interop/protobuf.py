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
    found, at = _fields(raw, 0, None)
    if at != len(raw):
        raise NotProtobuf("a group ends that never began")
    return found


def _fields(raw: bytes, at: int, group: int | None) -> tuple[dict[int, list[Any]], int]:
    """As far as the end of the group, or of the message."""
    found: dict[int, list[Any]] = {}
    while at < len(raw):
        tag, at = _varint(raw, at)
        number, kind = tag >> 3, tag & 7
        if not 0 < number < 1 << 29:
            raise NotProtobuf("no field has this number")
        content: int | bytes
        if kind == 4:
            if number != group:
                raise NotProtobuf("another group ends than the one that began")
            return found, at
        if kind == 3:
            begun = at
            _, at = _fields(raw, at, number)
            content = raw[begun:at]
        elif kind in (1, 5):
            content, at = _piece(raw, at, 8 if kind == 1 else 4)
        elif kind in (0, 2):
            content, at = _varint(raw, at)
            if kind == 2:
                content, at = _piece(raw, at, content)
        else:
            raise NotProtobuf("no wire type has this number")
        found.setdefault(number, []).append(content)
    if group is not None:
        raise NotProtobuf("a group does not end")
    return found, at


def _piece(raw: bytes, at: int, size: int) -> tuple[bytes, int]:
    if at + size > len(raw):
        raise NotProtobuf("a field is longer than the message")
    return raw[at : at + size], at + size


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
