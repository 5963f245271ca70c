"""Rows that meet a condition, whatever the blocks are."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.operation import Filter
from components.types import DataError, UserError
from tests.helpers.operations import operate, rows_of_a_part


@settings(max_examples=40)
@given(st.fixed_dictionaries({"train": rows_of_a_part, "test": rows_of_a_part}), st.integers(1, 7))
def test_the_rows_that_meet_the_condition_are_kept(parts: Any, block_rows: int) -> None:
    def meets(row: dict[str, Any]) -> bool:
        is_small = row["number"] is not None and row["number"] < 1
        return is_small or row["text"] == "a"

    kept = operate([Filter(where="number < 1 or text == 'a'")], parts, block_rows)
    assert kept == {part: [row for row in rows if meets(row)] for part, rows in parts.items()}


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ("number + 1", "`number \\+ 1` gives numbers, not true or false"),
        ("number <", "is no valid expression"),
    ],
)
def test_a_condition_is_checked_before_any_row_is_read(where: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        Filter(where=where)


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ("text", r"^operations\.0 \(filter\): `text` gives texts, not true or false"),
        (
            "text < number",
            r"^operations\.0 \(filter\): all: the expression .* compares texts \(`text`\) with whole numbers",
        ),
    ],
)
def test_a_condition_of_a_wrong_type_is_an_error(where: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        operate([Filter(where=where)], {"all": [{"number": 1, "text": "a"}]}, 1)
