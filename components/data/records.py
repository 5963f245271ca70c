"""The source for binary files of records of one length, such as those of CIFAR-10."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import PurePosixPath
from typing import Annotated, Literal, NamedTuple, NotRequired, TypeAlias, TypedDict

import numpy as np

from components.closest import join_names
from components.data.files import check_utf_8_name, open_files
from components.data.packed import MAX_UNPACKED_GB, PackedFile
from components.data.table import LocatedBlock, Table
from components.input_files import find_path
from components.types import Block, DataError, Range, Values

NumberType: TypeAlias = Literal[
    "uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64", "float16", "float32", "float64"
]


MAX_RECORD_BYTES, MAX_AXES = 2**31 - 1, 63  # NumPy's, with an axis of the rows


class RecordField(TypedDict):
    """A field of a record.

    Attributes:
        dtype: the type of its numbers.
        shape: the shape of its array in the file, whose last axis changes fastest. The default is a single number.
        axes: the axes of this array in the order of the column. [1, 2, 0] makes an image (H, W, C) of three planes
            (C, H, W). The default is the order of the file.
    """

    dtype: NumberType
    shape: NotRequired[tuple[Annotated[int, Range(1)], ...]]
    axes: NotRequired[tuple[Annotated[int, Range(0)], ...]]


@dataclass(frozen=True, kw_only=True)
class FixedLengthRecords(Table):
    """Binary records of one length, one after another, as a column for each field.

    Files that are read together are read in the order of their paths.

    Attributes:
        path: a file of records, which may be packed; or with `train`, a folder, or a tar or zip archive, which isn't
            unpacked to the disk. A relative path is looked up below $TITRATE_DATA, then below the working folder.
        fields: the fields of a record in their order, by the name of their column.
        train: the names of the files in the folder or archive, as a pattern such as `data_batch_*.bin`. None: `path` is
            the file.
        valid: a pattern of names, as `train`; or the rows of `train` for the validation split, a share in (0, 1) or a
            count. None: 0.15.
        test: the same for the test split.
        byte_order: the order of the bytes of a number.
        header_bytes: the number of bytes before the first record of each file, which aren't read.
        max_unpacked_gb: the maximum size in gigabytes (10^9 bytes) of an unpacked file or tar archive, and of each file
            in a zip archive.
    """

    path: str
    fields: dict[str, RecordField]
    train: str | None = None
    valid: Annotated[float, Range(0, bounds="()")] | str | None = None
    test: Annotated[float, Range(0, bounds="()")] | str | None = None
    byte_order: Literal["little", "big"] = "little"
    header_bytes: Annotated[int, Range(0)] = 0
    max_unpacked_gb: Annotated[float, Range(0, bounds="()")] = MAX_UNPACKED_GB

    def __post_init__(self) -> None:
        if not self.fields:
            raise DataError("`fields` is empty; list the fields of a record")
        if "" in self.fields:
            raise DataError("`fields` has a field without a name. Name it.")
        size = 0
        for name, each in self.fields.items():
            shape = each.get("shape", ())
            rank = len(shape)
            size += np.dtype(each["dtype"]).itemsize * math.prod(shape)
            if size > MAX_RECORD_BYTES or rank > MAX_AXES:
                raise DataError(
                    f"`fields.{name}.shape` (={[*shape]}) is too large: a record has at most {MAX_RECORD_BYTES:,} "
                    f"bytes, and here {size:,} with this field, and an array at most {MAX_AXES} axes. Correct it."
                )
            axes = each.get("axes", tuple(range(rank)))
            if sorted(axes) != list(range(rank)):
                every = f"the axes 0 to {rank - 1}, each of them once"
                needed = every if rank else "no axes, because the field is a single number"
                raise DataError(f"`fields.{name}.axes` (={[*axes]}) must be {needed}")
        for option in ("valid", "test"):
            if self.train is None and isinstance(pattern := getattr(self, option), str):
                raise DataError(f"`{option}` (={pattern}) is the name of files, so `train` must be that of others")

    def content_digest(self) -> str:
        digest = hashlib.blake2b(f"{self._record}, {self._order}, {self.header_bytes}".encode(), digest_size=16)
        for part, files in self._files.items():
            for file in files:
                digest.update(f"{part} {file.records} ".encode())
                digest.update(file.read())
        return digest.hexdigest()

    def sizes(self) -> Mapping[str, int]:
        return {part: sum(file.records for file in files) for part, files in self._files.items()}

    def file_sizes(self) -> Sequence[int]:
        """The number of rows of each file, over all parts."""
        return [file.records for files in self._files.values() for file in files]

    def origin(self, part: str) -> str:
        return self.path if part == "all" else f"{self.path} ({part})"

    def read(self) -> Mapping[str, Mapping[str, Values]]:
        return {part: self._read_part(files) for part, files in self._files.items()}

    def make_block(self, part: str, columns: Mapping[str, Values], first_row: int) -> Block:
        block = super().make_block(part, columns, first_row)
        return LocatedBlock(**vars(block), locate_row=partial(self._locate, part))

    @property
    def _record(self) -> np.dtype:
        """The fields as they stand in the file."""
        fields = [(name, each["dtype"], tuple(each.get("shape", ()))) for name, each in self.fields.items()]
        return np.dtype(fields).newbyteorder(self.byte_order)

    @property
    def _order(self) -> dict[str, tuple[int, ...]]:
        """The axes of the columns for which they are set."""
        return {name: tuple(each["axes"]) for name, each in self.fields.items() if "axes" in each}

    @cached_property
    def _files(self) -> dict[str, list[_File]]:
        """The files by part. Raises DataError if a part has none, or a size is wrong."""
        if self.train is None:
            packed = PackedFile(path := find_path(self.path), self.max_unpacked_gb)
            if path.is_dir():
                raise DataError(f"{path} is a folder; set `train` to the names of the files in it, such as *.bin")
            with packed.open() as file:
                content = file.read()
            return {"all": [self._make_file(str(packed), len(content), partial(bytes, content))]}
        patterns = {"train": self.train, "valid": self.valid, "test": self.test}
        wanted = {part: pattern for part, pattern in patterns.items() if isinstance(pattern, str)}
        names: list[str] = []

        def find_parts(name: str) -> list[str]:
            return [part for part, pattern in wanted.items() if PurePosixPath(name).match(pattern)]

        def is_wanted(name: str) -> bool:
            names.append(name)
            return bool(find_parts(name))

        packed = PackedFile(find_path(self.path), self.max_unpacked_gb)
        files = open_files(packed, is_wanted)
        found: dict[str, list[_File]] = {part: [] for part in wanted}
        for number, entry in enumerate(files.entries):
            check_utf_8_name(packed.path, entry.name)
            part, *others = find_parts(entry.name)
            if others:
                raise DataError(
                    f"{entry.name} in {packed} is in two parts, because its name fits `{part}` (={wanted[part]}) and "
                    f"`{others[0]}` (={wanted[others[0]]}). Write patterns that divide the files."
                )
            label = f"{entry.name} in {packed}"
            found[part].append(self._make_file(label, entry.size, partial(files.read, number)))
        for part, own in found.items():
            if not own:
                raise DataError(f"{packed} has no file {wanted[part]} (`{part}`). Files: {join_names(names)}.")
        return found if len(found) > 1 else {"all": found["train"]}

    def _make_file(self, label: str, size: int, read: Callable[[], bytes]) -> _File:
        """Describes a file of some bytes. Raises DataError if these are no whole number of records."""
        length = self._record.itemsize
        records, rest = divmod(size - self.header_bytes, length)
        if records < 0 or rest:
            header = f" after {self.header_bytes:,} header bytes" if self.header_bytes else ""
            end = f"The last whole one ends at byte {size - rest:,}" if records >= 0 else "The header is incomplete"
            raise DataError(
                f"{label} has {size:,} bytes, no whole number of records of {length:,} bytes{header}. {end}. Correct "
                "`fields` or `header_bytes`; or the file, which may be truncated."
            )
        return _File(label, records, read)

    def _read_part(self, files: Sequence[_File]) -> dict[str, Values]:
        arrays = [np.frombuffer(file.read(), self._record, file.records, self.header_bytes) for file in files]
        columns: dict[str, Values] = {}
        for name in self.fields:
            axes = self._order.get(name, tuple(range(arrays[0][name].ndim - 1)))
            pieces = [array[name].transpose(0, *(axis + 1 for axis in axes)) for array in arrays]
            columns[name] = np.ascontiguousarray(np.concatenate(pieces), self._record[name].base.newbyteorder("="))
        return columns

    def _locate(self, part: str, row: int) -> str:
        for file in self._files[part]:
            if row < file.records:
                return f"record {row:,} of {file.name} (byte {self.header_bytes + row * self._record.itemsize:,})"
            row -= file.records
        raise IndexError(row)


class _File(NamedTuple):
    """A file of records.

    Attributes:
        name: its name for messages.
        records: the number of records.
        read: returns its content.
    """

    name: str
    records: int
    read: Callable[[], bytes]
