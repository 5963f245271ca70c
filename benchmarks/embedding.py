"""How fast the layers multiply multi-hot vectors by a matrix, compared with two plain implementations.

    python benchmarks/embedding.py [rounds] [batch,ids,size,width ...]
    smallest: 1 32,1,5,8 32,4,100,8

A shape is `batch` vectors of length `size` with `ids` nonzero elements each, and a matrix (size, width). By default,
the shapes are those of embedded crosses, of bags of words before a hidden layer, and of mean embeddings of texts. The
forward pass and the gradient of the matrix are measured together. `gather` sums rows of the matrix. `one-hot` makes the
vectors dense first, and is left out where they would be too large.

Prints for each shape a line of JSON: the median milliseconds of N rounds after one warm-up round, and how many times as
fast ours is as the faster (`of better`) and as the slower (`of worse`) of the other two. Variants alternate, so that a
busy machine slows all of them.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.timing import parse_arguments
from components.layer.lowering.sparse import multiply_sparse
from components.types import MultiHot

MAX_ONE_HOT = 1 << 27  # elements of the dense vectors
SECONDS = 0.01  # a shorter call is repeated within its round until this time has passed
TEXTS = [(32, 256, 5_000, 16), (128, 256, 20_000, 64), (128, 1024, 20_000, 128), (128, 1024, 131_072, 64)]
BAGS = [(32, 256, 100, 64), (32, 256, 1_000, 64), (128, 1024, 2_000, 128), (8192, 8, 20, 32)]


def default_shapes() -> Iterator[tuple[int, int, int, int]]:
    """Yields (batch, ids, size, width)."""
    for batch in (32, 8192):
        for size in (5, 100, 1_000, 20_000):
            for width in (8, 32, 128):
                yield batch, 1, size, width
    yield from BAGS + TEXTS


def gather(x: MultiHot, matrix: jax.Array) -> jax.Array:
    return jnp.einsum("bk,bkd->bd", x.weights, matrix[x.ids])


def one_hot(x: MultiHot, matrix: jax.Array) -> jax.Array:
    if x.ids.shape[1] == 1:
        return jnp.where(x.ids == jnp.arange(x.size), x.weights, 0) @ matrix
    rows = jnp.arange(len(x.ids))[:, None]
    return jnp.zeros((len(rows), x.size)).at[rows, x.ids].add(x.weights) @ matrix


def compile_step(multiply: Callable[..., jax.Array], *arguments: Any) -> Callable[[], Any]:
    """Compiles the product, weighted and summed, and the gradient of the matrix."""

    def weighted_sum(matrix: jax.Array, x: MultiHot, weights: jax.Array) -> jax.Array:
        return (multiply(x, matrix) * weights).sum()

    compiled = jax.jit(jax.value_and_grad(weighted_sum)).lower(*arguments).compile()
    return lambda: jax.block_until_ready(compiled(*arguments))


def measure_medians(variants: dict[str, Callable[[], Any]], rounds: int) -> dict[str, float]:
    """Returns the median milliseconds per call of each variant."""
    seconds: dict[str, list[float]] = {name: [] for name in variants}
    for call in variants.values():
        call()
    for _ in range(rounds):
        for name, call in variants.items():
            calls, start = 0, time.perf_counter()
            while calls == 0 or time.perf_counter() - start < SECONDS:
                call()
                calls += 1
            seconds[name].append((time.perf_counter() - start) / calls)
    return {name: 1e3 * statistics.median(durations) for name, durations in seconds.items()}


def main(rounds: int = 11, *shapes: str) -> None:
    random = np.random.default_rng(0)
    for batch, count, size, width in [map(int, shape.split(",")) for shape in shapes] or default_shapes():
        ids = jnp.asarray(random.integers(0, size, (batch, count), np.int32))
        x = MultiHot(ids, jnp.ones((batch, count)), size)
        matrix, weights = (jnp.asarray(random.random((rows, width), np.float32)) for rows in (size, batch))
        functions = {"ours": multiply_sparse, "gather": gather}
        if batch * size <= MAX_ONE_HOT:
            functions["one-hot"] = one_hot
        steps = {name: compile_step(function, matrix, x, weights) for name, function in functions.items()}
        medians = measure_medians(steps, rounds)
        others = [median for name, median in medians.items() if name != "ours"]
        ratios = {"of better": min(others) / medians["ours"], "of worse": max(others) / medians["ours"]}
        line = {"batch": batch, "ids": count, "size": size, "width": width}
        line |= {name: round(median, 3) for name, median in medians.items()}
        line |= {name: round(ratio, 2) for name, ratio in ratios.items()}
        print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main(*parse_arguments(int))
