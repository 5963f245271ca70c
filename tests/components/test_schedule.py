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
from components.types import Clock, Duration, Plateau, Schedule, UserError

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "training.json").read_text())["schedules"]
STEPS = GOLDEN["steps"]
KERAS = {name.split(": ")[0]: np.array(rates) for name, rates in GOLDEN["values"].items()}


def rates(schedule: Schedule, total: int, steps: Sequence[int] = STEPS, epoch: int = 1) -> np.ndarray:
    """Returns the rates at some steps of a run, computed under jit. An epoch has `epoch` steps."""
    values = jax.jit(jax.vmap(schedule.at, in_axes=(Clock(0, None, None),)))
    clock = Clock(jnp.array(steps, jnp.int32), jnp.int32(total), jnp.int32(epoch))
    return np.asarray(values(clock)["learning_rate"])


def test_constant_has_the_same_rate_at_every_step() -> None:
    np.testing.assert_allclose(rates(constant(0.1), 10), np.full(len(STEPS), 0.1), rtol=1e-6)


@pytest.mark.parametrize("total", [2500, 7])
def test_exponential_equals_keras(total: int) -> None:
    close = partial(np.testing.assert_allclose, rtol=1e-4)
    close(rates(exponential(0.01, 0.1, Duration(100, "step")), total), KERAS["ExponentialDecay(0.01, 100, 0.1)"])
    staircase = rates(exponential(0.01, 0.5, Duration(100, "step"), staircase=True), total)
    close(staircase, KERAS["ExponentialDecay(0.01, 100, 0.5, staircase)"])


def test_exponential_decays_over_the_whole_run_by_default() -> None:
    np.testing.assert_allclose(rates(exponential(1.0, 0.1), 200, [0, 100, 200]), [1, 0.1**0.5, 0.1], rtol=1e-5)


