"""The section on splits in the guide to training is current: its commands run, and its table lists all options."""

import random
import re
import shlex
from pathlib import Path

import pytest
from guides import read_guide

from components.types.splits import SPLIT_OPTIONS
from runner.__main__ import main

GUIDE = read_guide("training.md", "Splits")
QUICK = ("training.epochs=1", "architecture.widths=[4]", "tracking=none", "intervals=null")
WRONG = re.findall(r"^    \$ titrate (.*)\n    (.*) \[set by …\]$", GUIDE.text, re.MULTILINE)


@pytest.fixture(autouse=True)
def visits(in_empty_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TITRATE_CACHE", str(in_empty_folder / "cache"))
    numbers = random.Random(0)
    for name, first in (("visits", 0), ("later", 300)):
        lines = ["visit,patient,day,pulse,ill"]
        for visit in range(first, first + 300):
            day = f"2020-{1 + visit // 3 % 12:02}-{1 + visit % 28:02}"
            lines.append(f"v{visit},p{visit // 4},{day},{numbers.gauss(70, 9):.2f},{'yes' if visit % 3 else 'no'}")
        Path(f"{name}.csv").write_text("\n".join(lines))


@pytest.mark.slow
@pytest.mark.optax
@pytest.mark.parametrize("command", GUIDE.commands)
def test_a_command_runs(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*shlex.split(command), *QUICK]) == 0, capsys.readouterr().err


def test_a_wrong_command_has_the_error_of_the_guide(capsys: pytest.CaptureFixture[str]) -> None:
    ((command, message),) = WRONG
    assert main(shlex.split(command)) == 2
    assert message in capsys.readouterr().err


def test_its_table_lists_every_option() -> None:
    assert len(GUIDE.commands) == 5
    listed = set(re.findall(r"`data\.(\w+)=", GUIDE.text))
    assert listed >= {"valid", "test", "seed", "stratify", *SPLIT_OPTIONS}
