"""All problems of a configuration are found at once, before JAX is imported."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from runner.config.check import check_config, find_config_problems
from runner.config.compose import compose, configure
from runner.errors import ConfigError

PART = """
from typing import Annotated, Literal
import flax.linen as nn
from components.types import Range, Scalar

class Two(nn.Module):
    outputs: int
    width: Annotated[int, Range(1)] = 8

    @nn.compact
    def __call__(self, wide, deep, extra=None, *, train): ...

class Any(nn.Module):
    outputs: int
    def __call__(self, *, train, **inputs): ...

class Part:
    def __init__(
        self,
        count: int,
        share: Annotated[Scalar, Range(0, 1, "[)")] | None = None,
        mode: Literal["sum", "mean"] = "sum",
        name: str = "",
        flag: bool = False,
        sizes: tuple[int, ...] = (),
        pair: tuple[int, int] | int = 1,
        table: dict[str, float] | None = None,
        inner: "Part | None" = None,
        free=None,
    ): ...
"""


@pytest.fixture
def folder(in_empty_folder: Path, write_module: Callable[[str, str], None]) -> Path:
    """A working folder with parts and options of its own."""
    write_module("mine", PART)
    for group, text in {
        "loss": "_target_: mine.Part\ncount: 1",
        "architecture": "_target_: mine.Two",
        "feature": """
target: {_target_: components.feature.Label, key: label}
columns:
  age: {_target_: components.feature.Numeric, key: age}
  sex: {_target_: components.feature.Numeric, key: sex}
