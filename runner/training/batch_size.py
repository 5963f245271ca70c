"""Chooses the largest batch size that fits into the memory of the device, from what the compiler reports."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from typing import NamedTuple

import jax

from runner.config.settings import AUTO, MIN_STEPS
from runner.errors import LocatedError, RunError, is_memory_error
from runner.memory import format_bytes, measure_free_memory
from runner.training.trainer import Trainer

FIRST_SIZE = 32  # the first size whose need is measured is the largest one up to this
SECOND_FACTOR = 4  # the ratio of the second one to the first
CPU_SHARE = 0.5  # of the free memory that training may need: other processes, and batches on the host, need some
SHARE = 0.9  # of that of other devices, which other processes rarely use
KEY = "training.batch_size"


class Choice(NamedTuple):
    """A chosen batch size.

    Attributes:
        size: the number of examples of a training step.
        reason: what it needs, and what limits it.
    """

    size: int
    reason: str


def list_sizes(rows: int, microbatches: int) -> list[int]:
    """The sizes among which one is chosen, in ascending order: powers of two times the number of microbatches.

    An epoch has at least `MIN_STEPS` steps, or as many as the smallest size allows. A microbatch has at least two
    examples, if there are so many, because some layers can't learn from a single one.

    Args:
        rows: the number of training examples.
        microbatches: the number of parts of a batch.
    """
    sizes = [microbatches if rows < 2 * microbatches else 2 * microbatches]
    while 2 * sizes[-1] * MIN_STEPS <= rows:
        sizes.append(2 * sizes[-1])
    return sizes


def choose_batch_size(make_trainer: Callable[[int], Trainer], sizes: list[int]) -> Choice:
    """Chooses the largest of some sizes that fits into the memory.

    The need of two small sizes is measured, that of the others is extrapolated, and the chosen one is compiled, too.

    Args:
        make_trainer: makes a trainer for a size.
        sizes: the sizes, in ascending order.

    Raises:
        LocatedError: the device or the compiler doesn't report memory.
    """

    @cache
    def measure(size: int) -> float:
        """The bytes that training needs with a size; infinite if a batch of the host or compiling needs too many."""
        try:
            need = make_trainer(size).measure_bytes()
        except Exception as error:
            if not isinstance(error, RunError) and not is_memory_error(error):
                raise
            return math.inf
        if need is None:
            raise LocatedError(KEY, f"{AUTO}: the compiler doesn't report the memory that a step needs. Set a number.")
        return need

    first = max((size for size in sizes if size <= FIRST_SIZE), default=sizes[0])
    second = min(SECOND_FACTOR * first, sizes[-1])
    needs = measure(first), measure(second)
    budget = _measure_budget()
    index = sizes.index(extrapolate((first, second), needs, budget, sizes))
    while index > 0 and measure(sizes[index]) > budget:
        index -= 1
    size = sizes[index]
    need = f"training needs {format_bytes(measure(size))} of the {format_bytes(budget)} that it may use"
    limit = f", and {2 * size:,} would leave fewer than {MIN_STEPS} steps in an epoch" if size == sizes[-1] else ""
    return Choice(size, need + limit)


def extrapolate(measured: tuple[int, int], needs: tuple[float, float], budget: float, sizes: list[int]) -> int:
    """The largest size whose need is within the budget, if it is linear in the size; otherwise the smallest one.

    Args:
        measured: two sizes, or the only one twice.
        needs: the bytes that training needs with them.
        budget: the bytes that it may need.
        sizes: the sizes, in ascending order.
    """
    (first, second), (low, high) = measured, needs
    if math.isinf(high):
        return max([size for size in sizes if size < second], default=sizes[0])
    per_example = (high - low) / (second - first) if second > first else 0.0
    return max([size for size in sizes if high + per_example * (size - second) <= budget], default=sizes[0])


def _measure_budget() -> float:
    """The bytes that training may need: a share of those that are free."""
    free = measure_free_memory()
    if free is None:
        device = jax.devices()[0].device_kind
        raise LocatedError(KEY, f"{AUTO}: the device ({device}) doesn't report its free memory. Set a number.")
    return (CPU_SHARE if jax.default_backend() == "cpu" else SHARE) * free.program_bytes
