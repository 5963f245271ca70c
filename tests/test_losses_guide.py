"""The section on losses in the guide to losses and metrics is current: its commands run, and its table is complete."""

import re
import shlex
from pathlib import Path

import pytest
from guides import read_guide
from options import options
from slow import slow_but

from runner.__main__ import main

GUIDE = read_guide("losses_and_metrics.md", "Losses", "What is learned")
QUICK = ("training.limit_batches=2", "training.batch_size=16", "architecture.widths=[4]", "tracking=none", "quiet=true")


@pytest.mark.optax
@pytest.mark.parametrize("command", slow_but(GUIDE.commands[-1:], GUIDE.commands))
def test_a_command_runs(command: str, in_empty_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    GUIDE.write_files(in_empty_folder)
    words = [word for word in shlex.split(command) if not word.startswith("training.batch_size")]
    assert main([*words, *QUICK]) == 0, capsys.readouterr().err


def test_its_table_lists_every_loss() -> None:
    rows = re.findall(r"^\| (`.*?) \| ", GUIDE.text, re.MULTILINE)
    assert sorted(name for row in rows for name in re.findall(r"`(\w+)`", row)) == sorted(options("loss"))
