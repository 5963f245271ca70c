"""The outbox: a run's points, kept in its folder with the time they were made, until they are delivered.

`points.jsonl` holds a point a line; `points.covered` says how many bytes of it a durable checkpoint covers,
and only those are delivered; `points.cut` keeps points that no checkpoint covered, for their times.
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
from runner.files import open_to_append, open_to_change, read_bytes, read_text, write_atomically

MOST_POINTS = 2**30  # bytes of points that are read; no run measures so many
POINTS, COVERED, CUT = "points.jsonl", "points.covered", "points.cut"


class Point(NamedTuple):
    """What was measured at a step."""

    step: int
    timestamp: int  # ms since 1970
    values: Mapping[str, float]


class Outbox:
    """Appends points to a folder's `points.jsonl`.

    What lies beyond `covered` bytes will be made again, and so is cut; a point that is made again keeps the
    time that it had, so that delivering it twice makes no second point.
    """

    def __init__(self, folder: Path, *, covered: int = 0) -> None:
        path = folder / POINTS
        open_to_append(path).close()
        size = min(covered, path.stat().st_size)
        cover(folder, size)
        _cut(folder, size)
        self._times = _times(folder)
        self._file = open_to_append(path)

    def add(self, step: int, values: Mapping[str, float]) -> None:
        """Adds a point; its values may be NaN or infinite."""
        numbers = {key: float(value) for key, value in values.items()}
        timestamp = self._times.get(_identity(step, numbers), time.time_ns() // 1_000_000)
        line = json.dumps({"step": step, "timestamp": timestamp, "values": numbers})
        self._file.write(f"{line}\n".encode())

    def flush(self) -> int:
        """Brings all points to the disk; the size of `points.jsonl` in bytes, for a checkpoint to cover."""
        self._file.flush()
        os.fsync(self._file.fileno())
        return self._file.tell()

    def close(self) -> None:
        """Ends the writing."""
        self._file.close()


def cover(folder: Path, offset: int) -> None:
    """Notes that a durable checkpoint covers the points up to `offset` bytes."""
    write_atomically(folder / COVERED, str(offset))


def covered(folder: Path) -> int:
    """How many bytes of points a durable checkpoint covers."""
    path = folder / COVERED
    try:
        return int(read_text(path)) if path.exists() else 0
    except ValueError as error:
        raise UserError(f"{path} is damaged: it holds no number of bytes") from error


def read(folder: Path) -> bytes:
    """The points that a durable checkpoint covers, a line each."""
    size = covered(folder)
    return read_bytes(folder / POINTS, min(size, MOST_POINTS)) if size > 0 else b""


def parse(lines: Iterable[bytes]) -> Iterator[Point]:
    """The points of some lines."""
    for line in lines:
        yield Point(**json.loads(line))


def _cut(folder: Path, size: int) -> None:
    with open_to_change(folder / POINTS) as file:
        file.seek(size)
        if rest := file.read():
            # Kept before it is cut: a kill in between leaves it in both places, which does no harm.
            _append(folder / CUT, rest + b"\n")
            file.truncate(size)


def _append(path: Path, data: bytes) -> None:
    with open_to_append(path) as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _times(folder: Path) -> dict[tuple[int, frozenset[str]], int]:
    """The time of each point that was ever cut: that of its first making."""
    times: dict[tuple[int, frozenset[str]], int] = {}
    with suppress(FileNotFoundError), (folder / CUT).open("rb") as file:
        for line in file:
            with suppress(ValueError):  # a line that a kill left unfinished
                point = json.loads(line)
                times.setdefault(_identity(point["step"], point["values"]), point["timestamp"])
    return times


def _identity(step: int, values: Mapping[str, float]) -> tuple[int, frozenset[str]]:
    return step, frozenset(values)
