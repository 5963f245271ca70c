"""A configuration, an override or an artifact may name only parts, each at a key of its kind."""

from __future__ import annotations

import contextlib
import functools
import importlib
import json
import os
import pkgutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import flax.linen as nn
import optax
import pytest
import yaml
from options import replace_rate

import components
import runner
from components import types
from components.closest import join_names
from runner import npz
from runner.__main__ import main
from runner.config.catalog import find_options, list_groups
from runner.data import transform
from runner.execution.teacher import Teacher
from runner.signature.allowed_parts import is_allowed_part
from runner.signature.build import build
from runner.signature.kinds import KINDS
from runner.signature.parameters import read_signature
from runner.signature.schema import LISTS, SCHEMA, find_list, find_misplaced_parts
from runner.signature.source import PartNotFoundError, find_module, list_public_names
from runner.signature.type_hints import element_hint
from runner.tree import iterate_parts

FIELDS = "__dataclass_fields__"
HELPERS = [
    "components.data.write_idx",
    "components.data.idx.write_idx",
    "components.data.read_idx",
    "components.data.split",
    "components.architecture.block.branches.Series",  # a module of Flax that nobody exports
    "components.data.Table",  # has abstract methods
    "components.data.csv.source.find",
    "components.feature.Moments",
    "components.feature.Spread",
    "components.layer.activate",
    "components.layer.initializer.get_initializer",
    "components.layer.InitializerName",
    "components.loss.UserError",
    "components.loss.Range",
    "components.loss._numbers",
    "components.metric.dataclasses.replace",
    "components.input_files.find_path",
    "components.schedule._schedule",
    "components.columns.as_column",
    "components.types.Schedule",
    "components.pretrained.convert_weights",
    "flax.linen.init",
    "flax.linen.Module",
    "flax.linen.meta.Partitioned",
    "jax.nn.tanh",  # jax.numpy's
    "optax.apply_updates",
    "optax.global_norm",
    "runner.execution.execute.execute",
    "runner.files.write_atomically",
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


PACKAGES = sorted(name for kind in KINDS.values() for name in kind.packages[:1] if name.startswith("components."))


def is_allowed(target: Any, *kinds: str) -> bool:
    try:
        return is_allowed_part(target, kinds)
    except PartNotFoundError:
        return False


def iterate_modules(package: ModuleType) -> Iterator[str]:
    yield package.__name__
    for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        if "template" not in found.name and "__main__" not in found.name:
            yield found.name


def find_callables(*modules: str) -> dict[str, Any]:
    """Every object in some modules that can be called, under the first of its dotted names with the same last part."""
    found = {}
    for module in modules:
        for name, value in vars(importlib.import_module(module)).items():
            if callable(value):
                found.setdefault((name, id(value)), (f"{module}.{name}", value))
    return dict(found.values())


def returns_instance(value: Any, *classes: type) -> bool:
    """Whether a call of a class, or of a `partial` of one, returns an instance of one of some classes."""
    while isinstance(value, functools.partial):
        value = value.func
    return isinstance(value, type) and issubclass(value, classes)


def has_members_of(protocol: type) -> Callable[[Any], bool]:
    names = {name for cls in protocol.__mro__ for name in (*vars(cls), *vars(cls).get("__annotations__", {}))}
    required = {name for name in names if name[0] != "_" or name == "__call__"}
    return lambda value: isinstance(value, type) and required <= {*dir(value), *getattr(value, FIELDS, ())}


def is_annotated_to_return(class_name: str) -> Callable[[Any], bool]:
    def has_annotation(value: Any) -> bool:
        while isinstance(value, functools.partial):
            value = value.func
        annotation = str(getattr(value, "__annotations__", {}).get("return", ""))
        return class_name in annotation or returns_instance(value, optax.GradientTransformation)

    return has_annotation


HAS_KIND_IN_PYTHON: dict[str, Callable[[Any], bool]] = {
    "source": has_members_of(types.Source),
    "operation": has_members_of(types.RowOperation),
    "target": has_members_of(types.Target),
    "column": has_members_of(types.Column),
    "architecture": lambda value: returns_instance(value, nn.Module),
    "layer": lambda value: returns_instance(value, nn.Module),
    "loss": has_members_of(types.Loss),
    "metric": has_members_of(types.Metric),
    "optimizer": is_annotated_to_return("GradientTransformation"),
    "schedule": is_annotated_to_return("Schedule"),
    "regularizer": has_members_of(types.Regularizer),
    "update": lambda value: sum(hasattr(value, name) for name in types.UPDATE_PROTOCOLS) == 1,
    "constraint": has_members_of(types.Constraint),
    "step": has_members_of(types.Step),
    "augmentation": has_members_of(types.Augmentation),
    "observer": has_members_of(types.Observer),
    "examples": has_members_of(types.Examples),
    "weights": has_members_of(types.Weights),
    "tracking": lambda value: hasattr(value, "start") and hasattr(value, "describe"),
    "teacher": lambda value: value is Teacher,
    "sweep": lambda value: hasattr(value, "find_problem"),
    "function": lambda value: value.__module__.startswith(("jax._src.nn.", "jax.nn.")),
}
"""Whether Python agrees that an object is a part of a kind, to compare with the sources."""


def test_a_callable_is_a_part_only_if_python_agrees() -> None:
    """Every callable of an allowed package is an error in `_target_`, unless it is an object of a kind."""
    ours = find_callables(*iterate_modules(components), *iterate_modules(runner))
    libraries = find_callables("optax", "optax.contrib", "flax.linen", "jax.nn", "jax.nn.initializers")
    found = {name: value for name, value in {**ours, **libraries}.items() if is_allowed(name)}
    for name, value in found.items():
        kinds = [kind for kind in KINDS if is_allowed(name, kind)]
        assert kinds, name
        assert all(HAS_KIND_IN_PYTHON[kind](value) for kind in kinds), (name, kinds)
        packages = [vars(importlib.import_module(package)) for kind in kinds for package in KINDS[kind].packages]
        assert any(package.get(name.rpartition(".")[2]) is value for package in packages), name
    assert len(found) > 250
    assert len(ours) > 10 * sum(name in ours for name in found)  # most of what can be called is no part


def test_every_target_in_conf_is_of_the_kind_of_its_key() -> None:
    """Every option of every group, and no part where another group has its own."""
    groups = {place.partition(".")[0] for place in SCHEMA} - LISTS.keys() | {*LISTS.values()}
    assert groups == {*list_groups()} - {"experiment"}
    for group, options in find_options().files.items():
        for path in options.values():
            tree = yaml.safe_load(path.read_text())
            if key := find_list(group):
                assert not list(find_misplaced_parts([tree], SCHEMA[key], key)), path
            elif group in SCHEMA:
                assert not list(find_misplaced_parts(tree, SCHEMA[group], group)), path
            elif group == "feature":
                assert not list(find_misplaced_parts(tree["target"], SCHEMA["feature.target"], "feature.target")), path
                assert not list(find_misplaced_parts(tree["columns"], SCHEMA["feature.columns"], "feature.columns")), (
                    path
                )
            for _, node in iterate_parts(tree):
                others = {*KINDS} - {"layer", "architecture", "target", "column"}
                assert sum(is_allowed(node["_target_"], kind) for kind in others) <= 1


@pytest.mark.parametrize("package", PACKAGES)
def test_a_wrong_name_lists_only_the_parts_of_its_package(package: str) -> None:
    module = find_module(package)
    assert module is not None
    parts = [name for name in list_public_names(module) if is_allowed(f"{package}.{name}")]
    with pytest.raises(PartNotFoundError) as caught:
        read_signature(f"{package}.zzzz")
    assert str(caught.value) == f"{package} has no zzzz. Allowed: {join_names(parts)}."


def test_the_nearest_name_is_the_name_of_a_part() -> None:
    """`ActivationName` is nearer, but it is a type alias that the package exports."""
    with pytest.raises(PartNotFoundError, match=r"has no ActivationNam\. Did you mean Activation\?$"):
        read_signature("components.layer.ActivationNam")


@pytest.mark.parametrize("target", HELPERS)
def test_a_helper_is_not_a_part(target: str) -> None:
    assert not is_allowed(target)
    for place in SCHEMA:
        with pytest.raises(types.UserError):
            build({"a": {"_target_": target}}, {}, dict[str, element_hint(SCHEMA[place], "a")])  # type: ignore[misc]
    with pytest.raises(types.UserError):
        build([{"_target_": target}], {})


@pytest.mark.parametrize(
    ("place", "target", "message"),
    [
        ("loss", "components.metric.MAE", "is a metric, not a loss. Did you mean components.loss.MAE?"),
        ("optimizer", "components.schedule.cosine", "is a schedule, not an optimizer. Did you mean optax."),
        ("architecture.layers.0", "components.architecture.MLP", "is an architecture, not a layer."),
        ("architecture.layers.0", "components.layer.Normal", "is not a layer."),
        ("architecture", "components.layer.Dense", "is a layer, not an architecture."),
        (
            "feature.target",
            "components.feature.Image",
            "is a feature column, not a prediction target. Did you mean components.",
        ),
        ("feature.columns.image", "components.data.Idx", "is a data source, not a feature column."),
        ("loss", "os.system", "is not in an allowed package"),
    ],
)
def test_a_part_of_the_wrong_kind_is_reported_with_the_kind_that_is_allowed(
    in_empty_folder: Path, capsys: pytest.CaptureFixture[str], place: str, target: str, message: str
) -> None:
    architecture = ["architecture=sequential"] if "layers" in place else []
    assert main([*architecture, f"{place}={{_target_: {target}}}"]) == 2
    line = next(line for line in capsys.readouterr().err.splitlines() if f"{place}._target_: " in line)
    assert line.startswith(f"{place}._target_: {target} {message}")


def test_annotations_decide_which_parts_a_part_may_contain() -> None:
    dense = {"_target_": "components.layer.Dense", "features": 3}
    for initializer, is_right in (("Normal", True), ("Uniform", True), ("Dense", False), ("activate", False)):
        node = {**dense, "initializer": {"_target_": f"components.layer.{initializer}"}}
        assert (not list(find_misplaced_parts(node, Any, "a"))) == is_right
    numeric: dict[str, Any] = {"_target_": "components.feature.Numeric", "key": "x"}
    for step, is_right in (("normalizer.Clip", True), ("Numeric", False), ("normalizer.is_constant", False)):
        part = {"_target_": f"components.feature.{step}"}
        for value in (part, [part]):
            node = {**numeric, "normalize": value}
            assert (not list(find_misplaced_parts(node, SCHEMA["feature.target"], "a"))) == is_right


def make_writing_target(folder: Path) -> dict[str, Any]:
    """A helper function in `_target_`, which would write a file into the folder if it were called."""
    array = {"_target_": "components.columns.as_column", "name": "x", "given": [1, 2]}
    return {"_target_": "components.data.write_idx", "path": str(folder / "written"), "array": array}


@pytest.mark.parametrize("place", ["target", "columns", "key", "normalize", "unknown"])
def test_an_untrusted_transform_runs_nothing(tmp_path: Path, place: str) -> None:
    numeric: dict[str, Any] = {"_target_": "components.feature.Numeric", "key": "x"}
    feature = {"target": dict(numeric), "columns": {"x": dict(numeric)}, "inputs": {"x": ["x"]}}
    if place == "target":
        feature["target"] = make_writing_target(tmp_path)
    elif place == "columns":
        feature["columns"]["x"] = make_writing_target(tmp_path)  # type: ignore[index]
    else:
        feature["columns"]["x"][place] = [make_writing_target(tmp_path)]  # type: ignore[index]
    meta = {"version": transform.VERSION, "feature": feature, "columns": {}, "forms": {}}
    npz.write(tmp_path / "transform.npz", {}, meta)
    fault = (
        "`components.feature.Numeric` has no parameter unknown"
        if place == "unknown"
        else "components.data.write_idx is not a"
    )
    with pytest.raises(types.UserError, match=rf"^feature\.(target|columns\.x)(\.{place}\.0)?: {fault}"):
        runner.load_transform(tmp_path / "transform.npz")
    assert not (tmp_path / "written").exists()


def test_a_transform_may_contain_only_feature_columns(tmp_path: Path) -> None:
    """A part of another kind, or of a module that the user has not allowed, is refused in a file."""
    (tmp_path / "stranger.py").write_text("raise SystemExit('imported')")
    column: dict[str, Any] = {"_target_": "components.feature.Label", "key": "x"}
    for target, message in {
        "components.data.Csv": "is a data source, not a feature column",
        "components.pretrained.Safetensors": "is a source of weights, not a feature column",
        "runner.tracking.MLflow": "is a tracker, not a feature column",
        "stranger.Column": "is not in an allowed package",
    }.items():
        feature = {"target": column, "columns": {"x": {"_target_": target}}, "inputs": {"x": ["x"]}}
        meta = {"version": transform.VERSION, "feature": feature, "columns": {}, "forms": {}}
        npz.write(tmp_path / "transform.npz", {}, meta)
        with pytest.raises(types.UserError, match=message):
            runner.load_transform(tmp_path)


@pytest.mark.optax
def test_an_untrusted_run_folder_runs_nothing(in_empty_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tracking=none", "quiet=true", "training.epochs=1", "training.limit_batches=1"]) == 0
    (folder,) = Path("outputs").iterdir()
    path = folder / "config.yaml"
    config = yaml.safe_load(path.read_text())
    for key in ("loss", "architecture", "metric.accuracy", "data", "optimizer", "schedule"):
        forged = json.loads(json.dumps(config))
        group, _, name = key.partition(".")
        (forged[group] if name else forged)[name or group] = make_writing_target(Path.cwd())
        path.write_text(yaml.safe_dump(forged))
        with pytest.raises(types.UserError, match=rf"{key}: components.data.write_idx is not a"):
            runner.load(folder).evaluate("train")
        assert main(["mode=evaluate", f"run={folder.name}"]) == 2
        assert f"{key}._target_: components.data.write_idx is not a" in capsys.readouterr().err
        assert not Path("written").exists()
    path.write_text("loss: !!python/object/apply:os.system ['touch written']")
    assert main(["mode=evaluate", f"run={folder.name}"]) != 0
    assert not Path("written").exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("loss: !!python/object/apply:os.system ['touch written']", "not valid YAML: could not determine a constru"),
        ("loss: !!python/name:os.system", "not valid YAML: could not determine a constru"),
        ("learning_rate: ${oc.env:TITRATE_SECRET}", "${oc.env:TITRATE_SECRET} calls the function oc.env"),
        ("folder: ${oc.decode:${oc.env:TITRATE_SECRET}}", "calls the function oc.decode"),
        ("hydra: {callbacks: {x: {_target_: os.system}}}", "Hydra's own settings have no effect. Leave `hydra`"),
        (
            "loss: {_target_: components.loss.MSE, _partial_: true}",
            "loss._partial_: unknown parameter of components.loss",
        ),
        ("loss: {_target_: [components.loss.MSE]}", "loss._target_: ['components.loss.MSE'] is not a dotted name"),
        ("training: {epochs: {_target_: os.system}}", 'training.epochs: {"_target_": "os.system"} is not a whole'),
        ("stranger: {_target_: os.system}", "stranger: unknown key"),
    ],
)
def test_an_untrusted_experiment_runs_nothing(
    in_empty_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    text: str,
    message: str,
) -> None:
    monkeypatch.setenv("TITRATE_SECRET", "12345.678")
    Path("experiments").mkdir()
    Path("experiments/strange.yaml").write_text(text)
    assert main(["experiment=strange"]) == 2
    output = capsys.readouterr().err
    assert message in output
    assert "12345.678" not in output
    assert not Path("written").exists()


