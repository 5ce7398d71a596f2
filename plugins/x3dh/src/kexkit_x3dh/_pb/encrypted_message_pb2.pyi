from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class EncryptedMessageProtocol(_message.Message):
    __slots__ = ("x3dh_header", "dr_header", "payload", "dh_header", "hr_header")
    X3DH_HEADER_FIELD_NUMBER: _ClassVar[int]
    DR_HEADER_FIELD_NUMBER: _ClassVar[int]
    PAYLOAD_FIELD_NUMBER: _ClassVar[int]
    DH_HEADER_FIELD_NUMBER: _ClassVar[int]
    HR_HEADER_FIELD_NUMBER: _ClassVar[int]
    x3dh_header: X3DHHeader
    dr_header: DRHeader
    payload: bytes
    dh_header: DHHeader
    hr_header: bytes
    def __init__(self, x3dh_header: _Optional[_Union[X3DHHeader, _Mapping]] = ..., dr_header: _Optional[_Union[DRHeader, _Mapping]] = ..., payload: _Optional[bytes] = ..., dh_header: _Optional[_Union[DHHeader, _Mapping]] = ..., hr_header: _Optional[bytes] = ...) -> None: ...

class X3DHHeader(_message.Message):
    __slots__ = ("key", "id")
    KEY_FIELD_NUMBER: _ClassVar[int]
    ID_FIELD_NUMBER: _ClassVar[int]
    key: bytes
    id: bytes
    def __init__(self, key: _Optional[bytes] = ..., id: _Optional[bytes] = ...) -> None: ...

class DRHeader(_message.Message):
    __slots__ = ("key", "n", "pn", "id")
    KEY_FIELD_NUMBER: _ClassVar[int]
    N_FIELD_NUMBER: _ClassVar[int]
    PN_FIELD_NUMBER: _ClassVar[int]
    ID_FIELD_NUMBER: _ClassVar[int]
    key: bytes
    n: int
    pn: int
    id: bytes
    def __init__(self, key: _Optional[bytes] = ..., n: _Optional[int] = ..., pn: _Optional[int] = ..., id: _Optional[bytes] = ...) -> None: ...

class DHHeader(_message.Message):
    __slots__ = ("key",)
    KEY_FIELD_NUMBER: _ClassVar[int]
    key: bytes
    def __init__(self, key: _Optional[bytes] = ...) -> None: ...
