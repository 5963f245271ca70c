"""Arrays with a note in JSON as one npz file, which is there whole or not at all."""

from __future__ import annotations

import json
import os
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

DAMAGE = (FileNotFoundError, EOFError, KeyError, ValueError, zipfile.BadZipFile, zlib.error)
"""What `read` raises where a file is missing or not whole."""


def write(path: Path, arrays: Mapping[str, np.ndarray], meta: Mapping[str, Any]) -> None:
    """Writes the file, and returns once it is on the disk."""
    named: dict[str, Any] = {"meta": np.frombuffer(json.dumps(meta).encode(), np.uint8), **arrays}
    temporary = path.with_suffix(".tmp")
    try:
        with temporary.open("wb") as file:
            np.savez(file, allow_pickle=False, **named)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        _sync_folder(path.parent)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise


def read(path: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The note and the arrays; raises one of DAMAGE."""
    with path.open("rb") as file, np.load(file) as archive:
        arrays = {name: archive[name] for name in archive.files}
    return json.loads(arrays.pop("meta").tobytes()), arrays


def read_meta(path: Path) -> dict[str, Any]:
    """The note alone; raises one of DAMAGE."""
    with zipfile.ZipFile(path) as archive, archive.open("meta.npy") as file:
        return json.loads(np.load(file).tobytes())


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
