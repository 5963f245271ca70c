"""Saves trees of arrays and plain values, for the cache of encoded data.

Each tree is a folder with an npy file for each array and one JSON file. The folder is written atomically.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from components.types import Ragged
from runner.run_folder import LOCK, remove_abandoned_folders, try_lock

_INDEX = "index.json"
_TEMPORARY = ".?*.????????"  # the folders that `save_tree` makes: a dot, the name, a dot, and `mkdtemp`'s 8 characters
_ARRAY, _RAGGED = "$array", "$ragged"  # keys in the JSON that mark arrays
_MIN_MAPPED_BYTES = 2**20  # smaller files are read, so that a thousand columns do not need a thousand open files


def save_tree(folder: Path, tree: Mapping[str, Any]) -> None:
    """Writes a tree of mappings, lists, arrays, `Ragged` and plain values. Replaces the folder if it exists."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    remove_abandoned_folders(folder.parent, _TEMPORARY)
    temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    lock = try_lock(temporary)
    assert lock is not None
    try:
        arrays: list[np.ndarray] = []
        content: dict[str, Any] = {"tree": _flatten(tree, arrays)}
        for number, array in enumerate(arrays):
            np.save(temporary / f"{number}.npy", array, allow_pickle=False)
        content["checksums"] = [_file_checksum(temporary / f"{number}.npy") for number in range(len(arrays))]
        (temporary / _INDEX).write_text(json.dumps({"content": content, "checksum": _json_checksum(content)}))
        (temporary / LOCK).unlink()
        _move_into_place(temporary, folder)
    finally:
        os.close(lock)
        shutil.rmtree(temporary, ignore_errors=True)


def load_tree(folder: Path) -> Any:
    """Reads a tree that `save_tree` wrote. Lists become tuples, and large arrays are memory maps.

    Returns:
        The tree; None: it is missing or damaged.
    """
    try:
        index = json.loads(_check_regular(folder / _INDEX).read_text())
        content = index["content"]
        if index["checksum"] != _json_checksum(content):
            return None
        arrays = [
            _read_array(folder / f"{number}.npy", checksum) for number, checksum in enumerate(content["checksums"])
        ]
        return _restore(content["tree"], arrays)
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        return None


def _move_into_place(temporary: Path, folder: Path) -> None:
    """Renames a temporary folder to `folder`, after it has removed a file or folder of that name."""
    if folder.is_dir() and not folder.is_symlink():
        shutil.rmtree(folder, ignore_errors=True)
    else:
        folder.unlink(missing_ok=True)
    try:
        temporary.rename(folder)
    except OSError:
        if not folder.is_dir():  # otherwise another process has just written the same tree
            raise


def _read_array(file: Path, checksum: int) -> np.ndarray:
    if _file_checksum(_check_regular(file)) != checksum:
        raise ValueError(f"{file} is damaged")
    return np.load(file, mmap_mode="r" if file.stat().st_size >= _MIN_MAPPED_BYTES else None)


def _check_regular(file: Path) -> Path:
    """Returns the path of a regular file. Raises ValueError for anything else: a pipe would block."""
    if not file.is_file():
        raise ValueError(f"{file} is no regular file")
    return file


def _flatten(node: Any, arrays: list[np.ndarray]) -> Any:
    """The tree as JSON values, with an index into `arrays` in place of each array. Appends the arrays to `arrays`."""
    if isinstance(node, np.ndarray):
        arrays.append(node)
        return {_ARRAY: len(arrays) - 1}
    if isinstance(node, Ragged):
        return {_RAGGED: [_flatten(array, arrays) for array in node]}
    if isinstance(node, Mapping):
        return {key: _flatten(value, arrays) for key, value in node.items()}
    if isinstance(node, list | tuple):
        return [_flatten(value, arrays) for value in node]
    return node


def _restore(node: Any, arrays: list[np.ndarray]) -> Any:
    if isinstance(node, dict):
        if _ARRAY in node:
            return arrays[node[_ARRAY]]
        if _RAGGED in node:
            return Ragged(*_restore(node[_RAGGED], arrays))
        return {key: _restore(value, arrays) for key, value in node.items()}
    return tuple(_restore(value, arrays) for value in node) if isinstance(node, list) else node


def _json_checksum(content: Any) -> int:
    return zlib.crc32(json.dumps(content).encode())


def _file_checksum(file: Path) -> int:
    checksum = 0
    with file.open("rb") as stream:
        while chunk := stream.read(2**20):
            checksum = zlib.crc32(chunk, checksum)
    return checksum
