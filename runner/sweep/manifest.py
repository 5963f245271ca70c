"""The manifest of a sweep: all its runs with their results, which `sweep.json` in its folder holds."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from runner.files import read_json, write_atomically
from runner.run_folder import MANIFEST
from runner.sweep.plan import Plan, PlannedRun, explain_incomparable, override_key
from runner.tree import dotted_leaves


@dataclass
class SweepRun:
    """A run of a sweep with its result.

    Attributes:
        overrides: the overrides that distinguish it from the other runs. In `sweep.json` their key is `words`.
        values: the values of these overrides in the configuration, by key.
        status: how it ended; None: it has not started.
        folder: the name of its folder below the sweep's.
        metrics: its final metrics.
        error: why it failed.
        seconds: how long it took.
    """

    overrides: list[str]
    values: dict[str, Any]
    status: str | None = None
    folder: str | None = None
    metrics: dict[str, float] = field(default_factory=dict)
    error: str | None = None
    seconds: float = 0.0


@dataclass
class Manifest:
    """All runs of a sweep, and the metric that ranks them.

    Attributes:
        keys: the keys that differ between the runs.
        runs: the runs in the order of the plan.
        monitor: the metric; None: no run has ended yet.
        higher_is_better: whether a higher value of it ranks first.
        incomparable: why the runs can't be ranked; None: they can.
    """

    keys: list[str]
    runs: list[SweepRun]
    monitor: str | None = None
    higher_is_better: bool = False
    incomparable: str | None = None

    def to_json(self) -> str:
        """Formats the manifest as JSON."""
        runs = [
            {"words" if name == "overrides" else name: value for name, value in asdict(run).items()}
            for run in self.runs
        ]
        return json.dumps(asdict(self) | {"runs": runs}, indent=1)

    def save(self, folder: Path) -> None:
        """Writes the manifest into the sweep's folder."""
        write_atomically(folder / MANIFEST, self.to_json())


def create_manifest(plan: Plan) -> Manifest:
    """The manifest of a sweep that has not started."""
    runs = [SweepRun(list(run.overrides), _override_values(run)) for run in plan.runs]
    return Manifest(plan.varied_keys(), runs, incomparable=explain_incomparable(plan.runs))


def load_manifest(folder: Path) -> Manifest:
    """Reads the manifest in a sweep's folder."""
    content = read_json(folder / MANIFEST)
    content["runs"] = [SweepRun(overrides=run.pop("words"), **run) for run in content["runs"]]
    return Manifest(**content)


def shared_values(runs: Sequence[PlannedRun]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The values, by dotted key, and the options, by group, that all runs share."""
    values = [dict(dotted_leaves(run.config.values)) for run in runs]
    options = [run.config.choices for run in runs]
    return _intersect(values), _intersect(options)


def _intersect(mappings: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The entries that all mappings have. `...` stands for a missing value, since None is a value."""
    return {
        name: value
        for name, value in mappings[0].items()
        if all(mapping.get(name, ...) == value for mapping in mappings)
    }


def _override_values(run: PlannedRun) -> dict[str, Any]:
    """The values of a run's overrides by key.

    If the key is no leaf of the configuration, such as a mapping, the value is the text after the `=`. So is that of a
    group whose option has fields: the name of the option alone doesn't distinguish the runs.
    """
    pairs = [(override_key(override), override.partition("=")[2]) for override in run.overrides]
    choices = run.config.choices
    values = dict(dotted_leaves(run.config.values)) | choices
    return {key: text if key in choices and "{" in text else values.get(key, text) for key, text in pairs}
