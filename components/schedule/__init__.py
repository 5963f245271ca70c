"""Schedules of the learning rate, and of the momentum: functions of the step and of the length of the run."""

from components.schedule.decay import (
    constant,
    cosine,
    cosine_restarts,
    exponential,
    inverse_sqrt,
    linear,
    polynomial,
    power,
    reduce_on_plateau,
)
from components.schedule.one_cycle import one_cycle
from components.schedule.pieces import join, piecewise_constant
from components.schedule.range_test import range_test

__all__ = [
    "constant",
    "cosine",
    "cosine_restarts",
    "exponential",
    "inverse_sqrt",
    "join",
    "linear",
    "one_cycle",
    "piecewise_constant",
    "polynomial",
    "power",
    "range_test",
    "reduce_on_plateau",
]
