"""Constraints equal Keras's, with the axes of the layers of Flax."""

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
from options import built, options

from components.constraint import MaxNorm, MinMaxNorm, NonNegative, UnitNorm
from components.layer import Conv, DepthwiseConv
from components.types import Constraint, Scalar, UserError

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "training.json").read_text())["constraints"]
DENSE, CONV = (jnp.array(GOLDEN[name], jnp.float32) for name in ("dense", "conv"))
KERAS = [  # constraint, weights, the name of the expected weights
    (MaxNorm(limit=1.0), DENSE, "MaxNorm(1, axis 0) dense"),
    (MaxNorm(limit=1.0), CONV, "MaxNorm(1, axis [0,1,2]) conv"),
    (UnitNorm(), DENSE, "UnitNorm dense"),
    (NonNegative(), DENSE, "NonNeg dense"),
    (MinMaxNorm(low=0.5, high=1.0, rate=0.5), DENSE, "MinMaxNorm(.5,1,rate .5) dense"),
]
PARAMETERS = {
    "dense_0": {"kernel": DENSE, "bias": DENSE[0]},
    "batch_norm_0": {"scale": DENSE[0], "bias": DENSE[0]},
    "words": {"embedding": DENSE},
}


def changed(constraint: Constraint, parameters: Any = PARAMETERS) -> set[str]:
    """The paths of the parameters that a constraint changes."""
    constrained = constraint(parameters)
    assert jax.tree.structure(constrained) == jax.tree.structure(parameters)
    return {
        f"{module}/{name}"
        for module, leaves in parameters.items()
        for name, leaf in leaves.items()
        if (leaf != constrained[module][name]).any()
    }


@pytest.mark.parametrize(("constraint", "weights", "name"), KERAS, ids=[name for *_, name in KERAS])
def test_the_weights_of_a_kernel_equal_keras(constraint: Constraint, weights: jax.Array, name: str) -> None:
    found = constraint({"layer": {"kernel": weights}})["layer"]["kernel"]
    np.testing.assert_allclose(found, GOLDEN[name], rtol=1e-6, atol=1e-7)


