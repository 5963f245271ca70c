"""What the monitored value decides: which weights are the best, when to lower the learning rate, when to stop."""

from __future__ import annotations

import math
from typing import NamedTuple

from components.types import Plateau


class MonitorState(NamedTuple):
    """The state of early stopping and of the plateau, as plain numbers that a checkpoint holds exactly.

    Attributes:
        best: the best value so far.
        reference: the last value that counted as an improvement for early stopping.
        wait: evaluations since then.
        plateau_reference: the last value that counted as an improvement for the plateau.
        plateau_wait: evaluations since then.
        cooldown: evaluations still to come that the plateau doesn't count.
        scale: the factor that the plateau has made of the learning rate.
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
        state: the state before.
        value: the monitored value.
        plateau: how the learning rate falls. None: it doesn't.
        patience: the run stops after so many evaluations without improvement. None: never.
        min_delta: an improvement by no more than this doesn't count for early stopping. The plateau has its own.
        higher_is_better: the direction of the value.

    The decisions equal those of Keras (EarlyStopping and ReduceLROnPlateau).
    """

    def improves(reference: float, delta: float) -> bool:
        return value > reference + delta if higher_is_better else value < reference - delta

    is_best = improves(state.best, 0.0)
    if is_best:
        state = state._replace(best=value)
    state = _early_stopping(state, value, improves(state.reference, min_delta), patience)
    if plateau is not None:
        state = _reduce_on_plateau(state, value, improves(state.plateau_reference, plateau.min_delta), plateau)
    return state, is_best


def _early_stopping(state: MonitorState, value: float, improved: bool, patience: int | None) -> MonitorState:
    if improved:
        return state._replace(reference=value, wait=0, stopped=False)
    wait = state.wait + 1
    return state._replace(wait=wait, stopped=patience is not None and wait >= patience)


def _reduce_on_plateau(state: MonitorState, value: float, improved: bool, plateau: Plateau) -> MonitorState:
    state = state._replace(cooldown=max(state.cooldown - 1, 0))
    if improved:
        return state._replace(plateau_reference=value, plateau_wait=0)
    wait = 0 if state.cooldown else state.plateau_wait + 1
    if wait < plateau.patience or state.scale <= plateau.min_scale:
        return state._replace(plateau_wait=wait)
    scale = max(state.scale * float(plateau.factor), plateau.min_scale)
    return state._replace(plateau_wait=0, cooldown=plateau.cooldown, scale=scale)
