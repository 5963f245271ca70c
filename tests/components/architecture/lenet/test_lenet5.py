from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from networks import facts, size, variables

from components.architecture.lenet import LeNet5, LeNet5_1998
from components.types import Output, UserError

CENTRE = {(8, 8): (slice(12, 20), slice(12, 20)), (31, 33): (slice(0, 31), slice(0, 33))}


def trace_output(module: LeNet5_1998, *image: int) -> Output:
    """Returns the output for two images (height, width, channels), as shapes."""
    apply = partial(module.apply, train=True)
    return jax.eval_shape(apply, variables(module, *image), jnp.zeros((2, *image), module.dtype))


@pytest.fixture(scope="module")
def initial_variables() -> Any:
    """The variables of LeNet5_1998 before training."""
    init = jax.jit(partial(LeNet5_1998(10).init, train=True))
    return init(jax.random.key(0, impl="rbg"), jnp.zeros((1, 32, 32, 1)))  # rbg compiles faster


@pytest.mark.parametrize("side", [28, 32])
def test_parameters_and_shapes_of_maps_equal_the_paper(side: int) -> None:
    found = facts(LeNet5_1998(10), side, side, 1)
    each = {name: size(layer) for name, layer in found.variables["params"].items()}
    assert each == {"c1": 156, "s2": 12, "c3": 1516, "s4": 32, "c5": 48_120, "f6": 10_164}  # section II-B
    assert found.parameters == 60_000
    assert found.stages == {
        "c1": (28, 28, 6),
        "s2": (14, 14, 6),
        "c3": (10, 10, 16),
        "s4": (5, 5, 16),
        "c5": (120,),
        "f6": (84,),
    }


def test_outputs_equal_the_formulas_of_the_paper(initial_variables: Any) -> None:
    """Compares one image with loops over maps in float64, down to the distances to the codes."""
    x = np.random.RandomState(0).uniform(-0.1, 1.175, (1, 32, 32, 1))
    output = jax.jit(partial(LeNet5_1998(10).apply, train=False))(initial_variables, jnp.asarray(x, jnp.float32))
    p = jax.tree.map(np.float64, initial_variables["params"])
    windows = partial(np.lib.stride_tricks.sliding_window_view, window_shape=(5, 5))

    def scaled_tanh(a: np.ndarray) -> np.ndarray:
        return 1.7159 * np.tanh(2 / 3 * a)

    def sums(maps: list[np.ndarray], layer: dict[str, np.ndarray]) -> list[np.ndarray]:
        total = [m[::2, ::2] + m[1::2, ::2] + m[::2, 1::2] + m[1::2, 1::2] for m in maps]
        return [scaled_tanh(s * layer["scale"][n] + layer["bias"][n]) for n, s in enumerate(total)]

    def conv(maps: list[np.ndarray], kernels: np.ndarray, bias: float) -> np.ndarray:
        return scaled_tanh(
            sum(np.einsum("hwij,ij->hw", windows(m), kernels[..., n]) for n, m in enumerate(maps)) + bias
        )

    c1 = [conv([x[0, :, :, 0]], p["c1"]["kernel"][..., n], p["c1"]["bias"][n]) for n in range(6)]
    s2 = sums(c1, p["s2"])
    # Table I, a row for each map of S2; maps of C3 from left to right.
    table = ["X   XXX  XXXX XX", "XX   XXX  XXXX X", "XXX   XXX  X XXX", " XXX  XXXX  X XX", "  XXX  XXXX XX X"]
    table += ["   XXX  XXXX XXX"]
    c3, used = [], 0
    for n in range(16):
        inputs = [m for m, row in zip(s2, table, strict=True) if row[n] == "X"]
        c3.append(conv(inputs, p["c3"]["kernel"][..., used : used + len(inputs)], p["c3"]["bias"][n]))
        used += len(inputs)
    s4 = np.stack(sums(c3, p["s4"]), axis=-1)
    c5 = scaled_tanh(s4.ravel() @ p["c5"]["kernel"] + p["c5"]["bias"])
    f6 = scaled_tanh(c5 @ p["f6"]["kernel"] + p["f6"]["bias"])
    np.testing.assert_allclose(output.features["f6"][0], f6, rtol=1e-4, atol=1e-5)
    seven = -np.ones((12, 7))  # figure 3
    seven[0] = seven[1:3, 5:] = seven[3, 4:6] = seven[4:6, 3:5] = seven[6:10, 2:4] = 1
    np.testing.assert_allclose(output.logits[0, 7], -np.square(f6 - seven.ravel()).sum(), rtol=1e-5)
    assert len(np.unique(output.logits)) == 10


def test_codes_head_channels_and_classes() -> None:
    assert trace_output(LeNet5_1998(10), 8, 40, 3).logits.shape == (2, 10)
    with pytest.raises(UserError, match=r"needs ten classes for the codes of digits, got 3\. Set codes to random"):
        trace_output(LeNet5_1998(3), 32, 32, 1)
    assert trace_output(LeNet5_1998(3, codes="random"), 32, 32, 1).logits.shape == (2, 3)
    assert trace_output(LeNet5_1998(3, head=False), 32, 32, 1).logits is None


def test_bfloat16_features_and_float32_logits() -> None:
    module = LeNet5_1998(10, dtype=jnp.bfloat16)
    output = trace_output(module, 32, 32, 1)
    assert output.logits.dtype == jnp.float32
    assert {feature.dtype for feature in output.features.values()} == {jnp.dtype(jnp.bfloat16)}
    assert {leaf.dtype for leaf in jax.tree.leaves(variables(module, 32, 32, 1))} == {jnp.dtype(jnp.float32)}


def test_initial_weights_are_within_their_bounds(initial_variables: Any) -> None:
    params = jax.tree.map(np.abs, initial_variables["params"])
    connections = {"c1": 25, "s2": 4, "s4": 4, "c5": 400, "f6": 120}
    for name, count in connections.items():
        largest = params[name]["scale" if name.startswith("s") else "kernel"].max()
        assert 0.5 * 2.4 / count < largest <= 2.4 / count
    three, six = params["c3"]["kernel"][..., :3], params["c3"]["kernel"][..., -6:]
    assert 2.4 / 150 < three.max() <= 2.4 / 75
    assert 0.9 * 2.4 / 150 < six.max() <= 2.4 / 150


@pytest.mark.parametrize("size", CENTRE)
def test_small_images_are_padded_on_all_sides(size: tuple[int, int]) -> None:
    module, image = LeNet5(3), jax.random.normal(jax.random.key(0), (2, *size, 1))
    padded = np.zeros((2, 32, max(size[1], 32), 1), np.float32)
    padded[:, *CENTRE[size]] = image

    @jax.jit
    def first_maps(*images: jax.Array) -> list[jax.Array]:
        variables = module.init(jax.random.key(1), images[0], train=True)
        return [module.apply(variables, x, train=False).features["c1"] for x in images]

    np.testing.assert_allclose(*first_maps(image, padded), rtol=1e-5, atol=1e-6)


def test_maps_of_lenet5_have_the_shapes_of_the_paper() -> None:
    def features(x: jax.Array) -> dict[str, jax.Array]:
        return LeNet5(10).init_with_output(jax.random.key(0), x, train=True)[0].features

    shapes = jax.eval_shape(features, jnp.zeros((1, 28, 28, 1)))
    assert {stage: feature.shape[1:] for stage, feature in shapes.items()} == {
        "c1": (28, 28, 6),
        "s2": (14, 14, 6),
        "c3": (10, 10, 16),
        "s4": (5, 5, 16),
        "c5": (120,),
        "f6": (84,),
    }
