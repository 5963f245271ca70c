"""All that comes before the first step: data, program, trainer, and last the folder, so that a mistake leaves none."""

from __future__ import annotations

import gc
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import jax
import numpy as np

from components.types import Source, UserError, Weights
from runner import memory, platform
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
from runner.platform import cache_folder
from runner.program.program import Program, as_arrays
from runner.run_folder import RunFolder
from runner.signature.build import build
from runner.signature.code import digest_code, part_packages
from runner.signature.schema import SCHEMA
from runner.training.signals import Signals
from runner.training.trainer import Trainer

READ_LESS = "Free some, or read less: fewer rows, or fewer columns."
MOST_STEPS = 2**31 - 1  # int32
MOST_PROGRAMS = 16  # compiled programs that are kept for runs to come


@dataclass
class PreparedRun:
    """A run that is ready to take its steps."""

    config: Config
    data: Data
    tracking: Any
    trainer: Trainer
    progress: Progress
    folder: RunFolder
    resumed: bool


def prepare_run(
    config: Config, source: Source | None, shown: Progress, signals: Signals, member: SweepMember | None = None
) -> PreparedRun:
    """A run that is ready; `source` takes the place of the one that `data` names, `member` says of which sweep it is.

    Raises UserError, before the run has a folder, for all that its user can mend.
    """
    if warning := platform.find_unused_accelerator():
        shown.note(f"warning: {warning}")
    if source is not None:
        config = _given(config, source)
    if member is None:
        check_folder(config)
    tracking = build_tracking(config)
    trainer = make_trainer(config, source, shown, signals)
    data = trainer.data
    with with_origin(config), error_location("weights"):
        begins = build_weights(config).fingerprint()
    trainer.compile()
    folder, resumed = open_folder(config, data, tracking, member, begins=begins)
    LOG.info("the folder is %s", folder.path)
    return PreparedRun(config, data, tracking, trainer, shown, folder, resumed)


def make_trainer(config: Config, source: Source | None, shown: Progress, signals: Signals) -> Trainer:
    """What would train a configuration, with its data; raises UserError for all that its user can mend."""
    static, numbers = split_scalars(config)
    static["architecture"] |= dtype_arguments(config)
    with with_origin(config):
        data, features = load_data(config, source, shown)
        training = Training(**config.values["training"])
        data = limit_batches(data, training)
        if training.limit_batches is not None and not config.values["quiet"]:
            rows = ", ".join(f"{len(rows):,} rows of {name}" for name, rows in data.splits.items())
            shown.note(f"training.limit_batches={training.limit_batches}: {rows}")
        _check_splits(data, training)
        program = get_program(static, features, data)
        weights = build_weights(config)
        arrays = as_arrays(numbers, config.values["seed"])
        with memory.memory_error_location("preparing the first batch", READ_LESS):
            return Trainer(program, data, training, arrays, weights=weights, progress=shown, signals=signals)


def build_tracking(config: Config) -> Any:
    """Where the record goes; raises UserError where it can be known that it can't go there."""
    with with_origin(config):
        with error_location("tracking"):
            tracking = build(config.values["tracking"], {}, SCHEMA["tracking"])
        tracking.describe()  # raises what can be known to be wrong
    return tracking


def build_weights(config: Config) -> Weights:
    """What training begins with."""
    with error_location("weights"):
        weights: Weights = build(config.values["weights"], {}, SCHEMA["weights"])
        return weights


def load_data(config: Config, source: Source | None, shown: Progress) -> tuple[Data, Features]:
    """The encoded data and its columns; what the cache holds serves only the same configuration, rows and code."""
    fold = None if config.values["fold"] is None else (config.values["folds"], config.values["fold"])
    chosen = [config.values["data"], config.values["feature"]]
    identity = json.dumps([chosen, digest_code(part_packages(chosen))], sort_keys=True)
    features = Features.described(config.values["feature"])
    with shown.working("preparing the data"):
        cache = cache_folder() if source is None else None
        if source is None:
            with error_location("data"):
                source = build(config.values["data"], {}, SCHEMA["data"])
        with memory.memory_error_location("preparing the data", READ_LESS):
            data = load_encoded(source, features, identity=identity, cache=cache, fold=fold)
    LOG.info("the data is ready")
    return data, features


def _given(config: Config, source: Source) -> Config:
    """The configuration with a source from Python in place of the one it names."""
    name = type(source).__name__
    return replace(config, values=config.values | {"data": {"given": name}}, choices=config.choices | {"data": name})


def limit_batches(data: Data, training: Training) -> Data:
    """With `training.limit_batches`, of every split so many batches: the same rows whatever the seed."""
    if training.limit_batches is None:
        return data
    most = training.limit_batches * training.batch_size
    return replace(data, splits={name: np.sort(epoch_order(rows, 0, 0)[:most]) for name, rows in data.splits.items()})


def dtype_arguments(config: Config) -> dict[str, str]:
    """What the architecture is told of the precision; nothing where it is the usual one."""
    precision = config.values["training"]["precision"]
    return {} if precision == "float32" else {"dtype": precision}


_PROGRAMS: dict[str, Program] = {}


def get_program(static: Mapping[str, Any], features: Features, data: Data) -> Program:
    """The program of what is static: runs that differ only in their numbers share it. A few are kept."""
    groups = ("feature", "architecture", "loss", "metric", "optimizer", "schedule", "regularizer", "augmentation")
    learned = {name: sorted(constants.static.items()) for name, constants in data.constants.items()}
    key = repr(([static[group] for group in groups], learned))
    if key not in _PROGRAMS:
        if len(_PROGRAMS) >= MOST_PROGRAMS:
            _forget_programs()
        _PROGRAMS[key] = Program(static, features, data.constants)
    return _PROGRAMS[key]


def _forget_programs() -> None:
    """Frees what was compiled: JAX's own caches would keep it, and a long sweep of architectures grow with each."""
    _PROGRAMS.clear()
    jax.clear_caches()
    gc.collect()


def _check_splits(data: Data, training: Training) -> None:
    rows = len(data.splits["train"])
    if training.batch_size > rows:
        raise UserError(
            f"training.batch_size={training.batch_size} is larger than the training split: choose at most {rows}"
        )
    if training.epochs * -(-rows // training.batch_size) > MOST_STEPS:
        raise UserError(f"training.epochs={training.epochs} are more steps than can be counted: {MOST_STEPS:,}")
    split = training.monitor.partition("/")[0]
    if split != "train" and split not in data.splits:
        raise UserError(
            f"training.monitor={training.monitor}: the data has no such split (it has {', '.join(data.splits)}); "
            f"hold some out by data.{split}=0.1, or set training.monitor=train/loss"
        )
