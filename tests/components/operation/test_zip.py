"""Columns of another source, row by row, whatever the blocks are."""

from typing import Any, cast

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.data import Arrays, Csv, OperatedSource
from components.operation import Filter, Zip
from components.types import DataError, Source, UserError
from tests.helpers.operations import Rows, operate, rows_of_a_part


def make_other(sizes: dict[str, int], block_rows: int = 2) -> Source:
    parts = {part: [{"flag": row % 3 == 0} for row in range(size)] for part, size in sizes.items()}
    return cast(Source, Rows(parts, block_rows))


@settings(max_examples=40)
@given(st.fixed_dictionaries({"train": rows_of_a_part, "test": rows_of_a_part}), st.integers(1, 7), st.integers(1, 7))
def test_each_row_gets_the_values_of_its_number(parts: Any, block_rows: int, other_block_rows: int) -> None:
    sizes = {part: len(rows) for part, rows in parts.items()}
    operations = [
        Filter(where="is_null(number) or number > 0"),
        Zip(other=make_other(sizes, other_block_rows), columns={"flag": "added"}),
    ]
    expected = {
        part: [
            row | {"added": number % 3 == 0}
            for number, row in enumerate(rows)
            if row["number"] is None or row["number"] > 0
        ]
        for part, rows in parts.items()
    }
    assert operate(operations, parts, block_rows) == expected


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"train": 2}, r"train and train have different numbers of rows: train 2, test 1, and train 2\. .* `join`"),
        ({"train": 1, "test": 2}, "train 2, test 1, and train 1, test 2"),
        ({"train": 3}, "train 2, test 1, and train 3"),
    ],
)
def test_other_numbers_of_rows_are_errors(sizes: dict[str, int], message: str) -> None:
    parts = {"train": [{"number": 1}, {"number": 2}], "test": [{"number": 3}]}
    with pytest.raises(DataError, match=rf"^operations\.0 \(zip\): .*{message}"):
        operate([Zip(other=make_other(sizes), columns="flag")], parts, 2)


def test_a_source_without_all_of_its_rows_is_an_error(in_empty_folder: Any) -> None:
    in_empty_folder.joinpath("a.csv").write_text("a,price\n1,2\n2,\n3,4\n")
    table = cast(Source, Csv(path="a.csv", target="price", on_missing_target="drop"))
    numbers = cast(Source, Arrays(columns={"number": np.arange(2)}))
    for source, other, columns in ((table, numbers, "number"), (numbers, table, "a")):
        operated = OperatedSource(source=source, operations=(Zip(other=other, columns=columns),))
        with pytest.raises(DataError, match=r"a\.csv doesn't have all of its rows \(1 of 3 rows ha.* price.*\)"):
            operated.sizes()


def test_names_are_checked() -> None:
    with pytest.raises(UserError, match="is empty"):
        Zip(other=make_other({}), columns=())
    with pytest.raises(UserError, match="`c` is the name of two columns"):
        Zip(other=make_other({}), columns={"a": "c", "b": "c"})
    with pytest.raises(DataError, match="all has a column `flag`, too"):
        operate([Zip(other=make_other({"all": 1}), columns="flag")], {"all": [{"flag": True}]}, 2)
