from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from components.layer import BatchNorm, ConvNorm, LayerNorm
from components.types import Scalar

KEY = jax.random.key(0)
X = np.random.default_rng(0).standard_normal((4, 3, 5, 6)).astype(np.float32)


def shapes(layer: Any) -> Any:
    return jax.tree.map(jnp.shape, jax.eval_shape(partial(layer.init, train=True), KEY, X)["params"])


def test_convolution_normalization_and_activation_are_in_this_order() -> None:
    layer = ConvNorm(4, 1, stride=2, epsilon=0.1)
    y, variables = jax.jit(partial(layer.init_with_output, train=True))(KEY, X)
    before = X[:, ::2, ::2] @ np.asarray(variables["params"]["conv"]["kernel"])[0, 0]
    normal = (before - before.mean((0, 1, 2))) / np.sqrt(before.var((0, 1, 2)) + 0.1)
    np.testing.assert_allclose(y, np.maximum(normal, 0), rtol=1e-4, atol=1e-5)


def test_fields_are_passed_to_convolution_and_normalization() -> None:
    norm = {"scale": (4,), "bias": (4,)}
    assert shapes(ConvNorm(4, 3)) == {"conv": {"kernel": (3, 3, 6, 4)}, "norm": norm}
    layer = ConvNorm(4, (3, 1), 2, "VALID", "tanh", True, "glorot_normal", (1, 2), groups=2, use_scale=False)
    assert shapes(layer) == {"conv": {"kernel": (3, 1, 3, 4), "bias": (4,)}, "norm": {"bias": (4,)}}
    y = jax.eval_shape(partial(layer.init_with_output, train=True), KEY, X)[0]
    assert y.shape == (4, 1, 3, 4)


def test_running_moments_are_updated_by_the_momentum(check_traced: Callable[..., None]) -> None:
    variables = jax.jit(partial(ConvNorm(2, 1).init, train=True))(KEY, X)

    def train(momentum: Scalar, epsilon: Scalar) -> Any:
        layer = ConvNorm(2, 1, activation=None, momentum=momentum, epsilon=epsilon)
        return layer.apply(variables, X, train=True, mutable=["batch_stats"])

    first = {"momentum": 0.9, "epsilon": 1e-3}
    check_traced(train, first, first | {"momentum": 0.5}, first | {"epsilon": 1.0})
    mean = (X @ np.asarray(variables["params"]["conv"]["kernel"])[0, 0]).mean((0, 1, 2))
    running_mean = train(0.9, 1e-3)[1]["batch_stats"]["norm"]["mean"]
    np.testing.assert_allclose(running_mean, 0.1 * mean, rtol=1e-4, atol=1e-6)


def test_scales_have_their_initial_value() -> None:
    params = ConvNorm(4, 1, initial_scale=0.0).init(KEY, X, train=True)["params"]
    np.testing.assert_array_equal(params["norm"]["scale"], np.zeros(4))
    params = BatchNorm(initial_scale=0.25).init(KEY, X, train=True)["params"]
    np.testing.assert_array_equal(params["scale"], np.full(6, 0.25, np.float32))
    traced = jax.jit(lambda scale: BatchNorm(initial_scale=scale).init(KEY, X, train=True)["params"])(0.5)
    np.testing.assert_array_equal(traced["scale"], np.full(6, 0.5, np.float32))


@pytest.mark.parametrize("train", [True, False])
def test_no_scales_equal_scales_of_one(train: bool) -> None:
    plain = BatchNorm(use_scale=False)
    variables: Any = plain.init(KEY, X, train=True)
    assert list(variables["params"]) == ["bias"]
    apply = partial(BatchNorm.apply, x=X, train=train, mutable=["batch_stats"])
    ones = variables | {"params": {**variables["params"], "scale": jnp.ones(6)}}
    np.testing.assert_array_equal(apply(plain, variables)[0], apply(BatchNorm(), ones)[0])


@pytest.mark.parametrize("x", [X, X[:, 0, 0]])
def test_layer_normalization_normalizes_the_channels_of_each_position(x: np.ndarray) -> None:
    """The formula of Ba et al. (2016) with the biased variance, as in PyTorch and Keras."""
    params = {"scale": np.arange(6, dtype=np.float32), "bias": np.arange(6, 12, dtype=np.float32)}
    y: Any = LayerNorm(0.1).apply({"params": params}, x, train=True)
    normal = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 0.1)
    np.testing.assert_allclose(y, normal * params["scale"] + params["bias"], rtol=1e-5, atol=1e-5)


def test_layer_normalization_has_an_initial_scale_of_one_and_bias_of_zero() -> None:
    y, variables = LayerNorm().init_with_output(KEY, X, train=True)
    assert jax.tree.map(np.shape, variables) == {"params": {"scale": (6,), "bias": (6,)}}
    np.testing.assert_allclose(np.mean(y, -1), 0, atol=1e-5)
    np.testing.assert_allclose(np.std(y, -1), 1, rtol=1e-4)


def test_layer_normalization_of_large_means_and_in_bfloat16() -> None:
    far = jnp.array([[9999.0, 10001.0]])
    np.testing.assert_allclose(LayerNorm().init_with_output(KEY, far, train=True)[0], [[-1.0, 1.0]], rtol=1e-4)
    init = partial(LayerNorm().init_with_output, train=True)
    y, variables = jax.eval_shape(init, KEY, jnp.asarray(X, jnp.bfloat16))
    assert y.dtype == jnp.bfloat16
    assert {leaf.dtype.name for leaf in jax.tree.leaves(variables)} == {"float32"}


def test_the_epsilon_of_layer_normalization_may_be_traced(check_traced: Callable[..., None]) -> None:
    params = {"scale": jnp.ones(6), "bias": jnp.zeros(6)}

    def normalize(epsilon: Scalar) -> Any:
        return LayerNorm(epsilon).apply({"params": params}, X, train=True)

    check_traced(normalize, {"epsilon": 1e-6}, {"epsilon": 1.0})
