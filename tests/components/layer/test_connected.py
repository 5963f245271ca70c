from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from components.layer import ConnectedConv, Conv, Uniform
from components.types import UserError

TABLE = ((0, 2), (1,), (2, 0, 1))
X = np.random.RandomState(0).standard_normal((2, 6, 5, 3)).astype(np.float32)
KEY = jax.random.key(0, impl="rbg")  # compiles in a tenth of the time


def test_it_is_a_convolution_with_zeros_where_nothing_is_connected() -> None:
    layer = ConnectedConv(TABLE, (3, 2), 2, "VALID", "relu")
    given = np.random.RandomState(1).standard_normal((3, 2, 6)).astype(np.float32)
    bias, kernel = jnp.array([0.1, 0.2, 0.3]), np.zeros((3, 2, 3, 3), np.float32)
    kernel[:, :, 0, 0], kernel[:, :, 2, 0], kernel[:, :, 1, 1] = (given[..., n] for n in range(3))
    kernel[:, :, 2, 2], kernel[:, :, 0, 2], kernel[:, :, 1, 2] = (given[..., n] for n in range(3, 6))
    dense = Conv(3, (3, 2), 2, "VALID", "relu").apply({"params": {"kernel": kernel, "bias": bias}}, X, train=True)
    y = layer.apply({"params": {"kernel": given, "bias": bias}}, X, train=True)
    np.testing.assert_allclose(y, dense, rtol=1e-5, atol=1e-6)


def test_each_connection_has_the_gradient_of_its_own() -> None:
    layer = ConnectedConv(TABLE, 1, use_bias=False)
    slope = np.random.RandomState(2).standard_normal((2, 6, 5, 3)).astype(np.float32)
    gradient = jax.grad(lambda k: (layer.apply({"params": {"kernel": k}}, X, train=True) * slope).sum())(
        jnp.ones((1, 1, 6))
    )
    every = np.einsum("bhwi,bhwo->oi", X, slope)
    right = [every[feature, channel] for feature, row in enumerate(TABLE) for channel in row]
    np.testing.assert_allclose(gradient[0, 0], right, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("row", [(), (0, 0), (1, 3)])
def test_channels_that_are_not_there_are_refused(row: tuple[int, ...]) -> None:
    message = r"feature 1 of a connected convolution sees the channels \[.*\]: name one or more of 0 to 2, each once"
    with pytest.raises(UserError, match=message):
        ConnectedConv(((0,), row), 3).init(KEY, X, train=True)


def test_images_alone_of_at_least_its_size() -> None:
    with pytest.raises(UserError, match=r"a connected convolution takes images \(B, H, W, C\)"):
        ConnectedConv(TABLE, 3).init(KEY, X[0, 0], train=True)
    with pytest.raises(UserError, match="a connected convolution of 7 x 7 does not fit into images of 6 x 5"):
        ConnectedConv(TABLE, 7, padding="VALID").init(KEY, X, train=True)


def test_kernels_are_drawn_by_the_connections_of_their_feature() -> None:
    init = jax.jit(partial(ConnectedConv(((0,), (0, 1, 2)), 9, initializer="lecun_normal").init, train=True))
    kernel = init(KEY, jnp.ones((1, 9, 9, 3)))["params"]["kernel"]
    assert kernel[..., 0].std() == pytest.approx(1 / 9, rel=0.2)
    assert kernel[..., 1:].std() == pytest.approx(1 / np.sqrt(243), rel=0.2)


def test_half_precision_stays_half() -> None:
    init: Any = partial(ConnectedConv(TABLE, 3).init_with_output, train=True)
    y, variables = jax.eval_shape(init, KEY, jnp.asarray(X, jnp.bfloat16))
    assert y.dtype == jnp.bfloat16
    assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {jnp.dtype(jnp.float32)}


def test_uniform_weights_end_at_the_limit_over_the_connections() -> None:
    drawn = np.abs(jax.jit(lambda limit: Uniform(limit)(KEY, (5, 5, 4, 9)))(2.4))
    assert 0.99 * 0.024 < drawn.max() <= 0.024
    assert drawn.mean() == pytest.approx(0.012, rel=0.1)
