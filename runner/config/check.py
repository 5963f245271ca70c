"""Everything that can be known to be wrong with a configuration before JAX is imported, told at once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any

from components.closest import suggest_name
from components.types import Range
from runner.config.catalog import EXPERIMENT, defaults
from runner.config.provenance import format_problem, origin_of
from runner.config.verbs import RUN_VERBS
from runner.errors import ConfigError
from runner.signature.kinds import find_misplacement
from runner.signature.parameters import Parameter, Parameters, call_parameters, settings, signature
from runner.signature.schema import SCHEMA, find_misplaced_parts
from runner.signature.source import TargetError
from runner.signature.type_hints import Problem, find_problems
from runner.tree import dotted, is_reference, leaves, parts

if TYPE_CHECKING:
    from runner.config.config import Config

FEATURE = {
    "target": SCHEMA["feature.target"],
    "columns": SCHEMA["feature.columns"],
    "inputs": dict[str, tuple[str, ...]],
}
FEATURE_OPTIONS = {"sample": Annotated[int, Range(1)] | None}
LACKS = "is missing; "  # a word of the command: no file is to blame
SECTIONS = {"training": "Training", "runs": "Runs"}  # mappings at the root, and the settings that describe them
GIVEN = {
    "optimizer": {"learning_rate": "comes from the schedule; set learning_rate instead"},
    "architecture": {"outputs": "comes from the data and the loss", "dtype": "comes from training.precision"},
}
"""Parameters that the runner fills in, by group, and what to tell who sets one."""
NEEDED = {
    "optimizer": ("learning_rate", "the rate that the schedule gives step by step"),
    "architecture": ("outputs", "how many numbers the loss needs of an example"),
}
"""Those among them that a part can't do without, and what they are."""


def check_config(config: Config) -> None:
    """Raises ConfigError with everything that is wrong, each with its key, what is allowed and who set it."""
    if found := find_config_problems(config):
        raise ConfigError(*found)


def find_config_problems(config: Config) -> list[str]:
    """What is wrong, a line each; of a group that the values lack there is nothing more to say."""
    values = config.values
    found = [*_root(values), *_places(values), *_parts(values), *_wiring(values)]
    found += [*_monitor(values), *_folds(values), *_precision(values), *_verbs(values)]
    wrong = {f"${{{one.key}}}" for one in found}
    again = {dotted(place) for place, value in leaves(config.raw) if is_reference(value) and value in wrong}
    return [
        format_problem(f"{key}: {problem}", None if problem.startswith(LACKS) else origin_of(config.origins, key))
        for key, problem in found
        if key not in again
    ]


def has_valid_root(values: Mapping[str, Any]) -> bool:
    """Whether the keys beside the groups are all there, and of their kind."""
    return not any(_root(values))


def is_complete_part(group: str, node: Any) -> bool:
    """Whether a part has all that it needs, and nothing is wrong with it."""
    return isinstance(node, dict) and "_target_" in node and not any(_parts({group: node}))


def _root(values: Mapping[str, Any]) -> Iterator[Problem]:
    """The keys beside the groups, and those of the sections among them."""
    known = settings("Settings")
    for key in values:
        if key not in known and key not in defaults():
            yield Problem(str(key), f"unknown key; {suggest_name(key, [*known, *defaults()])}")
    yield from _arguments({key: value for key, value in values.items() if key in known}, known, "")
    for name, described in SECTIONS.items():
        section = values.get(name, {})
        if isinstance(section, dict):
            yield from _arguments(section, settings(described), name)
        else:
            yield from find_problems(section, dict[str, Any], name)


def _places(values: Mapping[str, Any]) -> Iterator[Problem]:
    """Whether parts stand where each group has them."""
    for group in values:
        if group == "feature":
            yield from _feature(values[group])
        elif group in defaults() and group != EXPERIMENT:
            yield from find_problems(values[group], SCHEMA[group], group)


def _feature(feature: Any) -> Iterator[Problem]:
    if not isinstance(feature, dict):
        yield from find_problems(feature, dict[str, Any], "feature")
        return
    for key in (key for key in FEATURE if key not in feature):
        yield Problem(f"feature.{key}", "is missing")
    known = FEATURE | FEATURE_OPTIONS
    for key, value in feature.items():
        if key in known:
            yield from find_problems(value, known[key], f"feature.{key}")
        else:
            yield Problem(f"feature.{key}", f"unknown key; {suggest_name(key, known)}")


def _kinds(values: Mapping[str, Any]) -> Iterator[Problem]:
    """Parts that may not stand where they do."""
    for place, hint in SCHEMA.items():
        group, _, name = place.partition(".")
        value = values.get(group)
        value = value.get(name) if name and isinstance(value, dict) else value
        yield from find_misplaced_parts(value, hint, place)


