"""How often values occur, in how many rows, exactly and however rows are cut."""

from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.feature.statistic.counts import Counts, Tally
from components.feature.statistic.elements import find_unique
from components.feature.text.string_ops import to_strings
from components.types import Block, DataError, Ragged, Strings


def tally(values: Any, **options: Any) -> Tally:
    return Counts("x", **options).summarize(Block({"x": values}))


def listed(found: Tally) -> dict[Any, tuple[int, int]]:
    """Occurrences and rows of each value."""
    return dict(
        zip(found.tokens.tolist(), zip(found.counts.tolist(), found.documents.tolist(), strict=True), strict=True)
    )


def ragged(rows: list[list[Any]]) -> Ragged:
    values = [value for row in rows for value in row]
    offsets = np.cumsum([0, *map(len, rows)])
    return Ragged(to_strings(values) if not values or isinstance(values[0], str) else np.array(values), offsets)


@pytest.mark.parametrize(
    ("values", "options", "expected"),
    [
        (np.array(["b", "a", "b", ""]), {}, {"a": (1, 1), "b": (2, 2)}),
        (np.array(["b", "a", "b", ""]), {"missing": ""}, {"": (1, 1), "a": (1, 1), "b": (2, 2)}),
        (np.array(["b", "a", "b", ""]), {"empty_is_missing": False}, {"": (1, 1), "a": (1, 1), "b": (2, 2)}),
        (np.array([["b", "b"], ["", "b"]]), {}, {"b": (3, 2)}),
        (np.array([7, -1, 7]), {}, {7: (2, 2)}),
        (np.array([7, -1, 7]), {"missing": 7}, {7: (3, 3)}),
        (ragged([["b", "a", "b", ""], [], ["b"]]), {}, {"": (1, 1), "a": (1, 1), "b": (3, 2)}),
        (ragged([[7, -1, 7], [], [-1]]), {}, {7: (2, 1), -1: (2, 2)}),
        (to_strings(["b", "unused", "b", ""])._replace(indices=np.array([0, 2, 3, 2])), {}, {"b": (3, 3)}),
        (np.array([None], object), {}, {}),
    ],
)
def test_values_and_their_rows_are_counted(values: Any, options: dict[str, Any], expected: dict[Any, Any]) -> None:
    assert listed(tally(values, **options)) == expected


def test_missing_values_are_not_counted() -> None:
    block = Block({"x": np.array([3, 4, 3])}, {"x": np.array([True, False, True])})
    found = Counts("x").summarize(block)
    assert listed(found) == {3: (2, 2)}
    assert found.rows == 3


@settings(max_examples=25)
@given(st.lists(st.lists(st.text(max_size=2), max_size=4), min_size=1, max_size=8), st.integers(1, 7))
def test_counts_equal_python_for_any_blocks(rows: list[list[str]], cut: int) -> None:
    occurrences = Counter(value for row in rows for value in row)
    documents = Counter(value for row in rows for value in set(row))
    whole, statistic = tally(ragged(rows)), Counts("x")
    assert listed(whole) == {value: (count, documents[value]) for value, count in occurrences.items()}
    first, *others = [tally(ragged(part)) for part in (rows[:cut], rows[cut:]) if part]
    merged = statistic.result(statistic.merge(first, others[0]) if others else first)
    assert merged.rows == whole.rows == len(rows)
    for one, other in zip(merged, whole, strict=True):
        pairs = zip(one[:2], other[:2], strict=True) if isinstance(one, Strings) else [(one, other)]  # type: ignore[index]
        for left, right in pairs:
            np.testing.assert_array_equal(left, right)


def test_integers_are_merged_and_neither_state_is_changed() -> None:
    states = tally(np.array([3, 5, 3])), tally(np.array([4, 5])), tally(np.array([None], object))
    before = [[part.copy() for part in (state.keys, state.counts)] for state in states]
    merged = Counts("x").merge(Counts("x").merge(states[2], states[0]), states[1])
    assert listed(merged) == {3: (2, 2), 4: (1, 1), 5: (2, 2)}
    assert merged.rows == 6
    for state, parts in zip(states, before, strict=True):
        assert [state.keys.tolist(), state.counts.tolist()] == [part.tolist() for part in parts]


def test_text_and_numbers_do_not_mix() -> None:
    with pytest.raises(DataError, match="column `x` has text in some rows and whole numbers in others"):
        Counts("x").merge(tally(np.array(["a"])), tally(np.array([1])))


@pytest.mark.parametrize(
    "keys",
    [
        np.array([], np.int64),
        np.array([7, 5, 7, 9, 5, -1, 3, 3, 3, 3, 3, 3], np.int64),  # of a small range
        np.array([-(2**63), 2**63 - 1, 0, 0], np.int64),
        np.full(3, 2**63 - 1, np.int64),
        np.array([-128, 127] * 200, np.int8),
        np.array([2**64 - 1, 2**64 - 2] * 4, np.uint64),
    ],
)
def test_distinct_integers_are_those_of_numpy(keys: np.ndarray) -> None:
    unique, positions, codes = find_unique(keys)
    expected, expected_codes = np.unique(keys, return_inverse=True)
    assert (unique.tolist(), unique.dtype) == (expected.tolist(), keys.dtype)
    assert codes.tolist() == expected_codes.tolist()
    assert keys[positions].tolist() == unique.tolist()
