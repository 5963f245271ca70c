"""Records of bytes with checksums: TensorFlow's files are read and written, and damage is an error that says where."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.data.tfrecord import framing
from components.data.tfrecord.framing import Records, read_records, write_records
from components.types import DataError

GOLDEN = json.loads((Path(__file__).parents[3] / "golden" / "records.json").read_text())["tfrecord"]
RECORDS = [bytes.fromhex(record) for record in GOLDEN["records_hex"]]
FILE = bytes.fromhex(GOLDEN["file_hex"])


def read(content: bytes) -> list[bytes]:
    return [record for part in read_records(io.BytesIO(content), "a.tfrecord") for record in part.tolist()]


def write(records: list[bytes]) -> bytes:
    file = io.BytesIO()
    assert write_records(file, records) == len(records)
    return file.getvalue()


def test_the_bytes_are_those_of_tensorflow() -> None:
    assert read(FILE) == RECORDS
    assert write(RECORDS) == FILE
    assert read(b"") == []


@given(st.lists(st.binary(max_size=40)), st.integers(1, 60))
def test_records_are_read_back_in_parts_of_any_size(records: list[bytes], size: int) -> None:
    content = write(records)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(framing, "CHUNK_BYTES", size)
        parts = [*read_records(io.BytesIO(content), "a.tfrecord")]
    assert [record for part in parts for record in part.tolist()] == records
    locations = [part.locate(index) for part in parts for index in range(len(part.starts))]
    starts = np.cumsum([0, *(len(record) + 16 for record in records)]).tolist()
    assert locations == [f"a.tfrecord, record {row:,} at byte {starts[row]:,}" for row in range(len(records))]


@pytest.mark.parametrize("position", range(len(FILE)))
def test_a_changed_byte_is_an_error(position: int) -> None:
    damaged = bytearray(FILE)
    damaged[position] ^= 0x10
    with pytest.raises(DataError) as error:
        read(bytes(damaged))
    starts = [0, 16, 37, len(FILE)]
    record = max(row for row in range(3) if starts[row] <= position)
    part = "length" if position - starts[record] < 12 else "data"
    reason = "the file is no TFRecord file, or damaged" if (record, part) == (0, "length") else "the file is damaged"
    location = f"a.tfrecord, record {record} at byte {starts[record]}"
    assert str(error.value) == f"{location}: the checksum of its {part} is wrong, so {reason}. Get it again."


@pytest.mark.parametrize("length", range(len(FILE)))
def test_a_file_that_is_cut_off_is_an_error(length: int) -> None:
    if length in (0, 16, 37):  # whole records
        assert read(FILE[:length]) == RECORDS[: [0, 16, 37].index(length)]
        return
    record = 0 if length < 16 else 1 if length < 37 else 2
    start = [0, 16, 37][record]
    needed = 16 if length - start < 12 else 16 + len(RECORDS[record])
    with pytest.raises(DataError) as error:
        read(FILE[:length])
    assert str(error.value) == (
        f"a.tfrecord, record {record} at byte {start} is cut off: it needs {needed} bytes or more, and the file ends "
        f"after {length - start}. Get the file again, or remove this record."
    )


def test_records_in_memory_are_located() -> None:
    records = Records.from_bytes([b"ab", b"c"], "memory")
    assert records.tolist() == [b"ab", b"c"]
    assert records.locate(1) == "memory, record 1"
