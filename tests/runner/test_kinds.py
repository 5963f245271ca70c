"""What a configuration, an override or an artifact may name: parts, each where its kind belongs, and nothing else."""

from __future__ import annotations

import functools
import importlib
import pkgutil
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import flax.linen as nn
import optax
import pytest
import yaml

import components
import runner
from components import types
from runner.__main__ import main
from runner.build import build
from runner.catalog import catalog, defaults
from runner.hints import of_element
from runner.kinds import KINDS, belongs
from runner.places import PLACES, misplaced
from runner.source import TargetError
from runner.tree import parts

FIELDS = "__dataclass_fields__"
HELPERS = [
    "components.data.write_idx",
    "components.data.idx_file.write_idx",
    "components.data.read_idx",
    "components.data.split",
    "components.data.Table",  # has abstract methods
    "components.data.csv.inference",
    "components.feature.Moments",
    "components.feature.Spread",
    "components.layer.activate",
    "components.layer.initializer.initializer",
    "components.layer.InitializerName",
    "components.loss.UserError",
    "components.loss.Range",
    "components.loss._numbers",
    "components.metric.dataclasses.replace",
    "components.place.find",
    "components.schedule._schedule",
    "components.types.as_column",
    "components.types.Schedule",
    "components.weights.carried",
    "flax.linen.init",
    "flax.linen.Module",
    "flax.linen.meta.Partitioned",
    "jax.nn.tanh",  # jax.numpy's
    "optax.apply_updates",
    "optax.global_norm",
    "runner.execution.execute",
    "runner.folder.write_atomically",
    "runner.tracking.deliver.main",
    "runner.tracking.ChildDelivery",
    "runner.tracking.Tracking",
    "os.system",
    "builtins.eval",
    "",
    "loss",
    "components",
    "components..loss.MSE",
]


def allowed(target: Any, *wanted: str) -> bool:
    try:
        return belongs(target, wanted)
    except TargetError:
        return False


def modules(package: ModuleType) -> Iterator[str]:
    yield package.__name__
    for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        if "template" not in found.name and "__main__" not in found.name:
            yield found.name


def callables(*names: str) -> dict[str, Any]:
    """Everything that can be called in some modules, by the first of its dotted names that end alike."""
    found = {}
    for name in names:
        for one, value in vars(importlib.import_module(name)).items():
            if callable(value):
                found.setdefault((one, id(value)), (f"{name}.{one}", value))
    return dict(found.values())


def makes(value: Any, *kinds: type) -> bool:
    """Whether a call of a class, or of a `partial` of one, makes an instance of one of some classes."""
    while isinstance(value, functools.partial):
        value = value.func
    return isinstance(value, type) and issubclass(value, kinds)


def conforms(protocol: type) -> Callable[[Any], bool]:
    names = {name for one in protocol.__mro__ for name in (*vars(one), *vars(one).get("__annotations__", {}))}
    needed = [name for name in names if name[0] != "_" or name == "__call__"]
    return lambda value: isinstance(value, type) and {*needed} <= {*dir(value), *getattr(value, FIELDS, ())}


def returns(name: str) -> Callable[[Any], bool]:
    def does(value: Any) -> bool:
        while isinstance(value, functools.partial):
            value = value.func
        return name in str(getattr(value, "__annotations__", {}).get("return", "")) or makes(
            value, optax.GradientTransformation
        )

    return does


IN_PYTHON: dict[str, Callable[[Any], bool]] = {
    "source": conforms(types.Source),
    "target": conforms(types.Target),
    "column": conforms(types.Column),
    "architecture": lambda value: makes(value, nn.Module),
    "layer": lambda value: makes(value, nn.Module),
    "loss": conforms(types.Loss),
    "metric": conforms(types.Metric),
    "optimizer": returns("GradientTransformation"),
    "schedule": returns("Schedule"),
    "regularizer": conforms(types.Regularizer),
    "augmentation": conforms(types.Augmentation),
    "weights": conforms(types.Weights),
    "tracking": lambda value: hasattr(value, "start") and hasattr(value, "describe"),
    "sweep": lambda value: hasattr(value, "ask"),
    "function": lambda value: value.__module__.startswith(("jax._src.nn.", "jax.nn.")),
}
"""What Python itself finds of a part of each kind, to hold the sources against."""


