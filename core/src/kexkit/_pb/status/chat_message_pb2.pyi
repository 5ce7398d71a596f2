from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Optional as _Optional

DESCRIPTOR: _descriptor.FileDescriptor

class ChatMessage(_message.Message):
    __slots__ = ("clock", "timestamp", "text", "response_to", "ens_name", "chat_id", "message_type", "content_type", "display_name")
    CLOCK_FIELD_NUMBER: _ClassVar[int]
    TIMESTAMP_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    RESPONSE_TO_FIELD_NUMBER: _ClassVar[int]
    ENS_NAME_FIELD_NUMBER: _ClassVar[int]
    CHAT_ID_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_TYPE_FIELD_NUMBER: _ClassVar[int]
    CONTENT_TYPE_FIELD_NUMBER: _ClassVar[int]
    DISPLAY_NAME_FIELD_NUMBER: _ClassVar[int]
    clock: int
    timestamp: int
    text: str
    response_to: str
    ens_name: str
    chat_id: str
    message_type: int
    content_type: int
    display_name: str
    def __init__(self, clock: _Optional[int] = ..., timestamp: _Optional[int] = ..., text: _Optional[str] = ..., response_to: _Optional[str] = ..., ens_name: _Optional[str] = ..., chat_id: _Optional[str] = ..., message_type: _Optional[int] = ..., content_type: _Optional[int] = ..., display_name: _Optional[str] = ...) -> None: ...
