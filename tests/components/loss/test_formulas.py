"""Each loss of `conf/loss` equals its formula in float64, with its derivative, and is finite for extreme logits.

A new option needs a formula: in `FORMULAS` if it takes (logits, target).
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from options import built, options
from parameter_effects import list_values

from runner.signature.parameters import read_signature
from runner.signature.type_hints import takes_scalar

OF_BATCHES = {
    "contrastive",
    "distillation",
    "nt_xent",
    "supervised_contrastive",
    "triplet",
    "weighted_sum",
}  # tested elsewhere
CLASSES = np.array([0, 2, 1, 2, 0, 1])
NUMBERS = np.random.default_rng(1).normal(0, 2, (6, 3))
LOGITS = np.random.default_rng(2).normal(0, 2, (6, 3))


def p(z: np.ndarray) -> np.ndarray:
    return np.exp(z) / np.exp(z).sum()


def sigmoid(z: np.ndarray) -> float:
    return float(1 / (1 + np.exp(-z[0])))


def crammer_singer(z: np.ndarray, y: int, margin: float = 1.0) -> float:
    return max(0.0, *(margin + z[other] - z[y] for other in range(len(z)) if other != y))


def ordinal(z: np.ndarray, y: int) -> float:
    above = [p(z)[k + 1 :].sum() for k in range(len(z) - 1)]
    return float(-sum(np.log(share if y > k else 1 - share) for k, share in enumerate(above)))


def pinball(z: np.ndarray, y: np.ndarray, quantile: float = 0.5) -> float:
    return float(
        np.mean([quantile * (b - a) if b > a else (1 - quantile) * (a - b) for a, b in zip(z, y, strict=True)])
    )


def huber(z: np.ndarray, y: np.ndarray, delta: float = 1.0) -> float:
    e = np.abs(z - y)
    return float(np.where(e <= delta, e**2 / 2, delta * (e - delta / 2)).mean())


def garbage(z: np.ndarray, y: int, garbage_penalty: float = 10.0) -> float:
    """LeCun et al., 1998, equation 9."""
    return float(-z[y] + np.log(np.exp(-garbage_penalty) + np.exp(z).sum()))


def binary_focal(z: np.ndarray, y: int, gamma: float = 2.0, alpha: float | None = None) -> float:
    share, factor = (sigmoid(z), alpha) if y else (1 - sigmoid(z), None if alpha is None else 1 - alpha)
    return float((1.0 if factor is None else factor) * -((1 - share) ** gamma) * np.log(share))


FORMULAS: dict[str, Callable[..., Any]] = {  # (logits, target, …) -> the loss of an example
    "binary_cross_entropy": lambda z, y: -np.log(sigmoid(z) if y else 1 - sigmoid(z)),
    "binary_focal": binary_focal,
    "categorical_hinge": crammer_singer,
    "coral": ordinal,  # of the logits that its thresholds make
    "cosine_similarity": lambda z, y: -z @ y / np.linalg.norm(z) / np.linalg.norm(y),
    "focal": lambda z, y, gamma=2.0: -((1 - p(z)[y]) ** gamma) * np.log(p(z)[y]),
    "generalized_cross_entropy": lambda z, y, q=0.7: (1 - p(z)[y] ** q) / q,
    "hinge": lambda z, y, margin=1.0: max(0.0, margin - (2 * y - 1) * z[0]),
    "huber": huber,
    "kl_divergence": lambda z, y: -np.log(p(z)[y]),
    "lenet5_1998": garbage,
    "log_cosh": lambda z, y: np.log(np.cosh(z - y)).mean(),
    "mae": lambda z, y: np.abs(z - y).mean(),
    "mape": lambda z, y: 100 * np.abs((z - y) / y).mean(),
    "mse": lambda z, y: np.square(z - y).mean(),
    "msle": lambda z, y: np.square(np.log1p(np.maximum(z, 0)) - np.log1p(y)).mean(),
    "ordinal_cross_entropy": ordinal,
    "pinball": pinball,
    "poisson": lambda z, y: (np.exp(z) - y * z).mean(),
    "softmax_cross_entropy": lambda z, y: -np.log(p(z)[y]),
    "squared_hinge": lambda z, y, margin=1.0: max(0.0, margin - (2 * y - 1) * z[0]) ** 2,
}
MIXING = sorted(option for option in FORMULAS if "soft" in inspect.signature(built("loss", option)).parameters)
SCALARS = [  # a parameter that may be traced, and two of its values
    (option, name, [each for each in list_values(parameter.hint, None, name) if each is not None][:2])
    for option in FORMULAS
    for name, parameter in (read_signature(options("loss")[option]["_target_"]) or {}).items()
    if takes_scalar(parameter.hint)
]


def arguments(option: str) -> tuple[np.ndarray, np.ndarray]:
    """Logits and targets that the loss takes."""
    part = built("loss", option)
    if part.is_binary:
        return LOGITS[:, :1], CLASSES % 2
    if part.target_kinds == ("classes", "pixels"):
        return LOGITS, CLASSES
    return LOGITS, np.abs(NUMBERS) if option in ("msle", "poisson") else NUMBERS


def apply(part: Any, logits: Any, target: Any, soft: Any = None) -> jax.Array:
    """The losses as the program computes them, compiled at once."""
    return compile_loss(part)(*as_arrays(logits, target), *([] if soft is None else [jnp.array(soft, jnp.float32)]))


def as_arrays(logits: Any, target: Any) -> tuple[jax.Array, jax.Array]:
    is_class = np.issubdtype(np.asarray(target).dtype, np.integer)
    return jnp.array(logits, jnp.float32), jnp.array(target, jnp.int32 if is_class else jnp.float32)


@functools.cache
def compile_loss(part: Any) -> Callable[..., Any]:
    def compute(logits: jax.Array, *arguments: jax.Array) -> jax.Array:
        with jax.numpy_rank_promotion("raise"):
            losses: jax.Array = part(part.link(logits) if hasattr(part, "link") else logits, *arguments)
            return losses

    return jax.jit(compute)


@functools.cache
def compile_gradient(option: str) -> Callable[..., Any]:
    loss = compile_loss(built("loss", option))
    return jax.jit(jax.grad(lambda logits, target: loss(logits, target).sum()))


def test_every_option_has_a_formula() -> None:
    assert FORMULAS.keys() | OF_BATCHES == options("loss").keys()


@pytest.mark.parametrize("option", FORMULAS)
def test_losses_and_derivatives_equal_the_formula(option: str) -> None:
    logits, target = arguments(option)
    formula, part = FORMULAS[option], built("loss", option)
    expected = [formula(z, y) for z, y in zip(logits, target, strict=True)]
    steps = 1e-5 * np.eye(logits.shape[1])
    slopes = [
        [(formula(z + step, y) - formula(z - step, y)) / 2e-5 for step in steps]
        for z, y in zip(logits, target, strict=True)
    ]
    np.testing.assert_allclose(apply(part, logits, target), expected, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(compile_gradient(option)(*as_arrays(logits, target)), slopes, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("option", FORMULAS)
def test_extreme_logits_give_finite_losses_and_derivatives(option: str) -> None:
    columns, target = arguments(option)[0].shape[1], arguments(option)[1]
    rows = 1e4 * np.array([[1, 0, -1], [-1, -1, -1], [0, 0, 0], [1, 1, -1], [-1, 0, 1], [0, -1, 1]])
    for logits in (rows[:, :columns], -rows[:, :columns]):
        for shift in range(3):
            chosen = as_arrays(logits, np.roll(target, shift, axis=0))
            assert np.isfinite(apply(built("loss", option), *chosen)).all(), chosen
            assert np.isfinite(compile_gradient(option)(*chosen)).all(), chosen


@pytest.mark.parametrize(("option", "name", "values"), SCALARS, ids=[f"{o}.{name}" for o, name, _ in SCALARS])
def test_a_number_is_that_of_the_formula_and_may_be_traced(
    option: str, name: str, values: list[float], check_traced: Callable[..., None]
) -> None:
    logits, target = arguments(option)
    part = type(built("loss", option))

    def compute(**numbers: Any) -> jax.Array:
        return jax.jit(lambda *given: part(**numbers)(*given))(*as_arrays(logits, target))

    check_traced(compute, *({name: value} for value in values))
    for value in values if name != "label_smoothing" else ():  # compared below
        expected = [FORMULAS[option](z, y, **{name: value}) for z, y in zip(logits, target, strict=True)]
        np.testing.assert_allclose(compute(**{name: value}), expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("option", MIXING)
def test_the_loss_of_mixed_classes_is_the_mean_by_their_probabilities(option: str) -> None:
    logits = jnp.array(arguments(option)[0], jnp.float32)
    part, count = built("loss", option), 2 if built("loss", option).is_binary else 3
    soft = np.random.default_rng(3).dirichlet(np.ones(count), len(logits))
    of_class = [apply(part, logits, np.full(len(logits), each)) for each in range(count)]
    expected = (soft.T * of_class).sum(0)
    if option == "kl_divergence":
        expected += (soft * np.log(soft)).sum(1)
    found = apply(part, logits, np.zeros(len(logits), int), soft=soft)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("option", [option for option, name, _ in SCALARS if name == "label_smoothing"])
def test_smoothing_mixes_the_class_with_all_classes(option: str) -> None:
    logits, target = arguments(option)
    count = max(logits.shape[1], 2)
    soft = 0.7 * np.eye(count)[target] + 0.3 / count
    logits = jnp.array(logits, jnp.float32)
    found = apply(built("loss", option, label_smoothing=0.3), logits, target)
    expected = apply(built("loss", option), logits, target, soft=soft)
    np.testing.assert_allclose(found, expected, rtol=1e-5)


@pytest.mark.parametrize("option", sorted(FORMULAS.keys() - {"lenet5_1998"}))
def test_the_loss_of_pixels_is_that_of_each_pixel(option: str) -> None:
    logits, target = arguments(option)
    part, image = built("loss", option), jnp.array(logits, jnp.float32)[None].reshape(2, 3, 1, -1)
    single = apply(part, logits, target).reshape(2, 3, 1)
    expected = single.mean((1, 2)) if "numbers" in part.target_kinds else single
    np.testing.assert_allclose(apply(part, image, target.reshape(2, 3, 1, *target.shape[1:])), expected, rtol=1e-5)


def test_a_generalized_cross_entropy_near_zero_is_the_cross_entropy() -> None:
    logits = jnp.array(LOGITS, jnp.float32)
    found = apply(built("loss", "generalized_cross_entropy", q=1e-4), logits, CLASSES)
    np.testing.assert_allclose(found, apply(built("loss", "softmax_cross_entropy"), logits, CLASSES), rtol=1e-3)


@pytest.mark.parametrize("option", ["focal", "binary_focal"])
def test_a_focal_loss_with_gamma_zero_is_the_cross_entropy(option: str) -> None:
    logits, target = arguments(option)
    other = "softmax_cross_entropy" if option == "focal" else "binary_cross_entropy"
    found, expected = (apply(part, logits, target) for part in (built("loss", option, gamma=0.0), built("loss", other)))
    np.testing.assert_allclose(found, expected, rtol=1e-5)


@pytest.mark.parametrize("option", ["msle", "poisson"])
def test_the_loss_of_a_negative_target_is_nan(option: str) -> None:
    losses = built("loss", option)(jnp.ones((2, 1)), jnp.array([[-0.1], [0.0]]))
    assert np.isnan(losses).tolist() == [True, False]


def test_a_class_far_away_costs_more_than_a_near_one() -> None:
    logits = jnp.array([[5.0, 0.0, 0.0, 0.0]] * 4)
    losses = np.asarray(apply(built("loss", "ordinal_cross_entropy"), logits, np.arange(4)))
    assert (np.diff(losses) > 1).all()
    of_softmax = np.asarray(apply(built("loss", "softmax_cross_entropy"), logits, np.arange(4)))
    np.testing.assert_allclose(np.diff(of_softmax[1:]), 0, atol=1e-6)


def test_the_loss_of_vectors_of_zeros_is_finite() -> None:
    logits, target = np.zeros((6, 3)), np.ones((6, 3))
    assert not apply(built("loss", "cosine_similarity"), logits, target).any()
    assert np.isfinite(compile_gradient("cosine_similarity")(*as_arrays(logits, target))).all()
