"""ChatMessage: a text in a chat, Status's rules for it, and the chat's logical clock."""

from __future__ import annotations

from typing import Final

from attrs import field
from google.protobuf.message import DecodeError

from kexkit import limits
from kexkit._pb.status import chat_message_pb2 as pb
from kexkit.api import Unpicklable, value
from kexkit.errors import InvalidInput, Limit, Malformed, Unsupported

TYPE: Final = 1
"""ChatMessage's type number in an application message."""

ONE_TO_ONE: Final = 1
PUBLIC_GROUP: Final = 2
PRIVATE_GROUP: Final = 3

TEXT: Final = 1
EMOJI: Final = 4
CONTACT_REQUEST: Final = 11

_MESSAGE_TYPES: Final = frozenset({ONE_TO_ONE, PUBLIC_GROUP, PRIVATE_GROUP})
_CONTENT_TYPES: Final = frozenset({TEXT, EMOJI, CONTACT_REQUEST})

_SPACE: Final = (
    "\t\n\v\f\r \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
    "\u2028\u2029\u202f\u205f\u3000"
)
"""Unicode's White_Space, which status-go trims. Python's own strip() takes four control characters more."""


@value
class ChatText(Unpicklable):
    clock: int
    """logical time of the chat, milliseconds"""
    timestamp: int
    """the sender's wall clock, milliseconds"""
    text: str = field(repr=False)
    chat_id: str
    message_type: int = ONE_TO_ONE
    content_type: int = TEXT
    response_to: str = ""
    """the id of the message that this answers, 0x and 64 digits"""
    ens_name: str = ""
    display_name: str = ""


def encode(message: ChatText) -> bytes:
    try:
        wire = pb.ChatMessage(
            clock=message.clock,
            timestamp=message.timestamp,
            text=message.text,
            response_to=message.response_to,
            ens_name=message.ens_name,
            chat_id=message.chat_id,
            message_type=message.message_type,
            content_type=message.content_type,
            display_name=message.display_name,
        )
    except (UnicodeError, ValueError):
        raise InvalidInput("A chat message has a number out of range or text that is not valid Unicode.") from None
    return wire.SerializeToString(deterministic=True)


def parse(raw: bytes) -> ChatText:
    """Fields that we do not know are ignored; `validate` decides whether what is left can be shown."""
    if len(raw) > limits.APPLICATION_BYTES:
        raise Limit(f"A chat message has more than {limits.APPLICATION_BYTES} bytes.")
    try:
        wire = pb.ChatMessage.FromString(raw)
    except DecodeError:
        raise Malformed("A chat message does not parse.") from None
    return ChatText(
        clock=wire.clock,
        timestamp=wire.timestamp,
        text=wire.text,
        chat_id=wire.chat_id,
        message_type=wire.message_type,
        content_type=wire.content_type,
        response_to=wire.response_to,
        ens_name=wire.ens_name,
        display_name=wire.display_name,
    )


def validate(message: ChatText, *, now_ms: int) -> None:
    """Raise a Refusal unless Status's clients would show this message too."""
    if message.clock == 0:
        raise Malformed("A chat message has no clock.")
    if message.timestamp == 0:
        raise Malformed("A chat message has no timestamp.")
    if not message.chat_id:
        raise Malformed("A chat message names no chat.")
    if message.clock > now_ms + limits.CLOCK_AHEAD_MS:
        raise Limit("A chat message's clock is too far ahead.", advice="Check both clocks.")
    if message.message_type not in _MESSAGE_TYPES:
        raise Unsupported(f"A chat message is of kind {message.message_type}, which is not known here.")
    if message.content_type not in _CONTENT_TYPES:
        raise Unsupported(f"A chat message has content of kind {message.content_type}, which is not known here.")
    if not message.text.strip(_SPACE):
        raise Malformed("A chat message has no text, or nothing but space.")
    if len(message.text) > limits.TEXT_CHARACTERS:
        raise Limit(f"A chat message has more than {limits.TEXT_CHARACTERS} characters.")
    if len(message.chat_id) > limits.CHAT_ID_CHARACTERS:
        raise Limit(f"A chat id has more than {limits.CHAT_ID_CHARACTERS} characters.")
    if max(map(len, (message.response_to, message.ens_name, message.display_name))) > limits.CHAT_NAME_CHARACTERS:
        raise Limit(f"A name in a chat message has more than {limits.CHAT_NAME_CHARACTERS} characters.")


def next_clock(last: int, now_ms: int) -> int:
    """The clock of the next message in a chat: past the last one and not behind the wall clock. It never wraps."""
    return min(max(last + 1, now_ms), limits.CLOCK_MAX)
