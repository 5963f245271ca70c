"""A finished run as a model: evaluates its best weights on splits, and predicts new rows."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from components.closest import suggest_name
from components.columns import is_table
from components.types import Constants, Encoded, Ragged, Source, UserError
from runner.config.config import Config
from runner.config.earlier_run import add_missing_keys, read_config
from runner.config.scalars import split_scalars
from runner.config.settings import Training
from runner.data.batches import gather_rows
from runner.data.load import Data, Features
from runner.data.python_rows import NEW, as_source, encode_labeled
from runner.data.transform import ArrayLayout, load_transform
from runner.display.progress import Progress, QuietProgress
from runner.execution.prepare import dtype_arguments, get_program, load_data
from runner.inference.predict_fn import PredictFn
from runner.inference.predictions import Predictions, make_predictions
from runner.memory import memory_error_location
from runner.platform import arithmetic_settings, cache_folder, check_not_forked, start_jax
from runner.program.parts import ProgramInputs
from runner.program.program import Program, TrainState, as_arrays
from runner.record.description import code_versions, list_changes
from runner.record.predictions import RecordedPredictions
from runner.run_folder import find_run, list_runs, read_record
from runner.training.checkpoint import load_newest
from runner.training.signals import Signals
from runner.training.trainer import Trainer


class Weights(NamedTuple):
    """The weights of a run.

    Attributes:
        parameters: the trained parameters.
        model_state: the other variables of the model, such as BatchNorm's averages.
        epoch: the epoch that they are from, counted from 1; None: no epoch ended, and these are the latest.
        epochs: the number of epochs trained so far.
    """

    parameters: Any
    model_state: Any
    epoch: int | None
    epochs: int


def load_model(name: str | Path, *, root: str | Path = "outputs", source: Source | None = None) -> TrainedModel:
    """Loads a finished run as a model.

    Args:
        name: a folder, the name of a folder below `root`, or an MLflow run id.
        root: the folder of all runs.
        source: replaces the source of the run's configuration; it must have the same rows. None: that source.

    Raises:
        UserError: there is no such run, or it has saved no weights.
    """
    folder = find_run(Path(os.path.expanduser(root)), os.path.expanduser(str(name)), "run").absolute()
    values = read_config(folder)
    return TrainedModel(folder, Config(values, values, {}, (), {}), source=source, shown=QuietProgress())


def open_model(config: Config, shown: Progress) -> TrainedModel:
    """Loads the run of `run=…` as a model.

    Args:
        config: the run's own configuration, with the overrides of the command.
        shown: the progress display.
    """
    folder = find_run(Path(config.values["folder"]), config.values["run"], "run")
    return TrainedModel(folder, config, shown=shown)


class TrainedModel:
    """A trained model.

    Attributes:
        folder: the folder of the run.
        splits: the number of rows of each split of its data.
        transform: encodes rows.
        features: the columns that it reads, and its target.
        classes: the classes, integers or booleans where the data has these, else their names. None: the target is
            real-valued.
        weights: the best weights.
    """

    def __init__(self, folder: Path, config: Config, *, source: Source | None = None, shown: Progress) -> None:
        start_jax(cache_folder())
        self.folder, self._source, self._shown = folder, source, shown
        self._record = _read_run_record(folder)
        self.splits: dict[str, int] = {one["split"]: one["rows"] for one in self._record["datasets"]}
        values = add_missing_keys(config.values)
        self._config = replace(config, values=values, raw=values)
        self._training = Training(**self._config.values["training"])
        self._static, numbers = split_scalars(self._config)
        self._static["architecture"] |= dtype_arguments(self._config)
        self._numbers = as_arrays(numbers, self._config.values["seed"])
        self.transform = load_transform(folder)
        self.features, self._constants = self.transform.features, self.transform.constants
        self._target = self.features.target.bind(self._constants["target"])
        self.classes = self._target.values or self._target.classes
        self._program = _get_cached_program(self._static, self.features, self._constants)
        self._given = _program_inputs(self._numbers, self._constants)
        self.weights = _load_best_weights(folder, self._like(), shown)
        for change in list_changes(self._record["tags"], code_versions(self._config) | arithmetic_settings()):
            shown.note(f"warning: {change}: results may differ from those of the run")

    @property
    def held_out(self) -> str:
        """The default split: `test`, else `valid`. Raises UserError where the run has neither."""
        for split in ("test", "valid"):
            if split in self.splits:
                return split
        raise UserError(f"run={self.folder.name}: nothing was held out; data.split={next(iter(self.splits))} is there")

    def evaluate(self, split: str | Mapping[str, Any] | Source = "test") -> dict[str, float]:
        """Evaluates the model.

        Args:
            split: a split of the run's data, or new rows as for `predict`, with the target.

        Returns:
            The loss and metrics, such as `test/loss`, or `new/loss` for new rows.
        """
        check_not_forked()
        if not isinstance(split, str):
            data = encode_labeled(as_source(split), self.features, self._constants)
            trainer, split = self._trainer_on(data), NEW
        else:
            trainer = self._trainer_of(split)
        return trainer.evaluate(split, *self.weights[:2])

    def predict(
        self, rows: str | Mapping[str, Any] | Source, *, tell: Callable[[str], None] | None = None
    ) -> Predictions:
        """Predicts a split of the run's data, or new rows.

        Args:
            rows: the name of a split, a mapping of raw columns, a data frame or table of pandas, Polars or Arrow, or a
                source. A column is an array, or anything that NumPy turns into one, with the rows along its first
                axis; `Ragged`; or a column of pandas, Polars or Arrow. The target is not needed, and columns that the
                model does not read are ignored.
            tell: called with each warning of a column about new rows, such as values that training never had.

        Raises:
            UserError: a column or the split is missing.
            DataError: a value is wrong; the message names its row and column.
        """
        check_not_forked()
        if not isinstance(rows, str) and not is_table(rows) and not hasattr(rows, "blocks"):
            keys = dict.fromkeys(key for column in self.features.columns.values() for key in column.keys)
            raise UserError(
                f"predict takes the name of a split, or new rows by column, {{{', '.join(map(repr, keys))}: …}}, "
                f"not {type(rows).__name__}"
            )
        if not isinstance(rows, str):
            with memory_error_location("reading the new rows", "Free some, or predict fewer rows at once."):
                encoded, warnings = self.transform.transform_with_warnings(rows)
            if tell is not None:
                for warning in warnings:
                    tell(warning)
            size = self._training.evaluation_batch_size
            with memory_error_location("predicting", f"Try a smaller training.evaluation_batch_size (it was {size})."):
                logits = self._predict_fn.logits(encoded, *self.weights[:2])
            return make_predictions(self.classes, np.arange(len(logits)), logits)
        trainer = self._trainer_of(rows)
        _, collected = trainer.examine(rows, *self.weights[:2])
        return make_predictions(self.classes, trainer.data.splits[rows], collected.logits, trainer.targets(rows))

    def answers(self, split: str = "test") -> RecordedPredictions:
        """The predictions for a split, with the target and the loss of each example."""
        check_not_forked()
        trainer = self._trainer_of(split)
        _, collected = trainer.examine(split, *self.weights[:2])
        rows, targets = trainer.data.splits[split], trainer.targets(split)
        return RecordedPredictions.from_logits(
            split, self._target.classes, rows, targets, collected.logits, collected.losses
        )

    @cached_property
    def data(self) -> Data:
        """The run's encoded data. Raises UserError where it has changed since, or is not available."""
        run = f"run={self.folder.name}"
        given = self._config.values["data"].get("given")
        if given is not None and self._source is None:
            raise UserError(
                f"{run}: its data was given from Python ({given}); only from there, "
                "runner.load(folder, source=…) can take it again"
            )
        data, _ = load_data(self._config, self._source, self._shown)
        if any(dataset["digest"] != data.fingerprint for dataset in self._record["datasets"]):
            raise UserError(
                f"{run}: its data, or how it is split, isn't what it was when the run was trained; "
                "undo that, or train again"
            )
        return replace(data, constants=self._constants)

    @cached_property
    def _predict_fn(self) -> PredictFn:
        return PredictFn(self._program, self._given, self._training.evaluation_batch_size)

    def _trainer_of(self, split: str) -> Trainer:
        if split not in self.splits:
            raise UserError(f"run={self.folder.name}: it has no split {split}. {suggest_name(split, self.splits)}")
        return self._trainer

    @cached_property
    def _trainer(self) -> Trainer:
        return self._trainer_on(self.data)

    def _trainer_on(self, data: Data) -> Trainer:
        settings = self._training, self._numbers
        return Trainer(self._program, data, *settings, progress=self._shown, signals=Signals())

    def _like(self) -> TrainState:
        """The shapes and dtypes of the train state, traced with a row of zeros."""
        rows = {
            name: {key: _empty_row(form) for key, form in arrays.items()}
            for name, arrays in self.transform.layouts.items()
        }
        return jax.eval_shape(
            self._program.init, self._given, gather_rows(rows, np.zeros(1, int)), np.zeros(1, np.int32)
        )