@pytest.mark.parametrize(("share", "total"), [(0.15, 100), (0.3, 40), (0.55, 20_000), (1e-6, 100)])
def test_a_staircase_falls_at_whole_steps_of_a_share(share: float, total: int) -> None:
    interval = max(round(share * total), 1)
    steps = [interval - 1, interval, 2 * interval - 1, 2 * interval]
    exponents = np.log2(rates(exponential(1.0, 0.5, Duration(share, "run"), staircase=True), total, steps))
    assert exponents.tolist() == [-(step // interval) for step in steps]


def test_a_staircase_falls_at_exact_steps() -> None:
    steps = range(0, 5000, 41)
    exponents = np.log2(rates(exponential(1.0, 0.5, Duration(41, "step"), staircase=True), 1, steps[:100]))
    np.testing.assert_array_equal(exponents, -np.arange(100.0))


def test_piecewise_constant_equals_keras_except_at_a_boundary() -> None:
    """At a boundary, Keras still has the old factor. Here the new factor starts at the boundary."""
    boundaries = Duration(0.04), Duration(1000, "step")
    actual = rates(piecewise_constant(0.01, boundaries, (1.0, 0.5, 0.1)), 2500)
    expected = np.array(KERAS["PiecewiseConstantDecay([100, 1000], [0.01, 0.005, 0.001])"])
    boundary = np.isin(STEPS, [100, 1000])
    np.testing.assert_allclose(actual[~boundary], expected[~boundary], rtol=1e-6)
    np.testing.assert_allclose(actual[boundary], [0.005, 0.001], rtol=1e-6)


@pytest.mark.parametrize("total", [10, 937, 17_200])
def test_boundaries_are_rounded_to_steps(total: int) -> None:
    boundaries = (0.3, 0.5, 0.9)
    durations = tuple(map(Duration, boundaries))
    actual = rates(piecewise_constant(1.0, durations, (1.0, 2.0, 3.0, 4.0)), total, range(total))
    changes = np.flatnonzero(np.diff(actual)) + 1
    np.testing.assert_array_equal(changes, np.round(np.array(boundaries) * total))


def test_cosine_equals_keras() -> None:
    close = partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-8)
    close(rates(cosine(0.1, Duration(0.0), final=0.01), 1000), KERAS["CosineDecay(0.1, 1000, alpha 0.01)"])


def test_the_warm_up_is_one_step_ahead_of_that_of_keras() -> None:
    """Keras starts at the rate 0, with which the first step learns nothing."""
    schedule = cosine(0.1, warmup=Duration(100, "step"))
    expected = KERAS["CosineDecay(0.01, 1000, warmup_target 0.1, warmup_steps 100)"]
    in_warmup = np.array(STEPS) < 100
    ahead = rates(schedule, 1100, [step - 1 for step in STEPS if 0 < step < 100])
    np.testing.assert_allclose(ahead, (expected[in_warmup][1:] - 0.01) / 0.9, rtol=1e-4, atol=1e-7)
    np.testing.assert_allclose(rates(schedule, 1100)[~in_warmup], expected[~in_warmup], rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("total", [1, 2, 3, 1000])
@pytest.mark.parametrize("option", options("schedule"))
def test_the_first_step_of_every_option_learns(option: str, total: int) -> None:
    (rate,) = rates(built("schedule", option, learning_rate=0.3), total, [0])
    assert rate > 0.3 / 60  # the warm-up of 1,000 steps has 50


@pytest.mark.parametrize("warmup", [Duration(0.0), Duration(1e-4), Duration(1.0), Duration(2.0, "epoch")])
def test_a_warm_up_of_no_step_or_of_the_whole_run(warmup: Duration) -> None:
    actual = rates(cosine(1.0, warmup=warmup), 10, range(10), epoch=5)
    ramp, decay = np.arange(1, 11) / 10, (1 + np.cos(np.pi * np.arange(10) / 10)) / 2
    np.testing.assert_allclose(actual, ramp if warmup.value >= 1 else decay, rtol=1e-3)


def test_reduce_on_plateau_is_constant_with_a_plateau() -> None:
    schedule = reduce_on_plateau(0.1, factor=0.5, patience=3, min_delta=0.01, cooldown=2, min_scale=0.2)
    assert schedule.plateau == Plateau(0.5, 3, 0.01, 2, 0.2)
    np.testing.assert_allclose(rates(schedule, 10), np.full(len(STEPS), 0.1), rtol=1e-6)


@pytest.mark.parametrize("option", options("schedule"))
def test_every_option_has_the_rates_that_its_file_describes(option: str) -> None:
    shares = np.arange(40) / 40  # of the run
    warm = (shares / 0.05 + 1 / 2) * (shares < 0.05) + (1 + np.cos(np.pi * (shares - 0.05) / 0.95)) / 2 * (
        shares >= 0.05
    )
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
        lambda learning_rate, boundary, factor: piecewise_constant(
            learning_rate, (Duration(0.1), Duration(boundary, "step")), (1.0, factor, 0.01)
        ),
        {"learning_rate": 0.1, "boundary": 12, "factor": 0.1},
        {"learning_rate": 0.2, "boundary": 20.5, "factor": 0.3},
    ),
    (
        cosine,
        {"learning_rate": 0.1, "warmup": 0.0, "final": 0.0},
        {"learning_rate": 0.2, "warmup": 7.5, "final": 0.1},
    ),
    (
        partial(reduce_on_plateau, patience=3),
        {"learning_rate": 0.1, "factor": 0.5},
        {"learning_rate": 0.2, "factor": 0.1},
    ),
]


def with_durations(numbers: dict[str, Any]) -> dict[str, Any]:
    """The numbers, with those of durations as steps."""
    return {name: Duration(n, "step") if name in ("warmup", "decay_steps") else n for name, n in numbers.items()}


