import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import hypothesis
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import strategies as st

from components.layer.lowering.convolve import _count_blocks, convolve
from components.layer.shape import Padding

GOLDEN = json.loads((Path(__file__).parents[3] / "golden" / "layers.json").read_text())["conv"]
FIGURE = GOLDEN["figure 14-7: width 13, filter 6, stride 5"]
SMALL = st.integers(1, 3)
SIDE = st.integers(0, 3)


@pytest.mark.parametrize("padding", ["SAME", "VALID"])
def test_strides_and_padding_are_as_in_the_books_figure(padding: Padding) -> None:
    y = convolve(jnp.array(FIGURE["x"]), jnp.array(FIGURE["w"]), (1, 5), padding)
    np.testing.assert_allclose(y, FIGURE[padding], rtol=1e-6)


@pytest.mark.parametrize("padding", ["SAME", "VALID"])
@pytest.mark.parametrize("stride", [(1, 1), (2, 3)])
def test_a_1_x_1_kernel_equals_a_convolution(stride: tuple[int, int], padding: Padding) -> None:
    x = jax.random.normal(jax.random.key(0), (2, 5, 7, 3))
    kernel = jax.random.normal(jax.random.key(1), (1, 1, 3, 4))
    numbers = ("NHWC", "HWIO", "NHWC")
    expected = jax.lax.conv_general_dilated(x, kernel, stride, padding, dimension_numbers=numbers)
    np.testing.assert_allclose(convolve(x, kernel, stride, padding), expected, rtol=1e-5, atol=1e-6)


@st.composite
def convolutions(draw: Callable[..., Any]) -> dict[str, Any]:
    """Returns shapes and options of a convolution, with images at least as large as the kernel."""
    channels, features, groups = draw(
        st.sampled_from([(6, 6, 6), (6, 12, 6), (4, 8, 2), (40, 80, 20), (66, 33, 3), (3, 4, 1), (1, 5, 1)])
    )
    window, dilation = draw(st.tuples(st.integers(1, 4), SMALL)), draw(st.tuples(SMALL, SMALL))
    padding = draw(st.sampled_from(["SAME", "VALID"]) | SIDE | st.tuples(st.tuples(SIDE, SIDE), st.tuples(SIDE, SIDE)))
    smallest = [(k - 1) * d + 1 for k, d in zip(window, dilation, strict=True)]
    image = tuple(k + draw(st.integers(0, 4)) for k in smallest)
    return {
        "x": (draw(st.integers(1, 2)), *image, channels),
        "kernel": (*window, channels // groups, features),
        "stride": draw(st.tuples(SMALL, SMALL)),
        "padding": padding,
        "dilation": dilation,
        "groups": groups,
    }


@pytest.mark.slow
@hypothesis.given(case=convolutions(), dtype=st.sampled_from(["float32", "bfloat16"]))
@hypothesis.settings(max_examples=6)
def test_every_lowering_equals_xla(case: dict[str, Any], dtype: str) -> None:
    """Compares values and both gradients. bfloat16 is compared with float32, within its rounding error."""
    x, kernel = (jax.random.normal(jax.random.key(n), case[name]) for n, name in enumerate(("x", "kernel")))
    x, kernel = x.astype(dtype), kernel.astype(dtype)
    options = {name: case[name] for name in ("stride", "padding", "dilation", "groups")}
    pads = ((options["padding"],) * 2,) * 2 if isinstance(options["padding"], int) else options["padding"]

    def expected(x: jax.Array, kernel: jax.Array) -> jax.Array:
        return jax.lax.conv_general_dilated(
            x,
            kernel,
            options["stride"],
            pads,
            rhs_dilation=options["dilation"],
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
            feature_group_count=options["groups"],
        )

    @jax.jit
    def compute_both(x: jax.Array, kernel: jax.Array) -> tuple[Any, Any]:
        y, backward = jax.vjp(partial(convolve, **options), x, kernel)
        upstream = jnp.cos(jnp.arange(1.0, 1.0 + y.size)).reshape(y.shape)
        upstream = upstream.astype(y.dtype)
        exact_y, exact_backward = jax.vjp(expected, *(array.astype(jnp.float32) for array in (x, kernel)))
        return (y, *backward(upstream)), (exact_y, *exact_backward(upstream.astype(jnp.float32)))

    computed, exact = compute_both(x, kernel)
    for array, exact_array, argument in zip(computed, exact, (x, x, kernel), strict=True):
        assert array.dtype == argument.dtype
        scale = max(1.0, float(jnp.abs(exact_array).max()))
        atol = scale * (1e-5 if dtype == "float32" else 2e-2)
        np.testing.assert_allclose(np.asarray(array, np.float32), exact_array, rtol=1e-4, atol=atol)


@pytest.mark.parametrize(
    ("groups", "channels", "expected"),
    [(32, 4, 4), (32, 8, 8), (32, 32, 16), (2, 48, 2), (3, 8, 1), (3, 80, 3), (20, 2, 1), (64, 2, 4)],
)
def test_the_number_of_blocks(groups: int, channels: int, expected: int) -> None:
    assert _count_blocks(groups, channels) == expected


@pytest.mark.parametrize(("groups", "side", "stride"), [(6, 3, 1), (2, 3, 1), (1, 3, 1), (1, 1, 2)])
def test_other_devices_use_the_convolution_of_xla(
    groups: int, side: int, stride: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also for 1 x 1 kernels with strides: XLA's compiler for GPUs aborts at slices with strides in matrix products."""
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    traced = jax.make_jaxpr(partial(convolve, stride=(stride, stride), padding="SAME", groups=groups))(
        jnp.ones((1, 4, 4, 6)), jnp.ones((side, side, 6 // groups, 6))
    )
    (equation,) = traced.jaxpr.eqns
    assert equation.primitive.name == "conv_general_dilated"
    assert equation.params["feature_group_count"] == groups
    assert equation.params["window_strides"] == (stride, stride)


def test_a_depthwise_convolution_has_second_derivatives() -> None:
    """A penalty on the gradient of the image, differentiated by the kernel."""
    x, kernel = jax.random.normal(jax.random.key(0), (1, 5, 5, 2)), jnp.full((3, 3, 1, 2), 0.5)

    def penalty(convolution: Callable[..., jax.Array], kernel: jax.Array) -> jax.Array:
        return jnp.square(jax.grad(lambda x: jnp.square(convolution(x, kernel)).sum())(x)).sum()

    ours = partial(convolve, stride=(2, 1), padding="SAME", groups=2)
    numbers = ("NHWC", "HWIO", "NHWC")
    xla = partial(
        jax.lax.conv_general_dilated,
        window_strides=(2, 1),
        padding="SAME",
        dimension_numbers=numbers,
        feature_group_count=2,
    )
    found, expected = (jax.jit(jax.grad(partial(penalty, convolution)))(kernel) for convolution in (ours, xla))
    np.testing.assert_allclose(found, expected, rtol=1e-4)
