"""The framing of TFRecord files: records of bytes, each with checksums.

A record is its length (8 bytes, little-endian), the checksum of these bytes (4), the data, and their checksum (4). A
checksum is a masked CRC-32C. Compression applies to the whole file.

References:
    https://www.tensorflow.org/tutorials/load_data/tfrecord#tfrecords_format_details
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from struct import Struct
from typing import BinaryIO, NamedTuple, TypeVar

import google_crc32c
import numpy as np
from numpy.lib.stride_tricks import as_strided

from components.data.array_record import ARRAY_RECORD_START, read_array_record
from components.types import DataError

CHUNK_BYTES = 1 << 24
LENGTH, CHECKSUM = Struct("<Q"), Struct("<I")
MAX_COUNTED = 1 << 16  # bytes of a record
HEADER_BYTES = LENGTH.size + CHECKSUM.size
FRAME_BYTES = HEADER_BYTES + CHECKSUM.size


T = TypeVar("T", int, "np.ndarray")


class Records(NamedTuple):
    """Consecutive records of a file, of which record i is `content[starts[i]:stops[i]]`.

    Attributes:
        content: a part of the file, unpacked.
        starts: the first byte of each record, (records,), int64.
        stops: the byte after each record.
        name: the name of the file for messages.
        first: the number of the first record in the file, from 0.
        offset: the position of `content` in the unpacked file; None: there is no file.
    """

    content: bytes
    starts: np.ndarray
    stops: np.ndarray
    name: str
    first: int = 0
    offset: int | None = None

    @classmethod
    def from_bytes(cls, records: Iterable[bytes], name: str) -> Records:
        """Records in memory."""
        records = [*records]
        bounds = np.cumsum([0, *map(len, records)], dtype=np.int64)
        return cls(b"".join(records), bounds[:-1], bounds[1:], name)

    def locate(self, index: int) -> str:
        """The location of a record for messages: `shop.tfrecord, record 7 at byte 1,204`."""
        position = "" if self.offset is None else f" at byte {self.offset + int(self.starts[index]) - HEADER_BYTES:,}"
        return f"{self.name}, record {self.first + index:,}{position}"

    def tolist(self) -> list[bytes]:
        """The bytes of each record."""
        bounds = zip(self.starts.tolist(), self.stops.tolist(), strict=True)
        return [self.content[start:stop] for start, stop in bounds]


def read_records(file: BinaryIO, name: str) -> Iterator[Records]:
    """Reads a file in parts of about 16 MiB, and checks all checksums. It may be an ArrayRecord file, too.

    Args:
        file: the file, unpacked.
        name: its name for messages; of an ArrayRecord file, its path.

    Raises:
        DataError: a checksum is wrong, or the last record is cut off.
    """
    rest, offset, first = b"", 0, 0
    missing = 0  # bytes of a record that is longer than a part
    while chunk := file.read(max(CHUNK_BYTES, missing)):
        if not offset and chunk.startswith(ARRAY_RECORD_START):
            for read in read_array_record(Path(name)):
                yield Records.from_bytes(read, name)._replace(first=first)
                first += len(read)
            return
        content = rest + chunk if rest else chunk
        starts, stops = _find_records(content)
        records = Records(content, starts, stops, name, first, offset)
        _check_records(records)
        if len(starts):
            yield records
        end = int(stops[-1]) + CHECKSUM.size if len(stops) else 0
        rest, offset, first = content[end:], offset + end, first + len(starts)
        missing = _find_length(rest, name, first, offset) + FRAME_BYTES - len(rest)
    if rest:
        needed = FRAME_BYTES + _find_length(rest, name, first, offset)
        raise DataError(
            f"{name}, record {first:,} at byte {offset:,} is cut off: it needs {needed:,} bytes or more, and the file "
            f"ends after {len(rest):,}. Get the file again, or remove this record."
        )


def is_record(start: bytes) -> bool:
    """Whether a file begins with a record: with a length and its checksum."""
    return len(start) >= HEADER_BYTES and start[LENGTH.size : HEADER_BYTES] == _compute_checksum(start[: LENGTH.size])


def write_records(file: BinaryIO, records: Iterable[bytes]) -> int:
    """Writes records with their checksums. Returns the number of records."""
    count = 0
    for record in records:
        length = LENGTH.pack(len(record))
        file.write(b"".join((length, _compute_checksum(length), record, _compute_checksum(record))))
        count += 1
    return count


def _find_records(content: bytes) -> tuple[np.ndarray, np.ndarray]:
    """The starts and the ends of the records that are whole in a part of a file. Their lengths aren't checked."""
    stops, position, last = list[int](), 0, len(content) - FRAME_BYTES
    length_at = LENGTH.unpack_from
    while position <= last:
        stop = position + HEADER_BYTES + length_at(content, position)[0]
        position = stop + CHECKSUM.size
        if position > len(content):
            break
        stops.append(stop)
    ends = np.array(stops, np.int64)
    return np.concatenate([[0], ends[:-1] + CHECKSUM.size])[: len(ends)] + HEADER_BYTES, ends


