from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from components import layer
from components.architecture import MLP, Sequential
from components.architecture.lenet import layers as layers_of_1998
from components.layer import (
    Activation,
    BatchNorm,
    Branches,
    Conv,
    Dense,
    Dropout,
    Flatten,
    MaxPool,
    Repeat,
    Residual,
)
from components.types import Scalar, UserError
from runner.config.check import find_config_problems
from runner.config.compose import compose
from runner.signature.build import build

X = jax.random.normal(jax.random.key(0), (3, 6, 6, 2))

CONV: dict[str, Any] = {"_target_": "components.layer.Conv", "features": 2, "kernel": 3}
ARGUMENTS: dict[str, dict[str, Any]] = {  # required arguments of every layer
    "Activation": {"function": "relu"},
    "AlphaDropout": {"rate": 0.5},
    "AveragePool": {"window": 2},
    "BatchNorm": {},
    "Branches": {"branches": [[], [CONV]]},
    "TableConv": {"table": [[0], [0, 1]], "kernel": 3},
    "Conv": {"features": 4, "kernel": 3},
    "Conv1D": {"features": 4, "kernel": 3},
    "ConvNorm": {"features": 4, "kernel": [3, 1]},
    "Dense": {"features": 4},
    "DepthwiseConv": {"kernel": 3},
    "DepthwiseMaxPool": {"window": 2},
    "Dropout": {"rate": 0.5},
    "Flatten": {},
    "GaussianDropout": {"rate": 0.5},
    "GaussianNoise": {"std": 0.5},
    "GroupNorm": {"groups": 2},
    "GlobalAveragePool": {},
    "GlobalMaxPool": {},
    "Inception": {"one": 1, "three_reduce": 1, "three": 2, "five_reduce": 1, "five": 2, "pool": 1},
    "LayerNorm": {},
    "LocalResponseNorm": {},
    "MaxPool": {"window": 2},
    "PReLU": {},
    "RMSNorm": {},
    "RadialBasis": {"codes": [[1, -1], [-1, 1], [1, 1]]},
    "Repeat": {"layers": [CONV], "times": 2},
    "Residual": {"layers": [CONV], "stochastic_depth": 0.5},
    "SeparableConv": {"features": 4, "kernel": 3},
    "ScaledTanh": {},
    "SqueezeExcite": {},
    "StochasticDepth": {"rate": 0.5},
    "SubSampling": {},
    "WeightNorm": {"layer": CONV},
}
LAYERS_OF_VECTORS = ("RadialBasis",)
LAYERS_OF_SEQUENCES = ("Conv1D",)
TARGETS = {
    name: f"{module.__name__}.{name}"
    for module in (layer, layers_of_1998)
    for name, value in vars(module).items()
    if isinstance(value, type) and issubclass(value, nn.Module) and value.__module__.startswith(module.__name__)
}


def logits(*layers: nn.Module, x: jax.Array = X) -> jax.ShapeDtypeStruct:
    """Returns shape and dtype of the logits; computes nothing."""
    module = Sequential(4, layers)
    return jax.eval_shape(lambda: module.init_with_output(jax.random.key(0), x, train=True)[0].logits)


def to_flow_style(tree: Any) -> str:
    """Returns a tree in the syntax of the command line."""
    if isinstance(tree, dict):
        return "{" + ", ".join(f"{key}: {to_flow_style(value)}" for key, value in tree.items()) + "}"
    return "[" + ", ".join(map(to_flow_style, tree)) + "]" if isinstance(tree, list) else json.dumps(tree).strip('"')


def test_layers_are_applied_in_order() -> None:
    layers = (Flatten(), Dense(5), Activation("tanh"))
    output, variables = Sequential(4, layers).init_with_output(jax.random.key(0), X, train=True)
    dense, head = (jax.tree.map(np.asarray, variables["params"][name]) for name in ("layers_1", "head"))
    hidden = np.tanh(np.asarray(X).reshape(3, -1) @ dense["kernel"] + dense["bias"])
    np.testing.assert_allclose(output.logits, hidden @ head["kernel"] + head["bias"], rtol=1e-4, atol=1e-5)
    assert list(output.features) == ["layers_0", "layers_1", "layers_2"]


