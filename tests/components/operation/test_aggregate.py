"""Rows that are made of all rows with a key, whatever the blocks are."""

import statistics
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.data import Arrays, OperatedSource
from components.operation import Aggregate, Derive, aggregate
from components.types import DataError, Strings, UserError
from tests.helpers.operations import Row, Rows, list_rows, operate, rows_of_a_part

COLUMNS = {
    "rows": "count()",
    "known": "count(float)",
    "kinds": "count_distinct(float)",
    "total": "sum(number)",
    "double": "sum(float * 2)",
    "mean": "mean(float)",
    "std": "std(float)",
    "median": "median(float)",
    "least": "min(number)",
    "most": "max(float)",
    "first": "first(float)",
    "last": "last(number > 0)",
}


def aggregate_rows(rows: list[Row]) -> list[Row]:
    groups: dict[Any, list[Row]] = {}
    for row in rows:
        groups.setdefault((row["text"], row["flag"]), []).append(row)
    return [dict(zip(("text", "flag"), key, strict=True)) | aggregate_group(group) for key, group in groups.items()]


def aggregate_group(rows: list[Row]) -> Row:
    floats = [row["float"] for row in rows if row["float"] is not None]
    numbers = [row["number"] for row in rows if row["number"] is not None]
    return {
        "rows": len(rows),
        "known": len(floats),
        "kinds": len({*floats}),
        "total": sum(numbers) if numbers else None,
        "double": sum(floats) * 2 if floats else None,
        "mean": pytest.approx(statistics.mean(floats)) if floats else None,
        "std": pytest.approx(statistics.stdev(floats)) if len(floats) > 1 else None,
        "median": statistics.median(floats) if floats else None,
        "least": min(numbers, default=None),
        "most": max(floats, default=None),
        "first": floats[0] if floats else None,
        "last": numbers[-1] > 0 if numbers else None,
    }


rows_with_keys = rows_of_a_part.map(
    lambda rows: [row | {"flag": None if row["number"] == 0 else row["float"] == 0.5} for row in rows]
)


@settings(max_examples=60)
@given(st.fixed_dictionaries({"train": rows_with_keys, "test": rows_with_keys}), st.integers(1, 7), st.integers(1, 3))
def test_the_rows_of_a_key_become_one(parts: Any, block_rows: int, block_rows_after: int) -> None:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(aggregate, "BLOCK_ROWS", block_rows_after)
        made = operate([Aggregate(by=("text", "flag"), columns=COLUMNS)], parts, block_rows)
    assert made == {part: aggregate_rows(rows) for part, rows in parts.items()}


def test_times_and_texts_have_aggregates() -> None:
    times = np.array(["2024-03-01", "2024-01-01", "NaT", "2024-02-01"], "M8[s]")
    table = Arrays(columns={"key": [7, 8, 7, 8], "time": times, "word": ["b", "a", "c", "d"]})
    columns = {"low": "min(time)", "high": "max(time)", "word": "last(word)", "days": "count_distinct(`time`)"}
    source = OperatedSource(source=table, operations=(Aggregate(by="key", columns=columns),))
    (block,) = source.blocks("all")
    assert list_rows(iter([block])) == [
        {"key": 7, "low": times[0].item(), "high": times[0].item(), "word": "c", "days": 1},
        {"key": 8, "low": times[1].item(), "high": times[3].item(), "word": "d", "days": 2},
    ]


@pytest.mark.parametrize(
    ("keys", "groups"),
    [
        (np.array([0.0, -0.0, np.nan, 0.5, np.nan]), [2, 2, 1]),
        (np.array([2**53, 2**53 + 1, 2**53]), [2, 1]),
        (np.array([True, False, True]), [2, 1]),
        (np.array(["2024-01-02", "NaT", "2024-01-01", "NaT", "2024-01-02"], "M8[D]"), [2, 2, 1]),
        (Strings.from_bytes([b"of no row", b"a", b"b", b"a"])._replace(indices=np.array([3, 2, 1, 3])), [3, 1]),
        (Strings.from_bytes([b"b", b"", b"b"]), [2, 1]),
    ],
    ids=["floats", "integers", "booleans", "times", "dictionary", "texts"],
)
def test_keys_are_compared_exactly(keys: Any, groups: list[int]) -> None:
    source = OperatedSource(
        source=Arrays(columns={"key": keys}), operations=(Aggregate(by="key", columns={"rows": "count()"}),)
    )
    assert [row["rows"] for row in list_rows(source.blocks("all"))] == groups


