"""The forward pass and the objective of a run as functions that JAX can trace with shapes alone."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from components.types import Batch, Output
from runner.data.batches import Chunk
from runner.data.steps import take_examples
from runner.program.freeze import find_frozen, split
from runner.program.objective import compute_losses, compute_penalties, compute_sums, count_batch, objective_terms
from runner.program.parts import BuiltParts
from runner.training.trainer import Trainer

EVALUATED_SPLITS = ("valid", "test")


class AbstractRun:
    """A run that is not started. Its data is loaded, its training state has shapes only.

    Attributes:
        trainer: the trainer that the run would use.
        state_shapes: shapes and dtypes of the training state.
        batch_size: the number of examples of a training step.
        chunk: the batches of the first dispatch, a call of the device for several steps.
    """

    def __init__(self, trainer: Trainer) -> None:
        self.trainer = trainer
        self.state_shapes = trainer.state_shapes
        self.batch_size = trainer.training.batch_size
        steps = min(trainer.steps_per_dispatch, trainer.plan.steps_per_epoch)
        rows = trainer.data.splits["train"][: self.batch_size * steps]
        self.chunk: Chunk = next(iter(trainer.batches.chunks(rows, self.batch_size, trainer.steps_per_dispatch)))

    @property
    def last_batch_size(self) -> int:
        """The number of examples in the last step of an epoch."""
        rest = len(self.trainer.data.splits["train"]) % self.batch_size
        return self.batch_size if rest == 0 or self.trainer.training.drop_remainder else rest

    @property
    def evaluated_split(self) -> str | None:
        """A split that the run would evaluate; None: nothing is held out."""
        return next((name for name in EVALUATED_SPLITS if name in self.trainer.data.splits), None)

    @property
    def dispatch_arguments(self) -> tuple[Any, ...]:
        """The arguments of a training dispatch, without the state."""
        return self.chunk.data, self.chunk.rows, np.int32(self.chunk.steps), self.trainer.rate_inputs(0, 1.0)

    def encoded_shapes(self, size: int) -> Any:
        """Shapes and dtypes of `size` examples in the encoding that the host sends to the device."""
        return jax.eval_shape(take_examples, self.chunk.data, jax.ShapeDtypeStruct((size,), np.int32))

    def forward(self, parameters: Any, model_state: Any, encoded: Any) -> tuple[Batch, Any]:
        """The forward pass of a training step: the batch, and the arrays of the model's output."""
        batch, output = self._forward(self._build_parts(), parameters, model_state, encoded)
        return batch, (output.outputs, output.losses, output.auxiliary)

    def objective(self, parameters: Any, model_state: Any, encoded: Any) -> jax.Array:
        """The scalar that a training step differentiates."""
        parts = self._build_parts()
        batch, output = self._forward(parts, parameters, model_state, encoded)
        sums = compute_sums(parts, output, batch, compute_losses(parts, output, batch), training=True)
        losses, others = objective_terms(parts, output, batch, sums, count_batch([batch]))
        return sum([*losses, *others, *compute_penalties(parts, parameters)], jnp.float32(0))

    def split(self, parameters: Any) -> tuple[Any, Any]:
        """The parameters that the first step trains, and those that are frozen."""
        return split(parameters, find_frozen(self.trainer.parts.members.freeze, parameters))

    def _build_parts(self) -> BuiltParts:
        return self.trainer.program.build_parts(self.trainer.program_inputs)

    def _forward(self, parts: BuiltParts, parameters: Any, model_state: Any, encoded: Any) -> tuple[Batch, Output]:
        variables = {"params": parameters, **model_state}
        inputs = self.trainer.program_inputs
        batch, output, _ = self.trainer.program.forward(parts, inputs, variables, encoded, step=jnp.int32(0))
        return batch, output
