"""Best weights, early stopping and reduction of the learning rate on a plateau, all by the monitored value."""

from __future__ import annotations

import math
from typing import NamedTuple

from components.types import Plateau


class MonitorState(NamedTuple):
    """The state of early stopping and of the schedule `reduce_on_plateau`, as plain numbers for a checkpoint.

    Attributes:
        best: the best value so far.
        reference: the last value that counted as an improvement for early stopping.
        wait: the number of evaluations since `reference`.
        plateau_reference: the last value that counted as an improvement for `reduce_on_plateau`.
        plateau_wait: the number of evaluations since `plateau_reference`.
        cooldown: countdown after a reduction, less 1 at each evaluation; `plateau_wait` stays 0 until it reaches 0.
        scale: the factor of the learning rate, which `reduce_on_plateau` reduces.
        stopped: whether early stopping has ended the run.
    """

    best: float
    reference: float
    wait: int
    plateau_reference: float
    plateau_wait: int
    cooldown: int
    scale: float
    stopped: bool


def initial_monitor(higher_is_better: bool) -> MonitorState:
    """The state before the first evaluation."""
    worst = -math.inf if higher_is_better else math.inf
    return MonitorState(worst, worst, 0, worst, 0, 0, 1.0, False)


def update_monitor(
    state: MonitorState,
    value: float,
    *,
    plateau: Plateau | None,
    patience: int | None,
    min_delta: float,
    higher_is_better: bool,
) -> tuple[MonitorState, bool]:
    """The state after an evaluation, and whether its value is the best so far. NaN is never the best.

    Args:
        state: the state before the evaluation.
        value: the monitored value.
        plateau: when and how far the learning rate is reduced. None: never.
        patience: the number of evaluations without improvement after which the run stops. None: it never stops early.
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
    state = _update_early_stopping(state, value, is_improvement(state.reference, min_delta), patience)
    if plateau is not None:
        state = _update_plateau(state, value, is_improvement(state.plateau_reference, plateau.min_delta), plateau)
    return state, is_best


def _update_early_stopping(
    state: MonitorState, value: float, is_improvement: bool, patience: int | None
) -> MonitorState:
    if is_improvement:
        return state._replace(reference=value, wait=0, stopped=False)
    wait = state.wait + 1
    return state._replace(wait=wait, stopped=patience is not None and wait >= patience)


def _update_plateau(state: MonitorState, value: float, is_improvement: bool, plateau: Plateau) -> MonitorState:
    state = state._replace(cooldown=max(state.cooldown - 1, 0))
    if is_improvement:
        return state._replace(plateau_reference=value, plateau_wait=0)
    wait = 0 if state.cooldown else state.plateau_wait + 1
    if wait < plateau.patience or state.scale <= plateau.min_scale:
        return state._replace(plateau_wait=wait)
    scale = max(state.scale * float(plateau.factor), plateau.min_scale)
    return state._replace(plateau_wait=0, cooldown=plateau.cooldown, scale=scale)
