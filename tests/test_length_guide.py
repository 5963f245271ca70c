"""The section on the length of runs in the guide to training is current: its files and commands run."""

import json
import re
import shlex
from pathlib import Path

import pytest
from guides import read_guide
from slow import slow_but

from runner.__main__ import main

GUIDE = read_guide("training.md", "How long", "The order")
WRONG = re.findall(r"^    \$ titrate (.*)\n    (.*) \[set by …\]$", GUIDE.text, re.MULTILINE)


@pytest.fixture(autouse=True)
def folder(in_empty_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the guide's files."""
    return GUIDE.write_files(in_empty_folder, monkeypatch)


@pytest.mark.optax
@pytest.mark.parametrize("command", slow_but(GUIDE.commands[::4], GUIDE.commands))
def test_a_command_runs(command: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    steps = [] if "-m" in command.split() else ["training.steps=120"]
    assert main([*shlex.split(command), *steps, "tracking=none", "architecture.widths=[8]"]) == 0, capsys.readouterr()
    summaries = sorted(folder.glob("outputs/**/summary.json"), key=lambda path: len(path.parts), reverse=True)
    if "mode=" in command:
        assert not list(folder.glob("outputs/*/checkpoints"))
        return
    epoch = 73 if "batch_size=auto" in command else 37  # steps; the chosen size leaves at least 50
    evaluated = 50 if "by_steps" in command or "evaluate_steps" in command else 0 if "epochs=0" in command else epoch
    assert json.loads(summaries[0].read_text())["history"][0]["step"] == evaluated


@pytest.mark.parametrize(("command", "message"), WRONG)
def test_a_wrong_command_has_the_error_of_the_guide(
    command: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(shlex.split(command)) == 2
    assert message in capsys.readouterr().err


def test_the_guide_has_files_commands_and_an_error() -> None:
    assert len(GUIDE.files) >= 3
    assert len(GUIDE.commands) >= 4
    assert len(WRONG) >= 1


@pytest.mark.slow
@pytest.mark.optax
def test_a_classifier_of_few_labels_starts_from_the_autoencoder(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["tracking=none", "training.epochs=1"]
    assert main(["experiment=digits_autoencoder", *words]) == 0, capsys.readouterr()
    (run,) = Path("outputs").glob("*_digits_autoencoder_*")
    assert main(["experiment=few_digits", f"weights.run={run.name}", *words]) == 0, capsys.readouterr()
    joined = "{body: {option: run, run: %s, skip: [head]}, head: {option: run, run: %s, module: head, into: head}}"
    (body,) = Path("outputs").glob("*_few_digits_*")
    words = ["experiment=few_digits", "weights=joined", f"weights.sources={joined % (body, body)}", "tracking=none"]
    assert main([*words, "training.epochs=0", "calibrate=temperature"]) == 0, capsys.readouterr()
