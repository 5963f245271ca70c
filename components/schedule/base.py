"""What schedules share: their clocks, and the warm-up before a schedule."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence

import jax
import jax.numpy as jnp

from components.types import Clock, Duration, FieldError, Scalar, Schedule

RateFunction = Callable[[Clock], jax.Array]  # the clock holds float32 scalars -> learning rate, float32
NO_WARMUP = Duration(0.0)


def make_schedule(
    rate: RateFunction, warmup: Duration = NO_WARMUP, check: Callable[[Clock], None] | None = None
) -> Schedule:
    """A schedule of the learning rate that begins after a linear warm-up to its first rate.

    Args:
        rate: the learning rate. Its clock starts after the warm-up, and its run has the steps that are left.
        warmup: length of the warm-up. Its n steps have 1/n, 2/n, …, n/n of the first rate, so that the first one learns
            too.
        check: as in `Schedule`, with the clock that starts after the warm-up.
    """

    def values(clock: Clock) -> Mapping[str, jax.Array]:
        clock = to_float(clock)
        steps = warmup.steps(clock)
        ramp = jnp.minimum((clock.step + 1) / jnp.maximum(steps, 1), 1)
        return {"learning_rate": rate(start_at(clock, steps)) * jnp.where(clock.step < steps, ramp, 1)}

    def check_rest(clock: Clock) -> None:
        if check is not None:
            check(start_at(clock, warmup.steps(clock)))

    return Schedule(values, check=check_rest)


def start_at(clock: Clock, start: Scalar, end: Scalar | None = None) -> Clock:
    """The clock of a part of the run, from the step `start` to `end`, which is at least one step long.

    Before the part, its step is 0. None: the part lasts until the end of the run.
    """
    total = clock.total_steps if end is None else end
    return Clock(jnp.maximum(clock.step - start, 0), jnp.maximum(total - start, 1), clock.steps_per_epoch)


def to_float(clock: Clock) -> Clock:
    """The clock in float32."""
    return Clock(*map(as_float, clock))


def as_float(number: Scalar) -> jax.Array:
    """A number in float32."""
    return jnp.asarray(number, jnp.float32)


def check_boundaries(boundaries: Sequence[Duration]) -> None:
    """Raises FieldError if boundaries of the same unit don't increase. Traced ones aren't compared."""
    for low, high in itertools.pairwise(boundaries):
        is_known = not any(isinstance(each.value, jax.core.Tracer) for each in (low, high))
        if low.unit == high.unit and is_known and low.value >= high.value:
            raise FieldError("boundaries", f"{high.written()} follows {low.written()}. List them in increasing order.")


def count_boundaries(boundaries: Sequence[Duration], clock: Clock) -> list[int]:
    """The steps of boundaries in a run. Raises FieldError if one is before that of the last."""
    steps = [round(float(boundary.steps(clock))) for boundary in boundaries]
    for (low, first), (high, second) in itertools.pairwise(zip(boundaries, steps, strict=True)):
        if second < first:
            raise FieldError(
                "boundaries",
                f"{low.written()} is step {first:,} of this run, and the next one, {high.written()}, is step "
                f"{second:,}. List them in increasing order.",
            )
    return steps


def find_piece(boundaries: Sequence[Duration], clock: Clock) -> jax.Array:
    """The index of the piece that a step is in: the number of boundaries, rounded to steps, that it has reached."""
    return sum((jnp.int32(clock.step >= jnp.round(each.steps(clock))) for each in boundaries), jnp.int32(0))
