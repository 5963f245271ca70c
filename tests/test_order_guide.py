"""The section on the order of the examples in the guide to training is current: its files and commands run."""

import shlex
from pathlib import Path

import pytest
from guides import read_guide
from slow import slow_but

from runner.__main__ import main

GUIDE = read_guide("training.md", "The order", "Observers")


@pytest.fixture(autouse=True)
def folder(in_empty_folder: Path) -> Path:
    """A folder with the guide's files, the files that its program writes, and a table of reviews."""
    GUIDE.write_files(in_empty_folder)
    exec(GUIDE.files["make_shards.py"], {})
    rows = [f"{'good film ' * (row % 9 + 1)},{row % 2}" for row in range(80)]
    Path("reviews.csv").write_text("\n".join(["text,label", *rows]))
    return in_empty_folder


@pytest.mark.optax
@pytest.mark.parametrize("command", slow_but(GUIDE.commands[1::2], GUIDE.commands))
def test_a_command_runs(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    trained = GUIDE.commands[GUIDE.commands.index(command) - 1]
    for each in [trained, command] if "run=last" in command else [command]:
        settings = ["quiet=true"] if "run=last" in each else ["training.epochs=1", "tracking=none", "quiet=true"]
        assert main([*shlex.split(each), *settings]) == 0, capsys.readouterr()


def test_the_guide_has_files_and_commands() -> None:
    assert len(GUIDE.files) >= 3
    assert len(GUIDE.commands) >= 4
