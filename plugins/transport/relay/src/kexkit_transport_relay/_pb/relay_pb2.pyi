from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ToRelay(_message.Message):
    __slots__ = ("publish", "watch", "unwatch", "grant")
    PUBLISH_FIELD_NUMBER: _ClassVar[int]
    WATCH_FIELD_NUMBER: _ClassVar[int]
    UNWATCH_FIELD_NUMBER: _ClassVar[int]
    GRANT_FIELD_NUMBER: _ClassVar[int]
    publish: Publish
    watch: Watch
    unwatch: Unwatch
    grant: Grant
    def __init__(self, publish: _Optional[_Union[Publish, _Mapping]] = ..., watch: _Optional[_Union[Watch, _Mapping]] = ..., unwatch: _Optional[_Union[Unwatch, _Mapping]] = ..., grant: _Optional[_Union[Grant, _Mapping]] = ...) -> None: ...

class Publish(_message.Message):
    __slots__ = ("request", "topic", "payload", "version", "timestamp", "ephemeral")
    REQUEST_FIELD_NUMBER: _ClassVar[int]
    TOPIC_FIELD_NUMBER: _ClassVar[int]
    PAYLOAD_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    TIMESTAMP_FIELD_NUMBER: _ClassVar[int]
    EPHEMERAL_FIELD_NUMBER: _ClassVar[int]
    request: int
    topic: str
    payload: bytes
    version: int
    timestamp: int
    ephemeral: bool
    def __init__(self, request: _Optional[int] = ..., topic: _Optional[str] = ..., payload: _Optional[bytes] = ..., version: _Optional[int] = ..., timestamp: _Optional[int] = ..., ephemeral: bool = ...) -> None: ...

class Watch(_message.Message):
    __slots__ = ("topics",)
    class Topic(_message.Message):
        __slots__ = ("watch", "topic", "cursor")
        WATCH_FIELD_NUMBER: _ClassVar[int]
        TOPIC_FIELD_NUMBER: _ClassVar[int]
        CURSOR_FIELD_NUMBER: _ClassVar[int]
        watch: int
        topic: str
        cursor: bytes
        def __init__(self, watch: _Optional[int] = ..., topic: _Optional[str] = ..., cursor: _Optional[bytes] = ...) -> None: ...
    TOPICS_FIELD_NUMBER: _ClassVar[int]
    topics: _containers.RepeatedCompositeFieldContainer[Watch.Topic]
    def __init__(self, topics: _Optional[_Iterable[_Union[Watch.Topic, _Mapping]]] = ...) -> None: ...

class Unwatch(_message.Message):
    __slots__ = ("watches",)
    WATCHES_FIELD_NUMBER: _ClassVar[int]
    watches: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, watches: _Optional[_Iterable[int]] = ...) -> None: ...

class Grant(_message.Message):
    __slots__ = ("bytes",)
    BYTES_FIELD_NUMBER: _ClassVar[int]
    bytes: int
    def __init__(self, bytes: _Optional[int] = ...) -> None: ...

class FromRelay(_message.Message):
    __slots__ = ("welcome", "stored", "refused", "page")
    WELCOME_FIELD_NUMBER: _ClassVar[int]
    STORED_FIELD_NUMBER: _ClassVar[int]
    REFUSED_FIELD_NUMBER: _ClassVar[int]
    PAGE_FIELD_NUMBER: _ClassVar[int]
    welcome: Welcome
    stored: Stored
    refused: Refused
    page: Page
    def __init__(self, welcome: _Optional[_Union[Welcome, _Mapping]] = ..., stored: _Optional[_Union[Stored, _Mapping]] = ..., refused: _Optional[_Union[Refused, _Mapping]] = ..., page: _Optional[_Union[Page, _Mapping]] = ...) -> None: ...

class Welcome(_message.Message):
    __slots__ = ("relay", "max_payload", "max_topics")
    RELAY_FIELD_NUMBER: _ClassVar[int]
    MAX_PAYLOAD_FIELD_NUMBER: _ClassVar[int]
    MAX_TOPICS_FIELD_NUMBER: _ClassVar[int]
    relay: bytes
    max_payload: int
    max_topics: int
    def __init__(self, relay: _Optional[bytes] = ..., max_payload: _Optional[int] = ..., max_topics: _Optional[int] = ...) -> None: ...

class Stored(_message.Message):
    __slots__ = ("requests",)
    REQUESTS_FIELD_NUMBER: _ClassVar[int]
    requests: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, requests: _Optional[_Iterable[int]] = ...) -> None: ...

class Refused(_message.Message):
    __slots__ = ("request", "watch", "final", "retry_after_ms", "reason")
    REQUEST_FIELD_NUMBER: _ClassVar[int]
    WATCH_FIELD_NUMBER: _ClassVar[int]
    FINAL_FIELD_NUMBER: _ClassVar[int]
    RETRY_AFTER_MS_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    request: int
    watch: int
    final: bool
    retry_after_ms: int
    reason: str
    def __init__(self, request: _Optional[int] = ..., watch: _Optional[int] = ..., final: bool = ..., retry_after_ms: _Optional[int] = ..., reason: _Optional[str] = ...) -> None: ...

class Page(_message.Message):
    __slots__ = ("arrivals",)
    ARRIVALS_FIELD_NUMBER: _ClassVar[int]
    arrivals: _containers.RepeatedCompositeFieldContainer[Arrival]
    def __init__(self, arrivals: _Optional[_Iterable[_Union[Arrival, _Mapping]]] = ...) -> None: ...

class Arrival(_message.Message):
    __slots__ = ("watch", "cursor", "payload", "version", "timestamp", "ephemeral")
    WATCH_FIELD_NUMBER: _ClassVar[int]
    CURSOR_FIELD_NUMBER: _ClassVar[int]
    PAYLOAD_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    TIMESTAMP_FIELD_NUMBER: _ClassVar[int]
    EPHEMERAL_FIELD_NUMBER: _ClassVar[int]
    watch: int
    cursor: bytes
    payload: bytes
    version: int
    timestamp: int
    ephemeral: bool
    def __init__(self, watch: _Optional[int] = ..., cursor: _Optional[bytes] = ..., payload: _Optional[bytes] = ..., version: _Optional[int] = ..., timestamp: _Optional[int] = ..., ephemeral: bool = ...) -> None: ...
