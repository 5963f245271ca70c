"""The momentum of a schedule reaches the parameter that is the momentum of an optimizer."""

from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np
import pytest
from options import write_option
from step_session import Session

from runner.errors import ConfigError


@pytest.mark.parametrize(("optimizer", "parameter"), [("sgd", "momentum"), ("adam", "b1"), ("rmsprop", "momentum")])
@pytest.mark.optax
def test_a_constant_momentum_of_the_schedule_equals_that_of_the_optimizer(optimizer: str, parameter: str) -> None:
    words = ("schedule=one_cycle", f"optimizer={optimizer}")
    scheduled = Session(*words, "schedule.momentum=0.7", "schedule.lowest_momentum=0.7")
    of_optimizer = Session(*words, "schedule.momentum=null", f"optimizer.{parameter}=0.7")
    jax.tree.map(np.testing.assert_array_equal, scheduled.step(3).parameters, of_optimizer.step(3).parameters)
    last = scheduled.sums[-1]["last"]
    assert last["momentum"] == np.float32(0.7)
    assert "momentum" not in of_optimizer.sums[-1]["last"]
    other = Session(*words, "schedule.momentum=0.7", "schedule.lowest_momentum=0.2")
    assert other.sums == []
    other.step(3)
    assert other.sums[-1]["last"]["momentum"] < 0.7


OWN = """
from components.types import Schedule

def part(learning_rate):
    return Schedule(lambda clock: {"learning_rate": learning_rate, "momentum": 0.5})
"""


@pytest.mark.optax
def test_a_momentum_of_your_own_schedule_needs_an_optimizer_with_one(
    in_empty_folder: Path, write_module: Callable[[str, str], None]
) -> None:
    write_module("mine", OWN)
    words = [word for word in write_option("mine", "schedule", "part") if word.startswith("schedule")]
    assert Session(*words, "optimizer=nadam").step().step == 1
    with pytest.raises(ConfigError, match="schedule: sets the momentum, and"):
        Session(*words, "optimizer=ftrl")
