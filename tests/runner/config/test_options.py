"""The names of options inside a configuration stand for parts: values, origins, problems, sweeps."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from runner.config.check import check_config, find_config_problems
from runner.config.compose import compose
from runner.config.config import Config
from runner.errors import ConfigError
from runner.sweep.plan import Plan, make_plan
from runner.tree import iterate_leaves, join_path

PARTS = """
from collections.abc import Mapping
from dataclasses import dataclass
import flax.linen as nn
import optax
from components.layer import Layer
from components.types import Loss, Metric, Scalar

@dataclass(frozen=True)
class Base:
    def outputs(self, target): return 10
    def __call__(self, logits, target): return logits[:, 0]

@dataclass(frozen=True)
class Combo(Base):
    inner: Loss
    weight: Scalar = 1.0
    label: Loss | str | None = None

@dataclass(frozen=True)
class Several(Base):
    parts: tuple[Loss, ...]

@dataclass(frozen=True)
class Named(Base):
    parts: Mapping[str, Loss]

@dataclass(frozen=True)
class Either(Base):
    parts: Loss | Mapping[str, Loss]
    metric: Mapping[str, Metric] | None = None
    optimizer: optax.GradientTransformation | None = None
    network: nn.Module | None = None
    layer: Layer | None = None

@dataclass(frozen=True)
class Reserved(Base):
    option: int = 1
"""
OPTIONS = {
    "combo": "_target_: nested.Combo\ninner: {option: huber, delta: 3.0}\nweight: 0.5",
    "plain": "_target_: nested.Combo\ninner: mse",
    "several": "_target_: nested.Several\nparts: [mse]",
    "named": "_target_: nested.Named\nparts: {a: mse}",
    "either": "_target_: nested.Either\nparts: mse",
    "cyclic": "_target_: nested.Combo\ninner: {option: cycle}",
    "cycle": "_target_: nested.Combo\ninner: cyclic",
    "typo": "_target_: nested.Combo\ninner: {option: hubber, delta: 2.0}",
    "broken": "_target_: [",
    "reserved": "_target_: nested.Reserved",
}
REAL_TARGET = ["data=diabetes", "feature=diabetes", "metric=[rmse]"]  # a target for these losses
MSE, MAE = {"_target_": "components.loss.MSE"}, {"_target_": "components.loss.MAE"}

LENET5 = {"_target_": "components.architecture.LeNet5", "outputs": 3}


def huber(delta: float = 1.0) -> dict[str, Any]:
    return {"_target_": "components.loss.Huber", "delta": delta}


def combo(inner: Any, weight: float | None = None) -> dict[str, Any]:
    return {"_target_": "nested.Combo", "inner": inner} | ({} if weight is None else {"weight": weight})


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A working folder with losses that take losses, as a class and as options."""
    path = tmp_path_factory.mktemp("nested")
    with pytest.MonkeyPatch.context() as patched:
        patched.chdir(path)
        patched.setenv("TITRATE_ALLOW", "nested")
        patched.syspath_prepend(path)
        Path("nested.py").write_text(PARTS)
        Path("conf/loss").mkdir(parents=True)
        Path("experiments").mkdir()
        for name, text in OPTIONS.items():
            Path(f"conf/loss/{name}.yaml").write_text(f"# {name}.\n{text}\n")
        yield path


def compose_experiment(content: Mapping[str, Any] | str, *overrides: str) -> Config:
    """Composes an experiment of some content."""
    text = content if isinstance(content, str) else yaml.safe_dump(dict(content))
    Path("experiments/mine.yaml").write_text(text)
    return compose(["experiment=mine", *overrides])


def problems_of(config: Config) -> list[str]:
    return find_config_problems(config)


# ------------------------------------------------------------------------- the same as written out by hand


class Tree(NamedTuple):
    """A loss as somebody writes it, the same written out, and the origin of each value, with None for the writer."""

    written: Any
    values: Any
    origins: Any


def of_file(name: str, values: Mapping[str, Any]) -> dict[str, Any]:
    return dict.fromkeys(values, f"conf/loss/{name}.yaml")


