"""Columns of long texts are read as if the reader had seen them, without a copy of them as a CSV file."""

import string
from typing import Any
from unittest.mock import patch

import numpy as np
import pyarrow
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from components.arrow import convert_column
from components.data import Frame
from components.data.long_texts import MIN_BYTES, shorten_long_texts
from components.types import DataError, Strings

REVIEWS = st.integers(0, 10**6).map(lambda number: f"A good film number {number}. " * 9)
LONG_VALUES = st.sampled_from(["1" * 200, "é" * 200, " " * 200, "2020-01-31 " * 20])
SHORT = st.sampled_from(["", "N/A", "-", "?", "12", "1,5", "2020-01-31", "good", "yes"])
TEXTS = st.lists(st.one_of([REVIEWS] * 12 + [LONG_VALUES, SHORT, st.none()]), min_size=1, max_size=16)


def read(texts: list[Any], **options: Any) -> str:
    frame = Frame(columns={"x": pyarrow.array(texts, pyarrow.string()), "y": np.arange(len(texts))}, **options)
    try:
        found = frame.table
        column: Any = found.values["x"]
        valid = found.valid.get("x")
        mask = None if valid is None else valid.tolist()
        spellings = [each.count_spellings() for each in frame.profile().columns]
        return repr([column.tolist(), mask, found.types, found.readings, found.problems, spellings])
    except DataError as error:
        return str(error)


@example([f"A good film number {number}. " * 9 for number in range(8)] + ["N/A", None], {})
@settings(max_examples=40, deadline=None)
@given(TEXTS, st.sampled_from([{}, {"nulls": ("good",)}, {"nulls": {"x": ("?",)}}, {"types": {"x": "string"}}]))
def test_shortened_texts_are_read_as_the_texts(texts: list[Any], options: dict[str, Any]) -> None:
    with patch("components.data.typed_table.shorten_long_texts", lambda *_: None):
        expected = read(texts, **options)
    assert read(texts, **options) == expected


def test_a_long_text_with_a_nul_is_an_error_as_a_short_one_is() -> None:
    reviews = [f"A good film number {number}. " * 9 for number in range(8)]
    assert "number 7" in read(reviews)
    for texts in ([*reviews, reviews[0] + "\0"], ["good", "bad\0"]):
        assert read(texts) == "the data have a text with a NUL character. Remove this character."


def test_equal_texts_have_equal_short_ones_and_numbers_stay() -> None:
    review, other = "abcdefgh " * 50, "abcdefgi " * 50
    texts = [review, other, review, "12", "3" * MIN_BYTES]
    short = shorten_long_texts(Strings.from_bytes([text.encode() for text in [*texts * 3, *[review + "s"] * 9]]), ())
    assert short is None  # too many different ones are short
    many = [f"{review}{letter}" for letter in string.ascii_letters]
    short = shorten_long_texts(Strings.from_bytes([text.encode() for text in [*texts, *many]]), [other])
    assert short is not None
    first, second, third, *rest = short.tolist()
    assert first == third != review
    assert [second, *rest[:2]] == [other, *texts[3:]]
    assert len({first, *rest[2:]}) == 1 + len(many)
    assert shorten_long_texts(Strings.from_bytes([b"short"]), ()) is None


@pytest.mark.parametrize("repeats", [1, 2, 3])
def test_long_texts_have_a_dictionary_if_at_most_half_of_them_differ(repeats: int) -> None:
    texts = [f"{letter}" * 300 for letter in "abcd"] * repeats
    chunks = [pyarrow.array(texts[:3]), pyarrow.array([*texts[3:], None])]
    strings, valid = convert_column("x", pyarrow.chunked_array(chunks))
    assert isinstance(strings, Strings)
    assert strings.tolist() == [*texts, ""]
    assert valid is not None
    assert valid.tolist() == [True] * len(texts) + [False]
    assert (strings.indices is not None) == (repeats > 1)
