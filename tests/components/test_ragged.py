"""Lists of lists: rows are taken, cut, joined, cached, hashed and padded as those of lists in Python."""

import tempfile
from itertools import pairwise
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nested_lists import to_lists, to_ragged, unpad

from components.columns import as_column
from components.data.csv.selection import take_rows as take_compact
from components.data.table import slice_rows
from components.hashing import hash_values
from components.ragged import (
    concatenate,
    describe_values,
    layout_of,
    nest,
    split_levels,
    truncate,
)
from components.ragged import (
    take_rows as take_any,
)
from components.types import DataError, Padded, Ragged, Strings, padded_shape, row_count
from runner.data.batches import gather_rows
from runner.data.cache import load_tree, save_tree
from runner.data.columns import array_layouts, concatenate_rows, take_rows
from runner.data.encode import join_pieces
from runner.data.padding import LENGTHS, measure_lists, widen
from runner.memory import count_bytes

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


@given(TABLES, st.data())
def test_columns_are_concatenated_as_lists(table: tuple[int, list[Any]], data: st.DataObject) -> None:
    """Also columns of texts with dictionaries, shared or of their own, and of which some rows were taken."""
    depth, rows = table
    values = [element for row in rows for element in row] if depth == 1 else []
    for listed, kind, level in ((rows, int, depth), ([_spell(row) for row in rows], str, depth), (values, str, 0)):
        whole = to_ragged([*map(str, listed)] if level == 0 else listed, level, np.int64 if kind is int else str)
        pieces = []
        for taken in data.draw(st.lists(st.lists(st.integers(0, max(len(listed) - 1, 0))), min_size=1, max_size=4)):
            indices = np.array(taken if listed else [], np.int64)
            column = take_any(whole, indices)
            if data.draw(st.booleans()):
                column = to_ragged(to_lists(column), level, np.int64 if kind is int else str)
            pieces.append(column)
        assert to_lists(concatenate(pieces)) == [row for piece in pieces for row in to_lists(piece)]


def test_columns_that_share_a_dictionary_share_it_afterwards_and_others_keep_only_what_they_use() -> None:
    words = Strings.from_bytes([b"a" * 100, b"b", b"c"])
    assert isinstance(
        shared := concatenate([take_any(words, np.array([0, 1])), take_any(words, np.array([1]))]), Strings
    )
    assert shared.data is words.data
    later = Strings(words.data, words.offsets[1:], np.array([0]))
    assert to_lists(concatenate([take_any(words, np.array([0, 2])), later])) == ["a" * 100, "c", "b"]
    others = Strings.from_bytes([b"d"])
    assert len(concatenate([take_any(words, np.array([1])), others]).data) == 2


@given(st.data())
def test_pieces_of_one_array_in_its_order_are_joined_without_a_copy(data: st.DataObject) -> None:
    whole = np.arange(24).reshape(12, 2)[:, : data.draw(st.integers(1, 2))]
    cuts = [0, *sorted(data.draw(st.sets(st.integers(1, 11), min_size=1, max_size=3))), 12]
    ordered = [whole[start:stop] for start, stop in pairwise(cuts)]
    pieces = data.draw(st.permutations(ordered) | st.just(ordered[1:]) | st.just([*ordered, whole[:1]]))
    pieces = [each.copy() if data.draw(st.integers(0, 9)) == 0 else each for each in pieces]
    joined = concatenate(pieces)
    np.testing.assert_array_equal(joined, np.concatenate(pieces))
    follow = [np.shares_memory(each, whole) for each in pieces]
    is_view = all(follow) and whole.shape[1] == 2 and joined.tolist() == whole[joined[0, 0] // 2 :].tolist()
    if len(pieces) > 1:
        assert np.shares_memory(joined, whole) == is_view
        assert joined.flags.writeable != is_view


def test_strings_without_a_row_are_not_decoded() -> None:
    strings = Strings.from_bytes([b"\xff", b"a", b"b"])._replace(indices=np.array([2, 1]))
    assert strings.tolist() == ["b", "a"]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([np.arange(2), np.arange(2.0)], r"single whole numbers \(int64\), others single floats \(float64\)"),
        ([np.zeros((1, 2)), np.zeros((1, 3))], r"shape \(2,\) \(float64\), others .* shape \(3,\)"),
        ([Strings.from_bytes([b"a"]), np.arange(2)], "have texts, others single whole numbers"),
        ([to_ragged([[1]], 1), to_ragged([[], ["a"]], 1, str)], "single whole numbers .* others texts"),
    ],
)
def test_columns_of_different_types_are_not_concatenated(values: list[Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        concatenate(values)


def test_the_type_of_an_empty_list_may_be_another_one() -> None:
    assert to_lists(concatenate([to_ragged([[]], 1), to_ragged([["a"]], 1, str), to_ragged([[]], 2)])) == [
        [],
        ["a"],
        [],
    ]


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


@given(TABLES, st.data())
def test_the_largest_batch_has_the_shapes_and_the_size_of_the_longest_lists(
    table: tuple[int, list[Any]], data: st.DataObject
) -> None:
    depth, rows = table
    encoded = {"x": {"ids": to_ragged(rows, depth, np.int32), "weights": to_ragged(rows, depth, np.float32)}}
    numbers = np.array(data.draw(st.lists(st.integers(0, len(rows) - 1), min_size=1, max_size=4)))
    lists = measure_lists(encoded, numbers)
    batch = gather_rows(encoded, numbers)
    assert {each.widths for each in lists} == {padded_shape(batch["x"]["ids"])[1:]}
    assert sum(each.row_bytes for each in lists) * len(numbers) == count_bytes(batch)
    shortest = gather_rows(encoded, numbers[:1])
    found = jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), (widen(shortest, lists), gather_rows(encoded, numbers)))
    assert [(shape[1:], dtype) for shape, dtype in jax.tree.leaves(found[0], is_leaf=_is_pair)] == [
        (shape[1:], dtype) for shape, dtype in jax.tree.leaves(found[1], is_leaf=_is_pair)
    ]


