"""Initializers of kernels: random distributions with mean zero, by name or as objects with a parameter."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, Literal, TypeAlias

import jax
import jax.numpy as jnp
from jax.nn.initializers import (
    glorot_normal,
    glorot_uniform,
    he_normal,
    he_uniform,
    lecun_normal,
    lecun_uniform,
    orthogonal,
    truncated_normal,
    variance_scaling,
)

from components.layer.table import describe_function, get_entry
from components.types import Range, Scalar, UserError

InitializerName: TypeAlias = Literal[
    "glorot_normal",
    "glorot_uniform",
    "he_normal",
    "he_normal_fan_out",
    "he_uniform",
    "lecun_normal",
    "lecun_uniform",
    "orthogonal",
]

DrawKernel: TypeAlias = Callable[..., jax.Array]
"""(key, shape, dtype) -> kernel of shape (…, in, out)."""

INITIALIZERS: Mapping[str, DrawKernel] = {
    "glorot_normal": glorot_normal(),  # variance 2 / (fan_in + fan_out): Glorot and Bengio, 2010
    "glorot_uniform": glorot_uniform(),
    "he_normal": he_normal(),  # 2 / fan_in: He et al., 2015
    "he_normal_fan_out": variance_scaling(2.0, "fan_out", "normal"),  # 2 / fan_out, not truncated
    "he_uniform": he_uniform(),
    "lecun_normal": lecun_normal(),  # 1 / fan_in: LeCun et al., 1998; Klambauer et al., 2017
    "lecun_uniform": lecun_uniform(),
    "orthogonal": orthogonal(),  # Saxe et al., 2014
}


@dataclass(frozen=True)
class Normal:
    """Normal distribution with mean zero.

    Attributes:
        stddev: standard deviation, 0 or more; 0.01 in Krizhevsky et al., 2012.
    """

    stddev: Annotated[Scalar, Range(0)]

    def __call__(self, key: jax.Array, shape: Sequence[int], dtype: Any = jnp.float32) -> jax.Array:
        return jnp.asarray(self.stddev, dtype) * jax.random.normal(key, tuple(shape), dtype)


@dataclass(frozen=True)
class TruncatedNormal:
    """Normal distribution with mean zero, truncated at two standard deviations, as in Keras and TensorFlow.

    Attributes:
        stddev: standard deviation before truncation, 0 or more. Truncation reduces it by a factor of 0.88.
    """

    stddev: Annotated[Scalar, Range(0)]

    def __call__(self, key: jax.Array, shape: Sequence[int], dtype: Any = jnp.float32) -> jax.Array:
        return jnp.asarray(self.stddev, dtype) * truncated_normal(1.0)(key, tuple(shape), dtype)


@dataclass(frozen=True)
class Uniform:
    """Uniform distribution between -limit / fan_in and limit / fan_in.

    Attributes:
        limit: bound before the division by fan_in, 0 or more; 2.4 in LeCun et al., 1998.
    """

    limit: Annotated[Scalar, Range(0)]

    def __call__(self, key: jax.Array, shape: Sequence[int], dtype: Any = jnp.float32) -> jax.Array:
        limit = jnp.asarray(self.limit, dtype) / math.prod(shape[:-1])
        return limit * jax.random.uniform(key, tuple(shape), dtype, -1.0, 1.0)


@dataclass(frozen=True)
class Orthogonal:
    """Kernels (…, in, out) whose outputs are orthogonal: as matrices (… * in, out), their columns or rows are.

    Attributes:
        scale: the length of the columns, or of the rows if there are fewer of them; 2^0.5 before relu.

    References:
        Saxe et al., 2014: Exact solutions to the nonlinear dynamics of learning in deep linear neural networks.
    """

    scale: Annotated[Scalar, Range(0)] = 1.0

    def __call__(self, key: jax.Array, shape: Sequence[int], dtype: Any = jnp.float32) -> jax.Array:
        return jnp.asarray(self.scale, dtype) * orthogonal()(key, tuple(shape), dtype)


@dataclass(frozen=True)
class Constant:
    """The same number for all weights. Units that start with equal weights may stay equal.

    Attributes:
        value: the number.
    """

    value: Scalar = 0.0

    def __call__(self, key: jax.Array, shape: Sequence[int], dtype: Any = jnp.float32) -> jax.Array:
        return jnp.full(tuple(shape), self.value, dtype)


Initializer: TypeAlias = InitializerName | Normal | TruncatedNormal | Uniform | Orthogonal | Constant | DrawKernel
"""The type of parameters called `initializer`: the name of a distribution, an object such as `Normal(0.01)`, or a
function."""


def get_initializer(initializer: Initializer) -> DrawKernel:
    """Returns the function that draws a kernel. A function of the user must return the shape and dtype it gets."""
    if isinstance(initializer, str):
        return get_entry("initializer", INITIALIZERS, initializer)
    if isinstance(initializer, Normal | TruncatedNormal | Uniform | Orthogonal | Constant):
        return initializer
    return partial(_draw_checked, initializer)


def _draw_checked(draw: DrawKernel, key: jax.Array, shape: Sequence[int], dtype: Any = jnp.float32) -> jax.Array:
    if jax.config.jax_disable_jit and isinstance(key, jax.core.Tracer):  # type: ignore[attr-defined]
        # Flax compares the shape at each call of a layer. Without compilation, `draw` may need a key with a value.
        return jnp.zeros(tuple(shape), dtype)
    kernel = draw(key, tuple(shape), dtype)
    if getattr(kernel, "shape", None) != tuple(shape) or kernel.dtype != dtype:
        returned = f"{kernel.dtype} {kernel.shape}" if isinstance(kernel, jax.Array) else f"a {type(kernel).__name__}"
        expected = f"{jnp.dtype(dtype)} {tuple(shape)}"
        raise UserError(f"initializer {describe_function(draw)} returns {returned}. It must return {expected}.")
    return kernel


def get_grouped_initializer(initializer: Initializer, groups: int) -> DrawKernel:
    """Returns a function for kernels (…, in / groups, out) that draws the kernel of each group separately."""
    draw = get_initializer(initializer)
    if groups == 1:
        return draw

    def draw_groups(key: jax.Array, shape: Sequence[int], dtype: Any = jnp.float32) -> jax.Array:
        group_shape = (*shape[:-1], shape[-1] // groups)
        kernels = jax.lax.map(lambda group_key: draw(group_key, group_shape, dtype), jax.random.split(key, groups))
        return jnp.moveaxis(kernels, 0, -2).reshape(shape)

    return draw_groups
