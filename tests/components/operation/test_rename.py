"""Columns with other names, whatever the blocks are."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.operation import Filter, Rename
from components.tracked_block import TrackedBlock
from components.types import DataError, LazyColumns, Strings, UserError
from tests.helpers.operations import Rows, operate, rows_of_a_part

PARTS = st.fixed_dictionaries({"train": rows_of_a_part, "test": rows_of_a_part})


@settings(max_examples=30)
@given(PARTS, st.integers(1, 7), st.sampled_from([{"number": "count"}, {"number": "float", "float": "number"}]))
def test_columns_have_other_names(parts: Any, block_rows: int, names: dict[str, str]) -> None:
    expected = {
        part: [{names.get(name, name): value for name, value in row.items()} for row in rows]
        for part, rows in parts.items()
    }
    assert operate([Rename(columns=names)], parts, block_rows) == expected
    after = Filter(where="is_null(text)")
    kept = {part: [row for row in rows if row["text"] is None] for part, rows in expected.items()}
    assert operate([Rename(columns=names), after], parts, block_rows) == kept


def test_files_are_not_read() -> None:
    readers = {"image": lambda rows: Strings.from_bytes([b"x"] * len(rows))}
    columns = LazyColumns({"id": np.arange(2)}, readers, np.arange(2))
    block = TrackedBlock(
        columns=columns,
        files=frozenset(["image"]),
        source_rows=np.arange(2),
        source=Rows({}),
        locate_source_row=str,
    )
    (renamed,) = Rename(columns={"image": "photo", "id": "key"}).apply(iter([block]), {})  # type: ignore[arg-type]
    assert renamed.files == {"photo"}
    assert isinstance(renamed.columns, LazyColumns)
    assert {*renamed.columns} == {"photo", "key"}
    assert renamed.columns.read_columns.keys() == {"key"}
    assert renamed.columns["photo"].tolist() == ["x", "x"]  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("columns", "message"),
    [({}, "is empty"), ({"a": "c", "b": "c"}, r"renames a, b to c\. Columns have different names")],
)
def test_names_are_checked_before_any_row_is_read(columns: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        Rename(columns=columns)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"nmber": "n"}, r"^operations\.0 \(rename\): there is no column `nmber` in all\. Did you mean number\?"),
        ({"number": "text"}, "`number` can't be renamed to `text`, which is there. Choose another name"),
    ],
)
def test_columns_are_checked(columns: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        operate([Rename(columns=columns)], {"all": [{"number": 1, "text": "a"}]}, 1)
