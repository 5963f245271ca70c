"""`StepPlan`: the steps at which a run is evaluated, its frozen parameters are unfrozen, and it ends."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from components.types import Clock, Duration


class Extension(NamedTuple):
    """The end of a run that was extended later.

    After a crash, an extended run may repeat steps from before it was extended. They need the learning rates and the
    evaluations of the shorter run.

    Attributes:
        total_steps: the number of steps that the run would have had.
        step: the last step before it was extended.
        is_evaluated: whether the run had finished there, which ends with an evaluation.
        schedule_length: what the schedule spanned. None: those steps.
    """

    total_steps: int
    step: int
    is_evaluated: bool
    schedule_length: Duration | None = None


@dataclass(frozen=True, kw_only=True)
class StepPlan:
    """The steps at which a run is evaluated, its frozen parameters are unfrozen, and it ends.

    Attributes:
        steps_per_epoch: the number of steps in an epoch.
        total_steps: the number of steps of the whole run.
        evaluation_interval: the number of steps between two evaluations.
        turns: how long parameters are frozen that don't stay so, by the name of their turn.
        schedule_length: what the schedule spans. None: the whole run.
        extensions: the earlier ends of a run that was extended, in the order of time.
    """

    steps_per_epoch: int
    total_steps: int
    evaluation_interval: int
    turns: Mapping[str, Duration]
    schedule_length: Duration | None = None
    extensions: tuple[Extension, ...] = ()

    @cached_property
    def unfreeze_steps(self) -> dict[str, int]:
        """The step before which the parameters of each turn are unfrozen.

        If it depends on the length of a run that was extended, the first length counts with which it was reached.
        """
        return {name: self._find_unfreeze_step(until) for name, until in self.turns.items()}

    def _find_unfreeze_step(self, until: Duration) -> int:
        for end in sorted(self.extensions, key=lambda end: end.step):
            step = self.count_steps(until, end.total_steps)
            if step < end.step:
                return step
        return self.count_steps(until, self.total_steps)

    def ended_turns(self, step: int) -> tuple[str, ...]:
        """The turns whose parameters the step after `step` trains, sorted."""
        return tuple(sorted(name for name, end in self.unfreeze_steps.items() if end <= step))

    def count_steps(self, duration: Duration, total_steps: int) -> int:
        """The number of steps of a duration in a run of `total_steps`."""
        return round(float(duration.steps(Clock(0, total_steps, self.steps_per_epoch))))

    def next_evaluation(self, step: int) -> int:
        """The first step after `step` that ends with an evaluation, unless the time is up earlier."""
        interval = self.evaluation_interval
        earlier_ends = [end.step for end in self.extensions if end.is_evaluated and end.step > step]
        return min([(step // interval + 1) * interval, self.total_steps, *earlier_ends])

    def next_change(self, step: int) -> int:
        """The first step after `step` at which a dispatch must end: parameters are unfrozen, or the rates change."""
        changes = [self.total_steps, *self.unfreeze_steps.values(), *(end.step for end in self.extensions)]
        return min(change for change in changes if change > step)

    def total_steps_at(self, step: int) -> int:
        """The number of steps that the run had when it first took a step."""
        return min([self.total_steps, *(end.total_steps for end in self.extensions if step < end.step)])

    def schedule_steps_at(self, step: int) -> int:
        """The number of steps that the schedule spanned when the run first took a step."""
        total = self.total_steps_at(step)
        lengths = (end.schedule_length for end in self.extensions if step < end.step)
        length = next(lengths, self.schedule_length)
        return total if length is None else max(self.count_steps(length, total), 1)

    def count_epochs(self, step: int) -> float:
        """The number of epochs that the first `step` steps are, an int if it is whole."""
        epochs, rest = divmod(step, self.steps_per_epoch)
        return step / self.steps_per_epoch if rest else epochs
