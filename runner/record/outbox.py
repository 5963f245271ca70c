"""The outbox: keeps a run's points with their timestamps in its folder, until they are delivered.

`points.jsonl` holds a point a line. `points.covered` holds the number of its bytes that a durable checkpoint covers;
only these are delivered. On resume the other points move to `points.cut`. The run measures them again, and they get
the timestamps that they had, so that a point that was delivered before has the same timestamp again.
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

MOST_POINTS = 2**30  # bytes that are read; no run measures so many points
POINTS, COVERED, CUT = "points.jsonl", "points.covered", "points.cut"


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
        covered: the bytes that the checkpoint covers from which the run resumes. Points after these are removed.
    """

    def __init__(self, folder: Path, *, covered: int = 0) -> None:
        path = folder / POINTS
        open_to_append(path).close()
        size = min(covered, path.stat().st_size)
        cover(folder, size)
        _move_uncovered(folder, size)
        self._times = _load_times(folder)
        self._file = open_to_append(path)

    def add(self, step: int, values: Mapping[str, float]) -> None:
        """Adds a point; its values may be NaN or infinite."""
        numbers = {key: float(value) for key, value in values.items()}
        timestamp = self._times.get(_point_identity(step, numbers), time.time_ns() // 1_000_000)
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


def cover(folder: Path, offset: int) -> None:
    """Records that a durable checkpoint covers the points up to `offset` bytes."""
    write_atomically(folder / COVERED, str(offset))


def covered(folder: Path) -> int:
    """The number of bytes of points that a durable checkpoint covers."""
    path = folder / COVERED
    try:
        return int(read_text(path)) if path.exists() else 0
    except ValueError as error:
        raise UserError(f"{path} is damaged: it holds no number of bytes") from error


def read(folder: Path) -> bytes:
    """Reads the points that a durable checkpoint covers, a line each."""
    size = covered(folder)
    return read_bytes(folder / POINTS, min(size, MOST_POINTS)) if size > 0 else b""


def parse(lines: Iterable[bytes]) -> Iterator[Point]:
    """Parses lines into points."""
    for line in lines:
        yield Point(**json.loads(line))


def _move_uncovered(folder: Path, size: int) -> None:
    with open_to_update(folder / POINTS) as file:
        file.seek(size)
        if rest := file.read():
            # Append before truncating: a kill in between leaves the points in both files, which is harmless.
            _append_to_disk(folder / CUT, rest + b"\n")
            file.truncate(size)


def _append_to_disk(path: Path, data: bytes) -> None:
    with open_to_append(path) as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _load_times(folder: Path) -> dict[tuple[int, frozenset[str]], int]:
    """The first timestamp of each point that was ever removed from `points.jsonl`."""
    times: dict[tuple[int, frozenset[str]], int] = {}
    with suppress(FileNotFoundError), (folder / CUT).open("rb") as file:
        for line in file:
            with suppress(ValueError):  # a kill left the line incomplete
                point = json.loads(line)
                times.setdefault(_point_identity(point["step"], point["values"]), point["timestamp"])
    return times


def _point_identity(step: int, values: Mapping[str, float]) -> tuple[int, frozenset[str]]:
    return step, frozenset(values)
