"""Functions of the user: what they get and return, whatever the blocks are, and their errors."""

from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.data import Arrays, OperatedSource
from components.operation import Filter, Function
from components.tracked_block import TrackedBlock
from components.types import Block, DataError, LazyColumns, Ragged, Strings, UserError, row_count
from tests.helpers.operations import Rows, list_rows, operate, rows_of_a_part

PARTS = st.fixed_dictionaries({"train": rows_of_a_part, "test": rows_of_a_part})
THREE = [{"number": number, "text": "ab"[number % 2]} for number in range(3)]


def compute(columns: dict[str, Any], factor: int = 2) -> dict[str, Any]:
    return {
        "float": columns["float"] + 1,
        "number": columns["number"] * factor,
        "text": [None if text is None else text.upper() for text in columns["text"]],
        "listed": [None if text is None else [text] * 2 for text in columns["text"]],
        "series": pd.Series(columns["float"]) > 0,
    }


@settings(max_examples=40)
@given(PARTS, st.integers(1, 7))
def test_columns_are_computed_and_a_gap_stays_one(parts: Any, block_rows: int) -> None:
    def expect(row: dict[str, Any]) -> dict[str, Any]:
        number, value, text = row["number"], row["float"], row["text"]
        return {
            "number": None if number is None else number * 3,
            "float": None if value is None else value + 1,
            "text": None if text is None else text.upper(),
            "listed": [] if text is None else [text] * 2,
            "series": value is not None and value > 0,
        }

    has_types = all(any(row["text"] is not None for row in rows[:block_rows]) for rows in parts.values() if rows)
    function = Function(function=partial(compute, factor=3), columns=("number", "float", "text"))
    if not has_types:
        return
    found = operate([function], parts, block_rows)
    found = {part: [row | {"listed": row["listed"] or []} for row in rows] for part, rows in found.items()}
    assert found == {part: [*map(expect, rows)] for part, rows in parts.items()}


def repeat(columns: dict[str, Any]) -> tuple[dict[str, Any], np.ndarray]:
    """Each row as often as its number, in reverse order."""
    numbers = np.ma.filled(columns["number"], 0)
    rows = np.repeat(np.arange(len(numbers)), np.maximum(numbers, 0))[::-1]
    return {"position": rows, "number": columns["number"][rows] + 10}, rows


