import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from components.layer import AveragePool, DepthwiseMaxPool, GlobalAveragePool, GlobalMaxPool, MaxPool
from components.layer.shape import Padding
from components.types import Padded, UserError

GOLDEN = json.loads((Path(__file__).parents[2] / "golden" / "layers.json").read_text())
DEPTHWISE = GOLDEN["depthwise_max"]
POOL = GOLDEN["pool"]
TIES = next(value for name, value in POOL.items() if name.startswith("gradient at ties"))
LAYERS = {"max": MaxPool, "avg": AveragePool}


def images(*shape: int) -> jax.Array:
    """Returns images with many equal numbers."""
    return jnp.round(2 * jax.random.normal(jax.random.key(0), shape))


@pytest.mark.parametrize("case", POOL["y"])
def test_pooling_equals_tensorflow(case: str) -> None:
    kind, padding, _, window, _, stride = case.split()
    layer = LAYERS[kind](int(window), int(stride), padding)
    y = jax.jit(partial(layer.apply, {}, train=True))(jnp.array(POOL["x"]))
    np.testing.assert_allclose(y, POOL["y"][case], rtol=1e-5, atol=1e-6)


def test_the_first_of_equal_maxima_gets_the_gradient() -> None:
    upstream = jnp.array([[[[1.0], [2.0]], [[3.0], [4.0]]]])
    _, backward = jax.vjp(lambda x: MaxPool(2).apply({}, x, train=True), jnp.array(TIES["x"]))
    np.testing.assert_array_equal(backward(upstream)[0], TIES["grad"])


CASES = [
    (layer, window, stride, padding)
    for layer in (MaxPool, AveragePool)
    for window, stride in (((2, 3), (1, 3)), ((3, 3), (2, 2)), ((4, 4), (3, 3)))
    for padding in ("SAME", "VALID")
]


