from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from options import built, options, replace_rate

from components.schedule import (
    constant,
    cosine,
    cosine_restarts,
    exponential,
    join,
    linear,
    one_cycle,
    piecewise_constant,
    polynomial,
    power,
    range_test,
    reduce_on_plateau,
)
from components.types import Clock, Duration, Plateau, Schedule, UserError
from runner.signature.build import build

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "training.json").read_text())["schedules"]
STEPS = GOLDEN["steps"]
KERAS = {name.split(": ")[0]: np.array(rates) for name, rates in GOLDEN["values"].items()}


def rates(schedule: Schedule, total: int, steps: Sequence[int] = STEPS, epoch: int = 1) -> np.ndarray:
    """Returns the rates at some steps of a run, computed under jit. An epoch has `epoch` steps."""
    values = jax.jit(jax.vmap(schedule.at, in_axes=(Clock(0, None, None),)))
    clock = Clock(jnp.array(steps, jnp.int32), jnp.int32(total), jnp.int32(epoch))
    return np.asarray(values(clock)["learning_rate"])


def build_option(option: str, learning_rate: float) -> Schedule:
    """The schedule of a file in `conf/schedule`, with a learning rate."""
    return build(replace_rate(options("schedule")[option], learning_rate), {})


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
    (rate,) = rates(build_option(option, 0.3), total, [0])
    assert rate > 0.3 / 100  # the longest warm-up of 1,000 steps has 70


@pytest.mark.parametrize("warmup", [Duration(0.0), Duration(1e-4), Duration(1.0), Duration(2.0, "epoch")])
def test_a_warm_up_of_no_step_or_of_the_whole_run(warmup: Duration) -> None:
    actual = rates(cosine(1.0, warmup=warmup), 10, range(10), epoch=5)
    ramp, decay = np.arange(1, 11) / 10, (1 + np.cos(np.pi * np.arange(10) / 10)) / 2
    np.testing.assert_allclose(actual, ramp if warmup.value >= 1 else decay, rtol=1e-3)


def test_reduce_on_plateau_is_constant_with_a_plateau() -> None:
    schedule = reduce_on_plateau(0.1, factor=0.5, patience=3, min_delta=0.01, cooldown=2, min_scale=0.2)
    assert schedule.plateau == Plateau(0.5, 3, 0.01, 2, 0.2)
    np.testing.assert_allclose(rates(schedule, 10), np.full(len(STEPS), 0.1), rtol=1e-6)


def restarts(t: np.ndarray, first: float, growth: float) -> np.ndarray:
    """Half cosines from 1 to 0, each `growth` times as long as the one before, at shares of the run."""
    edges = first * np.concatenate([[0.0], np.cumsum(growth ** np.arange(100.0))])
    cycle = np.searchsorted(edges, t, side="right") - 1
    return (1 + np.cos(np.pi * (t - edges[cycle]) / (edges[cycle + 1] - edges[cycle]))) / 2


def half_cosine(t: np.ndarray) -> np.ndarray:
    return (1 + np.cos(np.pi * np.clip(t, 0, 1))) / 2


EQUATIONS: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "constant": lambda t, n: np.ones_like(t),
    "cosine": lambda t, n: np.where(t < 0.05, n / (0.05 * 400), half_cosine((t - 0.05) / 0.95)),
    "cosine_restarts": lambda t, n: restarts(t, 0.14286, 2.0),
    "exponential": lambda t, n: 0.1**t,
    "inverse_sqrt": lambda t, n: np.minimum(n / (0.05 * 400), np.sqrt(0.05 * 400 / n)),
    "join": lambda t, n: np.where(t < 0.7, 1.0, np.maximum(1 - (t - 0.7) / 0.3, 0)),
    "linear": lambda t, n: 1 - np.minimum(t, 1),
    "one_cycle": lambda t, n: np.where(
        t < 0.3, 0.04 + 0.96 * half_cosine(1 - t / 0.3), 4e-6 + (1 - 4e-6) * half_cosine((t - 0.3) / 0.7)
    ),
    "performance": lambda t, n: np.ones_like(t),
    "piecewise_constant": lambda t, n: np.select([t < 0.5, t < 0.75], [1, 0.1], 0.01),
    "polynomial": lambda t, n: (1 - np.minimum(t, 1)) ** 2,
    "power": lambda t, n: 1 / (1 + t / 0.1),
    "reduce_on_plateau": lambda t, n: np.ones_like(t),
}
"""The share of `learning_rate` by option, in float64: of the share t of a run of 400 steps, and of n = step + 1."""
RISING = ("cosine_restarts",)  # rises again after its first steps
PAST_THE_END = [400, 401, 4000]


