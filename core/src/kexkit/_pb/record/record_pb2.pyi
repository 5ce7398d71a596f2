from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Peer(_message.Message):
    __slots__ = ("format", "name", "contact", "devices", "bundle_digest", "held", "withheld", "forgotten")
    FORMAT_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    CONTACT_FIELD_NUMBER: _ClassVar[int]
    DEVICES_FIELD_NUMBER: _ClassVar[int]
    BUNDLE_DIGEST_FIELD_NUMBER: _ClassVar[int]
    HELD_FIELD_NUMBER: _ClassVar[int]
    WITHHELD_FIELD_NUMBER: _ClassVar[int]
    FORGOTTEN_FIELD_NUMBER: _ClassVar[int]
    format: int
    name: str
    contact: bool
    devices: _containers.RepeatedCompositeFieldContainer[Device]
    bundle_digest: bytes
    held: int
    withheld: int
    forgotten: _containers.RepeatedCompositeFieldContainer[Device]
    def __init__(self, format: _Optional[int] = ..., name: _Optional[str] = ..., contact: bool = ..., devices: _Optional[_Iterable[_Union[Device, _Mapping]]] = ..., bundle_digest: _Optional[bytes] = ..., held: _Optional[int] = ..., withheld: _Optional[int] = ..., forgotten: _Optional[_Iterable[_Union[Device, _Mapping]]] = ...) -> None: ...

class Device(_message.Message):
    __slots__ = ("installation", "adverts", "sessions", "offer_seq", "offered", "enabled", "pin", "offer", "offer_digest", "offer_until", "bare", "floor", "conflict", "attempts", "resume", "offer_from", "told", "new_static", "proven", "skipped", "aside", "mask_seq", "mask")
    INSTALLATION_FIELD_NUMBER: _ClassVar[int]
    ADVERTS_FIELD_NUMBER: _ClassVar[int]
    SESSIONS_FIELD_NUMBER: _ClassVar[int]
    OFFER_SEQ_FIELD_NUMBER: _ClassVar[int]
    OFFERED_FIELD_NUMBER: _ClassVar[int]
    ENABLED_FIELD_NUMBER: _ClassVar[int]
    PIN_FIELD_NUMBER: _ClassVar[int]
    OFFER_FIELD_NUMBER: _ClassVar[int]
    OFFER_DIGEST_FIELD_NUMBER: _ClassVar[int]
    OFFER_UNTIL_FIELD_NUMBER: _ClassVar[int]
    BARE_FIELD_NUMBER: _ClassVar[int]
    FLOOR_FIELD_NUMBER: _ClassVar[int]
    CONFLICT_FIELD_NUMBER: _ClassVar[int]
    ATTEMPTS_FIELD_NUMBER: _ClassVar[int]
    RESUME_FIELD_NUMBER: _ClassVar[int]
    OFFER_FROM_FIELD_NUMBER: _ClassVar[int]
    TOLD_FIELD_NUMBER: _ClassVar[int]
    NEW_STATIC_FIELD_NUMBER: _ClassVar[int]
    PROVEN_FIELD_NUMBER: _ClassVar[int]
    SKIPPED_FIELD_NUMBER: _ClassVar[int]
    ASIDE_FIELD_NUMBER: _ClassVar[int]
    MASK_SEQ_FIELD_NUMBER: _ClassVar[int]
    MASK_FIELD_NUMBER: _ClassVar[int]
    installation: str
    adverts: _containers.RepeatedCompositeFieldContainer[Advert]
    sessions: _containers.RepeatedCompositeFieldContainer[SessionRef]
    offer_seq: int
    offered: _containers.RepeatedScalarFieldContainer[str]
    enabled: bool
    pin: int
    offer: bytes
    offer_digest: bytes
    offer_until: int
    bare: bool
    floor: int
    conflict: bytes
    attempts: int
    resume: int
    offer_from: int
    told: bytes
    new_static: bool
    proven: int
    skipped: str
    aside: bool
    mask_seq: int
    mask: int
    def __init__(self, installation: _Optional[str] = ..., adverts: _Optional[_Iterable[_Union[Advert, _Mapping]]] = ..., sessions: _Optional[_Iterable[_Union[SessionRef, _Mapping]]] = ..., offer_seq: _Optional[int] = ..., offered: _Optional[_Iterable[str]] = ..., enabled: bool = ..., pin: _Optional[int] = ..., offer: _Optional[bytes] = ..., offer_digest: _Optional[bytes] = ..., offer_until: _Optional[int] = ..., bare: bool = ..., floor: _Optional[int] = ..., conflict: _Optional[bytes] = ..., attempts: _Optional[int] = ..., resume: _Optional[int] = ..., offer_from: _Optional[int] = ..., told: _Optional[bytes] = ..., new_static: bool = ..., proven: _Optional[int] = ..., skipped: _Optional[str] = ..., aside: bool = ..., mask_seq: _Optional[int] = ..., mask: _Optional[int] = ...) -> None: ...

