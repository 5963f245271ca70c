from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from components.layer import BatchNorm
from components.types import Scalar

GOLDEN = json.loads((Path(__file__).parents[2] / "golden" / "layers.json").read_text())["batch_norm"]
X1, X2 = jnp.array(GOLDEN["x1"]), jnp.array(GOLDEN["x2"])


def two_steps(momentum: Scalar, epsilon: Scalar) -> tuple[jax.Array, jax.Array, Any]:
    """The outputs of two training steps, and the variables after them."""
    layer = BatchNorm(momentum, epsilon)
    variables = layer.init(jax.random.key(0), X1, train=True)
    outputs = []
    for x in (X1, X2):
        y, changed = layer.apply(variables, x, train=True, mutable=["batch_stats"])
        variables = variables | changed
        outputs.append(y)
    return *outputs, variables


def test_two_steps_and_inference_are_tensorflows() -> None:
    momentum, epsilon = GOLDEN["momentum"], GOLDEN["epsilon"]
    first, second, variables = jax.jit(two_steps)(momentum, epsilon)
    inferred = BatchNorm(momentum, epsilon).apply(variables, X1, train=False)
    close = partial(np.testing.assert_allclose, rtol=2e-5, atol=2e-6)
    close(first, GOLDEN["train1"])
    close(second, GOLDEN["train2"])
    close(variables["batch_stats"]["mean"], GOLDEN["moving_mean"])
    close(variables["batch_stats"]["variance"], GOLDEN["moving_variance"])
    close(inferred, GOLDEN["infer on x1"])


def test_initialization_leaves_the_running_moments_alone() -> None:
    stats = BatchNorm().init(jax.random.key(0), X1, train=True)["batch_stats"]
    np.testing.assert_array_equal(stats["mean"], np.zeros(2))
    np.testing.assert_array_equal(stats["variance"], np.ones(2))


def test_scale_and_bias_are_learned_by_channel() -> None:
    variables = BatchNorm().init(jax.random.key(0), X1, train=True)
    plain = BatchNorm().apply(variables, X1, train=False)
    params = {"scale": jnp.array([2.0, 3.0]), "bias": jnp.array([5.0, 7.0])}
    moved = BatchNorm().apply(variables | {"params": params}, X1, train=False)
    np.testing.assert_allclose(moved, np.asarray(plain) * [2, 3] + [5, 7], rtol=1e-5, atol=1e-5)


def test_far_from_zero_the_variance_is_still_right() -> None:
    x = jnp.array([[9999.0], [10001.0]])
    y, _ = BatchNorm(epsilon=1e-6).init_with_output(jax.random.key(0), x, train=True)
    np.testing.assert_allclose(y, [[-1.0], [1.0]], rtol=1e-4)


def test_the_numbers_may_be_traced(check_traced: Callable[..., None]) -> None:
    check_traced(two_steps, {"momentum": 0.9, "epsilon": 1e-3}, {"momentum": 0.0, "epsilon": 0.1})


@pytest.mark.parametrize("train", [True, False])
def test_half_precision_stays_half_and_moments_stay_float32(train: bool) -> None:
    layer, x = BatchNorm(), X1.astype(jnp.bfloat16)
    variables = jax.eval_shape(partial(layer.init, train=True), jax.random.key(0), x)
    apply = partial(layer.apply, train=train, mutable=["batch_stats"])
    y, changed = jax.eval_shape(apply, variables, x)
    assert y.dtype == jnp.bfloat16
    assert {leaf.dtype.name for leaf in jax.tree.leaves(changed)} == {"float32"}
