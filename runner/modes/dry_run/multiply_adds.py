"""Counts the multiply-adds of a traced function exactly, from its jaxpr."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from jax.extend.core import Jaxpr, JaxprEqn, jaxprs_in_params


class Execution(NamedTuple):
    """An equation of a jaxpr, and how often it runs.

    Attributes:
        equation: the equation.
        times: how often it runs.
        scopes: its name stack and those of the calls around it, outermost first.
    """

    equation: JaxprEqn
    times: int
    scopes: tuple[str, ...]


def walk_equations(jaxpr: Jaxpr, times: int = 1, scopes: tuple[str, ...] = ()) -> Iterator[Execution]:
    """Yields every equation, also those within calls, loops and branches.

    Only the branch of a condition with the most multiply-adds is walked. The body of a `while` loop, whose length is
    unknown, counts once.
    """
    for equation in jaxpr.eqns:
        own_scopes = (*scopes, str(equation.source_info.name_stack))
        yield Execution(equation, times, own_scopes)
        inner = list(jaxprs_in_params(equation.params))
        if equation.primitive.name == "cond":
            inner = [max(inner, key=count_multiply_adds)]
        if equation.primitive.name == "scan":
            yield from walk_equations(inner[0], times * equation.params["length"], own_scopes)
        else:
            for inner_jaxpr in inner:
                yield from walk_equations(inner_jaxpr, times, own_scopes)


def count_multiply_adds(jaxpr: Jaxpr) -> int:
    """Multiply-adds of all equations of a jaxpr."""
    return sum(execution.times * equation_multiply_adds(execution.equation) for execution in walk_equations(jaxpr))


def equation_multiply_adds(equation: JaxprEqn) -> int:
    """The multiply-adds of a matrix product or a convolution; 0 for any other equation."""
    counter = _COUNTERS.get(equation.primitive.name)
    return 0 if counter is None else counter(equation)


def _count_dot(equation: JaxprEqn) -> int:
    (contracted, _), _ = equation.params["dimension_numbers"]
    left, *_, out = _shapes(equation)
    return math.prod(out) * math.prod(left[axis] for axis in contracted)


def _count_ragged_dot(equation: JaxprEqn) -> int:
    (contracted, _), _ = equation.params["ragged_dot_dimension_numbers"].dot_dimension_numbers
    left, *_, out = _shapes(equation)
    return math.prod(out) * math.prod(left[axis] for axis in contracted)


def _count_convolution(equation: JaxprEqn) -> int:
    """Counts pairs of an output and a kernel position.

    Padding counts, except for a dilated image (a transposed convolution), of which only the pixels themselves count.
    """
    numbers = equation.params["dimension_numbers"]
    image, kernel, out = _shapes(equation)
    features, channels, *spatial = (kernel[axis] for axis in numbers.rhs_spec)
    batch = out[numbers.out_spec[0]]
    pairs = [
        _count_pairs(equation, axis, image[numbers.lhs_spec[2 + axis]], width, out[numbers.out_spec[2 + axis]])
        for axis, width in enumerate(spatial)
    ]
    return batch * features * channels * math.prod(pairs)


def _count_pairs(equation: JaxprEqn, axis: int, side: int, width: int, out: int) -> int:
    """Pairs of an output position and a kernel position along one spatial axis.

    Args:
        equation: a convolution.
        axis: the spatial axis, from 0.
        side: length of the image along it.
        width: length of the kernel.
        out: length of the output.
    """
    dilation = equation.params["lhs_dilation"][axis]
    if dilation == 1:
        return out * width
    low, _ = equation.params["padding"][axis]
    starts = np.arange(out) * equation.params["window_strides"][axis] - low
    positions = starts[:, None] + np.arange(width) * equation.params["rhs_dilation"][axis]
    return int(((positions >= 0) & (positions < side * dilation) & (positions % dilation == 0)).sum())


def _shapes(equation: JaxprEqn) -> list[tuple[int, ...]]:
    """The shapes of an equation's inputs, then those of its outputs."""
    variables: list[Any] = [*equation.invars, *equation.outvars]
    return [variable.aval.shape for variable in variables]


_COUNTERS = {
    "dot_general": _count_dot,
    "conv_general_dilated": _count_convolution,
    "ragged_dot_general": _count_ragged_dot,
}
