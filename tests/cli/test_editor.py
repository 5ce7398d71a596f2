"""The line in work: keys in any pieces, a view that fits, and nothing lost."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kexkit_cli.chat.editor import Editor, Left, Redraw, Said, Suspended
from kexkit_cli.limits import KEY_BYTES, LINES_REMEMBERED, PASTE_BYTES, TYPED_CHARACTERS
from kexkit_cli.safe_text import cells

KEYS = [b"a", "é".encode(), "日".encode(), b" ", b"\x7f", b"\x01", b"\x05", b"\x15", b"\x0b", b"\x17", b"\r", b"\x04"]
KEYS += [
    b"\x1b[A",
    b"\x1b[B",
    b"\x1b[C",
    b"\x1b[D",
    b"\x1b[3~",
    b"\x1b\r",
    b"\x1b[200~x\ry\x1b[201~",
    b"\x1b[99X",
    b"\xff",
]
typing = st.lists(st.sampled_from(KEYS), max_size=40).map(b"".join)


@given(typing, st.lists(st.integers(1, 5), min_size=1, max_size=20))
def test_keys_mean_the_same_in_whatever_pieces_they_come(keys: bytes, sizes: list[int]) -> None:
    whole, pieces = Editor(), Editor()
    expected = whole.feed(keys)
    acts = []
    at = number = 0
    while at < len(keys):
        size = sizes[number % len(sizes)]
        acts += pieces.feed(keys[at : at + size])
        at, number = at + size, number + 1
    assert acts == expected
    assert (pieces.text, pieces.cursor) == (whole.text, whole.cursor)


@given(st.binary(max_size=200), st.integers(4, 80))
def test_any_bytes_at_all_leave_a_line_that_can_be_shown(keys: bytes, width: int) -> None:
    editor = Editor()
    editor.feed(keys)
    assert 0 <= editor.cursor <= len(editor.text)
    shown, column = editor.view(width)
    assert "\n" not in shown
    assert "\x1b" not in shown
    assert column <= cells(shown)


@given(st.text(st.characters(exclude_categories=["Cc", "Cs"]), max_size=60), st.integers(4, 30))
def test_the_view_fits_and_has_the_cursor_in_it(text: str, width: int) -> None:
    editor = Editor()
    editor.feed(text.encode())
    assert editor.text == text
    for cursor in range(len(text) + 1):
        editor.cursor = cursor
        shown, column = editor.view(width + 12)
        assert cells(shown) <= width + 12
        assert column <= cells(shown)


def typed(*keys: bytes) -> Editor:
    editor = Editor()
    for key in keys:
        assert editor.feed(key) == []
    return editor


def test_a_line_is_edited_as_fingers_expect() -> None:
    assert typed(b"helo", b"\x1b[D", b"l").text == "hello"
    assert typed(b"one two  three", b"\x17").text == "one two  "
    assert typed(b"one two  ", b"\x17").text == "one "
    assert typed(b"abc", b"\x1b[D", b"\x15").text == "c"
    assert typed(b"abc", b"\x01", b"\x1b[3~", b"\x0b").text == ""
    assert typed(b"ab", b"\x01", b"\x7f", b"x", b"\x05", b"y").text == "xaby"
    assert typed(b"a", b"\x1b\r", b"b").text == "a\nb"


def test_enter_says_the_line_and_the_arrow_brings_it_back() -> None:
    editor = Editor()
    assert editor.feed(b"first\rsecond\rdraft") == [Said("first"), Said("second")]
    editor.feed(b"\x1b[A\x1b[A")
    assert editor.text == "first"
    editor.feed(b"\x1b[B\x1b[B")
    assert editor.text == "draft"
    editor.feed(b"\x1b[B")
    assert editor.text == "draft"


def test_pasted_line_breaks_do_not_send() -> None:
    editor = Editor()
    assert editor.feed(b"\x1b[200~one\r\ntwo\x1b[31m\x1b[201~") == []
    assert editor.text == "one\ntwo\x1b[31m"
    assert editor.view(40)[0] == "one↵two␛[31m"
    assert editor.feed(b"\r") == [Said("one\ntwo\x1b[31m")]


@pytest.mark.parametrize(
    ("keys", "act"),
    [
        (b"\x03", Left(True)),
        (b"\x04", Left(False)),
        (b"\x1a", Suspended()),
        (b"\x0c", Redraw()),
        (b"x\x03", Left(True)),
    ],
)
def test_keys_that_leave(keys: bytes, act: object) -> None:
    assert Editor().feed(keys) == [act]


def test_control_d_in_a_line_deletes() -> None:
    editor = Editor()
    assert editor.feed(b"ab\x01\x04") == []
    assert editor.text == "b"


@pytest.mark.parametrize("more", [-1, 0, 1])
def test_a_line_has_an_end(more: int) -> None:
    editor = Editor()
    editor.feed(b"a" * (TYPED_CHARACTERS + more))
    assert len(editor.text) == editor.cursor == min(TYPED_CHARACTERS + more, TYPED_CHARACTERS)


@pytest.mark.parametrize("more", [-1, 0, 1])
def test_a_paste_beyond_all_bounds_fills_the_line_and_still_ends(more: int) -> None:
    editor = Editor()
    editor.feed(b"\x1b[200~" + b"x" * (PASTE_BYTES + more))
    assert editor.text == ("" if more <= 0 else "x" * TYPED_CHARACTERS)
    editor.feed(b"y\r\x1b[201~\x15z")
    assert editor.text == "z"


@pytest.mark.parametrize("more", [-1, 0, 1])
def test_a_key_that_never_ends_is_given_up(more: int) -> None:
    editor = Editor()
    editor.feed(b"\x1b[" + b"1" * (KEY_BYTES - 2 + more))
    assert bool(editor.text) == (more > 0)


@pytest.mark.parametrize("more", [-1, 0, 1])
def test_the_arrow_finds_the_last_lines_only(more: int) -> None:
    editor = Editor()
    count = LINES_REMEMBERED + more
    editor.feed(b"".join(b"%d\r" % number for number in range(count)))
    editor.feed(b"\x1b[A" * (count + 5))
    assert editor.text == str(max(count - LINES_REMEMBERED, 0))
