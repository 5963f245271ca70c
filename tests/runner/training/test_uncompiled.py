"""`training.compile=false` runs the user's parts with values, with the results of the compiled run."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np
import pytest

import runner
from runner.errors import ConfigError

PARTS = """
from dataclasses import dataclass
import flax.linen as nn
import jax
import jax.numpy as jnp

WATCHED = []  # (part, value)

def watch(part, x):
    WATCHED.append((part, int(1e6 * x.mean()) / 1e6))  # int needs a value, also while JAX differentiates

@dataclass(frozen=True)
class Loss:
    def outputs(self, target): return target.outputs
    def __call__(self, logits, target):
        losses = -jnp.take_along_axis(nn.log_softmax(logits), target[:, None], 1)[:, 0]
        watch("loss", losses)
        if losses.max() > 1e9: breakpoint()
        return losses

def draw(key, shape, dtype):
    kernel = jax.nn.initializers.he_normal()(key, shape, dtype)
    watch("kernel", kernel)
    return kernel

@jax.jit
def scan(x):  # a loop under jit
    def body(total, value):
        watch("loop", value)
        return total + 0 * value, value
    return jax.lax.scan(body, jnp.zeros_like(x[0]), x)[1]

def activation(x):
    breakpoint()
    return jax.nn.relu(scan(x))
"""


@pytest.fixture
def folder(in_empty_folder: Path, write_module: Callable[[str, str], None]) -> Path:
    """A working folder with parts that look at the values of arrays."""
    write_module("watched", PARTS)
    Path("conf/loss").mkdir(parents=True)
    Path("conf/loss/watched.yaml").write_text("# Looks at its values.\n_target_: watched.Loss\n")
    return in_empty_folder


RUN = [
    "architecture.widths=[8]",
    "optimizer=sgd",
    "optimizer.momentum=0.9",
    "training.epochs=2",
    "training.batch_size=8",
    "training.evaluation_batch_size=16",
    "training.limit_batches=2",
    "tracking=none",
]


@pytest.mark.slow
def test_an_uncompiled_run_has_the_results_of_the_compiled_one(folder: Path) -> None:
    overrides = [*RUN, "augmentation=[flip]", "architecture.dropout=0.2", "regularizer=[l2]", "training.epochs=1"]
    compiled, uncompiled = (runner.run(*overrides, f"training.compile={value}") for value in ("true", "false"))
    assert compiled.folder != uncompiled.folder
    for expected, found in zip(compiled.records, uncompiled.records, strict=True):
        assert found == pytest.approx(expected, rel=1e-5)
    leaves = [jax.tree.leaves(runner.load(result.folder).weights) for result in (compiled, uncompiled)]
    for expected, found in zip(*leaves, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("microbatches", [1, 2])
def test_parts_see_values_and_stop_at_breakpoints(
    microbatches: int, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stops: list[str] = []
    monkeypatch.setattr(sys, "breakpointhook", lambda: stops.append(str(sys._getframe(1).f_locals["x"])))
    parts = ["loss=watched", "architecture.activation=watched.activation", "architecture.initializer=watched.draw"]
    words = (*parts, "training.epochs=1", "training.compile=false", f"training.microbatches={microbatches}")
    result = runner.run(*RUN, *words)
    watched = sys.modules["watched"].WATCHED
    assert {part for part, _ in watched} == {"loss", "kernel", "loop"}
    assert all(np.isfinite(value) for _, value in watched)
    assert len([part for part, _ in watched if part == "kernel"]) == 2  # of the hidden layer and the head, once
    steps, evaluations = 2, 1 + 2  # of valid after the epoch, and of valid and test at the end
    assert len(stops) == 1 + microbatches * steps + evaluations
    assert all(re.search(r"\d\.\d{4}", text) for text in stops)  # a debugger shows values
    losses = [value for part, value in watched if part == "loss"]
    assert len(losses) == microbatches * steps + 2  # the evaluations of valid after the epoch, and of test
    assert np.mean(losses[: microbatches * steps]) == pytest.approx(result.records[0]["train/loss"], rel=1e-4)


@pytest.mark.slow
def test_a_run_is_resumed_and_evaluated_uncompiled(folder: Path) -> None:
    result = runner.run(*RUN[:-1], "loss=watched", "training.compile=false", "tracking=none")
    count = len(sys.modules["watched"].WATCHED)
    resumed = runner.run(f"resume={result.folder}", "training.epochs=3")
    assert len(resumed.records) == 3
    count_resumed = len(sys.modules["watched"].WATCHED)
    assert count_resumed > count
    metrics = runner.load(result.folder).evaluate("valid")
    assert np.isfinite(metrics["valid/loss"])
    assert len(sys.modules["watched"].WATCHED) > count_resumed


def test_a_dry_run_needs_the_compiled_program(folder: Path) -> None:
    with pytest.raises(ConfigError, match=r"training\.compile: is false, but mode=dry_run measures"):
        runner.run(*RUN, "training.compile=false", "mode=dry_run")
