"""Columns of another table, which are found by keys, whatever the blocks are."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.data import Arrays, Csv, OperatedSource
from components.operation import Join, keys
from components.types import DataError, Source, UserError
from tests.helpers.operations import Row, Rows, list_rows, operate, rows_of_a_part

numbers = st.none() | st.integers(-2, 2)
texts = st.none() | st.sampled_from(["", "a", "ü"])
others = st.lists(
    st.fixed_dictionaries({"number": numbers, "text": texts, "float": st.none() | st.sampled_from([0.5, 2.0])}),
    max_size=9,
    min_size=1,
    unique_by=lambda row: (row["number"], row["text"]),
)


def make_source(rows: Sequence[Row], block_rows: int = 2) -> Source:
    return cast(Source, Rows({"train": rows[:3], "test": rows[3:]}, block_rows))


def join(rows: Sequence[Row], other: Sequence[Row], on_unmatched: str) -> list[Row]:
    by_key = {(row["number"], row["text"]): row["float"] for row in other}
    joined = []
    for row in rows:
        key = row["number"], row["text"]
        is_matched = None not in key and key in by_key
        if is_matched or on_unmatched == "gaps":
            joined.append(row | {"joined": by_key[key] if is_matched else None})
    return joined


@pytest.mark.parametrize("collide", [False, True])
@settings(max_examples=40)
@given(
    st.fixed_dictionaries({"train": rows_of_a_part, "test": rows_of_a_part}),
    others,
    st.integers(1, 7),
    st.sampled_from(["gaps", "drop"]),
)
def test_rows_get_the_values_of_their_keys(
    collide: bool, parts: Any, other: Any, block_rows: int, on_unmatched: Any
) -> None:
    operation = Join(
        other=make_source(other), by=("number", "text"), columns={"float": "joined"}, on_unmatched=on_unmatched
    )
    expected = {part: join(rows, other, on_unmatched) for part, rows in parts.items()}
    with pytest.MonkeyPatch.context() as patched:
        if collide:
            combine = keys.combine_hashes
            patched.setattr(keys, "combine_hashes", lambda hashes: combine(hashes) % np.uint64(3))
        assert operate([operation], parts, block_rows) == expected


@pytest.mark.parametrize(
    ("rows", "other", "expected"),
    [
        (np.array([1.0, 3.0]), np.array([3, 1]), [1, 0]),
        (np.array([2**53 + 1, 2**53]), np.array([2.0**53, 3.0]), [None, 0]),
        (np.array(["2024-01-02", "2024-01-01"], "M8[D]"), np.array(["2024-01-01", "2024-01-02"], "M8[ns]"), [1, 0]),
        (np.array([1_000_000_001], "M8[ns]"), np.array([1_000_000], "M8[us]"), [None]),
        (np.array([True, False]), np.array([False, True]), [1, 0]),
        (np.array([-0.0, np.nan]), np.array([np.nan, 0.0]), [1, None]),
    ],
    ids=["floats", "large", "times", "nanoseconds", "booleans", "zero"],
)
def test_values_of_other_types_are_equal_if_they_are_the_same(rows: Any, other: Any, expected: list[Any]) -> None:
    table = cast(Source, Arrays(columns={"key": other, "at": np.arange(len(other))}))
    source = OperatedSource(
        source=Arrays(columns={"key": rows}),
        operations=(Join(other=table, by="key", columns="at", on_unmatched="gaps"),),
    )
    assert [row["at"] for row in list_rows(source.blocks("all"))] == expected


STORES = [{"number": 1, "text": "a", "float": 0.5}, {"number": 2, "text": "b", "float": 1.5}]
SALES = [{"number": 2, "text": "b"}, {"number": 3, "text": "c"}, {"number": None, "text": None}]


@pytest.mark.parametrize(
    ("by", "message"),
    [
        (
            "number",
            r"^operations\.0 \(join\): row 1 of all: no row of train has the key number=3\. `number` is from 1 to 2 "
            r"there\. Correct it, or add the row; for missing values, set on_unmatched: gaps; to leave out such rows",
        ),
        ("text", r"row 1 of all: no row of train has the key text='c'\. `text`: a, b"),
        (("number", "text"), r"no row of train has the key number=3 and text='c'"),
        (
            {"number": "text"},
            r"`number` of all has whole numbers, and .* has texts, .* set `types\.number=string`, or "
            r"set types: \{text: int\} in `other`",
        ),
        ({"number": "nmber"}, r"there is no column `nmber` in train\. Did you mean number"),
        ({"nmber": "number"}, r"there is no column `nmber` in all\. Did you mean number"),
    ],
)
def test_keys_that_are_not_there_are_errors(by: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        operate([Join(other=make_source(STORES), by=by, columns="float")], {"all": SALES}, 3)


def test_a_missing_key_is_an_error_unless_such_rows_are_allowed() -> None:
    operation = Join(other=make_source(STORES), by="number", columns="float")
    with pytest.raises(DataError, match=r"row 1 of all: a part of the key is missing \(number=missing\)"):
        operate([operation], {"all": [SALES[0], SALES[2]]}, 3)


def test_two_rows_of_a_key_are_an_error() -> None:
    stores = [*STORES, {"number": None, "text": "x", "float": 0.0}, {"number": 2, "text": "c", "float": 2.0}]
    message = r"two rows of the other table have the key number=2: row 1 of train and row 0 of test"
    with pytest.raises(DataError, match=message):
        operate([Join(other=make_source(stores), by="number", columns="float")], {"all": SALES}, 3)


def test_a_name_that_both_have_is_an_error() -> None:
    message = r"all has a column `text`, too\. Give that of train another name: columns: \{text: other_text\}"
    with pytest.raises(DataError, match=message):
        operate([Join(other=make_source(STORES), by="number", columns="text")], {"all": SALES[:1]}, 3)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"by": (), "columns": "a"}, "is empty"),
        ({"by": "a", "columns": {}}, "is empty"),
        ({"by": "a", "columns": {"b": "c", "d": "c"}}, "`c` is the name of two columns"),
        ({"by": "a", "columns": "a"}, "`a` is the name of two columns"),
    ],
)
def test_names_are_checked_before_any_row_is_read(fields: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        Join(other=make_source(STORES), **fields)


def test_what_has_no_row_in_the_other_table_is_counted() -> None:
    def describe(on_unmatched: Any) -> Callable[[], tuple[str, ...]]:
        operation = Join(other=make_source(STORES), by="number", columns="float", on_unmatched=on_unmatched)
        return OperatedSource(source=Rows({"all": SALES}), operations=(operation,)).notes

    reason = "2 rows: no row of the other table has their key"
    assert describe("drop")() == (f"operations.0 (join) leaves out 2 of 3 rows; {reason}",)
    assert describe("gaps")() == (f"operations.0 (join): {reason}",)


def test_the_fingerprint_changes_with_the_other_table(tmp_path: Path) -> None:
    def find_fingerprint(text: str) -> str:
        (tmp_path / "stores.csv").write_text(text)
        operation = Join(other=cast(Source, Csv(path=str(tmp_path / "stores.csv"))), by="number", columns="size")
        return OperatedSource(source=Rows({"all": SALES}), operations=(operation,)).fingerprint()

    first = find_fingerprint("number,size\n2,1\n")
    assert find_fingerprint("number,size\n2,12\n") != first
    (tmp_path / "stores.csv").unlink()
    operation = Join(other=cast(Source, Csv(path=str(tmp_path / "stores.csv"))), by="number", columns="size")
    with pytest.raises(DataError, match=r"^operations\.0 \(join\): .*stores\.csv"):
        OperatedSource(source=Rows({"all": SALES}), operations=(operation,)).fingerprint()