def _is_pair(value: Any) -> bool:
    return type(value) is tuple


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([0, 1], [[1, 0], [2, 2]]),
        ([2, 3], [[3, 3, 3, 0], [4, 4, 4, 4]]),
    ],
)
def test_a_batch_has_the_lists_of_tensorflow(rows: list[int], expected: list[list[int]]) -> None:
    """The results of `padded_batch(2)` of TensorFlow 2.21. Ours are padded to one of few lengths, so more widely.

    The mask tells which elements are padding: it has the lists of `ragged_batch`.
    """
    lists = [[number] * number for number in range(1, 5)]
    padded = gather_rows({"x": {"ids": to_ragged(lists, 1, np.int32)}}, np.array(rows))["x"]["ids"]
    width = len(expected[0])
    assert padded.values[:, :width].tolist() == expected
    assert not padded.values[:, width:].any()
    assert padded_shape(padded) == (2, LENGTHS[0])
    assert unpad(padded) == [lists[row] for row in rows]


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


@pytest.mark.parametrize(
    ("column", "text"),
    [
        (np.arange(3), "single whole numbers"),
        (np.zeros((3, 2, 4)), "arrays of floats of shape (2, 4)"),
        (np.array(["a", None], object), "single texts"),
        (Ragged(np.array([True]), np.array([0, 1])), "lists of booleans"),
        (Ragged(Ragged(Strings.from_bytes([b"a"]), np.array([0, 1])), np.array([0, 1])), "lists of lists of texts"),
        (Ragged(np.zeros((1, 2)), np.array([0, 1])), "lists of arrays of floats of shape (2,)"),
    ],
)
def test_a_column_is_described_in_words(column: Any, text: str) -> None:
    assert describe_values(column) == text


@pytest.mark.parametrize(
    ("column", "fault"),
    [
        ([[1, 2], [[3]]], "lists of lists in row 1, but lists in row 0"),
        ([[], None, [[1]], ["a"]], "lists in row 3, but lists of lists in row 2"),
        ([[1], [2, [3]]], "both lists and lists of lists in row 1"),
        ([[1], 2], "single values in row 1, but lists in row 0"),
    ],
)
def test_lists_of_several_depths_raise_an_error_that_names_the_rows(column: Any, fault: str) -> None:
    with pytest.raises(DataError, match=f"column `x` has {fault}. All rows must have lists of the same depth"):
        as_column("x", column)


@given(TABLES, st.data())
def test_lists_are_truncated_as_in_python(table: tuple[int, list[Any]], data: st.DataObject) -> None:
    depth, rows = table
    lengths = data.draw(st.lists(st.none() | st.integers(1, 3), min_size=depth, max_size=depth))
    last = data.draw(st.booleans())
    for column in (to_ragged(rows, depth), to_ragged([_spell(row) for row in rows], depth, str)):
        expected = [_cut(row, lengths, last=last) for row in to_lists(column)]
        assert to_lists(truncate(column, lengths, last=last)) == expected


def _cut(row: Any, lengths: list[int | None], *, last: bool) -> Any:
    if not lengths:
        return row
    maximum = len(row) if lengths[0] is None else lengths[0]
    return [
        _cut(each, lengths[1:], last=last) for each in (row[max(0, len(row) - maximum) :] if last else row[:maximum])
    ]


@pytest.mark.parametrize("last", [False, True])
def test_lists_that_are_arrays_are_truncated_along_their_axes(last: bool) -> None:
    array = np.arange(24).reshape(2, 3, 4)
    expected = array[:, -2:, -1:] if last else array[:, :2, :1]
    np.testing.assert_array_equal(truncate(array, (2, 1), last=last), expected)
    np.testing.assert_array_equal(truncate(array, (None, 9), last=last), array)
