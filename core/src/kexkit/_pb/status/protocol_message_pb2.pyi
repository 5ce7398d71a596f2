from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ProtocolMessage(_message.Message):
    __slots__ = ("installation_id", "bundles", "encrypted_message", "public_message", "kexkit_offers", "kexkit_frames")
    class EncryptedMessageEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: bytes
        def __init__(self, key: _Optional[str] = ..., value: _Optional[bytes] = ...) -> None: ...
    INSTALLATION_ID_FIELD_NUMBER: _ClassVar[int]
    BUNDLES_FIELD_NUMBER: _ClassVar[int]
    ENCRYPTED_MESSAGE_FIELD_NUMBER: _ClassVar[int]
    PUBLIC_MESSAGE_FIELD_NUMBER: _ClassVar[int]
    KEXKIT_OFFERS_FIELD_NUMBER: _ClassVar[int]
    KEXKIT_FRAMES_FIELD_NUMBER: _ClassVar[int]
    installation_id: str
    bundles: _containers.RepeatedScalarFieldContainer[bytes]
    encrypted_message: _containers.ScalarMap[str, bytes]
    public_message: bytes
    kexkit_offers: _containers.RepeatedScalarFieldContainer[bytes]
    kexkit_frames: _containers.RepeatedCompositeFieldContainer[KexkitFrame]
    def __init__(self, installation_id: _Optional[str] = ..., bundles: _Optional[_Iterable[bytes]] = ..., encrypted_message: _Optional[_Mapping[str, bytes]] = ..., public_message: _Optional[bytes] = ..., kexkit_offers: _Optional[_Iterable[bytes]] = ..., kexkit_frames: _Optional[_Iterable[_Union[KexkitFrame, _Mapping]]] = ...) -> None: ...

class KexkitFrame(_message.Message):
    __slots__ = ("installation", "mechanism", "frame", "offer")
    INSTALLATION_FIELD_NUMBER: _ClassVar[int]
    MECHANISM_FIELD_NUMBER: _ClassVar[int]
    FRAME_FIELD_NUMBER: _ClassVar[int]
    OFFER_FIELD_NUMBER: _ClassVar[int]
    installation: str
    mechanism: str
    frame: bytes
    offer: bytes
    def __init__(self, installation: _Optional[str] = ..., mechanism: _Optional[str] = ..., frame: _Optional[bytes] = ..., offer: _Optional[bytes] = ...) -> None: ...
