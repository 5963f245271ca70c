"""Schedules of the learning rate: pure functions of the step, from 0 on, and of the steps of the whole run."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Annotated

import jax
import jax.numpy as jnp

from components.types import Plateau, Range, Scalar, Schedule, UserError

Rate = Callable[[jax.Array, jax.Array], jax.Array]  # (step, total steps), float32 -> rate, float32


def constant(learning_rate: Annotated[Scalar, Range(0)]) -> Schedule:
    """One rate for the whole run."""
    return _schedule(lambda step, total: _float(learning_rate))


def exponential(
    learning_rate: Annotated[Scalar, Range(0)],
    decay_rate: Annotated[Scalar, Range(0, math.inf, "()")],
    decay_steps: Annotated[Scalar, Range(0, math.inf, "()")] | None = None,
    staircase: bool = False,
) -> Schedule:
    """learning_rate · decay_rate ^ (step / decay_steps), the exponent rounded down in a `staircase`.

    `decay_steps` of None are the steps of the whole run.
    """

    def rate(step: jax.Array, total: jax.Array) -> jax.Array:
        steps = total if decay_steps is None else _float(decay_steps)
        exponent = jnp.floor_divide(step, steps) if staircase else step / steps
        return _float(learning_rate) * _float(decay_rate) ** exponent

    return _schedule(rate)


def piecewise_constant(
    learning_rate: Annotated[Scalar, Range(0)],
    boundaries: tuple[Annotated[float, Range(0, 1, "()")], ...],
    factors: tuple[Annotated[float, Range(0)], ...],
) -> Schedule:
    """learning_rate · factors[i] from boundaries[i - 1] of the run on, until boundaries[i].

    Raises UserError unless `boundaries`, shares of the run, rise, and `factors` are one more. Each boundary is
    rounded to a step.
    """
    if len(factors) != len(boundaries) + 1:
        raise UserError(
            f"piecewise_constant has {len(boundaries)} boundaries and {len(factors)} factors: "
            "give one factor more than boundaries"
        )
    if any(low >= high for low, high in zip((0.0, *boundaries), (*boundaries, 1.0), strict=True)):
        raise UserError(f"boundaries are shares of the run that rise between 0 and 1, got {list(boundaries)}")

    def rate(step: jax.Array, total: jax.Array) -> jax.Array:
        passed = step >= jnp.round(jnp.array(boundaries, jnp.float32) * total)
        return _float(learning_rate) * jnp.array(factors, jnp.float32)[jnp.sum(passed)]

    return _schedule(rate)


def cosine(
    learning_rate: Annotated[Scalar, Range(0)],
    warmup: Annotated[Scalar, Range(0, 1)] = 0.0,
    final: Annotated[Scalar, Range(0, 1)] = 0.0,
) -> Schedule:
    """Rises from 0 in a line for `warmup`, then falls along half a cosine to `final`.

    `warmup` is a share of the run, `final` one of the rate (Loshchilov and Hutter, 2017; Goyal et al., 2017).
    """

    def rate(step: jax.Array, total: jax.Array) -> jax.Array:
        rising = _float(warmup) * total
        progress = jnp.clip((step - rising) / jnp.maximum(total - rising, 1), 0, 1)
        falling = _float(final) + (1 - _float(final)) * (1 + jnp.cos(jnp.pi * progress)) / 2
        return _float(learning_rate) * jnp.where(step < rising, step / jnp.maximum(rising, 1), falling)

    return _schedule(rate)


def performance(
    learning_rate: Annotated[Scalar, Range(0)],
    factor: Annotated[Scalar, Range(0, 1, "()")],
    patience: Annotated[int, Range(1)],
    min_delta: Annotated[float, Range(0)] = 1e-4,
    cooldown: Annotated[int, Range(0)] = 0,
    floor: Annotated[float, Range(0, 1)] = 0.0,
) -> Schedule:
    """One rate, multiplied by `factor` after `patience` evaluations that improve by no more than `min_delta`.

    The `cooldown` evaluations after a cut don't count; the rate never falls below `floor`, a share of the first.
    """
    return constant(learning_rate)._replace(plateau=Plateau(factor, patience, min_delta, cooldown, floor))


def _schedule(rate: Rate) -> Schedule:
    def values(step: jax.Array, total_steps: jax.Array) -> Mapping[str, jax.Array]:
        return {"learning_rate": rate(_float(step), _float(total_steps))}

    return Schedule(values)


def _float(number: Scalar) -> jax.Array:
    return jnp.asarray(number, jnp.float32)
