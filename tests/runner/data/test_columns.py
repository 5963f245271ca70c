"""Rows of ragged arrays are selected and concatenated like those of a list."""

from itertools import chain

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.feature.text.string_ops import to_strings
from components.types import Block, Ragged, row_count
from runner.data.columns import concatenate_rows, select_rows, take_rows

LISTS = st.lists(st.lists(st.integers(-9, 9), max_size=4), min_size=1, max_size=8)


def ragged(rows: list[list[int]]) -> Ragged:
    return Ragged(np.array(list(chain(*rows)), np.int32), np.cumsum([0, *map(len, rows)]))


def rows_of(values: object) -> list[list[int]]:
    assert isinstance(values, Ragged)
    assert values.offsets.dtype == np.int64
    pairs = zip(values.offsets[:-1], values.offsets[1:], strict=True)
    return [values.values[start:stop].tolist() for start, stop in pairs]


@given(rows=LISTS, data=st.data())
def test_taking_rows(rows: list[list[int]], data: st.DataObject) -> None:
    places = data.draw(st.lists(st.integers(0, len(rows) - 1), max_size=10))
    taken = take_rows(ragged(rows), np.array(places, np.int64))
    assert rows_of(taken) == [rows[place] for place in places]
    assert row_count(taken) == len(places)


@pytest.mark.parametrize("indices", [None, np.array([2, 0, 1, 2])])
def test_taking_rows_of_strings(indices: np.ndarray | None) -> None:
    strings = to_strings(["a", "", "bcd"])._replace(indices=indices)
    taken = take_rows(strings, np.array([2, 0, 2]))
    assert taken.tolist() == [strings.tolist()[row] for row in (2, 0, 2)]


@given(parts=st.lists(LISTS, min_size=1, max_size=4))
def test_concatenating(parts: list[list[list[int]]]) -> None:
    assert rows_of(concatenate_rows([ragged(part) for part in parts])) == list(chain(*parts))


def test_a_selection_names_rows_as_its_block_did() -> None:
    block = Block({"x": np.arange(5)}, {"x": np.arange(5) > 0}, "somewhere", 100)
    selected = select_rows(block, np.array([0, 3]))
    assert selected.columns["x"].tolist() == [0, 3]
    assert selected.valid["x"].tolist() == [False, True]
    assert selected.locate(1) == "row 103 of somewhere"
