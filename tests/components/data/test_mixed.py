"""Several sources as one: the rows and splits of each, names in messages, and columns that differ."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pytest
from pyarrow import parquet

from components.data import Arrays, Csv, Mixed, TableFile
from components.types import CountsRows, DataError, Strings
from runner.data.columns import select_rows
from runner.data.encode import blocks_with_offsets


def arrays(count: int, **changes: Any) -> Arrays:
    columns = {"x": np.arange(count) * 1.0, "label": np.arange(count) % 2} | changes
    return Arrays(columns=columns, valid=2, test=2, seed=0)


def read(source: Any, name: str) -> list[Any]:
    return [value for _, block in blocks_with_offsets(source) for value in block.columns[name].tolist()]


def test_the_rows_and_splits_are_those_of_each_source() -> None:
    one, two = arrays(9), arrays(7, x=np.arange(7) + 100.0)
    mixed = Mixed(sources={"one": one, "two": two}, source_column="source").open()
    assert mixed.sizes() == {"all": 16}
    assert mixed.source_sizes() == {"one": 9, "two": 7}
    assert read(mixed, "x") == [*range(9), *range(100, 107)]
    assert read(mixed, "source") == ["one"] * 9 + ["two"] * 7
    for split, rows in mixed.splits().items():
        assert rows.tolist() == [*one.splits()[split], *(two.splits()[split] + 9)]
        assert (np.diff(rows) > 0).all()
    folds = np.concatenate([mixed.folds(3, fold)["valid"] for fold in range(3)])
    assert sorted(folds) == sorted(np.concatenate([*mixed.splits().values()][:2]))
    assert mixed.row_numbers() is None
    assert mixed.skipped_rows() is None
    assert not isinstance(mixed, CountsRows)


def test_a_row_is_named_with_its_source() -> None:
    mixed = Mixed(sources={"one": arrays(3), "two": arrays(4)})
    assert mixed.locate_row(4) == "two: row 1 of the arrays"
    with pytest.raises(IndexError):
        mixed.locate_row(7)
    offset, block = [*blocks_with_offsets(mixed)][-1]
    assert offset == 3
    assert block.locate(1) == select_rows(block, np.array([1])).locate(0) == "two: row 1 of the arrays"


def test_the_fingerprint_depends_on_all_sources_and_their_names() -> None:
    options: list[dict[str, Any]] = [
        {"sources": {"one": arrays(3), "two": arrays(4)}},
        {"sources": {"one": arrays(3), "two": arrays(5)}},
        {"sources": {"two": arrays(4), "one": arrays(3)}},
        {"sources": {"one": arrays(3), "three": arrays(4)}},
        {"sources": {"one": arrays(3), "two": arrays(4)}, "source_column": "place"},
    ]
    assert len({Mixed(**each).fingerprint() for each in options}) == len(options)


def test_files_and_rows_that_are_left_out_are_counted_in_all_sources(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("x,y\n1,u\n2,\n3,u\n4,\n")
    (tmp_path / "b.csv").write_text("x,y\n5,u\n6,u,u\n7,u\n")
    for number in range(2):
        parquet.write_table(pyarrow.table({"x": [8 + number] * 3, "y": ["u"] * 3}), tmp_path / f"{number}.parquet")
    sources: dict[str, Any] = {
        "a": TableFile(path=str(tmp_path / "a.csv"), target="y", on_missing_target="drop"),
        "b": Csv(path=str(tmp_path / "b.csv"), on_bad_row="skip"),
        "c": TableFile(path=str(tmp_path / "*.parquet")),
        "d": Arrays(columns={"x": np.array([1, 2]), "y": np.array(["u", "u"])}),
    }
    mixed = Mixed(sources=sources).open().with_used_columns({"x", "y"})
    assert read(mixed, "x") == [1, 3, 5, 7, 8, 8, 8, 9, 9, 9, 1, 2]
    numbers = mixed.row_numbers()
    assert numbers is not None
    assert numbers.tolist() == [0, 2, 4, 6, *range(7, 15)]
    assert [*mixed.file_sizes()] == [4, 3, 3, 3, 2]
    assert mixed.skipped_rows() == 1
    assert [sentence.partition(":")[0] for sentence in mixed.left_out()] == ["a", "b"]
    assert mixed.local_version() == ""
    assert mixed.reads_used_columns


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"labels": np.arange(3)}, r"the source two has no column `label`, which the source one has\. Did you mean l"),
        ({"label": np.arange(3), "z": np.arange(3)}, r"the source one has no column `z`, which the source two has"),
        ({"label": np.arange(3.0)}, r"column `label` is float in the source two, but int in the source one\. Write"),
        ({"label": np.array(["a", "b", "a"])}, "column `label` is string in the source two, but int"),
        ({"label": np.zeros((3, 2), int)}, r"column `label` is arrays \(2,\) of int in the source two, but int in"),
    ],
)
def test_sources_with_other_columns_are_an_error(other: dict[str, Any], message: str) -> None:
    two = Arrays(columns={"x": np.arange(3.0), **other})
    with pytest.raises(DataError, match=message):
        [*blocks_with_offsets(Mixed(sources={"one": arrays(5), "two": two}))]


def test_wrong_options_are_an_error() -> None:
    with pytest.raises(DataError, match="`sources` is empty; list sources by name"):
        Mixed(sources={})
    with pytest.raises(DataError, match=r"`source_column` \(=x\) is a column of the source one already"):
        [*Mixed(sources={"one": arrays(5)}, source_column="x").blocks("all")]


def test_a_column_of_names_is_added_to_columns_that_are_read_later(tmp_path: Path) -> None:
    parquet.write_table(pyarrow.table({"x": [1, 2], "unused": ["a", "b"]}), tmp_path / "a.parquet")
    source = TableFile(path=str(tmp_path / "a.parquet"))
    mixed = Mixed(sources={"a": source}, source_column="place").open().with_used_columns({"x", "place"})
    ((_, block),) = blocks_with_offsets(mixed)
    assert {*block.columns} == {"x", "unused", "place"}
    assert isinstance(block.columns["place"], Strings)
    assert block.columns["unused"].tolist() == ["a", "b"]
