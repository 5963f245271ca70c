"""Finds the held-out rows of a run that another run, whose weights it takes, was trained on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from components.types import Constants, UserError
from components.types.splits import SPLIT_OPTIONS
from runner.config.config import Config
from runner.config.python_words import format_override
from runner.config.recorded_config import add_defaults
from runner.data.load import Data
from runner.data.training_order import limit_batches
from runner.execution.finished_run import FinishedRun

HELD_OUT = ("valid", "test")
SPLITTING = ("valid", "test", "stratify", "seed", "valid_from", *SPLIT_OPTIONS)  # options of a source
FREE_DATA_OPTIONS = (  # of a source: they may differ between runs that have the same rows
    *SPLITTING,
    *("drop", "target", "types", "dates", "marks", "nulls", "decimal", "images"),
)


def list_differing(first: Config, other: Config) -> list[str]:
    """The keys that decide which rows the data has, and that differ between two configurations."""
    nodes = [_data_node(config) for config in (first, other)]
    keys = sorted({*nodes[0], *nodes[1]} - {*FREE_DATA_OPTIONS})
    differing = [f"data.{key}" for key in keys if nodes[0].get(key) != nodes[1].get(key)]
    return differing + ["operations"] * (first.values["operations"] != other.values["operations"])


def count_trained_rows(numbers: np.ndarray, data: Data) -> int:
    """How many rows are in the training split of a run.

    Args:
        numbers: the numbers of the rows in the data, as `Data.number_rows` returns them.
        data: the data of the run, which has the same rows.
    """
    return int(np.isin(numbers, data.number_rows("train")).sum())


def warn_of_trained_rows(
    run: FinishedRun, config: Config, data: Data, load: Callable[[Config, Mapping[str, Constants]], Data]
) -> str | None:
    """A warning about held-out rows that a run was trained on. None: there are none, or its data has other rows.

    Args:
        run: the run.
        config: the configuration of the data.
        data: the data, with its splits.
        load: loads the data of a configuration with the constants of its columns.
    """
    if run.record["datasets"][0]["digest"] == data.fingerprint or list_differing(run.config, config):
        return None
    settings = " ".join(_list_splitting(run.config, config))
    remedy = f"To hold out the same rows as that run, set {settings}" if settings else "Hold out the same rows as it"
    try:
        of_run = limit_batches(load(run.config, run.transform.constants), run.training)
    except UserError:  # such as an option that was removed
        if not settings:
            return None
        return (
            f"warning: {run.folder.name} was trained on another split of this data, perhaps on held-out rows. {remedy}"
        )
    if of_run.fingerprint != run.record["datasets"][0]["digest"]:
        return None  # the rows have changed since it was trained
    splits = [(split, data.number_rows(split)) for split in HELD_OUT if split in data.splits]
    counts = [(split, count_trained_rows(numbers, of_run), len(numbers)) for split, numbers in splits]
    found = [f"{count:,} of the {total:,} rows of the {split} split" for split, count, total in counts if count]
    if not found:
        return None
    return (
        f"warning: {run.folder.name} was trained on {' and '.join(found)}, so these can't show how good the network "
        f"is for new rows. {remedy}"
    )


def _list_splitting(run: Config, config: Config) -> Iterator[str]:
    """The settings of a run that decide about its splits and differ from those of a configuration, as overrides."""
    theirs, own = _data_node(run), _data_node(config)
    for name in SPLITTING:
        if theirs.get(name) != own.get(name):
            yield format_override(f"data.{name}", theirs.get(name))
    for name in ("folds", "fold"):
        if run.values[name] != config.values[name]:
            yield format_override(name, run.values[name])


def _data_node(config: Config) -> dict[str, Any]:
    """The configuration of the source, with the defaults of its parameters."""
    node: dict[str, Any] = add_defaults({"data": dict(config.values["data"])})["data"]
    return node
