"""How many sets of weights a run averages, and what its user should know about that."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from components.types import AveragesSets, Clock
from runner.program.update import AVERAGED_WEIGHTS
from runner.training.step_plan import StepPlan


def count_planned(member: AveragesSets, plan: StepPlan) -> int:
    """The number of sets of weights that are averaged by the end of a run."""
    start, every = _due_steps(member, plan)

    def count_until(step: int) -> int:
        count = int(step / every) + 1
        return count if round(count * every) <= step else count - 1

    return count_until(plan.total_steps) - count_until(min(start, plan.total_steps))


def _due_steps(member: AveragesSets, plan: StepPlan) -> tuple[int, float]:
    start, every = member.due_steps(Clock(0, plan.total_steps, plan.steps_per_epoch))
    return int(start), float(every)


def describe_plan(name: str, member: AveragesSets, plan: StepPlan) -> str | None:
    """A note if a run is too short for a mean of several sets of weights; None: it is long enough."""
    planned = count_planned(member, plan)
    if planned > 1:
        return None
    start, every = _due_steps(member, plan)
    result = "the mean has a single set of weights" if planned else "the weights are not averaged"
    return (
        f"note: {name} takes weights every {every:,.10g} steps after step {start:,} of {plan.total_steps:,}, so "
        f"{result}. Let it start earlier or take weights more often, or train longer"
    )


def describe_result(
    name: str, member: AveragesSets, plan: StepPlan, history: Sequence[Mapping[str, float]], best_step: int | None
) -> str:
    """Says whether the best weights of a finished run are a mean, and of how many sets of weights."""
    counts = {int(record["step"]): int(record.get(AVERAGED_WEIGHTS, 0)) for record in history}
    last, planned = max(counts), count_planned(member, plan)
    best = last if best_step is None else best_step
    ended = f"; the run ended at step {last:,} of {plan.total_steps:,}" if last < plan.total_steps else ""
    if not counts[best]:
        reason = "no evaluation of the mean was better" if counts[last] else "no weights were taken"
        return f"{name}: the best weights, of step {best:,}, are not averaged: {reason}{ended}"
    count = f"{counts[best]:,} of {planned:,} sets" if counts[best] != planned else f"{planned:,} sets"
    mean = "one set" if counts[best] == planned == 1 else f"the mean of {count}"
    return f"{name}: the best weights, of step {best:,}, are {mean} of weights{ended}"
