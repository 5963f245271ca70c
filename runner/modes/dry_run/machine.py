"""How fast the device multiplies."""

from __future__ import annotations

import time

import jax
import numpy as np

PROBE = 1024  # rows and columns of the matrices that are multiplied


def multiply_adds_per_second() -> float:
    """Of float32 matrices; takes a few tenths of a second."""
    matrix = jax.device_put(np.random.default_rng(0).standard_normal((PROBE, PROBE), np.float32))
    multiply = jax.jit(lambda x: x @ x)
    jax.block_until_ready(multiply(matrix))
    seconds = []
    for _ in range(3):
        began = time.perf_counter()
        jax.block_until_ready(multiply(matrix))
        seconds.append(time.perf_counter() - began)
    return PROBE**3 / min(seconds)