SALES = [{"number": key, "float": value} for key, value in [(1, 0.5), (2, 1.0), (1, 2.0), (2, 3.0), (1, 4.0)]]


def divide(operations: Any, **splits: list[int]) -> dict[str, list[int]]:
    source = OperatedSource(source=Rows({"all": SALES}, 2, splits), operations=operations)
    return {split: rows.tolist() for split, rows in source.splits().items()}


def test_a_row_is_in_the_split_of_the_rows_that_it_is_made_of() -> None:
    operation = Aggregate(by="number", columns={"sum": "sum(float)"})
    assert divide((operation,), train=[1, 3], test=[0, 2, 4]) == {"train": [1], "test": [0]}
    source = OperatedSource(source=Rows({"all": SALES}, 2), operations=(operation,))
    assert source.left_out() == ()
    assert [source.locate_row(row) for row in range(2)] == ["row 0 of all", "row 1 of all"]


def test_rows_of_several_splits_are_an_error() -> None:
    operation = Aggregate(by="number", columns={"sum": "sum(float)"})
    message = (
        r"^operations\.0 \(aggregate\): the rows with number=1 are in several splits: row 0 of all in test and row 2 "
        r"of all in train\. A row is made of rows of one split; set `group=number`$"
    )
    with pytest.raises(DataError, match=message):
        divide((operation,), train=[1, 2, 3], test=[0, 4])
    with pytest.raises(DataError, match="row 1 of all in train and row 3 of all in none"):
        divide((operation,), train=[1], test=[0, 2, 4])
    derived = Derive(columns={"key": "number + 1"}), Aggregate(by="key", columns={"sum": "sum(float)"})
    with pytest.raises(DataError, match=r"operations\.1 .* set `group` to a column with one value"):
        divide(derived, train=[1, 2, 3], test=[0, 4])


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({}, "is empty"),
        ({"key": "count()"}, "is a column of the key, too"),
        ({"a": "price"}, r"`price` is no aggregate\. Write one call of count, .*, such as sum\(price\)"),
        ({"a": "sum(price) / count()"}, "is no aggregate"),
        ({"a": "max(price, 2)"}, "is no aggregate"),
        ({"a": "total(price)"}, r"`total\(price\)` calls total, which is no aggregate\. .*sum"),
        ({"a": "sum(price +)"}, "is no valid expression"),
        ({"a": "sum(upper(city))"}, r"`sum\(upper\(city\)\)` takes texts, but sum needs whole numbers or numbers"),
        ({"a": "min(upper(city))"}, "min needs whole numbers or numbers or booleans or times"),
    ],
)
def test_aggregates_are_checked_before_any_row_is_read(columns: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        Aggregate(by="key", columns=columns)


@pytest.mark.parametrize(
    ("by", "text", "values", "message"),
    [
        ("key", "sum(x)", np.array([2**62, 2**62]), r"`sum\(x\)` is too large for the rows with key=1, such as row 0"),
        ("key", "mean(x)", np.array([1e308, 1e308]), r"`mean\(x\)` is too large for the rows with key=1"),
        ("key", "sum(x)", np.array(["a", "b"]), r"`sum\(x\)` takes texts, but sum needs"),
        ("kye", "sum(x)", np.arange(2), r"there is no column `kye` in the arrays\. Did you mean key"),
    ],
)
def test_values_without_an_aggregate_are_errors(by: str, text: str, values: Any, message: str) -> None:
    table = Arrays(columns={"key": np.ones(2, int), "x": values})
    source = OperatedSource(source=table, operations=(Aggregate(by=by, columns={"a": text}),))
    with pytest.raises(DataError, match=rf"^operations\.0 \(aggregate\): .*{message}"):
        source.sizes()


def test_sums_of_infinite_values_are_infinite() -> None:
    table = Arrays(columns={"key": np.ones(2, int), "x": np.array([np.inf, 1.0])})
    source = OperatedSource(source=table, operations=(Aggregate(by="key", columns={"a": "sum(x)"}),))
    assert list_rows(source.blocks("all")) == [{"key": 1, "a": np.inf}]
