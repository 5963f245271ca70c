"""The source for NumPy's files: `.npz`, and `.npy`, which are read block by block and may be larger than memory."""

from __future__ import annotations

import hashlib
import math
import re
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from threading import Lock
from typing import IO, Annotated, Any, NamedTuple, cast

import numpy as np

from components.closest import join_names, suggest_name
from components.data.files import Version, find_version, join_local_versions
from components.data.packed import MAX_UNPACKED_GB
from components.data.profile import Profile
from components.data.splitting import SPLIT_NAMES
from components.data.table import BLOCK_BYTES, Table
from components.input_files import find_path, open_file, read_npy_header
from components.types import DataError, ImageProfile, Range, Strings, TableProfile, Values

NPY_START, ZIP_START = b"\x93NUMPY", b"PK"
SUFFIX = ".npy"
MIN_ROWS_PER_CLASS = 5  # on average; other whole numbers are no classes
TARGETS = ("y", "label", "labels")  # the usual names of a column to predict
_PART_NAMES = "|".join(SPLIT_NAMES)
_PART = re.compile(rf"(?P<before>{_PART_NAMES})_(?P<column>.+)|(?P<column_2>.+)_(?P<after>{_PART_NAMES})")
MAX_ITEM_BYTES = 8  # of a number; longer ones are no types of other libraries
ALLOWED = "bool, integers and floats of at most 64 bits, texts (U, S) and datetime64"
CONVERSION = "convert it, such as by array.astype(np.float64)"


