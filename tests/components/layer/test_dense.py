import re
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from components.layer import Dense, Flatten
from components.layer.lowering.sparse import multiply_sparse
from components.types import MultiHot


@pytest.mark.parametrize("shape", [(3, 4), (3, 5, 4), (3, 2, 2, 4)])
def test_dense_multiplies_the_last_axis(shape: tuple[int, ...]) -> None:
    x = jax.random.normal(jax.random.key(0), shape)
    kernel = jax.random.normal(jax.random.key(1), (4, 6))
    params = {"kernel": kernel, "bias": jnp.arange(6.0)}
    y = Dense(6, activation="relu").apply({"params": params}, x, train=True)
    expected = np.maximum(np.asarray(x) @ np.asarray(kernel) + np.arange(6.0), 0)
    np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-5)


def test_the_initial_bias_is_zero_and_the_kernel_has_its_distribution() -> None:
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


def test_biases_have_their_initial_value() -> None:
    params = Dense(3, initial_bias=0.2).init(jax.random.key(0), jnp.ones((1, 2)), train=True)["params"]
    np.testing.assert_array_equal(params["bias"], np.full(3, 0.2, np.float32))


def to_dense(ids: np.ndarray, weights: np.ndarray, size: int) -> np.ndarray:
    """Returns sparse vectors as dense vectors, in float64."""
    vectors = np.zeros((len(ids), size))
    for row, column in np.argwhere((ids >= 0) & (ids < size)):
        vectors[row, ids[row, column]] += weights[row, column]
    return vectors


@pytest.mark.parametrize(
    ("batch", "count", "size", "features"),
    [(7, 3, 50, 4), (7, 40, 20, 9), (601, 40, 700, 30), (3, 300, 2500, 1800)],
    ids=["sum of rows", "dense product", "chunks", "one example per chunk"],
)
def test_sparse_vectors_and_gradients_equal_dense_ones(batch: int, count: int, size: int, features: int) -> None:
    random = np.random.default_rng(0)
    ids = random.integers(-2, size + 2, (batch, count), np.int32)
    weights, slope = (random.normal(size=(batch, n)).astype(np.float32) for n in (count, features))
    kernel = random.normal(size=(size, features)).astype(np.float32)
    layer = Dense(features, use_bias=False)

    @jax.jit
    def multiply(kernel: jax.Array, weights: jax.Array) -> Any:
        y, back = jax.vjp(
            lambda kernel, weights: layer.apply(
                {"params": {"kernel": kernel}}, MultiHot(jnp.asarray(ids), weights, size), train=True
            ),
            kernel,
            weights,
        )
        return y, *back(jnp.asarray(slope))

    vectors = to_dense(ids, weights, size)
    y, kernel_gradient, weight_gradient = multiply(kernel, weights)
    np.testing.assert_allclose(y, vectors @ kernel, rtol=1e-4, atol=1e-3)
    np.testing.assert_allclose(kernel_gradient, vectors.T @ slope, rtol=1e-4, atol=1e-3)
    valid = (ids >= 0) & (ids < size)
    expected = np.where(valid, np.take_along_axis(slope @ kernel.T, np.where(valid, ids, 0), axis=1), 0)
    np.testing.assert_allclose(weight_gradient, expected, rtol=1e-4, atol=1e-3)


def test_chunks_give_the_same_product_and_gradient() -> None:
    random = np.random.default_rng(0)
    ids, weights = random.integers(0, 50, (7, 3), np.int32), np.ones((7, 3), np.float32)
    matrix, slope = random.normal(size=(50, 4)).astype(np.float32), random.normal(size=(7, 4)).astype(np.float32)
    y, back = jax.vjp(
        lambda matrix: multiply_sparse(MultiHot(jnp.asarray(ids), jnp.asarray(weights), 50), matrix, 24), matrix
    )
    np.testing.assert_allclose(y, to_dense(ids, weights, 50) @ matrix, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(back(jnp.asarray(slope))[0], to_dense(ids, weights, 50).T @ slope, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("backend", "limit"), [("cpu", 1 << 19), ("gpu", 1 << 25)])
def test_the_size_of_a_chunk_is_bounded(monkeypatch: Any, backend: str, limit: int) -> None:
    monkeypatch.setattr(jax, "default_backend", lambda: backend)
    ids, weights, matrix = (
        jax.ShapeDtypeStruct(shape, dtype)
        for shape, dtype in (((256, 1024), jnp.int32), ((256, 1024), jnp.float32), ((9000, 256), jnp.float32))
    )
    gradient = jax.grad(lambda matrix, ids, weights: multiply_sparse(MultiHot(ids, weights, 9000), matrix).sum())
    jaxpr = str(jax.make_jaxpr(gradient)(matrix, ids, weights))
    shapes = (shape.split(",") for shape in re.findall(r"f32\[([\d,]+)\]", jaxpr))
    largest = max(int(np.prod([int(size) for size in shape])) for shape in shapes if shape != ["9000", "256"])
    assert limit // 2 <= largest <= limit


def test_bfloat16_sparse_vectors_are_summed_in_float32() -> None:
    x = MultiHot(jnp.zeros((1, 1000), jnp.int32), jnp.ones((1, 1000), jnp.bfloat16), 3)
    y = jax.jit(lambda x: Dense(1, use_bias=False).apply({"params": {"kernel": jnp.ones((3, 1))}}, x, train=True))(x)
    assert y.dtype == jnp.bfloat16
    assert float(y[0, 0]) == 1000
