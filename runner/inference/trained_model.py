"""A run that was trained, as a model: its best weights are evaluated on its splits, and asked about new rows."""

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
from runner import memory, platform
from runner import run_folder as folders
from runner.config.config import Config
from runner.config.earlier_run import add_missing_keys, read_config
from runner.config.scalars import split_scalars
from runner.config.settings import Training
from runner.data import transform
from runner.data.batches import gather_rows
from runner.data.labeled_rows import NEW, encode_labeled
from runner.data.load import Data, Features
from runner.data.python_rows import as_source
from runner.display.progress import Progress, Quiet
from runner.execution.prepare import dtype_arguments, get_program, load_data
from runner.inference.predict_fn import PredictFn
from runner.inference.predictions import Predictions, make_predictions
from runner.platform import cache_folder
from runner.program.parts import ProgramInputs
from runner.program.program import Program, TrainState, as_arrays
from runner.record import description as record
from runner.record.predictions import RecordedPredictions, make_recorded
from runner.training import checkpoint
from runner.training.signals import Signals
from runner.training.trainer import Trainer


class Weights(NamedTuple):
    """What training has found."""

    parameters: Any
    model_state: Any
    epoch: int | None  # that of the best figures so far, from 1; None: no epoch was over, the latest are taken
    epochs: int  # trained so far


def load_model(name: str | Path, *, root: str | Path = "outputs", source: Source | None = None) -> TrainedModel:
    """The run that a folder, a folder's name below `root` or an MLflow run id names, as a model.

    `source` takes the place of the one that the run's configuration names; it must hold the same rows.
    Raises UserError where there is no such run, or where it has saved no weights.
    """
    home = os.path.expanduser
    folder = folders.find_run(Path(home(root)), home(str(name)), "run").absolute()
    values = read_config(folder)
    return TrainedModel(folder, Config(values, values, {}, (), {}), source=source, shown=Quiet())


def open_model(config: Config, shown: Progress) -> TrainedModel:
    """The run that a command asks about, whose own configuration `config` is, with the command's words on top."""
    return TrainedModel(
        folders.find_run(Path(config.values["folder"]), config.values["run"], "run"), config, shown=shown
    )


