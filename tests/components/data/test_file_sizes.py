"""Sources count the rows of each of their files, also the rows that are left out."""

import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pytest
from pyarrow import parquet

from components.data import Csv, FixedLengthRecords, TableFile, TextLines
from components.data.tfrecord.example import Feature
from components.data.tfrecord.framing import write_records
from components.data.tfrecord.serialize import serialize_examples
from components.types import HasFiles

SIZES = {"a": 3, "b": 1, "c": 5}


def write_csv(folder: Path) -> Any:
    """Files with a comment, empty lines, a text of two lines, no end of the last line, and one that is packed."""
    (folder / "a.csv").write_text('x,y\n1,"one\ntwo"\n\n2,u\n#3,u\n3,v')
    (folder / "b.csv").write_bytes(b"\xef\xbb\xbfx,y\r\n4,u\r\n")
    (folder / "c.csv.gz").write_bytes(gzip.compress(b"x,y\n5,u\n6,\n7,v\n8,u\n9,v\n\n"))
    return Csv(path=str(folder / "*.csv*"), comment="hash")


def write_csv_with_bad_rows(folder: Path) -> Any:
    """One row of each of two files has too many fields, and another row has no target."""
    (folder / "a.csv").write_text("x,y\n1,u\n2,u,u\n3,v\n")
    (folder / "b.csv").write_text("x,y\n4,u\n")
    (folder / "c.csv").write_text("x,y\n5,u\n6,\n7,u,v\n8,u\n9,v\n")
    return Csv(path=str(folder), on_bad_row="skip", target="y", on_missing_target="drop")


def write_csv_without_names(folder: Path) -> Any:
    for name, size in SIZES.items():
        (folder / f"{name}.csv").write_text("1;u\n" * size)
    return Csv(path=str(folder), names=("x", "y"), delimiter="semicolon")


def write_parquet(folder: Path) -> Any:
    for name, size in SIZES.items():
        parquet.write_table(pyarrow.table({"x": [*range(size)]}), folder / f"{name}.parquet", row_group_size=2)
    return TableFile(path=str(folder)).open()


def write_tfrecord(folder: Path) -> Any:
    for name, size in SIZES.items():
        records = serialize_examples({"x": Feature("int64", np.arange(size), np.arange(size + 1))}, size)
        with (folder / f"{name}.tfrecord").open("wb") as file:
            write_records(file, records.tolist())
    return TableFile(path=str(folder)).open()


def write_lines(folder: Path) -> Any:
    for name, size in SIZES.items():
        (folder / f"{name}.txt").write_text("line\n\n" * size)
    return TextLines(path=str(folder))


def write_bytes(folder: Path) -> Any:
    for name, size in SIZES.items():
        (folder / f"{name}.bin").write_bytes(bytes(size))
    return FixedLengthRecords(path=str(folder), fields={"x": {"dtype": "uint8"}}, train="*.bin")


@pytest.mark.parametrize(
    "write",
    [
        *(write_csv, write_csv_with_bad_rows, write_csv_without_names),
        *(write_parquet, write_tfrecord, write_lines, write_bytes),
    ],
)
def test_the_rows_of_each_file_are_counted(write: Callable[[Path], Any], tmp_path: Path) -> None:
    source = write(tmp_path)
    assert isinstance(source, HasFiles)
    assert [*source.file_sizes()] == [*SIZES.values()]
    numbers = source.row_numbers() if hasattr(source, "row_numbers") else None
    if numbers is None:
        assert sum(source.sizes().values()) == sum(SIZES.values())
    else:
        assert numbers.tolist() == [0, 2, 3, 4, 7, 8]


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_files_of_other_splits_count_too(suffix: str, tmp_path: Path) -> None:
    for name, size in SIZES.items():
        table = pyarrow.table({"x": [*range(size)], "y": ["u"] * size})
        if suffix == "csv":
            (tmp_path / f"{name}.csv").write_text("x,y\n" + "1,u\n" * size)
        else:
            parquet.write_table(table, tmp_path / f"{name}.parquet")
    paths = [str(tmp_path / f"{name}.{suffix}") for name in SIZES]
    source: Any = TableFile(path=tuple(paths[:2]), test=paths[2], valid=1).open()
    assert [*source.file_sizes()] == [*SIZES.values()]
