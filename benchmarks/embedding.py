"""Sums of rows of a matrix as the layers compute them against two plain ways.

    python benchmarks/embedding.py [rounds] [batch,ids a row,size,width ...]
    smallest: 1 32,1,5,8 32,4,100,8

Forward and the gradient of the matrix, in turns: `gather` takes the rows and adds them up, `one-hot` multiplies by
vectors made dense (through a comparison where each has one id, by scattering where there are several). Prints the
median milliseconds of each, and how many times as fast as the better and as the worse of the two ours is. Shapes are
those of embedded crosses, of bags of words under a hidden layer, and of mean embeddings of texts.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from components.layer.lowering.sparse import multiply_sparse
from components.types import MultiHot

LARGEST = 1 << 27  # numbers of one-hot vectors that are tried
TEXTS = [(32, 256, 5_000, 16), (128, 256, 20_000, 64), (128, 1024, 20_000, 128), (128, 1024, 131_072, 64)]
BAGS = [(32, 256, 100, 64), (32, 256, 1_000, 64), (128, 1024, 2_000, 128), (8192, 8, 20, 32)]


def shapes() -> Iterator[tuple[int, int, int, int]]:
    """(batch, ids a row, size, width)."""
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


def step(way: Callable[..., jax.Array], *arguments: Any) -> Callable[[], Any]:
    """A compiled function of no arguments: the sum of a product with some slopes, and the gradient of the matrix."""

    def total(matrix: jax.Array, x: MultiHot, slopes: jax.Array) -> jax.Array:
        return (way(x, matrix) * slopes).sum()

    compiled = jax.jit(jax.value_and_grad(total)).lower(*arguments).compile()
    return lambda: jax.block_until_ready(compiled(*arguments))


def medians(ways: dict[str, Callable[[], Any]], rounds: int) -> dict[str, float]:
    """Milliseconds a call, every way once a round; short ones many times over."""
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for call in ways.values():
        call()
    for _ in range(rounds):
        for name, call in ways.items():
            calls, began = 0, time.perf_counter()
            while calls == 0 or time.perf_counter() - began < 0.01:
                call()
                calls += 1
            seconds[name].append((time.perf_counter() - began) / calls)
    return {name: 1e3 * statistics.median(times) for name, times in seconds.items()}


def main(rounds: int = 11, *chosen: str) -> None:
    random = np.random.default_rng(0)
    for batch, count, size, width in [map(int, shape.split(",")) for shape in chosen] or shapes():
        ids = jnp.asarray(random.integers(0, size, (batch, count), np.int32))
        x = MultiHot(ids, jnp.ones((batch, count)), size)
        matrix, slopes = (jnp.asarray(random.random((rows, width), np.float32)) for rows in (size, batch))
        ways = {"ours": multiply_sparse, "gather": gather} | ({"one-hot": one_hot} if batch * size <= LARGEST else {})
        found = medians({name: step(way, matrix, x, slopes) for name, way in ways.items()}, rounds)
        ours = found.pop("ours")
        shown = {name: round(value, 3) for name, value in {"ours": ours, **found}.items()}
        ratios = {"of better": min(found.values()) / ours, "of worse": max(found.values()) / ours}
        shape = {"batch": batch, "ids": count, "size": size, "width": width}
        print(json.dumps(shape | shown | {name: round(value, 2) for name, value in ratios.items()}), flush=True)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:2]), *sys.argv[2:])
