"""What categorical columns read: strings and integers of every form, their gaps, and what is none of them."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.feature.base.values import NO_ID, read_values
from components.feature.text.string_ops import (
    concatenate_categories,
    format_category,
    gather,
    map_strings,
    split_dictionary,
    to_strings,
)
from components.types import Block, DataError, Ragged, Strings

texts = st.lists(st.text(max_size=6), max_size=12)


def read(values: Any, valid: Any = None, **options: Any) -> list[Any]:
    """The values, with None for missing ones."""
    found = read_values(Block({"x": values}, {} if valid is None else {"x": np.array(valid)}), "x", **options)
    listed = found.values.tolist()
    mask = [True] * len(listed) if found.valid_mask is None else found.valid_mask
    return [value if valid else None for value, valid in zip(listed, mask, strict=True)]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (np.array(["a", "", "c"]), ["a", None, "c"]),
        (np.array(["a", None, "", "\0"], object), ["a", None, None, "\0"]),
        (to_strings(["a", ""]), ["a", None]),
        (to_strings(["", "a", "unused"])._replace(indices=np.array([1, 0, 1, 1], np.int8)), ["a", None, "a", "a"]),
        (np.array([3, -1, NO_ID], np.int32), [3, None, int(NO_ID)]),
        (np.array([3, -1, NO_ID]), [3, None, int(NO_ID)]),
        (np.array([3, None, -1], object), [3, None, None]),
        (np.array([2**63 - 1], np.uint64), [2**63 - 1]),
        (np.array([True, False]), [1, 0]),
        (np.array([[1, -1], [2, 3]]), [1, None, 2, 3]),
        (Ragged(to_strings(["a", "", "c"]), np.array([0, 2, 3])), ["a", "", "c"]),
        (Ragged(np.array([3, -1]), np.array([0, 0, 2])), [3, -1]),
        (np.array([None, None], object), [None, None]),
        (np.array([], object), []),
        (Ragged(np.array([]), np.array([0, 0])), []),
        (np.array([np.int8(3), None, np.bool_(True), np.uint64(5)], object), [3, None, 1, 5]),
        (np.array([b"a", "é", None, "é".encode()], object), ["a", "é", None, "é"]),
        (np.array([b"a", b""]), ["a", None]),
        (np.array(["a", ""], np.dtypes.StringDType()), ["a", None]),
    ],
)
def test_cells_are_strings_or_integers(values: Any, expected: list[Any]) -> None:
    assert read(values) == expected


def test_missing_values_are_no_values() -> None:
    assert read(to_strings(["a", "b"]), [True, False]) == ["a", None]
    assert read(np.array([[1, 2], [3, 4]]), [False, True]) == [None, None, 3, 4]
    assert read(Ragged(np.array([1, 2, 3]), np.array([0, 1, 3])), [True, False]) == [1, None, None]
    empty = Strings(np.empty(0, np.uint8), np.zeros(1, np.int64), np.zeros(2, np.int32))
    assert read(empty, [False, False]) == [None, None]
    assert read(np.array([None], object), missing="a") == ["a"]
    assert read(np.array([None], object), missing=3) == [3]
    assert read(empty, [False, False], missing=3) == [3, 3]


def test_a_value_stands_in_for_missing_values() -> None:
    repeated = to_strings(["a", ""])._replace(indices=np.array([0, 1, 0]))
    assert read(repeated, [True, True, False], missing="none") == ["a", "none", "none"]
    assert read(to_strings(["a", ""]), missing="") == ["a", ""]
    assert read(np.array([1, -1]), missing=7) == [1, 7]
    assert read(np.array([1, -1]), empty_is_missing=False) == [1, -1]
    with pytest.raises(DataError, match=r"has whole numbers \(1\), unlike missing='none'; both must be"):
        read(np.array([1, -1]), missing="none")


def test_ids_of_another_column_are_all_values_but_no_id() -> None:
    found = read_values(Block({}), "x", {"x": {"ids": np.array([0, -1, NO_ID], np.int32)}})
    assert found.valid_mask is not None
    assert found.valid_mask.tolist() == [True, True, False]
    assert read_values(Block({}), "x", {"x": {"words": to_strings(["a", ""])}}).valid_mask is not None
    block = Block({"x": np.array([0, -1, NO_ID], np.int32)}, ids=frozenset({"x"}))
    assert read_values(block, "x", missing=7).values.tolist() == [0, -1, 7]  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.array([0.5, 1.0]), r"row 10 of rows\.csv: column `x` is 0\.5 \(float64\); a category is text or a whole"),
        (np.array([1, 2**63], np.uint64), r"row 11 of rows\.csv: column `x` is 9223372036854775808 \(uint64\)"),
        (np.array(["a", 3], object), r"row 11 of rows\.csv: column `x` is 3 among text"),
        (
            np.array(["a", "\ud800"]),
            r"row 11 of rows\.csv: column `x` is '\\ud800', which UTF-8 can't encode; correct it",
        ),
        (
            np.array([b"a", b"\xff"]),
            r"row 11 of rows\.csv: column `x` is b'\\xff', which isn't UTF-8; decode it with its own encoding",
        ),
        (
            np.array([1, 10**400], object),
            r"row 11 of rows\.csv: column `x` is an integer of 1329 bits; categories are .* 2\*\*63",
        ),
        (np.array([1, 2.5], object), r"row 11 of rows\.csv: column `x` is 2\.5; categories are"),
        (np.array([[1, 1], [1, 2**70]], object), r"row 11 of rows\.csv: column `x` is 1180591620717411303424;"),
        (
            Ragged(np.array(["a", "b", 3], object), np.array([0, 1, 1, 3])),
            r"row 12 of rows\.csv: column `x` is 3 among",
        ),
    ],
)
def test_other_values_are_named(values: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_values(Block({"x": values}, origin="rows.csv", first_row=10), "x")


def test_a_missing_column_is_named_with_the_nearest() -> None:
    with pytest.raises(DataError, match=r"no column `colour` in data. Did you mean color\? Columns: color, size\."):
        read_values(Block({"color": np.array(["a"]), "size": np.array([1])}), "colour")


@settings(max_examples=20)
@given(texts, st.lists(st.integers(0, 11), max_size=7))
def test_strings_are_chosen_joined_and_worked_on_once(rows: list[str], chosen: list[int]) -> None:
    plain, places = to_strings(rows), np.array([place for place in chosen if place < len(rows)], np.int64)
    assert plain.tolist() == rows
    repeated, expected = plain._replace(indices=places), [rows[place] for place in places]
    assert gather(plain, places).tolist() == expected == repeated.tolist()
    assert concatenate_categories(gather(plain, places), plain).tolist() == expected + rows
    assert [format_category(plain, place) for place in range(len(rows))] == rows
    distinct, inverse = split_dictionary(repeated)
    assert [distinct.tolist()[place] for place in inverse] == expected  # type: ignore[union-attr]
    assert map_strings(repeated, lambda strings: np.diff(strings.offsets)).tolist() == [
        len(text.encode()) for text in expected
    ]
