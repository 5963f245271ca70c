import json
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from components.layer import Conv
from components.layer.convolution import convolve
from components.layer.shape import Padding
from components.types import UserError

GOLDEN = json.loads((Path(__file__).parents[2] / "golden" / "layers.json").read_text())["conv"]
FIGURE = GOLDEN["figure 14-7: width 13, filter 6, stride 5"]


@pytest.mark.parametrize("case", GOLDEN["y"])
def test_convolutions_are_tensorflows(case: str) -> None:
    padding, _, stride, *_ = case.split()
    kernel = jnp.array(GOLDEN["w"])
    params = {"kernel": kernel, "bias": jnp.array([1.0, 2.0, 3.0])}
    layer = Conv(3, kernel.shape[:2], stride=int(stride), padding=padding, activation="relu")
    y = jax.jit(partial(layer.apply, {"params": params}, train=True))(jnp.array(GOLDEN["x"]))
    np.testing.assert_allclose(y, np.maximum(np.add(GOLDEN["y"][case], [1, 2, 3]), 0), rtol=1e-6)


@pytest.mark.parametrize("padding", ["SAME", "VALID"])
def test_the_books_figure_of_strides_and_padding(padding: Padding) -> None:
    y = convolve(jnp.array(FIGURE["x"]), jnp.array(FIGURE["w"]), (1, 5), padding)
    np.testing.assert_allclose(y, FIGURE[padding], rtol=1e-6)


@pytest.mark.parametrize("padding", ["SAME", "VALID"])
@pytest.mark.parametrize("stride", [(1, 1), (2, 3)])
def test_a_kernel_of_one_pixel_is_a_convolution_too(stride: tuple[int, int], padding: Padding) -> None:
    x = jax.random.normal(jax.random.key(0), (2, 5, 7, 3))
    kernel = jax.random.normal(jax.random.key(1), (1, 1, 3, 4))
    numbers = ("NHWC", "HWIO", "NHWC")
    expected = jax.lax.conv_general_dilated(x, kernel, stride, padding, dimension_numbers=numbers)
    np.testing.assert_allclose(convolve(x, kernel, stride, padding), expected, rtol=1e-5, atol=1e-6)


def test_parameters_are_float32_and_the_computation_follows_the_input() -> None:
    layer = Conv(4, (3, 1))
    init = partial(layer.init_with_output, train=True)
    y, variables = jax.eval_shape(init, jax.random.key(0), jnp.ones((2, 5, 5, 3), jnp.bfloat16))
    assert jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype.name), variables["params"]) == {
        "kernel": ((3, 1, 3, 4), "float32"),
        "bias": ((4,), "float32"),
    }
    assert (y.shape, y.dtype) == ((2, 5, 5, 4), jnp.bfloat16)


def test_the_bias_can_be_left_out() -> None:
    init = partial(Conv(4, 3, use_bias=False).init, train=True)
    variables = jax.eval_shape(init, jax.random.key(0), jnp.ones((1, 5, 5, 3)))
    assert set(variables["params"]) == {"kernel"}


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((2, 9), r"takes images \(B, H, W, C\), got \(2, 9\)"),
        ((2, 4, 9, 1), "of 5 x 5 does not fit into images of 4 x 9"),
    ],
)
def test_what_does_not_fit_is_refused(shape: tuple[int, ...], message: str) -> None:
    with pytest.raises(UserError, match=message):
        Conv(4, 5, padding="VALID").init(jax.random.key(0), jnp.ones(shape), train=True)
