"""How fast the training loop is, compared with a hand-written JAX loop of the same step.

    python benchmarks/loop.py digits_mlp|fashion_mnist_cnn [rounds] [epochs per round]
    smallest: digits_mlp 1 1

The hand-written loop gathers batches from arrays on the device and calls one jitted step after another. It logs,
evaluates and saves nothing. For the dense network it is measured a second time with `jax.lax.scan` over an epoch.

Prints the median steps per second of N rounds, and the ratio of ours to the hand-written loop. Variants alternate, so
that a busy machine slows all of them. The first epoch of the hand-written loop compiles the step and is not timed.
"""

from __future__ import annotations

import json
import statistics
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
from benchmarks.timing import parse_arguments
from components.architecture import MLP, FashionCNN

CASES = {  # the model, the shape of the training images, epochs per round
    "digits_mlp": (partial(MLP, outputs=10, widths=(64, 64)), (1168, 8, 8, 1), 400),
    "fashion_mnist_cnn": (partial(FashionCNN, outputs=10), (2560, 28, 28, 1), 2),
}
BATCH = 32


def measure_handwritten(
    build_model: Callable[[], Any], images: np.ndarray, labels: np.ndarray, epochs: int, *, scan: bool
) -> float:
    """Returns the steps per second of a loop that is written for this model alone."""
    model, optimizer = build_model(), optax.nadam(1e-3)
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

    def scan_steps(state: Any, batches: jax.Array) -> tuple[Any, jax.Array]:
        return jax.lax.scan(step, state, batches)

    run = jax.jit(scan_steps if scan else step, donate_argnums=0)
    random = np.random.default_rng(0)
    steps = len(images) // BATCH

    def run_epoch(state: Any) -> Any:
        batches = random.permutation(len(images))[: steps * BATCH].reshape(steps, BATCH).astype(np.int32)
        for rows in [batches] if scan else batches:
            state, _ = run(state, rows)
        return state

    state = jax.block_until_ready(run_epoch(state))
    start = time.perf_counter()
    for _ in range(epochs):
        state = run_epoch(state)
    jax.block_until_ready(state)
    return epochs * steps / (time.perf_counter() - start)


def as_float(images: jax.Array) -> jax.Array:
    return images.astype(jnp.float32) / 255


def measure_ours(case: str, source: Any, epochs: int) -> float:
    """Returns the steps per second of the training loop, as a run records them."""
    architecture = "mlp" if case == "digits_mlp" else "fashion_cnn"
    # A background process may still write figures into the folder when it is removed.
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

    build_model, shape, default_epochs = CASES[case]
    epochs = epochs or default_epochs
    random = np.random.default_rng(0)
    images = random.integers(0, 256, shape, np.uint8)
    labels = np.arange(len(images), dtype=np.int32) % 10
    rows = np.concatenate([np.arange(len(images)), np.arange(128)])  # the last 128 become the valid and test splits
    source = Arrays(columns={"image": images[rows], "label": labels[rows]}, valid=64, test=64, seed=None)
    scans = [False, True] if case == "digits_mlp" else [False]
    rates: dict[str, list[float]] = {"ours": []} | {f"by hand, scan={scan}": [] for scan in scans}
    for _ in range(rounds):
        rates["ours"].append(measure_ours(case, source, epochs))
        for scan in scans:
            rate = measure_handwritten(build_model, images, labels, epochs, scan=scan)
            rates[f"by hand, scan={scan}"].append(rate)
    medians = {name: round(statistics.median(values), 1) for name, values in rates.items()}
    ratios = {name: round(medians["ours"] / median, 3) for name, median in medians.items() if name != "ours"}
    print(json.dumps({"case": case, "steps_per_second": medians, "ours / by hand": ratios}, indent=1))


if __name__ == "__main__":
    main(*parse_arguments(str, int, int))
