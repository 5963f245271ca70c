"""The outcome of each run of a sweep, as `sweep.json` in its folder holds it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from runner.files import read_json, write_atomically
from runner.record.description import MANIFEST, dotted_leaves
from runner.sweep.plan import Plan, Setting, incomparable, key


@dataclass
class Outcome:
    """A run of a sweep.

    Attributes:
        words: the overrides that the sweep sets for it.
        values: their values by key, as the configuration holds them.
        status: how it ended; None: it has not started.
        folder: the name of its folder below the sweep's.
        metrics: its final metrics.
        error: why it failed.
        seconds: how long it took.
    """

    words: list[str]
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
        keys: the keys that vary.
        runs: the runs in the order of the plan.
        monitor: the metric; None: no run has ended yet.
        higher_is_better: whether a higher value of it ranks first.
        incomparable: why the runs can't be ranked; None: they can.
    """

    keys: list[str]
    runs: list[Outcome]
    monitor: str | None = None
    higher_is_better: bool = False
    incomparable: str | None = None

    def text(self) -> str:
        """Returns the manifest as JSON."""
        return json.dumps(asdict(self), indent=1)

    def save(self, folder: Path) -> None:
        """Writes the manifest into the sweep's folder."""
        write_atomically(folder / MANIFEST, self.text())


def begin(plan: Plan) -> Manifest:
    """The manifest of a sweep that has run nothing yet."""
    runs = [Outcome(list(one.varied), _values(one)) for one in plan.settings]
    return Manifest(plan.keys(), runs, incomparable=incomparable(plan.settings))


def load(folder: Path) -> Manifest:
    """Reads the manifest that `save` wrote."""
    content = read_json(folder / MANIFEST)
    return Manifest(**content | {"runs": [Outcome(**one) for one in content["runs"]]})


def common(settings: Sequence[Setting]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The leaves that all runs share, and the choices."""
    return (
        _shared([dict(dotted_leaves(one.config.values)) for one in settings]),
        _shared([one.config.choices for one in settings]),
    )


def _shared(trees: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    return {name: value for name, value in trees[0].items() if all(tree.get(name, ...) == value for tree in trees)}


def _values(setting: Setting) -> dict[str, Any]:
    found = dict(dotted_leaves(setting.config.values)) | setting.config.choices
    return {key(word): found.get(key(word), word.partition("=")[2]) for word in setting.varied}
