"""Best weights, early stopping and reduction of the learning rate on a plateau, all by the monitored value."""

from __future__ import annotations

import math
from typing import NamedTuple

from components.types import Clock, Duration, Plateau, shortest_decimal


class MonitorState(NamedTuple):
    """The state of early stopping and of the schedule `reduce_on_plateau`, as plain numbers for a checkpoint.

    Attributes:
        best: the best value so far.
        reference: the last value that counted as an improvement for early stopping.
        wait: the evaluations since `reference`, or the steps if the patience is a duration.
        plateau_reference: the last value that counted as an improvement for `reduce_on_plateau`.
        plateau_wait: the evaluations since `plateau_reference`, or the steps if the plateau's patience is a duration.
        cooldown: countdown of evaluations or steps after a reduction; `plateau_wait` stays 0 until it reaches 0.
        scale: the factor of the learning rate, which `reduce_on_plateau` reduces.
        stopped: whether early stopping has ended the run.
        step: the step of the last evaluation.
    """

    best: float
    reference: float
    wait: int
    plateau_reference: float
    plateau_wait: int
    cooldown: int
    scale: float
    stopped: bool
    step: int = 0


def initial_monitor(higher_is_better: bool) -> MonitorState:
    """The state before the first evaluation."""
    worst = -math.inf if higher_is_better else math.inf
    return MonitorState(worst, worst, 0, worst, 0, 0, 1.0, False)


def update_monitor(
    state: MonitorState,
    value: float,
    *,
    clock: Clock,
    plateau: Plateau | None,
    patience: int | Duration | None,
    min_delta: float,
    higher_is_better: bool,
) -> tuple[MonitorState, bool]:
    """The state after an evaluation, and whether its value is the best so far. NaN is never the best.

    Args:
        state: the state before the evaluation.
        value: the monitored value.
        clock: the step of the evaluation, and the length of the run.
        plateau: when and how far the learning rate is reduced. None: never.
        patience: the number of evaluations, or the duration, without improvement after which the run stops. None: it
            never stops early.
        min_delta: early stopping counts only improvements by more than this. `plateau` has its own `min_delta`.
        higher_is_better: the direction of the value.

    References:
        The decisions equal those of `EarlyStopping` and `ReduceLROnPlateau` of Keras.
    """

    def is_improvement(reference: float, delta: float) -> bool:
        return value > reference + delta if higher_is_better else value < reference - delta

    is_best = is_improvement(state.best, 0.0)
    if is_best:
        state = state._replace(best=value)
    state = _update_early_stopping(state, value, is_improvement(state.reference, min_delta), patience, clock)
    if plateau is not None:
        is_better = is_improvement(state.plateau_reference, shortest_decimal(plateau.min_delta))
        state = _update_plateau(state, value, is_better, plateau, clock)
    return state._replace(step=int(clock.step)), is_best


def _update_early_stopping(
    state: MonitorState, value: float, is_improvement: bool, patience: int | Duration | None, clock: Clock
) -> MonitorState:
    if is_improvement:
        return state._replace(reference=value, wait=0, stopped=False)
    wait = state.wait + _elapsed(state, patience, clock)
    return state._replace(wait=wait, stopped=patience is not None and wait >= _length(patience, clock))


def _update_plateau(
    state: MonitorState, value: float, is_improvement: bool, plateau: Plateau, clock: Clock
) -> MonitorState:
    state = state._replace(cooldown=max(state.cooldown - _elapsed(state, plateau.cooldown, clock), 0))
    if is_improvement:
        return state._replace(plateau_reference=value, plateau_wait=0)
    if state.cooldown:
        return state._replace(plateau_wait=0)
    wait, min_scale = state.plateau_wait + _elapsed(state, plateau.patience, clock), shortest_decimal(plateau.min_scale)
    if wait < _length(plateau.patience, clock) or state.scale <= min_scale:
        return state._replace(plateau_wait=wait)
    scale = max(state.scale * shortest_decimal(plateau.factor), min_scale)
    return state._replace(plateau_wait=0, cooldown=_length(plateau.cooldown, clock), scale=scale)


def _elapsed(state: MonitorState, patience: int | Duration | None, clock: Clock) -> int:
    """What passed since the last evaluation: its steps for a patience that is a duration, else one evaluation."""
    return int(clock.step) - state.step if isinstance(patience, Duration) else 1


def _length(patience: int | Duration, clock: Clock) -> int:
    """A patience as a number of evaluations or steps."""
    return round(float(patience.steps(clock))) if isinstance(patience, Duration) else patience