@pytest.mark.parametrize("option", options("schedule"))
def test_every_option_has_the_rates_that_its_file_describes(option: str) -> None:
    steps = np.array([*range(400), *PAST_THE_END])
    actual = rates(build_option(option, 0.3), 400, steps.tolist())
    expected = 0.3 * EQUATIONS[option](steps / 400, steps + 1.0)
    np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=2e-7)
    assert np.isfinite(actual).all()
    assert (actual >= 0).all()
    falls = actual[np.argmax(actual) :]
    assert option in RISING or (np.diff(falls) <= 0).all(), "it rises, and falls for the rest of the run"


@pytest.mark.parametrize("option", options("schedule"))
def test_a_traced_schedule_has_the_bits_of_a_plain_one(option: str) -> None:
    clocks = [Clock(step, 400, 40) for step in (0, 3, 30, 200, 1000)]
    schedule = build_option(option, 0.3)
    plain, compiled = [schedule.at(clock) for clock in clocks], jax.jit(schedule.at)
    traced = [compiled(Clock(*map(jnp.int32, clock))) for clock in clocks]
    batch = jax.vmap(schedule.at)(Clock(*(jnp.array(values, jnp.int32) for values in zip(*clocks, strict=True))))
    for name in plain[0]:
        mapped = [{name: number} for number in batch[name]]
        for other in (traced, mapped):
            assert [float(numbers[name]) for numbers in other] == [float(numbers[name]) for numbers in plain]


@pytest.mark.parametrize("option", options("schedule"))
def test_only_the_options_of_a_plateau_have_one(option: str) -> None:
    is_plateau = option in ("performance", "reduce_on_plateau")
    assert build_option(option, 0.3).plateau == (Plateau(0.5, 5, 1e-4, 0, 0.0) if is_plateau else None)


def test_power_polynomial_and_restarts_equal_keras() -> None:
    close = partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-8)
    close(rates(power(0.01, Duration(100, "step")), 2500), KERAS["InverseTimeDecay(0.01, 100, 1.0)"])
    close(rates(polynomial(0.1, 2.0, final=0.01), 1000), KERAS["PolynomialDecay(0.1, 1000, 0.001, power 2)"])
    schedule = cosine_restarts(0.1, Duration(100, "step"), t_mul=2.0, m_mul=0.9)
    close(rates(schedule, 2500), KERAS["CosineDecayRestarts(0.1, 100, t_mul 2, m_mul 0.9)"])


OPTAX: list[tuple[Schedule, Callable[[int], Any]]] = [
    (polynomial(0.3, 3.0, Duration(70, "step"), final=0.1), optax.polynomial_schedule(0.3, 0.03, 3, 70)),
    (linear(0.3, Duration(70, "step"), initial=0.1, final=0.5), optax.linear_schedule(0.03, 0.15, 70)),
    (exponential(0.3, 0.5, Duration(20, "step")), optax.exponential_decay(0.3, 20, 0.5)),
    (cosine(0.3, Duration(0.0), final=0.1), optax.cosine_decay_schedule(0.3, 100, 0.1)),
    (one_cycle(0.3), optax.cosine_onecycle_schedule(100, 0.3)),
    (
        join((linear(0.3, initial=0.5, final=1.0), exponential(0.3, 0.5, Duration(20, "step"))), (Duration(0.2),)),
        optax.join_schedules([optax.linear_schedule(0.15, 0.3, 20), optax.exponential_decay(0.3, 20, 0.5)], [20]),
    ),
]


