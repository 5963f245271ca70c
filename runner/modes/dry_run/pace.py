"""How long a run would take: a few steps of it where they are short, else by the multiply-adds."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from runner.modes.dry_run.compiling import Compiled, throw_away
from runner.modes.dry_run.machine import multiply_adds_per_second
from runner.modes.dry_run.subject import Subject

SHORT = 1.0  # seconds that a step may take to be measured, and that measuring goes on
AT_ONCE = 5e9  # multiply-adds that any machine does in a second or so
MEASURED = "measured on a few steps"


@dataclass(frozen=True)
class Pace:
    """Seconds, and where they come from."""

    step: float  # of training
    evaluation: float  # of a batch
    basis: str


def pace(subject: Subject, step: Compiled, evaluation: tuple[Compiled, Any] | None, forward: float) -> Pace:
    """The pace of a run that fits into memory; `forward`: multiply-adds of an evaluation's batch."""
    most = max(step.multiply_adds, forward)
    if most > AT_ONCE and most > SHORT * (rate := multiply_adds_per_second()):
        basis = (
            f"estimated from the multiply-adds, at {rate / 1e9:.3g} billion a second, "
            "the device's pace in a matrix product; real steps often take twice as long"
        )
        return Pace(step.multiply_adds / rate, forward / rate, basis)
    state = throw_away(subject.like)
    seconds, state = _steps(subject, step, state)
    if evaluation is None:
        return Pace(seconds, seconds * forward / max(step.multiply_adds, 1), MEASURED)
    program, chunk = evaluation
    batch = chunk.data, chunk.rows[0], chunk.mask
    weights = state.parameters, state.model_state
    return Pace(seconds, _best(lambda: program.call(subject.trainer.given, *weights, *batch)), MEASURED)


def _steps(subject: Subject, step: Compiled, state: Any) -> tuple[float, Any]:
    """Seconds of a training step, the best of a few dispatches; and the state after them."""
    data, rows, count, of_run = subject.dispatch
    given = subject.trainer.given

    def steps(state: Any, count: int) -> tuple[float, Any]:
        began = time.perf_counter()
        state, _ = jax.block_until_ready(step.call(given, state, data, rows, np.int32(count), of_run))
        return (time.perf_counter() - began) / count, state

    seconds, state = steps(state, 1)  # slower than the next ones
    spent = seconds if seconds > SHORT else 0.0
    while spent < SHORT:
        taken = min(int(count), max(1, int(SHORT / 2 / seconds)))
        latest, state = steps(state, taken)
        seconds, spent = min(seconds, latest), spent + latest * taken
    return seconds, state


def _best(call: Callable[[], Any], rounds: int = 2) -> float:
    seconds = []
    for _ in range(rounds):
        began = time.perf_counter()
        jax.block_until_ready(call())
        seconds.append(time.perf_counter() - began)
    return min(seconds)
