"""Rows that are sorted, whatever the blocks are."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.data import Arrays, OperatedSource
from components.operation import Sort
from components.types import DataError, Ragged, Strings, UserError
from tests.helpers.operations import operate, rows_of_a_part

PARTS = st.fixed_dictionaries({"train": rows_of_a_part, "test": rows_of_a_part})
NAMES = st.lists(st.sampled_from(["number", "float", "text"]), min_size=1, unique=True)
BY = NAMES.flatmap(lambda names: st.tuples(*[st.sampled_from([f"-{name}", name]) for name in names]))


@settings(max_examples=60)
@given(PARTS, st.integers(1, 7), BY)
def test_rows_are_sorted_as_by_python(parts: Any, block_rows: int, by: tuple[str, ...]) -> None:
    def sort(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        for name in reversed(by):  # each pass is stable
            key, missing = name.removeprefix("-"), [row for row in rows if row[name.removeprefix("-")] is None]
            known = [row for row in rows if row[key] is not None]
            rows = sorted(known, key=lambda row: row[key], reverse=key != name) + missing
        return rows

    assert operate([Sort(by=by)], parts, block_rows) == {part: sort(rows) for part, rows in parts.items()}


@pytest.mark.parametrize(
    "values",
    [
        np.array([3, 0, 255], np.uint8),
        np.array([-(2**63), 2**63 - 1, 0]),
        np.array([2**64 - 1, 0, 2**63], np.uint64),
        np.array([0.5, -np.inf, np.inf]),
        np.array([True, False, True]),
        np.array(["2020-01-02", "1960-01-01", "2020-01-01"], "M8[s]"),
        np.array(["b", "ab", "ä"]),
        Strings.from_bytes(["𝒳".encode(), "￿".encode(), b""]),
    ],
    ids=str,
)
def test_all_types_are_sorted_in_both_directions(values: Any) -> None:
    def sort(by: str) -> list[int]:
        source = OperatedSource(source=Arrays(columns={"x": values}), operations=(Sort(by=(by,)),))
        return source.result.source_rows["all"].tolist()

    listed = values.tolist()
    assert sort("x") == sorted(range(3), key=listed.__getitem__)
    assert sort("-x") == sorted(range(3), key=listed.__getitem__, reverse=True)


@pytest.mark.parametrize(
    ("by", "message"),
    [((), "is empty"), (("price", "-price"), "has the column price twice")],
)
def test_names_are_checked_before_any_row_is_read(by: tuple[str, ...], message: str) -> None:
    with pytest.raises(UserError, match=message):
        Sort(by=by)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nmber", r"^operations\.0 \(sort\): there is no column `nmber` in .*\. Did you mean number\?"),
        ("-lists", r"column `lists` has lists of whole numbers\. Rows are sorted by single numbers, texts, times"),
        ("image", "column `image` has arrays of floats of shape"),
    ],
)
def test_columns_that_rows_are_not_sorted_by_are_errors(name: str, message: str) -> None:
    lists = Ragged(np.arange(4), np.array([0, 1, 1, 4]))
    source = Arrays(columns={"number": np.arange(3), "lists": lists, "image": np.zeros((3, 2, 2))})
    with pytest.raises(DataError, match=message):
        OperatedSource(source=source, operations=(Sort(by=(name,)),)).sizes()
