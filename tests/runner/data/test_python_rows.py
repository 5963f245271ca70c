"""Raw columns from Python as a source."""

from typing import Any, cast

import numpy as np
import pyarrow
import pytest

from components.columns import merge_options
from components.types import DataError
from runner.data.python_rows import open_rows


@pytest.mark.parametrize(
    "column", [["a\0", "a"], (b"a\0", b"a"), [["a\0", "b"], ["c", "d"]], [1, "a"], [2**63, 1], [1.5, None]]
)
def test_the_values_of_a_list_are_kept_as_objects(column: Any) -> None:
    (block,) = open_rows({"x": column}, {}).source.blocks("all")
    assert block.columns["x"].tolist() == [*column]  # type: ignore[union-attr]
    assert block.columns["x"].dtype == object  # type: ignore[union-attr]


def test_lists_of_numbers_become_arrays_of_numbers() -> None:
    (block,) = open_rows({"x": [1.5, 2], "y": [1, 2], "z": [True, False]}, {}).source.blocks("all")
    assert [values.dtype for values in block.columns.values()] == [np.float64, np.int64, np.bool_]  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (
            {"x": [[1], 2]},
            "column `x` has single values in row 1, but lists in row 0. All rows must have lists of the same",
        ),
        ({"x": "a"}, "column `x` is 'a', not an array of rows; a single row is \\['a'\\]"),
        ({"x": [1], "y": ["a", "b"]}, "the same number of rows, got x 1, y 2"),
    ],
)
def test_values_that_are_not_a_table_are_an_error(columns: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        open_rows(columns, {})


@pytest.mark.parametrize(
    ("dates", "kept"),
    [
        ("day_first", {"zone": "utc", "none": "no_zone", "unit": "seconds", "": "day_first"}),
        ("utc", {"order": "year_first", "format": "%Y", "unit": "seconds", "": "utc"}),
        ({"": "utc"}, {"order": "year_first", "format": "%Y", "unit": "seconds", "": "utc"}),
        ({"order": "day_first"}, {"": "month_first", "order": "day_first"}),
    ],
)
def test_dates_of_all_columns_replace_only_what_they_tell(dates: Any, kept: dict[str, str]) -> None:
    inferred = {"zone": "utc", "none": "no_zone", "order": "year_first", "format": "%Y", "unit": "seconds"}
    recorded = {"types": {"unit": "timestamp"}, "dates": {"": "month_first", **inferred}}
    merged = merge_options(recorded, {"dates": dates, "types": {"x": "int"}, "seed": 1})
    expected = kept if isinstance(dates, str) or "" in dates else {**inferred, **kept}
    assert merged == {"types": {"unit": "timestamp", "x": "int"}, "dates": expected, "seed": 1}


def test_rows_may_be_a_stream_of_arrow_that_is_read_once() -> None:
    class Stream:
        def __init__(self, table: pyarrow.Table) -> None:
            self._reader = table.to_reader()

        def __arrow_c_stream__(self, requested_schema: object = None) -> object:
            return self._reader.__arrow_c_stream__(requested_schema)

    class Column:
        keys = ("price",)

    options = {"types": {"price": "float"}, "marks": {"price": "$"}}
    source = open_rows(Stream(pyarrow.table({"price": ["$5", "$7"]})), cast(Any, {"price": Column()}), options).source
    assert np.asarray(next(source.blocks("new")).columns["price"]).tolist() == [5, 7]