def test_lists_may_contain_layers_of_flax() -> None:
    assert logits(nn.LayerNorm(), Flatten(), nn.Dense(5)).shape == (3, 4)


def test_layers_of_flax_distinguish_training_and_inference() -> None:
    layers = (nn.BatchNorm(momentum=0.5), Flatten(), nn.Dropout(0.5))
    module, keys = Sequential(4, layers), jax.random.split(jax.random.key(0), 3)

    @jax.jit
    def run() -> tuple[Any, ...]:
        variables = module.init({"params": keys[0], "dropout": keys[0]}, X, train=True)
        trained = [
            module.apply(variables, X, train=True, rngs={"dropout": key}, mutable=["batch_stats"]) for key in keys[1:]
        ]
        return variables, *trained, module.apply(variables, X, train=False)

    variables, (first, changed), (second, _), inferred = jax.tree.map(np.asarray, run())
    updated, initial = (tree["batch_stats"]["layers_0"]["mean"] for tree in (changed, variables))
    np.testing.assert_allclose(updated, initial / 2 + X.mean((0, 1, 2)) / 2, atol=1e-6)
    np.testing.assert_allclose(first.features["layers_0"].mean((0, 1, 2)), 0, atol=1e-5)  # moments of the batch
    assert abs(inferred.features["layers_0"].mean((0, 1, 2))).max() > 1e-3  # running moments
    assert (first.features["layers_2"] == 0).any()
    assert not np.array_equal(first.features["layers_2"], second.features["layers_2"])
    np.testing.assert_array_equal(inferred.features["layers_2"], inferred.features["layers_1"])


def test_layers_of_flax_with_other_names_for_the_mode() -> None:
    keys = {"params": jax.random.key(0), "dropout": jax.random.key(1)}
    attention = nn.MultiHeadDotProductAttention(num_heads=1, dropout_rate=0.5)
    for part, collections in ((nn.SpectralNorm(nn.Dense(8)), {"params", "batch_stats"}), (attention, {"params"})):
        module = Sequential(4, (Flatten(), part))
        assert jax.eval_shape(partial(module.init, train=True), keys, X).keys() == collections


def test_a_layer_of_flax_may_be_fixed_in_one_mode() -> None:
    module = Sequential(4, (Flatten(), nn.Dropout(0.5, deterministic=True)))
    jax.eval_shape(lambda: module.init(jax.random.key(0), X, train=True))  # there is no key `dropout`


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        (
            (Flatten(), Dense(5), Conv(4, 3)),
            r"layer 2 \(Conv\) can't take an input of shape \(3, 5\): a convolution needs images",
        ),
        (
            (MaxPool(4), MaxPool(2)),
            r"layer 1 \(MaxPool\) can't take an input of shape \(3, 1, 1, 2\): .* of 2 x 2 does not fit",
        ),
        (
            (nn.Sequential([nn.Dropout(0.5)]),),
            r"^layer 0 \(Sequential\) can't take .*\"deterministic\".* Use components\.layer\.Dropout",
        ),
        ((nn.LSTMCell(4),), r"^layer 0 \(LSTMCell\) can't take an input of shape .*inputs"),
        ((Flatten(), MLP(4, (3,))), r"^layer 1 \(MLP\) must return an array, got Output"),
        ((Conv(4, 3),), r"a last layer that returns vectors \(B, D\), got \(3, 6, 6, 4\)\. Append Flatten"),
    ],
)
def test_errors_name_the_layer_that_does_not_fit(layers: tuple[nn.Module, ...], message: str) -> None:
    with pytest.raises(UserError, match=message):
        logits(*layers)