NUMBERS = st.sampled_from([0.25, 2.0, 7.0])
LEAVES = st.one_of(
    st.just(Tree("mse", MSE, of_file("mse", MSE))),
    st.just(Tree({"option": "mae"}, MAE, of_file("mae", MAE))),
    st.just(Tree(MSE, MSE, dict.fromkeys(MSE))),
    st.just(Tree("huber", huber(), of_file("huber", huber()))),
    NUMBERS.map(
        lambda delta: Tree(
            {"option": "huber", "delta": delta}, huber(delta), of_file("huber", huber()) | {"delta": None}
        )
    ),
)


def join_combo(inner: Tree | None, weight: float | None, by_hand: bool) -> Tree:
    """A combination, of the option `combo` or by hand. None: the values of the option's file."""
    given_weight = {} if weight is None else {"weight": weight}
    if inner is None:  # `combo` has an inner loss; its parameter is set
        written = {"option": "combo", "inner": {"delta": 9.0}, **given_weight}
        origins = {"_target_": "conf/loss/huber.yaml", "delta": None}
        return Tree(
            written,
            combo(huber(9.0), weight or 0.5),
            {"_target_": "conf/loss/combo.yaml", "inner": origins}
            | {"weight": None if weight else "conf/loss/combo.yaml"},
        )
    if by_hand:
        written = {"_target_": "nested.Combo", "inner": inner.written, **given_weight}
        origins = {"_target_": None, "inner": inner.origins} | dict.fromkeys(given_weight)
        return Tree(written, combo(inner.values, weight), origins)
    written = {"option": "plain", "inner": inner.written, **given_weight}
    values = combo(inner.values, weight)
    origins = {"_target_": "conf/loss/plain.yaml", "inner": inner.origins} | dict.fromkeys(given_weight)
    return Tree(written, values, origins)


def join_several(parts: list[Tree]) -> Tree:
    return Tree(
        {"option": "several", "parts": [part.written for part in parts]},
        {"_target_": "nested.Several", "parts": [part.values for part in parts]},
        {"_target_": "conf/loss/several.yaml", "parts": [part.origins for part in parts]},
    )


def join_named(parts: dict[str, Tree]) -> Tree:
    return Tree(
        {"_target_": "nested.Named", "parts": {name: part.written for name, part in parts.items()}},
        {"_target_": "nested.Named", "parts": {name: part.values for name, part in parts.items()}},
        {"_target_": None, "parts": {name: part.origins for name, part in parts.items()}},
    )


TREES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.builds(join_combo, st.none() | inner, st.none() | NUMBERS, st.booleans()),
        st.lists(inner, min_size=1, max_size=3).map(join_several),
        st.dictionaries(st.sampled_from(["b", "c", "d"]), inner, min_size=1, max_size=2).map(join_named),
    ),
    max_leaves=5,
)


def write_override(value: Any) -> str:
    """A value in the grammar of the command line."""
    if isinstance(value, dict):
        return "{" + ",".join(f"{key}: {write_override(element)}" for key, element in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(write_override, value)) + "]"
    return str(value)


def check_origins(config: Config, key: str, origins: Any, writer: str, of_option: str = "") -> None:
    for path, origin in iterate_leaves(origins):
        full_key = join_path((key, *path))
        assert config.origins[full_key] == (writer if origin is None else origin + of_option), full_key


@settings(max_examples=25)
@given(TREES)
def test_options_are_the_same_as_written_out_by_hand(folder: Path, tree: Tree) -> None:
    config = compose_experiment({"loss": {"_target_": "nested.Several", "parts": [tree.written]}})
    expected = {"_target_": "nested.Several", "parts": [tree.values]}
    assert config.values["loss"] == expected
    check_config(config)
    origins = {"_target_": None, "parts": [tree.origins]}
    check_origins(config, "loss", origins, "experiments/mine.yaml")
    assert compose_experiment({"loss": expected}).values == config.values  # and what is written out stays


@settings(max_examples=25)
@given(TREES)
def test_the_command_line_takes_the_same_options(folder: Path, tree: Tree) -> None:
    override = f"loss={write_override(tree.written)}" if isinstance(tree.written, dict) else f"loss={tree.written}"
    config = compose([override, *REAL_TARGET])
    assert config.values["loss"] == tree.values
    check_config(config)
    check_origins(config, "loss", tree.origins, f"the command line ({override})", f", chosen by {override}")


