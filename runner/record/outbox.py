"""The outbox: a run writes its points to files in its folder, and another process delivers them to MLflow.

- `points.jsonl` holds a point a line, with its timestamp. Only the run appends to it.
- `points.covered` holds a number: how many bytes of `points.jsonl` the last durable checkpoint covers. A run that
  resumes from the checkpoint doesn't measure these points again. Only these points are delivered.
- `points.cut` holds the points that a resume removed from `points.jsonl`, because its checkpoint doesn't cover them.
  The resumed run measures them again and gives them their first timestamps. A removed point may have been delivered if
  a newer checkpoint covered it and was then lost. MLflow then gets the identical point twice, and keeps one.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from components.types import UserError
from runner.files import open_to_append, open_to_update, read_bytes, read_text, write_atomically

MAX_BYTES = 2**30  # bytes of `points.jsonl` that are read; no run writes more
POINTS_FILE, COVERED_FILE, CUT_FILE = "points.jsonl", "points.covered", "points.cut"


class Point(NamedTuple):
    """The metrics at one step.

    Attributes:
        step: the step.
        timestamp: milliseconds since 1970.
        values: the metrics by name.
    """

    step: int
    timestamp: int
    values: Mapping[str, float]


class Outbox:
    """Appends points to the `points.jsonl` of a run's folder.

    Args:
        folder: the run's folder.
        checkpointed_size: the bytes of points that the checkpoint covers from which the run resumes. Later points are
            removed.
    """

    def __init__(self, folder: Path, *, checkpointed_size: int = 0) -> None:
        path = folder / POINTS_FILE
        open_to_append(path).close()  # creates it
        size = min(checkpointed_size, path.stat().st_size)
        write_checkpointed_size(folder, size)
        _move_uncovered(folder, size)
        self._timestamps = _load_timestamps(folder)
        self._file = open_to_append(path)

    def add(self, step: int, values: Mapping[str, float]) -> None:
        """Adds a point; its values may be NaN or infinite."""
        numbers = {key: float(value) for key, value in values.items()}
        timestamp = self._timestamps.get(_point_identity(step, numbers), time.time_ns() // 1_000_000)
        line = json.dumps({"step": step, "timestamp": timestamp, "values": numbers})
        self._file.write(f"{line}\n".encode())

    def flush(self) -> int:
        """Writes all points to the disk, and returns the size of `points.jsonl` in bytes for a checkpoint to cover."""
        self._file.flush()
        os.fsync(self._file.fileno())
        return self._file.tell()

    def close(self) -> None:
        """Closes the file."""
        self._file.close()


def write_checkpointed_size(folder: Path, size: int) -> None:
    """Records that a durable checkpoint covers the first `size` bytes of points."""
    write_atomically(folder / COVERED_FILE, str(size))


def read_checkpointed_size(folder: Path) -> int:
    """The number of bytes of points that a durable checkpoint covers."""
    path = folder / COVERED_FILE
    try:
        return int(read_text(path)) if path.exists() else 0
    except ValueError as error:
        raise UserError(f"{path} is damaged: it holds no number of bytes") from error


def read_checkpointed_points(folder: Path) -> bytes:
    """Reads the points that a durable checkpoint covers, a line each."""
    size = read_checkpointed_size(folder)
    return read_bytes(folder / POINTS_FILE, min(size, MAX_BYTES)) if size > 0 else b""


def parse_points(lines: Iterable[bytes]) -> Iterator[Point]:
    """Parses lines of `points.jsonl`."""
    for line in lines:
        yield Point(**json.loads(line))


def _move_uncovered(folder: Path, size: int) -> None:
    """Moves the points after `size` bytes from `points.jsonl` to `points.cut`."""
    with open_to_update(folder / POINTS_FILE) as file:
        file.seek(size)
        if uncovered := file.read():
            # Append before truncating: a kill in between leaves the points in both files, which is harmless. The line
            # break ends the last point, which a kill may have left incomplete.
            _append_to_disk(folder / CUT_FILE, uncovered + b"\n")
            file.truncate(size)


def _append_to_disk(path: Path, data: bytes) -> None:
    with open_to_append(path) as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _load_timestamps(folder: Path) -> dict[tuple[int, frozenset[str]], int]:
    """The first timestamp of each point that was ever removed from `points.jsonl`."""
    timestamps: dict[tuple[int, frozenset[str]], int] = {}
    with suppress(FileNotFoundError), (folder / CUT_FILE).open("rb") as file:
        for line in file:
            with suppress(ValueError):  # an incomplete line
                point = json.loads(line)
                timestamps.setdefault(_point_identity(point["step"], point["values"]), point["timestamp"])
    return timestamps


def _point_identity(step: int, values: Mapping[str, float]) -> tuple[int, frozenset[str]]:
    """The step and the metrics' names: a run adds at most one point with both the same."""
    return step, frozenset(values)
