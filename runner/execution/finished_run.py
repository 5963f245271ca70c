"""A finished run without its data: its program, its best weights and the transform of its rows."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from components.ragged import nest
from components.types import Encoded, UserError
from runner.config.config import Config
from runner.config.recorded_config import add_missing_keys, read_run_config
from runner.config.settings import Training
from runner.data.batches import gather_rows
from runner.data.columns import ArrayLayout
from runner.data.stacked_columns import stack_columns
from runner.data.transform import load_transform
from runner.data.windows import view_examples
from runner.execution.programs import make_program
from runner.program.freeze import list_turns
from runner.program.parts import ProgramInputs
from runner.program.state import TrainState
from runner.run_folder import find_run, read_record, read_summary
from runner.training.calibration import set_temperatures
from runner.training.checkpoint import load_newest_checkpoint


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


class FinishedRun:
    """A finished run, loaded from its folder.

    Args:
        folder: the run folder.
        config: the configuration of the run.
        on_warning: called with each warning, such as a damaged checkpoint.

    Attributes:
        folder: the run folder.
        config: the configuration of the run, with today's keys.
        record: the contents of `record.json`.
        training: the settings below `training`.
        numbers: the numbers of the program by name, and the seed.
        transform: encodes rows.
        program: the program.
        program_inputs: the numbers and the constants, on the device.
        weights: the best weights, on the device.

    Raises:
        UserError: it has no weights that can be read.
    """

    def __init__(self, folder: Path, config: Config, on_warning: Callable[[str], None]) -> None:
        self.folder, self.record = folder, read_record(folder)
        values = add_missing_keys(config.values)
        self.config = replace(config, values=values, raw=values)
        self.training = Training.from_config(values["training"])
        self.transform = load_transform(folder)
        constants = self.transform.constants
        self.program, self.numbers = make_program(self.config, self.transform.features, constants)
        device = {name: dict(constant.device) for name, constant in constants.items()}
        device_constants = stack_columns(device, 0, self.program.column_kinds)
        self.program_inputs: ProgramInputs = jax.device_put(ProgramInputs(self.numbers, device_constants))
        self.weights = self._load_best_weights(on_warning)

    def _load_best_weights(self, on_warning: Callable[[str], None]) -> BestWeights:
        """The best weights that the run has saved so far. Raises UserError if it has saved none."""
        freeze = self.program.build_parts(self.program_inputs).members.freeze
        shapes, turns = self._state_shapes(), sorted(list_turns(freeze))
        # Which turns end together, and in which order, depends on the length of the run, so all sets are tried.
        phases = [ended for count in range(len(turns)) for ended in itertools.combinations(turns, count + 1)]
        later_shapes = [self._state_shapes(ended) for ended in phases]
        weights_shapes = shapes.parameters, shapes.model_state
        checkpoint, warnings = load_newest_checkpoint(self.folder / "checkpoints", shapes, weights_shapes, later_shapes)
        for warning in warnings:
            on_warning(warning)
        if checkpoint is None:
            reason = "; ".join(warnings) or "it was interrupted before the first one, or they were removed"
            raise UserError(
                f"run={self.folder.name}: the run has no checkpoint that can be read: {reason}. Train it again."
            )
        state, best, metadata = checkpoint
        epochs = {record["step"]: record["epoch"] for record in metadata["history"]}
        parameters, model_state = jax.device_put(best or self.program.evaluated_weights(self.program_inputs, state))
        temperatures = read_summary(self.folder).get("temperatures", {})
        model_state = set_temperatures(model_state, temperatures)
        return BestWeights(parameters, model_state, epochs.get(metadata["best_step"]), max(epochs.values(), default=0))

    def _state_shapes(self, ended: tuple[str, ...] = ()) -> TrainState:
        """The training state, with shapes and dtypes in place of arrays."""
        empty_rows = {
            name: {key: _empty_row(layout) for key, layout in layouts.items()}
            for name, layouts in self.transform.layouts.items()
        }
        encoded = gather_rows(view_examples(empty_rows, self.transform.features.examples), np.zeros(1, int))
        return self.program.state_shapes(self.program_inputs, encoded, np.zeros(1, np.int32), ended=ended)


def find_finished_run(config: Config, name: str, key: str, on_warning: Callable[[str], None]) -> FinishedRun:
    """Loads a finished run that a configuration names.

    Args:
        config: the configuration.
        name: a run folder, its name below `folder`, or an MLflow run id.
        key: the key that names it, for errors.
        on_warning: as for `FinishedRun`.

    Raises:
        UserError: there is no such run, or it has no weights that can be read.
    """
    folder = find_run(Path(config.values["folder"]), os.path.expanduser(name), key)
    return FinishedRun(folder, read_run_config(folder), on_warning)


def _empty_row(layout: ArrayLayout) -> Encoded:
    """An array with one row of zeros."""
    array = np.zeros((1, *layout.shape), layout.dtype)
    return nest(array, (np.array([0, 1]),) * layout.depth)