def iterate_option_parts() -> Iterator[tuple[str, dict[str, Any]]]:
    """The outermost parts in the options of `conf/`, with their groups."""
    for group, files in find_options().files.items():
        for file in files.values():
            outer: list[Any] = []
            for path, node in iterate_parts(yaml.safe_load(file.read_text())):
                if group != "experiment" and not any(path[: len(key)] == key for key in outer):
                    outer.append(path)
                    yield group, node


def test_building_parts_touches_no_file_and_starts_nothing() -> None:
    """An untrusted file may build any part: a part opens its files only when their content is read."""
    given = {"architecture": {"outputs": 3}, "optimizer": {"learning_rate": 0.1}}
    sources = {"a": build({"_target_": "components.data.Csv", "path": "nowhere"}, {})}
    required = {"path": "nowhere", "where": "a > 0", "columns": {"a": "b"}, "sources": sources, "count": 2, "index": 1}
    required |= {"by": ["a"], "other": sources["a"], "size": 3}
    aggregates = {"columns": {"rows": "count()"}}
    built = {}
    for _ in range(2):  # the sources of signatures are read the first time
        for group, node in iterate_option_parts():
            missing = {key: value for key, value in required.items() if node.get(key) == "???"}
            arguments = missing or given.get(group, {})
            arguments |= aggregates if node["_target_"].endswith(".Aggregate") else {}
            rated = replace_rate(node, 0.1)
            with record_audit_events() as events:
                build(rated, {}, **arguments)
            built[group, node["_target_"]] = [event for event in events if event.startswith(TOUCHING)]
    assert len(built) > 80
    assert not {part: events for part, events in built.items() if events}


