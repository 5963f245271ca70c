"""The profile of a table after operations is that of a table with the rows that they return."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.data import Arrays, Csv, Frame, Mixed, OperatedSource, block_store
from components.operation import Derive, Explode, Filter, Rename
from components.tracked_block import TrackedBlock
from components.types import ColumnProfile, DataError

FACTS = ("kind", "rows", "missing_count", "distinct_count", "is_constant", "is_prose")
NUMBERS = ("skewness", "minimum", "maximum", "infinite_count", "sentinels", "likely_dates")
rows = st.lists(
    st.tuples(
        st.sampled_from([0.5, 2.0, -999.0, np.nan]), st.sampled_from(["", "a", "b c d e f"]), st.integers(-2, 20240131)
    ),
    min_size=1,
    max_size=12,
)


def make_frame(table: list[Any], **options: Any) -> Frame:
    floats, texts, numbers = zip(*table, strict=True)
    columns = {"float": np.array(floats), "text": [text or None for text in texts], "number": np.array(numbers)}
    return Frame(columns=columns, **options)


def list_facts(profile: ColumnProfile) -> dict[str, Any]:
    has_numbers = profile.kind != "string" and profile.missing_count < profile.rows
    return {fact: getattr(profile, fact) for fact in (*FACTS, *(NUMBERS if has_numbers else ()))}


@settings(max_examples=30, deadline=None)
@given(rows, st.booleans())
def test_kept_columns_have_the_facts_of_the_kept_rows(table: list[Any], spooled: bool) -> None:
    kept = [row for row in table if row[2] >= 0]
    if not kept:
        return
    types: dict[str, Any] = {"float": "float", "text": "string"}
    with pytest.MonkeyPatch.context() as patch:
        if spooled:
            patch.setattr(block_store, "MAX_ARRAY_BYTES", 8)
        source = OperatedSource(source=make_frame(table, types=types), operations=(Filter(where="number >= 0"),))
        found = {column.name: list_facts(column) for column in source.profile().columns}
    expected = {column.name: list_facts(column) for column in make_frame(kept, types=types).profile().columns}
    assert found == expected


@dataclass(frozen=True)
class Reverse:
    """Reverses the rows of each block."""

    applies_to_new_rows: ClassVar[bool] = False
    columns_read: ClassVar[tuple[str, ...]] = ()
    columns_computed: ClassVar[tuple[str, ...]] = ()

    def apply(self, blocks: Iterator[TrackedBlock], counts: Counter[str]) -> Iterator[TrackedBlock]:
        return (block.take(np.arange(block.rows)[::-1]) for block in blocks)


def test_facts_know_the_rows_of_the_source(tmp_path: Path) -> None:
    """A counter is one in any order, and messages have the lines and the spellings of the file."""
    path = tmp_path / "a.csv"
    path.write_text("id,n,y\n" + "".join(f"{n},{['1', '2', 'NA'][n % 3]},{n}\n" for n in range(1, 9)))

    def profile(where: str) -> dict[str, ColumnProfile]:
        source = OperatedSource(source=Csv(path=str(path)), operations=(Filter(where=where), Reverse()))
        return {column.name: column for column in source.profile().columns}

    columns = profile("id != 2")
    assert columns["id"].counts_rows
    assert (columns["n"].rows, columns["n"].missing_count, columns["n"].missing_spellings) == (7, 2, {})
    assert columns["n"].first_missing_location == f"{path}, line 9"
    assert profile("id != 1")["n"].missing_spellings == {"NA": 3}


def test_a_text_that_becomes_equal_to_another_counts_once() -> None:
    table = {"text": ["a", "A", "b", "c"] * 3, "y": [0, 1] * 6}
    operations = (Filter(where="text != 'c'"), Derive(columns={"lower": "lower(text)"}))
    columns = {
        column.name: column
        for column in OperatedSource(source=Frame(columns=table), operations=operations).profile().columns
    }
    assert (columns["text"].distinct_count, columns["lower"].distinct_count) == (3, 2)


def test_a_column_that_numbers_the_rows_of_each_source_does_so_after_operations() -> None:
    tables = {
        name: Frame(columns={"id": np.arange(size), "y": np.arange(size) % 3}) for name, size in (("a", 9), ("b", 7))
    }
    source = OperatedSource(source=Mixed(sources=tables).open(), operations=(Filter(where="id != 3"), Reverse()))
    (column, *_) = source.profile().columns
    assert (column.name, column.rows, column.counts_rows) == ("id", 14, True)


def test_no_option_of_the_source_is_suggested_for_a_computed_column() -> None:
    days = np.array([20240100 + day for day in range(1, 29)])
    computed = Derive(columns={"day_again": "day + 0"})
    source = OperatedSource(source=Frame(columns={"day": days, "y": days % 3}), operations=(computed,))
    columns = {column.name: column for column in source.profile().columns}
    assert columns["day"].likely_dates == "yyyymmdd"
    assert columns["day_again"].likely_dates is None
    assert columns["day_again"].counts_rows == columns["day"].counts_rows


def test_a_source_without_a_profile_and_a_target_of_lists_are_errors() -> None:
    with pytest.raises(DataError, match=r"nothing is inferred for Arrays\. Write a feature file"):
        OperatedSource(source=Arrays(columns={"a": np.arange(3)}), operations=(Reverse(),)).profile()

    class Pair(Reverse):
        columns_computed = ("pair",)

        def apply(self, blocks: Iterator[TrackedBlock], counts: Counter[str]) -> Iterator[TrackedBlock]:
            return (block.with_columns({"pair": np.zeros((block.rows, 2))}) for block in blocks)

    table = {"a": np.arange(3), "b": np.arange(3) % 2}
    (note,) = OperatedSource(source=Frame(columns=table, target="b"), operations=(Pair(),)).profile().notes
    assert note.startswith("pair is left out: it has arrays of shape (2) and type float64")
    with pytest.raises(DataError, match=r"`target` \(=pair\): it has arrays of shape \(2\)"):
        OperatedSource(source=Frame(columns=table, target="pair"), operations=(Pair(),)).profile()


def test_operations_that_leave_no_row_are_named() -> None:
    table = make_frame([(float(number), "a", number) for number in range(20)])
    source = OperatedSource(source=table, operations=(Derive(columns={"half": "float / 2"}), Filter(where="half < 0")))
    with pytest.raises(DataError, match=r"^the train split has 14 rows .*, and operations\.1 \(filter\) leaves none"):
        source.profile()


def test_the_note_of_a_column_that_is_left_out_goes_with_the_column() -> None:
    table = Frame(columns={"words": [["a", "b"], ["c"]], "number": np.arange(2)}, target="number")
    (note,) = OperatedSource(source=table, operations=(Filter(where="number >= 0"),)).profile().notes
    assert note.startswith("words is left out: it has lists")
    exploded = OperatedSource(source=table, operations=(Explode(columns="words"),)).profile()
    assert [column.name for column in exploded.columns] == ["words", "number"]
    renamed = OperatedSource(source=table, operations=(Rename(columns={"words": "tags"}),)).profile()
    assert not exploded.notes
    assert [note.partition(":")[0] for note in renamed.notes] == ["tags is left out"]
