"""The training state, and the inputs of the learning rate."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from components.types import Clock


class TrainState(NamedTuple):
    """The training state: all that a training step changes, on the device.

    Attributes:
        parameters: the model's parameters.
        model_state: the other Flax collections of the model by name, such as running moments.
        optimizer_state: the state of the Optax optimizer.
        step: the number of steps taken, int32 ().
        first_bad: the first step whose objective was not finite, int32 (); -1: all were finite. If such steps are
            skipped, the tenth skipped step in a row.
        update_state: the state of the members of the update set by name, such as averages of the parameters.
    """

    parameters: Any
    model_state: Any
    optimizer_state: Any
    step: jax.Array
    first_bad: jax.Array
    update_state: Mapping[str, Any] = {}


class RateInputs(NamedTuple):
    """What the learning rate depends on in addition to the step.

    Attributes:
        total_steps: the number of steps that the schedule spans, int32 (). Later steps keep its last numbers.
        steps_per_epoch: the number of steps of an epoch, int32 ().
        scale: the plateau's factor of the rate, float32 ().
        run_steps: the number of steps of the run, int32 (), for members of the update set. None: `total_steps`.
    """

    total_steps: Any
    steps_per_epoch: Any
    scale: Any
    run_steps: Any = None

    def run_clock(self, step: Any) -> Clock:
        """Where the run is, whatever the schedule spans."""
        run_steps = self.total_steps if self.run_steps is None else self.run_steps
        return Clock(step, run_steps, self.steps_per_epoch)


@jax.jit
def copy_arrays(tree: Any) -> Any:
    """Copies all arrays of a tree on the device. As one program, since one for each shape takes longer to compile."""
    return jax.tree.map(jnp.copy, tree)


def is_finite(state: TrainState) -> bool:
    """Whether all parameters are finite, and no array of the model's state holds NaN."""
    parameters, model_state = jax.tree.leaves(state.parameters), jax.tree.leaves(state.model_state)
    return all(np.isfinite(leaf).all() for leaf in parameters) and not any(np.isnan(leaf).any() for leaf in model_state)
