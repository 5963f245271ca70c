"""The model, asked about rows that no run has seen, in batches of few shapes."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np

from components.types import Output, UserError, row_count
from runner.data.batches import gather_rows
from runner.data.transform import Rows
from runner.program.parts import ProgramInputs
from runner.program.program import Program

SIZES = tuple(2**power for power in range(0, 32, 4))  # of batches: few are compiled, and a lone row is quick


class PredictFn:
    """The model, asked about examples whose target nobody knows."""

    def __init__(self, program: Program, given: ProgramInputs, batch_size: int) -> None:
        self.program, self.given, self._batch_size = program, given, batch_size
        self._answer = jax.jit(self._logits)

    def logits(self, rows: Rows, parameters: Any, model_state: Any) -> np.ndarray:
        """What the model says of each row, float32 (N, outputs); of a real-valued target in its own unit."""
        count = row_count(next(iter(next(iter(rows.values())).values())))
        size = min(self._batch_size, next(size for size in SIZES if size >= count))
        pieces = []
        for first in range(0, count, size):
            filled = np.arange(first, first + size).clip(max=count - 1)  # the last batch: with its last row
            said = self._answer(self.given, parameters, model_state, gather_rows(rows, filled))
            pieces.append(np.asarray(said)[: count - first])
        return np.concatenate(pieces)

    def _logits(self, given: ProgramInputs, parameters: Any, model_state: Any, rows: Any) -> jax.Array:
        parts = self.program.parts(given)
        variables = {"params": parameters, **model_state}
        answered: Any = parts.model.apply(variables, rows, given.constants, train=False)
        output: Output = answered[2]
        if output.logits is None:
            raise UserError("this model gives no logits: there is nothing that it predicts")
        return parts.target.decode(output.logits)
