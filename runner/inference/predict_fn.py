"""Applies a trained model to new rows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple, cast

import jax
import numpy as np

from components.types import Output, UserError, row_count
from runner import memory
from runner.data.batches import gather_rows
from runner.data.padding import measure_lists
from runner.data.stacked_columns import stack_columns
from runner.data.transform import Rows
from runner.program.forward import draw_samples
from runner.program.monte_carlo import NO_LOGITS, add_sample, make_streams, start_samples
from runner.program.parts import BuiltParts, ProgramInputs
from runner.program.program import Program
from runner.program.samples import Samples, Spread, average_samples
from runner.training.evaluator import EVALUATION_SIZE_KEY

BATCH_SIZES = tuple(16**power for power in range(8))  # few, because the model is compiled for each


def check_mc_samples(mc_samples: int | None) -> None:
    """Raises UserError unless a number of samples of Monte Carlo dropout, or None, is allowed."""
    is_whole = isinstance(mc_samples, int | np.integer) and not isinstance(mc_samples, bool)
    if mc_samples is not None and not (is_whole and mc_samples >= 2):
        raise UserError(f"mc_samples is {mc_samples!r}. It must be a whole number, 2 or more, or None.")


class RowOutputs(NamedTuple):
    """The model's outputs for some rows, by the name of each target.

    Attributes:
        logits: float32 (B, …, outputs).
        spread: how far the samples are apart whose mean the logits are. Empty: there are none.
    """

    logits: Mapping[str, Any]
    spread: Mapping[str, Spread]


class PredictFn:
    """Applies a model to rows without a target.

    Args:
        program: the program of the run.
        program_inputs: the numbers and constants of the run.
        max_batch_size: the size of the largest batch.
        checks_memory: whether a batch of long lists that doesn't fit is an error.
    """

    def __init__(
        self, program: Program, program_inputs: ProgramInputs, max_batch_size: int, *, checks_memory: bool = True
    ) -> None:
        self.program, self.program_inputs, self.max_batch_size = program, program_inputs, max_batch_size
        self._checks_memory = checks_memory
        self._compiled_logits = jax.jit(self._logits)
        self._compiled_sample = jax.jit(self._sample)
        self._compiled_average = jax.jit(self._average)

    def outputs_in_batches(self, pieces: Iterable[Rows], parameters: Any, model_state: Any) -> Iterator[RowOutputs]:
        """Yields the outputs for consecutive rows.

        Args:
            pieces: the rows, in pieces that have a multiple of `max_batch_size` rows, but for the last one.
            parameters: the parameters of the model.
            model_state: its state.
        """
        for count, encoded in self._batches(pieces):
            logits = self._compiled_logits(self.program_inputs, parameters, model_state, encoded)
            yield _select_rows(RowOutputs(logits, {}), count)

    def draw_samples(
        self, pieces: Iterable[Rows], parameters: Any, model_state: Any, mc_samples: int | None
    ) -> Iterator[tuple[int, dict[str, Samples]]]:
        """Yields the samples of consecutive rows, and how many rows there are before those that pad a batch.

        The other arguments are those of `outputs_in_batches`.

        Args:
            mc_samples: the number of samples of Monte Carlo dropout. None: there is one, and dropout is off.
        """
        empty: dict[str, Samples] = {}
        for number, (count, encoded) in enumerate(self._batches(pieces)):
            arguments = self.program_inputs, parameters, model_state, encoded
            # All batches have the same shape.
            empty = empty or start_samples(*self._draw(*arguments), drops=mc_samples is not None)
            yield count, draw_samples(self._compiled_sample, empty, mc_samples, number, *arguments)

    def average(self, samples: Iterable[tuple[int, Mapping[str, Samples]]]) -> Iterator[RowOutputs]:
        """Yields the means of the samples of consecutive rows, as `draw_samples` yields them, and their spread."""
        for count, each in samples:
            yield _select_rows(self._compiled_average(self.program_inputs, each), count)

    def _batches(self, pieces: Iterable[Rows]) -> Iterator[tuple[int, Any]]:
        """Yields batches of rows of the same size, and how many rows of each aren't padding."""
        size = 0
        for rows in pieces:
            first_column = next(iter(rows.values()))
            count = row_count(next(iter(first_column.values())))
            # A first piece that is smaller than the largest batch has all rows.
            size = size or min(self.max_batch_size, next(size for size in BATCH_SIZES if size >= count))
            for first in range(0, count, size):
                indices = np.arange(first, first + size).clip(max=count - 1)  # the last row pads the last batch
                self._check_padding(rows, indices)
                encoded = stack_columns(gather_rows(rows, indices), 1, self.program.column_kinds)
                yield min(count - first, size), encoded

    def _check_padding(self, rows: Rows, indices: np.ndarray) -> None:
        """Raises RunError if the lists of some rows, padded to the longest ones, need more memory than the host has."""
        lists = measure_lists(rows, indices) if self._checks_memory else []
        if not lists:
            return
        batch, needed = (EVALUATION_SIZE_KEY, len(indices)), len(indices) * sum(each.row_bytes for each in lists)
        padded = f"All lists of a batch are padded to its longest ones, and {lists[0]}"
        remedy = f"{padded}.\nShorten the lists of these rows"
        memory.check_need("predicting", batch, needed, free=memory.measure_free_host_memory(), remedy=remedy)

    def _logits(self, *arguments: Any) -> dict[str, jax.Array]:
        _, draw = self._draw(*arguments)
        return dict(cast("Mapping[str, jax.Array]", draw(None).outputs))

    def _sample(self, samples: Mapping[str, Samples], key: jax.Array | None, *arguments: Any) -> dict[str, Samples]:
        """The samples of some rows with one more. The arguments after the random key are those of `_draw`."""
        parts, draw = self._draw(*arguments)
        return add_sample(parts, samples, draw, key)

    def _average(self, program_inputs: ProgramInputs, samples: Mapping[str, Samples]) -> RowOutputs:
        return RowOutputs(*average_samples(self.program.build_parts(program_inputs), samples))

    def _draw(
        self, program_inputs: ProgramInputs, parameters: Any, model_state: Any, encoded: Any
    ) -> tuple[BuiltParts, Callable[[jax.Array | None], Output]]:
        """The parts, and the output of the model as a function of the random key of a sample. None: dropout is off."""
        parts = self.program.build_parts(program_inputs)
        variables = {"params": parameters, **model_state}

        def draw(key: jax.Array | None) -> Output:
            streams = {} if key is None else make_streams(key)
            model: Any = parts.model
            _, output = model.apply(variables, encoded, program_inputs.constants, train=False, rngs=streams)
            if output.outputs is None:
                raise UserError(NO_LOGITS)
            return cast("Output", output)

        return parts, draw


def join_outputs(outputs: Iterable[RowOutputs]) -> RowOutputs:
    """The outputs for all rows from those for consecutive rows."""
    joined: RowOutputs = jax.tree.map(lambda *arrays: np.concatenate(arrays), *outputs)
    return joined


def _select_rows(outputs: RowOutputs, count: int) -> RowOutputs:
    """The outputs for the first rows, on the host."""
    selected: RowOutputs = jax.tree.map(lambda values: np.asarray(values)[:count], outputs)
    return selected
