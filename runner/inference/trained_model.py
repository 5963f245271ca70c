"""A finished run as a trained model: evaluates its best weights on splits, and predicts new rows."""

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
from components.types import Encoded, Ragged, Source, TargetSpec, UserError, get_only
from runner.config.config import Config
from runner.config.earlier_run import add_missing_keys, read_config
from runner.config.scalars import split_scalars
from runner.config.settings import Training
from runner.data.batches import gather_rows
from runner.data.encode import TARGET
from runner.data.load import Data
from runner.data.python_rows import NEW_SPLIT, as_source, encode_labeled
from runner.data.transform import ArrayLayout, load_transform
from runner.display.progress import Progress, QuietProgress
from runner.execution.prepare import dtype_arguments, get_program, load_data
from runner.inference.predict_fn import PredictFn
from runner.inference.predictions import Predictions, make_predictions
from runner.memory import memory_error_location
from runner.platform import arithmetic_settings, cache_folder, check_not_forked, start_jax
from runner.program.objective import ExampleOutputs
from runner.program.parts import ProgramInputs
from runner.program.program import TrainState, evaluated_weights, numbers_to_arrays
from runner.record.description import code_versions, list_changes
from runner.record.predictions import RecordedPredictions
from runner.run_folder import find_run, list_runs, read_record
from runner.training.checkpoint import load_newest_checkpoint
from runner.training.evaluator import Evaluator, record_predictions


class BestWeights(NamedTuple):
    """The best weights of a run.

    Attributes:
        parameters: the trained parameters.
        model_state: the other variables of the model, such as BatchNorm's averages.
        epoch: the epochs until the best evaluation. None: nothing was evaluated, and these are the latest weights.
        epochs: the number of epochs trained so far.
    """

    parameters: Any
    model_state: Any
    epoch: float | None
    epochs: float


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
    return TrainedModel(folder, Config(values, values, {}, (), {}), source=source, progress=QuietProgress())


def open_model(config: Config, progress: Progress) -> TrainedModel:
    """Loads the run that `run=…` names as a model.

    Args:
        config: the configuration of the run, with the overrides of the command.
        progress: the progress display.
    """
    folder = find_run(Path(config.values["folder"]), config.values["run"], "run")
    return TrainedModel(folder, config, progress=progress)


