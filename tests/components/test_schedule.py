from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from options import built, options

from components.schedule import constant, cosine, exponential, piecewise_constant, reduce_on_plateau
from components.types import Plateau, Schedule, UserError

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "training.json").read_text())["schedules"]
STEPS = GOLDEN["steps"]
KERAS = {name.split(": ")[0]: np.array(rates) for name, rates in GOLDEN["values"].items()}


def rates(schedule: Schedule, total: int, steps: Sequence[int] = STEPS) -> np.ndarray:
    """Returns the rates at some steps of a run, computed under jit."""
    values = jax.jit(jax.vmap(schedule.values, in_axes=(0, None)))
    return np.asarray(values(jnp.array(steps, jnp.int32), jnp.int32(total))["learning_rate"])


def test_constant_has_the_same_rate_at_every_step() -> None:
    np.testing.assert_allclose(rates(constant(0.1), 10), np.full(len(STEPS), 0.1), rtol=1e-6)


@pytest.mark.parametrize("total", [2500, 7])
def test_exponential_equals_keras(total: int) -> None:
    close = partial(np.testing.assert_allclose, rtol=1e-4)
    close(rates(exponential(0.01, 0.1, 100), total), KERAS["ExponentialDecay(0.01, 100, 0.1)"])
    staircase = rates(exponential(0.01, 0.5, 100, staircase=True), total)
    close(staircase, KERAS["ExponentialDecay(0.01, 100, 0.5, staircase)"])


def test_exponential_decays_over_the_whole_run_by_default() -> None:
    np.testing.assert_allclose(rates(exponential(1.0, 0.1), 200, [0, 100, 200]), [1, 0.1**0.5, 0.1], rtol=1e-5)


def test_a_staircase_falls_at_exact_steps() -> None:
    steps = range(0, 5000, 41)
    exponents = np.log2(rates(exponential(1.0, 0.5, 41, staircase=True), 1, steps[:100]))
    np.testing.assert_array_equal(exponents, -np.arange(100.0))


def test_piecewise_constant_equals_keras_except_at_a_boundary() -> None:
    """At a boundary, Keras still has the old factor. Here the new factor starts at the boundary."""
    actual = rates(piecewise_constant(0.01, (0.04, 0.4), (1.0, 0.5, 0.1)), 2500)
    expected = np.array(KERAS["PiecewiseConstantDecay([100, 1000], [0.01, 0.005, 0.001])"])
    boundary = np.isin(STEPS, [100, 1000])
    np.testing.assert_allclose(actual[~boundary], expected[~boundary], rtol=1e-6)
    np.testing.assert_allclose(actual[boundary], [0.005, 0.001], rtol=1e-6)


@pytest.mark.parametrize("total", [10, 937, 17_200])
def test_boundaries_are_rounded_to_steps(total: int) -> None:
    boundaries = (0.3, 0.5, 0.9)
    actual = rates(piecewise_constant(1.0, boundaries, (1.0, 2.0, 3.0, 4.0)), total, range(total))
    changes = np.flatnonzero(np.diff(actual)) + 1
    np.testing.assert_array_equal(changes, np.round(np.array(boundaries) * total))


def test_cosine_equals_keras() -> None:
    close = partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-8)
    close(rates(cosine(0.1, final=0.01), 1000), KERAS["CosineDecay(0.1, 1000, alpha 0.01)"])


