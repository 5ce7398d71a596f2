"""The chat layer: texts to signed application bytes, and what opened back to texts."""

from __future__ import annotations

from hashlib import sha256

from attrs import field

from kexkit import _records as records
from kexkit._engine.inboxes import put_in_inbox
from kexkit._engine.requests import Draft, Flow, Moment, load, load_one
from kexkit._engine.setting import Setting
from kexkit._wire import application
from kexkit._wire.chat_message import ONE_TO_ONE, TYPE, ChatText, encode, next_clock, parse, validate
from kexkit.api import Device, Guarantee, Plain, Unpicklable, value
from kexkit.errors import Forged, InvalidInput, Limit, Malformed, Refusal, Unsupported
from kexkit.events import TextReceived, Unreadable
from kexkit.limits import CLOCK_AHEAD_MS
from kexkit.secp256k1 import compressed, uncompressed


@value
class Composed(Unpicklable):
    """A text of ours, made once: whatever is tried again, its id stays."""

    message_id: bytes
    wrapped: bytes = field(repr=False)
    clock: int


def chat_id_of(identity: bytes) -> str:
    """A 1:1 chat is called after the other person's uncompressed key."""
    return "0x" + uncompressed(identity).hex()


def compose(draft: Draft, peer: bytes, text: str, moment: Moment) -> Flow[Composed]:
    """Sign the text under the next Lamport clock of the chat."""
    row = yield from load_one(draft, records.chat_key(peer))
    clock = next_clock(records.read_chat(row.value).clock if row is not None else 0, moment.now)
    chat = ChatText(
        clock=clock,
        timestamp=moment.now,
        text=text,
        chat_id=chat_id_of(peer),
    )
    try:
        validate(chat, now_ms=max(moment.now, clock))  # a clock of theirs that leads ours shall not silence us
    except Refusal as refused:
        advice = refused.advice or "Send it in parts." if isinstance(refused, Limit) else "Write something."
        raise InvalidInput(str(refused), advice=advice) from None
    wrapped = application.wrap(encode(chat), TYPE, moment.context.identity)
    return Composed(application.message_id(moment.context.me.identity, wrapped), wrapped, clock)


def move_clock(draft: Draft, peer: bytes, clock: int) -> Flow[None]:
    """The chat's clock only grows."""
    key = records.chat_key(peer)
    row = yield from load_one(draft, key)
    draft.rely(key, row)
    if row is None or records.read_chat(row.value).clock < clock:
        draft.write(key, records.write(records.Chat(clock=clock)))


def _chat_peer(sender: Device, chat: ChatText, setting: Setting) -> bytes:
    """Whose chat it stands in: the sender's; for a copy from our own device, the one it names."""
    if sender.identity != setting.me.identity:
        return sender.identity
    try:
        return compressed(bytes.fromhex(chat.chat_id.removeprefix("0x")))
    except ValueError:
        raise Malformed("A copy from our own device names no 1:1 chat.") from None


def read_chat_text(plain: Plain, sender: Device, moment: Moment) -> tuple[bytes, ChatText] | None:
    """The message id and the text, or None for a kind that is not ours.

    The inner signature names the same person as the session: or else a recipient could pass on what somebody signed
    for him as if it had been sent to us.
    """
    inner = application.unwrap(plain.body)
    if inner.signer is not None and inner.signer != sender.identity:
        raise Forged("The inner signature names somebody else than the session.")
    if inner.signer is None:
        raise Forged("The text is not signed.")
    if inner.type != TYPE:
        return None
    chat = parse(inner.payload)
    validate(chat, now_ms=max(moment.now, chat.clock))  # a clock ahead of ours moves the text's place, nothing else
    if chat.message_type != ONE_TO_ONE:
        raise Unsupported("It is a text of another kind of chat.")
    return application.message_id(sender.identity, plain.body), chat


def take_in(draft: Draft, plain: Plain, sender: Device, setting: Setting, moment: Moment) -> Flow[bool]:
    """Write an opened text: content, place, inbox row. A second copy is told to nobody. False: not a text for us."""
    read = read_chat_text(plain, sender, moment)
    if read is None:
        return False
    message_id, chat = read
    peer = _chat_peer(sender, chat, setting)
    key = records.text_key(message_id)
    found = yield from load(draft, key)
    draft.rely(key, found.get(key))
    if key in found or key in draft.put:
        return True
    text = records.Text(
        wrapped=plain.body,
        author=sender.identity,
        installation=sender.installation,
        peer=peer,
        grade=plain.grade.value,
        at=moment.now,
        outgoing=sender.identity == setting.me.identity,
        clock=min(chat.clock, moment.now + CLOCK_AHEAD_MS),
    )
    draft.write(key, records.write(text))
    draft.write(records.order_key(peer, text.clock, message_id), b"")
    receipt = put_in_inbox(draft, records.Inbox(text=message_id), moment)
    yield from move_clock(draft, peer, text.clock)
    draft.events.append(text_event(receipt, message_id, text, chat))
    return True


def take_texts(draft: Draft, plains: tuple[Plain, ...], sender: Device, setting: Setting, moment: Moment) -> Flow[int]:
    """The frame is authentic, so the session moves on whatever it carried; contents that cannot be shown become a
    placeholder, and do not vanish. How many texts there were."""
    texts = 0
    for plain in plains:
        if not plain.body:
            continue  # Status advertises a device with an empty text
        try:
            texts += yield from take_in(draft, plain, sender, setting, moment)
        except Refusal as refusal:
            _put_placeholder(draft, plain, sender, refusal, setting, moment)
    return texts


def _put_placeholder(
    draft: Draft, plain: Plain, sender: Device, refusal: Refusal, setting: Setting, moment: Moment
) -> None:
    if sender.identity == setting.me.identity:
        return
    unreadable = records.Unreadable(
        author=sender.identity, installation=sender.installation, cause=f"Its contents: {refusal}", at=moment.now
    )
    mark = sha256(plain.body).digest()
    receipt = put_in_inbox(draft, records.Inbox(unreadable=unreadable, mark=mark), moment)
    draft.events.append(unreadable_event(receipt, unreadable))


def unreadable_event(receipt: bytes, stored: records.Unreadable) -> Unreadable:
    return Unreadable(receipt, stored.author, stored.installation, stored.cause, stored.retried, stored.at)


def text_event(receipt: bytes, message_id: bytes, text: records.Text, chat: ChatText) -> TextReceived:
    return TextReceived(
        receipt=receipt,
        message_id=message_id,
        peer=text.peer,
        author=text.author,
        installation=text.installation,
        text=chat.text,
        clock=text.clock or chat.clock,
        timestamp=chat.timestamp,
        grade=Guarantee(text.grade),
    )


def chat_of(text: records.Text) -> ChatText:
    """The content of a stored text, from the bytes its id is over."""
    return parse(application.unwrap(text.wrapped).payload)