class TrainedModel:
    """A trained model.

    Attributes:
        folder: the run folder.
        splits: the number of rows of each split of the run's data.
        transform: encodes rows.
        features: the columns that the model reads, and its target.
        targets: the targets by name; a single one is called `target`.
        weights: the best weights.
    """

    def __init__(self, folder: Path, config: Config, *, source: Source | None = None, progress: Progress) -> None:
        start_jax(cache_folder())
        self.folder, self._source, self._progress = folder, source, progress
        self._record = _read_run_record(folder)
        self.splits: dict[str, int] = {dataset["split"]: dataset["rows"] for dataset in self._record["datasets"]}
        values = add_missing_keys(config.values)
        self._config = replace(config, values=values, raw=values)
        self._training = Training.from_config(self._config.values["training"])
        static, numbers = split_scalars(self._config)
        static["architecture"] |= dtype_arguments(self._config)
        self._numbers = numbers_to_arrays(numbers, self._config.values["seed"])
        self.transform = load_transform(folder)
        self.features, self._constants = self.transform.features, self.transform.constants
        self.targets = self.features.bind_targets(self._constants)
        self._program = get_program(static, self.features, self._constants, compiled=self._training.compile)
        device_constants = {name: dict(constants.device) for name, constants in self._constants.items()}
        self._program_inputs = jax.device_put(ProgramInputs(self._numbers, device_constants))
        self.weights = self._load_best_weights()
        for change in list_changes(self._record["tags"], code_versions(self._config) | arithmetic_settings()):
            progress.note(f"warning: {change}: results may differ from those of the run")

    @property
    def classes(self) -> tuple[str | int | bool, ...] | None:
        """The classes of the only target: integers or booleans if the data has these, else names; None: numbers."""
        spec: TargetSpec = get_only(self.targets, "target", "TrainedModel.targets")
        return spec.values or spec.classes

    def _state_shapes(self) -> TrainState:
        """The training state, with shapes and dtypes in place of arrays."""
        empty_rows = {
            name: {key: _empty_row(layout) for key, layout in layouts.items()}
            for name, layouts in self.transform.layouts.items()
        }
        encoded = gather_rows(empty_rows, np.zeros(1, int))
        return self._program.state_shapes(self._program_inputs, encoded, np.zeros(1, np.int32))

    def _load_best_weights(self) -> BestWeights:
        """The best weights that the run has saved so far. Raises UserError if it has saved none."""
        parts = self._program.build_parts(self._program_inputs)
        shapes, unfrozen_shapes = self._state_shapes(), None
        if parts.members.frozen_until is not None:
            unfrozen_shapes = jax.eval_shape(self._program.unfreeze, self._program_inputs, shapes)
        weights_shapes = shapes.parameters, shapes.model_state
        checkpoint, warnings = load_newest_checkpoint(
            self.folder / "checkpoints", shapes, weights_shapes, unfrozen_shapes
        )
        for warning in warnings:
            self._progress.note(f"warning: {warning}")
        if checkpoint is None:
            reason = "; ".join(warnings) or "it was interrupted before the first one, or they were removed"
            raise UserError(
                f"run={self.folder.name}: the run has no checkpoint that can be read: {reason}. Train it again."
            )
        state, best, metadata = checkpoint
        epochs = {record["step"]: record["epoch"] for record in metadata["history"]}
        parameters, model_state = jax.device_put(best or evaluated_weights(parts, state))
        return BestWeights(parameters, model_state, epochs.get(metadata["best_step"]), max(epochs.values(), default=0))

    @property
    def default_split(self) -> str:
        """`test`, or else `valid`. Raises UserError if the run has neither."""
        for split in ("test", "valid"):
            if split in self.splits:
                return split
        raise UserError(
            f"run={self.folder.name}: the run has no test or valid split. "
            f"Evaluate the one that it has with data.split={next(iter(self.splits))}."
        )

    def evaluate(self, split: str | Mapping[str, Any] | Source = "test") -> dict[str, float]:
        """Evaluates the model.

        Args:
            split: a split of the run's data, or new rows as for `predict`, with the target.

        Returns:
            The loss and metrics, such as `test/loss`, or `new/loss` for new rows.
        """
        check_not_forked()
        if isinstance(split, str):
            evaluator = self._evaluator_for(split)
        else:
            data = encode_labeled(as_source(split), self.features, self._constants)
            evaluator, split = self._make_evaluator(data), NEW_SPLIT
        return evaluator.evaluate(split, self.weights.parameters, self.weights.model_state)

    def predict(
        self, rows: str | Mapping[str, Any] | Source, *, on_warning: Callable[[str], None] | None = None
    ) -> Predictions | dict[str, Predictions]:
        """Predicts a split of the run's data, or new rows. With several targets, returns predictions by target name.

        Args:
            rows: the name of a split, a mapping of raw columns, a data frame or table of pandas, Polars or Arrow, or a
                source. A column is an array, or anything that NumPy turns into one, with the rows along its first
                axis; `Ragged`; or a column of pandas, Polars or Arrow. The target is not needed, and columns that the
                model does not read are ignored.
            on_warning: called with each warning of a column about new rows, such as values that training never had.

        Raises:
            UserError: a column or the split is missing.
            DataError: a value is wrong; the message names its row and column.
        """
        check_not_forked()
        if isinstance(rows, str):
            evaluator, outputs = self._evaluate_with_outputs(rows)
            return self._make_predictions(evaluator.data.splits[rows], outputs.logits, evaluator.compute_targets(rows))
        if not is_table(rows) and not hasattr(rows, "blocks"):
            keys = dict.fromkeys(key for column in self.features.columns.values() for key in column.keys)
            raise UserError(
                f"predict: the rows are of the type {type(rows).__name__}. "
                f"Pass the name of a split, or new rows by column: {{{', '.join(map(repr, keys))}: …}}."
            )
        with memory_error_location("reading the new rows", "Free some, or predict fewer rows at once."):
            encoded, warnings = self.transform.transform_with_warnings(rows)
        if on_warning is not None:
            for warning in warnings:
                on_warning(warning)
        size = self._training.evaluation_batch_size
        with memory_error_location("predicting", f"Try a smaller training.evaluation_batch_size (it was {size})."):
            logits = self._predict_fn.logits(encoded, self.weights.parameters, self.weights.model_state)
        return self._make_predictions(np.arange(len(next(iter(logits.values())))), logits, {})

    def _make_predictions(
        self, rows: np.ndarray, logits: Mapping[str, np.ndarray], targets: Mapping[str, np.ndarray]
    ) -> Predictions | dict[str, Predictions]:
        predictions = {
            name: make_predictions(spec, rows, logits[name], targets.get(name)) for name, spec in self.targets.items()
        }
        return predictions.get(TARGET, predictions)

    def predict_with_losses(self, split: str = "test") -> list[RecordedPredictions]:
        """The predictions for a split by target, with the target and the loss of each example."""
        check_not_forked()
        evaluator, outputs = self._evaluate_with_outputs(split)
        return record_predictions(evaluator, split, outputs)

    def _evaluate_with_outputs(self, split: str) -> tuple[Evaluator, ExampleOutputs]:
        """The evaluator of a split, and the outputs for each of the split's rows."""
        if images := [name for name, spec in self.targets.items() if spec.is_image]:
            raise UserError(
                f"the target {images[0]} is an image, and the predictions for a whole split may not fit in memory. "
                "Pass the rows to predict: model.predict({…})."
            )
        evaluator = self._evaluator_for(split)
        _, outputs = evaluator.evaluate_with_outputs(split, self.weights.parameters, self.weights.model_state)
        return evaluator, outputs

    @cached_property
    def data(self) -> Data:
        """The run's encoded data. Raises UserError if it has changed since the run, or is not available."""
        run = f"run={self.folder.name}"
        python_source = self._config.values["data"].get("given")
        if python_source is not None and self._source is None:
            raise UserError(
                f"{run}: the data of this run came from Python, as {python_source}. "
                "Load the run in Python with the same data: runner.load(folder, source=…)."
            )
        data, _ = load_data(self._config, self._source, self._progress)
        if any(dataset["digest"] != data.fingerprint for dataset in self._record["datasets"]):
            raise UserError(
                f"{run}: the data, or how it is split, has changed since the run was trained. "
                "Undo the change, or train again."
            )
        return replace(data, constants=self._constants)

    @cached_property
    def _predict_fn(self) -> PredictFn:
        return PredictFn(self._program, self._program_inputs, self._training.evaluation_batch_size)

    def _evaluator_for(self, split: str) -> Evaluator:
        """The evaluator of the run's data. Raises UserError if the data has no such split."""
        if split not in self.splits:
            raise UserError(f"run={self.folder.name}: there is no split {split}. {suggest_name(split, self.splits)}")
        return self._evaluator

    @cached_property
    def _evaluator(self) -> Evaluator:
        return self._make_evaluator(self.data)

    def _make_evaluator(self, data: Data) -> Evaluator:
        return Evaluator(self._program, data, self._training, self._numbers, self._progress)


def _empty_row(layout: ArrayLayout) -> Encoded:
    """An array with one row of zeros."""
    array = np.zeros((1, *layout.shape), layout.dtype)
    return Ragged(array, np.array([0, 1])) if layout.ragged else array


def _read_run_record(folder: Path) -> dict[str, Any]:
    """The record of a run. Raises UserError for the folder of a sweep."""
    record = read_record(folder)
    kind = record.get("kind", "run")
    if kind != "run":
        runs = ", ".join(path.name for path in list_runs(folder)) or "none"
        raise UserError(f"run={folder.name} is a {kind}. Name one of its runs: {runs}.")
    return record
