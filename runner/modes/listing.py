"""Reads what is known of the runs below a folder, also of unfinished and damaged ones."""

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
from runner.override_text import overridden_key
from runner.run_folder import is_running, list_runs, read_record, read_summary

TAIL_BYTES = 2**20  # bytes at the end of `points.jsonl` that hold at least the last two points
RUN_FOLDERS = "[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9]_*"  # folders of runs, by the date in their names
DAMAGED = "damaged"
FACT_NAMES = ("folder", "name", "kind", "status", "created", "age", "epochs", "seconds")


@dataclass(frozen=True)
class RunInfo:
    """What is known of a run.

    Attributes:
        path: its folder.
        facts: values by the names in FACT_NAMES, without those that are unknown. `created` is local time, `age` the
            seconds since then.
        metrics: the metrics of a finished run, or those of the best evaluation so far, such as `test/accuracy` or
            `best/valid/loss`.
        parameters: the values of its configuration by dotted key, and the option of each group.
        overridden: the keys that its command line set.
    """

    path: Path
    facts: Mapping[str, Any]
    metrics: Mapping[str, float] = field(default_factory=dict)
    parameters: Mapping[str, Any] = field(default_factory=dict)
    overridden: frozenset[str] = frozenset()

    @cached_property
    def fields(self) -> Mapping[str, Any]:
        """Facts, metrics and parameters in one mapping. Facts hide metrics, and metrics hide parameters."""
        return ChainMap(*(dict(part) for part in (self.facts, self.metrics, self.parameters)))


def read_runs(root: Path) -> list[RunInfo]:
    """All runs below `root`, with those of sweeps, the newest first. Unreadable ones have the status `damaged`."""
    # `list_runs` finds folders by their record, so folders without one are found by their name.
    dated = [path for pattern in (RUN_FOLDERS, f"*/{RUN_FOLDERS}") for path in root.glob(pattern) if path.is_dir()]
    paths = {path for path in (*list_runs(root), *dated) if not _is_hidden(path.relative_to(root))}
    return sorted((_read_run(root, path) for path in paths), key=lambda run: (run.facts["age"], run.path))


def _is_hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)


def _read_run(root: Path, path: Path) -> RunInfo:
    folder = path.relative_to(root).as_posix()
    try:
        record, summary = read_record(path), read_summary(path)
        facts = {"folder": folder, **_read_facts(path, record, summary)}
        metrics = {name: value for name, value in _read_metrics(summary).items() if value is not None}
        overrides = record["tags"].get("overrides", "").split()
        overridden = frozenset(map(overridden_key, overrides))
        return RunInfo(path, facts, metrics, dict(record["parameters"]), overridden)
    except (OSError, ValueError, LookupError, TypeError, AttributeError, OverflowError):
        return RunInfo(path, {"folder": folder, "status": DAMAGED, **_creation_facts(_modification_time(path))})


def _read_facts(path: Path, record: Mapping[str, Any], summary: Mapping[str, Any]) -> dict[str, Any]:
    status = summary.get("status", "interrupted")
    if status == "interrupted" and _is_running(path):
        status = "running"
    facts = {
        "name": str(record.get("title") or record["name"]),  # as in MLflow
        "kind": record.get("kind", "run"),
        "status": status,
        "epochs": summary["epochs"] if "epochs" in summary else _read_epochs(path),
        "seconds": summary.get("seconds"),
    }
    known = {name: value for name, value in facts.items() if value is not None}
    return known | _creation_facts(record["created"] / 1000)


def _creation_facts(created: float) -> dict[str, Any]:
    local = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(created))
    return {"created": local, "age": time.time() - created}


def _modification_time(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:  # another process is removing it
        return time.time()


def _is_running(path: Path) -> bool:
    """Whether a process holds the folder's lock. False if the lock can't be tried: it is another user's."""
    with suppress(OSError):
        return (path / "lock").exists() and is_running(path)
    return False


def _read_metrics(summary: Mapping[str, Any]) -> dict[str, Any]:
    """The metrics of a finished run, or those of the best evaluation so far. Empty if there was none yet."""
    if metrics := summary.get("metrics"):
        return dict(metrics)
    best_epoch = summary.get("best_epoch")
    is_best = (record for record in summary.get("history", []) if record["epoch"] == best_epoch)
    best: dict[str, Any] = next(is_best, {})
    return {f"best/{name}": value for name, value in best.items() if name.startswith(("train/", "valid/"))}


def _read_epochs(path: Path) -> float | None:
    """The epochs of a run without a summary, from its last point; None if it has none.

    A killed process may leave half a line at the end of the file.
    """
    with suppress(OSError, ValueError, LookupError, TypeError):
        with open_file(path / "points.jsonl") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - TAIL_BYTES))
            lines = file.read(TAIL_BYTES).splitlines(keepends=True)
        complete = [line for line in lines[-2:] if line.endswith(b"\n")]
        epochs = float(json.loads(complete[-1])["values"]["epoch"])
        return int(epochs) if epochs.is_integer() else epochs
    return None
