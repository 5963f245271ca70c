"""Schedules and optimizers that don't fit together are errors before JAX is imported."""

import pytest

from runner.config.check_schedule import find_momentum
from runner.config.compose import configure
from runner.errors import ConfigError

CYCLE = ("experiment=digits_mlp", "schedule=one_cycle")
HEAD = "update.groups.head={{paths: [architecture/head], {}}}"
NONE = "sets the momentum, and components.optimizer.ftrl has none. Choose optimizer=sgd, adam, adamw or nadam, or a"
PIECES = ("schedule=piecewise_constant", "schedule.values=[0.1,0.2,0.3]")


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        ((*CYCLE, "optimizer=ftrl"), f"schedule: {NONE}"),
        ((*CYCLE, "update=[groups]", HEAD.format("optimizer: ftrl")), f"schedule: {NONE}"),
        (
            ("optimizer=ftrl", "update=[groups]", HEAD.format("schedule: one_cycle")),
            f"update.groups.head.schedule: {NONE}",
        ),
        (("optimizer=ftrl", "schedule=join", "schedule.schedules=[one_cycle,one_cycle]"), f"schedule: {NONE}"),
        (
            (*CYCLE, "optimizer=sgd", "optimizer.momentum=0.9"),
            "optimizer.momentum: is set by schedule. Leave it out, as in optimizer=sgd, or set the momentum of the",
        ),
        ((*CYCLE, "optimizer=adam", "optimizer.b1=0.8"), "optimizer.b1: is set by schedule."),
        (
            (*CYCLE, "schedule.momentum=null", "schedule.lowest_momentum=0.8"),
            "schedule.lowest_momentum: has no effect, because schedule.momentum is null: the optimizer keeps its own.",
        ),
        (
            ("update=[groups]", HEAD.format("schedule: {option: one_cycle, momentum: null, lowest_momentum: 0.8}")),
            "update.groups.head.schedule.lowest_momentum: has no effect",
        ),
        (PIECES, "schedule.learning_rate: has no effect, because schedule.values has the learning rates. Set sched"),
        (
            ("mode=find_lr", "optimizer={_target_: optax.contrib.prodigy}"),
            "optimizer: optax.contrib.prodigy finds the lengths of its steps itself, so mode=find_lr has nothing to",
        ),
        (("mode=find_lr", "find_lr.min_rate=1", "find_lr.max_rate=1"), "find_lr.min_rate: 1 is not below find_lr.max"),
        (
            (*PIECES, "schedule.learning_rate=null", "schedule.factors=[1,2,3]"),
            "schedule.factors: has no effect, because schedule.values has the learning rates.",
        ),
    ],
)
def test_schedules_and_optimizers_must_fit(words: tuple[str, ...], problem: str) -> None:
    with pytest.raises(ConfigError) as raised:
        configure(words)
    (found,) = raised.value.problems
    assert found.startswith(problem)


@pytest.mark.parametrize(
    "words",
    [
        (*CYCLE, "optimizer=sgd", "optimizer.nesterov=true"),
        (*CYCLE, "schedule.momentum=null", "optimizer=ftrl"),
        (*CYCLE, "schedule.momentum=null", "optimizer=adam", "optimizer.b1=0.8"),
        ("update=[groups]", HEAD.format("optimizer: {option: sgd, momentum: 0.9}")),
        (*CYCLE, "optimizer=ftrl", "schedule=constant"),
        (*PIECES, "schedule.learning_rate=null"),
    ],
)
def test_schedules_that_fit_are_no_problem(words: tuple[str, ...]) -> None:
    configure(words)


def test_the_momentum_of_an_optimizer_has_several_names() -> None:
    optimizers = {
        "optax.sgd": "momentum",
        "optax.adamw": "b1",
        "optax.signum": "beta",
        "components.optimizer.ftrl": None,
    }
    assert {target: find_momentum(target) for target in optimizers} == optimizers
    assert find_momentum("optax.optimistic_gradient_descent") is None, "its beta is no momentum"
