"""The learning rate range test, which mode=find_lr runs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated

import jax
import jax.numpy as jnp

from components.schedule.base import as_float, to_float
from components.types import Clock, Range, Scalar, Schedule


def range_test(
    schedule: Schedule,
    min_rate: Annotated[Scalar, Range(0, math.inf, "()")],
    max_rate: Annotated[Scalar, Range(0, math.inf, "()")],
) -> Schedule:
    """Exponential rise of the learning rate over the whole run, with the other numbers of a schedule at its start.

    Args:
        schedule: the schedule, whose momentum is kept.
        min_rate: rate of the first step, above 0.
        max_rate: rate of the last step, above 0.

    References:
        Smith, 2017: Cyclical learning rates for training neural networks.
    """

    def values(clock: Clock) -> Mapping[str, jax.Array]:
        clock = to_float(clock)
        share = clock.step / jnp.maximum(clock.total_steps - 1, 1)
        rate = as_float(min_rate) * (as_float(max_rate) / as_float(min_rate)) ** share
        return {**schedule.at(clock._replace(step=jnp.float32(0))), "learning_rate": rate}

    return Schedule(values)
