"""Schedules of pieces between boundaries: constant learning rates, or other schedules."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated

import jax
import jax.numpy as jnp

from components.closest import join_names
from components.schedule.base import (
    NO_WARMUP,
    as_float,
    check_boundaries,
    count_boundaries,
    find_piece,
    make_schedule,
    start_at,
    to_float,
)
from components.types import Clock, Duration, FieldError, Range, Scalar, Schedule, error_field


def piecewise_constant(
    learning_rate: Annotated[Scalar, Range(0)] | None,
    boundaries: tuple[Annotated[Duration, Range(0, math.inf, "()")], ...],
    factors: tuple[Annotated[Scalar, Range(0)], ...] | None = None,
    values: tuple[Annotated[Scalar, Range(0)], ...] | None = None,
    warmup: Duration = NO_WARMUP,
) -> Schedule:
    """Piecewise constant learning rate: learning_rate * factors[i], or values[i], after boundaries[i - 1].

    Args:
        learning_rate: 0 or more. None: `values` has the rates.
        boundaries: increasing durations from the start of the schedule, above 0; each is rounded to a step.
        factors: factors of `learning_rate`, 0 or more, one more than there are boundaries. None: 1, 0.1, 0.01, …
        values: the learning rates themselves, 0 or more, one more than there are boundaries, in place of
            `learning_rate` and `factors`.
        warmup: length of a linear warm-up before the schedule.

    Raises:
        FieldError: boundaries of the same unit do not increase, the number of factors or values is wrong, or the rates
            are given twice or not at all. `Schedule.check` raises it for boundaries of other units.
    """
    rates = _read_rates(learning_rate, len(boundaries) + 1, factors, values)
    check_boundaries(boundaries)

    def rate(clock: Clock) -> jax.Array:
        return jnp.stack([as_float(each) for each in rates])[find_piece(boundaries, clock)]

    def check(clock: Clock) -> None:
        count_boundaries(boundaries, clock)

    return make_schedule(rate, warmup, check)


def _read_rates(
    learning_rate: Scalar | None, count: int, factors: tuple[Scalar, ...] | None, values: tuple[Scalar, ...] | None
) -> list[Scalar]:
    """The `count` rates of the pieces. Raises FieldError if their number is another, or if they are given twice."""
    for name, listed in (("factors", factors), ("values", values)):
        if listed is not None and len(listed) != count:
            raise FieldError(
                name,
                f"needs one more than boundaries, got {len(listed)} {name} and {count - 1} boundaries. "
                f"List {count} {name}.",
            )
    if values is not None:
        for name, other in (("factors", factors), ("learning_rate", learning_rate)):
            if other is not None:
                raise FieldError(name, "has no effect beside values. Set it to null, or leave values out.")
        return list(values)
    if learning_rate is None:
        raise FieldError("learning_rate", "is null, and there are no values. Set one of them.")
    return [as_float(learning_rate) * factor for factor in factors or [0.1**piece for piece in range(count)]]


def join(
    schedules: tuple[Schedule, ...], boundaries: tuple[Annotated[Duration, Range(0, math.inf, "()")], ...]
) -> Schedule:
    """Schedules one after another: schedules[i] begins at boundaries[i - 1], as if a run began there.

    Args:
        schedules: the schedules, at least two. The run of each is its piece, so `0.5` in it is half of the piece.
        boundaries: increasing durations from the start of the run, above 0, one less than there are schedules; each
            is rounded to a step.

    Raises:
        FieldError: boundaries of the same unit do not increase, their number is wrong, the schedules set different
            numbers, or one reacts to a plateau. `Schedule.check` raises it for boundaries of other units.
    """
    if len(schedules) < 2 or len(schedules) != len(boundaries) + 1:
        raise FieldError(
            "boundaries" if len(schedules) > 1 else "schedules",
            f"needs at least two schedules, and one boundary less, got {len(schedules)} schedules and "
            f"{len(boundaries)} boundaries. List a boundary between each two schedules.",
        )
    check_boundaries(boundaries)
    for i, each in enumerate(schedules):
        if each.plateau:
            raise FieldError(
                f"schedules.{i}",
                "reacts to a plateau, which counts for the whole run. Choose another one, or "
                "schedule=reduce_on_plateau with schedule.warmup.",
            )

    def values(clock: Clock) -> Mapping[str, jax.Array]:
        clock = to_float(clock)
        edges = [jnp.float32(0), *(jnp.round(each.steps(clock)) for each in boundaries), clock.total_steps]
        pieces = [each.at(start_at(clock, *edges[i : i + 2])) for i, each in enumerate(schedules)]
        if len({frozenset(piece) for piece in pieces}) > 1:
            names = "; ".join(join_names(sorted(piece)) for piece in pieces)
            raise FieldError(
                "schedules",
                f"set different numbers: {names}. Choose others, or set momentum to null in those of one_cycle.",
            )
        index = find_piece(boundaries, clock)
        return {name: jnp.stack([as_float(piece[name]) for piece in pieces])[index] for name in pieces[0]}

    def check(clock: Clock) -> None:
        edges = [0, *count_boundaries(boundaries, clock), int(clock.total_steps)]
        for i, each in enumerate(schedules):
            if each.check is not None:
                with error_field(f"schedules.{i}"):
                    each.check(start_at(clock, *edges[i : i + 2]))

    return Schedule(values, check=check)
