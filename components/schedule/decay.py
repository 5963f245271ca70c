"""Schedules of the learning rate that are one formula of the step."""

from __future__ import annotations

import math
from typing import Annotated

import jax
import jax.numpy as jnp

from components.schedule.base import NO_WARMUP, as_float, make_schedule
from components.types import Clock, Duration, FieldError, Plateau, Range, Scalar, Schedule


def constant(learning_rate: Annotated[Scalar, Range(0)], warmup: Duration = NO_WARMUP) -> Schedule:
    """Constant learning rate.

    Args:
        learning_rate: 0 or more.
        warmup: length of a linear warm-up before the schedule.
    """
    return make_schedule(lambda clock: as_float(learning_rate), warmup)


def power(
    learning_rate: Annotated[Scalar, Range(0)],
    decay_steps: Annotated[Duration, Range(0, math.inf, "()")],
    power: Annotated[Scalar, Range(0)] = 1.0,
    warmup: Duration = NO_WARMUP,
) -> Schedule:
    """Power decay: rate = learning_rate / (1 + step / decay_steps) ** power.

    Args:
        learning_rate: rate of step 0, 0 or more.
        decay_steps: a duration above 0. With `power` 1, the rate is a half after it, and a third after twice as long.
        power: 0 or more.
        warmup: length of a linear warm-up before the schedule.
    """

    def rate(clock: Clock) -> jax.Array:
        return as_float(learning_rate) / (1 + clock.step / decay_steps.steps(clock)) ** as_float(power)

    return make_schedule(rate, warmup)


def inverse_sqrt(
    learning_rate: Annotated[Scalar, Range(0)], warmup: Annotated[Duration, Range(0, math.inf, "()")]
) -> Schedule:
    """Linear warm-up, then decay by the square root: rate = learning_rate * min(t / warmup, sqrt(warmup / t)).

    Args:
        learning_rate: highest rate, 0 or more.
        warmup: length of the warm-up, above 0. t is step + 1, so that the first step learns too.

    References:
        Vaswani et al., 2017: Attention is all you need.
    """

    def rate(clock: Clock) -> jax.Array:
        share = (clock.step + 1) / jnp.maximum(warmup.steps(clock), 1)
        return as_float(learning_rate) * jnp.minimum(share, 1 / jnp.sqrt(share))

    return make_schedule(rate)


