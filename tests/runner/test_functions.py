"""Functions of the user stand, by their dotted names, where the name of an activation or an initializer stands."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import runner
from components.types import UserError
from runner.config.check import find_config_problems
from runner.config.compose import compose, configure
from runner.program.program import Program
from runner.record.description import code_versions
from runner.signature.build import build

FUNCTIONS = """
from dataclasses import dataclass
import jax
import jax.numpy as jnp
from components.layer import ActivationFunction, Initializer
from components.types import Scalar
import flax.linen as nn

def swish6(x):
    return x * jax.nn.relu6(x + 3) / 6

def leaky(x, slope: Scalar = 0.5, *, cut: bool = False):
    return jnp.where(x < 0, slope * x, jnp.minimum(x, 1) if cut else x)

def make_leaky(slope: Scalar):
    return lambda x: jnp.where(x < 0, slope * x, x)

@dataclass(frozen=True)
class Leaky:
    slope: Scalar = 0.5
    def __call__(self, x):
        return jnp.where(x < 0, self.slope * x, x)

def orthogonal(key, shape, dtype=jnp.float32, scale: Scalar = 1.0):
    return scale * jax.nn.initializers.orthogonal()(key, shape, dtype)

def summed(x):
    return x.sum()

def wide(x):
    return jnp.float32(x)

def flat(key, shape, dtype):
    return jnp.zeros(3, dtype)

def number(key, shape, dtype):
    return 0.0

class Block(nn.Module):
    kernel_initializer: Initializer = "he_normal"
    activation: ActivationFunction = "relu"

HELPER = 3

class Settings:
    def __init__(self, slope=0.5): self.slope = slope