@pytest.mark.parametrize(("schedule", "first", "second"), SETTINGS)
def test_the_numbers_may_be_traced(
    schedule: Callable[..., Schedule], first: Any, second: Any, check_traced: Callable[..., None]
) -> None:
    def rates_of(**numbers: Any) -> jax.Array:
        built = schedule(**with_durations(numbers))
        clocks = [Clock(jnp.int32(step), jnp.int32(40), jnp.int32(10)) for step in (0, 3, 17, 35, 40)]
        return jnp.stack([built.at(clock)["learning_rate"] for clock in clocks])

    check_traced(rates_of, first, second)


@pytest.mark.parametrize("dtype", [jnp.int32, jnp.float32])
@pytest.mark.parametrize(("schedule", "numbers", "_"), SETTINGS)
def test_rates_are_float32_scalars_for_integer_and_float_steps(
    schedule: Callable[..., Schedule], numbers: Any, _: Any, dtype: Any
) -> None:
    clock = Clock(dtype(3), dtype(40), dtype(10))
    rate = jax.eval_shape(schedule(**with_durations(numbers)).at, clock)["learning_rate"]
    assert (rate.shape, rate.dtype) == ((), jnp.float32)


@pytest.mark.parametrize(
    ("boundaries", "factors", "message"),
    [
        ((0.5,), (1.0,), "got 1 boundaries and 1 factors. List 2 factors"),
        ((0.5, 0.2), (1.0, 0.5, 0.1), r"boundaries that increase, got 0\.2 after 0\.5"),
        (("3ep", "3ep"), (1.0, 0.5, 0.1), "boundaries that increase, got 3ep after 3ep"),
    ],
)
def test_wrong_boundaries_and_factors_raise(
    boundaries: tuple[float | str, ...], factors: tuple[float, ...], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        piecewise_constant(0.1, tuple(map(Duration.parse, boundaries)), factors)


def test_durations_count_shares_epochs_and_steps() -> None:
    """Of 400 steps in epochs of 50, these are the same warm-up; a boundary of each unit is at its own step."""
    warm_ups = [Duration(0.1), Duration(0.8, "epoch"), Duration(40, "step")]
    first, *others = (rates(cosine(1.0, warmup=warm_up), 400, range(400), epoch=50) for warm_up in warm_ups)
    for other in others:
        np.testing.assert_array_equal(first, other)
    boundaries = Duration(30, "step"), Duration(2, "epoch"), Duration(0.5)
    actual = rates(piecewise_constant(1.0, boundaries, (1.0, 2.0, 3.0, 4.0)), 400, range(400), epoch=50)
    assert (np.flatnonzero(np.diff(actual)) + 1).tolist() == [30, 100, 200]


def test_a_function_of_step_and_total_steps_is_a_schedule() -> None:
    of_two = Schedule(lambda step, total_steps: {"learning_rate": step / total_steps})
    assert rates(of_two, 10, [0, 5]).tolist() == [0, 0.5]
    of_default = Schedule(lambda step, total_steps=5: {"learning_rate": step / total_steps})
    assert rates(of_default, 10, [5]).tolist() == [0.5]
    of_clock = Schedule(lambda clock, scale=2: {"learning_rate": clock.step * scale})
    assert rates(of_clock, 10, [3]).tolist() == [6]


def test_boundaries_of_other_units_must_not_decrease() -> None:
    schedule = piecewise_constant(1.0, (Duration(1, "epoch"), Duration(30, "step")), (1.0, 0.5, 0.1))
    assert schedule.check is not None
    schedule.check(Clock(0, 100, 30))  # a piece without any step
    with pytest.raises(UserError, match="1ep is step 31 of this run, and the next one, 30st, is step 30"):
        schedule.check(Clock(0, 100, 31))


@pytest.mark.parametrize("values", [lambda a, b, c: {}, lambda step: {}, {}], ids=["three", "step", "no function"])
def test_a_schedule_with_other_parameters_raises(values: Any) -> None:
    with pytest.raises(
        UserError, match=r"takes \(.*\). It must take \(clock\) or \(step,|is a dict. It must be a function"
    ):
        Schedule(values).at(Clock(0, 1, 1))
