"""How the functions of a program run: compiled or operation by operation, and with how many steps at once."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from runner.log import LOG

STEPS_PER_DISPATCH = 64  # of a small model. A step of a large one takes long, so the cost of its dispatch is small.
LARGE_MODEL = 1_000_000  # parameters
STEPS_OF_LARGE_MODEL = 8
STEPS_OF_RAGGED_DATA = 4
# The steps of a small network are so short that starting operations side by side takes longer than it saves: a step of
# two layers of 64 units takes 49 µs with it and 36 µs without. Large networks are equally fast either way.
ORDERED_OPERATIONS = {"xla_cpu_enable_concurrency_optimized_scheduler": False}
MAX_GATHERED_BYTES = 2**26  # of a dispatch, where the host gathers its rows. A few dispatches are in memory at once.


def run_uncompiled(function: Callable[..., Any], **_options_of_jit: Any) -> Callable[..., Any]:
    """The same function, run operation by operation, also in its loops and in functions under `jax.jit`."""

    def to_array(leaf: Any) -> Any:
        return (
            leaf if isinstance(leaf, bool | str) else jnp.asarray(leaf)
        )  # NumPy would compute in 64 bits, unlike `jit`

    def call(*arguments: Any) -> Any:
        with jax.disable_jit():
            return function(*jax.tree.map(to_array, arguments))

    return call


@functools.cache
def training_options() -> dict[str, Any]:
    """The options of XLA for training steps: on the CPU, operations run one after another. They change no result."""
    if jax.default_backend() != "cpu":
        return {}
    try:
        jax.jit(lambda: 0, compiler_options=ORDERED_OPERATIONS).lower().compile()
    except jax.errors.JaxRuntimeError as error:
        LOG.info("training steps are compiled without options, which this version of XLA doesn't know: %s", error)
        return {}
    return ORDERED_OPERATIONS


def steps_per_dispatch(
    parameters: Any, *, ragged: bool, counts_pixels: bool, labels: int = 0, gathered_bytes: int = 0
) -> int:
    """The number of steps that one dispatch takes.

    It is one for convolutions on the CPU, which are 20 times slower inside a compiled loop. It is small for ragged
    data, because all rows of a dispatch are padded to its longest row. It is one where metrics count pixels: the counts
    of a dispatch are int32.

    Args:
        parameters: the parameters, or their shapes.
        ragged: whether a column has rows of different lengths.
        counts_pixels: whether a target is the class of each pixel.
        labels: the number of labels of a batch. The counts of a dispatch are int32.
        gathered_bytes: the size of a batch that the host gathers. 0: the data is on the device.
    """
    leaves = jax.tree.leaves(parameters)
    if counts_pixels or is_slow_in_loops(parameters):
        return 1
    steps = STEPS_OF_RAGGED_DATA if ragged else STEPS_PER_DISPATCH
    for size, limit in ((labels, 2**31 - 1), (gathered_bytes, MAX_GATHERED_BYTES)):
        steps = min(steps, max(limit // size, 1)) if size else steps
    return steps if sum(leaf.size for leaf in leaves) < LARGE_MODEL else min(steps, STEPS_OF_LARGE_MODEL)


def is_slow_in_loops(parameters: Any) -> bool:
    """Whether a model has convolutions and runs on the CPU, where they are 20 times slower inside a compiled loop."""
    return jax.default_backend() == "cpu" and any(leaf.ndim > 2 for leaf in jax.tree.leaves(parameters))
