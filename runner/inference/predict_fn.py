"""Applies a trained model to new rows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import jax
import numpy as np

from components.types import Output, UserError, row_count
from runner import memory
from runner.data.batches import gather_rows
from runner.data.padding import measure_lists
from runner.data.stacked_columns import stack_columns
from runner.data.transform import Rows
from runner.program.parts import ProgramInputs
from runner.program.program import Program
from runner.training.evaluator import EVALUATION_SIZE_KEY

BATCH_SIZES = tuple(16**power for power in range(8))  # few, because the model is compiled for each
NO_LOGITS = "the architecture returns no logits, so the run has no outputs to predict"


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

    def logits(self, pieces: Iterable[Rows], parameters: Any, model_state: Any) -> dict[str, np.ndarray]:
        """The logits for each row by target, float32 (N, …, outputs), of the arguments of `logits_in_batches`."""
        batches = [*self.logits_in_batches(pieces, parameters, model_state)]
        return {name: np.concatenate([batch[name] for batch in batches]) for name in batches[0]}

    def logits_in_batches(
        self, pieces: Iterable[Rows], parameters: Any, model_state: Any
    ) -> Iterator[dict[str, np.ndarray]]:
        """Yields the logits for consecutive rows by target, float32 (B, …, outputs).

        Args:
            pieces: the rows, in pieces that have a multiple of `max_batch_size` rows, but for the last one.
            parameters: the parameters of the model.
            model_state: its state.
        """
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
                logits = self._compiled_logits(self.program_inputs, parameters, model_state, encoded)
                yield {name: np.asarray(values)[: count - first] for name, values in logits.items()}

    def _check_padding(self, rows: Rows, indices: np.ndarray) -> None:
        """Raises RunError if the lists of some rows, padded to the longest ones, need more memory than the host has."""
        lists = measure_lists(rows, indices) if self._checks_memory else []
        if not lists:
            return
        batch, needed = (EVALUATION_SIZE_KEY, len(indices)), len(indices) * sum(each.row_bytes for each in lists)
        padded = f"All lists of a batch are padded to its longest ones, and {lists[0]}"
        remedy = f"{padded}.\nShorten the lists of these rows"
        memory.check_need("predicting", batch, needed, free=memory.measure_free_host_memory(), remedy=remedy)

    def _logits(
        self, program_inputs: ProgramInputs, parameters: Any, model_state: Any, encoded: Any
    ) -> dict[str, jax.Array]:
        parts = self.program.build_parts(program_inputs)
        variables = {"params": parameters, **model_state}
        applied: Any = parts.model.apply(variables, encoded, program_inputs.constants, train=False)
        output: Output = applied[1]  # after the batch
        if output.outputs is None:
            raise UserError(NO_LOGITS)
        return dict(output.outputs)
