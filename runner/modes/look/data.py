"""A look at data before anything is trained on it, kept in a folder of its own and in MLflow."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from runner import files, yaml_file
from runner import run_folder as folders
from runner.config.config import Config
from runner.config.provenance import with_origin
from runner.config.settings import Training
from runner.data.batches import epoch_order
from runner.data.load import Data
from runner.display.progress import Progress
from runner.display.tables import Section
from runner.execution.prepare import build_tracking, limit_batches, load_data
from runner.figures import images as grids
from runner.figures import target as target_figures
from runner.figures.canvas import short
from runner.modes.look import tables
from runner.modes.look.view import Examples, View, images
from runner.record import description as record
from runner.tracking import DELIVERY_SECONDS, Delivery

MOST_IMAGES = 32


@dataclass(frozen=True)
class Look:
    """What a look found, and where it is kept."""

    sections: list[Section]
    folder: Path
    tracking: Mapping[str, Any]  # where its record goes; empty: nowhere


@contextlib.contextmanager
def look(config: Config, shown: Progress) -> Iterator[Look]:
    """Looks at the data that a configuration would train on, and at the end of the context waits for the record.

    Raises UserError, before it has a folder, for all that its user can mend.
    """
    view, tracking = _prepared(config, shown)
    for text in view.data.warnings:
        shown.note(f"warning: {text}")
    described = tracking.describe()
    with contextlib.closing(_folder(config, view.data, described)) as folder:
        delivery = tracking.start(folder.path)
        status = "failed"
        try:
            yield Look(_sections(config, view, folder.path / "figures", shown), folder.path, described)
            status = "finished"
        finally:
            _end(folder.path, view.data, status, delivery, shown)


def _prepared(config: Config, shown: Progress) -> tuple[View, Any]:
    """The data of a configuration as the model gets it, and where records go."""
    folders.check_root(Path(config.values["folder"]))
    with with_origin(config):
        data, features = load_data(config, None, shown)
        data = limit_batches(data, Training(**config.values["training"]))
    return View(data, features), build_tracking(config)


def _sections(config: Config, view: View, figures: Path, shown: Progress) -> list[Section]:
    """All that there is to see, in tables, in figures, and as text beside those."""
    with shown.working("looking at the data"):
        rows = epoch_order(view.data.splits["train"], config.values["seed"], 0)[
            : config.values["training"]["batch_size"]
        ]
        examples = view.examples(rows)
        targets = {split: view.targets(split) for split in view.data.splits}
    with shown.working("drawing"):
        sections = [tables.splits(view), _spread(view, targets, figures), *_examples(view, examples, figures)]
    files.write_atomically(figures / "look.txt", "\n".join(map(str, sections)))
    return sections


def _spread(view: View, targets: Mapping[str, np.ndarray], figures: Path) -> Section:
    """How the target is spread, in a table and a figure."""
    names = view.target.classes
    if names is None:
        target_figures.draw_spread(targets, figures)
        return tables.quartiles(targets)
    counts = tables.counts(targets, len(names))
    target_figures.draw_balance(counts, names, figures)
    return tables.balance(counts, names)


def _examples(view: View, examples: Examples, figures: Path) -> list[Section]:
    """A batch and its first examples, in tables and, of images, in figures."""
    names = tables.named(view.decoded(examples.target), view.target.classes)
    texts = [short(name, 16) for name in names[:MOST_IMAGES]]
    for name, values in images(examples).items():
        title = f"{name}: the first examples of training"
        grids.draw(values[:MOST_IMAGES], texts, title, figures / f"examples_{name}.png")
    sections = [tables.batch(examples), tables.lengths(examples), tables.first(examples, names, "its first examples")]
    return [section for section in sections if section is not None]


def _folder(config: Config, data: Data, described: Mapping[str, Any]) -> folders.RunFolder:
    """A folder of its own, whose digest no run has: none would take it for its own and go on there."""
    mark = folders.run_digest(config.values | {"look": True}, data.fingerprint)
    made = record.describe_run(config, data, mark, described)
    made |= {"kind": "look", "name": f"look_{made['name']}"}
    files = {
        "config.yaml": yaml_file.dump(config.values),
        "overrides.yaml": yaml_file.dump(list(config.overrides)),
        "record.json": json.dumps(made, indent=1),
    }
    return folders.create_folder(Path(config.values["folder"]), made["name"], mark, files)


def _end(folder: Path, data: Data, status: str, delivery: Delivery, shown: Progress) -> None:
    """Writes down how it ended, and waits a little for the record."""
    metrics = {f"{split}/rows": len(rows) for split, rows in data.splits.items()}
    summary = {"status": status, "run_id": None, "metrics": metrics}
    folders.write_summary(folder, summary)
    with shown.working("bringing it to MLflow"):
        summary["run_id"] = delivery.close(DELIVERY_SECONDS)
    folders.write_summary(folder, summary)
    if note := delivery.describe_missing():
        shown.note(note)
