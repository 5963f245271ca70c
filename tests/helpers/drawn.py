"""Random weights by name, the same for every framework, so that a record of a model needs no file of weights."""

from __future__ import annotations

import math
import zlib

import numpy as np


def drawn(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """Returns the array of a name in float32: variances and scales about 1, kernels that keep the scale of their input.

    NumPy guarantees that the numbers of `RandomState` never change.
    """
    random = np.random.RandomState(zlib.crc32(name.encode()))
    word = name.replace("/", ".").rpartition(".")[2]
    if word in ("running_var", "moving_variance") or (len(shape) == 1 and word in ("weight", "gamma")):
        array = random.uniform(0.8, 1.2, shape)
    elif len(shape) == 1:
        array = random.uniform(-0.2, 0.2, shape)
    else:
        array = random.standard_normal(shape) * math.sqrt(2 / fan_in(name, shape))
    return array.astype(np.float32)


def fan_in(name: str, shape: tuple[int, ...]) -> int:
    """The numbers that each output sees; in PyTorch the output comes first, in Keras last."""
    if "/" not in name:
        return math.prod(shape[1:])
    return math.prod(shape[:2] if "depthwise" in name else shape[:-1])


def images(side: int, channels: int = 3, count: int = 2) -> np.ndarray:
    """Some images (B, H, W, C), float32."""
    random = np.random.RandomState(side)
    return random.standard_normal((count, side, side, channels)).astype(np.float32)
