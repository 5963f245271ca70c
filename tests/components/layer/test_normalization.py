from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from components.layer import BatchNorm, GroupNorm, LayerNorm, LocalResponseNorm, RMSNorm
from components.types import Scalar, UserError

LAYERS = json.loads((Path(__file__).parents[2] / "golden" / "layers.json").read_text())
GOLDEN, LRN = LAYERS["batch_norm"], LAYERS["lrn"]
X1, X2 = jnp.array(GOLDEN["x1"]), jnp.array(GOLDEN["x2"])


def two_steps(momentum: Scalar, epsilon: Scalar) -> tuple[jax.Array, jax.Array, Any]:
    """Returns the outputs of two training steps, and the variables after them."""
    layer = BatchNorm(momentum, epsilon)
    variables = layer.init(jax.random.key(0), X1, train=True)
    outputs = []
    for x in (X1, X2):
        y, changed = layer.apply(variables, x, train=True, mutable=["batch_stats"])
        variables = variables | changed
        outputs.append(y)
    return *outputs, variables


def test_two_steps_and_inference_equal_tensorflow() -> None:
    momentum, epsilon = GOLDEN["momentum"], GOLDEN["epsilon"]
    first, second, variables = jax.jit(two_steps)(momentum, epsilon)
    inferred = BatchNorm(momentum, epsilon).apply(variables, X1, train=False)
    close = partial(np.testing.assert_allclose, rtol=2e-5, atol=2e-6)
    close(first, GOLDEN["train1"])
    close(second, GOLDEN["train2"])
    close(variables["batch_stats"]["mean"], GOLDEN["moving_mean"])
    close(variables["batch_stats"]["variance"], GOLDEN["moving_variance"])
    close(inferred, GOLDEN["infer on x1"])


def test_initialization_does_not_update_the_running_moments() -> None:
    stats = BatchNorm().init(jax.random.key(0), X1, train=True)["batch_stats"]
    np.testing.assert_array_equal(stats["mean"], np.zeros(2))
    np.testing.assert_array_equal(stats["variance"], np.ones(2))


def test_each_channel_has_a_scale_and_a_bias() -> None:
    variables = BatchNorm().init(jax.random.key(0), X1, train=True)
    plain = BatchNorm().apply(variables, X1, train=False)
    params = {"scale": jnp.array([2.0, 3.0]), "bias": jnp.array([5.0, 7.0])}
    moved = BatchNorm().apply(variables | {"params": params}, X1, train=False)
    np.testing.assert_allclose(moved, np.asarray(plain) * [2, 3] + [5, 7], rtol=1e-5, atol=1e-5)


def test_the_variance_is_exact_for_large_means() -> None:
    x = jnp.array([[9999.0], [10001.0]])
    y, _ = BatchNorm(epsilon=1e-6).init_with_output(jax.random.key(0), x, train=True)
    np.testing.assert_allclose(y, [[-1.0], [1.0]], rtol=1e-4)


def test_the_numbers_may_be_traced(check_traced: Callable[..., None]) -> None:
    check_traced(two_steps, {"momentum": 0.9, "epsilon": 1e-3}, {"momentum": 0.0, "epsilon": 0.1})


@pytest.mark.parametrize("train", [True, False])
def test_bfloat16_inputs_give_bfloat16_outputs_and_float32_moments(train: bool) -> None:
    layer, x = BatchNorm(), X1.astype(jnp.bfloat16)
    variables = jax.eval_shape(partial(layer.init, train=True), jax.random.key(0), x)
    apply = partial(layer.apply, train=train, mutable=["batch_stats"])
    y, changed = jax.eval_shape(apply, variables, x)
    assert y.dtype == jnp.bfloat16
    assert {leaf.dtype.name for leaf in jax.tree.leaves(changed)} == {"float32"}


@pytest.mark.parametrize("shape", [(1, 3), (1, 1, 1, 3)])
def test_batch_normalization_of_a_single_value_raises_in_training(shape: tuple[int, ...]) -> None:
    x = jnp.ones(shape)
    variables = BatchNorm().init(jax.random.key(0), x, train=True)
    assert BatchNorm().apply(variables, x, train=False).shape == shape
    with pytest.raises(
        UserError, match=r"needs two or more values of each channel in a training batch, got the shape \(1"
    ):
        BatchNorm().apply(variables, x, train=True, mutable=["batch_stats"])


def test_layer_normalization_of_a_single_channel_raises() -> None:
    with pytest.raises(UserError, match=r"LayerNorm needs two or more channels, got the shape \(4, 5, 1\)"):
        LayerNorm().init(jax.random.key(0), jnp.ones((4, 5, 1)), train=True)


