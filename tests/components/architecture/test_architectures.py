"""Tests for every architecture in ARCHITECTURES."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from components.architecture import MLP, FashionCNN, LeNet5, Sequential
from components.layer import BatchNorm, Conv, Dense, Dropout, Flatten, MaxPool
from components.types import Padded, UserError

LAYERS = (Conv(4, 3, activation="relu"), BatchNorm(), MaxPool(2), Flatten(), Dropout(0.5), Dense(8))
ARCHITECTURES = {  # name: (module, the shape of an example, its parameters)
    "mlp": (MLP(10, (300, 100)), (28, 28, 1), 266_610),
    "mlp, no hidden layer": (MLP(3, ()), (4,), 15),
    "mlp, batch_norm": (MLP(10, (30, 20), batch_norm=True), (7,), 7 * 30 + 60 + 30 * 20 + 40 + 210),
    "mlp, dropout": (MLP(10, (30,), dropout=0.5), (7,), 240 + 310),
    "sequential": (Sequential(3, LAYERS), (6, 6, 2), 76 + 8 + (36 * 8 + 8) + 27),
    "lenet5": (LeNet5(10), (32, 32, 1), 61_706),
    "lenet5, digits": (LeNet5(10), (8, 8, 1), 61_706),
    "lenet5, wide": (LeNet5(2), (30, 40, 3), 456 + 2_416 + (5 * 7 * 16 * 120 + 120) + 10_164 + 170),
    "lenet5, narrow": (LeNet5(10, width=0.5), (32, 32, 1), 78 + 608 + (200 * 60 + 60) + (60 * 42 + 42) + 430),
    "fashion_cnn": (FashionCNN(10), (28, 28, 1), 1_413_834),
    "fashion_cnn, digits": (FashionCNN(10), (8, 8, 1), 1_413_834 - 8 * 256 * 128),
}


def initialize(module: nn.Module, x: Any) -> tuple[jax.Array, dict[str, jax.Array], dict[str, Any]]:
    """Returns the logits and features of a training step, and the variables."""
    keys = {"params": jax.random.key(0), "dropout": jax.random.key(1)}
    output, variables = module.init_with_output(keys, x, train=True)
    return output.logits, output.features, variables


def shapes(module: nn.Module, *shape: int) -> tuple[Any, dict[str, Any], dict[str, Any]]:
    """Returns what `initialize` returns, as shapes and dtypes."""
    return jax.eval_shape(lambda x: initialize(module, x), jnp.zeros(shape))


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_numbers_of_parameters_and_outputs(name: str) -> None:
    module, shape, parameters = ARCHITECTURES[name]
    logits, features, variables = shapes(module, 5, *shape)
    assert sum(leaf.size for leaf in jax.tree.leaves(variables["params"])) == parameters
    assert (logits.shape, logits.dtype) == ((5, module.outputs), jnp.float32)
    assert all(feature.shape[0] == 5 for feature in features.values())


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_bfloat16_features_and_float32_parameters_and_logits(name: str) -> None:
    module, shape, _ = ARCHITECTURES[name]
    logits, features, variables = shapes(module.clone(dtype=jnp.bfloat16), 2, *shape)
    assert {leaf.dtype.name for leaf in jax.tree.leaves(variables)} == {"float32"}
    assert {feature.dtype.name for feature in features.values()} <= {"bfloat16"}
    assert logits.dtype == jnp.float32


@pytest.mark.parametrize("name", ["mlp, batch_norm", "mlp, dropout", "sequential"])
def test_inference_consumes_no_keys_and_examples_are_independent(name: str) -> None:
    module, shape, _ = ARCHITECTURES[name]

    @jax.jit
    def infer(x: jax.Array) -> tuple[jax.Array, jax.Array]:
        variables = initialize(module, x)[2]
        return tuple(module.apply(variables, x, train=False).logits for x in (x, x[::-1]))

    logits, backwards = infer(jax.random.normal(jax.random.key(0), (3, *shape)))
    np.testing.assert_allclose(backwards[::-1], logits, rtol=1e-4, atol=1e-5)
    assert (logits[0] != logits[1]).any()


@pytest.mark.parametrize("name", ["lenet5", "fashion_cnn"])
def test_vectors_raise(name: str) -> None:
    with pytest.raises(UserError, match=r"needs images \(B, H, W, C\), got \(2, 64\)\. For vectors, choose mlp"):
        shapes(ARCHITECTURES[name][0], 2, 64)


@pytest.mark.parametrize("name", ["mlp", "lenet5", "fashion_cnn"])
def test_columns_of_variable_length_raise(name: str) -> None:
    padded = Padded(jnp.zeros((2, 5, 3)), jnp.ones((2, 5), bool))
    remedy = "Choose architecture=sequential, with GlobalAveragePool as the first layer"
    with pytest.raises(UserError, match=rf"got a column of variable length: \(2, 5, 3\)\. {remedy}"):
        initialize(ARCHITECTURES[name][0], padded)


@pytest.mark.parametrize("module", [LeNet5(10, head=False), FashionCNN(10, head=False)])
def test_without_a_head_only_features_are_returned(module: nn.Module) -> None:
    logits, features, variables = shapes(module, 2, 32, 32, 1)
    assert logits is None
    assert "head" not in variables["params"]
    assert {len(feature.shape) for feature in features.values()} == {2, 4}


def test_images_below_the_smallest_size_raise() -> None:
    with pytest.raises(UserError, match="FashionCNN needs images of at least 8 x 8, got 7 x 28"):
        shapes(FashionCNN(10), 2, 7, 28, 1)