# ------------------------------------------------------------------------------------------- overrides and files


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        ("loss=plain loss.inner=huber", combo(huber())),
        ("loss=plain loss.inner=huber loss.inner.delta=2", combo(huber(2))),
        ("loss.inner.delta=2 loss.inner=huber loss=plain", combo(huber(2))),  # in any order
        ("loss=combo loss.inner.delta=2", combo(huber(2), 0.5)),  # of the option that the file names
        ("loss=combo loss.inner=mae", combo(MAE, 0.5)),  # delta=3 of the file is huber's
        ("loss=combo loss.inner=huber", combo(huber(), 0.5)),
        ("loss=combo loss.inner.option=huber", combo(huber(), 0.5)),
        ("loss=plain loss.inner=mse loss.inner=mae", combo(MAE)),  # the last one counts
        ("loss=plain loss.inner=mes loss.inner=mae", combo(MAE)),
        ("loss=plain loss.inner=null loss.inner=mae", combo(MAE)),
        ("loss=plain ~loss.inner loss.inner.option=mae", combo(MAE)),
        ("loss=plain loss.inner={_target_:components.loss.MAE} loss.inner=huber", combo(huber())),
        ("loss=plain loss.inner=mae loss.inner={_target_:components.loss.MSE}", combo(MSE)),
        ("loss=plain loss.inner={option:huber,delta:2}", combo(huber(2))),
        ("loss={option:huber,delta:2}", huber(2)),
        ("loss={option:huber,delta:2} loss=mse", MSE),  # the last one counts
        ("loss={_target_:components.loss.MAE} loss=mse", MSE),
        ("loss.option=huber loss=mse", MSE),
        ("loss=mse loss.option=mae", MAE),
        ("loss={inner:mae} loss=plain", combo(MAE)),
        ("loss={option:combo,inner:mae}", combo(MAE, 0.5)),  # replaces the inner loss of the file
        ("loss.option=huber loss.delta=2", huber(2)),
        ("loss={option:plain,inner:{option:combo,weight:2}}", combo(combo(huber(3), 2))),
        (
            "loss=plain loss.inner=combo loss.inner.inner=combo loss.inner.inner.weight=2",
            combo(combo(combo(huber(3), 2), 0.5)),
        ),
        ("loss.inner.inner=mae loss=plain loss={inner:combo}", combo(combo(MAE, 0.5))),
        ("loss=plain loss={inner:{inner:mae}} loss.inner=combo", combo(combo(MAE, 0.5))),
        (
            "loss=several loss.parts=[mse,{option:huber,delta:2}] loss.parts.0=mae",
            {"_target_": "nested.Several", "parts": [MAE, huber(2)]},
        ),
        ("loss=several loss.parts.0=huber loss.parts.0.delta=2", {"_target_": "nested.Several", "parts": [huber(2)]}),
        ("loss=named loss.parts=[mae,huber]", {"_target_": "nested.Named", "parts": {"mae": MAE, "huber": huber()}}),
        ("loss=named loss.parts=mae", {"_target_": "nested.Named", "parts": {"mae": MAE}}),
        ("loss=named loss.parts.b=mae", {"_target_": "nested.Named", "parts": {"a": MSE, "b": MAE}}),
        ("loss=either loss.parts.delta=2 loss.parts=huber", {"_target_": "nested.Either", "parts": huber(2)}),
        (
            "loss=either loss.parts.a=huber loss.parts.b=mae",
            {"_target_": "nested.Either", "parts": {"a": huber(), "b": MAE}},
        ),
        ("loss=either loss.parts={a:huber} loss.parts=mae", {"_target_": "nested.Either", "parts": MAE}),
        ("loss=either loss.parts=[mae]", {"_target_": "nested.Either", "parts": {"mae": MAE}}),
        ("loss=plain loss.label=mse", {**combo(MSE), "label": "mse"}),  # text is allowed there
        ("loss=plain loss.label={option:mse}", {**combo(MSE), "label": MSE}),
        ("loss=plain loss.label=${experiment}", {**combo(MSE), "label": None}),
        ("loss._target_=nested.Combo loss.inner=mae", combo(MAE)),
        (
            "loss=either loss.optimizer=sgd loss.optimizer.learning_rate=0.1",
            {"_target_": "nested.Either", "parts": MSE, "optimizer": {"_target_": "optax.sgd", "learning_rate": 0.1}},
        ),
        (
            "loss=either loss.network=lenet5 loss.network.outputs=3",
            {
                "_target_": "nested.Either",
                "parts": MSE,
                "network": {"_target_": "components.architecture.LeNet5", "outputs": 3},
            },
        ),
        (
            "loss=either loss.metric=[accuracy,{option:top_k,k:3}]",
            {
                "_target_": "nested.Either",
                "parts": MSE,
                "metric": {
                    "accuracy": {"_target_": "components.metric.Accuracy"},
                    "top_k": {"_target_": "components.metric.TopK", "k": 3},
                },
            },
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_overrides_choose_options_at_any_depth(folder: Path, overrides: str, expected: dict[str, Any]) -> None:
    config = compose([*overrides.split(), *REAL_TARGET])
    assert config.values["loss"] == expected
    check_config(config)


@pytest.mark.parametrize(
    "words",
    [
        ["examples={option: pairs, draws: 3}"],
        ["examples.option=pairs"],
        ["examples._target_=components.examples.Pairs"],
        ["examples=pairs", "examples={_target_: components.examples.Pairs, draws: 2}"],
    ],
)
def test_the_last_of_a_choice_and_null_counts(folder: Path, words: list[str]) -> None:
    assert compose([*words, "examples=null"]).values["examples"] is None
    assert compose(["examples=null", *words]).values["examples"]["_target_"] == "components.examples.Pairs"


def test_groups_of_several_options_take_options_with_values(folder: Path) -> None:
    top_3 = {"_target_": "components.metric.TopK", "k": 3}
    accuracy = {"_target_": "components.metric.Accuracy"}
    for config in (
        compose(["metric=[accuracy,{option: top_k, k: 3}]"]),
        compose_experiment("metric: [accuracy, {option: top_k, k: 3}]"),
        compose(["metric=[accuracy,top_k]", "metric.top_k.k=3"]),
    ):
        assert config.values["metric"] == {"accuracy": accuracy, "top_k": top_3}
        assert config.choices["metric"] == ["accuracy", "top_k"]
    last = compose(["metric=[accuracy,{option: top_k, k: 3}]", "metric=[accuracy]"])
    assert last.values["metric"] == {"accuracy": accuracy}
    named = compose(["metric.top_3={option: top_k, k: 3}"])
    assert named.values["metric"] == {"accuracy": accuracy, "top_3": top_3}


def test_an_experiment_chooses_options_by_keys(folder: Path) -> None:
    config = compose_experiment("optimizer: {option: adamw, weight_decay: 0.01}\nloss: huber", *REAL_TARGET)
    assert config.values["optimizer"] == {"_target_": "optax.adamw", "weight_decay": 0.01}
    assert (config.choices["optimizer"], config.choices["loss"]) == ("adamw", "huber")
    assert config.origins["loss.delta"] == "conf/loss/huber.yaml"
    assert config.origins["optimizer.weight_decay"] == "experiments/mine.yaml"
    check_config(config)


@pytest.mark.parametrize("content", ["loss: huber", "loss: {option: huber, delta: 2}", "loss: {a: mse, b: huber}"])
def test_the_command_line_replaces_the_choice_of_an_experiment(folder: Path, content: str) -> None:
    assert compose_experiment(content, "loss=mae").values["loss"] == MAE
    assert compose_experiment(content, "loss={option: mae}").values["loss"] == MAE


def test_several_losses_by_name_replace_the_default_loss(folder: Path) -> None:
    config = compose_experiment("loss: {price: mse, kind: {option: softmax_cross_entropy, label_smoothing: 0.1}}")
    softmax = {"_target_": "components.loss.SoftmaxCrossEntropy", "label_smoothing": 0.1}
    assert config.values["loss"] == {"price": MSE, "kind": softmax}
    assert config.choices["loss"] == ["mse", "softmax_cross_entropy"]
    changed = compose(["experiment=mine", "loss.kind.label_smoothing=0.2", "loss.price=huber", "loss.price.delta=2"])
    assert changed.values["loss"] == {"price": huber(2), "kind": {**softmax, "label_smoothing": 0.2}}
    assert compose(["experiment=mine", "loss={_target_: components.loss.MSE}"]).values["loss"] == MSE
    assert compose_experiment("loss: {label_smoothing: 0.1}").values["loss"] == softmax  # sets a parameter


@pytest.mark.parametrize("content", ["seed: 1", "loss: {label_smoothing: 0.1}", "loss: huber"])
def test_null_chooses_no_part_where_the_group_allows_none(folder: Path, content: str) -> None:
    with pytest.raises(ConfigError, match="schedule: unknown option null"):
        compose_experiment(content, "schedule=null")
    config = compose_experiment(content, "loss=null")
    assert config.values["loss"] is None
    assert config.choices["loss"] is None
    assert compose_experiment("defaults:\n  - override /loss: null").values["loss"] is None
    in_experiment = compose_experiment("defaults:\n  - override /loss: null\nloss: huber")
    assert in_experiment.values["loss"] == huber()


def test_a_sweep_takes_options_inside(folder: Path) -> None:
    plan = make_plan(["loss=combo", "loss.inner=mse,huber", "loss.weight=1,2"], multirun=True)
    assert isinstance(plan, Plan)
    inner = [run.config.values["loss"]["inner"] for run in plan.runs]
    assert inner == [MSE, MSE, huber(), huber()]
    assert plan.varied_keys() == ["loss.inner", "loss.weight"]


# ------------------------------------------------------------------------------------------------------ problems


@pytest.mark.parametrize(
    ("overrides", "problem"),
    [
        (
            "loss=plain loss.inner=hubber",
            "loss.inner: unknown option hubber of loss. Did you mean huber? [set by the command line "
            "(loss.inner=hubber)]",
        ),
        (
            "loss=plain loss.inner=hubber loss.inner.delta=2",
            "loss.inner: unknown option hubber of loss. Did you mean huber?",
        ),
        (
            "loss=plain loss.inner=adam",
            "loss.inner: adam is an option of optimizer, not of loss. Allowed: binary_cross_entropy, ",
        ),
        (
            "loss=plain loss.inner=nested.Combo",
            "loss.inner: unknown option nested.Combo of loss. For a part of your own, write {_target_: nested.Combo}.",
        ),
        ("loss=plain loss.inner={option:3}", "loss.inner: unknown option 3 of loss. Allowed: "),
        ("loss=plain loss.inner={option:null}", "loss.inner: null is not the name of an option. Allowed: "),
        ("loss=plain loss.inner.option=true", "loss.inner: true is not the name of an option. Allowed: "),
        (
            "loss=plain loss.inner={option:mse,_target_:components.loss.MAE}",
            "loss.inner: has `option` and `_target_`. Leave one of them out.",
        ),
        (
            "loss=plain loss.inner={option:huber,delat:2}",
            "loss.inner.delat: unknown parameter of components.loss.Huber. Did you mean delta? Allowed: "
            "delta. [set by the command line (loss.inner={option:huber,delat:2})]",
        ),
        (
            "loss=plain loss.inner=mse loss.inner.delta=2",
            "loss.inner.delta: unknown parameter of components.loss.MSE. Allowed: none. [set by the command "
            "line (loss.inner.delta=2)]",
        ),
        ("loss=plain loss.inner={option:huber,delta:-1}", "loss.inner.delta: -1 is not a number in"),
        ("loss=typo", "loss.inner: unknown option hubber of loss. Did you mean huber? [set by conf/loss/typo.yaml"),
        (
            "loss=plain loss.inner=typo",
            "loss.inner.inner: unknown option hubber of loss. Did you mean huber? [set by "
            "conf/loss/typo.yaml, chosen by loss.inner=typo]",
        ),
        ("loss=plain loss.inner=broken", "loss.inner: conf/loss/broken.yaml, line 3: "),
        ("loss=cycle", "loss.inner.inner.inner: option cyclic of loss contains itself (cyclic > cycle > cyclic)"),
        (
            "loss=named loss.parts=[mse,mse]",
            "loss.parts: mse is listed twice. Leave one out, or write a mapping: {NAME: {option: mse}}.",
        ),
        (
            "loss=named loss.parts=[mse,{_target_:components.loss.MAE}]",
            'loss.parts: {"_target_": "components.loss.MAE"} has no name. Write a mapping instead of the '
            "list: {NAME: PART}.",
        ),
        ("loss=named loss.parts=[mse,hubber]", "loss.parts.hubber: unknown option hubber of loss. Did you mean huber?"),
        ("loss=plain loss.inner=[mse]", 'loss.inner: ["mse"] is a list. Choose one option: mse. [set by the command'),
        (
            "loss=plain loss.inner=[{option:huber,delta:1},mae]",
            'loss.inner: [{"option": "huber", "delta": 1}, "mae"] is a list. Choose one option: huber or mae. [',
        ),
        ("loss=plain loss.inner=[x]", 'loss.inner: ["x"] is a list. Choose one. Allowed: binary_cross_entropy, '),
        ("loss=either loss.layer={option:dense}", "loss.layer: there are no options here. Write `_target_`."),
        ("loss=either loss.layer=dense", 'loss.layer: "dense" is not '),
        (
            "optimizer={option:addam}",
            "optimizer: unknown option addam of optimizer. Did you mean adam? [set by",
        ),
        (
            "metric=[accuracy,{option:top_kk,k:3}]",
            "metric.top_kk: unknown option top_kk of metric. Did you mean top_k?",
        ),
        (
            "loss=reserved",
            "loss._target_: nested.Reserved has a parameter `option`, which names an option in Titrate. Rename it.",
        ),
    ],
    ids=lambda value: value if " [" not in value and ": " not in value else "",
)
def test_a_wrong_option_is_reported_once(folder: Path, overrides: str, problem: str) -> None:
    [found] = find_config_problems(compose(overrides.split()))
    assert found.startswith(problem)


LAYER = "{_target_: components.layer.Dense, features: %d}"


@pytest.mark.parametrize(
    ("later", "widths"), [(f"architecture.layers.1={LAYER % 9}", [7, 9]), (f"architecture.layers=[{LAYER % 9}]", [9])]
)
def test_a_later_override_of_a_list_or_of_its_elements_counts(folder: Path, later: str, widths: list[int]) -> None:
    earlier = f"architecture.layers=[{LAYER % 7},{LAYER % 8}]"
    layers = compose(["architecture=sequential", earlier, later]).values["architecture"]["layers"]
    assert [layer["features"] for layer in layers] == widths


def test_a_part_past_the_end_of_a_list_is_an_error(folder: Path) -> None:
    words = ["architecture=sequential", f"architecture.layers=[{LAYER % 7}]", f"architecture.layers.1={LAYER % 8}"]
    with pytest.raises(ConfigError, match=r"architecture\.layers is a list of 1, got the key 1"):
        compose(words)
    with pytest.raises(ConfigError, match=r"operations is a list of 1, got the key 1"):
        compose(["operations=[{option: take, count: 3}]", "operations.1={option: unique}"])


@pytest.mark.parametrize(
    "later", ["loss.inner=mae", "loss.inner={_target_: components.loss.MAE}", "~loss.inner", "loss=mae"]
)
def test_a_wrong_option_that_is_replaced_is_no_problem(folder: Path, later: str) -> None:
    content = "defaults:\n  - override /loss: plain\nloss: {inner: hubber}"
    config = compose_experiment(content, later)
    assert not [problem for problem in find_config_problems(config) if "hubber" in problem]


def test_an_option_with_a_file_that_is_not_read_is_explained(folder: Path) -> None:
    Path("conf/loss/misnamed.yml").write_text("# Not read.\n_target_: nested.Combo\n")
    [problem] = find_config_problems(compose(["loss=plain", "loss.inner=misnamed"]))
    assert "Rename conf/loss/misnamed.yml to misnamed.yaml." in problem