@pytest.mark.parametrize(("schedule", "other"), OPTAX)
def test_schedules_equal_those_of_optax(schedule: Schedule, other: Callable[[int], Any]) -> None:
    steps = range(101)
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        expected = np.array([float(other(step)) for step in steps])
    np.testing.assert_allclose(rates(schedule, 100, steps), expected, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("growth", [1.0, 1 + 2**-10, 1.5, 2.0, 3.0])
def test_restarts_happen_at_whole_cycles(growth: float) -> None:
    """The logarithm that finds the cycle has rounding errors; a cycle never starts a step early or late."""
    steps = np.arange(5000)
    actual = rates(cosine_restarts(1.0, Duration(64, "step"), t_mul=growth), 5000, steps.tolist())
    np.testing.assert_allclose(actual, restarts(steps / 64, 1.0, growth), atol=1e-3)


def test_one_cycle_moves_the_momentum_inversely() -> None:
    schedule = one_cycle(1.0, momentum=0.9, lowest_momentum=0.8, warmup=Duration(0.5), initial=0.0, final=0.0)
    numbers = [schedule.at(Clock(step, 100, 10)) for step in (0, 20, 50, 80, 100)]
    momentum = np.array([number["momentum"] for number in numbers])
    rate = np.array([number["learning_rate"] for number in numbers])
    np.testing.assert_allclose(momentum, 0.9 - 0.1 * rate, rtol=1e-6)
    np.testing.assert_allclose(momentum[[0, 2, 4]], [0.9, 0.8, 0.9], rtol=1e-6)
    assert one_cycle(1.0, momentum=None).at(Clock(0, 10, 1)).keys() == {"learning_rate"}


def test_one_cycle_of_lines() -> None:
    schedule = one_cycle(1.0, Duration(0.25), initial=0.2, final=0.1, shape="linear")
    expected = np.interp([0, 5, 25, 40, 99], [0, 25, 100], [0.2, 1.0, 0.1])
    np.testing.assert_allclose(rates(schedule, 100, [0, 5, 25, 40, 99]), expected, rtol=1e-5)


def test_a_range_test_raises_the_rate_and_keeps_the_momentum() -> None:
    schedule = range_test(one_cycle(5.0, momentum=0.9), 1e-6, 1.0)
    np.testing.assert_allclose(rates(schedule, 7, range(7)), 10.0 ** np.arange(-6, 1), rtol=1e-5)
    assert {float(schedule.at(Clock(step, 7, 1))["momentum"]) for step in range(7)} == {np.float32(0.9)}


WITH_WARMUP = [name for name, part in options("schedule").items() if name not in ("join", "one_cycle", "inverse_sqrt")]


@pytest.mark.parametrize("option", WITH_WARMUP)
def test_a_warm_up_rises_to_the_first_rate_of_the_schedule(option: str) -> None:
    """The schedule begins after the warm-up, and shares of the run are those of the rest."""
    with_warmup = built("schedule", option, learning_rate=0.3, warmup="40st")
    rest = built("schedule", option, learning_rate=0.3, warmup=0.0)
    actual = rates(with_warmup, 440, range(440))
    np.testing.assert_allclose(actual[:40], 0.3 * np.arange(1, 41) / 40, rtol=1e-6)
    np.testing.assert_allclose(actual[40:], rates(rest, 400, range(400)), rtol=1e-4, atol=1e-7)


def test_a_warm_up_rises_to_another_rate_than_the_highest() -> None:
    actual = rates(linear(1.0, initial=0.5, warmup=Duration(10, "step")), 20, [0, 9, 10])
    np.testing.assert_allclose(actual, [0.05, 0.5, 0.5], rtol=1e-6)


def test_each_joined_schedule_sees_its_piece_as_a_run() -> None:
    clocks = []

    def values(clock: Clock) -> dict[str, Any]:
        clocks.append(tuple(map(float, clock)))
        return {"learning_rate": clock.step}

    join((Schedule(values), Schedule(values)), (Duration(3, "epoch"),)).at(Clock(35, 100, 10))
    assert clocks == [(35, 30, 10), (5, 70, 10)]


WITH_PLATEAU = reduce_on_plateau(0.1, 0.5, 3)


@pytest.mark.parametrize(
    ("schedules", "boundaries", "message"),
    [
        ((constant(1.0),), (), "at least two schedules, and one boundary less, got 1 schedules and 0 boundaries"),
        ((constant(1.0), constant(2.0)), (), "got 2 schedules and 0 boundaries. List a boundary"),
        ((constant(1.0),) * 3, (Duration(0.5), Duration(0.5)), "boundaries: 0.5 follows 0.5. List them in"),
        ((constant(1.0), WITH_PLATEAU), (Duration(0.5),), "reacts to a plateau, which counts for the whole run"),
        (
            (constant(1.0), one_cycle(1.0)),
            (Duration(0.5),),
            "schedules: set different numbers: learning_rate; learning_rate, momentum. .* set momentum to null",
        ),
    ],
)
def test_wrong_joins_raise(schedules: tuple[Schedule, ...], boundaries: tuple[Duration, ...], message: str) -> None:
    with pytest.raises(UserError, match=message):
        join(schedules, boundaries).at(Clock(0, 10, 1))


def test_the_pieces_of_a_join_are_checked_in_their_own_runs() -> None:
    """An epoch is 20 steps. 2ep, step 40, is after 0.3 of the whole run, but not after 0.3 of the piece."""
    pieces = piecewise_constant(1.0, (Duration(2, "epoch"), Duration(0.3)))
    joined = join((pieces, constant(1.0)), (Duration(0.5),))
    assert pieces.check is not None
    assert joined.check is not None
    pieces.check(Clock(0, 200, 20))
    with pytest.raises(
        UserError, match=r"schedules\.0\.boundaries: 2ep is step 40 of this run, and the next one, 0\.3, is step 30"
    ):
        joined.check(Clock(0, 200, 20))


def test_piecewise_constant_takes_rates_or_factors() -> None:
    boundaries = Duration(0.25), Duration(0.5)
    expected = [0.01, 0.005, 0.001]
    of_values = piecewise_constant(None, boundaries, values=(0.01, 0.005, 0.001))
    np.testing.assert_allclose(rates(of_values, 4, [0, 1, 2]), expected, rtol=1e-6)
    np.testing.assert_allclose(rates(piecewise_constant(0.01, boundaries), 4, [0, 1, 2]), [1e-2, 1e-3, 1e-4], rtol=1e-6)


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
        power,
        {"learning_rate": 0.1, "decay_steps": 10, "power": 1.0},
        {"learning_rate": 0.1, "decay_steps": 5, "power": 0.5},
    ),
    (
        linear,
        {"learning_rate": 0.1, "decay_steps": 40, "initial": 1.0, "final": 0.0},
        {"learning_rate": 0.1, "decay_steps": 5, "initial": 0.1, "final": 2.0},
    ),
    (
        polynomial,
        {"learning_rate": 0.1, "power": 1.0, "final": 0.0, "warmup": 0},
        {"learning_rate": 0.1, "power": 2.0, "final": 0.1, "warmup": 3},
    ),
    (
        cosine_restarts,
        {"learning_rate": 0.1, "first_decay_steps": 5, "t_mul": 1.0, "m_mul": 1.0, "final": 0.0},
        {"learning_rate": 0.1, "first_decay_steps": 4, "t_mul": 1.5, "m_mul": 0.5, "final": 0.1},
    ),
    (
        one_cycle,
        {"learning_rate": 0.1, "warmup": 4, "initial": 0.0, "momentum": 0.9, "lowest_momentum": 0.8},
        {"learning_rate": 0.1, "warmup": 9, "initial": 0.2, "momentum": 0.8, "lowest_momentum": 0.7},
    ),
    (
        partial(reduce_on_plateau, patience=3),
        {"learning_rate": 0.1, "factor": 0.5},
        {"learning_rate": 0.2, "factor": 0.1},
    ),
]


