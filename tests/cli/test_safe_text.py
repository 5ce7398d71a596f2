"""What others wrote never commands a terminal, and takes the room that it is given."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from kexkit_cli.safe_text import cells, safe, wrapped

WIDTHS = st.integers(2, 100)
BIDI = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"


@given(st.text(st.characters(codec=None)))
def test_no_character_that_a_terminal_obeys_is_left(text: str) -> None:
    for shown in (safe(text), safe(text, lines=True).replace("\n", "").replace("\t", "")):
        assert not any(unicodedata.category(character) in ("Cc", "Cs") for character in shown)
        assert not set(BIDI + "\u2028\u2029\ufeff") & set(shown)
        shown.encode()


@pytest.mark.parametrize("text", ["", "Hello, Bob!", "日本語", "مرحبا", "👩‍👩‍👧 family", "naïve", "a\u200db"])
def test_honest_text_stays_as_it_is(text: str) -> None:
    assert safe(text) == text


def test_what_was_hidden_is_seen() -> None:
    assert safe("a\x1b[31mb\x07\x7f\x9b\u202ec\r\n") == "a␛[31mb␇␡<U+009B><U+202E>c␍␊"
    assert safe("a\nb\tc", lines=True) == "a\nb\tc"
    assert safe("\ud800") == "<U+D800>"


@given(st.text(st.characters() | st.sampled_from(" a日\u0301")), WIDTHS)
@example(" a日", 2)
def test_wrapping_fits_and_loses_nothing_but_spaces(text: str, width: int) -> None:
    shown = safe(text, lines=True)
    rows = wrapped(shown, width)
    assert all(cells(row) <= width for row in rows)
    assert "".join("".join(rows).split()) == "".join(shown.split())


@given(st.text("ab ", max_size=60), WIDTHS)
@example(" aa", 2)
def test_words_that_fit_are_not_broken(text: str, width: int) -> None:
    words = {word for row in wrapped(text, width) for word in row.split(" ") if word}
    assert {word for word in text.split(" ") if 0 < len(word) <= width} <= words


def test_wide_characters_take_two_columns_and_marks_none() -> None:
    assert [cells(text) for text in ("ab", "日本", "e\u0301", "a\u200db")] == [2, 4, 1, 2]
    assert wrapped("日本語", 4) == ["日本", "語"]
