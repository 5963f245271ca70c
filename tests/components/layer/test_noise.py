"""Dropout that keeps mean and variance, and Gaussian noise; and networks that normalize themselves."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from components.layer import AlphaDropout, Dense, Dropout, GaussianDropout, GaussianNoise
from components.types import Padded, Scalar

GOLDEN = json.loads((Path(__file__).parents[2] / "golden" / "layers.json").read_text())["alpha_dropout"]
X = jax.random.normal(jax.random.key(7), (200, 500))
LAYERS = [AlphaDropout, GaussianDropout, GaussianNoise]


def change(layer: nn.Module, x: Any = X, seed: int = 0, train: bool = True) -> Any:
    return layer.apply({}, x, train=train, rngs={"dropout": jax.random.key(seed)})


def test_alpha_dropout_equals_that_of_keras() -> None:
    y = np.asarray(change(AlphaDropout(GOLDEN["rate"])))
    mean, std = GOLDEN["output mean, std"]
    assert (y.mean(), y.std()) == (pytest.approx(mean, abs=0.01), pytest.approx(std, abs=0.01))
    dropped = np.isclose(y, GOLDEN["value of a dropped unit"], rtol=1e-5)
    assert dropped.mean() == pytest.approx(GOLDEN["rate"], abs=0.01)
    slope, offset = np.polyfit(np.asarray(X)[~dropped], y[~dropped], 1)  # the others are scaled and shifted
    q, limit = 1 - GOLDEN["rate"], -1.7580993408473766
    a = (q + limit**2 * q * (1 - q)) ** -0.5  # Klambauer et al., 2017, section 2
    assert (slope, offset) == (pytest.approx(a, rel=1e-4), pytest.approx(-a * (1 - q) * limit, rel=1e-3))


@pytest.mark.parametrize("rate", [0.05, 0.5, 0.9])
def test_alpha_dropout_keeps_mean_and_variance(rate: float) -> None:
    y = np.asarray(change(AlphaDropout(rate)))
    assert (y.mean(), y.std()) == (pytest.approx(0, abs=0.02), pytest.approx(1, abs=0.02))


@pytest.mark.parametrize("rate", [0.1, 0.5])
def test_gaussian_dropout_multiplies_by_numbers_with_the_variance_of_dropout(rate: float) -> None:
    x = jnp.full((200, 500), 3.0)
    factors = np.asarray(change(GaussianDropout(rate), x)) / 3
    assert factors.mean() == pytest.approx(1, abs=0.02)
    assert factors.var() == pytest.approx(rate / (1 - rate), rel=0.02)
    assert (np.asarray(change(Dropout(rate), x)) / 3).var() == pytest.approx(rate / (1 - rate), rel=0.02)


def test_gaussian_noise_is_added() -> None:
    noise = np.asarray(change(GaussianNoise(0.3)) - X)
    assert (noise.mean(), noise.std()) == (pytest.approx(0, abs=0.01), pytest.approx(0.3, rel=0.02))
    assert abs(np.corrcoef(noise.ravel(), np.asarray(X).ravel())[0, 1]) < 0.02


@pytest.mark.parametrize("part", LAYERS)
def test_each_key_draws_other_noise_and_inference_draws_none(part: Any) -> None:
    assert (change(part(0.5), seed=0) == change(part(0.5), seed=0)).all()
    assert (change(part(0.5), seed=0) != change(part(0.5), seed=1)).any()
    np.testing.assert_array_equal(change(part(0.5), train=False), X)
    np.testing.assert_array_equal(part(None).apply({}, X, train=True), X)
    np.testing.assert_allclose(change(part(0.0)), X, rtol=1e-6)
    with pytest.raises(Exception, match="dropout"):
        part(0.0).apply({}, X, train=True)
    assert change(part(0.5), X.astype(jnp.bfloat16)).dtype == jnp.bfloat16


@pytest.mark.parametrize("part", LAYERS)
def test_the_strength_may_be_traced_and_mapped(part: Any, check_traced: Callable[..., None]) -> None:
    def apply(strength: Scalar) -> jax.Array:
        noisy: jax.Array = change(part(strength), X[:5, :7])
        return noisy

    check_traced(apply, {"strength": 0.0}, {"strength": 0.3}, {"strength": 0.6})
    mapped = jax.vmap(apply)(jnp.array([0.3, 0.6]))
    np.testing.assert_allclose(mapped[1], apply(0.6), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("part", [AlphaDropout, GaussianDropout])
def test_a_whole_channel_gets_one_number(part: Any) -> None:
    x = jnp.full((4, 6, 50), 2.0)
    y = np.asarray(change(part(0.5, "channel"), x))
    np.testing.assert_array_equal(y, np.broadcast_to(y[:, :1], y.shape))
    assert len(np.unique(y[0, 0])) > 1


@pytest.mark.parametrize("part", LAYERS)
def test_noise_of_sequences_does_not_depend_on_the_padding(part: Any) -> None:
    def apply(steps: int) -> Padded:
        sequences = X[:5, :200].reshape(5, 20, 10)[:, :steps]
        changed: Padded = change(part(0.5), Padded(sequences, np.ones((5, steps), bool)))
        return changed

    np.testing.assert_array_equal(apply(7).values, apply(20).values[:, :7])
    nested = Padded(Padded(X[:6].reshape(2, 3, 50, 10), np.ones((2, 3, 50), bool)), np.ones((2, 3), bool))
    changed = change(part(0.5), nested).values.values
    assert changed.shape == (2, 3, 50, 10)
    assert (changed != nested.values.values).any()


@pytest.mark.parametrize("rate", [None, 0.1])
def test_a_hundred_layers_with_selu_keep_mean_and_variance(rate: float | None) -> None:
    """Klambauer et al., 2017: selu and lecun_normal draw the activations to mean 0 and variance 1; relu doesn't."""

    class Deep(nn.Module):
        activation: Any

        @nn.compact
        def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
            class Block(nn.Module):
                activation: Any

                @nn.compact
                def __call__(self, x: jax.Array, _: Any) -> tuple[jax.Array, None]:
                    x = Dense(200, self.activation, initializer="lecun_normal")(x, train=train)
                    return AlphaDropout(rate)(x, train=train), None

            blocks = nn.scan(Block, {"params": 0}, split_rngs={"params": True, "dropout": True}, length=100)
            result: jax.Array = blocks(self.activation)(x, None)[0]
            return result

    def run(activation: str) -> np.ndarray:
        keys = {"params": jax.random.key(0), "dropout": jax.random.key(1)}
        layer, x = Deep(activation), jax.random.normal(jax.random.key(2), (100, 200))
        return np.asarray(jax.jit(lambda: layer.init_with_output(keys, x, train=True)[0])())

    y = run("selu")
    assert y.mean() == pytest.approx(0, abs=0.1)
    assert y.std() == pytest.approx(1, abs=0.15)
    assert rate is not None or run("relu").std() < 1e-6