@pytest.mark.parametrize("groups", [1, 2, 6])
def test_group_normalization_equals_that_of_flax(groups: int) -> None:
    x = jax.random.normal(jax.random.key(0), (3, 4, 5, 6)) * 3 + 1
    variables = {"params": {"scale": jnp.arange(6.0), "bias": jnp.arange(6.0) - 2}}
    y = jax.jit(partial(GroupNorm(groups, 1e-3).apply, train=True))(variables, x)
    expected = nn.GroupNorm(groups, epsilon=1e-3).apply(variables, x)
    np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-5)
    assert GroupNorm(groups).apply(variables, x.astype(jnp.bfloat16), train=True).dtype == jnp.bfloat16


@pytest.mark.parametrize(
    ("groups", "shape", "message"),
    [
        (
            4,
            (2, 3, 6),
            r"4 groups, which don't divide .* input \(2, 3, 6\)\. Set `groups` to a divisor",
        ),
        (6, (2, 1, 6), r"6 groups gets a single value for each, from the input \(2, 1, 6\)"),
        (6, (2, 6), "6 groups gets a single value for each"),
        (2, (6,), "2 groups, which don't divide"),
    ],
)
def test_groups_that_do_not_fit_the_channels_raise(groups: int, shape: tuple[int, ...], message: str) -> None:
    with pytest.raises(UserError, match=message):
        GroupNorm(groups).init(jax.random.key(0), jnp.ones(shape), train=True)


def test_normalization_by_the_root_mean_square_equals_its_formula() -> None:
    x = np.random.default_rng(0).normal(1, 3, (2, 3, 4))
    variables = {"params": {"scale": jnp.arange(4.0)}}
    y = RMSNorm(0.5).apply(variables, jnp.array(x, jnp.float32), train=True)
    np.testing.assert_allclose(y, np.arange(4) * x / np.sqrt(np.square(x).mean(-1, keepdims=True) + 0.5), rtol=1e-5)
    assert RMSNorm().apply(variables, jnp.array(x, jnp.bfloat16), train=True).dtype == jnp.bfloat16


def test_the_epsilon_of_normalizations_may_be_traced(check_traced: Callable[..., None]) -> None:
    for part in (lambda epsilon: GroupNorm(1, epsilon), RMSNorm):

        def normalize(epsilon: Scalar, part: Any = part) -> jax.Array:
            return part(epsilon).init_with_output(jax.random.key(0), X1, train=True)[0]

        check_traced(normalize, {"epsilon": 1e-3}, {"epsilon": 0.5})


@pytest.mark.parametrize("case", LRN["y"])
def test_local_response_normalization_equals_tensorflow(case: str) -> None:
    _, radius, _, bias, _, alpha, _, beta = case.split()
    layer = LocalResponseNorm(int(radius), float(bias), float(alpha), float(beta))
    y = jax.jit(partial(layer.apply, {}, train=True))(jnp.array(LRN["x"]))
    np.testing.assert_allclose(y, LRN["y"][case], rtol=2e-6, atol=1e-6)


def test_the_gradient_of_local_response_normalization_equals_the_formula() -> None:
    """Compares with the chain rule over all pairs of channels."""
    x = np.asarray(jax.random.normal(jax.random.key(0), (1, 1, 2, 7)), np.float64)
    in_window = np.abs(np.subtract.outer(np.arange(7), np.arange(7))) <= 1
    power = 0.5 + 2 * np.square(x) @ in_window
    jacobian = np.eye(7) * power[..., None] ** -0.75
    jacobian = jacobian - 0.75 * 4 * (x * power**-1.75)[..., :, None] * in_window * x[..., None, :]
    layer = LocalResponseNorm(1, 0.5, 2.0, 0.75)
    gradient = jax.grad(lambda x: layer.apply({}, x, train=True).sum())(jnp.asarray(x, jnp.float32))
    np.testing.assert_allclose(gradient, jacobian.sum(-2), rtol=2e-4, atol=1e-5)


def test_the_numbers_of_local_response_normalization_may_be_traced(check_traced: Callable[..., None]) -> None:
    def normalize(bias: Scalar, alpha: Scalar, beta: Scalar) -> jax.Array:
        return LocalResponseNorm(1, bias, alpha, beta).apply({}, X1, train=True)

    check_traced(normalize, {"bias": 1.0, "alpha": 1.0, "beta": 0.5}, {"bias": 2.0, "alpha": 0.1, "beta": 0.75})
    y = LocalResponseNorm().apply({}, X1.astype(jnp.bfloat16), train=True)
    assert y.dtype == jnp.bfloat16
    with pytest.raises(UserError, match=r"local response normalization needs images \(B, H, W, C\), got \(2, 3\)"):
        LocalResponseNorm().apply({}, jnp.ones((2, 3)), train=True)