def test_the_units_of_an_embedding_are_its_rows() -> None:
    found = MaxNorm(limit=1.0)({"words": {"embedding": DENSE.T}})["words"]["embedding"]
    np.testing.assert_allclose(found, np.transpose(GOLDEN["MaxNorm(1, axis 0) dense"]), rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize(
    ("layer", "channels"), [(Conv(6, kernel=3), 4), (DepthwiseConv(kernel=3), 4), (Conv(6, kernel=1), 2)]
)
def test_the_units_of_a_convolution_are_its_output_channels(layer: nn.Module, channels: int) -> None:
    """Each unit is computed by weights of the norm 1, whatever the kind of convolution."""
    image = jnp.zeros((1, 5, 5, channels))
    kernel = jax.jit(lambda key: layer.init(key, image, train=True))(jax.random.key(0))["params"]["kernel"]
    found = np.asarray(UnitNorm()({"conv": {"kernel": kernel}})["conv"]["kernel"])
    np.testing.assert_allclose(np.linalg.norm(found.reshape(-1, found.shape[-1]), axis=0), 1, rtol=1e-6)
    units = layer.apply({"params": {"kernel": found, "bias": jnp.zeros(found.shape[-1])}}, image, train=True)
    assert units.shape[-1] == found.shape[-1]


@pytest.mark.parametrize("use_bias", [True, False])
@pytest.mark.parametrize(
    ("layer", "inputs"),
    [
        (nn.MultiHeadDotProductAttention(num_heads=2, qkv_features=6), {"query": 1, "key": 1, "value": 1, "out": 2}),
        (nn.Conv(5, (3,)), {"conv": 2}),
        (nn.ConvTranspose(5, (3, 3)), {"conv": 3}),
        (nn.LSTMCell(4), {"ii": 1, "hg": 1}),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, nn.Module) else None,
)
def test_the_units_of_flax_layers_are_all_axes_after_those_of_the_inputs(
    layer: Any, inputs: dict[str, int], use_bias: bool
) -> None:
    if isinstance(layer, nn.LSTMCell):
        x, carry = jnp.ones((2, 3)), (jnp.ones((2, 4)), jnp.ones((2, 4)))
        variables = jax.jit(layer.init)(jax.random.key(0), carry, x)
    else:
        x = jnp.ones((1, 4, 4, 3) if isinstance(layer, nn.ConvTranspose) else (1, 4, 3))
        variables = jax.jit(layer.clone(use_bias=use_bias).init)(jax.random.key(0), x)
    parameters: Any = variables["params"]
    found = jax.jit(UnitNorm())(parameters if "kernel" not in parameters else {"conv": parameters})
    for name, count in inputs.items():
        kernel = np.asarray(found[name]["kernel"])
        np.testing.assert_allclose(np.square(kernel).sum(tuple(range(count))), 1, rtol=1e-5)


def test_the_axes_of_the_norm_can_be_chosen() -> None:
    """Of a kernel whose outputs aren't last, such as that of a transposed convolution."""
    kernel = jax.random.normal(jax.random.key(0), (3, 3, 4, 2))
    parameters = {"conv": {"kernel": kernel, "bias": jnp.zeros(4)}}
    found = UnitNorm(axis=(0, 1, -1))(parameters)["conv"]["kernel"]
    np.testing.assert_allclose(np.square(found).sum((0, 1, 3)), 1, rtol=1e-5)
    np.testing.assert_array_equal(MaxNorm(limit=1e-3, axis=(0, 1, 3))(parameters)["conv"]["bias"], 0)
    with pytest.raises(
        UserError, match=r"output units of conv/kernel are unknown: its shape \(3, 3, 4, 2\) doesn't end .* \(4,\)"
    ):
        MaxNorm()(parameters)
    for axis in ((), (4,), (0, 0), (-5,)):
        with pytest.raises(
            UserError, match=r"conv/kernel has the shape \(3, 3, 4, 2\)\. Choose different ones of its axes"
        ):
            MaxNorm(axis=axis)(parameters)


@pytest.mark.parametrize("option", options("constraint"))
def test_every_option_changes_kernels_and_embeddings_only(option: str) -> None:
    assert changed(built("constraint", option)) == {"dense_0/kernel", "words/embedding"}


@pytest.mark.parametrize("option", options("constraint"))
def test_paths_choose_the_constrained_parameters(option: str) -> None:
    assert changed(built("constraint", option, paths=["*/bias", "words"])) == {
        "dense_0/bias",
        "batch_norm_0/bias",
        "words/embedding",
    }


@pytest.mark.parametrize("option", options("constraint"))
def test_a_pattern_without_a_match_is_an_error(option: str) -> None:
    with pytest.raises(UserError, match=r"matches the pattern dense_1\. Did you mean dense_0\?"):
        built("constraint", option, paths=["words", "dense_1"])(PARAMETERS)


def test_a_constraint_on_no_parameter_is_an_error() -> None:
    with pytest.raises(UserError, match=r"no parameter is a kernel or embedding, .* Parameters: layer/bias, layer/w\."):
        MaxNorm()({"layer": {"bias": DENSE[0], "w": DENSE}})


def test_weights_of_zero_stay_zero() -> None:
    for constraint in (MaxNorm(), MinMaxNorm(), UnitNorm()):
        found = constraint({"layer": {"kernel": jnp.zeros((2, 3))}})["layer"]["kernel"]
        np.testing.assert_array_equal(found, 0)


@pytest.mark.parametrize("option", options("constraint"))
def test_every_option_is_compared_with_keras(option: str) -> None:
    assert type(built("constraint", option)) in {type(constraint) for constraint, *_ in KERAS}


def test_every_case_of_keras_is_compared() -> None:
    assert {name for *_, name in KERAS} | {"dense", "conv"} == GOLDEN.keys()


def test_an_empty_interval_of_norms_is_an_error() -> None:
    with pytest.raises(UserError, match=r"low: 3\.0 is above `high`, 2\.0"):
        MinMaxNorm(low=3.0)


def test_the_norms_may_be_traced(check_traced: Callable[..., None]) -> None:
    def move(**numbers: Scalar) -> Any:
        return MinMaxNorm(**numbers)(PARAMETERS)  # type: ignore[arg-type]

    check_traced(move, {"low": 0.5, "high": 1.0, "rate": 0.5}, {"low": 9.0, "high": 10.0, "rate": 1.0})


def test_the_limit_may_be_traced(check_traced: Callable[..., None]) -> None:
    def constrained(limit: Scalar) -> Any:
        return MaxNorm(limit=limit)(PARAMETERS)

    check_traced(constrained, {"limit": 0.5}, {"limit": 1.0}, {"limit": 2.0})