def _get_cached_program(static: Mapping[str, Any], features: Features, learned: Mapping[str, Constants]) -> Program:
    """The program, which is the run's own if it was trained in this process."""
    return get_program(static, features, Data(encoded={}, splits={}, constants=learned, fingerprint="", warnings=()))


def _program_inputs(numbers: Mapping[str, Any], learned: Mapping[str, Constants]) -> ProgramInputs:
    return jax.device_put(ProgramInputs(numbers, {name: dict(constants.device) for name, constants in learned.items()}))


def _empty_row(form: ArrayLayout) -> Encoded:
    array = np.zeros((1, *form.shape), form.dtype)
    return Ragged(array, np.array([0, 1])) if form.ragged else array


def _load_best_weights(folder: Path, like: TrainState, shown: Progress) -> Weights:
    """The best weights that the run has saved so far."""
    checkpoint, warnings = load_newest(folder / "checkpoints", like, (like.parameters, like.model_state))
    for warning in warnings:
        shown.note(f"warning: {warning}")
    if checkpoint is None:
        reason = "; ".join(warnings) or "it was broken off before the first, or they were deleted"
        raise UserError(f"run={folder.name}: it has no checkpoint to read: {reason}; train it again")
    state, best, meta = checkpoint
    epochs = {epoch["step"]: epoch["epoch"] for epoch in meta["history"]}
    parameters, model_state = jax.device_put(best or (state.parameters, state.model_state))
    return Weights(parameters, model_state, epochs.get(meta["best_step"]), len(epochs))


def _read_run_record(folder: Path) -> dict[str, Any]:
    """The record of the run. Raises UserError where the folder is that of a sweep."""
    record = read_record(folder)
    if (kind := record.get("kind", "run")) != "run":
        runs = ", ".join(path.name for path in list_runs(folder)) or "none"
        raise UserError(f"run={folder.name}: this is no run but a {kind}; the runs in it: {runs}")
    return record
