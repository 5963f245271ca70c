from __future__ import annotations

from functools import partial
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from components.layer import Conv1D
from components.types import Padded, UserError

LENGTHS = np.array([6, 1, 0, 4])
X = np.random.default_rng(0).standard_normal((4, 6, 3)).astype(np.float32)
KEY = jax.random.key(0)
NESTED = Padded(Padded(np.zeros((4, 6, 2, 3)), np.ones((4, 6, 2), bool)), np.ones((4, 6), bool))
PaddingName = Literal["SAME", "CAUSAL", "VALID"]


def pad(steps: int, filler: float = np.nan) -> Padded:
    """The sequences, padded to a number of steps. No result may depend on what the padding holds."""
    values = np.full((4, steps, 3), filler, np.float32)
    values[:, :6] = X
    mask = np.arange(steps) < LENGTHS[:, None]
    return Padded(np.where(mask[..., None], values, filler), mask)


def run(layer: Conv1D, x: Any) -> tuple[Any, dict[str, np.ndarray]]:
    y, variables = jax.jit(partial(layer.init_with_output, train=True))(KEY, x)
    return jax.tree.map(np.asarray, y), jax.tree.map(np.asarray, variables["params"])


def convolve(row: np.ndarray, kernel: np.ndarray, before: int, after: int, dilation: int) -> np.ndarray:
    """The definition, for one sequence without padding."""
    padded = np.concatenate([np.zeros((before, 3)), row, np.zeros((after, 3))])
    span = (len(kernel) - 1) * dilation
    starts = range(max(len(padded) - span, 0))
    windows = [np.einsum("kd,kdf->f", padded[start : start + span + 1 : dilation], kernel) for start in starts]
    return np.array(windows).reshape(-1, kernel.shape[-1])


CASES: list[tuple[PaddingName, int, int, tuple[int, int]]] = [
    ("SAME", 3, 1, (1, 1)),
    ("SAME", 4, 1, (1, 2)),
    ("SAME", 3, 2, (2, 2)),
    ("CAUSAL", 2, 3, (3, 0)),
    ("VALID", 2, 1, (0, 0)),
    ("VALID", 2, 2, (0, 0)),
    ("VALID", 1, 1, (0, 0)),
]


@pytest.mark.parametrize(("padding", "kernel", "dilation", "pads"), CASES)
def test_each_sequence_is_convolved_for_itself(
    padding: PaddingName, kernel: int, dilation: int, pads: tuple[int, int]
) -> None:
    y, parameters = run(Conv1D(5, kernel, padding, dilation), pad(8))
    for row, (length, values, mask) in enumerate(zip(LENGTHS, y.values, y.mask, strict=True)):
        expected = convolve(X[row, :length], parameters["kernel"], *pads, dilation)
        if padding != "VALID":
            expected = expected[:length]
        assert mask.tolist() == [step < len(expected) for step in range(len(mask))]
        np.testing.assert_allclose(values[mask], expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("padding", "kernel", "dilation", "pads"), CASES)
def test_sequences_of_equal_length_are_arrays(
    padding: PaddingName, kernel: int, dilation: int, pads: tuple[int, int]
) -> None:
    y, parameters = run(Conv1D(5, kernel, padding, dilation), X)
    expected = [convolve(row, parameters["kernel"], *pads, dilation) for row in X]
    np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-6)


def test_bias_and_activation() -> None:
    layer = Conv1D(2, 3, activation="relu")
    parameters = {"kernel": -jnp.ones((3, 3, 2)), "bias": jnp.array([100.0, -100.0])}
    y = layer.apply({"params": parameters}, X, train=False)
    sums = np.pad(X.sum(2), ((0, 0), (1, 1)))
    np.testing.assert_allclose(y[..., 0], 100 - sums[:, :-2] - sums[:, 1:-1] - sums[:, 2:], rtol=1e-5)
    assert not y[..., 1].any()
    assert "bias" not in run(Conv1D(2, 3, use_bias=False), X)[1]


@pytest.mark.parametrize("padding", ["SAME", "CAUSAL", "VALID"])
def test_results_and_gradients_do_not_depend_on_the_padding_of_the_batch(padding: PaddingName) -> None:
    layer = Conv1D(5, 3, padding, activation="relu")
    variables = jax.jit(partial(layer.init, train=True))(KEY, X)

    def measure(variables: Any, x: Padded) -> jax.Array:
        y = layer.apply(variables, x, train=True)
        return jnp.where(y.mask[..., None], jnp.square(y.values), 0).sum()

    short, long = (jax.jit(jax.value_and_grad(measure))(variables, pad(steps)) for steps in (6, 24))
    jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-6), short, long)
    assert float(short[0]) > 0


def test_no_step_of_a_causal_convolution_depends_on_later_ones() -> None:
    layer = Conv1D(2, 3, "CAUSAL", dilation=2)
    parameters = run(layer, X)[1]
    changed = X + np.where(np.arange(6) >= 3, 1, 0)[:, None]
    before, after = (layer.apply({"params": parameters}, x, train=False) for x in (X, changed))
    np.testing.assert_array_equal(before[:, :3], after[:, :3])
    assert (before[:, 3:] != after[:, 3:]).all()


def test_a_window_with_a_missing_step_is_no_valid_one() -> None:
    mask = np.array([[True, True, False, True, True, True]])
    for dilation, expected in ((1, [True, False, False, True, True]), (2, [False, True, False, True])):
        network = partial(Conv1D(2, 2, "VALID", dilation).init_with_output, train=True)
        y, _ = jax.jit(network)(KEY, Padded(X[:1], mask))
        assert y.mask.tolist() == [expected]


def test_a_valid_convolution_of_short_sequences_has_no_steps() -> None:
    y, parameters = run(Conv1D(2, 9, "VALID"), pad(8))
    assert (y.values.shape, y.mask.shape, parameters["kernel"].shape) == ((4, 0, 2), (4, 0), (9, 3, 2))


def test_the_type_of_numbers_stays() -> None:
    x = jax.eval_shape(lambda: jnp.zeros((2, 5, 3), jnp.bfloat16))
    y, variables = jax.eval_shape(partial(Conv1D(4, 3, "VALID").init_with_output, train=True), KEY, x)
    assert (y.shape, y.dtype) == ((2, 3, 4), jnp.bfloat16)
    assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {jnp.dtype("float32")}


@pytest.mark.parametrize(
    ("layer", "x", "message"),
    [
        (Conv1D(2, 3), np.zeros((4, 3)), r"needs them as \(B, T, D\), got \(4, 3\)"),
        (Conv1D(2, 3), np.zeros((4, 8, 8, 3)), r"needs them as \(B, T, D\), got \(4, 8, 8, 3\)"),
        (Conv1D(2, 3), NESTED, r"needs them as \(B, T, D\), got \(4, 6, 2, 3\)"),
        (Conv1D(2, 3), Padded(np.zeros((4, 6)), np.ones((4, 6), bool)), r"got \(4, 6\)"),
        (Conv1D(2, 4, "VALID", 2), np.zeros((4, 6, 3)), "a window of 7 steps does not fit into sequences of 6"),
    ],
)
def test_other_inputs_are_errors(layer: Conv1D, x: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        jax.eval_shape(partial(layer.init, train=True), KEY, x)