inputs: {wide: [age], deep: [age, sex]}
""",
    }.items():
        Path("conf", group).mkdir(parents=True)
        Path("conf", group, "mine.yaml").write_text(text)
    return in_empty_folder


def compose_and_find_problems(*words: str) -> list[str]:
    return find_config_problems(compose(words))


def test_a_valid_configuration_has_no_problems(folder: Path) -> None:
    assert compose_and_find_problems() == []
    assert compose_and_find_problems("loss=mine", "feature=mine", "architecture=mine") == []
    check_config(compose([]))


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("count=1.5", "loss.count: 1.5 is not a whole number"),
        ("count=true", "loss.count: true is not a whole number"),
        ("count=null", "loss.count: null is not a whole number"),
        ("share=1", "loss.share: 1 is not a number in [0, 1) or null"),
        ("share=high", 'loss.share: "high" is not a number in [0, 1) or null'),
        ("share=nan", "loss.share: NaN is not a number in [0, 1) or null"),
        (
            "share=1e-50",
            "loss.share: 1e-50 is not a number in [0, 1) or null. "
            "In float32, its absolute value must be 0, or from 1.17549e",
        ),
        ("table={a: inf}", "loss.table.a: Infinity is not a number"),
        ("mode=men", 'loss.mode: "men" is not an allowed value. Did you mean mean? Allowed: mean, sum.'),
        ("name=3", "loss.name: 3 is not text"),
        ("flag=1", "loss.flag: 1 is not true or false"),
        ("sizes=3", "loss.sizes: 3 is not a list"),
        ("sizes=[1,x]", 'loss.sizes.1: "x" is not a whole number'),
        ("pair=[1,2,3]", "loss.pair: [1, 2, 3] is not a list of 2 or a whole number"),
        ("pair=[1,x]", 'loss.pair.1: "x" is not a whole number'),
        ("table={a: b}", 'loss.table.a: "b" is not a number'),
        ("inner=3", "loss.inner: 3 is not a part (a mapping with _target_) or null"),
        ("inner={count: 3}", 'loss.inner: {"count": 3} is not a part (a mapping with _target_) or null'),
        ("inner={_target_: mine.Part}", "loss.inner.count: is missing, and has no default"),
        ("inner={_target_: mine.Part, count: x}", 'loss.inner.count: "x" is not a whole number'),
        ("free=[{_target_: mine.Par}]", "loss.free.0._target_: mine has no Par. Did you mean Part?"),
        ("cuont=3", "loss.cuont: unknown parameter of mine.Part. Did you mean count?"),
        ("_target_=os.system", "loss._target_: os.system is not in an allowed package"),
        ("_partial_=true", "loss._partial_: unknown parameter of mine.Part"),
        ("count='???'", "loss.count: has no value yet. Set it."),
    ],
)
def test_arguments_are_checked_against_the_signature(folder: Path, setting: str, message: str) -> None:
    problems = compose_and_find_problems("loss=mine", f"loss.{setting}")
    assert len(problems) == 1
    assert problems[0].startswith(message)
    assert problems[0].endswith(f"[set by the command line (loss.{setting})]")


def test_a_package_that_is_not_allowed_is_one_problem() -> None:
    words = [f"{key}._target_=other.{name}" for key, name in (("loss", "A"), ("step", "B"), ("schedule", "C"))]
    (problem,) = compose_and_find_problems(*words)
    assert " and 2 other parts are not in an allowed package. Allowed: components, " in problem
    assert ". Add yours by --allow other or TITRATE_ALLOW=other. [set by " in problem
    problem, other = compose_and_find_problems(words[0], "step._target_=another.B")
    assert "other.A is not in" in problem
    assert "another.B is not in" in other


@pytest.mark.parametrize(
    "setting",
    [
        *("count=0", "share=0", "share=null", "mode=mean", "name='3'", "sizes=[]", "sizes=[1,2]", "pair=[1,2]"),
        *("pair=3", "table={a: 1, b: 2.5}", "inner={_target_: mine.Part, count: 2}", "free={a: [1, x]}"),
    ],
)
def test_valid_arguments_have_no_problems(folder: Path, setting: str) -> None:
    assert compose_and_find_problems("loss=mine", f"loss.{setting}") == []


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["trainning.epochs=3"], "trainning: unknown key. Did you mean training?"),
        (["training.epochs=abc"], 'training.epochs: "abc" is not a whole number in [0, inf)'),
        (["training.batch_size=0"], "training.batch_size: 0 is not a whole number in [1, inf)"),
        (["training.epoch=3"], "training.epoch: unknown key. Did you mean epochs?"),
        (
            ["~training.patience", "training.epochs=1"],
            "training.patience: is missing, and has no default [removed by the command line (~training.patience)]",
        ),
        (["~training"], "training: is missing, and has no default [removed by the command line (~training)]"),
        (["training=3"], "training: 3 is not a mapping"),
        (
            ["training.monitor=valid/acuracy"],
            "training.monitor: there is no metric valid/acuracy. Did you mean valid/accuracy?",
        ),
        (["training.monitor=test/loss"], "training.monitor: there is no metric test/loss."),
        (["learning_rate=-1"], "learning_rate: -1 is not a number in [0, inf)"),
        (["learning_rate=inf"], "learning_rate: Infinity is not a number in [0, inf)"),
        (
            ["learning_rate=1e39"],
            "learning_rate: 1e+39 is not a number in [0, inf). In float32, its absolute value must be 0, or from",
        ),
        (
            [f"learning_rate={10**400}"],
            "learning_rate: a number of 1329 bits is not a number in [0, inf). In float32,",
        ),
        (["optimizer.eps=1e39"], "optimizer.eps: 1e+39 is not a number"),
        (["resume=[1]"], "resume: [1] is not text or null"),
        (["feature.inputs.image=[[a]]"], 'feature.inputs.image.0: ["a"] is not text'),
        (["seed=4294967296"], "seed: 4294967296 is not a whole number in [0, 4294967295]"),
        (["mode=trian"], 'mode: "trian" is not an allowed value. Did you mean train?'),
        (["optimizer.learning_rate=1"], "optimizer.learning_rate: is set by the schedule. Set learning_rate instead."),
        (["optimizer.b1=1"], "optimizer.b1: 1 is not a number in [0, 1)"),
        (["architecture.outputs=3"], "architecture.outputs: is set from the data and the loss. Leave it out."),
        (["~architecture.widths"], "architecture.widths: is missing, and has no default"),
        (
            ["~loss._target_"],
            "loss: {} is not a part (a mapping with _target_) [removed by the command line (~loss._target_)]",
        ),
        (["metric.accuracy=3"], "metric.accuracy: 3 is not a part"),
        (
            ["update={ema: {decay: 0.5}}"],
            'update.ema: {"decay": 0.5} is not a part (a mapping with _target_). Choose options by update=[ema], and '
            "set their values by keys such as update.ema.decay.",
        ),
        (
            ["augmentation=[{flip: {}}, {crop: {padding: 2}}]"],
            'augmentation: [{"flip": {}}, {"crop": {"padding": 2}}] is not a mapping. Choose options by '
            "augmentation=[flip,crop], and set their values by keys such as augmentation.crop.padding.",
        ),
        (["feature.input={}"], "feature.input: unknown key. Did you mean inputs?"),
        (["feature.inputs.image=[imge]"], "feature.inputs.image: there is no column imge. Did you mean image?"),
        (["feature.inputs.image=[image,image]"], "feature.inputs.image: the column image is listed twice. Leave one"),
        (["feature.inputs.image=image"], 'feature.inputs.image: "image" is not a list'),
        (["~feature.target"], "feature.target: is missing"),
        (["operations=filter"], 'operations: "filter" is not a list. Write [filter], in quotes on the command line'),
    ],
)
def test_values_outside_the_parts_are_checked(in_empty_folder: Path, words: list[str], message: str) -> None:
    problems = compose_and_find_problems(*words)
    assert len(problems) == 1
    assert problems[0].startswith(message)


@pytest.mark.parametrize(
    "word", ["resume=[1]", "~resume", "run={a: 1}", "mode=[train]", "folder=null", "~folder", "runs=3"]
)
def test_keys_at_the_root_are_checked_before_they_are_used(in_empty_folder: Path, word: str) -> None:
    with pytest.raises(ConfigError, match=f"^{word.lstrip('~').partition('=')[0]}: "):
        configure([word])


def test_inputs_are_checked_against_the_architecture(folder: Path) -> None:
    words = ["feature=mine", "architecture=mine"]
    assert compose_and_find_problems(*words, "feature.inputs.extra=[sex]") == []
    problems = compose_and_find_problems(*words, "~feature.inputs.wide", "feature.inputs.wied=[age]")
    assert [line.partition(" [")[0] for line in problems] == [
        "feature.inputs.wied: mine.Two has no input wied. Did you mean wide? Allowed: deep, extra, wide.",
        "feature.inputs: mine.Two needs an input wide. Add it.",
    ]
    assert compose_and_find_problems(*words, "architecture._target_=mine.Any", "feature.inputs={other: [age]}") == []


def test_one_input_may_have_any_name(in_empty_folder: Path) -> None:
    assert (
        compose_and_find_problems("data=diabetes", "feature=diabetes", "architecture=mlp", "metric=[rmse]", "loss=mse")
        == []
    )


def test_all_problems_are_reported_at_once(in_empty_folder: Path) -> None:
    words = [
        "optimizer=nadm",
        "trainning.epochs=3",
        "training.epochs=abc",
        "training.batch_size=0",
        "loss._target_=os.system",
        "architecture.layers=3",
    ]
    with pytest.raises(ConfigError) as caught:
        compose(words)
    lines = caught.value.problems
    assert [line.partition(":")[0] for line in lines] == [
        "optimizer",
        "trainning",
        "training.epochs",
        "training.batch_size",
        "architecture.layers",
        "loss._target_",
    ]
    assert all(line.endswith(f"[set by the command line ({word})]") for line in lines for word in words if word in line)
    assert str(caught.value).splitlines() == list(lines)


def test_the_file_that_set_a_value_is_named(in_empty_folder: Path) -> None:
    Path("experiments").mkdir()
    Path("experiments/mine.yaml").write_text(
        "defaults:\n  - override /optimizer: sgd\noptimizer: {momentum: 2, b1: 0.9}\narchitecture: {activation: rel}\n"
    )
    problems: Any = compose_and_find_problems("experiment=mine", "architecture.widths=[0]")
    assert [line.partition(":")[0] for line in problems] == [
        "architecture.widths.0",
        "architecture.activation",
        "optimizer.momentum",
        "optimizer.b1",
    ]
    assert problems[0].endswith("[set by the command line (architecture.widths=[0])]")
    assert all(line.endswith("[set by experiments/mine.yaml]") for line in problems[1:])


def test_a_parameter_of_the_part_that_an_override_replaces_is_left_out_by_a_tilde(in_empty_folder: Path) -> None:
    words = ["experiment=diabetes_mlp", "loss=huber", "loss={_target_: components.loss.MSE}"]
    (problem,) = compose_and_find_problems(*words)
    assert problem.startswith("loss.delta: unknown parameter of components.loss.MSE. ")
    assert "To leave it out, add '~loss.delta' to the command. [set by conf/loss/huber.yaml" in problem
    assert not compose_and_find_problems(*words, "~loss.delta")


def test_a_system_call_in_an_untrusted_experiment_is_a_problem(in_empty_folder: Path) -> None:
    Path("experiments").mkdir()
    for target in ("os.system", "components.data.os.system"):
        Path("experiments/strange.yaml").write_text(f"loss: {{_target_: {target}, command: touch here}}\n")
        problems = compose_and_find_problems("experiment=strange")
        assert len(problems) == 1
        assert problems[0].startswith("loss._target_: ")
        assert problems[0].endswith("[set by experiments/strange.yaml]")
    assert not Path("here").exists()