"""
RUN = [
    "experiment=digits_mlp",
    "optimizer=sgd",
    "training.epochs=1",
    "training.limit_batches=2",
    "tracking=none",
    "quiet=true",
]


@pytest.fixture
def folder(in_empty_folder: Path, write_module: Callable[[str, str], None]) -> Path:
    """A working folder with functions of the user."""
    write_module("functions", FUNCTIONS)
    return in_empty_folder


@pytest.mark.parametrize(
    "activation",
    [
        "functions.swish6",
        "{_target_: functions.swish6}",
        "jax.nn.celu",
        "{_target_: jax.nn.celu, alpha: 0.5}",
        "{_target_: functions.leaky, slope: 0.25}",
        "{_target_: functions.make_leaky, slope: 0.25}",
        "{_target_: functions.Leaky, slope: 0.25}",
        "functions.Leaky",
    ],
)
def test_an_activation_is_a_function_by_its_dotted_name(folder: Path, activation: str) -> None:
    config = configure([f"architecture.activation={activation}"])
    node = config.values["architecture"]["activation"]
    slope = node.get("slope", 0.5)
    expected = {
        "swish6": lambda x: jax.nn.hard_swish(x),
        "celu": lambda x: jax.nn.celu(x, node.get("alpha", 1.0)),
    }.get(node["_target_"].rpartition(".")[2], lambda x: jax.nn.leaky_relu(x, slope))
    layer = build({"_target_": "components.layer.Activation", "function": node}, {})
    x = jnp.linspace(-4, 4, 9)
    np.testing.assert_allclose(layer(x, train=False), expected(x), rtol=1e-6)
    assert (
        config.origins["architecture.activation._target_"] == f"the command line (architecture.activation={activation})"
    )


def test_a_later_name_replaces_a_function_with_arguments(folder: Path) -> None:
    values: dict[str, Any] = {
        "{_target_: functions.leaky, slope: 0.25}": {"_target_": "functions.leaky", "slope": 0.25},
        "functions.swish6": {"_target_": "functions.swish6"},
        "relu": "relu",
    }
    for first, last in itertools.permutations(values, 2):
        overrides = [f"architecture.activation={name}" for name in (first, last)]
        assert compose(overrides).values["architecture"]["activation"] == values[last]


def test_an_initializer_is_a_function_by_its_dotted_name(folder: Path) -> None:
    key = jax.random.key(0)
    for value, scale in (("functions.orthogonal", 1), ({"_target_": "functions.orthogonal", "scale": 3.0}, 3)):
        Path("experiments").mkdir(exist_ok=True)
        Path("experiments/mine.yaml").write_text(f"architecture: {{initializer: {value}}}")
        node = configure(["experiment=mine"]).values["architecture"]["initializer"]
        layer = build({"_target_": "components.layer.Dense", "features": 4, "initializer": node}, {})
        kernel = layer.init(key, jnp.ones((1, 4)), train=False)["params"]["kernel"]
        np.testing.assert_allclose(kernel @ kernel.T, scale**2 * np.eye(4), atol=1e-4)


def test_functions_stand_in_parts_of_the_user(folder: Path) -> None:
    Path("conf/architecture").mkdir(parents=True)
    Path("conf/architecture/mine.yaml").write_text(
        "_target_: components.architecture.Sequential\nlayers:\n"
        "  - {_target_: functions.Block, kernel_initializer: functions.orthogonal, activation: functions.swish6}"
    )
    [layer] = compose(["architecture=mine"]).values["architecture"]["layers"]
    assert layer["kernel_initializer"] == {"_target_": "functions.orthogonal"}
    assert layer["activation"] == {"_target_": "functions.swish6"}


@pytest.mark.parametrize(
    ("override", "problem"),
    [
        ("activation=functions.swish7", "activation: functions has no swish7. Did you mean swish6?"),
        ("activation=function.swish6", "activation: "),
        (
            "activation=reul",
            'activation: "reul" is not an allowed value or a function (a dotted name). Did you mean relu?',
        ),
        ("activation=optax.adam", "activation: optax.adam is an optimizer, not a function of jax.nn"),
        ("activation=components.layer.Dense", "activation: components.layer.Dense is a layer, not a function"),
        ("activation={_target_: functions.leaky, slop: 1}", "activation.slop: unknown parameter of functions.leaky."),
        ("activation={_target_: functions.leaky, cut: 1}", "activation.cut: 1 is not true or false"),
        (
            "initializer=functions.ortogonal",
            "initializer: functions has no ortogonal. Did you mean orthogonal?",
        ),
        ("initializer=he_norm", 'initializer: "he_norm" is not an allowed value'),
        (
            "initializer=components.layer.get_initializer",
            "initializer: components.layer.get_initializer is not",
        ),
    ],
)
def test_a_wrong_function_is_reported_before_jax_is_imported(folder: Path, override: str, problem: str) -> None:
    [found] = find_config_problems(compose([f"architecture.{override}"]))
    assert found.startswith(f"architecture.{problem}")
    assert found.endswith(f"[set by the command line (architecture.{override})]")


def test_a_value_is_not_a_function(folder: Path) -> None:
    for name, problem in {"HELPER": "is not a part", "Settings": "returns a Settings, which can't be called"}.items():
        with pytest.raises(UserError, match=f"`functions.{name}` {problem}"):
            build({"_target_": "components.layer.Activation", "function": {"_target_": f"functions.{name}"}}, {})


def test_only_allowed_packages_hold_functions(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TITRATE_ALLOW", "")
    [found] = find_config_problems(compose(["architecture.activation=functions.swish6"]))
    assert "functions.swish6 is not in an allowed package" in found


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("summed", r"activation summed returns float32 \(\) for float32 \(2, 3\)"),
        ("make_leaky", r"activation make_leaky returns a function for float32 \(2, 3\)"),
    ],
)
def test_an_activation_keeps_the_shape(folder: Path, name: str, problem: str) -> None:
    layer = build({"_target_": "components.layer.Activation", "function": {"_target_": f"functions.{name}"}}, {})
    with pytest.raises(UserError, match=problem):
        layer(jnp.ones((2, 3)), train=False)


def test_an_activation_keeps_the_precision(folder: Path) -> None:
    layer = build({"_target_": "components.layer.Activation", "function": {"_target_": "functions.wide"}}, {})
    with pytest.raises(UserError, match=r"activation wide returns float32 \(2, 3\) for bfloat16 \(2, 3\)"):
        layer(jnp.ones((2, 3), jnp.bfloat16), train=False)


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("flat", r"initializer flat returns float32 \(3,\)\. It must return float32 \(3, 4\)\."),
        ("number", r"initializer number returns a float\. It must return float32 \(3, 4\)\."),
    ],
)
def test_an_initializer_draws_the_shape_of_the_kernel(folder: Path, name: str, problem: str) -> None:
    node: dict[str, Any] = {"_target_": "components.layer.Dense", "features": 4}
    layer = build(node | {"initializer": {"_target_": f"functions.{name}"}}, {})
    with pytest.raises(UserError, match=problem):
        layer.init(jax.random.key(0), jnp.ones((1, 3)), train=False)


@pytest.mark.slow
def test_a_run_trains_with_a_function_and_a_changed_number_recompiles_nothing(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = []
    initialize = Program.__init__

    def record(self: Program, *arguments: Any, **options: Any) -> None:
        made.append(self)
        initialize(self, *arguments, **options)

    monkeypatch.setattr(Program, "__init__", record)
    function = "architecture.activation={_target_: functions.leaky, slope: %s}"
    losses = [runner.run(*RUN, function % slope).records[-1]["valid/loss"] for slope in (0.1, 0.9, 0)]
    assert losses[0] != losses[1]
    assert len(made) == 1
    relu = runner.run(*RUN, "architecture.activation=relu").records[-1]["valid/loss"]
    assert losses[2] == pytest.approx(relu, rel=1e-6)


def test_the_code_of_a_function_is_in_the_record(folder: Path) -> None:
    config = configure(["architecture.activation=functions.swish6"])
    before = code_versions(config)["code"]
    Path("functions.py").write_text(FUNCTIONS.replace("/ 6", "/ 7"))
    assert code_versions(config)["code"] != before
