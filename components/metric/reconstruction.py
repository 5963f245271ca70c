"""The error of a reconstruction of the inputs, as a metric."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

from components.closest import suggest_name
from components.metric.base import count_examples, sum_elements
from components.types import Batch, Output, TargetSpec, UserError


@dataclass(frozen=True, kw_only=True)
class ReconstructionError:
    """Mean over the examples of the reconstruction error that an architecture such as ReconstructingRegressor computes.

    Attributes:
        name: the name of the error in `Output.features`, (B,).
    """

    name: str = "reconstruction_error"
    higher_is_better = False
    collects = False
    needs_target = False

    def bind(self, target: TargetSpec) -> ReconstructionError:
        """Returns itself: any target will do."""
        return self

    def measure(self, output: Output, batch: Batch) -> Mapping[str, jax.Array]:
        """Returns the number of examples in the batch and the sum of their values."""
        if self.name not in output.features:
            hint = suggest_name(self.name, output.features)
            raise UserError(f"reconstruction_error: the architecture has no output {self.name}. {hint}")
        values = output.features[self.name]
        if values.shape[:1] != batch.present.shape:
            raise UserError(
                f"reconstruction_error needs a value for each example, ({len(batch.present)}, …), got {values.shape}."
            )
        every = batch._replace(targets={}, masks={})  # the mask is `present`
        return {
            "value": sum_elements(values.astype(jnp.float32).mean(tuple(range(1, values.ndim))), every),
            "examples": count_examples(every),
        }

    def result(self, sums: Mapping[str, np.ndarray]) -> float:
        """Returns the mean."""
        return float(sums["value"] / sums["examples"])
