"""What is decided from the monitored figure: which weights are best, when to lower the rate, when to stop."""

from __future__ import annotations

import math
from typing import NamedTuple

from components.types import Plateau


class MonitorState(NamedTuple):
    """The standing of a run: plain numbers, which a checkpoint holds exactly."""

    best: float  # the best figure so far, by the plain comparison
    reference: float  # the last figure that patience took for an improvement
    wait: int  # evaluations since then
    plateau_reference: float  # the same for the rate
    plateau_wait: int
    cooldown: int  # evaluations still to come that don't count towards a cut
    scale: float  # of the rate
    stopped: bool


def initial_monitor(higher_is_better: bool) -> MonitorState:
    """The standing before the first evaluation."""
    worst = -math.inf if higher_is_better else math.inf
    return MonitorState(worst, worst, 0, worst, 0, 0, 1.0, False)


def update_monitor(
    control: MonitorState,
    value: float,
    *,
    plateau: Plateau | None,
    patience: int | None,
    min_delta: float,
    higher_is_better: bool,
) -> tuple[MonitorState, bool]:
    """The standing after an evaluation, and whether its figure is the best so far; NaN never is.

    The run stops after `patience` evaluations that improve by no more than `min_delta`; None: never. The plateau
    has numbers of its own. The decisions are those of Keras.
    """

    def improves(reference: float, delta: float) -> bool:
        return value > reference + delta if higher_is_better else value < reference - delta

    best = improves(control.best, 0.0)
    if best:
        control = control._replace(best=value)
    control = _stop(control, value, improves(control.reference, min_delta), patience)
    if plateau is not None:
        control = _cut(control, value, improves(control.plateau_reference, plateau.min_delta), plateau)
    return control, best


def _stop(control: MonitorState, value: float, improved: bool, patience: int | None) -> MonitorState:
    if improved:
        return control._replace(reference=value, wait=0, stopped=False)
    wait = control.wait + 1
    return control._replace(wait=wait, stopped=patience is not None and wait >= patience)


def _cut(control: MonitorState, value: float, improved: bool, plateau: Plateau) -> MonitorState:
    control = control._replace(cooldown=max(control.cooldown - 1, 0))
    if improved:
        return control._replace(plateau_reference=value, plateau_wait=0)
    wait = 0 if control.cooldown else control.plateau_wait + 1
    if wait < plateau.patience or control.scale <= plateau.floor:
        return control._replace(plateau_wait=wait)
    scale = max(control.scale * float(plateau.factor), plateau.floor)
    return control._replace(plateau_wait=0, cooldown=plateau.cooldown, scale=scale)
