"""Reader of safetensors files. It reads the whole file and checks every byte of it.

The format, all little-endian: 8 bytes with the length of the header; the header, in JSON, with dtype, shape and offsets
of each array; the arrays, without gaps.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from components.input_files import open_file
from components.types import DataError

HEADER_BYTES = 16 << 20  # largest header: some hundred thousand arrays
RANKS = 64  # largest rank in NumPy
LENGTH = 8  # bytes of the length of the header
METADATA = "__metadata__"  # key of free text
FIELDS = {"dtype", "shape", "data_offsets"}

FLOATS = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "bfloat16"}
OTHERS = {
    **{f"I{8 * size}": f"<i{size}" for size in (1, 2, 4, 8)},
    **{f"U{8 * size}": f"<u{size}" for size in (1, 2, 4, 8)},
    "BOOL": "?",
}


def read_safetensors(path: Path) -> dict[str, np.ndarray]:
    """Returns the arrays of a file by name: floats in float32, other dtypes unchanged.

    Raises:
        DataError: the file is not a safetensors file or not complete, or an array has an unknown dtype or wrong
            offsets; the message names the array.
    """
    import ml_dtypes  # noqa: F401  registers bfloat16 with NumPy

    with open_file(path) as file:
        length = int.from_bytes(file.read(LENGTH), "little")
        if not 2 <= length <= HEADER_BYTES:
            raise _wrong(path, f"its header has {length:,} bytes, not 2 to {HEADER_BYTES:,}")
        header = file.read(length)
        if len(header) < length:
            raise _wrong(path, f"it ends {length - len(header):,} bytes before its header does")
        entries = _entries(path, header)
        content = file.read()
    stop = 0
    arrays = {}
    for name, entry in sorted(entries.items(), key=lambda item: item[1]["data_offsets"]):
        arrays[name], stop = _array(path, name, entry, content, stop)
    if stop != len(content):
        raise _wrong(path, f"{len(content) - stop:,} bytes trail behind its arrays")
    return {name: arrays[name] for name in entries}


def _entries(path: Path, header: bytes) -> dict[str, dict[str, Any]]:
    """Returns the description of each array in the header."""
    try:
        found = json.loads(header.decode(), object_pairs_hook=_unique, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:  # UnicodeDecodeError and JSONDecodeError are ValueErrors
        raise _wrong(path, f"its header is no JSON: {error}") from error
    if not isinstance(found, dict):
        raise _wrong(path, f"its header is a {type(found).__name__}, not a table of arrays")
    notes = found.pop(METADATA, {})
    if not isinstance(notes, dict) or not all(isinstance(note, str) for note in notes.values()):
        raise _wrong(path, f"its {METADATA} is no table of texts")
    for name, entry in found.items():
        if not isinstance(entry, dict) or entry.keys() != FIELDS:
            raise _wrong(path, f"array {name!r} isn't described by {', '.join(sorted(FIELDS))}")
        for field in ("shape", "data_offsets"):
            if not isinstance(entry[field], list) or not all(type(n) is int and n >= 0 for n in entry[field]):
                raise _wrong(path, f"array {name!r} has no whole numbers as its {field}")
        if len(entry["data_offsets"]) != 2:
            raise _wrong(path, f"array {name!r} has {len(entry['data_offsets'])} data_offsets, not 2")
    return found


def _array(path: Path, name: str, entry: dict[str, Any], content: bytes, place: int) -> tuple[np.ndarray, int]:
    """Returns the array that must start at byte `place`, and the byte after its end."""
    kind, shape, (start, stop) = entry["dtype"], entry["shape"], entry["data_offsets"]
    dtype = FLOATS.get(kind) or OTHERS.get(kind) if isinstance(kind, str) else None
    if dtype is None:
        known = ", ".join((*FLOATS, *OTHERS))
        raise DataError(f"{path}: array {name!r} is of the type {kind}; {known} are read: save it as F32")
    if len(shape) > RANKS or math.prod(size or 1 for size in shape) * np.dtype(dtype).itemsize > sys.maxsize:
        raise _wrong(path, f"array {name!r} has the shape {_short(shape)}, which no array can have")
    size = np.dtype(dtype).itemsize * math.prod(shape)
    if start != place or stop - start != size or stop > len(content):
        raise _wrong(
            path,
            f"array {name!r} lies from byte {start} to {stop} of {len(content)}; one of {kind} {_short(shape)} that "
            f"begins at {place} has {size} bytes",
        )
    count = math.prod(shape)
    array = np.frombuffer(content, dtype, count, offset=start) if count else np.zeros(0, dtype)
    with np.errstate(over="ignore", invalid="ignore"):
        return array.reshape(shape).astype(np.float32 if kind in FLOATS else dtype, copy=False), stop


def _unique(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise ValueError(f"{name!r} is there twice")
        found[name] = value
    return found


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is none of its values")


def _short(shape: Sequence[int]) -> str:
    return f"({', '.join(map(str, shape[:8]))}{', …' if len(shape) > 8 else ''})"


def _wrong(path: Path, fault: str) -> DataError:
    return DataError(f"{path} can't be read as safetensors: {fault}")
