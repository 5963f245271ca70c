"""Tables from Python: texts are read as in a CSV file, and other columns keep their types."""

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pyarrow
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.data import Csv, Frame
from components.types import DataError, Ragged, Strings

TEXTS = {
    "price": ["$1,200", "$950", "$3"],
    "when": ["31.12.2020", "1.2.2021", "5.6.2021"],
    "share": ["5%", "10%", "7.5%"],
    "code": ["007", "010", "123"],
    "gap": ["1.5", "?", "2"],
    "truth": ["true", "false", "true"],
    "name": ["a", "", "b, c"],
    "lines": ["x\ny", 'the "z"', "#1"],
}


def values(source: Any, name: str) -> list[Any]:
    column = source.table.values[name]
    return column.tolist() if isinstance(column, Strings) else np.asarray(column).astype(str).tolist()


@pytest.mark.parametrize("name", TEXTS)
def test_texts_are_read_as_in_a_csv_file(name: str, tmp_path: Path) -> None:
    with (tmp_path / "t.csv").open("w", newline="") as file:
        csv.writer(file).writerows(zip(*([key, *texts] for key, texts in TEXTS.items()), strict=True))
    of_file = Csv(path=str(tmp_path / "t.csv"), target="code")
    frame = Frame(columns={**TEXTS, "number": [1.5, 2.5, 3.5]}, target="code")
    assert values(frame, name) == values(of_file, name)
    assert frame.table.types[name] == of_file.table.types[name]
    mask = of_file.table.valid.get(name, np.ones(3, bool))
    np.testing.assert_array_equal(frame.table.valid.get(name, np.ones(3, bool)), mask)
    keys = dict.fromkeys(TEXTS)
    assert frame.inferred_options(keys).get("marks") == of_file.inferred_options(keys).get("marks")


@settings(max_examples=30, deadline=None)
@given(st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=5), min_size=1, max_size=8))
def test_any_text_is_kept_if_its_column_is_declared_as_text(texts: list[str]) -> None:
    frame = Frame(columns={"x": texts}, types={"x": "string"}, nulls={"x": ()}, target="x")
    assert values(frame, "x") == texts


def test_columns_with_types_keep_them() -> None:
    table = pandas.DataFrame(
        {
            "int": [1, 2, 3],
            "float": [1.5, np.nan, 3],
            "bool": [True, False, True],
            "time": pandas.to_datetime(["2020-01-01", None, "2020-01-03"]),
            "category": pandas.Categorical(["1", "2", "1"]),
            "nullable": pandas.array([1, None, 3], "Int64"),
        }
    )
    for data in (table, pyarrow.table(table.drop(columns="category")), dict(table.items())):
        frame = Frame(columns=data)
        expected = {"int": "int", "float": "float", "bool": "bool", "time": "timestamp", "category": "string"}
        assert {name: kind for name, kind in frame.table.types.items() if name != "nullable"} == {
            name: kind for name, kind in expected.items() if name in frame.table.types
        }
        assert [name for name, mask in frame.table.valid.items() if not mask[1]] == ["float", "time", "nullable"]


def test_python_s_numbers_with_gaps_are_numbers_and_arrays_are_kept() -> None:
    images = np.zeros((2, 4, 4, 1), np.uint8)
    frame = Frame(columns={"x": [1, None], "y": [None, 0.5], "image": images, 3: ["a", "b"]}, target="3")
    assert frame.table.types == {"x": "int", "y": "float", "3": "string"}
    assert frame.table.values["image"] is images
    assert frame.profile().notes == ("image is left out: nothing is inferred for a column of arrays or objects",)


def test_a_declared_type_and_missing_spellings_hold_for_columns_with_types() -> None:
    columns = {"code": [1, 2], "whole": [1.0, np.nan], "x": [-999, 5], "when": [0.0, 86_400_000.0]}
    frame = Frame(
        columns=columns, types={"code": "string", "whole": "string"}, nulls={"x": (-999,)}, dates={"when": "seconds"}
    )
    assert values(frame, "code") == ["1", "2"]
    assert values(frame, "whole") == ["1", ""], "a whole number has no decimals, whatever its type"
    assert frame.table.valid["x"].tolist() == [False, True]
    assert values(frame, "when")[1].startswith("1972-09-27")
    numbers = Frame(columns={"x": [1.234, 5.5], "y": ["1.234,5", "6,5"]}, decimal="comma", nulls=(-1,))
    assert numbers.table.values["x"].tolist() == [1.234, 5.5]  # type: ignore[union-attr]
    assert numbers.table.values["y"].tolist() == [1234.5, 6.5]  # type: ignore[union-attr]
    with pytest.raises(DataError, match=r"row 1: column `x` is 1\.5, not of type int"):
        _ = Frame(columns={"x": [1, 1.5]}, types={"x": "int"}).table


def test_the_fingerprint_depends_on_the_values_and_the_options() -> None:
    columns = {"x": ["1", "2", "3", "4"], "y": [1, 2, 3, 4]}
    tables = [
        columns,
        columns | {"x": ["1", "2", "3", "5"]},
        columns | {"y": [1.0, 2, 3, 4]},
        columns | {"y": [1, 2, 3, None]},
    ]
    fingerprints = [Frame(columns=table, target="y").fingerprint() for table in tables]
    fingerprints += [
        Frame(columns=columns, **options).fingerprint()
        for options in ({"types": {"x": "string"}}, {"seed": 1}, {"drop": ("x",)})
    ]
    assert len({*fingerprints}) == len(fingerprints)
    assert Frame(columns=dict(columns)).fingerprint() == Frame(columns=columns).fingerprint()


def test_a_gap_in_the_only_column_is_a_row() -> None:
    frame = Frame(columns={"x": ["a", None, "b", ""]})
    assert values(frame, "x") == ["a", "", "b", ""]
    assert frame.table.valid["x"].tolist() == [True, False, True, False]


def test_rows_without_a_target_are_left_out_and_their_numbers_kept() -> None:
    lists = Ragged(np.arange(9), np.array([0, 1, 3, 4, 6, 8, 9]))
    columns = {"x": list("abcdef"), "y": [1, None, 3, 4, 5, 6], "lists": lists}
    frame = Frame(columns=columns, target="y", on_missing_target="drop")
    assert frame.table.values["lists"].values.tolist() == [0, 3, 4, 5, 6, 7, 8]  # type: ignore[union-attr]
    assert frame.left_out() == ("1 of 6 rows has no value of y and is left out",)
    assert frame.row_numbers().tolist() == [0, 2, 3, 4, 5]  # type: ignore[union-attr]
    (block,) = frame.blocks("all")
    assert block.locate(1) == "row 2 of the data"


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (3, "the data are of the type int. A mapping of columns by name, or a data frame"),
        ({}, "the data must have columns"),
        ({"x": []}, "the data has no rows"),
        ({"x": [1], "y": [1, 2]}, "must have columns with the same number of rows, got x 1, y 2"),
        ({"x": [1, "a"]}, "column `x` doesn't have values of one type"),
        ({"x": ["a\0"]}, "have a text with a NUL character"),
    ],
)
def test_what_is_no_table_is_an_error(columns: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        _ = Frame(columns=columns).table


def test_an_option_for_a_missing_column_is_an_error() -> None:
    with pytest.raises(DataError, match="has no column `y`, which `types` lists"):
        _ = Frame(columns={"x": [1]}, types={"y": "int"}).table
    with pytest.raises(DataError, match="has no column z, which `drop` lists"):
        _ = Frame(columns={"x": [1]}, drop=("z",)).table