class TrainedModel:
    """A trained model.

    Attributes:
        folder: that of the run.
        splits: the splits of its data, with their numbers of rows.
        transform: what makes arrays of rows.
        features: the columns that it reads, and its target.
        classes: the classes that it tells apart, integers or booleans where the data has those; else their names.
            None: its target is real-valued.
        weights: those that answer.
    """

    def __init__(self, folder: Path, config: Config, *, source: Source | None = None, shown: Progress) -> None:
        platform.start_jax(cache_folder())
        self.folder, self._source, self._shown = folder, source, shown
        self._record = _record(folder)
        self.splits: dict[str, int] = {one["split"]: one["rows"] for one in self._record["datasets"]}
        values = add_missing_keys(config.values)
        self._config = replace(config, values=values, raw=values)
        self._training = Training(**self._config.values["training"])
        self._static, numbers = split_scalars(self._config)
        self._static["architecture"] |= dtype_arguments(self._config)
        self._numbers = as_arrays(numbers, self._config.values["seed"])
        self.transform = transform.load_transform(folder)
        self.features, self._learned = self.transform.features, self.transform.constants
        self._target = self.features.target.bind(self._learned["target"])
        self.classes = self._target.values or self._target.classes
        self._program = _program(self._static, self.features, self._learned)
        self._given = _given(self._numbers, self._learned)
        self.weights = _best(folder, self._like(), shown)
        for text in record.list_changes(
            self._record["tags"], record.code_versions(self._config) | platform.arithmetic_settings()
        ):
            shown.note(f"warning: {text}: what the run says may differ")

    @property
    def held_out(self) -> str:
        """The split that is meant where none is named: `test`, else `valid`; raises UserError where it has neither."""
        if found := [split for split in ("test", "valid") if split in self.splits]:
            return found[0]
        raise UserError(f"run={self.folder.name}: nothing was held out; data.split={next(iter(self.splits))} is there")

    def evaluate(self, split: str | Mapping[str, Any] | Source = "test") -> dict[str, float]:
        """The figures of a split, as the run itself finds them: {"test/loss": …, …}; or of new rows, as `predict` takes
        them, but with the target too: {"new/loss": …, …}."""
        platform.refuse_fork()
        if not isinstance(split, str):
            data = encode_labeled(as_source(split), self.features, self._learned)
            trainer, split = self._trainer_on(data), NEW
        else:
            trainer = self._trainer_of(split)
        return trainer.evaluate(split, *self.weights[:2])

    def predict(
        self, rows: str | Mapping[str, Any] | Source, *, tell: Callable[[str], None] | None = None
    ) -> Predictions:
        """The predictions for a split of the run's data, by its name, or for new rows: raw columns, or a source.

        A column is an array, or anything that NumPy makes one of, the rows along its first axis; or `Ragged`; or one
        of pandas, Polars or Arrow, whose data frames and tables stand for their columns.
        Columns that the model doesn't read are let be, and the target isn't needed. Raises UserError where a column
        lacks, DataError where a value is wrong, with its row and column. `tell` is given what columns remark on new
        rows, such as values that they never saw, sentence by sentence.
        """
        platform.refuse_fork()
        if not isinstance(rows, str) and not is_table(rows) and not hasattr(rows, "blocks"):
            keys = dict.fromkeys(key for column in self.features.columns.values() for key in column.keys)
            raise UserError(
                f"predict takes the name of a split, or new rows by column, {{{', '.join(map(repr, keys))}: …}}, "
                f"not {type(rows).__name__}"
            )
        if not isinstance(rows, str):
            with memory.memory_error_location("reading the new rows", "Free some, or predict fewer rows at once."):
                encoded, remarks = self.transform.transform_with_warnings(rows)
            if tell is not None:
                for text in remarks:
                    tell(text)
            size = self._training.evaluation_batch_size
            with memory.memory_error_location(
                "predicting", f"Try a smaller training.evaluation_batch_size (it was {size})."
            ):
                logits = self._answering.logits(encoded, *self.weights[:2])
            return make_predictions(self.classes, np.arange(len(logits)), logits)
        trainer = self._trainer_of(rows)
        _, said = trainer.examine(rows, *self.weights[:2])
        return make_predictions(self.classes, trainer.data.splits[rows], said.logits, trainer.targets(rows))

    def answers(self, split: str = "test") -> RecordedPredictions:
        """What the model says of the examples of a split, with what is right and the loss of each."""
        platform.refuse_fork()
        trainer = self._trainer_of(split)
        _, said = trainer.examine(split, *self.weights[:2])
        row, right = trainer.data.splits[split], trainer.targets(split)
        return make_recorded(split, self._target.classes, row, right, said.logits, said.losses)

    @cached_property
    def data(self) -> Data:
        """The run's data, encoded; raises UserError where it isn't what it was, or isn't at hand."""
        run = f"run={self.folder.name}"
        given = self._config.values["data"].get("given")
        if given is not None and self._source is None:
            raise UserError(
                f"{run}: its data was given from Python ({given}); only from there, "
                "runner.load(folder, source=…) can take it again"
            )
        data, _ = load_data(self._config, self._source, self._shown)
        if any(one["digest"] != data.fingerprint for one in self._record["datasets"]):
            raise UserError(
                f"{run}: its data, or how it is split, isn't what it was when the run was trained; "
                "undo that, or train anew"
            )
        return replace(data, constants=self._learned)

    @cached_property
    def _answering(self) -> PredictFn:
        return PredictFn(self._program, self._given, self._training.evaluation_batch_size)

    def _trainer_of(self, split: str) -> Trainer:
        if split not in self.splits:
            raise UserError(f"run={self.folder.name}: it has no split {split}; {suggest_name(split, self.splits)}")
        return self._trainer

    @cached_property
    def _trainer(self) -> Trainer:
        return self._trainer_on(self.data)

    def _trainer_on(self, data: Data) -> Trainer:
        settings = self._training, self._numbers
        return Trainer(self._program, data, *settings, progress=self._shown, signals=Signals())

    def _like(self) -> TrainState:
        """The shapes and dtypes of the state, from a row that says nothing."""
        rows = {
            name: {key: _empty(form) for key, form in arrays.items()} for name, arrays in self.transform.layouts.items()
        }
        return jax.eval_shape(
            self._program.init, self._given, gather_rows(rows, np.zeros(1, int)), np.zeros(1, np.int32)
        )


def _program(static: Mapping[str, Any], features: Features, learned: Mapping[str, Constants]) -> Program:
    """The compiled functions, those of the run itself where it took its steps in this process."""
    return get_program(static, features, Data(encoded={}, splits={}, constants=learned, fingerprint="", warnings=()))


def _given(numbers: Mapping[str, Any], learned: Mapping[str, Constants]) -> ProgramInputs:
    return jax.device_put(ProgramInputs(numbers, {name: dict(constants.device) for name, constants in learned.items()}))


def _empty(form: transform.ArrayLayout) -> Encoded:
    array = np.zeros((1, *form.shape), form.dtype)
    return Ragged(array, np.array([0, 1])) if form.ragged else array


def _best(folder: Path, like: TrainState, shown: Progress) -> Weights:
    """The best weights that the run has saved so far."""
    found, warnings = checkpoint.load_newest(folder / "checkpoints", like, (like.parameters, like.model_state))
    for text in warnings:
        shown.note(f"warning: {text}")
    if found is None:
        reason = "; ".join(warnings) or "it was broken off before the first, or they were deleted"
        raise UserError(f"run={folder.name}: it has no checkpoint to read: {reason}; train it again")
    return _weights(*found)


def _weights(state: Any, best: Any, meta: Mapping[str, Any]) -> Weights:
    epochs = {epoch["step"]: epoch["epoch"] for epoch in meta["history"]}
    parameters, model_state = jax.device_put(best or (state.parameters, state.model_state))
    return Weights(parameters, model_state, epochs.get(meta["best_step"]), len(epochs))


def _record(folder: Path) -> dict[str, Any]:
    """What the folder says of the run; raises UserError where it isn't that of one run."""
    found = folders.read_record(folder)
    if (kind := found.get("kind", "run")) != "run":
        inside = ", ".join(path.name for path in folders.list_runs(folder)) or "none"
        raise UserError(f"run={folder.name}: this is no run but a {kind}; the runs in it: {inside}")
    return found
