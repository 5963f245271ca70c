import json
from collections.abc import Callable
from pathlib import Path
from typing import get_args

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from components.layer import Constant, Conv, InitializerName, Normal, Orthogonal, TruncatedNormal, get_initializer
from components.layer.initializer import INITIALIZERS, get_grouped_initializer
from components.types import UserError

GOLDEN = json.loads((Path(__file__).parents[2] / "golden" / "layers.json").read_text())["initializers"]
STATISTICS = next(iter(GOLDEN.values()))
NOT_IN_KERAS = ("he_normal_fan_out", "orthogonal")
SHAPES = {"dense": (200, 300), "conv": (3, 3, 64, 128)}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", [name for name in get_args(InitializerName) if name not in NOT_IN_KERAS])
def test_every_initializer_has_the_distribution_of_keras(name: InitializerName, shape: str) -> None:
    std, largest = STATISTICS[name.title().replace("_", "")][shape]
    kernel = np.asarray(get_initializer(name)(jax.random.key(0), SHAPES[shape], jnp.float32))
    assert kernel.std() == pytest.approx(std, rel=0.01)
    assert np.abs(kernel).max() == pytest.approx(largest, rel=0.02)
    assert abs(kernel.mean()) < 0.01 * std + 3 * std / kernel.size**0.5


@pytest.mark.parametrize("shape", SHAPES)
def test_fan_out_is_fan_in_of_the_transposed_kernel(shape: str) -> None:
    kernel = np.asarray(get_initializer("he_normal_fan_out")(jax.random.key(0), SHAPES[shape], jnp.float32))
    *window, _, out = SHAPES[shape]
    assert kernel.std() == pytest.approx((2 / np.prod([*window, out])) ** 0.5, rel=0.01)


def test_the_type_of_names_lists_the_table() -> None:
    assert get_args(InitializerName) == tuple(INITIALIZERS)


def test_an_unknown_name_raises_with_the_nearest_name() -> None:
    with pytest.raises(UserError, match=r"Did you mean he_normal\?"):
        get_initializer("he_norma")  # type: ignore[arg-type]


@pytest.mark.parametrize("part", [Normal, TruncatedNormal])
def test_initializers_with_a_standard_deviation(part: type[Normal], check_traced: Callable[..., None]) -> None:
    kernel = np.asarray(get_initializer(part(0.02))(jax.random.key(0), (300, 200), jnp.float32))
    truncated = part is TruncatedNormal
    assert kernel.std() == pytest.approx(0.02 * (0.8796 if truncated else 1.0), rel=0.01)
    assert (np.abs(kernel).max() <= 0.04) == truncated
    assert abs(kernel.mean()) < 3 * 0.02 / kernel.size**0.5

    def draw(stddev: float) -> jax.Array:
        x = jnp.ones((1, 4, 4, 2))
        return Conv(3, 2, initializer=part(stddev)).init(jax.random.key(0), x, train=True)["params"]["kernel"]

    check_traced(draw, {"stddev": 0.01}, {"stddev": 0.0}, {"stddev": 1.0})


@pytest.mark.parametrize("shape", [(200, 30), (30, 200), (3, 3, 4, 8)])
def test_orthogonal_kernels_keep_lengths(shape: tuple[int, ...], check_traced: Callable[..., None]) -> None:
    kernel = np.asarray(get_initializer("orthogonal")(jax.random.key(0), shape, jnp.float32)).reshape(-1, shape[-1])
    product = kernel.T @ kernel if len(kernel) >= shape[-1] else kernel @ kernel.T
    np.testing.assert_allclose(product, np.eye(len(product)), atol=1e-5)
    scaled = Orthogonal(2.0)(jax.random.key(0), shape)
    np.testing.assert_allclose(scaled.reshape(kernel.shape), 2 * kernel, rtol=1e-6)
    if shape[0] == 3:
        draw = lambda scale: Orthogonal(scale)(jax.random.key(0), shape)  # noqa: E731
        check_traced(draw, {"scale": 1.0}, {"scale": 0.0})


def test_a_constant_kernel_has_one_number(check_traced: Callable[..., None]) -> None:
    def draw(value: float) -> jax.Array:
        return get_initializer(Constant(value))(jax.random.key(0), (2, 3), jnp.float32)

    np.testing.assert_array_equal(draw(-0.5), np.full((2, 3), -0.5))
    check_traced(draw, {"value": 0.0}, {"value": 2.0})


@pytest.mark.parametrize("name", get_args(InitializerName))
def test_each_group_is_drawn_as_a_separate_kernel(name: InitializerName) -> None:
    """Each of four groups has the distribution of a kernel of 16 channels and 48 features, and the groups differ."""
    kernel = np.asarray(get_grouped_initializer(name, 4)(jax.random.key(0), (3, 3, 16, 192), jnp.float32))
    single = np.asarray(get_initializer(name)(jax.random.key(1), (3, 3, 16, 48), jnp.float32))
    groups = np.split(kernel, 4, axis=-1)
    assert all(group.std() == pytest.approx(single.std(), rel=0.03) for group in groups)
    assert len({float(group.sum()) for group in groups}) == 4


def test_one_group_is_drawn_as_without_groups() -> None:
    kernel, expected = (
        draw(jax.random.key(0), (3, 3, 2, 4), jnp.float32)
        for draw in (get_grouped_initializer("he_normal", 1), INITIALIZERS["he_normal"])
    )
    np.testing.assert_array_equal(kernel, expected)
