"""The 1cycle schedule, which also sets the momentum."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

import jax
import jax.numpy as jnp

from components.schedule.base import as_float, to_float
from components.types import Clock, Duration, FieldError, Range, Scalar, Schedule, is_above, shortest_decimal


def one_cycle(
    learning_rate: Annotated[Scalar, Range(0)],
    warmup: Duration = Duration(0.3),
    initial: Annotated[Scalar, Range(0, 1)] = 0.04,
    final: Annotated[Scalar, Range(0, 1)] = 4e-6,
    momentum: Annotated[Scalar, Range(0, 1, "[)")] | None = 0.95,
    lowest_momentum: Annotated[Scalar, Range(0, 1, "[)")] = 0.85,
    shape: Literal["cosine", "linear"] = "cosine",
) -> Schedule:
    """The learning rate rises and falls once, while the momentum falls and rises (1cycle).

    The defaults are those of PyTorch's `OneCycleLR`, whose `div_factor` is 1 / initial, and whose `final_div_factor` is
    initial / final.

    Args:
        learning_rate: highest rate, 0 or more.
        warmup: length of the rise.
        initial: rate of the first step, as a share of `learning_rate`, in [0, 1].
        final: rate at the end, as a share of `learning_rate`, in [0, 1].
        momentum: momentum at the start and at the end, in [0, 1). None: the optimizer keeps its own.
        lowest_momentum: momentum where the learning rate is highest, in [0, 1), and not above `momentum`.
        shape: whether rate and momentum change along half a cosine or a line.

    References:
        Smith, 2018: A disciplined approach to neural network hyper-parameters.

    Raises:
        FieldError: `lowest_momentum` is above `momentum`. Traced ones aren't compared.
    """
    if momentum is not None and is_above(lowest_momentum, momentum):
        text = f"{shortest_decimal(lowest_momentum)} is above momentum, {shortest_decimal(momentum)}."
        raise FieldError("lowest_momentum", f"{text} Choose a smaller one.")

    def values(clock: Clock) -> Mapping[str, jax.Array]:
        clock = to_float(clock)
        rise = warmup.steps(clock)
        is_rising = clock.step < rise
        risen = clock.step / jnp.maximum(rise, 1)
        fallen = jnp.clip((clock.step - rise) / jnp.maximum(clock.total_steps - rise, 1), 0, 1)
        height = jnp.where(is_rising, risen, 1 - fallen)  # 0 at both ends, 1 at the highest rate
        if shape == "cosine":
            height = (1 - jnp.cos(jnp.pi * height)) / 2
        lowest = jnp.where(is_rising, as_float(initial), as_float(final))
        numbers = {"learning_rate": as_float(learning_rate) * (lowest + (1 - lowest) * height)}
        if momentum is not None:
            numbers["momentum"] = as_float(momentum) + (as_float(lowest_momentum) - as_float(momentum)) * height
        return numbers

    return Schedule(values)
