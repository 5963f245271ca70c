"""ArrayRecord files: Examples as tables, raw records for a function, and errors."""

import gzip
import sys
from pathlib import Path

import numpy as np
import pytest

from components.data import ParsedFiles, TableFile, array_record
from components.data.tfrecord.example import Feature
from components.data.tfrecord.serialize import serialize_examples
from components.types import DataError

pytest.importorskip("array_record.python.array_record_module")
ROWS = 10


def write(path: Path, records: list[bytes], options: str = "group_size:1") -> Path:
    from array_record.python.array_record_module import ArrayRecordWriter

    writer = ArrayRecordWriter(str(path), options)
    for record in records:
        writer.write(record)
    writer.close()
    return path


@pytest.fixture(scope="module")
def examples() -> list[bytes]:
    offsets = np.arange(ROWS + 1)
    columns = {
        "x": Feature("float", np.arange(ROWS, dtype=np.float32), offsets),
        "y": Feature("int64", offsets[1:] % 2, offsets),
    }
    return serialize_examples(columns, ROWS).tolist()


@pytest.mark.parametrize("options", ["group_size:1", "group_size:4,zstd", "group_size:3,uncompressed"])
def test_examples_are_rows(
    options: str, examples: list[bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(array_record, "BATCH_RECORDS", 3)
    for name in ("a", "b"):
        write(tmp_path / f"{name}.array_record", examples, options)
    source = TableFile(path=str(tmp_path / "*.array_record"), target="y").open()
    assert source.sizes() == {"all": 2 * ROWS}
    assert source.table.values["x"].tolist() == [*range(ROWS)] * 2  # type: ignore[union-attr]
    assert "record 2 of b.array_record" in source.locate_row(ROWS + 2)


def test_a_function_parses_raw_records(tmp_path: Path) -> None:
    path = write(tmp_path / "a.array_record", [b"x" * n for n in range(5)])
    source = ParsedFiles(path=str(path), function=lambda content: {"n": len(content)}, framing="tfrecord", version=1)
    (block,) = source.blocks("all")
    assert block.columns["n"].tolist() == [*range(5)]  # type: ignore[union-attr]
    assert block.locate(3) == "record 3 of a.array_record"


def test_a_record_that_is_no_example_is_located(examples: list[bytes], tmp_path: Path) -> None:
    path = write(tmp_path / "a.array_record", [*examples, b"\xff" * 9])
    with pytest.raises(DataError, match=rf"a\.array_record, record {ROWS}\b"):
        TableFile(path=str(path), target="y").open().sizes()


def test_damaged_and_packed_files_are_errors(examples: list[bytes], tmp_path: Path) -> None:
    content = write(tmp_path / "a.array_record", examples).read_bytes()
    flipped = bytearray(content)
    flipped[200] ^= 1
    files = {
        "cut": (content[:-100], "is damaged, or no ArrayRecord file: "),
        "flipped": (bytes(flipped), "is damaged, or no ArrayRecord file: Corrupted"),
        "packed": (gzip.compress(content), "is packed. The records of an ArrayRecord file are packed"),
    }
    for name, (changed, message) in files.items():
        (tmp_path / name).write_bytes(changed)
        with pytest.raises(DataError, match=f"{name} {message}"):
            TableFile(path=str(tmp_path / name), target="y").open().sizes()


def test_a_missing_package_is_an_error(examples: list[bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "a.array_record", examples)
    monkeypatch.setitem(sys.modules, "array_record.python.array_record_module", None)
    with pytest.raises(DataError, match=r"the package array_record isn't installed: .*--inexact --extra array_record"):
        TableFile(path=str(path), target="y").open().sizes()
