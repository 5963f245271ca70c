from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from components.layer import Dropout, StochasticDepth
from components.types import Padded, Scalar

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


@pytest.mark.parametrize(("unit", "axes"), [("step", 2), ("channel", 1)])
def test_dropout_of_whole_steps_or_channels(unit: Literal["step", "channel"], axes: int) -> None:
    x, keys = X.reshape(20, 10, 100), {"dropout": jax.random.key(0)}
    y = np.asarray(Dropout(0.3, unit).apply({}, x, train=True, rngs=keys))
    dropped = (y == 0).all(axes)
    assert (dropped == (y == 0).any(axes)).all()
    assert dropped.mean() == pytest.approx(0.3, abs=0.1 if unit == "step" else 0.03)
    np.testing.assert_allclose(y, np.where(np.expand_dims(dropped, axes), 0, np.asarray(x) / 0.7), rtol=1e-5)
    assert 0 < dropped[0].mean() < 1
    assert (dropped[0] != dropped[1]).any()


@pytest.mark.parametrize("unit", ["element", "step", "channel"])
def test_dropout_of_sequences_does_not_depend_on_the_padding_of_the_batch(
    unit: Literal["element", "step", "channel"],
) -> None:
    def drop_sequences(steps: int) -> Padded:
        x = Padded(X[:5].reshape(5, 20, 10)[:, :steps], np.ones((5, steps), bool))
        return Dropout(0.5, unit).apply({}, x, train=True, rngs={"dropout": jax.random.key(0)})

    short, long = drop_sequences(7), drop_sequences(20)
    np.testing.assert_array_equal(short.values, long.values[:, :7])
    assert short.mask.shape == (5, 7)
    assert (np.asarray(short.values) == 0).mean() == pytest.approx(0.5, abs=0.25)


def test_dropout_of_nested_sequences_drops_their_elements() -> None:
    inner = Padded(X[:6].reshape(2, 3, 20, 10), np.ones((2, 3, 20), bool))
    x = Padded(inner, np.ones((2, 3), bool))
    y = Dropout(0.5).apply({}, x, train=True, rngs={"dropout": jax.random.key(0)})
    values = np.asarray(y.values.values)
    assert values.shape == (2, 3, 20, 10)
    np.testing.assert_allclose(values[values != 0], np.asarray(inner.values)[values != 0] * 2, rtol=1e-5)
    assert (values == 0).mean() == pytest.approx(0.5, abs=0.05)
