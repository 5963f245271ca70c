import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from components.layer import Conv, DepthwiseConv, SeparableConv
from components.layer.shape import Padding
from components.types import UserError

LAYERS = json.loads((Path(__file__).parents[2] / "golden" / "layers.json").read_text())
GOLDEN = LAYERS["conv"]


@pytest.mark.parametrize("case", GOLDEN["y"])
def test_convolutions_equal_tensorflow(case: str) -> None:
    padding, _, stride, _, dilation = case.split()
    kernel = jnp.array(GOLDEN["w"])
    params = {"kernel": kernel, "bias": jnp.array([1.0, 2.0, 3.0])}
    layer = Conv(3, kernel.shape[:2], stride=int(stride), padding=padding, activation="relu", dilation=int(dilation))
    y = jax.jit(partial(layer.apply, {"params": params}, train=True))(jnp.array(GOLDEN["x"]))
    np.testing.assert_allclose(y, np.maximum(np.add(GOLDEN["y"][case], [1, 2, 3]), 0), rtol=1e-6)


def test_parameters_are_float32_and_the_computation_follows_the_input() -> None:
    layer = Conv(4, (3, 1))
    init = partial(layer.init_with_output, train=True)
    y, variables = jax.eval_shape(init, jax.random.key(0), jnp.ones((2, 5, 5, 3), jnp.bfloat16))
    assert jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype.name), variables["params"]) == {
        "kernel": ((3, 1, 3, 4), "float32"),
        "bias": ((4,), "float32"),
    }
    assert (y.shape, y.dtype) == ((2, 5, 5, 4), jnp.bfloat16)


def test_a_convolution_without_bias() -> None:
    init = partial(Conv(4, 3, use_bias=False).init, train=True)
    variables = jax.eval_shape(init, jax.random.key(0), jnp.ones((1, 5, 5, 3)))
    assert set(variables["params"]) == {"kernel"}


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((2, 9), r"needs images \(B, H, W, C\), got \(2, 9\)"),
        ((2, 4, 9, 1), "of 5 x 5 does not fit into images of 4 x 9"),
    ],
)
def test_inputs_of_a_wrong_shape_raise(shape: tuple[int, ...], message: str) -> None:
    with pytest.raises(UserError, match=message):
        Conv(4, 5, padding="VALID").init(jax.random.key(0), jnp.ones(shape), train=True)


@pytest.mark.parametrize("case", LAYERS["separable"]["y"])
def test_separable_and_depthwise_convolutions_equal_tensorflow(case: str) -> None:
    golden = LAYERS["separable"]
    padding, _, stride = case.split()
    kernel, pointwise = jnp.array(golden["depthwise"]), jnp.array(golden["pointwise"])
    window, multiplier = kernel.shape[:2], kernel.shape[3]
    params = {"kernel": kernel.reshape(*window, 1, -1)}
    options = {"stride": int(stride), "padding": padding, "use_bias": False, "multiplier": multiplier}
    depthwise = partial(DepthwiseConv(window, **options).apply, {"params": params}, train=True)
    np.testing.assert_allclose(jax.jit(depthwise)(jnp.array(golden["x"])), golden["depthwise only"][case], rtol=1e-6)
    both = {"depthwise": params, "pointwise": {"kernel": pointwise}}
    separable = partial(SeparableConv(3, window, **options).apply, {"params": both}, train=True)
    np.testing.assert_allclose(jax.jit(separable)(jnp.array(golden["x"])), golden["y"][case], rtol=1e-5)


@pytest.mark.parametrize("padding", ["SAME", "VALID"])
def test_grouped_convolutions_equal_tensorflow(padding: Padding) -> None:
    golden = LAYERS["grouped"]
    kernel = jnp.array(golden["w"])
    layer = Conv(kernel.shape[-1], kernel.shape[:2], padding=padding, use_bias=False, groups=golden["groups"])
    y = layer.apply({"params": {"kernel": kernel}}, jnp.array(golden["x"]), train=True)
    np.testing.assert_allclose(y, golden["y"][padding.lower()], rtol=1e-6)


def test_shapes_of_depthwise_and_separable_parameters() -> None:
    x = jnp.ones((2, 5, 5, 3), jnp.bfloat16)
    depthwise = jax.eval_shape(partial(DepthwiseConv(3, multiplier=2).init, train=True), jax.random.key(0), x)
    assert jax.tree.map(jnp.shape, depthwise["params"]) == {"kernel": (3, 3, 1, 6), "bias": (6,)}
    init = partial(SeparableConv(4, 3, activation="relu").init_with_output, train=True)
    y, separable = jax.eval_shape(init, jax.random.key(0), x)
    assert jax.tree.map(jnp.shape, separable["params"]) == {
        "depthwise": {"kernel": (3, 3, 1, 3)},
        "pointwise": {"kernel": (1, 1, 3, 4), "bias": (4,)},
    }
    assert (y.shape, y.dtype) == ((2, 5, 5, 4), jnp.bfloat16)


def test_biases_have_their_initial_value(check_traced: Callable[..., None]) -> None:
    def draw_bias(initial_bias: float) -> jax.Array:
        layer = Conv(2, 1, initial_bias=initial_bias)
        return layer.init(jax.random.key(0), jnp.ones((1, 2, 2, 1)), train=True)["params"]["bias"]

    np.testing.assert_array_equal(draw_bias(1.0), np.ones(2))
    check_traced(draw_bias, {"initial_bias": 0.0}, {"initial_bias": 1.0})


def test_wrong_groups_and_too_large_kernels_raise() -> None:
    x = jnp.ones((1, 4, 4, 6))
    with pytest.raises(UserError, match="got 4 groups for 6 channels and 8 features"):
        Conv(8, 3, groups=4).init(jax.random.key(0), x, train=True)
    with pytest.raises(UserError, match=r"of 7 x 7 does not fit into images of 4 x 4, padded by \(1, 1\) and \(1, 1\)"):
        Conv(8, 3, padding=1, dilation=3).init(jax.random.key(0), x, train=True)
    with pytest.raises(UserError, match="a depthwise convolution of 5 x 5 does not fit into images of 4 x 4"):
        DepthwiseConv(5, padding="VALID").init(jax.random.key(0), x, train=True)
