"""Multiply-adds, counted exactly in what JAX traces."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from jax.extend.core import Jaxpr, JaxprEqn, jaxprs_in_params


class Done(NamedTuple):
    """An equation as it runs: how many times, and the name stacks around it, outermost first."""

    equation: JaxprEqn
    times: int
    scopes: tuple[str, ...]


def equations(jaxpr: Jaxpr, times: int = 1, scopes: tuple[str, ...] = ()) -> Iterator[Done]:
    """Every equation, with those within calls, loops and branches.

    Of a branch the one with most work counts; the body of a loop that no one knows the length of counts once.
    """
    for equation in jaxpr.eqns:
        around = (*scopes, str(equation.source_info.name_stack))
        yield Done(equation, times, around)
        inner = list(jaxprs_in_params(equation.params))
        if equation.primitive.name == "cond":
            inner = [max(inner, key=multiply_adds)]
        if equation.primitive.name == "scan":
            yield from equations(inner[0], times * equation.params["length"], around)
        else:
            for one in inner:
                yield from equations(one, times, around)


def multiply_adds(jaxpr: Jaxpr) -> int:
    """Those of all equations."""
    return sum(done.times * of_equation(done.equation) for done in equations(jaxpr))


def of_equation(equation: JaxprEqn) -> int:
    """Those of a matrix product or a convolution, its padding included; others have none."""
    count = _COUNTS.get(equation.primitive.name)
    return 0 if count is None else count(equation)


def _dot(equation: JaxprEqn) -> int:
    (contracted, _), _ = equation.params["dimension_numbers"]
    left, _, out, *_ = _shapes(equation)
    return math.prod(out) * math.prod(left[axis] for axis in contracted)


def _ragged_dot(equation: JaxprEqn) -> int:
    (contracted, _), _ = equation.params["ragged_dot_dimension_numbers"].dot_dimension_numbers
    left, *_, out = _shapes(equation)
    return math.prod(out) * math.prod(left[axis] for axis in contracted)


def _convolution(equation: JaxprEqn) -> int:
    """By places of the output and of the kernel, without those that meet the holes of a dilated image."""
    numbers = equation.params["dimension_numbers"]
    image, kernel, out = _shapes(equation)
    features, channels, *spatial = (kernel[axis] for axis in numbers.rhs_spec)
    batch = out[numbers.out_spec[0]]
    taps = [
        _taps(equation, place, image[numbers.lhs_spec[2 + place]], width, out[numbers.out_spec[2 + place]])
        for place, width in enumerate(spatial)
    ]
    return batch * features * channels * math.prod(taps)


def _taps(equation: JaxprEqn, place: int, side: int, width: int, out: int) -> int:
    """Pairs of a place of the output and one of the kernel, along one axis."""
    dilation = equation.params["lhs_dilation"][place]
    if dilation == 1:
        return out * width
    low, _ = equation.params["padding"][place]
    starts = np.arange(out) * equation.params["window_strides"][place] - low
    met = starts[:, None] + np.arange(width) * equation.params["rhs_dilation"][place]
    return int(((met >= 0) & (met < side * dilation) & (met % dilation == 0)).sum())


def _shapes(equation: JaxprEqn) -> list[tuple[int, ...]]:
    """Of what it takes and then of what it gives."""
    variables: list[Any] = [*equation.invars, *equation.outvars]
    return [variable.aval.shape for variable in variables]


_COUNTS = {
    "dot_general": _dot,
    "conv_general_dilated": _convolution,
    "ragged_dot_general": _ragged_dot,
}