@pytest.mark.parametrize(("layer", "window", "stride", "padding"), CASES)
def test_small_and_large_windows_agree_with_xla(
    layer: type[MaxPool], window: tuple[int, int], stride: tuple[int, int], padding: Padding
) -> None:
    """Compares values and gradients, also at ties, where XLA gives the whole gradient to the first maximum."""

    def reduced(x: jax.Array, primitive: Any, neutral: float) -> jax.Array:
        return jax.lax.reduce_window(x, neutral, primitive, (1, *window, 1), (1, *stride, 1), padding)

    def pooled(x: jax.Array) -> jax.Array:
        return layer(window, stride, padding).apply({}, x, train=True)

    def expected(x: jax.Array) -> jax.Array:
        if layer is MaxPool:
            return reduced(x, jax.lax.max, -jnp.inf)
        return reduced(x, jax.lax.add, 0.0) / reduced(jnp.ones_like(x), jax.lax.add, 0.0)

    @jax.jit
    def compute_both(x: jax.Array) -> list[jax.Array]:
        pairs = [jax.vjp(f, x) for f in (pooled, expected)]
        upstream = jnp.arange(1.0, 1.0 + pairs[0][0].size).reshape(pairs[0][0].shape)
        return [array for value, backward in pairs for array in (value, *backward(upstream))]

    value, gradient, expected_value, expected_gradient = compute_both(images(2, 7, 8, 3))
    np.testing.assert_allclose(value, expected_value, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(gradient, expected_gradient, rtol=1e-5)


@pytest.mark.parametrize("position", range(4))
def test_a_window_with_nan_gives_nan(position: int) -> None:
    x = jnp.arange(4.0).at[position].set(jnp.nan).reshape(1, 2, 2, 1)
    assert jnp.isnan(MaxPool(2).apply({}, x, train=False)).all()


def test_global_average_pooling_equals_tensorflow() -> None:
    case = GOLDEN["global_average"]
    y = GlobalAveragePool().apply({}, jnp.array(case["x"]), train=False)
    np.testing.assert_allclose(y, case["y"], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("layer", [MaxPool(2), AveragePool(2), GlobalAveragePool()])
def test_vectors_raise(layer: MaxPool) -> None:
    with pytest.raises(UserError, match=r"needs images \(B, H, W, C\).*, got \(3, 4\)"):
        layer.apply({}, jnp.ones((3, 4)), train=False)


@pytest.mark.parametrize("layer", [MaxPool(2), AveragePool(2)])
def test_a_window_larger_than_the_padded_image_raises(layer: MaxPool) -> None:
    x = images(1, 1, 5, 1)
    with pytest.raises(UserError, match="of 2 x 2 does not fit into images of 1 x 5"):
        layer.apply({}, x, train=False)
    assert layer.clone(padding="SAME").apply({}, x, train=False).shape == (1, 1, 3, 1)


def test_bfloat16_inputs_give_bfloat16_outputs() -> None:
    x = images(1, 4, 4, 2).astype(jnp.bfloat16)
    for layer in (MaxPool(2), AveragePool(2), MaxPool(4), AveragePool(4), GlobalAveragePool()):
        assert jax.eval_shape(partial(layer.apply, {}, train=False), x).dtype == jnp.bfloat16


@pytest.mark.parametrize("layer", [AveragePool(3), AveragePool(40), AveragePool(40, count_include_pad=True, padding=1)])
def test_the_mean_of_bfloat16_pixels_is_that_of_float32(layer: AveragePool) -> None:
    """A sum in bfloat16 would stop at 256 times the pixels."""
    x = jax.random.uniform(jax.random.key(0), (1, 42, 42, 2), jnp.bfloat16)
    np.testing.assert_array_equal(
        layer.apply({}, x, train=False), layer.apply({}, x.astype(jnp.float32), train=False).astype(jnp.bfloat16)
    )


def test_the_global_mean_of_bfloat16_pixels_is_that_of_float32() -> None:
    x = jax.random.uniform(jax.random.key(0), (1, 100, 100, 2), jnp.bfloat16)
    expected = np.asarray(x, np.float64).mean((1, 2))
    np.testing.assert_allclose(np.asarray(GlobalAveragePool().apply({}, x, train=False), float), expected, rtol=4e-3)


def windows(size: int, window: int, stride: int, pad: tuple[int, int], ceil_mode: bool) -> list[tuple[int, int]]:
    """Returns start and end of each window along a side of the padded image, as PyTorch documents them."""
    length, starts = size + sum(pad), range(0, size + pad[0] if ceil_mode else size + sum(pad), stride)
    inside = [start for start in starts if start + window <= length]
    if ceil_mode and inside[-1] + window < length and inside[-1] + stride < size + pad[0]:
        inside.append(inside[-1] + stride)
    return [(start, min(start + window, length)) for start in inside]


@pytest.mark.parametrize("ceil_mode", [False, True])
@pytest.mark.parametrize("size", [6, 7, 8])
@pytest.mark.parametrize(
    ("window", "stride", "padding"),
    [(3, 2, 0), (3, 2, 1), (2, 3, 1), (3, 3, ((1, 2), (0, 1))), (4, 3, 1)],
)
def test_explicit_padding_and_ceil_mode_equal_pytorch(
    window: int, stride: int, padding: Any, size: int, ceil_mode: bool
) -> None:
    x = np.asarray(images(2, size, 9, 2))
    around = ((padding, padding),) * 2 if isinstance(padding, int) else padding

    def padded(a: np.ndarray, value: float) -> np.ndarray:
        return np.pad(a, ((0, 0), *around, (0, 0)), constant_values=value)

    rows, columns = (windows(n, window, stride, pad, ceil_mode) for n, pad in zip((size, 9), around, strict=True))

    def expected(a: np.ndarray, of: Any) -> np.ndarray:
        return np.stack([np.stack([of(a[:, i:j, k:m], (1, 2)) for k, m in columns], 1) for i, j in rows], 1)

    pools = [
        MaxPool(window, stride, padding, ceil_mode),
        *(AveragePool(window, stride, padding, ceil_mode, counts_padding) for counts_padding in (False, True)),
    ]
    largest, *averages = jax.jit(lambda x: [pool.apply({}, x, train=True) for pool in pools])(x)
    np.testing.assert_array_equal(largest, expected(padded(x, -np.inf), np.max))
    for average, content in zip(averages, (0.0, 1.0), strict=True):
        counts = expected(padded(np.ones_like(x), content), np.sum)
        means = expected(padded(x, 0), np.sum) / counts
        np.testing.assert_allclose(average, means, rtol=1e-5, atol=1e-6)


def test_a_padding_as_large_as_the_window_raises() -> None:
    with pytest.raises(UserError, match=r"of 2 x 2 needs a smaller padding than \(\(2, 2\), \(2, 2\)\)"):
        MaxPool(2, padding=2).apply({}, images(1, 4, 4, 1), train=True)


def test_depthwise_pooling_equals_tensorflow() -> None:
    y = DepthwiseMaxPool(3).apply({}, jnp.array(DEPTHWISE["x"]), train=True)
    np.testing.assert_array_equal(y, DEPTHWISE["y"])


def test_depthwise_pooling_gives_the_gradient_to_the_first_maximum_and_keeps_nan() -> None:
    x = jnp.array([[3.0, 3.0, 1.0, 2.0, 5.0, 5.0]])
    gradient = jax.grad(lambda x: (DepthwiseMaxPool(3).apply({}, x, train=True) * jnp.array([[1.0, 2.0]])).sum())(x)
    np.testing.assert_array_equal(gradient, [[1, 0, 0, 0, 2, 0]])
    assert jnp.isnan(DepthwiseMaxPool(6).apply({}, x.at[0, 2].set(jnp.nan), train=True)).all()
    with pytest.raises(UserError, match="a window that divides 6 channels, got a window of 4"):
        DepthwiseMaxPool(4).apply({}, x, train=True)


STEPS = Padded(np.array(images(3, 5, 2, 1))[..., 0], np.arange(5) < np.array([5, 2, 0])[:, None])


@pytest.mark.parametrize(("layer", "reduce"), [(GlobalMaxPool(), np.max), (GlobalAveragePool(), np.mean)])
def test_global_pooling(layer: nn.Module, reduce: Callable[..., np.ndarray]) -> None:
    """Of images, of sequences of equal length, of others, and of nested ones. Padding and its NaN don't count."""

    def pool(x: Any) -> Any:
        return jax.jit(partial(layer.apply, {}, train=True))(x)

    x = images(2, 3, 4, 2)
    np.testing.assert_allclose(pool(x), reduce(np.asarray(x), (1, 2)), rtol=1e-6)
    np.testing.assert_allclose(pool(x[:, 0]), reduce(np.asarray(x[:, 0]), 1), rtol=1e-6)
    values = np.where(STEPS.mask[..., None], STEPS.values - 9, np.nan)
    expected = [reduce(values[0], 0), reduce(values[1, :2], 0), np.zeros(2)]
    np.testing.assert_allclose(pool(STEPS._replace(values=values)), expected, rtol=1e-6)
    nested = pool(Padded(Padded(values[None], STEPS.mask[None]), np.ones((1, 3), bool)))
    assert isinstance(nested, Padded)
    np.testing.assert_allclose(nested.values[0], expected, rtol=1e-6)


def test_the_maximum_of_steps_has_a_gradient_for_the_steps_without_padding() -> None:
    gradient = jax.grad(lambda values: GlobalMaxPool().apply({}, STEPS._replace(values=values), train=True).sum())(
        jnp.asarray(STEPS.values)
    )
    values = np.where(STEPS.mask[..., None], STEPS.values, -np.inf)
    is_largest = (values == values.max(1, keepdims=True)) & STEPS.mask[..., None]
    np.testing.assert_allclose(gradient, is_largest / np.maximum(is_largest.sum(1, keepdims=True), 1))
    empty = Padded(jnp.zeros((2, 0, 3)), jnp.zeros((2, 0), bool))
    assert GlobalMaxPool().apply({}, empty, train=True).tolist() == [[0, 0, 0]] * 2


@pytest.mark.parametrize("layer", [GlobalMaxPool(), GlobalAveragePool()])
def test_global_pooling_of_vectors_is_an_error(layer: nn.Module) -> None:
    with pytest.raises(UserError, match=r"global .*pooling needs images \(B, H, W, C\) or .*got \(2, 3\)"):
        layer.apply({}, jnp.zeros((2, 3)), train=True)