@dataclass(frozen=True, kw_only=True)
class NumpyFiles(Table):
    """Columns from NumPy's files, one for each array, whose first axis is the rows.

    Blocks of rows are read when they are needed, so files may be larger than memory. A structured array has a column
    for each of its fields. Texts of fixed width (U, and S in UTF-8) are texts. Arrays of Python objects aren't read,
    because that may run any code.

    Names such as `x_train`, `y_train`, `x_test` and `y_test`, or `train_images` and `test_images`, are the parts of the
    columns `x`, `y` and `images`. Other arrays are split at random.

    Attributes:
        path: an `.npz` file; an `.npy` file; a folder, of which all `.npy` files are read; or a mapping of `.npy` files
            by column. Relative paths are looked up below $TITRATE_DATA, then below the working folder.
        columns: the columns to read; others may have any number of rows. None: all.
        target: the column to predict, for a suggestion. None: `y`, `label` or `labels`.
        max_unpacked_gb: the maximum size in gigabytes (10^9 bytes) of an array of an `.npz` file in Fortran order,
            which is read into memory as a whole.
    """

    path: str | Mapping[str, str]
    columns: tuple[str, ...] | None = None
    target: str | None = None
    valid: Annotated[float, Range(0, bounds="()")] | None = None
    test: Annotated[float, Range(0, bounds="()")] | None = None
    max_unpacked_gb: Annotated[float, Range(0, bounds="()")] = MAX_UNPACKED_GB

    def content_digest(self) -> str:
        classes = "" if self.classes is None and self.per_class is None else self.class_column
        digest = hashlib.blake2b(f"{sorted(self._arrays)} {classes}".encode(), digest_size=16)
        for name, version in self._versions.items():
            digest.update(f"{name} {version.portable}".encode())
        return digest.hexdigest()

    def local_version(self) -> str:
        return join_local_versions(self._versions.values())

    @cached_property
    def _versions(self) -> Mapping[str, Version]:
        return {name: find_version(file) for name, file in sorted(self._files.items())}

    def sizes(self) -> Mapping[str, int]:
        return {part: len(next(iter(columns.values()))) for part, columns in self.columns_by_part.items()}

    def origin(self, part: str) -> str:
        return self._label if part == "all" else f"{self._label} ({part})"

    @property
    def class_column(self) -> str:
        return self.stratify or self._find_target() or super().class_column

    def read(self) -> Mapping[str, Mapping[str, Values]]:
        """The columns by part. They are `ArrayRows`, whose rows are read when they are sliced."""
        parts: dict[str, dict[str, Any]] = {}
        found = {name: _PART.fullmatch(name) for name in self._arrays}
        has_parts = any(match is not None and _part_of(match) == "train" for match in found.values())
        for name, rows in self._arrays.items():
            match = found[name] if has_parts else None
            if has_parts and match is None:
                train = next(other for other, match in found.items() if match and _part_of(match) == "train")
                raise DataError(
                    f"{self._label} has `{train}` of the part train, but `{name}` of no part. Rename it to "
                    f"{name}_train, or set `columns` to leave it out"
                )
            part = _part_of(match) if match else "all"
            column = _column_of(match) if match else name
            if column in parts.setdefault(part, {}):
                raise DataError(f"{self._label} has two columns {column} in the part {part}; rename one")
            parts[part][column] = rows
        return self._check_parts(parts)

    def profile(self) -> TableProfile:
        """The facts about images and their classes. Raises DataError if a column is neither."""
        name = self._find_target()
        columns: Mapping[str, Any] = next(iter(self.columns_by_part.values()))
        if name is None or name not in columns:
            hint = "" if name is None else f" {suggest_name(name, columns)}"
            raise DataError(
                f"`target` is {'missing' if name is None else f'{name}, which is no column'}.{hint} Set it to the "
                f"column to predict. Columns of {self._label}: {join_names(columns)}."
            )
        labels = self._read_labels(name, columns[name])
        images = [column for column, rows in columns.items() if _image_shape(rows) and column != name]
        if len(images) != 1 or len(columns) != 2 or labels is None:
            found = ", ".join(f"{column} {rows}" for column, rows in columns.items())
            example = _example_feature(columns, name, labels)
            raise DataError(
                f"nothing is inferred from {self._label}, which has {found}. Only uint8 images (rows, height, width, "
                "channels) and the class of each are. Set `columns` to choose them, or write a feature file such as "
                f"the following, and choose it by feature=….\n{example}"
            )
        shapes = {shape: len(columns[images[0]]) for shape in [_image_shape(columns[images[0]])] if shape}
        profile = Profile(name, "string", True, labels, None, self.locate_row, dict)
        return TableProfile(self._label, (profile,), name, images=(ImageProfile(images[0], shapes),))

    def _read_labels(self, name: str, rows: Any) -> Strings | None:
        """The classes of all rows as texts. None: the column has other values, or too many for classes."""
        if rows.ndim != 1 or rows.dtype.kind not in "iuUS":
            return None
        labels = self._read_column("target", name)
        is_few = len(labels.number_values()[0]) <= max(2, len(labels.valid) / MIN_ROWS_PER_CLASS)
        return labels.as_texts() if is_few else None

    def locate_row(self, row: int) -> str:
        for part, size in self.sizes().items():
            if row < size:
                return f"row {row} of {self.origin(part)}"
            row -= size
        raise IndexError(row)

    def _find_target(self) -> str | None:
        if self.target is not None:
            return self.target
        columns = next(iter(self.columns_by_part.values()))
        usual = [name for name in TARGETS if name in columns]
        return usual[0] if len(usual) == 1 else None

    def _check_parts(self, parts: Mapping[str, Mapping[str, Any]]) -> Mapping[str, Mapping[str, Any]]:
        known = {column for columns in parts.values() for column in columns}
        for part, columns in parts.items():
            if missing := sorted(known - columns.keys()):
                raise DataError(
                    f"{self._label} has no `{missing[0]}` in the part {part}, only {join_names(columns)}. Add it, or "
                    "set `columns` to leave it out of the others"
                )
            lengths = {name: len(rows) for name, rows in columns.items()}
            if len(set(lengths.values())) > 1:
                counts = ", ".join(f"{name} {length:,}" for name, length in lengths.items())
                raise DataError(
                    f"the arrays of {self.origin(part)} must have the same number of rows, got {counts}. Set "
                    "`columns` to choose arrays"
                )
        for column in sorted(known):
            layouts = {part: (columns[column].dtype.kind, columns[column].shape[1:]) for part, columns in parts.items()}
            if len({(kind in "US", shape) for kind, shape in layouts.values()}) > 1:
                found = ", ".join(f"{part} {columns[column]}" for part, columns in parts.items())
                raise DataError(f"`{column}` of {self._label} must have rows of one kind in all parts, got {found}")
            if {"u", "f"} <= {kind for kind, _ in layouts.values()}:
                found = ", ".join(f"{part} {columns[column].dtype}" for part, columns in parts.items())
                raise DataError(
                    f"`{column}` of {self._label} has unsigned integers in one part and floats in another, got {found}"
                    ": their scales may differ, such as 0 to 255 and 0 to 1. Save them with one type and scale"
                )
        return {part: parts[part] for part in ("all", "train", "valid", "test") if part in parts}

    @property
    def _label(self) -> str:
        return self.path if isinstance(self.path, str) else f"the files of {', '.join(self.path)}"

    @cached_property
    def _files(self) -> Mapping[str, Path]:
        """The files by column; an `.npz` file, which has several columns, has the key ""."""
        if not isinstance(self.path, str):
            if not self.path:
                raise DataError("`path` is an empty mapping. It has an .npy file for each column, such as {x: x.npy}")
            return {name: find_path(path, file=True) for name, path in self.path.items()}
        path = find_path(self.path)
        if not path.is_dir():
            return {"" if _is_archive(path) else path.stem: path}
        files = sorted(file for file in path.iterdir() if file.suffix == SUFFIX and not file.name.startswith("."))
        if not files:
            archives = sorted(file.name for file in path.glob("*.npz"))
            hint = f" Set `path` to one of its files, such as {self.path}/{archives[0]}" if archives else ""
            raise DataError(f"the folder {path} has no {SUFFIX} file.{hint}")
        return {file.stem: file for file in files}

    @cached_property
    def _arrays(self) -> Mapping[str, ArrayRows]:
        """The columns by name, before their parts are found."""
        columns: dict[str, ArrayRows] = {}
        for name, stored in self._list_stored():
            own = {name: ArrayRows(stored)}
            if stored.header.dtype.names is not None:
                own = {field: ArrayRows(stored, field) for field in stored.header.dtype.names}
            if twice := own.keys() & columns.keys():
                raise DataError(f"{self._label} has two columns {min(twice)}: an array, and a field. Rename one")
            columns |= own
        if not columns:
            raise DataError(f"{self._label} has no arrays")
        if self.columns is not None:
            wanted = {name: rows for name, rows in columns.items() if self._is_wanted(name, self.columns)}
            found = {*wanted} | {_column_of(match) for name in wanted if (match := _PART.fullmatch(name))}
            if unknown := [name for name in self.columns if name not in found]:
                hint = suggest_name(unknown[0], columns)
                raise DataError(f"`columns` lists {unknown[0]}, but {self._label} has no such array. {hint}")
            columns = wanted
        for name, rows in columns.items():
            rows.check(name)
        return columns

    def _is_wanted(self, name: str, columns: tuple[str, ...]) -> bool:
        """Whether an array, by its name in the file, is one of some columns, or a part of one."""
        match = _PART.fullmatch(name)
        return name in columns or (match is not None and _column_of(match) in columns)

    def _list_stored(self) -> Iterator[tuple[str, StoredArray]]:
        for name, path in self._files.items():
            if name:
                yield name, read_stored(path)
                continue
            with _describe_damage(str(path)), open_file(path):
                archive = zipfile.ZipFile(path)
            for member in _list_members(path, archive):
                yield member.removesuffix(SUFFIX), read_stored(path, archive, member, self.max_unpacked_gb)


