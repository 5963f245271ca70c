"""How long a run is, and how far it is."""

from __future__ import annotations

import time
from typing import NamedTuple

MIN_SECONDS = 0.5  # work that took longer gets a line afterwards


class RunLength(NamedTuple):
    """How long a run is.

    Attributes:
        total_steps: the number of steps.
        steps_per_epoch: the number of steps of an epoch.
        counts_epochs: whether each evaluation ends an epoch.
        end_time: when the run ends at the latest, on the clock of `time.monotonic`. None: no limit.
    """

    total_steps: int
    steps_per_epoch: int
    counts_epochs: bool = True
    end_time: float | None = None

    def format_position(self, step: int) -> str:
        """How many epochs or steps a run has taken: `epoch  3/20` or `step    50/1000`."""
        name, count, total = "step", step, self.total_steps
        if self.counts_epochs:
            total //= self.steps_per_epoch
            name, count = "epoch", min(self.count_epochs(step), total)
        return f"{name} {count:{len(str(total))}}/{total}"

    def count_epochs(self, step: int) -> int:
        """The number of the epoch that `step` steps reach, counted from 1."""
        return max(-(-step // self.steps_per_epoch), 1)

    def seconds_left(self, step: int, steps_per_second: float) -> float:
        """The time until the last step, or until `end_time`."""
        seconds = (self.total_steps - step) / steps_per_second
        return seconds if self.end_time is None else max(min(seconds, self.end_time - time.monotonic()), 0.0)


def format_duration(seconds: float) -> str:
    """A time as hours, minutes and seconds: 3725 becomes `1:02:05`."""
    hours, rest = divmod(round(seconds), 3600)
    return f"{hours}:{rest // 60:02}:{rest % 60:02}"


def format_epochs(epochs: float) -> str:
    """A number of epochs: 59.2973 becomes `59.3`, 20.0 becomes `20`."""
    return f"{epochs:.1f}".removesuffix(".0")


def format_pace(steps_per_second: float) -> str:
    """A speed with four digits, and all before the point: 0.1234 steps/s, 2,178 steps/s, 11,260 steps/s."""
    number = f"{steps_per_second:,.0f}" if steps_per_second >= 1000 else f"{steps_per_second:.4g}"
    return f"{number} steps/s"
