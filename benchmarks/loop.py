"""The training loop against a hand-written JAX loop of the same step, in turns.

    python benchmarks/loop.py digits_mlp|fashion_mnist_cnn [rounds] [epochs of a round]
    smallest: digits_mlp 1 1

The hand-written loop indexes the same resident arrays, calls one jitted step after another (for the dense network also
a scan of an epoch), and looks at nothing until its end. Prints the steps per second of each and the ratio.
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

import runner
from components.architecture import MLP, FashionCNN

CASES = {
    # model, images, epochs of a round
    "digits_mlp": (partial(MLP, outputs=10, widths=(64, 64)), (1168, 8, 8, 1), 400),
    "fashion_mnist_cnn": (partial(FashionCNN, outputs=10), (2560, 28, 28, 1), 2),
}
BATCH = 32


def by_hand(make: Callable[[], Any], images: np.ndarray, labels: np.ndarray, epochs: int, *, scan: bool) -> float:
    """Steps per second of a loop such as one would write it for this model alone."""
    model, optimizer = make(), optax.nadam(1e-3)
    images, labels = jax.device_put(images), jax.device_put(labels)
    key = jax.random.key(0)
    parameters = model.init({"params": key, "dropout": key}, as_float(images[:1]), train=True)["params"]
    state = (parameters, optimizer.init(parameters), jnp.int32(0))

    def step(state: Any, rows: jax.Array) -> tuple[Any, jax.Array]:
        parameters, optimizer_state, count = state

        def objective(parameters: Any) -> jax.Array:
            rngs = {"dropout": jax.random.fold_in(key, count)}
            logits = model.apply({"params": parameters}, as_float(images[rows]), train=True, rngs=rngs).logits
            return optax.softmax_cross_entropy_with_integer_labels(logits, labels[rows]).mean()

        loss, gradients = jax.value_and_grad(objective)(parameters)
        updates, optimizer_state = optimizer.update(gradients, optimizer_state, parameters)
        return (optax.apply_updates(parameters, updates), optimizer_state, count + 1), loss

    compiled = partial(jax.jit, donate_argnums=0)
    run = compiled(lambda state, rows: jax.lax.scan(step, state, rows)) if scan else compiled(step)
    random = np.random.default_rng(0)
    steps = len(images) // BATCH

    def epoch(state: Any) -> Any:
        rows = random.permutation(len(images))[: steps * BATCH].reshape(steps, BATCH).astype(np.int32)
        for part in [rows] if scan else rows:
            state, _ = run(state, part)
        return state

    state = jax.block_until_ready(epoch(state))
    start = time.perf_counter()
    for _ in range(epochs):
        state = epoch(state)
    jax.block_until_ready(state)
    return epochs * steps / (time.perf_counter() - start)


def as_float(images: jax.Array) -> jax.Array:
    return images.astype(jnp.float32) / 255


def ours(case: str, source: Any, epochs: int) -> float:
    """Steps per second of the training loop, as a run records them."""
    architecture = "mlp" if case == "digits_mlp" else "fashion_cnn"
    # Figures may still be drawn in the background as it ends.
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        result = runner.run(
            f"architecture={architecture}",
            f"training.epochs={epochs}",
            "tracking=none",
            "quiet=true",
            f"folder={folder}",
            source=source,
        )
    return result.metrics["steps_per_second"]


def main(case: str, rounds: int = 3, epochs: int | None = None) -> None:
    from components.data import Arrays

    make, shape, usual = CASES[case]
    epochs = epochs or usual
    random = np.random.default_rng(0)
    images = random.integers(0, 256, shape, np.uint8)
    labels = np.arange(len(images), dtype=np.int32) % 10
    held = np.concatenate([np.arange(len(images)), np.arange(128)])  # the last 128 are held out, the others train
    source = Arrays(columns={"image": images[held], "label": labels[held]}, valid=64, test=64, seed=None)
    scanned = [False, True] if case == "digits_mlp" else [False]
    measured: dict[str, list[float]] = {"ours": []} | {f"by hand, scan={scan}": [] for scan in scanned}
    for _ in range(rounds):
        measured["ours"].append(ours(case, source, epochs))
        for scan in scanned:
            measured[f"by hand, scan={scan}"].append(by_hand(make, images, labels, epochs, scan=scan))
    medians = {name: round(statistics.median(values), 1) for name, values in measured.items()}
    ratios = {name: round(medians["ours"] / value, 3) for name, value in medians.items() if name != "ours"}
    print(json.dumps({"case": case, "steps_per_second": medians, "ours / by hand": ratios}, indent=1))


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:4]))
