"""The optimizers of `conf/optimizer` take the steps that Keras takes, but for Nadam, which follows the paper."""

import json
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "optimizers.json").read_text())
SCALE, TARGET = np.array(GOLDEN["scale"], np.float32), np.array(GOLDEN["target"], np.float32)
OPTIMIZERS = {
    "SGD": optax.sgd(0.05),
    "momentum": optax.sgd(0.05, momentum=0.9),
    "Nesterov": optax.sgd(0.05, momentum=0.9, nesterov=True),
    "RMSprop": optax.rmsprop(0.01, decay=0.9, eps=1e-7),
    "Adam": optax.adam(0.1, eps=1e-7),
    "AdamW": optax.adamw(0.1, eps=1e-7, weight_decay=0.01),
}
pytestmark = pytest.mark.optax


def steps(optimizer: Any, count: int = 20) -> np.ndarray:
    """The weights after each step on the quadratic: (count, 4)."""
    weights = jnp.array(GOLDEN["w0"], jnp.float32)
    state, seen = optimizer.init(weights), []
    for _ in range(count):
        updates, state = optimizer.update(SCALE * (weights - TARGET), state, weights)
        weights = optax.apply_updates(weights, updates)
        seen.append(weights)
    return np.array(jax.device_get(seen))


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_the_steps_are_those_of_keras(name: str) -> None:
    np.testing.assert_allclose(steps(OPTIMIZERS[name]), GOLDEN["after_steps_1_to_20"][name], rtol=2e-4, atol=2e-5)


def test_nadam_follows_the_paper_without_kerass_schedule_of_the_momentum() -> None:
    """Dozat, 2016, with a constant momentum b1: the mean looks ahead by b1, and the gradient takes the rest."""
    rate, b1, b2, eps = 0.1, 0.9, 0.999, 1e-8
    weights, mean, square = np.array(GOLDEN["w0"]), np.zeros(4), np.zeros(4)
    expected = []
    for step in range(1, 21):
        gradient = SCALE * (weights - TARGET)
        mean, square = b1 * mean + (1 - b1) * gradient, b2 * square + (1 - b2) * gradient**2
        ahead = b1 * mean / (1 - b1 ** (step + 1)) + (1 - b1) * gradient / (1 - b1**step)
        weights = weights - rate * ahead / (np.sqrt(square / (1 - b2**step)) + eps)
        expected.append(weights)
    found = steps(optax.nadam(rate))
    np.testing.assert_allclose(found, expected, rtol=2e-4, atol=2e-5)
    assert np.abs(found - GOLDEN["after_steps_1_to_20"]["Nadam"]).max() > 1e-2
