"""Schedules of the learning rate: pure functions of the step, counted from 0, and of the number of steps of the run."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Annotated

import jax
import jax.numpy as jnp

from components.types import Plateau, Range, Scalar, Schedule, UserError

RateFunction = Callable[[jax.Array, jax.Array], jax.Array]  # (step, total steps), float32 -> learning rate, float32


def constant(learning_rate: Annotated[Scalar, Range(0)]) -> Schedule:
    """Constant learning rate.

    Args:
        learning_rate: 0 or more.
    """
    return _make_schedule(lambda step, total: _float(learning_rate))


def exponential(
    learning_rate: Annotated[Scalar, Range(0)],
    decay_rate: Annotated[Scalar, Range(0, math.inf, "()")],
    decay_steps: Annotated[Scalar, Range(0, math.inf, "()")] | None = None,
    staircase: bool = False,
) -> Schedule:
    """Exponential decay: rate = learning_rate * decay_rate ** (step / decay_steps).

    Args:
        learning_rate: rate of step 0, 0 or more.
        decay_rate: factor of the rate after `decay_steps` steps, above 0.
        decay_steps: number of steps, above 0. None: the number of steps of the run.
        staircase: whether the exponent is rounded down.
    """

    def rate(step: jax.Array, total: jax.Array) -> jax.Array:
        steps = total if decay_steps is None else _float(decay_steps)
        exponent = jnp.floor_divide(step, steps) if staircase else step / steps
        return _float(learning_rate) * _float(decay_rate) ** exponent

    return _make_schedule(rate)


def piecewise_constant(
    learning_rate: Annotated[Scalar, Range(0)],
    boundaries: tuple[Annotated[float, Range(0, 1, "()")], ...],
    factors: tuple[Annotated[float, Range(0)], ...],
) -> Schedule:
    """Piecewise constant learning rate: learning_rate * factors[i] between boundaries[i - 1] and boundaries[i].

    Args:
        learning_rate: 0 or more.
        boundaries: increasing shares of the run, in (0, 1); each is rounded to a step.
        factors: factors of `learning_rate`, 0 or more, one more than there are boundaries.

    Raises:
        UserError: the boundaries do not increase, or the number of factors is wrong.
    """
    if len(factors) != len(boundaries) + 1:
        raise UserError(
            f"piecewise_constant needs one factor more than boundaries, got {len(boundaries)} boundaries and "
            f"{len(factors)} factors. List {len(boundaries) + 1} factors."
        )
    if any(low >= high for low, high in zip((0.0, *boundaries), (*boundaries, 1.0), strict=True)):
        raise UserError(
            f"piecewise_constant needs boundaries that increase between 0 and 1, got {list(boundaries)}. "
            "A boundary is a share of the run."
        )

    def rate(step: jax.Array, total: jax.Array) -> jax.Array:
        passed = step >= jnp.round(jnp.array(boundaries, jnp.float32) * total)
        return _float(learning_rate) * jnp.array(factors, jnp.float32)[jnp.sum(passed)]

    return _make_schedule(rate)


def cosine(
    learning_rate: Annotated[Scalar, Range(0)],
    warmup: Annotated[Scalar, Range(0, 1)] = 0.0,
    final: Annotated[Scalar, Range(0, 1)] = 0.0,
) -> Schedule:
    """Linear warm-up of the learning rate from 0, then cosine decay.

    Args:
        learning_rate: rate after the warm-up, 0 or more.
        warmup: length of the warm-up, as a share of the run, in [0, 1].
        final: rate at the end, as a share of `learning_rate`, in [0, 1].

    References:
        Loshchilov and Hutter, 2017: SGDR: stochastic gradient descent with warm restarts.
        Goyal et al., 2017: Accurate, large minibatch SGD.
    """

    def rate(step: jax.Array, total: jax.Array) -> jax.Array:
        warmup_steps = _float(warmup) * total
        progress = jnp.clip((step - warmup_steps) / jnp.maximum(total - warmup_steps, 1), 0, 1)
        decay = _float(final) + (1 - _float(final)) * (1 + jnp.cos(jnp.pi * progress)) / 2
        return _float(learning_rate) * jnp.where(step < warmup_steps, step / jnp.maximum(warmup_steps, 1), decay)

    return _make_schedule(rate)


def reduce_on_plateau(
    learning_rate: Annotated[Scalar, Range(0)],
    factor: Annotated[Scalar, Range(0, 1, "()")],
    patience: Annotated[int, Range(1)],
    min_delta: Annotated[float, Range(0)] = 1e-4,
    cooldown: Annotated[int, Range(0)] = 0,
    min_scale: Annotated[float, Range(0, 1)] = 0.0,
) -> Schedule:
    """Constant learning rate, reduced when the monitored metric stops improving.

    Args:
        learning_rate: rate at the start, 0 or more.
        factor: factor of the rate at each reduction, in (0, 1).
        patience: number of evaluations without improvement before a reduction, at least 1.
        min_delta: smallest change that counts as an improvement, 0 or more.
        cooldown: number of evaluations after a reduction that are ignored.
        min_scale: smallest rate, as a share of `learning_rate`, in [0, 1].
    """
    return constant(learning_rate)._replace(plateau=Plateau(factor, patience, min_delta, cooldown, min_scale))


def _make_schedule(rate: RateFunction) -> Schedule:
    def values(step: jax.Array, total_steps: jax.Array) -> Mapping[str, jax.Array]:
        return {"learning_rate": rate(_float(step), _float(total_steps))}

    return Schedule(values)


def _float(number: Scalar) -> jax.Array:
    return jnp.asarray(number, jnp.float32)