def _check_records(records: Records) -> None:
    """Raises DataError for the first record with a wrong checksum."""
    content, starts, stops = records.content, records.starts, records.stops
    if not len(starts):
        return
    words = as_strided(np.frombuffer(content, np.uint32, 1), (len(content) - 3,), (1,), writeable=False)
    wrong_length = words[starts - CHECKSUM.size] != _compute_length_checksums(stops - starts)
    value, bounds = google_crc32c.value, zip(starts.tolist(), stops.tolist(), strict=True)
    wrong_data = words[stops] != _mask(np.array([value(content[start:stop]) for start, stop in bounds], np.uint64))
    if (wrong := wrong_length | wrong_data).any():
        index = int(wrong.argmax())
        raise _make_error(records.locate(index), records.first + index, is_length=wrong_length[index])


def _compute_length_checksums(lengths: np.ndarray) -> np.ndarray:
    """The checksum of each length. Few lengths differ, and sorting them takes longer than counting short ones."""
    is_short = int(lengths.max()) < MAX_COUNTED
    if is_short:
        distinct = np.flatnonzero(np.bincount(lengths))
    else:
        distinct, lengths = np.unique(lengths, return_inverse=True)
    found = _mask(np.array([google_crc32c.value(LENGTH.pack(length)) for length in distinct.tolist()], np.uint64))
    if not is_short:
        return found[lengths]
    table = np.zeros(int(distinct[-1]) + 1, np.uint64)
    table[distinct] = found
    return table[lengths]


def _find_length(rest: bytes, name: str, number: int, offset: int) -> int:
    """The length of the record that a text starts with; 0 if it is cut off there. Raises DataError if it is wrong."""
    if len(rest) < HEADER_BYTES:
        return 0
    length = rest[: LENGTH.size]
    if rest[LENGTH.size : HEADER_BYTES] != _compute_checksum(length):
        raise _make_error(f"{name}, record {number:,} at byte {offset:,}", number, is_length=True)
    return int(LENGTH.unpack(length)[0])


def _make_error(location: str, number: int, *, is_length: bool) -> DataError:
    part = "length" if is_length else "data"
    reason = "the file is no TFRecord file, or damaged" if number == 0 and is_length else "the file is damaged"
    return DataError(f"{location}: the checksum of its {part} is wrong, so {reason}. Get it again.")


def _mask(checksum: T) -> T:
    """The form in which a checksum is stored, so that a checksum of checksums isn't trivial; also of a uint64 array."""
    return (((checksum >> 15) | (checksum << 17)) + 0xA282EAD8) & 0xFFFFFFFF


def _compute_checksum(data: bytes) -> bytes:
    return CHECKSUM.pack(_mask(google_crc32c.value(data)))
