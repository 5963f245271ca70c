"""The section on targets in the guide to losses and metrics is current: its files and commands run."""

import json
import shlex
from pathlib import Path

import pytest
from guides import read_guide
from sample_files import write_data
from slow import slow_but

from runner.__main__ import main

GUIDE = read_guide("losses_and_metrics.md", "What is learned")
QUICK = ("training.limit_batches=1", "training.batch_size=16", "tracking=none", "quiet=true")


@pytest.fixture(autouse=True)
def folder(in_empty_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the guide's files."""
    write_data(in_empty_folder / "data")
    monkeypatch.setenv("TITRATE_DATA", str(in_empty_folder / "data"))
    return GUIDE.write_files(in_empty_folder, monkeypatch)


@pytest.mark.optax
@pytest.mark.parametrize("command", slow_but(GUIDE.commands[:1], GUIDE.commands))
def test_a_command_runs(command: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = shlex.split(command)
    if "teacher.run=RUN" in words:
        assert main(["experiment=digits_cnn", "training.epochs=1", "folder=teachers", *QUICK]) == 0
        (teacher,) = folder.glob("teachers/*/")
        words = [word.replace("RUN", str(teacher)) for word in words]
    assert main([*words, *QUICK]) == 0, capsys.readouterr()
    (summary, *_) = sorted(folder.glob("outputs/**/summary.json"), key=lambda path: len(path.parts), reverse=True)
    metrics = json.loads(summary.read_text())["metrics"]
    assert {"test/loss"} <= metrics.keys()
    if "price_and_age" in command:
        assert {"test/PRICE/rmse", "test/AGE/loss", "test/weighted/PRICE/mae"} <= metrics.keys()


def test_the_guide_has_files_and_commands() -> None:
    assert len(GUIDE.files) >= 6
    assert len(GUIDE.commands) >= 6
