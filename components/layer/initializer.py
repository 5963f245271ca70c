"""Initializers of kernels by name: zero mean, a variance that falls with the connections of a unit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, TypeAlias

from jax.nn.initializers import (
    Initializer,
    glorot_normal,
    glorot_uniform,
    he_normal,
    he_uniform,
    lecun_normal,
    lecun_uniform,
)

from components.layer.table import choose

InitializerName: TypeAlias = Literal[
    "glorot_normal", "glorot_uniform", "he_normal", "he_uniform", "lecun_normal", "lecun_uniform"
]

INITIALIZERS: Mapping[str, Initializer] = {
    "glorot_normal": glorot_normal(),  # Glorot and Bengio, 2010: variance 2 / (in + out)
    "glorot_uniform": glorot_uniform(),
    "he_normal": he_normal(),  # He et al., 2015: 2 / in
    "he_uniform": he_uniform(),
    "lecun_normal": lecun_normal(),  # LeCun et al., 1998; Klambauer et al., 2017: 1 / in
    "lecun_uniform": lecun_uniform(),
}


def initializer(name: InitializerName) -> Initializer:
    """The function (key, shape, dtype) -> kernel of that name; shapes are (…, in, out)."""
    return choose("initializer", INITIALIZERS, name)
