"""The numbers of a schedule over a run: sampled with one compilation, noted, recorded and drawn."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from step_session import ROWS, Session

from components.types import Duration
from runner.figures import draw
from runner.run_folder import SCHEDULE_FILE
from runner.training.rate_curve import find_zero_tail, sample_schedule, write_curve
from runner.training.step_plan import Extension

STEPS = (ROWS - 8) // 4  # of an epoch
pytestmark = pytest.mark.optax


def test_a_short_run_is_sampled_at_every_step_and_a_long_one_at_some() -> None:
    session = Session("schedule=linear", "training.epochs=2")
    curve = sample_schedule(session.trainer)
    assert curve["step"].tolist() == [*range(2 * STEPS)]
    np.testing.assert_allclose(curve["learning_rate"], 0.1 * (1 - curve["step"] / (2 * STEPS)), rtol=1e-6)
    np.testing.assert_allclose(curve["epoch"], curve["step"] / STEPS)
    assert sample_schedule(session.trainer, 3)["step"].tolist() == [0, 4, 7]


def test_a_sweep_over_numbers_compiles_the_curve_once() -> None:
    first, second = (Session("schedule=one_cycle", f"learning_rate={rate}") for rate in (0.1, 0.2))
    rates = [sample_schedule(session.trainer)["learning_rate"] for session in (first, second)]
    np.testing.assert_allclose(2 * rates[0], rates[1])
    assert first.trainer.program.rates._cache_size() == 1


def test_the_steps_before_an_extension_keep_their_rates() -> None:
    trainer = Session("schedule=linear", "training.epochs=2").trainer
    trainer.plan = replace(trainer.plan, extensions=(Extension(STEPS, STEPS, True),))
    rates = sample_schedule(trainer)["learning_rate"]
    np.testing.assert_allclose(rates[:STEPS], 0.1 * (1 - np.arange(STEPS) / STEPS), rtol=1e-6)
    np.testing.assert_allclose(rates[STEPS:], 0.1 * (1 - np.arange(STEPS, 2 * STEPS) / (2 * STEPS)), rtol=1e-6)


def test_the_steps_before_an_extension_keep_the_length_of_their_schedule() -> None:
    trainer = Session("schedule=linear", "training.epochs=2").trainer
    two_steps = Duration(2, "step")
    first = Extension(STEPS, 2, False, two_steps)
    trainer.plan = replace(trainer.plan, schedule_length=two_steps, extensions=(first, Extension(STEPS, STEPS, True)))
    rates = sample_schedule(trainer)["learning_rate"]
    expected = [*(1 - np.arange(2) / 2), *(1 - np.arange(2, STEPS) / STEPS), *[0.5] * STEPS]
    np.testing.assert_allclose(rates, 0.1 * np.array(expected), rtol=1e-6)


@pytest.mark.parametrize(
    ("rates", "step"), [([2, 1, 0, 0], 20), ([1, 0, 0, 1], None), ([0, 0, 0, 0], 0), ([1] * 4, None)]
)
def test_the_rates_of_the_last_steps_may_be_zero(rates: list[float], step: int | None) -> None:
    assert find_zero_tail({"step": np.arange(0, 40, 10), "learning_rate": np.array(rates)}) == step


@pytest.mark.parametrize(
    ("words", "note"),
    [
        (("linear", "decay_steps=2st"), "the learning rate is 0 from about step 2 of 8 on, so later steps change noth"),
        (("linear", "decay_steps=2st", "final=0.1"), None),
        (
            ("linear", "decay_steps=16st"),
            "16st is 16 steps, and the run takes 8, so the learning rate of its last step",
        ),
        (
            ("join", "boundaries=[16st]"),
            "schedule.boundaries.0=16st is 16 steps, and the run takes 8, so the learning r",
        ),
        (("cosine",), None),
    ],
)
def test_a_note_says_what_happens_if_the_schedule_is_shorter_or_longer(
    words: tuple[str, ...], note: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    option, *settings = words
    Session("training.epochs=2", f"schedule={option}", *(f"schedule.{each}" for each in settings))
    notes = [line for line in capsys.readouterr().err.splitlines() if "learning rate" in line]
    assert len(notes) == (note is not None)
    assert note is None or note in notes[0]


def test_a_schedule_is_drawn_with_its_momentum_unless_it_is_constant(tmp_path: Path) -> None:
    write_curve(tmp_path, {"step": np.arange(2), "epoch": np.arange(2) / 2, "learning_rate": np.array([1.0, 0.5])})
    assert (tmp_path / SCHEDULE_FILE).read_text().splitlines() == ["step,epoch,learning_rate", "0,0.0,1.0", "1,0.5,0.5"]
    assert [path.name for path in draw(tmp_path)] == ["schedule.png"]
    write_curve(tmp_path, {"step": np.arange(2), "epoch": np.arange(2) / 2, "learning_rate": np.ones(2)})
    assert draw(tmp_path) == []
