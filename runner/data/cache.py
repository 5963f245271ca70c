"""Saves trees of arrays and plain values, for the cache of encoded data.

Each tree is a folder with a file for the bytes of each large array, one for those of all small arrays, and one JSON
file with the structure, the shapes and the checksums. Arrays are written piece by piece. The folder appears when it is
complete.
"""

from __future__ import annotations

import json
import math
import os
import shutil
import tempfile
import zlib
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from components.types import Ragged, RowRange
from runner.data.cache_entries import INDEX, SHARED, remove_temporary_folders
from runner.data.cached_array import ArrayWriter, CachedArray, DamagedArrayError, read_array
from runner.run_folder import LOCK, lock_new_folder

_ARRAY, _RAGGED, _RANGE = "$array", "$ragged", "$range"  # keys in the JSON that mark arrays and ranges
_MAX_MAPPED = 256  # of more large files, the smaller ones are read, as many systems allow 1,024 open files
_BUFFER_BYTES = 2**25  # of pieces that are written together, so that no file is opened for each piece


class _Array(NamedTuple):
    """An array of a tree, which may be the offsets of a `Ragged`."""

    values: np.ndarray
    is_offsets: bool = False


def save_tree(folder: Path, pieces: Iterable[Mapping[str, Any]], about: str = "") -> None:
    """Writes a tree of mappings, lists, arrays, `Ragged`, `RowRange` and plain values. Replaces a damaged folder.

    Args:
        folder: the folder of the tree.
        pieces: the tree, as consecutive pieces of its rows, which are not kept in memory. All pieces have the same
            plain values, and arrays of the same types.
        about: what the tree holds, for a list of the cache.

    Raises:
        OSError: the folder can't be written. Nothing is left of it.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    remove_temporary_folders(folder.parent)
    temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        lock = lock_new_folder(temporary)
        try:
            tree, arrays, shared_size = _write_pieces(temporary, pieces)
            content = {"about": about, "tree": tree, "arrays": arrays, "shared bytes": shared_size}
            (temporary / INDEX).write_text(json.dumps({"content": content, "checksum": _json_checksum(content)}))
            (temporary / LOCK).unlink()
            _move_into_place(temporary, folder)
        finally:
            os.close(lock)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def load_tree(folder: Path, *, whole: bool = False) -> Any:
    """Opens a tree that `save_tree` wrote, and marks its use. Large arrays are not read.

    Args:
        folder: the folder of the tree.
        whole: whether all bytes are checked now, and all arrays are NumPy arrays. Otherwise, large ones are
            `CachedArray`.

    Returns:
        The tree, with tuples in place of lists; None: it is missing or damaged.
    """
    try:
        index = json.loads(_check_regular(folder / INDEX).read_text())
        content = index["content"]
        if index["checksum"] != _json_checksum(content):
            return None
        arrays = _open_arrays(folder, content["arrays"], content["shared bytes"])
        tree = _restore(content["tree"], [np.asarray(array) for array in arrays] if whole else arrays)
        with suppress(OSError):  # the folder is read-only
            os.utime(folder / INDEX)
        return tree
    except (OSError, ValueError, LookupError, TypeError, RecursionError, DamagedArrayError):
        return None


def _write_pieces(folder: Path, pieces: Iterable[Mapping[str, Any]]) -> tuple[Any, list[dict[str, Any]], int]:
    """Writes the arrays of all pieces. Returns the tree and its arrays as JSON values, and the shared file's size."""
    tree: Any = None
    writers: list[ArrayWriter] = []
    waiting_bytes = 0
    with (folder / SHARED).open("w+b") as shared:
        for piece in pieces:
            arrays: list[_Array] = []
            flat = _flatten(piece, arrays)
            if tree is None:
                tree = flat
                writers = [ArrayWriter(folder / f"{number}.bin", *array) for number, array in enumerate(arrays)]
            for writer, (array, _) in zip(writers, arrays, strict=True):
                writer.append(array)
                waiting_bytes += array.nbytes
            if waiting_bytes >= _BUFFER_BYTES:
                _flush(writers, shared)
                waiting_bytes = 0
        _flush(writers, shared)
        (folder / SHARED).unlink()  # some of its arrays were moved out of it; the others are copied
        with (folder / SHARED).open("xb") as without_gaps:
            for writer in writers:
                writer.copy(shared, without_gaps)
            return tree, [writer.describe() for writer in writers], without_gaps.tell()