DURATIONS = ("warmup", "decay_steps", "first_decay_steps")


def with_durations(numbers: dict[str, Any]) -> dict[str, Any]:
    """The numbers, with those of durations as steps."""
    return {name: Duration(n, "step") if name in DURATIONS else n for name, n in numbers.items()}


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
        ((0.5,), (1.0,), "factors: needs one more than boundaries, got 1 factors and 1 boundaries. List 2 factors"),
        ((0.5, 0.2), (1.0, 0.5, 0.1), r"boundaries: 0\.2 follows 0\.5\. List them"),
        (("3ep", "3ep"), (1.0, 0.5, 0.1), "boundaries: 3ep follows 3ep"),
    ],
)
def test_wrong_boundaries_and_factors_raise(
    boundaries: tuple[float | str, ...], factors: tuple[float, ...], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        piecewise_constant(0.1, tuple(map(Duration.parse, boundaries)), factors)


def test_a_lowest_momentum_above_the_momentum_is_an_error() -> None:
    for momentum in (0.8, jnp.float32(0.8)):
        with pytest.raises(UserError, match=r"lowest_momentum: 0\.85 is above momentum, 0\.8\. Choose a smaller one"):
            one_cycle(1.0, momentum=momentum)
    one_cycle(1.0, momentum=0.8, lowest_momentum=0.8)
    one_cycle(1.0, momentum=None, lowest_momentum=0.9)


def test_stairs_of_the_whole_run_are_an_error() -> None:
    with pytest.raises(UserError, match=r"staircase: true keeps the rate of step 0, .*Set it, such as 0\.1"):
        exponential(0.1, 0.5, staircase=True)


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
