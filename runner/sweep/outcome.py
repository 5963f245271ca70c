"""What became of each run of a sweep, as its folder keeps it in `sweep.json`."""

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
    """A run of a sweep."""

    words: list[str]  # what the sweep sets of it
    values: dict[str, Any]  # the same by key, as they were understood
    status: str | None = None  # None: its turn has not come
    folder: str | None = None  # below the sweep's
    metrics: dict[str, float] = field(default_factory=dict)
    error: str | None = None
    seconds: float = 0.0


@dataclass
class Manifest:
    """All runs of a sweep, and by what they are ranked."""

    keys: list[str]
    runs: list[Outcome]
    monitor: str | None = None  # known once a run has ended
    higher_is_better: bool = False
    incomparable: str | None = None  # why they can't be ranked

    def text(self) -> str:
        """It as JSON."""
        return json.dumps(asdict(self), indent=1)

    def save(self, folder: Path) -> None:
        """Writes it into the sweep's folder."""
        write_atomically(folder / MANIFEST, self.text())


def begin(plan: Plan) -> Manifest:
    """The manifest of a sweep of which nothing has run."""
    runs = [Outcome(list(one.varied), _values(one)) for one in plan.settings]
    return Manifest(plan.keys(), runs, incomparable=incomparable(plan.settings))


def load(folder: Path) -> Manifest:
    """What `save` wrote."""
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