@settings(max_examples=40)
@given(PARTS, st.integers(1, 7))
def test_a_function_may_leave_out_and_repeat_rows(parts: Any, block_rows: int) -> None:
    def expect(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        found = []
        for start in range(0, len(rows), block_rows):
            repeated = [
                row | {"number": row["number"] + 10, "position": position}
                for position, row in enumerate(rows[start : start + block_rows])
                for _ in range(row["number"] or 0)
            ]
            found += repeated[::-1]
        return found

    expected = {part: expect(rows) for part, rows in parts.items()}
    assert operate([Function(function=repeat, changes_rows=True)], parts, block_rows) == expected
    source = OperatedSource(
        source=Rows(parts, block_rows), operations=(Function(function=repeat, columns=("number",), changes_rows=True),)
    )
    assert {part: list_rows(source.blocks(part)) for part in parts} == expected
    every = [row for rows in parts.values() for row in rows]
    for part, rows in expected.items():
        assert [every[row]["text"] for row in source.result.source_rows[part]] == [row["text"] for row in rows]


def test_new_rows_pass_through_a_function_that_keeps_the_rows() -> None:
    assert Function(function=compute).applies_to_new_rows
    assert not Function(function=compute, changes_rows=True).applies_to_new_rows


def run(
    function: Callable[..., Any], table: list[dict[str, Any]] | Block = THREE, rows: int = 5, **options: Any
) -> Any:
    return operate([Function(function=function, **options)], {"all": table}, rows)["all"]  # type: ignore[dict-item]


def test_the_function_gets_arrays_by_column() -> None:
    seen: list[dict[str, Any]] = []
    columns = {
        "whole": np.arange(3),
        "lists": Ragged(np.arange(4), np.array([0, 1, 1, 4])),
        "nested": Ragged(Ragged(Strings.from_bytes([b"a", b"b"]), np.array([0, 2, 2])), np.array([0, 1, 2, 2])),
        "wide": np.array(["a", "bcd", ""]),
        "image": np.zeros((3, 2, 2), np.uint8),
        "day": np.array(["2020-01-01", "NaT", "2020-01-03"], "M8[D]"),
    }
    source = OperatedSource(
        source=Arrays(columns=columns), operations=(Function(function=lambda each: seen.append(each) or each),)
    )
    (block,) = source.blocks("all")
    (given_columns,) = seen
    assert list_rows(iter([block])) == list_rows(Arrays(columns=columns).blocks("all"))
    assert given_columns["lists"] == [[0], [], [1, 2, 3]]
    assert given_columns["nested"] == [[["a", "b"]], [[]], []]
    assert given_columns["wide"].tolist() == ["a", "bcd", ""]
    for name in ("whole", "image", "day", "wide"):
        assert given_columns[name].shape == columns[name].shape
        assert not given_columns[name].flags.writeable


def test_lists_stay_lists_if_all_have_the_same_length() -> None:
    found = Arrays(columns={"lists": Ragged(np.arange(4), np.array([0, 1, 2, 4]))})
    operation = Function(function=lambda columns: {"first": [row[:1] for row in columns["lists"]]})
    (block,) = OperatedSource(source=found, operations=(operation,)).blocks("all")
    assert isinstance(block.columns["first"], Ragged)


def test_files_are_read_for_the_function_only_and_bytes_stay_files() -> None:
    def read_image(rows: np.ndarray) -> Strings:
        return Strings.from_bytes([b"%d" % row for row in rows])

    class Images(Rows):
        def blocks(self, part: str) -> Any:
            for block in super().blocks(part):
                lazy = LazyColumns(block.columns, {"image": read_image}, np.arange(row_count(block.columns["number"])))
                yield Block(lazy, block.valid, "files", block.first_row, files=frozenset(["image"]))

    operation = Function(
        function=lambda columns: {
            "half": [each * 2 for each in columns["image"]],
            "size": [*map(len, columns["image"])],
        },
        columns=("image",),
    )
    (block,) = OperatedSource(source=Images({"all": THREE}), operations=(operation,)).blocks("all")
    assert isinstance(block.columns, LazyColumns)
    assert block.columns.read_columns.keys() == {"number", "text", "half", "size"}
    assert block.files == {"image", "half"}
    assert [*block.columns["half"].iterate_bytes()] == [b"00", b"11", b"22"]  # type: ignore[union-attr]


def test_columns_that_a_function_adds_are_used_with_those_that_it_reads() -> None:
    function = Function(function=lambda columns: {"double": columns["number"] * 2}, columns=("number",))
    seen: list[str] = []

    class Spy(Filter):
        def apply(self, blocks: Iterator[TrackedBlock], counts: Counter[str]) -> Iterator[TrackedBlock]:
            for block in blocks:
                seen.extend(block.columns)
                yield block

    operations = (Spy(where="number > 0"), function, Filter(where="double > 0"))
    source = OperatedSource(source=Rows({"all": THREE}), operations=operations)
    assert list_rows(source.with_used_columns(["double"]).blocks("all")) == [{"double": 2}, {"double": 4}]
    assert seen == ["number"]


def raise_late(columns: dict[str, Any]) -> dict[str, Any]:
    if 2 in columns["number"]:
        raise ValueError("no city")
    return {}


def write_into(columns: dict[str, Any]) -> dict[str, Any]:
    columns["number"] += 1
    return columns


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (raise_late, r'raise_late raised ValueError: no city, at test_function\.py:\d+: raise ValueError\("no city"\)'),
        (raise_late, "for row 2 of all"),
        (write_into, r"output array is read-only, at test_function\.py:\d+: columns\[\"number\"\] \+= 1"),
        (
            lambda columns: None,
            r"returned None for the rows from row 0 of all to row 1 of all\. It must return a map",
        ),
        (
            lambda columns: {"x": [1]},
            "returned `x` with 1 row for the rows from row 0 of all to row 1 of all, which are 2",
        ),
        (lambda columns: {"x": 3}, "column `x` is 3, not an array of rows"),
        (
            lambda columns: {"x": [None] * len(columns["number"])},
            "only missing values as `x` for .* its type is",
        ),
        (
            lambda columns: {"x": columns["number"] if 2 in columns["number"] else columns["number"] + 0.5},
            r"the rows from row 2 of all have `x` as single whole numbers \(int64\), and those from row 0 of all have "
            r"`x` as single floats \(float64\)",
        ),
        (
            lambda columns: {"x": ["a", 1]},
            r"column `x` doesn't have values of one type: row 0 is 'a' \(str\)",
        ),
    ],
)
def test_an_error_names_the_operation_the_function_and_the_rows(function: Any, message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        run(function, rows=2)
    assert str(caught.value).startswith("operations.0 (function): ")


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        (
            {"x": [1, 2, 3]},
            "returned a value of the type dict .* It must return `columns, rows`, because",
        ),
        (({"x": [1, 2, 3]}, [0, 1]), "returned `x` with 3 rows for 2 positions of rows"),
        (({}, [0, 3]), "returned the row 3 for the rows from .* positions 0 to 2"),
        (({}, [-1]), "returned the row -1 "),
        (({}, [True, False, True]), r"rows of the type bool and shape \(3,\).* np\.flatnonzero\(mask\)"),
    ],
)
def test_rows_are_positions_in_the_block(returned: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        run(lambda columns: returned, changes_rows=True)


def test_a_part_in_which_all_values_are_missing_has_the_type_of_those_before() -> None:
    table: Any = [{"number": 1, "text": "a"}, {"number": 2, "text": None}]
    found = run(lambda columns: {"x": columns["text"], "y": [*columns["text"]]}, table, 1)
    assert [(row["x"], row["y"]) for row in found] == [("a", "a"), (None, None)]


def test_columns_are_checked() -> None:
    with pytest.raises(UserError, match=r"is empty\. Name a column, or set it to null"):
        Function(function=compute, columns=())
    with pytest.raises(DataError, match=r"there is no column `nmber` in all\. Did you mean number\?"):
        run(compute, columns=("nmber",))


def test_the_fingerprint_follows_the_source_of_the_function(
    write_module: Callable[[str, str], None], in_empty_folder: Path
) -> None:
    def fingerprint(text: str) -> str:
        write_module("my_operation", text)
        import my_operation  # type: ignore[import-not-found]

        return OperatedSource(source=Rows({}), operations=(Function(function=my_operation.clean),)).fingerprint()

    first, same, other = (fingerprint(f"def clean(columns):\n    return {text}\n") for text in ("{}", "{}", "columns"))
    assert first == same != other
