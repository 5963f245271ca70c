import jax
import jax.numpy as jnp
import numpy as np
import pytest

from components.layer import Dense, Flatten


@pytest.mark.parametrize("shape", [(3, 4), (3, 5, 4), (3, 2, 2, 4)])
def test_a_matrix_product_over_the_last_axis(shape: tuple[int, ...]) -> None:
    x = jax.random.normal(jax.random.key(0), shape)
    kernel = jax.random.normal(jax.random.key(1), (4, 6))
    params = {"kernel": kernel, "bias": jnp.arange(6.0)}
    y = Dense(6, activation="relu").apply({"params": params}, x, train=True)
    expected = np.maximum(np.asarray(x) @ np.asarray(kernel) + np.arange(6.0), 0)
    np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-5)


def test_it_begins_with_a_bias_of_zero_and_the_named_spread() -> None:
    params = Dense(200, initializer="he_normal").init(jax.random.key(0), jnp.ones((1, 300)), train=True)["params"]
    np.testing.assert_array_equal(params["bias"], np.zeros(200))
    assert params["kernel"].std() == pytest.approx((2 / 300) ** 0.5, rel=0.02)


def test_without_bias_and_in_half_precision() -> None:
    layer = Dense(3, use_bias=False)
    y, variables = layer.init_with_output(jax.random.key(0), jnp.ones((2, 4), jnp.bfloat16), train=True)
    assert set(variables["params"]) == {"kernel"}
    assert variables["params"]["kernel"].dtype == jnp.float32
    assert y.dtype == jnp.bfloat16


def test_flatten_keeps_the_order() -> None:
    x = jnp.arange(24.0).reshape(2, 3, 4)
    np.testing.assert_array_equal(Flatten().apply({}, x, train=True), np.arange(24.0).reshape(2, 12))


def test_the_bias_may_start_elsewhere() -> None:
    params = Dense(3, initial_bias=0.2).init(jax.random.key(0), jnp.ones((1, 2)), train=True)["params"]
    np.testing.assert_array_equal(params["bias"], np.full(3, 0.2, np.float32))