def test_the_warm_up_from_zero_equals_keras() -> None:
    actual = rates(cosine(0.1, warmup=100 / 1100), 1100)
    expected = KERAS["CosineDecay(0.01, 1000, warmup_target 0.1, warmup_steps 100)"]
    in_warmup = np.array(STEPS) < 100
    np.testing.assert_allclose(actual[in_warmup], (expected[in_warmup] - 0.01) / 0.9, rtol=1e-4, atol=1e-7)
    np.testing.assert_allclose(actual[~in_warmup], expected[~in_warmup], rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("warmup", [0.0, 1e-4, 1.0])
def test_a_warm_up_of_no_step_or_of_the_whole_run(warmup: float) -> None:
    actual = rates(cosine(1.0, warmup=warmup), 10, range(10))
    expected = np.arange(10) / 10 if warmup == 1 else (1 + np.cos(np.pi * np.arange(10) / 10)) / 2
    np.testing.assert_allclose(actual[1:], expected[1:], rtol=1e-3)
    assert np.isfinite(actual).all()


def test_reduce_on_plateau_is_constant_with_a_plateau() -> None:
    schedule = reduce_on_plateau(0.1, factor=0.5, patience=3, min_delta=0.01, cooldown=2, min_scale=0.2)
    assert schedule.plateau == Plateau(0.5, 3, 0.01, 2, 0.2)
    np.testing.assert_allclose(rates(schedule, 10), np.full(len(STEPS), 0.1), rtol=1e-6)


@pytest.mark.parametrize("option", options("schedule"))
def test_every_option_has_the_rates_that_its_file_describes(option: str) -> None:
    shares = np.arange(40) / 40  # of the run
    warm = shares / 0.05 * (shares < 0.05) + (1 + np.cos(np.pi * (shares - 0.05) / 0.95)) / 2 * (shares >= 0.05)
    expected = {
        "constant": np.ones(40),
        "cosine": warm,
        "exponential": 0.1**shares,
        "performance": np.ones(40),
        "reduce_on_plateau": np.ones(40),
        "piecewise_constant": np.select([shares < 0.5, shares < 0.75], [1, 0.1], 0.01),
    }
    schedule = built("schedule", option, learning_rate=0.3)
    np.testing.assert_allclose(rates(schedule, 40, range(40)), 0.3 * expected[option], rtol=1e-5, atol=1e-8)
    assert schedule.plateau == (
        Plateau(0.5, 5, 1e-4, 0, 0.0) if option in ("performance", "reduce_on_plateau") else None
    )


SETTINGS: list[tuple[Callable[..., Schedule], dict[str, float], dict[str, float]]] = [
    (constant, {"learning_rate": 0.1}, {"learning_rate": 0.0}),
    (
        exponential,
        {"learning_rate": 0.1, "decay_rate": 0.5, "decay_steps": 10},
        {"learning_rate": 0.2, "decay_rate": 2, "decay_steps": 3.5},
    ),
    (
        partial(exponential, staircase=True),
        {"learning_rate": 0.1, "decay_rate": 0.5, "decay_steps": 10},
        {"learning_rate": 0.1, "decay_rate": 0.5, "decay_steps": 3.5},
    ),
    (
        partial(piecewise_constant, boundaries=(0.5,), factors=(1.0, 0.1)),
        {"learning_rate": 0.1},
        {"learning_rate": 0.2},
    ),
    (
        cosine,
        {"learning_rate": 0.1, "warmup": 0.0, "final": 0.0},
        {"learning_rate": 0.2, "warmup": 0.5, "final": 0.1},
    ),
    (
        partial(reduce_on_plateau, patience=3),
        {"learning_rate": 0.1, "factor": 0.5},
        {"learning_rate": 0.2, "factor": 0.1},
    ),
]


@pytest.mark.parametrize(("schedule", "first", "second"), SETTINGS)
def test_the_numbers_may_be_traced(
    schedule: Callable[..., Schedule], first: Any, second: Any, check_traced: Callable[..., None]
) -> None:
    def rates_of(**numbers: Any) -> jax.Array:
        values = schedule(**numbers).values
        return jnp.stack([values(jnp.int32(step), jnp.int32(40))["learning_rate"] for step in (0, 3, 17, 35, 40)])

    check_traced(rates_of, first, second)


@pytest.mark.parametrize("dtype", [jnp.int32, jnp.float32])
@pytest.mark.parametrize(("schedule", "numbers", "_"), SETTINGS)
def test_rates_are_float32_scalars_for_integer_and_float_steps(
    schedule: Callable[..., Schedule], numbers: Any, _: Any, dtype: Any
) -> None:
    rate = jax.eval_shape(schedule(**numbers).values, dtype(3), dtype(40))["learning_rate"]
    assert (rate.shape, rate.dtype) == ((), jnp.float32)


@pytest.mark.parametrize(
    ("boundaries", "factors", "message"),
    [
        ((0.5,), (1.0,), "got 1 boundaries and 1 factors. List 2 factors"),
        ((0.5, 0.2), (1.0, 0.5, 0.1), r"increase between 0 and 1, got \[0.5, 0.2\]"),
        ((100.0,), (1.0, 0.1), "increase between 0 and 1"),
        ((0.0,), (1.0, 0.1), "increase between 0 and 1"),
    ],
)
def test_wrong_boundaries_and_factors_raise(
    boundaries: tuple[float, ...], factors: tuple[float, ...], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        piecewise_constant(0.1, boundaries, factors)
