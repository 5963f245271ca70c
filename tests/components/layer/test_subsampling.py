from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from components.layer import SubSampling
from components.types import UserError

X = np.random.RandomState(0).standard_normal((2, 5, 6, 3)).astype(np.float32)
KEY = jax.random.key(0, impl="rbg")  # compiles in a tenth of the time


def test_it_is_a_sum_times_a_coefficient_plus_a_bias() -> None:
    scale, bias = np.float32([0.5, -1.0, 2.0]), np.float32([0.1, 0.2, 0.3])
    y = SubSampling((2, 3)).apply({"params": {"scale": scale, "bias": bias}}, X, train=True)
    sums = X[:, :4].reshape(2, 2, 2, 2, 3, 3).sum((2, 4))
    np.testing.assert_allclose(y, sums * scale + bias, rtol=1e-5, atol=1e-5)


def test_it_has_two_parameters_a_channel_drawn_by_its_window() -> None:
    init = partial(SubSampling(initializer="lecun_uniform").init, train=True)
    params = init(KEY, jnp.ones((1, 2, 2, 300)))["params"]
    assert jax.tree.map(jnp.shape, params) == {"scale": (300,), "bias": (300,)}
    assert jnp.abs(params["scale"]).max() == pytest.approx(np.sqrt(3 / 4), rel=0.05)
    np.testing.assert_array_equal(params["bias"], np.zeros(300))


def test_half_precision_stays_half_and_small_images_are_refused() -> None:
    init = partial(SubSampling(6).init_with_output, train=True)
    assert jax.eval_shape(init, KEY, jnp.ones((1, 6, 6, 2), jnp.bfloat16))[0].dtype == jnp.bfloat16
    with pytest.raises(UserError, match="a pooling window of 6 x 6 does not fit into images of 5 x 6"):
        init(KEY, X)
