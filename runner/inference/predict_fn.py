"""Applies a model to new rows, in batches of few shapes."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np

from components.types import Output, UserError, row_count
from runner.data.batches import gather_rows
from runner.data.transform import Rows
from runner.program.parts import ProgramInputs
from runner.program.program import Program

SIZES = tuple(2**power for power in range(0, 32, 4))  # batch sizes: few are compiled, and a single row is fast


class PredictFn:
    """Applies a model to rows without a target.

    Args:
        program: the program of the run.
        given: the numbers and constants of the run.
        batch_size: the largest batch.
    """

    def __init__(self, program: Program, given: ProgramInputs, batch_size: int) -> None:
        self.program, self.given, self._batch_size = program, given, batch_size
        self._compiled = jax.jit(self._logits)

    def logits(self, rows: Rows, parameters: Any, model_state: Any) -> np.ndarray:
        """The output for each row, float32 (N, outputs); in the target's own unit where it is real-valued."""
        count = row_count(next(iter(next(iter(rows.values())).values())))
        size = min(self._batch_size, next(size for size in SIZES if size >= count))
        pieces = []
        for first in range(0, count, size):
            indices = np.arange(first, first + size).clip(max=count - 1)  # the last batch repeats its last row
            logits = self._compiled(self.given, parameters, model_state, gather_rows(rows, indices))
            pieces.append(np.asarray(logits)[: count - first])
        return np.concatenate(pieces)

    def _logits(self, given: ProgramInputs, parameters: Any, model_state: Any, rows: Any) -> jax.Array:
        parts = self.program.parts(given)
        variables = {"params": parameters, **model_state}
        applied: Any = parts.model.apply(variables, rows, given.constants, train=False)
        output: Output = applied[2]
        if output.logits is None:
            raise UserError("this model returns no logits, so it predicts nothing")
        return parts.target.decode(output.logits)
