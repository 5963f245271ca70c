"""What the runs below a folder say of themselves: read from their files, whether or not those are whole."""

from __future__ import annotations

import json
import os
import time
from collections import ChainMap
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from components.input_files import open_file
from runner.run_folder import is_running, list_runs, read_record, read_summary

LAST_POINTS = 2**20  # bytes that hold the last two points
STAMPED = "[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9]_*"  # how the name of a run's folder begins
DAMAGED = "damaged"
FACTS = ("folder", "name", "kind", "status", "created", "age", "epochs", "seconds")


@dataclass(frozen=True)
class Entry:
    """A run as its folder tells it.

    Attributes:
        path: its folder.
        facts: those of FACTS that are known: `created` as local time, `age` in seconds since then.
        metrics: the last figures, `test/accuracy` or `best/valid/loss`.
        parameters: the leaves of its configuration by their dotted names, and the option of each group.
        words: the keys that its command line set.
    """

    path: Path
    facts: Mapping[str, Any]
    metrics: Mapping[str, float] = field(default_factory=dict)
    parameters: Mapping[str, Any] = field(default_factory=dict)
    words: frozenset[str] = frozenset()

    @cached_property
    def fields(self) -> Mapping[str, Any]:
        """All of it under one name each; facts go first."""
        return ChainMap(*(dict(part) for part in (self.facts, self.metrics, self.parameters)))


def entries(root: Path) -> list[Entry]:
    """The runs below `root`, those of a sweep too, the newest first; what can't be read is `damaged`."""
    stamped = (path for pattern in (STAMPED, f"*/{STAMPED}") for path in root.glob(pattern) if path.is_dir())
    paths = {path for path in (*list_runs(root), *stamped) if not _hidden(path.relative_to(root))}
    return sorted((_entry(root, path) for path in paths), key=lambda entry: (entry.facts["age"], entry.path))


def _hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)


def _entry(root: Path, path: Path) -> Entry:
    folder = path.relative_to(root).as_posix()
    try:
        record, end = read_record(path), read_summary(path)
        metrics = {name: value for name, value in _metrics(end).items() if value is not None}
        facts = {"folder": folder, **_facts(path, record, end)}
        words = frozenset(word.partition("=")[0].lstrip("+~") for word in record["tags"].get("overrides", "").split())
        return Entry(path, facts, metrics, dict(record["parameters"]), words)
    except (OSError, ValueError, LookupError, TypeError, AttributeError, OverflowError):
        return Entry(path, {"folder": folder, "status": DAMAGED, **_times(_changed(path))})


def _facts(path: Path, record: Mapping[str, Any], end: Mapping[str, Any]) -> dict[str, Any]:
    status = end.get("status", "interrupted")
    if status == "interrupted" and _is_running(path):
        status = "running"
    facts = {
        "name": str(record["name"]),
        "kind": record.get("kind", "run"),
        "status": status,
        "epochs": end["epochs"] if "epochs" in end else _epochs(path),
        "seconds": end.get("seconds"),
    }
    return {name: value for name, value in facts.items() if value is not None} | _times(record["created"] / 1000)


def _times(created: float) -> dict[str, Any]:
    local = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(created))
    return {"created": local, "age": time.time() - created}


def _changed(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:  # it is being deleted
        return time.time()


def _is_running(path: Path) -> bool:
    """Whether a process has the folder; somebody else's, whose lock can't be tried, is taken for abandoned."""
    with suppress(OSError):
        return (path / "lock").exists() and is_running(path)
    return False


def _metrics(end: Mapping[str, Any]) -> dict[str, Any]:
    """The figures of a run's end; of one that didn't finish, those of its best epoch so far."""
    if end.get("metrics") or not end.get("best_epoch"):
        return dict(end.get("metrics", {}))
    best = end["history"][end["best_epoch"] - 1]
    return {f"best/{name}": value for name, value in best.items() if name.startswith(("train/", "valid/"))}


def _epochs(path: Path) -> int | None:
    """The epochs that a run without an end has behind it, by its last whole point."""
    with suppress(OSError, ValueError, LookupError, TypeError):
        with open_file(path / "points.jsonl") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - LAST_POINTS))
            lines = file.read(LAST_POINTS).splitlines(keepends=True)
        whole = [line for line in lines[-2:] if line.endswith(b"\n")]
        return int(json.loads(whole[-1])["values"]["epoch"])
    return None