class Header(NamedTuple):
    """The header of an array.

    Attributes:
        shape: its shape.
        is_fortran: whether the first axis is the fastest in the file.
        dtype: its type.
        offset: the number of bytes before its values.
    """

    shape: tuple[int, ...]
    is_fortran: bool
    dtype: np.dtype
    offset: int


@dataclass(eq=False)
class StoredArray:
    """An array in a file.

    Attributes:
        path: the file.
        archive: the `.npz` file, if it is one. Its arrays are read from start to end, and verified at their end.
        member: the name of the array in it.
        max_unpacked_gb: the maximum size of an array of an `.npz` file that is read into memory as a whole.
    """

    path: Path
    archive: zipfile.ZipFile | None = None
    member: str = ""
    max_unpacked_gb: float = MAX_UNPACKED_GB

    def __post_init__(self) -> None:
        self._lock = Lock()
        self._stream: IO[bytes] | None = None  # of the archive, before row `self._next_row`
        self._next_row = 0
        self._last: tuple[int, int, np.ndarray] | None = None  # the fields of an array are read one after another

    def __str__(self) -> str:
        return str(self.path) if self.archive is None else f"{self.member} of {self.path}"

    @cached_property
    def header(self) -> Header:
        """The header of the array."""
        with self.open() as file:
            return _read_header(file)

    @property
    def row_bytes(self) -> int:
        """The number of bytes of a row."""
        return math.prod(self.header.shape[1:]) * self.header.dtype.itemsize

    def open(self) -> IO[bytes]:
        """Opens the array at the first byte of its header."""
        return open(self.path, "rb") if self.archive is None else self.archive.open(self.member)

    def read(self, start: int, stop: int) -> np.ndarray:
        """Reads consecutive rows. Raises DataError if the file is damaged, or was changed since it was first read."""
        with self._lock, _describe_damage(str(self)):
            if self._last is None or self._last[:2] != (start, stop):
                self._last = (start, stop, self._read(start, stop))
            return self._last[2]

    def _read(self, start: int, stop: int) -> np.ndarray:
        if self._whole is not None:
            return np.ascontiguousarray(self._whole[start:stop])
        size = (stop - start) * self.row_bytes
        content = self._read_file(start, size) if self.archive is None else self._read_stream(start, stop, size)
        return np.frombuffer(content, self.header.dtype).reshape(stop - start, *self.header.shape[1:])

    def _read_file(self, start: int, size: int) -> bytearray:
        with self.open() as file:  # no file stays open, since there may be thousands
            self._check_unchanged(file)
            file.seek(start * self.row_bytes, 1)
            return _read_exactly(file, size)

    def _read_stream(self, start: int, stop: int, size: int) -> bytearray:
        if self._stream is None or self._next_row != start:
            self._stream = self.open()
            self._check_unchanged(self._stream)
            skipped = start * self.row_bytes
            while skipped:
                skipped -= len(_read_exactly(self._stream, min(skipped, BLOCK_BYTES)))
        content = _read_exactly(self._stream, size)
        self._next_row = stop
        if stop == self.header.shape[0]:  # zipfile has verified the checksum
            self._stream = None
        return content

    def _check_unchanged(self, file: IO[bytes]) -> None:
        if _read_header(file) != self.header:
            raise ValueError("it was changed since the data was first read; run again")

    @cached_property
    def _whole(self) -> np.ndarray | None:
        """An array in Fortran order, whose rows aren't consecutive bytes. It is mapped, or in memory. None: C order."""
        shape, is_fortran, dtype, offset = self.header
        if not is_fortran or len(shape) < 2 or 0 in shape:
            return None
        if self.archive is None:
            return np.memmap(self.path, dtype, "r", offset, shape, "F")
        size = math.prod(shape) * dtype.itemsize
        if size > self.max_unpacked_gb * 1e9:
            raise DataError(
                f"{self} is in Fortran order and has {size / 1e9:.3g} GB, more than `max_unpacked_gb` "
                f"(={self.max_unpacked_gb:g}). Increase it, or save the array by np.save, or in C order by "
                "np.ascontiguousarray"
            )
        with self.open() as file:
            self._check_unchanged(file)
            content = _read_exactly(file, size)
        return np.frombuffer(content, dtype).reshape(shape, order="F")


