"""Prepares a run: loads data, builds the program and the trainer, then creates the run folder.

The folder comes last, so that a configuration error leaves no folder behind.
"""

from __future__ import annotations

import gc
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import jax
import numpy as np

from components.types import Source, UserError, Weights
from runner.config.config import Config
from runner.config.provenance import with_origin
from runner.config.scalars import split_scalars
from runner.config.settings import Training
from runner.data.batches import epoch_order
from runner.data.load import Data, Features, load_encoded
from runner.display.progress import Progress
from runner.errors import error_location
from runner.execution.open_folder import SweepMember, check_folder, open_folder
from runner.log import LOG
from runner.memory import memory_error_location
from runner.platform import cache_folder, find_unused_accelerator
from runner.program.program import Program, as_arrays
from runner.run_folder import RunFolder
from runner.signature.build import build
from runner.signature.code import digest_code, part_packages
from runner.signature.schema import SCHEMA
from runner.training.signals import Signals
from runner.training.trainer import Trainer

READ_LESS = "Free some, or read less: fewer rows, or fewer columns."
MAX_STEPS = 2**31 - 1  # of an int32 counter
MAX_PROGRAMS = 16  # compiled programs that are kept for later runs


@dataclass
class PreparedRun:
    """A run that is ready to take its steps.

    Attributes:
        config: its configuration.
        data: its encoded rows.
        tracking: where its record goes.
        trainer: what trains it.
        progress: what shows how it goes on.
        folder: its folder, locked.
        resumed: whether it goes on from an earlier process.
    """

    config: Config
    data: Data
    tracking: Any
    trainer: Trainer
    progress: Progress
    folder: RunFolder
    resumed: bool


def prepare_run(
    config: Config, source: Source | None, progress: Progress, signals: Signals, member: SweepMember | None = None
) -> PreparedRun:
    """Prepares a run.

    Args:
        config: a checked configuration.
        source: takes the place of the source that `data` names.
        progress: shows what takes time.
        signals: tells the trainer when to stop.
        member: the sweep that the run is a member of.

    Raises UserError for all that the user can fix, before there is a folder.
    """
    if warning := find_unused_accelerator():
        progress.note(f"warning: {warning}")
    if source is not None:
        config = _name_python_source(config, source)
    if member is None:
        check_folder(config)
    tracking = build_tracking(config)
    trainer = make_trainer(config, source, progress, signals)
    with with_origin(config), error_location("weights"):
        weights_fingerprint = build_weights(config).fingerprint()
    trainer.compile()
    folder, resumed = open_folder(config, trainer.data, tracking, member, begins=weights_fingerprint)
    LOG.info("the folder is %s", folder.path)
    return PreparedRun(config, trainer.data, tracking, trainer, progress, folder, resumed)


def make_trainer(config: Config, source: Source | None, progress: Progress, signals: Signals) -> Trainer:
    """Loads the data and builds the trainer. Raises UserError for all that the user can fix."""
    static, numbers = split_scalars(config)
    static["architecture"] |= dtype_arguments(config)
    with with_origin(config):
        data, features = load_data(config, source, progress)
        training = Training(**config.values["training"])
        data = limit_batches(data, training)
        if training.limit_batches is not None and not config.values["quiet"]:
            rows = ", ".join(f"{len(rows):,} rows of {name}" for name, rows in data.splits.items())
            progress.note(f"training.limit_batches={training.limit_batches}: {rows}")
        _check_splits(data, training)
        program = get_program(static, features, data)
        weights = build_weights(config)
        arrays = as_arrays(numbers, config.values["seed"])
        with memory_error_location("preparing the first batch", READ_LESS):
            return Trainer(program, data, training, arrays, weights=weights, progress=progress, signals=signals)


def load_data(config: Config, source: Source | None, progress: Progress) -> tuple[Data, Features]:
    """The encoded data and its columns. The cache serves the same configuration, rows and code only."""
    fold = None if config.values["fold"] is None else (config.values["folds"], config.values["fold"])
    nodes = [config.values["data"], config.values["feature"]]
    identity = json.dumps([nodes, digest_code(part_packages(nodes))], sort_keys=True)
    features = Features.described(config.values["feature"])
    with progress.working("preparing the data"):
        cache = cache_folder() if source is None else None
        if source is None:
            with error_location("data"):
                source = build(config.values["data"], {}, SCHEMA["data"])
        with memory_error_location("preparing the data", READ_LESS):
            data = load_encoded(source, features, identity=identity, cache=cache, fold=fold)
    LOG.info("the data is ready")
    return data, features


def limit_batches(data: Data, training: Training) -> Data:
    """With `training.limit_batches`, the rows of so many batches of each split: the same rows for any seed."""
    if training.limit_batches is None:
        return data
    most = training.limit_batches * training.batch_size
    return replace(data, splits={name: np.sort(epoch_order(rows, 0, 0)[:most]) for name, rows in data.splits.items()})


def _check_splits(data: Data, training: Training) -> None:
    rows = len(data.splits["train"])
    if training.batch_size > rows:
        raise UserError(
            f"training.batch_size={training.batch_size} is larger than the training split: choose at most {rows}"
        )
    if training.epochs * -(-rows // training.batch_size) > MAX_STEPS:
        raise UserError(f"training.epochs={training.epochs} are more steps than can be counted: {MAX_STEPS:,}")
    split = training.monitor.partition("/")[0]
    if split != "train" and split not in data.splits:
        raise UserError(
            f"training.monitor={training.monitor}: the data has no such split (it has {', '.join(data.splits)}); "
            f"hold some out by data.{split}=0.1, or set training.monitor=train/loss"
        )


def build_tracking(config: Config) -> Any:
    """The tracking. Raises UserError if it is known already that no record can go there."""
    with with_origin(config):
        with error_location("tracking"):
            tracking = build(config.values["tracking"], {}, SCHEMA["tracking"])
        tracking.describe()
    return tracking


def build_weights(config: Config) -> Weights:
    """The weights that training begins with."""
    with error_location("weights"):
        weights: Weights = build(config.values["weights"], {}, SCHEMA["weights"])
        return weights


def dtype_arguments(config: Config) -> dict[str, str]:
    """The architecture's argument `dtype`, unless the precision is the default."""
    precision = config.values["training"]["precision"]
    return {} if precision == "float32" else {"dtype": precision}


_PROGRAMS: dict[str, Program] = {}


def get_program(static: Mapping[str, Any], features: Features, data: Data) -> Program:
    """The program of a static tree. Runs that differ only in their numbers share one. A few programs are kept."""
    groups = ("feature", "architecture", "loss", "metric", "optimizer", "schedule", "regularizer", "augmentation")
    learned = {name: sorted(constants.static.items()) for name, constants in data.constants.items()}
    key = repr(([static[group] for group in groups], learned))
    if key not in _PROGRAMS:
        if len(_PROGRAMS) >= MAX_PROGRAMS:
            _forget_programs()
        _PROGRAMS[key] = Program(static, features, data.constants)
    return _PROGRAMS[key]


def _forget_programs() -> None:
    """Frees the compiled programs. JAX's own caches would keep them, and grow in a long sweep of architectures."""
    _PROGRAMS.clear()
    jax.clear_caches()
    gc.collect()


def _name_python_source(config: Config, source: Source) -> Config:
    """The configuration with the name of a source from Python in place of the source that it names."""
    name = type(source).__name__
    return replace(config, values=config.values | {"data": {"given": name}}, choices=config.choices | {"data": name})
