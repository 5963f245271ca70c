"""Columns that expressions compute, whatever the blocks are."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.operation import Derive
from components.types import DataError, UserError
from tests.helpers.operations import operate, rows_of_a_part


@settings(max_examples=40)
@given(st.fixed_dictionaries({"train": rows_of_a_part, "test": rows_of_a_part}), st.integers(1, 7))
def test_columns_are_computed_in_their_order(parts: Any, block_rows: int) -> None:
    def compute(row: dict[str, Any]) -> dict[str, Any]:
        row = row | {"sum": None if None in (row["number"], row["float"]) else row["number"] + row["float"]}
        row |= {"number": None if row["number"] is None else row["number"] * 2}
        return row | {"kept": row["text"] if row["number"] is None or row["number"] > 0 else "low"}

    columns = {"sum": "number + float", "number": "number * 2"}
    columns["kept"] = "text if is_null(number) or number > 0 else 'low'"
    expected = {part: [*map(compute, rows)] for part, rows in parts.items()}
    assert operate([Derive(columns=columns)], parts, block_rows) == expected


def test_the_columns_that_are_read_and_computed_are_known() -> None:
    derive = Derive(columns={"a": "b + c", "b": "a + d"})
    assert [*derive.columns_read] == ["b", "c", "d"]
    assert [*derive.columns_computed] == ["a", "b"]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({}, "is empty"),
        ({"a": "1 +"}, "is no valid expression"),
        ({"a": "null if is_null(b) else null"}, "is always missing"),
    ],
)
def test_expressions_are_checked_before_any_row_is_read(columns: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        Derive(columns=columns)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("number // 0", r"^operations\.0 \(derive\): row 0 of all: `number // 0` divides by 0, where number is 1"),
        ("text + number", r"^operations\.0 \(derive\): all: the expression .* texts \(`text`\)"),
        ("nmber + 1", r"^operations\.0 \(derive\): there is no column `nmber` in all\. Did you mean number\?"),
    ],
)
def test_an_error_names_the_operation_and_the_row(text: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        operate([Derive(columns={"a": text})], {"all": [{"number": 1, "text": "a"}]}, 1)
