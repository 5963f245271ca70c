"""Schedules of the learning rate: pure functions of the clock, which holds the step and the length of the run."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping
from typing import Annotated

import jax
import jax.numpy as jnp

from components.types import Clock, Duration, Plateau, Range, Scalar, Schedule, UserError

RateFunction = Callable[[Clock], jax.Array]  # the clock holds float32 scalars -> learning rate, float32


def constant(learning_rate: Annotated[Scalar, Range(0)]) -> Schedule:
    """Constant learning rate.

    Args:
        learning_rate: 0 or more.
    """
    return _make_schedule(lambda clock: _float(learning_rate))


def exponential(
    learning_rate: Annotated[Scalar, Range(0)],
    decay_rate: Annotated[Scalar, Range(0, math.inf, "()")],
    decay_steps: Annotated[Duration, Range(0, math.inf, "()")] | None = None,
    staircase: bool = False,
) -> Schedule:
    """Exponential decay: rate = learning_rate * decay_rate ** (step / decay_steps).

    Args:
        learning_rate: rate of step 0, 0 or more.
        decay_rate: factor of the rate after each `decay_steps`, above 0.
        decay_steps: a duration above 0. None: the whole run.
        staircase: whether the exponent is rounded down, and `decay_steps` to a whole number of steps.
    """

    def rate(clock: Clock) -> jax.Array:
        steps = clock.total_steps if decay_steps is None else decay_steps.steps(clock)
        if staircase:  # 0.15 of 100 steps is 15.000001 in float32
            return _float(learning_rate) * _float(decay_rate) ** (clock.step // jnp.maximum(jnp.round(steps), 1))
        return _float(learning_rate) * _float(decay_rate) ** (clock.step / steps)

    return _make_schedule(rate)


def piecewise_constant(
    learning_rate: Annotated[Scalar, Range(0)],
    boundaries: tuple[Annotated[Duration, Range(0, math.inf, "()")], ...],
    factors: tuple[Annotated[Scalar, Range(0)], ...],
) -> Schedule:
    """Piecewise constant learning rate: learning_rate * factors[i] between boundaries[i - 1] and boundaries[i].

    Args:
        learning_rate: 0 or more.
        boundaries: increasing durations from the start of the run, above 0; each is rounded to a step.
        factors: factors of `learning_rate`, 0 or more, one more than there are boundaries.

    Raises:
        UserError: boundaries of the same unit do not increase, or the number of factors is wrong. `Schedule.check`
            raises it for boundaries of other units.
    """
    if len(factors) != len(boundaries) + 1:
        raise UserError(
            f"piecewise_constant needs one factor more than boundaries, got {len(boundaries)} boundaries and "
            f"{len(factors)} factors. List {len(boundaries) + 1} factors."
        )
    for low, high in itertools.pairwise(boundaries):
        if low.unit == high.unit and _is_known(low.value) and _is_known(high.value) and low.value >= high.value:
            raise UserError(
                f"piecewise_constant needs boundaries that increase, got {high.written()} after {low.written()}."
            )

    def rate(clock: Clock) -> jax.Array:
        passed = (jnp.int32(clock.step >= jnp.round(boundary.steps(clock))) for boundary in boundaries)
        index = sum(passed, jnp.int32(0))
        return _float(learning_rate) * jnp.stack([_float(factor) for factor in factors])[index]

    def check(clock: Clock) -> None:
        steps = [round(float(boundary.steps(clock))) for boundary in boundaries]
        for (low, first), (high, second) in itertools.pairwise(zip(boundaries, steps, strict=True)):
            if second < first:
                raise UserError(
                    f"piecewise_constant needs boundaries that increase. {low.written()} is step {first:,} of this "
                    f"run, and the next one, {high.written()}, is step {second:,}."
                )

    return _make_schedule(rate)._replace(check=check)


def cosine(
    learning_rate: Annotated[Scalar, Range(0)],
    warmup: Duration = Duration(0.05),
    final: Annotated[Scalar, Range(0, 1)] = 0.0,
) -> Schedule:
    """Linear warm-up of the learning rate, then cosine decay.

    Args:
        learning_rate: rate after the warm-up, 0 or more.
        warmup: length of the warm-up. Its n steps have the rates 1/n, 2/n, …, n/n, so that the first one learns too.
        final: rate at the end, as a share of `learning_rate`, in [0, 1].

    References:
        Loshchilov and Hutter, 2017: SGDR: stochastic gradient descent with warm restarts.
        Goyal et al., 2017: Accurate, large minibatch SGD.
    """

    def rate(clock: Clock) -> jax.Array:
        step, total, _ = clock
        warmup_steps = warmup.steps(clock)
        progress = jnp.clip((step - warmup_steps) / jnp.maximum(total - warmup_steps, 1), 0, 1)
        decay = _float(final) + (1 - _float(final)) * (1 + jnp.cos(jnp.pi * progress)) / 2
        ramp = jnp.minimum((step + 1) / jnp.maximum(warmup_steps, 1), 1)
        return _float(learning_rate) * jnp.where(step < warmup_steps, ramp, decay)

    return _make_schedule(rate)


def reduce_on_plateau(
    learning_rate: Annotated[Scalar, Range(0)],
    factor: Annotated[Scalar, Range(0, 1, "()")],
    patience: Annotated[int, Range(1)] | Annotated[Duration, Range(0, math.inf, "()")],
    min_delta: Annotated[Scalar, Range(0)] = 1e-4,
    cooldown: Annotated[int, Range(0)] | Duration = 0,
    min_scale: Annotated[Scalar, Range(0, 1)] = 0.0,
) -> Schedule:
    """Constant learning rate, reduced when the monitored metric stops improving.

    Args:
        learning_rate: rate at the start, 0 or more.
        factor: factor of the rate at each reduction, in (0, 1).
        patience: number of evaluations, or a duration, without improvement before a reduction.
        min_delta: smallest change that counts as an improvement, 0 or more.
        cooldown: number of evaluations, or a duration, from a reduction to the evaluation that counts again. With 2,
            the evaluation after the reduction isn't counted and the second one is, as in Keras.
        min_scale: smallest rate, as a share of `learning_rate`, in [0, 1].
    """
    return constant(learning_rate)._replace(plateau=Plateau(factor, patience, min_delta, cooldown, min_scale))


def _make_schedule(rate: RateFunction) -> Schedule:
    def values(clock: Clock) -> Mapping[str, jax.Array]:
        return {"learning_rate": rate(Clock(*map(_float, clock)))}

    return Schedule(values)


def _is_known(number: Scalar) -> bool:
    """Whether Python can compare a number: it is not traced."""
    return not isinstance(number, jax.core.Tracer)


def _float(number: Scalar) -> jax.Array:
    return jnp.asarray(number, jnp.float32)
