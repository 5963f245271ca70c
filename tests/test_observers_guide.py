"""The section on observers in the guide to training is current: its files and commands run."""

import csv
import json
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from guides import read_guide

from components.types import Event
from runner.__main__ import main

GUIDE = read_guide("training.md", "Observers", "Splits")
QUICK = ("training.limit_batches=1", "training.batch_size=16", "training.epochs=2", "tracking=none", "quiet=true")


@pytest.fixture(autouse=True)
def folder(in_empty_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the guide's files."""
    return GUIDE.write_files(in_empty_folder, monkeypatch)


@pytest.mark.optax
@pytest.mark.parametrize("command", GUIDE.commands)
def test_a_command_runs(command: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*shlex.split(command), *QUICK]) == 0, capsys.readouterr()
    (run,) = (folder / "outputs").iterdir()
    steps = [record["step"] for record in json.loads((run / "summary.json").read_text())["history"]]
    with (run / "observers/parameter_norms/parameter_norms.csv").open(newline="") as file:
        assert [int(row["step"]) for row in csv.DictReader(file)] == steps
    if "head_watch" in command:
        assert {np.load(run / f"observers/head_watch/head_{step}.npy").shape for step in steps} == {(64, 10)}


@pytest.mark.optax
def test_the_observer_of_the_guide_stops_a_run_that_the_same_command_resumes(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = shlex.split(GUIDE.commands[-1])
    assert main([*words, *QUICK, "observer.head_watch.limit=0.1"]) == 2
    assert "observer.head_watch: valid/loss is more than 0.1 times train/loss." in capsys.readouterr().err
    assert main([*words, *QUICK]) == 0
    assert len([*(folder / "outputs").iterdir()]) == 1


def test_the_guide_describes_the_arguments_and_the_fields_of_an_event() -> None:
    assert re.findall(r"^\| `(\w+)` \|", GUIDE.text, re.MULTILINE) == ["event", "record", "variables"]
    assert all(f"`{field}`" in GUIDE.text for field in Event._fields)
    assert len(GUIDE.commands) == 2
