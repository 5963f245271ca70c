"""The numbers of a run's schedule over the run, for tables, notes and figures."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from pathlib import Path

import jax.numpy as jnp
import numpy as np

from components.types import Clock
from runner.files import write_atomically
from runner.run_folder import SCHEDULE_FILE
from runner.training.trainer import Trainer

POINTS = 200  # of a curve, which a run of fewer steps has at every step
STEP, EPOCH = "step", "epoch"


def sample_schedule(trainer: Trainer, points: int = POINTS) -> dict[str, np.ndarray]:
    """The numbers of the schedule by name, such as `learning_rate`, with `step` and `epoch`, each (points,).

    A plateau would reduce them; it isn't known before. Steps before a run was extended have the numbers that they had.
    """
    plan = trainer.plan
    steps = np.unique(np.linspace(0, plan.total_steps - 1, min(points, plan.total_steps)).round().astype(np.int32))
    totals = np.array([plan.schedule_steps_at(int(step)) for step in steps], np.int32)
    numbers = compute_numbers(trainer, steps, totals)
    return {STEP: steps, EPOCH: steps / plan.steps_per_epoch, **numbers}


def compute_numbers(trainer: Trainer, steps: np.ndarray, totals: np.ndarray) -> dict[str, np.ndarray]:
    """The numbers of the schedule at some steps, of which it spans so many in all; both are int32 (points,)."""
    clocks = Clock(jnp.asarray(steps), jnp.asarray(totals), jnp.int32(trainer.plan.steps_per_epoch))
    numbers = trainer.program.rates(trainer.program_inputs, clocks)
    return {name: np.asarray(values) for name, values in numbers.items()}


def write_curve(folder: Path, curve: Mapping[str, np.ndarray]) -> None:
    """Writes the numbers of a schedule into the folder of a run, from which they are drawn."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(curve)
    writer.writerows(zip(*(values.tolist() for values in curve.values()), strict=True))
    write_atomically(folder / SCHEDULE_FILE, text.getvalue())


def find_zero_tail(curve: Mapping[str, np.ndarray]) -> int | None:
    """The step from which on the learning rate is 0; None: that of the last step isn't."""
    positive = np.flatnonzero(curve["learning_rate"])
    steps = curve[STEP]
    if len(positive) == len(steps) or (len(positive) and positive[-1] == len(steps) - 1):
        return None
    return int(steps[positive[-1] + 1]) if len(positive) else 0
