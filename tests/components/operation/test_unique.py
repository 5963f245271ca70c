"""The first of equal rows, whatever the blocks are."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.data import Arrays, OperatedSource
from components.operation import Unique
from components.types import DataError, Ragged, UserError
from tests.helpers.operations import operate, rows_of_a_part

PARTS = st.fixed_dictionaries({"train": rows_of_a_part, "test": rows_of_a_part})


@settings(max_examples=60)
@given(PARTS, st.integers(1, 7), st.sampled_from([None, ("number",), ("text", "float"), ("float",)]))
def test_the_first_of_equal_rows_stays(parts: Any, block_rows: int, columns: tuple[str, ...] | None) -> None:
    def keep(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        first: dict[tuple[Any, ...], dict[str, Any]] = {}
        for row in rows:
            first.setdefault(tuple(row[name] for name in columns or sorted(row)), row)
        return [*first.values()]

    expected = {part: keep(rows) for part, rows in parts.items()}
    assert operate([Unique(columns=columns)], parts, block_rows) == expected


def test_the_rows_are_those_of_tensorflow() -> None:
    """`tf.data.Dataset.from_tensor_slices([1, 37, 2, 37, 2, 1]).unique()`."""
    table = [{"number": number} for number in (1, 37, 2, 37, 2, 1)]
    assert operate([Unique()], {"all": table}, 2) == {"all": [{"number": number} for number in (1, 37, 2)]}


def test_nan_and_missing_values_of_many_blocks_are_equal() -> None:
    numbers = np.random.default_rng(0).integers(0, 300, 1000)
    table: list[dict[str, Any]] = [{"number": number, "float": None} for number in numbers.tolist()]
    found = operate([Unique()], {"all": table}, 7)["all"]
    assert [row["number"] for row in found] == [*dict.fromkeys(numbers.tolist())]
    values = np.array([np.nan, 0.0, -0.0, np.nan])
    (block,) = OperatedSource(source=Arrays(columns={"x": values}), operations=(Unique(),)).blocks("all")
    assert np.array_equal(np.asarray(block.columns["x"]), values[:2], equal_nan=True)


def test_lists_are_compared() -> None:
    lists = Ragged(np.array([1, 2, 1, 2, 1]), np.array([0, 2, 4, 5]))
    (block,) = OperatedSource(source=Arrays(columns={"x": lists}), operations=(Unique(),)).blocks("all")
    assert block.source_rows.tolist() == [0, 2]  # type: ignore[attr-defined]


def test_columns_are_checked() -> None:
    with pytest.raises(UserError, match=r"is empty\. Name a column, or set it to null"):
        Unique(columns=())
    with pytest.raises(DataError, match=r"there is no column `txt` in all\. Did you mean text\?"):
        operate([Unique(columns=("txt",))], {"all": [{"text": "a"}]}, 1)