def _flush(writers: Iterable[ArrayWriter], shared: BinaryIO) -> None:
    for writer in writers:
        writer.flush(shared)
    shared.flush()


def _open_arrays(
    folder: Path, entries: Sequence[Mapping[str, Any]], shared_size: int
) -> list[np.ndarray | CachedArray]:
    """Opens the arrays of an index. Raises OSError or ValueError if a file is missing or has another size."""
    large = [_count_bytes(entry) for entry in entries if entry["segments"] is None]
    too_many = sorted(large, reverse=True)[_MAX_MAPPED:]
    min_bytes = max([0, *(size + 1 for size in too_many)])
    arrays: list[Any] = []
    with _open_file(folder / SHARED, shared_size) as shared:
        for number, entry in enumerate(entries):
            parameters = {key: value for key, value in entry.items() if key != "segments"}
            size, file = _count_bytes(entry), folder / f"{number}.bin"
            if entry["segments"] is not None:
                arrays.append(read_array(shared, entry["segments"], **parameters))
            elif size < min_bytes:
                with _open_file(file, size) as own:
                    arrays.append(read_array(own, [(0, size)], **parameters))
            else:
                arrays.append(CachedArray(_check_regular(file), **parameters))
    return arrays


def _count_bytes(entry: Mapping[str, Any]) -> int:
    return int(np.dtype(entry["dtype"]).itemsize * math.prod(entry["shape"]))


def _open_file(file: Path, size: int) -> BinaryIO:
    """Opens a regular file for reading. Raises ValueError if it has another size."""
    if _check_regular(file).stat().st_size != size:
        raise ValueError(f"{file} hasn't {size} bytes")
    return file.open("rb")


def _move_into_place(temporary: Path, folder: Path) -> None:
    """Renames a temporary folder to `folder`, and replaces a file or a damaged folder of that name."""
    with suppress(OSError):  # there is a file, or a folder that isn't empty
        temporary.rename(folder)
        return
    if load_tree(folder) is not None:  # another process has just written the same tree
        return
    if folder.is_dir() and not folder.is_symlink():
        shutil.rmtree(folder, ignore_errors=True)
    else:
        folder.unlink(missing_ok=True)
    temporary.rename(folder)


def _check_regular(file: Path) -> Path:
    """Returns the path of a regular file. Raises ValueError for anything else: a pipe would block."""
    if not file.is_file():
        raise ValueError(f"{file} is no regular file")
    return file


def _flatten(node: Any, arrays: list[_Array]) -> Any:
    """The tree as JSON values, with an index into `arrays` in place of each array. Appends the arrays to `arrays`."""
    if isinstance(node, np.ndarray):
        arrays.append(_Array(node))
        return {_ARRAY: len(arrays) - 1}
    if isinstance(node, Ragged):
        values = _flatten(node.values, arrays)  # of lists of lists, they are Ragged
        arrays.append(_Array(node.offsets, is_offsets=True))
        return {_RAGGED: [values, {_ARRAY: len(arrays) - 1}]}
    if isinstance(node, RowRange):
        return {_RANGE: [node.numbers.start, node.numbers.stop, node.numbers.step]}
    if isinstance(node, Mapping):
        return {key: _flatten(value, arrays) for key, value in node.items()}
    if isinstance(node, list | tuple):
        return [_flatten(value, arrays) for value in node]
    return node


def _restore(node: Any, arrays: Sequence[Any]) -> Any:
    if isinstance(node, dict):
        if _ARRAY in node:
            return arrays[node[_ARRAY]]
        if _RAGGED in node:
            return Ragged(*_restore(node[_RAGGED], arrays))
        if _RANGE in node:
            return RowRange(range(*node[_RANGE]))
        return {key: _restore(value, arrays) for key, value in node.items()}
    return tuple(_restore(value, arrays) for value in node) if isinstance(node, list) else node


def _json_checksum(content: Any) -> int:
    return zlib.crc32(json.dumps(content).encode())