def test_allow_lasts_for_one_command(
    in_empty_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("TITRATE_ALLOW", raising=False)
    Path("allowed_once.py").write_text("class Loss:\n    def __init__(self, size: int = 1): ...\n")
    words = ["loss._target_=allowed_once.Loss", "loss.size=x"]
    for _ in range(2):
        assert main(["--allow", "allowed_once", *words]) == 2
        assert 'loss.size: "x" is not a whole number' in capsys.readouterr().err
        assert main(words) == 2
        assert "allowed_once.Loss is not in an allowed package" in capsys.readouterr().err
        assert "TITRATE_ALLOW" not in os.environ
    monkeypatch.setenv("TITRATE_ALLOW", "another")
    assert main(["--allow", "allowed_once", *words]) == 2
    assert os.environ["TITRATE_ALLOW"] == "another"


TOUCHING = ("open", "os.", "shutil.", "subprocess.", "socket.", "ctypes.", "urllib.", "tempfile.", "compile")
_EVENTS: list[list[str]] = []


def _record_event(event: str, arguments: tuple[Any, ...]) -> None:
    for events in _EVENTS:
        events.append(event)


@contextlib.contextmanager
def record_audit_events() -> Iterator[list[str]]:
    """Collects the events of Python's audit hook. A hook can't be removed, so it ignores events outside the context."""
    if not _IS_HOOKED:
        sys.addaudithook(_record_event)
        _IS_HOOKED.append(True)
    events: list[str] = []
    _EVENTS.append(events)
    try:
        yield events
    finally:
        _EVENTS.remove(events)


_IS_HOOKED: list[bool] = []
