"""Taking and concatenating rows of ragged columns gives the same rows as with lists."""

from itertools import chain

import jax
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
def test_rows_are_taken_as_from_a_list(rows: list[list[int]], data: st.DataObject) -> None:
    indices = data.draw(st.lists(st.integers(0, len(rows) - 1), max_size=10))
    taken = take_rows(ragged(rows), np.array(indices, np.int64))
    assert rows_of(taken) == [rows[index] for index in indices]
    assert row_count(taken) == len(indices)


@pytest.mark.parametrize("indices", [None, np.array([2, 0, 1, 2])])
def test_rows_of_strings_are_taken_as_from_a_list(indices: np.ndarray | None) -> None:
    strings = to_strings(["a", "", "bcd"])._replace(indices=indices)
    taken = take_rows(strings, np.array([2, 0, 2]))
    assert taken.tolist() == [strings.tolist()[row] for row in (2, 0, 2)]


@given(parts=st.lists(LISTS, min_size=1, max_size=4))
def test_rows_are_concatenated_as_lists(parts: list[list[list[int]]]) -> None:
    assert rows_of(concatenate_rows([ragged(part) for part in parts])) == list(chain(*parts))


def test_encoded_rows_are_not_copied_for_the_cpu() -> None:
    joined = concatenate_rows([np.ones((3, 2), np.float32), np.zeros((4, 2), np.float32)])
    np.testing.assert_array_equal(joined, [[1, 1]] * 3 + [[0, 0]] * 4)
    (device,) = jax.local_devices(backend="cpu")[:1]
    assert jax.device_put(joined, device).unsafe_buffer_pointer() == joined.ctypes.data


def test_selected_rows_are_located_by_their_numbers_in_the_original_block() -> None:
    block = Block({"x": np.arange(5)}, {"x": np.arange(5) > 0}, "somewhere", 100)
    selected = select_rows(block, np.array([0, 3]))
    assert selected.columns["x"].tolist() == [0, 3]
    assert selected.valid["x"].tolist() == [False, True]
    assert selected.locate(1) == "row 103 of somewhere"