def _parts(values: Mapping[str, Any]) -> Iterator[Problem]:
    """Every target with its arguments, wherever it stands; of one that may not stand there, nothing more."""
    wrong = list(_kinds(values))
    yield from wrong
    misfits = {one.key for one in wrong}
    for place, node in parts(values):
        key = dotted(place)
        if f"{key}._target_" in misfits:
            continue
        given = GIVEN.get(key, {})
        arguments = {name: value for name, value in node.items() if name != "_target_"}
        try:
            known = signature(node["_target_"])
        except TargetError as error:
            yield Problem(f"{key}._target_", str(error))
            continue
        if known is not None and key in NEEDED and (needed := NEEDED[key])[0] not in known:
            yield Problem(f"{key}._target_", f"{node['_target_']} lacks the parameter `{needed[0]}`: {needed[1]}")
        for name, reason in given.items():
            if name in arguments:
                del arguments[name]
                yield Problem(f"{key}.{name}", reason)
        if known is not None and key == "data":
            if "split" in known:
                yield Problem(f"{key}._target_", f"{node['_target_']} takes `split`, but data.split is Titrate's own")
            if values.get("mode") in RUN_VERBS:
                known = known | {"split": Parameter(str, required=False)}
        if known is not None:
            known = {name: parameter for name, parameter in known.items() if name not in given}
            yield from _arguments(arguments, known, key, f"parameter of {node['_target_']}")


def _arguments(values: Mapping[str, Any], known: Parameters, owner: str, what: str = "key") -> Iterator[Problem]:
    """Values against the parameters that they are given for."""
    for name, parameter in known.items():
        if parameter.required and name not in values:
            yield Problem(_join(owner, name), "is missing, and has no default")
    for name, value in values.items():
        key = _join(owner, name)
        if name not in known:
            yield Problem(key, f"no {what}; {suggest_name(name, known)}")
        elif value == "???":
            yield Problem(key, "a value must be given")
        elif not is_reference(value):
            yield from find_problems(value, known[name].hint, key)


def _wiring(values: Mapping[str, Any]) -> Iterator[Problem]:
    """Columns to inputs, and inputs to the architecture."""
    feature = values.get("feature")
    columns, inputs = map(feature.get, ("columns", "inputs")) if isinstance(feature, dict) else (None, None)
    if not isinstance(columns, dict) or not isinstance(inputs, dict):
        return
    for name, listed in inputs.items():
        for column in listed if isinstance(listed, list) else ():
            if isinstance(column, str) and column not in columns:
                yield Problem(f"feature.inputs.{name}", f"no column {column}; {suggest_name(column, columns)}")
    if target := _architecture(values):
        yield from _inputs(inputs, target)


def _architecture(values: Mapping[str, Any]) -> str | None:
    """The target of the architecture, where it is one."""
    node = values.get("architecture")
    target = node.get("_target_") if isinstance(node, dict) else None
    try:
        return target if isinstance(target, str) and not find_misplacement(target, ("architecture",)) else None
    except TargetError:
        return None


def _inputs(inputs: Mapping[str, Any], target: str) -> Iterator[Problem]:
    """Names matter only where there are several."""
    taken = call_parameters(target)
    if taken is not None and "train" not in taken:
        yield Problem("architecture._target_", f"{target} lacks `train` in its `__call__`: whether it is training")
    names = {name: one.required for name, one in (taken or {}).items() if name != "train"}
    if taken is None or len(names) == len(inputs) == 1:
        return
    for name in inputs:
        if name not in names:
            yield Problem(f"feature.inputs.{name}", f"{target} takes no such input; {suggest_name(name, names)}")
    for name, required in names.items():
        if required and name not in inputs:
            yield Problem("feature.inputs", f"{target} needs an input {name}")


def _monitor(values: Mapping[str, Any]) -> Iterator[Problem]:
    metrics, training = values.get("metric"), values.get("training")
    if not isinstance(metrics, dict) or not isinstance(training, dict):
        return
    names = [f"{split}/{name}" for name in ("loss", *metrics) for split in ("valid", "train")]
    monitor = training.get("monitor")
    if isinstance(monitor, str) and monitor not in names:
        yield Problem("training.monitor", f"no {monitor}; {suggest_name(monitor, names)}")


def _folds(values: Mapping[str, Any]) -> Iterator[Problem]:
    folds, fold = values.get("folds"), values.get("fold")
    if isinstance(fold, int) and folds is None:
        yield Problem("fold", f"{fold} of how many? set folds too")
    elif isinstance(fold, int) and isinstance(folds, int) and fold >= folds:
        yield Problem("fold", f"{fold} is none of the {folds} folds, which count from 0")


def _precision(values: Mapping[str, Any]) -> Iterator[Problem]:
    """Only an architecture that has a `dtype` can compute in another."""
    training, target = values.get("training"), _architecture(values)
    if not isinstance(training, dict) or training.get("precision") in (None, "float32"):
        return
    known = signature(target) if target else None
    if known is not None and "dtype" not in known:
        yield Problem("training.precision", f"{target} computes in float32 only; it would need a field `dtype`")


def _verbs(values: Mapping[str, Any]) -> Iterator[Problem]:
    """Keys that only some modes read."""
    mode = values.get("mode")
    if mode in ("evaluate", "predict") and values.get("run") is None:
        yield Problem("run", f"is missing; mode={mode} needs a run's folder, its MLflow run id or last, see mode=runs")
    if mode not in RUN_VERBS and values.get("run") is not None:
        yield Problem("run", f"is for mode={', '.join(RUN_VERBS)}; resume=… goes on training a run")
    if mode == "look" and values.get("run") is None and "split" in (values.get("data") or {}):
        yield Problem("data.split", "is for a run that is done; set run too")
    if mode != "predict" and values.get("output") is not None:
        yield Problem("output", "is for mode=predict")
    if mode == "predict" and values.get("output") is None:
        yield Problem("output", "is missing; mode=predict writes a .csv, .parquet or .json file")


def _join(owner: str, name: str) -> str:
    return f"{owner}.{name}" if owner else str(name)
