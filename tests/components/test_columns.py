"""Conversion of columns from Python, pandas and Arrow."""

import itertools
import subprocess
import sys
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import numpy as np
import pandas
import PIL.Image
import pyarrow
import pytest
from pandas import NA, NaT, Series

from components.columns import as_column, as_columns, is_table
from components.types import DataError, Ragged, Strings

MISSING = "missing"
VIEWS = pyarrow.array(["a", "b"], pyarrow.string_view())
FAR = np.array(["2020-01-01", "300000-01-01"], "M8[s]")
NOON = datetime(2024, 1, 1, 12, tzinfo=timezone(timedelta(hours=2)))
INSTANT = datetime(2024, 1, 1, 10)


def read(column: Any) -> tuple[str, list[Any]]:
    """Returns the type of a column's values, and the value in each row."""
    values, valid = as_column("x", column)
    assert not isinstance(values, Ragged)
    if isinstance(values, Strings):
        texts = [*values._replace(indices=None).tolist(), ""]
        places = range(values.rows) if values.indices is None else values.indices
        kind, rows = "text", [texts[place] for place in places]
    else:
        kind, rows = str(values.dtype), values.tolist()
    valid = [True] * len(rows) if valid is None else valid
    return kind, [v if is_valid and v is not None else MISSING for v, is_valid in zip(rows, valid, strict=True)]


@pytest.mark.parametrize(
    ("column", "kind", "rows"),
    [
        (Series([1, None], dtype="Int64"), "int64", [1, MISSING]),
        (Series([1, 2], dtype="UInt8"), "uint8", [1, 2]),
        (Series([True, NA], dtype="boolean"), "bool", [True, MISSING]),
        (Series([1.5, np.nan]), "float64", [1.5, MISSING]),
        (Series([1.5, None], dtype="Float32"), "float32", [1.5, MISSING]),
        (Series([1, 2], dtype="uint8"), "uint8", [1, 2]),
        (Series(["a", NA, ""], dtype="string"), "text", ["a", MISSING, ""]),
        (Series(["a", None], dtype="string[pyarrow]"), "text", ["a", MISSING]),
        (Series(["a", np.nan, "a", "a", "b"], dtype=object), "text", ["a", MISSING, "a", "a", "b"]),
        (Series(["a", None, "b"], dtype="category"), "text", ["a", MISSING, "b"]),
        (pandas.Categorical([3, None, 1]), "int64", [3, MISSING, 1]),
        (pandas.Index([1, 2]), "int64", [1, 2]),
        (Series([Decimal("1.5"), None]), "float64", [1.5, MISSING]),
        (Series([NOON, NaT]), "datetime64[us]", [INSTANT, MISSING]),
        (Series([date(2024, 1, 1), None]), "datetime64[D]", [date(2024, 1, 1), MISSING]),
        (Series([date(2024, 1, 1), INSTANT], dtype=object), "datetime64[us]", [datetime(2024, 1, 1), INSTANT]),
        ([date(2024, 1, 1), None, INSTANT], "datetime64[us]", [datetime(2024, 1, 1), MISSING, INSTANT]),
        (pyarrow.chunked_array([["a"], [None, "b"]]), "text", ["a", MISSING, "b"]),
        (pyarrow.DictionaryArray.from_arrays([1, None], VIEWS), "text", ["b", MISSING]),  # as of Polars
        (pyarrow.array([None, None]), "text", [MISSING, MISSING]),
        (pyarrow.array([1, None], pyarrow.decimal128(5, 2)), "int64", [1, MISSING]),
        (pyarrow.array([Decimal("0.5"), None], pyarrow.decimal256(50, 2)), "float64", [0.5, MISSING]),
        (pyarrow.array([None], pyarrow.decimal128(5, 2)), "float64", [MISSING]),
        (Series([Decimal(2**53 + 1), None]), "int64", [2**53 + 1, MISSING]),
        ([Decimal(2**53 + 1), Decimal("7.00"), 2], "object", [2**53 + 1, 7, 2]),
        ([Decimal(1), Decimal("Infinity")], "object", [1.0, float("inf")]),
        ([Decimal(1), 0.5], "object", [1.0, 0.5]),
        (pandas.cut([1.0, 2.0, np.nan], [0, 1, 2]), "text", ["(0, 1]", "(1, 2]", MISSING]),
        (Series([pandas.Period("2024-01"), None], dtype="category"), "text", ["2024-01", MISSING]),
        (Series([0, 0, 3], dtype="Sparse[int64]"), "int64", [0, 0, 3]),
        (Series([0.5, np.nan], dtype="Sparse[float64]"), "float64", [0.5, MISSING]),
        (pandas.arrays.SparseArray([0, 3]), "int64", [0, 3]),
        (pandas.array([NA]), "object", [MISSING]),
        (pandas.array(["a", NA, None], dtype=object), "object", ["a", MISSING, MISSING]),
        (Series([pandas.Timedelta("1s"), None]), "timedelta64[us]", [timedelta(seconds=1), MISSING]),
        ([timedelta(seconds=1), None], "object", [timedelta(seconds=1), MISSING]),
        (Series([1 + 2j]), "complex128", [1 + 2j]),
        (pyarrow.array([[1, 2], [3, 4]], pyarrow.list_(pyarrow.int32(), 2)), "int32", [[1, 2], [3, 4]]),
        (pyarrow.array([b"a\0", None]), "object", [b"a\0", MISSING]),
        (np.ma.array([1, 2], mask=[False, True]), "int64", [1, MISSING]),
        ([1, None, NA], "object", [1, MISSING, MISSING]),
        (["a", float("nan"), NaT], "object", ["a", MISSING, MISSING]),
        ([Decimal("0.5"), Decimal("NaN"), 2], "object", [0.5, MISSING, 2]),
        ([datetime(2024, 1, 1, 10, tzinfo=UTC), None, NaT], "datetime64[us]", [INSTANT, MISSING, MISSING]),
        (np.array(["2024-01-01", "NaT"], "M8[D]"), "datetime64[D]", [date(2024, 1, 1), MISSING]),
    ],
    ids=itertools.count(),
)
def test_values_keep_their_type_and_missing_values_are_masked(column: Any, kind: str, rows: list[Any]) -> None:
    assert read(column) == (kind, rows)


