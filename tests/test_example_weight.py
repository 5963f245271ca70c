"""The weights of examples in a run: a mean far from 1 gets a note, and they may be divided by their mean."""

from typing import Any

import numpy as np
import pytest

import runner

QUICK = ("training.epochs=1", "tracking=none", "quiet=true", "architecture.widths=[2]", "seed=1")
PART = "feature.weight={_target_: components.feature.ExampleWeight, key: w"
DATA: dict[str, Any] = {
    "x": np.arange(40.0),
    "y": np.sin(np.arange(40.0)),
    "w": np.where(np.arange(40) % 2, 100.0, 300.0),
}


def train(*words: str) -> float:
    """The training loss of a run with weights."""
    return float(runner.run(*QUICK, *words, data=DATA, target="y").history["train/loss"].iloc[-1])


@pytest.mark.slow
@pytest.mark.optax
@pytest.mark.usefixtures("in_empty_folder")
def test_weights_far_from_1_get_a_note_and_may_be_normalized(capsys: pytest.CaptureFixture[str]) -> None:
    raw = train("feature.weight=w")
    (note,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("note: the weights")]
    assert "have a mean of 185.7" in note
    remedy = note.partition("Write ")[2].strip("'")
    assert remedy == f"{PART}, normalize: true}}"
    train(f"{PART}}}")
    assert "Write feature.weight.normalize=true" in capsys.readouterr().err
    assert 0 < train(remedy) < raw / 50
    assert train("feature.weight=w", "training.sampling=weighted") > 0
    assert "note: the weights" not in capsys.readouterr().err