@dataclass(frozen=True, eq=False)
class ArrayRows:
    """The rows of an array in a file, or of a field of one. A slice reads them.

    Attributes:
        stored: the array.
        field: the field. None: the array has none.
    """

    stored: StoredArray
    field: str | None = None

    def __str__(self) -> str:
        return f"{self.dtype} {self.shape}"

    def __len__(self) -> int:
        return self.stored.header.shape[0]

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the column."""
        return self.stored.header.shape + self._element.shape

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return len(self.shape)

    @property
    def dtype(self) -> np.dtype:
        """The type of the numbers in the file."""
        return self._element.base

    @property
    def nbytes(self) -> int:
        """The number of bytes of all rows."""
        return math.prod(self.shape) * self.dtype.itemsize

    def __getitem__(self, rows: slice) -> np.ndarray:
        start, stop, _ = rows.indices(len(self))
        values = self.stored.read(start, max(start, stop))
        values = values if self.field is None else values[self.field]
        if values.dtype.kind == "S":
            return self._decode(values, start)
        return np.ascontiguousarray(values, values.dtype.newbyteorder("="))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        size = max(BLOCK_BYTES // max(self.stored.row_bytes, 1), 1)
        pieces = [self[start : start + size] for start in range(0, len(self), size)]
        return np.asarray(np.concatenate(pieces or [self[0:0]]), dtype)

    def check(self, name: str) -> None:
        """Raises DataError if the array has no rows on its first axis, or a type that no column reads."""
        kind, title = self.dtype.kind, f"`{name}` in {self.stored}"
        if self.stored.header.dtype.hasobject:
            raise DataError(
                f"{title} has Python objects. They are pickled, and reading them may run any code, so they aren't "
                "read; save it as numbers or as texts of NumPy, such as array.astype(str)"
            )
        if not self.shape:
            raise DataError(f"{title} is a single value, not an array of rows. Set `columns` to leave it out")
        if self._element.names is not None:
            raise DataError(f"{title} has fields within a field. Save each as an array of its own")
        is_long = kind in "iuf" and self.dtype.itemsize > MAX_ITEM_BYTES
        if kind not in "biufUSM" or is_long:
            raise DataError(f"{title} has values of the type {self.dtype}. Allowed are {ALLOWED}; {CONVERSION}")

    @property
    def _element(self) -> np.dtype:
        dtype = self.stored.header.dtype
        return dtype if self.field is None else cast(Any, dtype.fields)[self.field][0]

    def _decode(self, values: np.ndarray, start: int) -> np.ndarray:
        try:
            return np.char.decode(values, "utf-8")
        except UnicodeDecodeError:
            for row, value in enumerate(values):
                try:
                    np.char.decode(value, "utf-8")
                except UnicodeDecodeError as error:
                    raise DataError(
                        f"row {start + row} of {self.stored} is no text in UTF-8: {error.reason} {error.object!r}; "
                        "decode the texts before you save them"
                    ) from error
            raise


def read_stored(
    path: Path, archive: zipfile.ZipFile | None = None, member: str = "", max_unpacked_gb: float = MAX_UNPACKED_GB
) -> StoredArray:
    """Reads the header of an array. The arguments are those of `StoredArray`.

    Raises:
        DataError: it is no array, it is damaged, or its size doesn't match its header.
    """
    stored = StoredArray(path, archive, member, max_unpacked_gb)
    with _describe_damage(str(stored)), open_file(path):  # the last raises an error for what is no regular file
        shape, _, dtype, offset = stored.header
        found = (path.stat().st_size if archive is None else archive.getinfo(member).file_size) - offset
    needed = math.prod(shape) * dtype.itemsize
    if found != needed and not dtype.hasobject:
        fault = "is truncated after" if found < needed else "has"
        remedy = "copy or save it again" if found < needed else "a file may hold one array only"
        raise DataError(
            f"{stored} {fault} {found:,} bytes of data, where its header specifies {needed:,}, {dtype} {shape}; "
            f"{remedy}"
        )
    return stored


def _read_header(file: IO[bytes]) -> Header:
    """Raises ValueError if there is no valid header."""
    counted = _CountingReader(file)
    shape, is_fortran, dtype = read_npy_header(cast(Any, counted))
    return Header(shape, is_fortran, dtype, counted.count)


class _CountingReader:
    """Counts the bytes that are read from a file."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file, self.count = file, 0

    def read(self, size: int) -> bytes:
        content = self._file.read(size)
        self.count += len(content)
        return content


