"""The program of a run as abstract functions: shapes go in and come out."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from components.types import Batch, Output
from runner.data.batches import Chunk
from runner.program.parts import BuiltParts, extra_losses, measure
from runner.program.program import RateInputs
from runner.training.trainer import Trainer

EVALUATED = ("valid", "test")


class Subject:
    """What a run would train: nothing of it is allocated but the data."""

    def __init__(self, trainer: Trainer) -> None:
        self.trainer = trainer
        self.like = trainer.like
        self.batch_size = trainer.training.batch_size
        rows = trainer.data.splits["train"][: self.batch_size * min(trainer.steps_per_dispatch, trainer.steps)]
        self.chunk: Chunk = next(iter(trainer.batches.chunks(rows, self.batch_size, trainer.steps_per_dispatch)))

    @property
    def last(self) -> int:
        """How many examples the last step of an epoch has."""
        rest = len(self.trainer.data.splits["train"]) % self.batch_size
        return self.batch_size if rest == 0 or self.trainer.training.drop_remainder else rest

    @property
    def evaluated(self) -> str | None:
        """A split that would be evaluated."""
        return next((name for name in EVALUATED if name in self.trainer.data.splits), None)

    @property
    def dispatch(self) -> tuple[Any, ...]:
        """What a training dispatch takes behind the state."""
        steps = np.int32(self.trainer.training.epochs * self.trainer.steps)
        return self.chunk.data, self.chunk.rows, np.int32(self.chunk.steps), RateInputs(steps, np.float32(1))

    def encoded(self, size: int) -> Any:
        """The shapes of so many examples as the host sends them."""
        return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct((size, *leaf.shape[1:]), leaf.dtype), self.chunk.data)

    def forward(self, parameters: Any, model_state: Any, encoded: Any) -> tuple[Batch, Any]:
        """A training step's pass through the model: what goes in, and the arrays that come out."""
        batch, output = self._passed(self._parts(), parameters, model_state, encoded)
        return batch, (output.logits, output.losses, output.auxiliary)

    def objective(self, parameters: Any, model_state: Any, encoded: Any) -> jax.Array:
        """What a training step differentiates."""
        parts = self._parts()
        batch, output = self._passed(parts, parameters, model_state, encoded)
        loss = measure(parts, output, batch, training=True)["loss"]["sum"] / batch.target.shape[0]
        return sum(extra_losses(parts, parameters, output, batch), loss)

    def _parts(self) -> BuiltParts:
        return self.trainer.program.parts(self.trainer.given)

    def _passed(self, parts: BuiltParts, parameters: Any, model_state: Any, encoded: Any) -> tuple[Batch, Output]:
        variables = {"params": parameters, **model_state}
        given = self.trainer.given
        batch, output, _ = self.trainer.program.forward(parts, given, variables, encoded, step=jnp.int32(0))
        return batch, output