def test_all_that_can_be_called_is_a_part_of_its_kind_or_refused() -> None:
    """A helper that is new in an allowed package is refused, or stands here with what it is."""
    ours = callables(*modules(components), *modules(runner))
    theirs = callables("optax", "optax.contrib", "flax.linen", "jax.nn", "jax.nn.initializers")
    found = {name: value for name, value in {**ours, **theirs}.items() if allowed(name)}
    for name, value in found.items():
        kinds = [kind for kind in KINDS if allowed(name, kind)]
        assert kinds, name
        assert all(IN_PYTHON[kind](value) for kind in kinds), (name, kinds)
    assert len(found) > 250
    assert len(ours) > 10 * sum(name in ours for name in found)  # most of what can be called is no part


def test_what_conf_names_stands_where_its_kind_belongs() -> None:
    """Every option of every group, and no part where another group has its own."""
    assert {place.partition(".")[0] for place in PLACES} == defaults().keys() - {"experiment"}
    for group, options in catalog().files.items():
        for path in options.values():
            tree = yaml.safe_load(path.read_text())
            if group in PLACES:
                assert not list(misplaced(tree, PLACES[group], group)), path
            elif group == "feature":
                assert not list(misplaced(tree["target"], PLACES["feature.target"], "feature.target")), path
                assert not list(misplaced(tree["columns"], PLACES["feature.columns"], "feature.columns")), path
            for _, node in parts(tree):
                others = {*KINDS} - {"layer", "architecture", "target", "column"}
                assert sum(allowed(node["_target_"], kind) for kind in others) <= 1


@pytest.mark.parametrize("target", HELPERS)
def test_a_helper_is_no_part(target: str) -> None:
    assert not allowed(target)
    for place in PLACES:
        with pytest.raises(types.UserError):
            build({"a": {"_target_": target}}, {}, dict[str, of_element(PLACES[place], "a")])  # type: ignore[misc]
    with pytest.raises(types.UserError):
        build([{"_target_": target}], {})


@pytest.mark.parametrize(
    ("place", "target", "message"),
    [
        ("loss", "components.metric.MAE", "is a metric, not a loss; did you mean components.loss.MAE?"),
        ("optimizer", "components.schedule.cosine", "is a schedule, not an optimizer; did you mean optax."),
        ("architecture.layers.0", "components.architecture.MLP", "is an architecture, not a layer;"),
        ("architecture.layers.0", "components.layer.Normal", "is not a layer;"),
        ("architecture", "components.layer.Dense", "is a layer, not an architecture;"),
        ("feature.target", "components.feature.Image", "is a feature column, not a target; did you mean components."),
        ("feature.columns.image", "components.data.Idx", "is a data source, not a feature column;"),
        ("loss", "os.system", "is not below an allowed package"),
    ],
)
def test_a_part_in_the_place_of_another_is_named_with_what_belongs_there(
    in_empty_folder: Path, capsys: pytest.CaptureFixture[str], place: str, target: str, message: str
) -> None:
    architecture = ["architecture=sequential"] if "layers" in place else []
    assert main([*architecture, f"{place}={{_target_: {target}}}"]) == 2
    line = next(line for line in capsys.readouterr().err.splitlines() if f"{place}._target_: " in line)
    assert line.startswith(f"{place}._target_: {target} {message}")


def test_annotations_say_what_stands_within_a_part(in_empty_folder: Path) -> None:
    dense = {"_target_": "components.layer.Dense", "features": 3}
    for initializer, right in (("Normal", True), ("Uniform", True), ("Dense", False), ("activate", False)):
        node = {**dense, "initializer": {"_target_": f"components.layer.{initializer}"}}
        assert not list(misplaced(node, PLACES["architecture"].__class__, "a")) == right
    numeric: dict[str, Any] = {"_target_": "components.feature.Numeric", "key": "x"}
    for step, right in (("normalizer.Clip", True), ("Numeric", False), ("normalizer.constant", False)):
        for listed in (lambda node: node, lambda node: [node]):
            node = {**numeric, "normalize": listed({"_target_": f"components.feature.{step}"})}
            assert (not list(misplaced(node, PLACES["feature.target"], "a"))) == right
