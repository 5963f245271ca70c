"""The files and commands of the guide to networks run, and its table lists every network."""

import re
import shlex
from pathlib import Path

import pytest
from guides import read_guide

from runner.__main__ import main
from runner.config.catalog import find_options
from runner.config.check import check_config
from runner.config.compose import compose

GUIDE = read_guide("architectures.md")
OTHER_NETWORKS = {
    "mlp",
    "reconstructing_regressor",
    "wide_deep",
    "sequential",
    "fashion_cnn",
}  # architectures that other texts describe


@pytest.mark.optax
def test_files_and_commands_of_the_guide_run(in_empty_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    GUIDE.write_files(in_empty_folder)
    assert len(GUIDE.commands) == 4
    for command in GUIDE.commands:
        arguments = [
            *shlex.split(command),
            "training.epochs=1",
            "training.limit_batches=1",
            "tracking=none",
            "quiet=true",
        ]
        if "small_resnet" in command:  # takes long to compile; `fashion_mnist_resnet` is similar
            check_config(compose(arguments))
        else:
            assert main(arguments) == 0, (command, capsys.readouterr().err)


def test_the_table_of_the_guide_lists_every_network() -> None:
    rows = set(re.findall(r"^\| `(\w+)` \| .* \| [\d,]+ \| ", GUIDE.text, re.MULTILINE))
    assert rows == set(find_options().files["architecture"]) - OTHER_NETWORKS
