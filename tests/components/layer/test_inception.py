from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from components.architecture import Sequential
from components.layer import Conv, GlobalAveragePool, Inception, MaxPool
from components.types import UserError

X = np.random.default_rng(0).standard_normal((2, 5, 4, 3), np.float32)
NUMBERS = (4, 2, 6, 1, 3, 5)


def shapes(module: Any, x: np.ndarray = X) -> Any:
    return jax.tree.map(jnp.shape, jax.eval_shape(partial(module.init, train=True), jax.random.key(0), x)["params"])


def test_four_branches_are_concatenated_in_the_order_of_the_table() -> None:
    layer, random = Inception(*NUMBERS), np.random.default_rng(0)
    parameters = jax.tree.map(
        lambda shape: random.standard_normal(shape, np.float32), shapes(layer), is_leaf=lambda x: isinstance(x, tuple)
    )

    def conv(x: jax.Array, name: str) -> jax.Array:
        height, width, _, features = parameters[name]["kernel"].shape
        module = Conv(features, (height, width), activation="relu")
        return module.apply({"params": parameters[name]}, x, train=True)

    @jax.jit
    def apply_both(x: jax.Array) -> tuple[jax.Array, list[jax.Array]]:
        return layer.apply({"params": parameters}, x, train=True), [
            conv(x, "branch_0_conv_0"),
            conv(conv(x, "branch_1_conv_0"), "branch_1_conv_1"),
            conv(conv(x, "branch_2_conv_0"), "branch_2_conv_1"),
            conv(MaxPool(3, 1, "SAME").apply({}, x, train=True), "branch_3_conv_0"),
        ]

    y, branches = apply_both(X)
    assert [branch.shape for branch in branches] == [(2, 5, 4, number) for number in (4, 6, 3, 5)]
    np.testing.assert_allclose(y, np.concatenate(branches, -1), rtol=1e-5, atol=1e-6)


def test_biases_have_their_initial_value() -> None:
    layer = Inception(*NUMBERS, initial_bias=0.2)
    init = jax.jit(lambda: layer.init(jax.random.key(0), X, train=True)["params"]["branch_2_conv_1"]["bias"])
    np.testing.assert_array_equal(init(), np.full(3, 0.2, np.float32))


def test_kernels_have_the_shapes_of_the_table() -> None:
    kernels = {name: layer["kernel"] for name, layer in shapes(Inception(*NUMBERS)).items()}
    assert kernels == {
        "branch_0_conv_0": (1, 1, 3, 4),
        "branch_1_conv_0": (1, 1, 3, 2),
        "branch_1_conv_1": (3, 3, 2, 6),
        "branch_2_conv_0": (1, 1, 3, 1),
        "branch_2_conv_1": (5, 5, 1, 3),
        "branch_3_conv_0": (1, 1, 3, 5),
    }
    assert shapes(Inception(*NUMBERS, five_kernel=3))["branch_2_conv_1"]["kernel"] == (3, 3, 1, 3)


def test_normalization_replaces_biases_and_excitation_scales_the_output() -> None:
    parameters = shapes(Inception(*NUMBERS, batch_norm=True, reduction=6))
    assert parameters["branch_0_conv_0"] == {"conv": {"kernel": (1, 1, 3, 4)}, "norm": {"bias": (4,), "scale": (4,)}}
    assert parameters["excitation"]["squeeze"]["kernel"] == (4 + 6 + 3 + 5, 3)


def test_inception_may_be_in_a_list_of_layers() -> None:
    assert shapes(Sequential(2, (Inception(*NUMBERS), GlobalAveragePool())))["head"]["kernel"] == (18, 2)
    with pytest.raises(UserError, match=r"layer 1 \(Inception\) can't take an input of shape \(2, 3\)"):
        shapes(Sequential(2, (GlobalAveragePool(), Inception(*NUMBERS))))
