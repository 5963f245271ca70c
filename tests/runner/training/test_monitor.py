"""Best weights, early stopping and the plateau decide as Keras does."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.types import Clock, Duration, Plateau
from runner.training.monitor import MonitorState, initial_monitor, update_monitor

GOLDEN = json.loads((Path(__file__).parents[2] / "golden" / "training.json").read_text())["plateau"]
LOSSES = GOLDEN["val_loss"]


def monitor_states(values: list[float], higher: bool = False, **settings: Any) -> list[tuple[MonitorState, bool]]:
    """The state after each of the values, and whether the value was the best so far. An epoch has 10 steps."""
    settings = {"plateau": None, "patience": None, "min_delta": 0.0} | settings
    state, history = initial_monitor(higher), []
    for count, value in enumerate(values, 1):
        clock = Clock(10 * count, 10 * len(values), 10)
        state, best = update_monitor(state, value, clock=clock, higher_is_better=higher, **settings)
        history.append((state, best))
    return history


@pytest.mark.parametrize("higher", [False, True])
@pytest.mark.parametrize(
    ("case", "plateau"),
    [
        ("factor 0.5 patience 2 min_delta 1e-4 cooldown 0", Plateau(0.5, 2, 1e-4, 0, 0.0)),
        ("factor 0.3 patience 3 min_delta 0 cooldown 2 min_lr 0.02", Plateau(0.3, 3, 0.0, 2, 0.2)),
    ],
)
def test_the_learning_rate_falls_at_the_same_epochs_as_in_keras(case: str, plateau: Plateau, higher: bool) -> None:
    values = [-loss for loss in LOSSES] if higher else LOSSES
    scales = [state.scale for state, _ in monitor_states(values, higher, plateau=plateau)]
    assert [0.1 * scale for scale in scales] == pytest.approx(GOLDEN[case]["learning_rate_after_epoch"], rel=1e-6)


@pytest.mark.parametrize("number", [float, np.float32, jnp.float32])
def test_a_change_of_min_delta_is_no_improvement(number: Callable[[float], Any]) -> None:
    """A run passes float32. That of 0.01 is a little less than 0.01, so that each change would be more."""
    plateau = Plateau(number(0.3), 1, number(0.01), 0, number(0.1))
    history = monitor_states([0.50, 0.51, 0.52, 0.53, 0.54], True, plateau=plateau)
    assert [state.scale for state, _ in history] == [1, 0.3, 0.3, 0.1, 0.1]


@pytest.mark.parametrize("cooldown", [0, 1, 2, 5])
def test_counting_resumes_at_the_evaluation_that_ends_the_cooldown(cooldown: int) -> None:
    history = monitor_states([1.0] * 20, plateau=Plateau(0.5, 1, 0.0, cooldown, 0.0))
    scales = [state.scale for state, _ in history]
    falls = [epoch for epoch in range(1, 20) if scales[epoch] < scales[epoch - 1]]
    assert falls == list(range(1, 20, max(cooldown, 1)))


def test_a_patience_below_one_step_waits_for_the_cooldown() -> None:
    plateau = Plateau(0.5, Duration(0.001, "run"), 0.0, 3, 0.0)
    scales = [state.scale for state, _ in monitor_states([1.0] * 6, plateau=plateau)]
    assert scales == [1, 0.5, 0.5, 0.5, 0.25, 0.25]


@pytest.mark.parametrize("higher", [False, True])
@pytest.mark.parametrize(
    ("case", "patience", "min_delta"),
    [("EarlyStopping patience 3", 3, 0.0), ("EarlyStopping patience 4 min_delta 0.05", 4, 0.05)],
)
def test_early_stopping_stops_at_the_same_epoch_as_keras(
    case: str, patience: int, min_delta: float, higher: bool
) -> None:
    values = [-loss for loss in LOSSES] if higher else LOSSES
    history = monitor_states(values, higher, patience=patience, min_delta=min_delta)
    stopped = next(epoch for epoch, (state, _) in enumerate(history) if state.stopped)
    assert stopped == GOLDEN[case]["stopped_after_epoch"]
    assert max(epoch for epoch in range(stopped) if history[epoch][1]) == GOLDEN[case]["best_epoch"]


def test_the_smallest_improvement_makes_a_new_best() -> None:
    history = monitor_states([1.0, 0.999, 0.999, 0.998], patience=2, min_delta=0.1)
    assert [best for _, best in history] == [True, True, False, True]
    assert history[-1][0].best == 0.998
    assert [state.stopped for state, _ in history] == [False, False, True, True]


def test_several_improvements_below_min_delta_add_up() -> None:
    history = monitor_states([1.0, 0.96, 0.92, 0.88, 0.84], patience=3, min_delta=0.1)
    assert [state.wait for state, _ in history] == [0, 1, 2, 0, 1]


def test_nan_is_never_an_improvement() -> None:
    history = monitor_states([math.nan, 1.0, math.nan], patience=3, plateau=Plateau(0.5, 9, 0.0, 0, 0.0))
    assert [best for _, best in history] == [False, True, False]
    assert (history[-1][0].best, history[-1][0].wait, history[-1][0].plateau_wait) == (1.0, 1, 1)


def in_units(epochs: int) -> list[int | Duration]:
    """A patience in evaluations, of which the losses above have one an epoch, in epochs, in steps and as a share."""
    return [epochs, Duration(epochs, "epoch"), Duration(10 * epochs, "step"), Duration(epochs / len(LOSSES))]


@pytest.mark.parametrize("unit", range(4))
@pytest.mark.parametrize("plateau", [Plateau(0.5, 2, 1e-4, 0, 0.0), Plateau(0.3, 3, 0.0, 2, 0.2)])
def test_durations_decide_as_evaluations_of_one_each_epoch(plateau: Plateau, unit: int) -> None:
    assert isinstance(plateau.patience, int)
    assert isinstance(plateau.cooldown, int)
    durations = plateau._replace(patience=in_units(plateau.patience)[unit], cooldown=in_units(plateau.cooldown)[unit])
    expected = monitor_states(LOSSES, plateau=plateau, patience=4, min_delta=0.05)
    found = monitor_states(LOSSES, plateau=durations, patience=in_units(4)[unit], min_delta=0.05)
    assert [(state.scale, state.stopped) for state, _ in found] == [
        (state.scale, state.stopped) for state, _ in expected
    ]


def test_a_duration_counts_the_steps_since_the_last_improvement() -> None:
    """Evaluations at uneven steps: the run stops at the first that is 25 steps or more after the best one."""
    state, stops = initial_monitor(False), []
    for step, loss in [(5, 1.0), (20, 0.5), (30, 0.6), (44, 0.6), (46, 0.6)]:
        arguments: Any = {"plateau": None, "patience": Duration(25, "step"), "min_delta": 0, "higher_is_better": False}
        state, _ = update_monitor(state, loss, clock=Clock(step, 100, 10), **arguments)
        stops.append(state.stopped)
    assert stops == [False, False, False, False, True]


def test_without_patience_a_run_never_stops_early() -> None:
    assert not any(state.stopped for state, _ in monitor_states([1.0] * 50))


@given(st.lists(st.floats(-10, 10), min_size=1), st.integers(0, 40))
def test_a_state_restored_from_json_decides_the_same(values: list[float], cut: int) -> None:
    settings: Any = {
        "plateau": Plateau(0.5, Duration(20, "step"), 0.1, Duration(0.01), 0.1),
        "patience": Duration(3, "epoch"),
        "min_delta": 0.01,
        "higher_is_better": True,
    }
    state = restored = initial_monitor(True)
    for step, value in enumerate(values):
        clock = Clock(7 * step, 1000, 10)
        state = update_monitor(state, value, clock=clock, **settings)[0]
        if step == cut:
            restored = MonitorState(*json.loads(json.dumps(restored)))
        restored = update_monitor(restored, value, clock=clock, **settings)[0]
    assert restored == state


def test_a_state_of_an_earlier_version_has_no_step() -> None:
    assert MonitorState(*json.loads("[0.5, 0.5, 1, 0.5, 1, 0, 1.0, false]")).step == 0