def _read_exactly(file: IO[bytes], size: int) -> bytearray:
    """Reads `size` bytes. A short file with a large size in its header needs little memory."""
    content = bytearray()
    while len(content) < size:
        chunk = file.read(min(size - len(content), BLOCK_BYTES))
        if not chunk:
            raise ValueError(f"it ends {size - len(content):,} bytes too early")
        content += chunk
    return content


@contextmanager
def _describe_damage(title: str) -> Iterator[None]:
    """Turns any error into a DataError that starts with a title."""
    try:
        yield
    except DataError:
        raise
    except MemoryError as error:
        raise DataError(f"{title} has rows that don't fit into the free memory; free some, or read less") from error
    except Exception as error:  # zipfile raises many kinds for damaged archives, also struct.error and zlib.error
        raise DataError(f"{title} can't be read: {error or type(error).__name__}") from error


def _is_archive(path: Path) -> bool:
    """Whether a file is an `.npz` file, and not an `.npy` file. Raises DataError if it is neither."""
    with open_file(path) as file:
        start = file.read(len(NPY_START))
    if start.startswith(ZIP_START) or start == NPY_START:
        return start != NPY_START
    fault = f"it starts with {start.hex(' ')}" if start else "it is empty"
    raise DataError(f"{path} is no file of NumPy: {fault}. Save arrays by np.save or np.savez; unpack packed files")