def exponential(
    learning_rate: Annotated[Scalar, Range(0)],
    decay_rate: Annotated[Scalar, Range(0, math.inf, "()")],
    decay_steps: Annotated[Duration, Range(0, math.inf, "()")] | None = None,
    staircase: bool = False,
    warmup: Duration = NO_WARMUP,
) -> Schedule:
    """Exponential decay: rate = learning_rate * decay_rate ** (step / decay_steps).

    Args:
        learning_rate: rate of step 0, 0 or more.
        decay_rate: factor of the rate after each `decay_steps`, above 0.
        decay_steps: a duration above 0. None: the whole run.
        staircase: whether the exponent is rounded down, and `decay_steps` to a whole number of steps.
        warmup: length of a linear warm-up before the schedule.

    Raises:
        FieldError: `staircase` without `decay_steps`, so that the run ends before its first stair.
    """
    if staircase and decay_steps is None:
        raise FieldError(
            "staircase", "true keeps the rate of step 0, because decay_steps is the whole run. Set it, such as 0.1."
        )

    def rate(clock: Clock) -> jax.Array:
        steps = _count_steps(decay_steps, clock)
        if staircase:  # 0.15 of 100 steps is 15.000001 in float32
            return as_float(learning_rate) * as_float(decay_rate) ** (clock.step // jnp.maximum(jnp.round(steps), 1))
        return as_float(learning_rate) * as_float(decay_rate) ** (clock.step / steps)

    return make_schedule(rate, warmup)


def linear(
    learning_rate: Annotated[Scalar, Range(0)],
    decay_steps: Annotated[Duration, Range(0, math.inf, "()")] | None = None,
    initial: Annotated[Scalar, Range(0)] = 1.0,
    final: Annotated[Scalar, Range(0)] = 0.0,
    warmup: Duration = NO_WARMUP,
) -> Schedule:
    """Linear change of the learning rate: rate = learning_rate * (initial + (final - initial) * step / decay_steps).

    Args:
        learning_rate: 0 or more.
        decay_steps: a duration above 0; the rate stays at `final` after it. None: the whole run.
        initial: rate of step 0, as a share of `learning_rate`, 0 or more.
        final: rate at the end, as a share of `learning_rate`, 0 or more.
        warmup: length of a linear warm-up before the schedule.
    """

    def rate(clock: Clock) -> jax.Array:
        progress = jnp.minimum(clock.step / _count_steps(decay_steps, clock), 1)
        return as_float(learning_rate) * (as_float(initial) * (1 - progress) + as_float(final) * progress)

    return make_schedule(rate, warmup)


def polynomial(
    learning_rate: Annotated[Scalar, Range(0)],
    power: Annotated[Scalar, Range(0, math.inf, "()")],
    decay_steps: Annotated[Duration, Range(0, math.inf, "()")] | None = None,
    final: Annotated[Scalar, Range(0, 1)] = 0.0,
    warmup: Duration = NO_WARMUP,
) -> Schedule:
    """Polynomial decay: rate = learning_rate * (final + (1 - final) * (1 - step / decay_steps) ** power).

    Args:
        learning_rate: rate of step 0, 0 or more.
        power: above 0; with 1, the decay is linear.
        decay_steps: a duration above 0; the rate stays at `final` after it. None: the whole run.
        final: rate at the end, as a share of `learning_rate`, in [0, 1].
        warmup: length of a linear warm-up before the schedule.
    """

    def rate(clock: Clock) -> jax.Array:
        rest = 1 - jnp.minimum(clock.step / _count_steps(decay_steps, clock), 1)
        return as_float(learning_rate) * (as_float(final) + (1 - as_float(final)) * rest ** as_float(power))

    return make_schedule(rate, warmup)


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
        progress = jnp.minimum(clock.step / clock.total_steps, 1)
        return as_float(learning_rate) * _decay_by_cosine(progress, final)

    return make_schedule(rate, warmup)


def cosine_restarts(
    learning_rate: Annotated[Scalar, Range(0)],
    first_decay_steps: Annotated[Duration, Range(0, math.inf, "()")],
    t_mul: Annotated[Scalar, Range(1)] = 2.0,
    m_mul: Annotated[Scalar, Range(0)] = 1.0,
    final: Annotated[Scalar, Range(0, 1)] = 0.0,
    warmup: Duration = NO_WARMUP,
) -> Schedule:
    """Cosine decay that starts again after each cycle (SGDR). The parameters have the names of Keras.

    Args:
        learning_rate: rate of step 0, 0 or more.
        first_decay_steps: length of the first cycle, a duration above 0.
        t_mul: factor of the length of each cycle after the first, at least 1.
        m_mul: factor of the highest rate of each cycle after the first, 0 or more.
        final: lowest rate of a cycle, as a share of its highest one, in [0, 1].
        warmup: length of a linear warm-up before the schedule.

    References:
        Loshchilov and Hutter, 2017: SGDR: stochastic gradient descent with warm restarts.
    """

    def rate(clock: Clock) -> jax.Array:
        elapsed = clock.step / first_decay_steps.steps(clock)
        cycle, start = _find_cycle(elapsed, as_float(t_mul))
        progress = jnp.clip((elapsed - start) / as_float(t_mul) ** cycle, 0, 1)
        return as_float(learning_rate) * as_float(m_mul) ** cycle * _decay_by_cosine(progress, final)

    return make_schedule(rate, warmup)


def reduce_on_plateau(
    learning_rate: Annotated[Scalar, Range(0)],
    factor: Annotated[Scalar, Range(0, 1, "()")],
    patience: Annotated[int, Range(1)] | Annotated[Duration, Range(0, math.inf, "()")],
    min_delta: Annotated[Scalar, Range(0)] = 1e-4,
    cooldown: Annotated[int, Range(0)] | Duration = 0,
    min_scale: Annotated[Scalar, Range(0, 1)] = 0.0,
    warmup: Duration = NO_WARMUP,
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
        warmup: length of a linear warm-up before the schedule. Evaluations in it count, too.
    """
    return constant(learning_rate, warmup)._replace(plateau=Plateau(factor, patience, min_delta, cooldown, min_scale))


def _count_steps(duration: Duration | None, clock: Clock) -> jax.Array:
    """The number of steps of a duration; None: those of the whole run."""
    return jnp.asarray(clock.total_steps) if duration is None else duration.steps(clock)


def _find_cycle(elapsed: jax.Array, growth: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The number of the cycle at a time, and its start, in lengths of the first cycle. Each is `growth` times longer.

    Cycle n starts at 1 + growth + … + growth**(n - 1). `expm1` and `log1p` are accurate if `growth` is close to 1.
    """
    more = growth - 1
    divisor, logarithm = jnp.where(more == 0, 1, more), jnp.log1p(jnp.where(more == 0, 1, more))

    def start_of(cycle: jax.Array) -> jax.Array:
        return jnp.where(more == 0, cycle, jnp.expm1(cycle * logarithm) / divisor)

    cycle = jnp.where(more == 0, elapsed, jnp.log1p(elapsed * more) / logarithm)
    nearest = jnp.round(cycle)  # not rounded down, since the logarithm of a whole cycle may be slightly too small
    cycle = jnp.where(start_of(nearest) > elapsed * (1 + 1e-6), nearest - 1, nearest)
    return cycle, start_of(cycle)


def _decay_by_cosine(progress: jax.Array, final: Scalar) -> jax.Array:
    """From 1 to `final` along half a cosine, at a progress from 0 to 1."""
    return as_float(final) + (1 - as_float(final)) * (1 + jnp.cos(jnp.pi * progress)) / 2