def test_lists_are_rows_of_any_length() -> None:
    values, valid = as_column("x", Series([[1, 2], None, [3]]))
    assert isinstance(values, Ragged)
    assert (values.values.tolist(), values.offsets.tolist()) == ([1, 2, 3], [0, 2, 2, 3])
    assert valid is not None
    assert valid.tolist() == [True, False, True]


@pytest.mark.parametrize(
    ("column", "message"),
    [
        (Series([None, 1, 2.5, "a"]), r"column `x` doesn't .* one type: row 1 is 1.* \(\w+\) and row 3 is 'a' \(str\)"),
        (Series([pandas.Interval(0, 1)]), "column `x` has Arrow's type extension<pandas.interval"),
        (pyarrow.array([2**63], pyarrow.decimal128(20, 0)), "column `x` has an integer beyond 64 bits. Convert"),
        (Series([pandas.Period("2024")]), "column `x` has Arrow's type extension<pandas.period"),
        (pyarrow.array([[1, None]]), "column `x` has missing values within its lists"),
        (np.ma.array([[1, 2]], mask=[[False, True]]), "column `x` is masked within its rows"),
        ([1.0, np.ma.masked], "column `x` has masked values in row 1, .*; None is a missing value"),
        (
            [np.ones(2), np.ma.array([1, 2, 3], mask=[0, 0, 1])],
            "column `x` has masked values in row 1, .*; only whole rows can be masked",
        ),
        (
            np.array(["2020", "NaT", "300000"], "M8[Y]"),
            "column `x` has 300000 in row 2. Times are within 292,000 years",
        ),
        (Series(FAR), "column `x` has 300000-01-01T00:00:00 in row 1. Times are within"),
        (pyarrow.array(FAR), "column `x` has 300000-01-01T00:00:00 in row 1. Times are within"),
        (pyarrow.array([2**30], pyarrow.int32()).cast(pyarrow.date32()), "column `x` has 2941775-04-07 in row 0"),
        ([np.datetime64("-300000-01-01")], "column `x` has -300000-01-01 in row 0. Times are within"),
        (pandas.DataFrame({"a": [1]}), "column `x` is a table"),
    ],
)
def test_unsupported_columns_raise_an_error(column: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        as_column("x", column)


@pytest.mark.parametrize(
    "frame",
    [
        pandas.DataFrame({"a": [1, 2], 3: ["x", None]}, index=[7, 5]),
        pyarrow.table({"a": [1, 2], "3": ["x", None]}),
        pyarrow.record_batch({"a": [1, 2], "3": ["x", None]}),
        {"a": [1, 2], "3": Series(["x", None])},
    ],
)
def test_a_frame_is_its_columns(frame: Any) -> None:
    assert is_table(frame)
    columns = as_columns(frame, "the rows")
    assert list(columns.values) == ["a", "3"]
    assert {name: mask.tolist() for name, mask in columns.valid.items()} == {"3": [True, False]}


def test_a_name_that_two_columns_have_raises_an_error() -> None:
    with pytest.raises(DataError, match="the rows have two columns a; rename one"):
        as_columns(pandas.DataFrame([[1, 2]], columns=["a", "a"]), "the rows")


def test_pandas_and_arrow_are_imported_only_for_their_own_objects() -> None:
    program = (
        "import sys, numpy, components.columns as columns\n"
        "columns.as_columns({'x': [1, None], 'y': numpy.zeros(2), 'z': ['a', 'b']}, 'rows')\n"
        "print({'pandas', 'pyarrow', 'polars'} & {*sys.modules})"
    )
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True).stdout == "set()\n"


def test_images_of_pillow_are_arrays_of_their_mode_turned_upright() -> None:
    pixels = np.arange(6, dtype=np.uint8).reshape(2, 3)
    mask = PIL.Image.fromarray(pixels)
    exif = mask.getexif()
    exif[0x0112] = 6
    values, _ = as_column("x", [mask, mask])
    np.testing.assert_array_equal(values, np.stack([np.rot90(pixels, -1)] * 2))  # type: ignore[arg-type]
    kept, _ = as_column("x", (mask, mask), keep_images=True)
    assert kept.tolist() == [mask, mask]  # type: ignore[union-attr]


def test_images_of_different_heights_are_an_array_of_arrays() -> None:
    values, _ = as_column("x", [np.zeros((2, 2, 3), np.uint8), np.zeros((2, 3, 3), np.uint8)])
    assert [each.shape for each in values.tolist()] == [(2, 2, 3), (2, 3, 3)]  # type: ignore[union-attr]


def test_times_with_and_without_a_zone_are_not_mixed() -> None:
    message = "column `x` has times with and without a time zone: row 2 has none, row 1 has one"
    with pytest.raises(DataError, match=message):
        as_columns({"x": [None, NOON, INSTANT]}, "the rows")
    for columns, options in (({"x": [None, NOON]}, {}), ({"x": [None, NOON, INSTANT]}, {"mixed_zones": True})):
        values = as_columns(columns, "the rows", **options).values["x"]
        assert isinstance(values, np.ndarray)
        assert values[1] == np.datetime64(INSTANT)