def _list_members(path: Path, archive: zipfile.ZipFile) -> list[str]:
    names = [member.filename for member in archive.infolist() if not member.is_dir()]
    if strays := [name for name in names if not name.endswith(SUFFIX)]:
        raise DataError(f"{path} has the file {strays[0]!r}, which is no array; save arrays by np.savez")
    if len(set(names)) < len(names):
        raise DataError(f"{path} has two arrays {max(names, key=names.count).removesuffix(SUFFIX)}; save it again")
    return names


def _column_of(match: re.Match[str]) -> str:
    return match["column"] or match["column_2"]


def _part_of(match: re.Match[str]) -> str:
    return SPLIT_NAMES[match["before"] or match["after"]]


def _image_shape(rows: Any) -> tuple[int, int, int] | None:
    """The height, width and channels of images; None: the rows are none."""
    if rows.dtype != np.uint8 or rows.ndim not in (3, 4):
        return None
    height, width, channels = (*rows.shape[1:], 1)[:3]
    return (height, width, channels) if channels in (1, 3) else None


def _example_feature(columns: Mapping[str, Any], target: str, labels: Strings | None) -> str:
    """A feature file for arrays, and what must be changed before it reads them."""
    first = next((column for column in columns if column != target), "x")
    has_classes = labels is not None or columns[target].dtype.kind in "bUS"
    part = f"Label, key: {target}" if has_classes else f"Numeric, key: {target}, normalize: z_score"
    rows = columns.get(first)
    kind = "Image" if rows is not None and _image_shape(rows) else "Numeric"
    lines = [
        f"  target: {{_target_: components.feature.{part}}}",
        f"  columns: {{{first}: {{_target_: components.feature.{kind}, key: {first}}}}}",
        f"  inputs: {{columns: [{first}]}}",
    ]
    if not has_classes:
        lines.append("A target of numbers needs the loss mse and, for example, the metric mae.")
    if columns[target].ndim == 2 and columns[target].dtype.kind != "U":
        lines.append(f"If {target} is one-hot, save the numbers of the classes instead, {target}.argmax(axis=1).")
    if rows is not None and rows.ndim > 2 and kind == "Numeric":
        lines.append(f"Each row of {first} must be a vector: save {first}.reshape(len({first}), -1), or uint8 images.")
    return "\n".join(lines)
