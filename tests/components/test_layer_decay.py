"""The depths of the layers of networks, from which their learning rates follow."""

import jax.numpy as jnp
import pytest

from components.update import LayerDecay


def find_depths(*modules: str) -> list[int]:
    """The depths of modules with a kernel and a bias; after a `-`, with a scale only, as normalizations."""
    leaves = {False: ("bias", "kernel"), True: ("bias", "scale")}
    names = [(module.removeprefix("-"), leaves[module.startswith("-")]) for module in modules]
    depths = LayerDecay().depths([f"{module}/{leaf}" for module, own in names for leaf in own])
    for module, own in names:
        assert len({depths[f"{module}/{leaf}"] for leaf in own}) == 1
    return [depths[f"{module}/bias"] for module, _ in names]


def in_network(*modules: str) -> list[str]:
    return [f"{'-' * module.startswith('-')}architecture/{module.removeprefix('-')}" for module in modules]


@pytest.mark.parametrize(
    ("modules", "depths"),
    [
        (["dense_0", "dense_1", "head"], [2, 1, 0]),
        (["dense_0", "-batch_norm_0", "dense_1", "-batch_norm_1", "head"], [2, 2, 1, 1, 0]),
        (["stem", "stage_9/conv", "stage_10/conv_0", "stage_10/conv_1", "-norm", "head"], [3, 2, 1, 1, 1, 0]),
        (["tower/dense_0", "tower/dense_1", "head"], [2, 1, 0]),
        (["tower/dense_0", "tower/dense_1"], [1, 0]),
        (["-norm", "dense_0", "head"], [2, 1, 0]),
        (["dense_0", "head"], [1, 0]),
    ],
)
def test_a_layer_is_a_module_and_the_normalization_after_it(modules: list[str], depths: list[int]) -> None:
    assert find_depths(*in_network(*modules)) == depths


def test_the_columns_are_below_all_layers() -> None:
    assert find_depths(*in_network("dense_0", "head"), "columns/word") == [1, 0, 2]


def test_the_factor_is_a_power_and_one_at_the_head() -> None:
    assert [float(LayerDecay(rate=0.5).factor(depth)) for depth in range(3)] == [1, 0.5, 0.25]
    assert float(LayerDecay(rate=jnp.float32(0.1)).factor(2)) == pytest.approx(0.01)
