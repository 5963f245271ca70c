"""LSUV: random weights that a batch scales, so that the outputs of each layer have variance 1."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from options import options
from step_session import Session

from components.architecture import Sequential
from components.layer import (
    BatchNorm,
    Constant,
    Conv,
    Conv1D,
    Dense,
    DepthwiseConv,
    Flatten,
    GlobalAveragePool,
    GlobalMaxPool,
    WeightNorm,
)
from components.pretrained import LSUV
from components.types import FieldError, Padded, UserError
from runner.signature.build import build

IMAGES = jax.random.normal(jax.random.key(1), (32, 8, 8, 3)) * 5 + 2
CNN = (
    Conv(8, 3, activation="relu"),
    DepthwiseConv(3, activation="relu"),
    Conv(16, 1, use_bias=False),
    BatchNorm(),
    Conv(16, 3, 2, activation="relu", groups=2),
    GlobalAveragePool(),
)


class Model(nn.Module):
    """The network under its name in the model."""

    architecture: nn.Module

    def __call__(self, inputs: Any) -> Any:
        named = inputs if isinstance(inputs, dict) else {"inputs": inputs}
        return self.architecture(**named, train=True)


def make_dense(layers: int, activation: str) -> tuple[nn.Module, ...]:
    return (Flatten(), *(Dense(64, activation, initializer="he_normal") for _ in range(layers)))


def start(network: nn.Module | tuple[Any, ...], inputs: Any) -> tuple[Any, Any, Callable[..., Any]]:
    """A network, or one of some layers, its random parameters, and its forward pass, which returns the parameters."""
    model = Model(network if isinstance(network, nn.Module) else Sequential(outputs=10, layers=network))
    variables = jax.jit(model.init)({"params": jax.random.key(0), "dropout": jax.random.key(1)}, inputs)
    rest = {name: tree for name, tree in variables.items() if name != "params"}

    def forward(parameters: Any, inputs: Any) -> Any:
        rngs = {"dropout": jax.random.key(2)}
        return model.apply({"params": parameters, **rest}, inputs, mutable=True, rngs=rngs)[1]["params"]

    return model.architecture, variables["params"], forward


def fit(weights: LSUV, network: nn.Module | tuple[Any, ...], inputs: Any = IMAGES) -> dict[str, float]:
    """The variance of the outputs of each layer before its activation, with the scaled parameters."""
    architecture, parameters, forward = start(network, inputs)
    assert weights(architecture, {"params": parameters["architecture"]}) == {}
    scaled = weights.fit(forward, parameters, inputs)

    @jax.jit
    def measure(parameters: Any) -> dict[str, jax.Array]:
        variances = {}

        def call(function: Any, args: Any, kwargs: Any, context: Any) -> Any:
            module = context.module
            is_layer = module.path[:1] == ("architecture",) and module.has_variable("params", "kernel")
            if is_layer and context.method_name == "__call__":
                output = module.clone(parent=None, name=None, activation=None).apply(module.variables, *args, **kwargs)
                values, mask = (output.values, output.mask[..., None]) if isinstance(output, Padded) else (output, True)
                variances["/".join(module.path[1:])] = jnp.var(values, where=mask)
            return function(*args, **kwargs)

        with nn.intercept_methods(call):
            forward(parameters, inputs)
        return variances

    return {path: float(variance) for path, variance in measure(scaled).items()}


@pytest.mark.parametrize(
    ("layers", "orthogonal"),
    [(make_dense(20, "tanh"), False), (make_dense(20, "relu"), False), (CNN, True)],
    ids=["tanh", "relu", "cnn"],
)
def test_the_outputs_of_each_layer_have_variance_one(layers: tuple[Any, ...], *, orthogonal: bool) -> None:
    variances = fit(LSUV(tolerance=0.01, orthogonal=orthogonal), layers)
    assert len(variances) == 1 + sum(hasattr(layer, "activation") for layer in layers), "with the head"
    np.testing.assert_allclose(list(variances.values()), 1, atol=0.01)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("option", "inputs", "count"),
    [
        ("resnet20", {"image": IMAGES}, 20),
        ("wide_deep", {"wide": IMAGES[:, 0, 0], "deep": IMAGES[:, 1, 0]}, 3),
        ("siamese", {"images": IMAGES[:, :2]}, 3),
    ],
)
def test_the_layers_of_an_architecture_are_scaled(option: str, inputs: dict[str, jax.Array], count: int) -> None:
    network = build(options("architecture")[option], {}, outputs=10)
    names = [name for name in inspect.signature(network.__call__).parameters if name != "train"]
    variances = fit(LSUV(), network, dict(zip(names, inputs.values(), strict=True)))
    zeros = [variance for variance in variances.values() if variance == 0]  # of kernels that are zero at first
    assert len(variances) - len(zeros) == count
    np.testing.assert_allclose([variance for variance in variances.values() if variance], 1, atol=0.1)


def test_layers_of_sequences_do_not_count_padding() -> None:
    mask = np.arange(6) < np.array([[6], [2], [1]])
    sequences = Padded(jnp.where(mask[..., None], IMAGES[:3, 0, :6], 0), jnp.asarray(mask))
    variances = fit(LSUV(tolerance=0.001), (Conv1D(8, 2), GlobalMaxPool()), sequences)
    np.testing.assert_allclose(list(variances.values()), 1, atol=0.001)


def test_skipped_layers_and_kernels_of_zeros_stay() -> None:
    layers = (Flatten(), Dense(8), Dense(8, initializer=Constant(0.0)), Dense(8, initial_bias=3.0))
    architecture, parameters, forward = start(layers, IMAGES)
    weights = LSUV(skip=("dense_0", "layers_3", "head"))
    with pytest.raises(FieldError, match=r"no parameter matches the pattern dense_0\. Parameters: head/bias"):
        weights(architecture, {"params": parameters["architecture"]})
    scaled = LSUV(skip=("layers_3", "head")).fit(forward, parameters, IMAGES)["architecture"]
    before = parameters["architecture"]
    changed = {name for name in before if (before[name]["kernel"] != scaled[name]["kernel"]).any()}
    assert changed == {"layers_1"}
    with pytest.raises(UserError, match=r"LSUV: no layer has a kernel to scale\. Parameters: head/bias"):
        LSUV(skip=("head",))(architecture, {"params": {"head": before["head"]}})


@pytest.mark.parametrize(
    ("layer", "variance"), [(WeightNorm(Dense(64)), ".*"), (Dense(8, "relu", initial_bias=-1e3), "0")]
)
def test_a_layer_whose_variance_stays_another_is_an_error(layer: nn.Module, variance: str) -> None:
    layers = (Flatten(), layer, Dense(8))
    path = "layers_1/layer" if variance != "0" else "layers_2"
    with pytest.raises(UserError, match=f"LSUV: the outputs of {path} have the variance {variance} after 3 iterations"):
        fit(LSUV(tolerance=0.001, max_iterations=3), layers)


@pytest.mark.optax
def test_a_run_starts_from_the_scaled_weights_of_its_seed() -> None:
    words = ("weights=lsuv", "weights.tolerance=0.001", "architecture.widths=[4,4]", "training.microbatches=2")
    one, other, seed = Session(*words).state, Session(*words).state, Session(*words, "seed=1").state
    plain = Session(*words[2:]).state
    jax.tree.map(np.testing.assert_array_equal, one, other)
    kernels = [state.parameters["architecture"]["dense_1"]["kernel"] for state in (one, seed, plain)]
    assert not np.allclose(kernels[0], kernels[1])
    directions = [kernel / np.linalg.norm(kernel) for kernel in (kernels[0], np.linalg.qr(kernels[2])[0])]
    np.testing.assert_allclose(*map(np.abs, directions), atol=1e-5)