class Advert(_message.Message):
    __slots__ = ("mechanism", "public", "epoch", "issued", "expires", "traits")
    MECHANISM_FIELD_NUMBER: _ClassVar[int]
    PUBLIC_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    ISSUED_FIELD_NUMBER: _ClassVar[int]
    EXPIRES_FIELD_NUMBER: _ClassVar[int]
    TRAITS_FIELD_NUMBER: _ClassVar[int]
    mechanism: str
    public: bytes
    epoch: int
    issued: int
    expires: int
    traits: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, mechanism: _Optional[str] = ..., public: _Optional[bytes] = ..., epoch: _Optional[int] = ..., issued: _Optional[int] = ..., expires: _Optional[int] = ..., traits: _Optional[_Iterable[str]] = ...) -> None: ...

class SessionRef(_message.Message):
    __slots__ = ("mechanism", "id", "epoch", "rank", "state", "ours", "offer", "confirming", "record", "since", "texts", "asked", "cloned", "ahead", "crossed")
    MECHANISM_FIELD_NUMBER: _ClassVar[int]
    ID_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    RANK_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    OURS_FIELD_NUMBER: _ClassVar[int]
    OFFER_FIELD_NUMBER: _ClassVar[int]
    CONFIRMING_FIELD_NUMBER: _ClassVar[int]
    RECORD_FIELD_NUMBER: _ClassVar[int]
    SINCE_FIELD_NUMBER: _ClassVar[int]
    TEXTS_FIELD_NUMBER: _ClassVar[int]
    ASKED_FIELD_NUMBER: _ClassVar[int]
    CLONED_FIELD_NUMBER: _ClassVar[int]
    AHEAD_FIELD_NUMBER: _ClassVar[int]
    CROSSED_FIELD_NUMBER: _ClassVar[int]
    mechanism: str
    id: bytes
    epoch: int
    rank: int
    state: int
    ours: bool
    offer: bytes
    confirming: int
    record: bytes
    since: int
    texts: int
    asked: int
    cloned: bool
    ahead: int
    crossed: bytes
    def __init__(self, mechanism: _Optional[str] = ..., id: _Optional[bytes] = ..., epoch: _Optional[int] = ..., rank: _Optional[int] = ..., state: _Optional[int] = ..., ours: bool = ..., offer: _Optional[bytes] = ..., confirming: _Optional[int] = ..., record: _Optional[bytes] = ..., since: _Optional[int] = ..., texts: _Optional[int] = ..., asked: _Optional[int] = ..., cloned: bool = ..., ahead: _Optional[int] = ..., crossed: _Optional[bytes] = ...) -> None: ...

class Text(_message.Message):
    __slots__ = ("wrapped", "author", "installation", "peer", "grade", "pending", "at", "outgoing", "copies", "clock")
    WRAPPED_FIELD_NUMBER: _ClassVar[int]
    AUTHOR_FIELD_NUMBER: _ClassVar[int]
    INSTALLATION_FIELD_NUMBER: _ClassVar[int]
    PEER_FIELD_NUMBER: _ClassVar[int]
    GRADE_FIELD_NUMBER: _ClassVar[int]
    PENDING_FIELD_NUMBER: _ClassVar[int]
    AT_FIELD_NUMBER: _ClassVar[int]
    OUTGOING_FIELD_NUMBER: _ClassVar[int]
    COPIES_FIELD_NUMBER: _ClassVar[int]
    CLOCK_FIELD_NUMBER: _ClassVar[int]
    wrapped: bytes
    author: bytes
    installation: str
    peer: bytes
    grade: int
    pending: int
    at: int
    outgoing: bool
    copies: int
    clock: int
    def __init__(self, wrapped: _Optional[bytes] = ..., author: _Optional[bytes] = ..., installation: _Optional[str] = ..., peer: _Optional[bytes] = ..., grade: _Optional[int] = ..., pending: _Optional[int] = ..., at: _Optional[int] = ..., outgoing: bool = ..., copies: _Optional[int] = ..., clock: _Optional[int] = ...) -> None: ...

class Outgoing(_message.Message):
    __slots__ = ("topic", "payload", "version", "timestamp", "ephemeral", "message", "peer")
    TOPIC_FIELD_NUMBER: _ClassVar[int]
    PAYLOAD_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    TIMESTAMP_FIELD_NUMBER: _ClassVar[int]
    EPHEMERAL_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    PEER_FIELD_NUMBER: _ClassVar[int]
    topic: str
    payload: bytes
    version: int
    timestamp: int
    ephemeral: bool
    message: bytes
    peer: bytes
    def __init__(self, topic: _Optional[str] = ..., payload: _Optional[bytes] = ..., version: _Optional[int] = ..., timestamp: _Optional[int] = ..., ephemeral: bool = ..., message: _Optional[bytes] = ..., peer: _Optional[bytes] = ...) -> None: ...

class Held(_message.Message):
    __slots__ = ("envelope", "cause", "inbox")
    ENVELOPE_FIELD_NUMBER: _ClassVar[int]
    CAUSE_FIELD_NUMBER: _ClassVar[int]
    INBOX_FIELD_NUMBER: _ClassVar[int]
    envelope: Outgoing
    cause: str
    inbox: bytes
    def __init__(self, envelope: _Optional[_Union[Outgoing, _Mapping]] = ..., cause: _Optional[str] = ..., inbox: _Optional[bytes] = ...) -> None: ...

