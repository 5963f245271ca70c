from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from components.architecture.lenet.layers import RadialBasis, ScaledTanh, SubSampling, TableConv
from components.layer import Conv, Uniform
from components.types import UserError

TABLE = ((0, 2), (1,), (2, 0, 1))
X = np.random.RandomState(0).standard_normal((2, 6, 5, 3)).astype(np.float32)
CODES = ((1.0, -1.0, 1.0), (-1.0, -1.0, 0.5))
VECTORS = np.random.RandomState(0).standard_normal((4, 3)).astype(np.float32)
MAPS = np.random.RandomState(0).standard_normal((2, 5, 6, 3)).astype(np.float32)
KEY = jax.random.key(0, impl="rbg")  # compiles in a tenth of the time


def test_a_table_convolution_equals_a_dense_one_with_zeros() -> None:
    layer = TableConv(TABLE, (3, 2), 2, "VALID", "relu")
    weights = np.random.RandomState(1).standard_normal((3, 2, 6)).astype(np.float32)
    bias, kernel = jnp.array([0.1, 0.2, 0.3]), np.zeros((3, 2, 3, 3), np.float32)
    kernel[:, :, 0, 0], kernel[:, :, 2, 0], kernel[:, :, 1, 1] = (weights[..., n] for n in range(3))
    kernel[:, :, 2, 2], kernel[:, :, 0, 2], kernel[:, :, 1, 2] = (weights[..., n] for n in range(3, 6))
    dense = Conv(3, (3, 2), 2, "VALID", "relu").apply({"params": {"kernel": kernel, "bias": bias}}, X, train=True)
    y = layer.apply({"params": {"kernel": weights, "bias": bias}}, X, train=True)
    np.testing.assert_allclose(y, dense, rtol=1e-5, atol=1e-6)


def test_connections_have_the_gradients_of_the_dense_kernel() -> None:
    layer = TableConv(TABLE, 1, use_bias=False)
    slope = np.random.RandomState(2).standard_normal((2, 6, 5, 3)).astype(np.float32)
    gradient = jax.grad(lambda k: (layer.apply({"params": {"kernel": k}}, X, train=True) * slope).sum())(
        jnp.ones((1, 1, 6))
    )
    dense_gradient = np.einsum("bhwi,bhwo->oi", X, slope)
    expected = [dense_gradient[feature, channel] for feature, row in enumerate(TABLE) for channel in row]
    np.testing.assert_allclose(gradient[0, 0], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("row", [(), (0, 0), (1, 3)])
def test_unknown_repeated_or_no_channels_raise(row: tuple[int, ...]) -> None:
    message = r"needs one or more different channels from 0 to 2 for each feature, got \[.*\] for feature 1"
    with pytest.raises(UserError, match=message):
        TableConv(((0,), row), 3).init(KEY, X, train=True)


def test_a_table_convolution_of_too_small_images_raises() -> None:
    with pytest.raises(UserError, match=r"a table convolution needs images \(B, H, W, C\)"):
        TableConv(TABLE, 3).init(KEY, X[0, 0], train=True)
    with pytest.raises(UserError, match="a table convolution of 7 x 7 does not fit into images of 6 x 5"):
        TableConv(TABLE, 7, padding="VALID").init(KEY, X, train=True)


def test_the_fan_in_of_a_kernel_is_that_of_its_feature() -> None:
    init = jax.jit(partial(TableConv(((0,), (0, 1, 2)), 9, initializer="lecun_normal").init, train=True))
    kernel = init(KEY, jnp.ones((1, 9, 9, 3)))["params"]["kernel"]
    assert kernel[..., 0].std() == pytest.approx(1 / 9, rel=0.2)
    assert kernel[..., 1:].std() == pytest.approx(1 / np.sqrt(243), rel=0.2)


def test_a_table_convolution_in_bfloat16_gives_bfloat16() -> None:
    init: Any = partial(TableConv(TABLE, 3).init_with_output, train=True)
    y, variables = jax.eval_shape(init, KEY, jnp.asarray(X, jnp.bfloat16))
    assert y.dtype == jnp.bfloat16
    assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {jnp.dtype(jnp.float32)}


def test_uniform_weights_are_within_the_limit_divided_by_the_fan_in() -> None:
    drawn = np.abs(jax.jit(lambda limit: Uniform(limit)(KEY, (5, 5, 4, 9)))(2.4))
    assert 0.99 * 0.024 < drawn.max() <= 0.024
    assert drawn.mean() == pytest.approx(0.012, rel=0.1)


def test_sub_sampling_is_a_scaled_sum_plus_a_bias() -> None:
    scale, bias = np.float32([0.5, -1.0, 2.0]), np.float32([0.1, 0.2, 0.3])
    y = SubSampling((2, 3)).apply({"params": {"scale": scale, "bias": bias}}, MAPS, train=True)
    sums = MAPS[:, :4].reshape(2, 2, 2, 2, 3, 3).sum((2, 4))
    np.testing.assert_allclose(y, sums * scale + bias, rtol=1e-5, atol=1e-5)


def test_sub_sampling_has_two_parameters_per_channel_with_the_window_as_fan_in() -> None:
    init = partial(SubSampling(initializer="lecun_uniform").init, train=True)
    params = init(KEY, jnp.ones((1, 2, 2, 300)))["params"]
    assert jax.tree.map(jnp.shape, params) == {"scale": (300,), "bias": (300,)}
    assert jnp.abs(params["scale"]).max() == pytest.approx(np.sqrt(3 / 4), rel=0.05)
    np.testing.assert_array_equal(params["bias"], np.zeros(300))


def test_sub_sampling_in_bfloat16_gives_bfloat16_and_too_small_images_raise() -> None:
    init = partial(SubSampling(6).init_with_output, train=True)
    assert jax.eval_shape(init, KEY, jnp.ones((1, 6, 6, 2), jnp.bfloat16))[0].dtype == jnp.bfloat16
    with pytest.raises(UserError, match="a pooling window of 6 x 6 does not fit into images of 5 x 6"):
        init(KEY, MAPS)


def test_a_radial_basis_unit_is_a_negative_squared_distance_without_parameters() -> None:
    y, variables = RadialBasis(CODES).init_with_output(jax.random.key(0), VECTORS, train=True)
    assert variables == {}
    np.testing.assert_allclose(y, -np.square(VECTORS[:, None] - np.array(CODES)).sum(2), rtol=1e-5)


def test_radial_basis_units_in_bfloat16_give_float32() -> None:
    assert RadialBasis(CODES).apply({}, jnp.asarray(VECTORS, jnp.bfloat16), train=False).dtype == jnp.float32


def test_radial_basis_units_of_wrong_vectors_raise() -> None:
    with pytest.raises(UserError, match=r"radial basis units need vectors \(B, 3\), got \(4, 2\)"):
        RadialBasis(CODES).apply({}, VECTORS[:, :2], train=False)


def test_scaled_tanh_maps_one_and_minus_one_to_themselves() -> None:
    y = ScaledTanh().apply({}, jnp.array([1.0, -1.0, 0.0, 100.0]), train=True)
    np.testing.assert_allclose(y, [1, -1, 0, 1.7159], atol=1e-4)
