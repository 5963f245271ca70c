"""Reader of safetensors files, which reads the whole file and checks every byte.

The format, all little-endian: 8 bytes with the length of the header; the header, a JSON mapping of names to dtype,
shape and offsets of an array; the contents of the arrays, one directly after the other.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from components.input_files import open_file
from components.types import DataError

MAX_HEADER_BYTES = 16 << 20  # enough for some hundred thousand arrays
MAX_RANK = 64  # of NumPy
LENGTH_BYTES = 8  # size of the length of the header
METADATA = "__metadata__"  # key of the header that holds strings instead of an array
FIELDS = {"dtype", "shape", "data_offsets"}

FLOATS = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "bfloat16"}
INTEGERS = {
    **{f"I{8 * size}": f"<i{size}" for size in (1, 2, 4, 8)},
    **{f"U{8 * size}": f"<u{size}" for size in (1, 2, 4, 8)},
    "BOOL": "?",
}


def read_safetensors(path: Path) -> dict[str, np.ndarray]:
    """Returns the arrays of a file by name. Floats are converted to float32, other dtypes are unchanged.

    Raises:
        DataError: the file is not a complete safetensors file, or an array has an unknown dtype or wrong offsets. The
            message names the array.
    """
    import ml_dtypes  # noqa: F401  registers bfloat16 with NumPy

    with open_file(path) as file:
        entries = _read_header(path, file)
        content = file.read()
    stop = 0
    arrays = {}
    for name, entry in sorted(entries.items(), key=lambda item: item[1]["data_offsets"]):
        arrays[name], stop = _read_array(path, name, entry, content, stop)
    if stop != len(content):
        raise _make_error(path, f"there are {len(content) - stop:,} bytes after the last array")
    return {name: arrays[name] for name in entries}


def read_shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """Returns the shapes of the arrays of a file by name, from its header. The arrays are not read.

    Raises:
        DataError: the header is damaged.
    """
    with open_file(path) as file:
        return {name: tuple(entry["shape"]) for name, entry in _read_header(path, file).items()}


def _read_header(path: Path, file: BinaryIO) -> dict[str, dict[str, Any]]:
    """Returns the fields of each array by name. The file is left at its first array."""
    length = int.from_bytes(file.read(LENGTH_BYTES), "little")
    if not 2 <= length <= MAX_HEADER_BYTES:
        raise _make_error(path, f"the header must have 2 to {MAX_HEADER_BYTES:,} bytes, got {length:,}")
    header = file.read(length)
    if len(header) < length:
        raise _make_error(path, f"the file ends {length - len(header):,} bytes before the end of its header")
    return _parse_header(path, header)


def _parse_header(path: Path, header: bytes) -> dict[str, dict[str, Any]]:
    """Returns the fields of each array by name."""
    try:
        entries = json.loads(header.decode(), object_pairs_hook=_build_mapping, parse_constant=_reject_constant)
    except (ValueError, RecursionError) as error:  # UnicodeDecodeError and JSONDecodeError are ValueErrors
        raise _make_error(path, f"the header is not valid JSON: {error}") from error
    if not isinstance(entries, dict):
        raise _make_error(path, f"the header must be a mapping, got {type(entries).__name__}")
    metadata = entries.pop(METADATA, {})
    if not isinstance(metadata, dict) or not all(isinstance(text, str) for text in metadata.values()):
        raise _make_error(path, f"{METADATA} must be a mapping of strings")
    for name, entry in entries.items():
        if not isinstance(entry, dict) or entry.keys() != FIELDS:
            raise _make_error(path, f"array {name!r} must have the fields {', '.join(sorted(FIELDS))}, and no others")
        for field in ("shape", "data_offsets"):
            if not isinstance(entry[field], list) or not all(type(n) is int and n >= 0 for n in entry[field]):
                raise _make_error(path, f"{field} of array {name!r} must be a list of whole numbers, 0 or more")
        if len(entry["data_offsets"]) != 2:
            raise _make_error(path, f"array {name!r} must have 2 data_offsets, got {len(entry['data_offsets'])}")
    return entries


def _read_array(path: Path, name: str, entry: dict[str, Any], content: bytes, offset: int) -> tuple[np.ndarray, int]:
    """Returns the array that must start at byte `offset`, and the offset after its last byte."""
    dtype_name, shape, (start, stop) = entry["dtype"], entry["shape"], entry["data_offsets"]
    dtype = FLOATS.get(dtype_name) or INTEGERS.get(dtype_name) if isinstance(dtype_name, str) else None
    if dtype is None:
        known = ", ".join((*FLOATS, *INTEGERS))
        raise DataError(
            f"{path}: array {name!r} has the unknown dtype {dtype_name}. Known: {known}. Save the array as F32."
        )
    if len(shape) > MAX_RANK or math.prod(size or 1 for size in shape) * np.dtype(dtype).itemsize > sys.maxsize:
        raise _make_error(path, f"array {name!r} has the impossible shape {_format_shape(shape)}")
    size = np.dtype(dtype).itemsize * math.prod(shape)
    if (start, stop) != (offset, offset + size) or stop > len(content):
        raise _make_error(
            path,
            f"array {name!r}, {dtype_name} {_format_shape(shape)}, must be at bytes {offset} to {offset + size}, got "
            f"bytes {start} to {stop} of {len(content)}",
        )
    count = math.prod(shape)
    array = np.frombuffer(content, dtype, count, offset=start) if count else np.zeros(0, dtype)
    with np.errstate(over="ignore", invalid="ignore"):
        return array.reshape(shape).astype(np.float32 if dtype_name in FLOATS else dtype, copy=False), stop


def _build_mapping(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    mapping: dict[str, Any] = {}
    for name, value in pairs:
        if name in mapping:
            raise ValueError(f"the name {name!r} occurs twice")
        mapping[name] = value
    return mapping


def _reject_constant(name: str) -> None:
    raise ValueError(f"{name} is not allowed")


def _format_shape(shape: Sequence[int]) -> str:
    return f"({', '.join(map(str, shape[:8]))}{', …' if len(shape) > 8 else ''})"


def _make_error(path: Path, problem: str) -> DataError:
    return DataError(f"{path} can't be read as safetensors: {problem}")
