"""A network that a user writes in YAML, as a list of layers with nested lists."""

from pathlib import Path

import pytest

from runner.__main__ import main
from runner.config.check import find_config_problems
from runner.config.compose import compose
from runner.config.scalars import split_scalars
from runner.signature.build import ScalarSlot

pytestmark = pytest.mark.usefixtures("mine")

MINE = """
_target_: components.architecture.Sequential
layers:
  - {_target_: components.layer.MaxPool, window: 2}
  - _target_: components.layer.Repeat
    times: 2
    layers:
      - _target_: components.layer.Residual
        stochastic_depth: 0.25
        layers:
          - {_target_: components.layer.Conv, features: 2, kernel: 1}
          - {_target_: components.layer.SqueezeExcite}
      - _target_: components.layer.Branches
        branches:
          - []
          - [{_target_: components.layer.Dropout, rate: 0.5}, {_target_: components.layer.Conv, features: 2, kernel: 1}]
          - [{_target_: components.layer.DepthwiseMaxPool, window: 2}]
  - {_target_: components.layer.GlobalAveragePool}
"""
BLOCK, BRANCH = "architecture.layers.1.layers.0", "architecture.layers.1.layers.1.branches.1"


@pytest.fixture
def mine(in_empty_folder: Path) -> None:
    Path("conf/architecture").mkdir(parents=True)
    Path("conf/architecture/mine.yaml").write_text(MINE)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (f"{BRANCH}.0.rte=0.3", f"{BRANCH}.0.rte: unknown parameter of components.layer.Dropout. Did you mean rate?"),
        (f"{BLOCK}.layers.0.features=0", f"{BLOCK}.layers.0.features: 0 is not a whole number in [1, inf)"),
        (f"{BLOCK}.stochastic_depth=1", f"{BLOCK}.stochastic_depth: 1 is not a number in [0, 1) or null"),
        (f"{BLOCK}.shortcut=3", f"{BLOCK}.shortcut: 3 is not a list or null"),
        (f"{BLOCK}.layers.0=3", f"{BLOCK}.layers.0: 3 is not a part (a mapping with _target_)"),
        (f"{BRANCH}=3", f"{BRANCH}: 3 is not a list"),
        (f"{BRANCH}.0._target_=components.layer.Dropuot", f"{BRANCH}.0._target_: components.layer has no Dropuot. "),
    ],
)
def test_an_error_in_a_nested_layer_names_its_key(override: str, message: str) -> None:
    assert find_config_problems(compose(["architecture=mine"])) == []
    (problem,) = find_config_problems(compose(["architecture=mine", override]))
    assert problem.startswith(message)


def test_scalars_of_nested_layers_are_scalars_of_the_run() -> None:
    static, numbers = split_scalars(compose(["architecture=mine"]))
    assert static["architecture"]["layers"][1]["layers"][1]["branches"][1][0]["rate"] == ScalarSlot(f"{BRANCH}.0.rate")
    assert {key: value for key, value in numbers.items() if key.startswith("architecture")} == {
        f"{BLOCK}.stochastic_depth": 0.25,
        f"{BRANCH}.0.rate": 0.5,
    }
    other = split_scalars(compose(["architecture=mine", f"{BRANCH}.0.rate=0", f"{BLOCK}.stochastic_depth=0"]))
    assert other[0] == static, "the compiled program would depend on scalars"
    assert other[1] != numbers


def test_layers_that_do_not_fit_are_an_error_without_a_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    kernel = f"{BLOCK}.layers.0={{_target_: components.layer.Conv, features: 2, kernel: 2, padding: VALID, stride: 2}}"
    assert main(["architecture=mine", kernel, "tracking=none", "architecture.layers.1.times=3"]) == 2
    error = capsys.readouterr().err
    assert "Traceback" not in error
    assert error.splitlines()[-1].startswith(
        "architecture: layer 1 (Repeat): layer 0 of copy 2 (Residual): layer 0 (Conv) "
        "can't take an input of shape (32, 1, 1, "
    )
    assert error.splitlines()[-1].endswith(
        "does not fit into images of 1 x 1 [set by conf/architecture/mine.yaml, chosen by architecture=mine]"
    )
