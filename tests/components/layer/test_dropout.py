from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from components.layer import Dropout, StochasticDepth
from components.types import Scalar

X = jnp.linspace(1.0, 2.0, 20_000).reshape(100, 200)


def drop(rate: Scalar | None, seed: int = 0, train: bool = True) -> jax.Array:
    return Dropout(rate).apply({}, X, train=train, rngs={"dropout": jax.random.key(seed)})


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
def test_dropout_zeroes_a_share_of_elements_and_scales_the_others(rate: float) -> None:
    y = np.asarray(drop(rate))
    assert (y == 0).mean() == pytest.approx(rate, abs=0.02)
    np.testing.assert_allclose(y[y != 0], np.asarray(X)[y != 0] / (1 - rate), rtol=1e-5)


def test_different_keys_draw_different_masks() -> None:
    assert (drop(0.5, 0) == drop(0.5, 0)).all()
    assert (drop(0.5, 0) != drop(0.5, 1)).any()


def test_a_rate_of_zero_changes_nothing_but_consumes_a_key() -> None:
    np.testing.assert_array_equal(drop(0.0), X)
    with pytest.raises(Exception, match="dropout"):
        Dropout(0.0).apply({}, X, train=True)


def test_none_and_inference_consume_no_key() -> None:
    np.testing.assert_array_equal(Dropout(None).apply({}, X, train=True), X)
    np.testing.assert_array_equal(Dropout(0.5).apply({}, X, train=False), X)


def test_the_rate_may_be_traced(check_traced: Callable[..., None]) -> None:
    check_traced(drop, {"rate": 0.0}, {"rate": 0.25}, {"rate": 0.8})


def test_rates_may_be_mapped_by_vmap() -> None:
    y = jax.vmap(drop)(jnp.array([0.0, 0.5, 0.9]))
    np.testing.assert_allclose((np.asarray(y) == 0).mean((1, 2)), [0, 0.5, 0.9], atol=0.02)


def test_bfloat16_inputs_give_bfloat16_outputs() -> None:
    x = X.astype(jnp.bfloat16)
    assert Dropout(0.5).apply({}, x, train=True, rngs={"dropout": jax.random.key(0)}).dtype == jnp.bfloat16


def drop_examples(rate: Scalar | None, seed: int = 0, train: bool = True) -> jax.Array:
    x = X.reshape(2000, 2, 5)
    return StochasticDepth(rate).apply({}, x, train=train, rngs={"dropout": jax.random.key(seed)})


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
def test_stochastic_depth_zeroes_whole_examples_and_scales_the_others(rate: float) -> None:
    y = np.asarray(drop_examples(rate))
    dropped = (y == 0).all((1, 2))
    assert (dropped == (y == 0).any((1, 2))).all()
    assert dropped.mean() == pytest.approx(rate, abs=0.04)
    np.testing.assert_allclose(y[~dropped], np.asarray(X).reshape(y.shape)[~dropped] / (1 - rate), rtol=1e-5)


def test_stochastic_depth_changes_nothing_if_none_or_in_inference() -> None:
    np.testing.assert_array_equal(StochasticDepth(None).apply({}, X, train=True), X)
    np.testing.assert_array_equal(drop_examples(0.5, train=False), X.reshape(2000, 2, 5))
    np.testing.assert_array_equal(drop_examples(0.0), X.reshape(2000, 2, 5))
    assert (drop_examples(0.5, 0) != drop_examples(0.5, 1)).any()


def test_the_rate_of_stochastic_depth_may_be_traced(check_traced: Callable[..., None]) -> None:
    check_traced(drop_examples, {"rate": 0.0}, {"rate": 0.25}, {"rate": 0.8})
    x = X.astype(jnp.bfloat16)
    y = StochasticDepth(0.5).apply({}, x, train=True, rngs={"dropout": jax.random.key(0)})
    assert y.dtype == jnp.bfloat16
