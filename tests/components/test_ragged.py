"""Lists of lists: rows are taken, cut, joined, cached, hashed and padded as those of lists in Python."""

import tempfile
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nested_lists import to_lists, to_ragged, unpad

from components.columns import as_column
from components.data.csv.selection import take_rows as take_compact
from components.data.table import slice_rows
from components.hashing import hash_values
from components.ragged import layout_of, nest, split_levels
from components.types import DataError, Padded, padded_shape, row_count
from runner.data.batches import LENGTHS, gather_rows
from runner.data.cache import load_tree, save_tree
from runner.data.columns import array_layouts, concatenate_rows, take_rows
from runner.data.encode import join_pieces

VALUES = {1: st.lists(st.integers(-9, 9), max_size=3)}
for _depth in (2, 3):
    VALUES[_depth] = st.lists(VALUES[_depth - 1], max_size=3)
TABLES = st.sampled_from([1, 2, 3]).flatmap(
    lambda depth: st.tuples(st.just(depth), st.lists(VALUES[depth], min_size=1, max_size=6))
)


@given(TABLES, st.data())
def test_rows_are_taken_and_cut_as_from_a_list(table: tuple[int, list[Any]], data: st.DataObject) -> None:
    depth, rows = table
    indices = data.draw(st.lists(st.integers(0, len(rows) - 1), max_size=8))
    start, stop = sorted(data.draw(st.tuples(*[st.integers(0, len(rows))] * 2)))
    for column in (to_ragged(rows, depth), to_ragged([_spell(row) for row in rows], depth, str)):
        listed = to_lists(column)
        for take in (take_rows, take_compact):
            assert to_lists(take(column, np.array(indices, np.int64))) == [listed[index] for index in indices]
        assert to_lists(slice_rows(column, start, stop)) == listed[start:stop]
        assert row_count(column) == layout_of(column).rows == len(rows)
        assert to_lists(nest(*split_levels(column))) == listed


def _spell(value: Any) -> Any:
    return [*map(_spell, value)] if isinstance(value, list) else str(value)


@settings(max_examples=30, deadline=None)
@given(TABLES, st.data())
def test_pieces_are_joined_cached_and_padded_as_lists(table: tuple[int, list[Any]], data: st.DataObject) -> None:
    depth, rows = table
    cut = data.draw(st.integers(0, len(rows)))
    pieces = [{"x": {"values": to_ragged(part, depth)}} for part in (rows[:cut], rows[cut:]) if part]
    assert to_lists(concatenate_rows([piece["x"]["values"] for piece in pieces])) == rows
    assert {layouts["x"]["values"].depth for layouts in map(array_layouts, pieces)} == {depth}
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patched:
        patched.setattr("runner.data.cached_array.MIN_MAPPED_BYTES", data.draw(st.sampled_from([1, 2**20])))
        save_tree(Path(folder, "0" * 32), iter(pieces))
        cached = load_tree(Path(folder, "0" * 32))
        assert to_lists(cached["x"]["values"]) == rows
        order = np.array(data.draw(st.permutations(range(len(rows)))), np.int64)
        for encoded in (cached, join_pieces(pieces)):
            padded = gather_rows(encoded, order)["x"]["values"]
            assert unpad(padded) == [rows[row] for row in order]
            assert set(padded_shape(padded)[1:]) <= {*LENGTHS}


def test_padding_is_zero_and_an_empty_list_is_none() -> None:
    column = to_ragged([[[1, 2], []], []], 2, np.int32)
    padded = gather_rows({"x": {"ids": column}}, np.arange(2))["x"]["ids"]
    assert padded_shape(padded) == (2, 8, 8)
    assert padded.mask.tolist() == [[True, True, *[False] * 6], [False] * 8]
    assert isinstance(padded.values, Padded)
    assert padded.values.values.sum() == 3
    assert np.argwhere(padded.values.mask).tolist() == [[0, 0, 0], [0, 0, 1]]


@given(TABLES)
def test_equal_rows_have_equal_hashes(table: tuple[int, list[Any]]) -> None:
    depth, rows = table
    hashes = hash_values(to_ragged([*rows, rows[0]], depth)).tolist()
    assert hashes[0] == hashes[-1]
    assert [hashes.index(each) for each in hashes] == [[*rows, rows[0]].index(row) for row in [*rows, rows[0]]]


def test_lists_of_python_become_ragged_unless_an_array_holds_them() -> None:
    for rows in ([[1], [2, 3]], [[[1], [2, 3]], [[4]]], [[["a"], []], [["b", "c"]]], [[[[1]], []], []]):
        values, valid = as_column("x", rows)
        assert (to_lists(values), valid) == (rows, None)
    values, valid = as_column("x", [[1], None, (2, 3)])
    assert to_lists(values) == [[1], [], [2, 3]]
    assert valid is not None
    assert valid.tolist() == [True, False, True]
    assert as_column("x", [[1, 2], [3, 4]])[0].shape == (2, 2)  # type: ignore[union-attr]
    with pytest.raises(DataError, match=r"column `x` has missing values within its lists"):
        as_column("x", [[[1], None], [[2, 3]]])
    with pytest.raises(DataError, match="column `x`"):
        as_column("x", [[1], ["a", "b"]])


def _count_values(value: Any) -> int:
    return sum(map(_count_values, value)) if isinstance(value, list) else 1


@given(TABLES)
def test_a_value_is_found_in_its_row(table: tuple[int, list[Any]]) -> None:
    depth, rows = table
    layout = layout_of(to_ragged(rows, depth))
    assert np.diff(layout.offsets).tolist() == [*map(_count_values, rows)]
    for row, (start, stop) in enumerate(pairwise(layout.offsets.tolist())):
        assert {layout.find_row(position) for position in range(start, stop)} <= {row}
    assert layout.is_nested == (depth > 1)