class Inbox(_message.Message):
    __slots__ = ("text", "unreadable", "question", "mark")
    TEXT_FIELD_NUMBER: _ClassVar[int]
    UNREADABLE_FIELD_NUMBER: _ClassVar[int]
    QUESTION_FIELD_NUMBER: _ClassVar[int]
    MARK_FIELD_NUMBER: _ClassVar[int]
    text: bytes
    unreadable: Unreadable
    question: Question
    mark: bytes
    def __init__(self, text: _Optional[bytes] = ..., unreadable: _Optional[_Union[Unreadable, _Mapping]] = ..., question: _Optional[_Union[Question, _Mapping]] = ..., mark: _Optional[bytes] = ...) -> None: ...

class Unreadable(_message.Message):
    __slots__ = ("author", "installation", "cause", "at", "retried")
    AUTHOR_FIELD_NUMBER: _ClassVar[int]
    INSTALLATION_FIELD_NUMBER: _ClassVar[int]
    CAUSE_FIELD_NUMBER: _ClassVar[int]
    AT_FIELD_NUMBER: _ClassVar[int]
    RETRIED_FIELD_NUMBER: _ClassVar[int]
    author: bytes
    installation: str
    cause: str
    at: int
    retried: bool
    def __init__(self, author: _Optional[bytes] = ..., installation: _Optional[str] = ..., cause: _Optional[str] = ..., at: _Optional[int] = ..., retried: bool = ...) -> None: ...

class Question(_message.Message):
    __slots__ = ("session", "peer", "kind", "text")
    SESSION_FIELD_NUMBER: _ClassVar[int]
    PEER_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    session: bytes
    peer: bytes
    kind: str
    text: str
    def __init__(self, session: _Optional[bytes] = ..., peer: _Optional[bytes] = ..., kind: _Optional[str] = ..., text: _Optional[str] = ...) -> None: ...

class Own(_message.Message):
    __slots__ = ("public", "renew", "seq")
    PUBLIC_FIELD_NUMBER: _ClassVar[int]
    RENEW_FIELD_NUMBER: _ClassVar[int]
    SEQ_FIELD_NUMBER: _ClassVar[int]
    public: bytes
    renew: int
    seq: int
    def __init__(self, public: _Optional[bytes] = ..., renew: _Optional[int] = ..., seq: _Optional[int] = ...) -> None: ...

class Self(_message.Message):
    __slots__ = ("format", "secret", "installation", "advertised")
    FORMAT_FIELD_NUMBER: _ClassVar[int]
    SECRET_FIELD_NUMBER: _ClassVar[int]
    INSTALLATION_FIELD_NUMBER: _ClassVar[int]
    ADVERTISED_FIELD_NUMBER: _ClassVar[int]
    format: int
    secret: bytes
    installation: str
    advertised: int
    def __init__(self, format: _Optional[int] = ..., secret: _Optional[bytes] = ..., installation: _Optional[str] = ..., advertised: _Optional[int] = ...) -> None: ...

class Offered(_message.Message):
    __slots__ = ("signed", "until")
    SIGNED_FIELD_NUMBER: _ClassVar[int]
    UNTIL_FIELD_NUMBER: _ClassVar[int]
    signed: bytes
    until: int
    def __init__(self, signed: _Optional[bytes] = ..., until: _Optional[int] = ...) -> None: ...

class Withheld(_message.Message):
    __slots__ = ("body", "installation", "grade", "cause", "at")
    BODY_FIELD_NUMBER: _ClassVar[int]
    INSTALLATION_FIELD_NUMBER: _ClassVar[int]
    GRADE_FIELD_NUMBER: _ClassVar[int]
    CAUSE_FIELD_NUMBER: _ClassVar[int]
    AT_FIELD_NUMBER: _ClassVar[int]
    body: bytes
    installation: str
    grade: int
    cause: str
    at: int
    def __init__(self, body: _Optional[bytes] = ..., installation: _Optional[str] = ..., grade: _Optional[int] = ..., cause: _Optional[str] = ..., at: _Optional[int] = ...) -> None: ...

class Chat(_message.Message):
    __slots__ = ("clock",)
    CLOCK_FIELD_NUMBER: _ClassVar[int]
    clock: int
    def __init__(self, clock: _Optional[int] = ...) -> None: ...

class Route(_message.Message):
    __slots__ = ("topic", "mechanism", "session", "offer")
    TOPIC_FIELD_NUMBER: _ClassVar[int]
    MECHANISM_FIELD_NUMBER: _ClassVar[int]
    SESSION_FIELD_NUMBER: _ClassVar[int]
    OFFER_FIELD_NUMBER: _ClassVar[int]
    topic: str
    mechanism: str
    session: bytes
    offer: bytes
    def __init__(self, topic: _Optional[str] = ..., mechanism: _Optional[str] = ..., session: _Optional[bytes] = ..., offer: _Optional[bytes] = ...) -> None: ...
