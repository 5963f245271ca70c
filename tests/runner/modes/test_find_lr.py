"""The learning rate range test: one compilation, a rate for each step, a suggestion, and nothing that is kept."""

import json
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from runner.__main__ import main
from runner.errors import LocatedError
from runner.figures import draw
from runner.modes import find_lr
from runner.modes.find_lr import Ramp, run_ramp

WORDS = (
    "experiment=digits_mlp",
    "mode=find_lr",
    "training.batch_size=128",
    "find_lr.steps=40",
    "find_lr.max_rate=1",
    "architecture.widths=[4]",
)
pytestmark = pytest.mark.optax


def make_ramp(losses: Iterable[float], decay: float = 0.5) -> Ramp:
    """A ramp of given losses, from 1e-5 with ten steps in each decade."""
    points = [(10 ** (step / 10 - 5), loss) for step, loss in enumerate(losses)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(find_lr, "_iterate_losses", lambda trainer, steps: iter(points))
        trainer: Any = None
        return run_ramp(trainer, len(points), decay)


FLAT, FALL = [2.0] * 20, [2 - step / 10 for step in range(1, 16)]


def test_the_smoothed_loss_is_a_mean_with_falling_weights() -> None:
    ramp = make_ramp([4.0, 2.0, 8.0])
    np.testing.assert_allclose(ramp.smoothed, [4, (4 / 4 + 2 / 2) / (3 / 4), (4 / 8 + 2 / 4 + 8 / 2) / (7 / 8)])
    np.testing.assert_allclose(make_ramp([4.0, 2.0, 8.0], decay=0.0).smoothed, [4, 2, 8])


def test_a_tenth_of_the_rate_with_the_lowest_loss_is_suggested() -> None:
    ramp = make_ramp([*FLAT, *FALL, 0.6, 0.7, 0.8], decay=0.0)
    assert ramp.lowest == 34
    assert ramp.suggestion == 0.0025  # 10 ** (34 / 10 - 5) / 10
    assert 1e-3 <= ramp.steepest <= 10**-1.6
    assert ramp.end == "find_lr.max_rate, after 38 steps"


def test_the_first_losses_are_no_steepest_fall() -> None:
    assert make_ramp([9.0, 2.0, *FLAT[2:], *FALL], decay=0.0).steepest > 1e-4


@pytest.mark.parametrize(
    ("losses", "end", "steps"),
    [
        ([*FLAT, 0.5, 1.9, 2.1, 9.0], "the loss is 4 times its lowest value, after 23 steps", 23),
        ([*FLAT, -1.0, 0.0, 2.1, 9.0], "the loss is 4 times its lowest value, after 23 steps", 23),
        ([*FLAT, math.nan, 1.0], "the loss is nan in step 21, with the learning rate 0.001", 21),
        ([*FLAT, math.inf, 1.0], "the loss is inf in step 21, with the learning rate 0.001", 21),
    ],
)
def test_a_ramp_ends_when_the_loss_explodes(losses: list[float], end: str, steps: int) -> None:
    ramp = make_ramp(losses, decay=0.0)
    assert (ramp.end, len(ramp.losses)) == (end, steps)
    assert ramp.lowest < 22


@pytest.mark.parametrize("losses", [FLAT, [1.0, 5.0], [2 + (-1) ** step / 10 for step in range(40)]])
def test_a_loss_that_does_not_fall_suggests_nothing(losses: list[float]) -> None:
    assert make_ramp(losses).suggestion is None


def test_a_loss_that_is_nan_at_first_is_an_error() -> None:
    with pytest.raises(LocatedError, match="the loss is nan in the first step, with the learning rate 1e-05, so no"):
        make_ramp([math.nan, 1.0])


def test_a_ramp_is_printed_and_recorded_and_keeps_no_weights(
    in_empty_folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    trainers = []

    def keep_trainer(trainer: Any, *arguments: Any) -> Ramp:
        trainers.append(trainer)
        return run_ramp(trainer, *arguments)

    monkeypatch.setattr(find_lr, "run_ramp", keep_trainer)
    assert main([*WORDS, "tracking=none", "schedule=one_cycle", "optimizer=adam", "learning_rate=7"]) == 0
    printed = capsys.readouterr().out
    words = "training.batch_size=128 'architecture.widths=[4]' tracking=none schedule=one_cycle optimizer=adam"
    assert f"command     titrate experiment=digits_mlp {words} learning_rate=" in printed
    (folder,) = Path("outputs").iterdir()
    points = [json.loads(line)["values"] for line in (folder / "points.jsonl").read_text().splitlines()]
    rates = np.array([point["learning_rate"] for point in points])
    np.testing.assert_allclose(rates, 1e-7 * 1e7 ** (np.arange(len(rates)) / 39), rtol=1e-4)
    assert trainers[0].program.train._cache_size() == 1, "the rate and a smaller last batch compile nothing"
    assert not (folder / "checkpoints").exists()
    summary = json.loads((folder / "summary.json").read_text())
    assert f"learning_rate={summary['metrics']['suggested_learning_rate']:g}" in printed
    assert [path.name for path in draw(folder)] == ["find_lr.png"]
    assert main(["mode=evaluate", f"run={folder.name}"]) == 2
    assert f"run={folder.name} is a folder of mode=find_lr, which trains nothing" in capsys.readouterr().err