def test_lists_of_layers_may_be_nested() -> None:
    block = Residual((Conv(4, 3), Dropout(0.5), Conv(4, 3)), stochastic_depth=0.5)
    layers = (Repeat((block, Branches(((), (Conv(1, 1), BatchNorm())))), 2), Flatten())
    module, keys = Sequential(4, layers), {"params": jax.random.key(0), "dropout": jax.random.key(1)}
    variables = jax.eval_shape(lambda: module.init(keys, X, train=True))
    assert list(variables["params"]) == ["head", "layers_0"]
    copies = variables["params"]["layers_0"]
    assert list(copies) == ["copies_0_0", "copies_0_1", "copies_1_0", "copies_1_1"]
    assert copies["copies_0_0"]["projection"]["conv"]["kernel"].shape == (1, 1, 2, 4)
    assert copies["copies_1_0"]["layers_0"]["kernel"].shape == (3, 3, 5, 4)
    trained = jax.eval_shape(lambda v: module.apply(v, X, train=True, rngs=keys, mutable=["batch_stats"]), variables)
    assert jax.tree.map(jnp.shape, trained[1]["batch_stats"]) == jax.tree.map(jnp.shape, variables["batch_stats"])
    assert {name: feature.shape for name, feature in trained[0].features.items()} == {
        "layers_0": (3, 6, 6, 5),
        "layers_1": (3, 180),
    }


def test_errors_name_the_position_in_nested_lists() -> None:
    blocks = Repeat((Residual((Dropout(0.5), Branches(((Conv(2, 3, stride=2, padding="VALID"),),)))),), 2)
    with pytest.raises(UserError) as caught:
        logits(Activation("relu"), blocks, Flatten())
    assert str(caught.value) == (
        "layer 1 (Repeat): layer 0 of copy 1 (Residual): layer 1 (Branches): layer 0 of branch 0 (Conv) "
        "can't take an input of shape (3, 2, 2, 2): a convolution of 3 x 3 does not fit into images of 2 x 2"
    )


def test_arguments_of_every_layer_are_listed() -> None:
    assert set(TARGETS) == set(ARGUMENTS)


def test_every_layer_is_valid_in_a_configuration(in_empty_folder: object) -> None:
    parts = [{"_target_": target, **ARGUMENTS[name]} for name, target in TARGETS.items()]
    assert (
        find_config_problems(compose(["architecture=sequential", f"architecture.layers={to_flow_style(parts)}"])) == []
    )


@pytest.mark.parametrize("name", TARGETS)
def test_every_layer_may_be_in_a_list(name: str) -> None:
    part = {"_target_": TARGETS[name], **ARGUMENTS[name]}
    pooling = [{"_target_": "components.layer.GlobalAveragePool"}] if name in LAYERS_OF_VECTORS else []
    convolution = {**CONV, "_target_": TARGETS[name]} if name in LAYERS_OF_SEQUENCES else CONV
    layers = [convolution, *pooling, part, {"_target_": "components.layer.Flatten"}]
    node = {"_target_": "components.architecture.Sequential", "layers": layers}
    module = build(node, {}, outputs=4)
    keys = {"params": jax.random.key(0), "dropout": jax.random.key(1)}
    x = X[:, 0] if name in LAYERS_OF_SEQUENCES else X
    output = jax.eval_shape(lambda: module.init_with_output(keys, x, train=True)[0])
    assert output.logits.shape == (3, 4)
    assert len(output.features) == len(layers)


def test_the_numbers_of_layers_may_be_traced(check_traced: Callable[..., None]) -> None:
    def train(rate: Scalar, momentum: Scalar) -> tuple[jax.Array, Any]:
        module = Sequential(4, (Flatten(), BatchNorm(momentum), Dropout(rate)))
        keys = {"params": jax.random.key(0), "dropout": jax.random.key(1)}
        variables = module.init(keys, X, train=True)
        output, changed = module.apply(variables, X, train=True, rngs=keys, mutable=["batch_stats"])
        return output.logits, changed

    check_traced(train, {"rate": 0.0, "momentum": 0.5}, {"rate": 0.5, "momentum": 0.9})


def test_an_empty_list_is_a_linear_model() -> None:
    assert logits(x=jnp.zeros((3, 7))).shape == (3, 4)
