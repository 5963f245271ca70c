"""The guide to pipelines is current: its files and commands run."""

import shlex
from pathlib import Path

import pytest
from guides import read_guide

from runner.__main__ import main

GUIDE = read_guide("pipelines.md")


@pytest.mark.slow
@pytest.mark.optax
def test_its_files_and_commands_run(in_empty_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    GUIDE.write_files(in_empty_folder)
    exec(GUIDE.files["make_tables.py"], {})
    assert len(GUIDE.commands) >= 5
    for command in GUIDE.commands:
        settings = [] if "run=last" in command else ["training.epochs=1", "tracking=none"]
        assert main([*shlex.split(command), *settings, "quiet=true"]) == 0, capsys.readouterr()
    assert len(Path("prices.csv").read_text().splitlines()) == 501  # all new rows have a prediction
    assert Path("forecast.csv").read_text().splitlines()[0].count("prediction_") == 24
    assert Path("pairs.csv").read_text().startswith('"row","partner","target","prediction",')
    (pairs,) = Path("outputs").glob("*_digit_pairs_*")
    tower = ["experiment=digits_from_pairs", f"weights.run={pairs}", "training.epochs=1", "tracking=none", "quiet=true"]
    assert main(tower) == 0, capsys.readouterr()
