from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Bundle(_message.Message):
    __slots__ = ("identity", "signed_pre_keys", "signature", "timestamp")
    class SignedPreKeysEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: SignedPreKey
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[SignedPreKey, _Mapping]] = ...) -> None: ...
    IDENTITY_FIELD_NUMBER: _ClassVar[int]
    SIGNED_PRE_KEYS_FIELD_NUMBER: _ClassVar[int]
    SIGNATURE_FIELD_NUMBER: _ClassVar[int]
    TIMESTAMP_FIELD_NUMBER: _ClassVar[int]
    identity: bytes
    signed_pre_keys: _containers.MessageMap[str, SignedPreKey]
    signature: bytes
    timestamp: int
    def __init__(self, identity: _Optional[bytes] = ..., signed_pre_keys: _Optional[_Mapping[str, SignedPreKey]] = ..., signature: _Optional[bytes] = ..., timestamp: _Optional[int] = ...) -> None: ...

class SignedPreKey(_message.Message):
    __slots__ = ("signed_pre_key", "version", "protocol_version")
    SIGNED_PRE_KEY_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    PROTOCOL_VERSION_FIELD_NUMBER: _ClassVar[int]
    signed_pre_key: bytes
    version: int
    protocol_version: int
    def __init__(self, signed_pre_key: _Optional[bytes] = ..., version: _Optional[int] = ..., protocol_version: _Optional[int] = ...) -> None: ...
