"""The steps at which a run unfreezes parameters."""

from components.types import Duration
from runner.training.step_plan import Extension, StepPlan


def make_plan(**turns: Duration) -> StepPlan:
    return StepPlan(steps_per_epoch=10, total_steps=100, evaluation_interval=10, turns=turns)


def test_turns_end_at_their_steps_in_any_order() -> None:
    plan = make_plan(last=Duration(0.5, "run"), first=Duration(15, "step"), second=Duration(2, "epoch"))
    assert [plan.ended_turns(step) for step in (14, 15, 20, 49, 50)] == [
        (),
        ("first",),
        ("first", "second"),
        ("first", "second"),
        ("first", "last", "second"),
    ]
    assert [plan.next_change(step) for step in (0, 15, 20, 50)] == [15, 20, 50, 100]


def test_a_longer_run_keeps_the_step_of_a_turn_that_has_ended() -> None:
    plan = make_plan(a=Duration(0.5, "run"), b=Duration(0.9, "run"))
    extension = Extension(total_steps=20, step=15, is_evaluated=True)
    longer = StepPlan(
        steps_per_epoch=10, total_steps=100, evaluation_interval=10, turns=plan.turns, extensions=(extension,)
    )
    assert longer.unfreeze_steps == {"a": 10, "b": 90}
