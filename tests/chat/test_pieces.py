"""A text in pieces: all of it, no piece much longer than wanted, and no character torn apart."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.chat.pieces import MOST, cut

FAMILY = "\U0001f468\u200d\U0001f469\u200d\U0001f467"
#: Each is one character to whoever reads it.
TOGETHER = {
    "a letter and its mark": "e\u0301",
    "several marks": "a\u0300\u0323\u0308",
    "an emoji of several": FAMILY,
    "a skin tone": "\U0001f44d\U0001f3fd",
    "a variation": "❤\ufe0f",
    "a flag": "\U0001f1e9\U0001f1ea",
    "a flag of tags": "\U0001f3f4\U000e0067\U000e0062\U000e007f",
    "a keycap": "1\ufe0f\u20e3",
    "a Hangul syllable in parts": "\u1112\u1161\u11ab",
    "a Devanagari cluster": "क\u094dष\u093f",
    "a line end": "\r\n",
}


@pytest.mark.parametrize("one", TOGETHER.values(), ids=TOGETHER)
@pytest.mark.parametrize("size", [1, 2, 3])
def test_what_is_seen_as_one_stays_together(one: str, size: int) -> None:
    if one != "\r\n":
        assert cut(one * 5, 1) == [one] * 5
    pieces = cut(f"x{one}" * 9, size)
    assert "".join(pieces) == f"x{one}" * 9
    assert all(piece.count(one) * len(one) + piece.count("x") == len(piece) for piece in pieces)


@pytest.mark.parametrize(
    ("text", "size", "pieces"),
    [
        ("", 3, []),
        ("abc", 3, ["abc"]),
        ("abcd", 3, ["abc", "d"]),
        ("ab cd ef", 2, ["ab", " c", "d ", "ef"]),
        ("\r\n\r\n", 1, ["\r\n", "\r\n"]),
        ("ééé", 2, ["éé", "é"]),
        ("\U0001f1e9\U0001f1ea\U0001f1eb\U0001f1f7x", 1, ["\U0001f1e9\U0001f1ea", "\U0001f1eb\U0001f1f7", "x"]),
    ],
)
def test_pieces(text: str, size: int, pieces: list[str]) -> None:
    assert cut(text, size) == pieces


@given(st.text(), st.integers(1, 20))
def test_nothing_is_lost_and_nothing_is_empty(text: str, size: int) -> None:
    pieces = cut(text, size)
    assert "".join(pieces) == text
    assert all(pieces)
    assert all(len(piece) >= size for piece in pieces[:-1])


def test_a_huge_text_has_no_more_pieces_than_that() -> None:
    pieces = cut("x" * 1_000_000, 1)
    assert len(pieces) <= MOST
    assert "".join(pieces) == "x" * 1_000_000


def test_marks_without_end_are_cut_in_time() -> None:
    """One pass: a text of nothing but marks is one piece, and is found to be one at once."""
    text = "a" + "\u0301" * 200_000
    assert cut(text, 80) == [text]
