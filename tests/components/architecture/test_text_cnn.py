from __future__ import annotations

from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import yaml

from components.types import Padded
from runner.config.catalog import find_options
from runner.signature.build import build

LENGTHS = np.array([7, 2, 0])  # a text, one that is shorter than the kernels, and an empty one
WORDS = np.random.default_rng(0).standard_normal((3, 7, 6)).astype(np.float32)
KEYS = {"params": jax.random.key(0), "dropout": jax.random.key(1)}


def texts(steps: int) -> Padded:
    """The embeddings of the words of three texts, padded to a number of words."""
    values = np.full((3, steps, 6), 9, np.float32)
    values[:, :7] = WORDS
    return Padded(values, np.arange(steps) < LENGTHS[:, None])


@pytest.fixture(scope="module")
def network() -> nn.Module:
    return build(yaml.safe_load(find_options().files["architecture"]["text_cnn"].read_text()), {}, outputs=2)


@pytest.fixture(scope="module")
def variables(network: nn.Module) -> Any:
    return jax.jit(partial(network.init, train=True))(KEYS, texts(7))


def test_the_number_of_parameters_is_that_of_the_paper(network: nn.Module) -> None:
    """Section 3.1 of Kim, 2014: windows of 3, 4 and 5 words, 100 features each; section 2: words of 300 numbers."""
    x = Padded(np.zeros((1, 9, 300), np.float32), np.ones((1, 9), bool))
    shapes = jax.eval_shape(partial(network.init, train=True), KEYS, x)
    assert sum(leaf.size for leaf in jax.tree.leaves(shapes)) == (3 + 4 + 5) * 300 * 100 + 3 * 100 + 300 * 2 + 2


def test_the_logits_are_those_of_the_definition(network: nn.Module, variables: Any) -> None:
    logits = jax.jit(partial(network.apply, train=False))(variables, texts(8)).logits
    parameters = jax.tree.map(np.asarray, variables["params"])
    convolutions = [parameters["layers_0"][f"branches_{n}_0"] for n in range(3)]
    for row, length in enumerate(LENGTHS):
        features = []
        for layer in convolutions:
            kernel = layer["kernel"]
            before = (len(kernel) - 1) // 2
            padded = np.pad(WORDS[row, :length], ((before, len(kernel) - 1 - before), (0, 0)))
            windows = [np.einsum("kd,kdf->f", padded[start : start + len(kernel)], kernel) for start in range(length)]
            features.append(np.maximum(np.array(windows) + layer["bias"], 0).max(0) if length else np.zeros(100))
        head = parameters["head"]
        np.testing.assert_allclose(logits[row], np.concatenate(features) @ head["kernel"] + head["bias"], rtol=1e-4)


@pytest.mark.parametrize("steps", [8, 64])
def test_a_training_step_does_not_depend_on_the_padding_of_the_batch(
    network: nn.Module, variables: Any, steps: int
) -> None:
    @partial(jax.jit, static_argnums=1)
    @partial(jax.value_and_grad, has_aux=True)
    def train(variables: Any, steps: int) -> tuple[jax.Array, jax.Array]:
        logits = network.apply(variables, texts(steps), train=True, rngs=KEYS).logits
        return jnp.square(logits - 1).sum(), logits

    expected, found = train(variables, 7), train(variables, steps)
    jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-6, atol=1e-6), found, expected)
