"""Which chat messages can be shown, and how a chat's clock moves."""

from __future__ import annotations

from typing import Any

import pytest
from attrs import evolve
from kexkit import limits
from kexkit._wire import chat_message
from kexkit._wire.chat_message import ChatText, next_clock, validate
from kexkit.errors import InvalidInput, Limit, Malformed, Refusal, Unsupported

from tests.wire.samples import NOW_MS

GOOD = ChatText(clock=NOW_MS, timestamp=NOW_MS, text="hello", chat_id="0x04")


def test_a_good_message_is_shown() -> None:
    validate(GOOD, now_ms=NOW_MS)
    for content_type in (chat_message.TEXT, chat_message.EMOJI, chat_message.CONTACT_REQUEST):
        validate(evolve(GOOD, content_type=content_type), now_ms=NOW_MS)
    for message_type in (chat_message.ONE_TO_ONE, chat_message.PUBLIC_GROUP, chat_message.PRIVATE_GROUP):
        validate(evolve(GOOD, message_type=message_type), now_ms=NOW_MS)


@pytest.mark.parametrize(
    ("changes", "refusal"),
    [
        ({"clock": 0}, Malformed),
        ({"timestamp": 0}, Malformed),
        ({"chat_id": ""}, Malformed),
        ({"text": ""}, Malformed),
        ({"clock": NOW_MS + limits.CLOCK_AHEAD_MS + 1}, Limit),
        ({"clock": limits.CLOCK_MAX}, Limit),
        ({"message_type": 0}, Unsupported),
        ({"message_type": 4}, Unsupported),
        ({"message_type": 5}, Unsupported),
        ({"message_type": -1}, Unsupported),
        *(({"content_type": number}, Unsupported) for number in (-1, 0, 2, 5, 6, 7, 10, 14, 15, 16, 17, 99)),
    ],
)
def test_what_breaks_a_rule_is_refused_by_type(changes: dict[str, Any], refusal: type[Refusal]) -> None:
    with pytest.raises(refusal):
        validate(evolve(GOOD, **changes), now_ms=NOW_MS)


BLANK = (
    "\t\n\v\f\r \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
    "\u2028\u2029\u202f\u205f\u3000"
)
"""What Go's unicode.IsSpace takes for space."""


@pytest.mark.parametrize("text", [*BLANK, BLANK])
def test_a_text_of_nothing_but_space_is_refused_as_status_go_refuses_it(text: str) -> None:
    with pytest.raises(Malformed):
        validate(evolve(GOOD, text=text), now_ms=NOW_MS)


@pytest.mark.parametrize("text", [" a ", "\u200b", "\ufeff", "\x1c", "\x1f", "\x00", "\u180e"])
def test_a_text_that_status_go_takes_is_shown(text: str) -> None:
    """Python takes the file separators for space, Go does not."""
    validate(evolve(GOOD, text=text), now_ms=NOW_MS)


def test_characters_are_counted_not_bytes() -> None:
    validate(evolve(GOOD, text="🙂" * limits.TEXT_CHARACTERS), now_ms=NOW_MS)


@pytest.mark.parametrize("changes", [{"text": "\ud800"}, {"clock": -1}, {"clock": 2**64}, {"content_type": 2**31}])
def test_what_cannot_be_written_is_our_own_fault(changes: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput):
        chat_message.encode(evolve(GOOD, **changes))


def test_a_clock_follows_the_wall_and_never_falls_behind_the_chat() -> None:
    assert next_clock(0, NOW_MS) == NOW_MS
    assert next_clock(NOW_MS, NOW_MS) == NOW_MS + 1
    assert next_clock(NOW_MS + 5000, NOW_MS) == NOW_MS + 5001


def test_a_clock_at_its_end_stays_there() -> None:
    for last in (limits.CLOCK_MAX - 1, limits.CLOCK_MAX):
        assert next_clock(last, NOW_MS) == limits.CLOCK_MAX
    assert chat_message.parse(chat_message.encode(evolve(GOOD, clock=limits.CLOCK_MAX))).clock == limits.CLOCK_MAX


def test_the_text_is_not_in_a_repr() -> None:
    assert "hello" not in repr(GOOD)
