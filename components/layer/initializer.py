"""Initializers of kernels: zero mean, and a variance that falls with the connections of a unit or is given."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
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
    truncated_normal,
    variance_scaling,
)

from components.layer.table import choose
from components.types import Range, Scalar

InitializerName: TypeAlias = Literal[
    "glorot_normal", "glorot_uniform", "he_normal", "he_normal_out", "he_uniform", "lecun_normal", "lecun_uniform"
]

Draw: TypeAlias = Callable[..., jax.Array]
"""(key, shape, dtype) -> kernel; shapes are (…, in, out)."""

INITIALIZERS: Mapping[str, Draw] = {
    "glorot_normal": glorot_normal(),  # Glorot and Bengio, 2010: variance 2 / (in + out)
    "glorot_uniform": glorot_uniform(),
    "he_normal": he_normal(),  # He et al., 2015: 2 / in
    "he_normal_out": variance_scaling(2.0, "fan_out", "normal"),  # the same of what goes out: 2 / out
    "he_uniform": he_uniform(),
    "lecun_normal": lecun_normal(),  # LeCun et al., 1998; Klambauer et al., 2017: 1 / in
    "lecun_uniform": lecun_uniform(),
}


@dataclass(frozen=True)
class Normal:
    """A normal distribution around zero of that standard deviation (0.01 in Krizhevsky et al., 2012)."""

    stddev: Annotated[Scalar, Range(0)]

    def __call__(self, key: jax.Array, shape: Sequence[int], dtype: Any = jnp.float32) -> jax.Array:
        return jnp.asarray(self.stddev, dtype) * jax.random.normal(key, tuple(shape), dtype)


@dataclass(frozen=True)
class TruncatedNormal:
    """A normal distribution around zero, cut at twice its standard deviation, as Keras and TensorFlow draw it.

    `stddev` is that before the cut; after it, it is 0.88 times as large.
    """

    stddev: Annotated[Scalar, Range(0)]

    def __call__(self, key: jax.Array, shape: Sequence[int], dtype: Any = jnp.float32) -> jax.Array:
        return jnp.asarray(self.stddev, dtype) * truncated_normal(1.0)(key, tuple(shape), dtype)


@dataclass(frozen=True)
class Uniform:
    """A uniform distribution around zero, up to `limit` over the connections of a unit (2.4 in LeCun et al., 1998)."""

    limit: Annotated[Scalar, Range(0)]

    def __call__(self, key: jax.Array, shape: Sequence[int], dtype: Any = jnp.float32) -> jax.Array:
        limit = jnp.asarray(self.limit, dtype) / math.prod(shape[:-1])
        return limit * jax.random.uniform(key, tuple(shape), dtype, -1.0, 1.0)


Initializer: TypeAlias = InitializerName | Normal | TruncatedNormal | Uniform
"""What a field named `initializer` takes: a name, or a part with a number of its own."""


def get_initializer(initializer: Initializer) -> Draw:
    """The function of that name, or the part itself."""
    return choose("initializer", INITIALIZERS, initializer) if isinstance(initializer, str) else initializer


def grouped(initializer: Initializer, groups: int) -> Draw:
    """The same for a kernel (…, in / groups, out) of several groups: each is drawn as a kernel of its own."""
    draw = get_initializer(initializer)
    if groups == 1:
        return draw

    def drawn(key: jax.Array, shape: Sequence[int], dtype: Any = jnp.float32) -> jax.Array:
        own = (*shape[:-1], shape[-1] // groups)
        kernels = jax.lax.map(lambda one: draw(one, own, dtype), jax.random.split(key, groups))
        return jnp.moveaxis(kernels, 0, -2).reshape(shape)

    return drawn
