"""ArrayRecord files: records of bytes, as TensorFlow Datasets writes them.

The extra `array_record` reads them.

References:
    https://github.com/google/array_record
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from components.data.packed import PackedFile
from components.types import DataError

# The first block header and the signature of a file of Riegeli, on which the format is built
ARRAY_RECORD_START = bytes.fromhex("83af70d10d884a3f" + "00" * 8 + "40" + "00" * 7 + "91bac23c9287e1a9")
BATCH_RECORDS = 256  # that are read at once


def read_array_record(path: Path) -> Iterator[list[bytes]]:
    """Yields the records of a file in lists.

    Raises:
        DataError: the package isn't installed, or the file is packed, damaged or none of this format.
    """
    try:
        from array_record.python.array_record_module import ArrayRecordReader
    except ImportError as error:
        raise DataError(
            f"{path} is an ArrayRecord file, and the package array_record isn't installed: {error}. Install it "
            "(uv sync --inexact --extra array_record, or pip install array_record), or write the records as a TFRecord "
            "file"
        ) from error
    if PackedFile(path).is_packed():
        raise DataError(f"{path} is packed. The records of an ArrayRecord file are packed by themselves: unpack it")
    reader = ArrayRecordReader(str(path))
    try:
        if not reader.ok():
            reader.read_all()  # raises the error
        count = reader.num_records()
        for start in range(0, count, BATCH_RECORDS):
            yield _read(reader, start, min(start + BATCH_RECORDS, count))
    except RuntimeError as error:
        raise DataError(f"{path} is damaged, or no ArrayRecord file: {str(error).splitlines()[0]}") from error
    finally:
        with suppress(RuntimeError):  # a reader that failed raises its error again
            reader.close()


def _read(reader: Any, start: int, stop: int) -> list[bytes]:
    records: list[bytes] = reader.read(start, stop)
    if len(records) != stop - start:
        raise RuntimeError(f"it has {len(records)} of the records {start} to {stop - 1}")
    return records
