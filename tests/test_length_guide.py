"""The section on the length of runs in the guide to training is current: its files and commands run."""

import json
import re
import shlex
from pathlib import Path

import pytest

from runner.__main__ import main

GUIDE = (Path(__file__).parent.parent / "docs/training.md").read_text().partition("\n## How long")[2]
GUIDE = GUIDE.partition("\n## What is learned")[0]
FILES = dict(re.findall(r"```(?:yaml|python)\n# (\S+\.\w+)\n(.*?)```", GUIDE, re.DOTALL))
COMMANDS = re.findall(r"^    titrate (.*)$", GUIDE, re.MULTILINE)
WRONG = re.findall(r"^    \$ titrate (.*)\n    (.*) \[set by …\]$", GUIDE, re.MULTILINE)


@pytest.fixture(autouse=True)
def folder(in_empty_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the guide's files."""
    monkeypatch.syspath_prepend(str(in_empty_folder))
    for name, content in FILES.items():
        path = in_empty_folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return in_empty_folder


@pytest.mark.optax
@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_runs(command: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    steps = [] if "-m" in command.split() else ["training.steps=120"]
    assert main([*shlex.split(command), *steps, "tracking=none", "architecture.widths=[8]"]) == 0, capsys.readouterr()
    (summary, *_) = sorted(folder.glob("outputs/**/summary.json"), key=lambda path: len(path.parts), reverse=True)
    assert json.loads(summary.read_text())["history"][0]["step"] == 50


@pytest.mark.parametrize(("command", "message"), WRONG)
def test_a_wrong_command_has_the_error_of_the_guide(
    command: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(shlex.split(command)) == 2
    assert message in capsys.readouterr().err


def test_the_guide_has_files_commands_and_an_error() -> None:
    assert len(FILES) >= 3
    assert len(COMMANDS) >= 4
    assert len(WRONG) >= 1
