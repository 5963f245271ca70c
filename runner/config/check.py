"""Checks a configuration before JAX is imported, and finds all of its problems at once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any

from components.closest import suggest_name
from components.types import Range
from runner.config.catalog import EXPERIMENT, defaults
from runner.config.modes import RUN_MODES
from runner.config.provenance import format_problem, origin_of
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
MISSING_WORD = "is missing; "  # begins the problem of a word that the command line lacks, which no file has set
SECTIONS = {"training": "Training", "runs": "Runs"}  # mappings at the root, and the classes that describe them
FILLED_IN = {
    "optimizer": {"learning_rate": "comes from the schedule; set learning_rate instead"},
    "architecture": {"outputs": "comes from the data and the loss", "dtype": "comes from training.precision"},
}
"""Parameters that the runner fills in, by group, and the remedy for a user who sets one."""
REQUIRED = {
    "optimizer": ("learning_rate", "the learning rate of each step, from the schedule"),
    "architecture": ("outputs", "the number of outputs that the loss needs for an example"),
}
"""The parameter among them that a part must have, by group, and what it is."""


def check_config(config: Config) -> None:
    """Raises ConfigError with all problems: the key, what is wrong, what is allowed, and who set it."""
    if problems := find_config_problems(config):
        raise ConfigError(*problems)


def find_config_problems(config: Config) -> list[str]:
    """All problems, a line each. A group that the values lack is skipped."""
    values = config.values
    problems = [*_check_root(values), *_check_groups(values), *_check_parts(values), *_check_inputs(values)]
    problems += [*_check_monitor(values), *_check_folds(values), *_check_precision(values), *_check_mode_keys(values)]
    references = {f"${{{problem.key}}}" for problem in problems}  # to a wrong value, which is reported once
    repeated = {dotted(path) for path, value in leaves(config.raw) if is_reference(value) and value in references}
    return [
        format_problem(
            f"{key}: {problem}", None if problem.startswith(MISSING_WORD) else origin_of(config.origins, key)
        )
        for key, problem in problems
        if key not in repeated
    ]


def has_valid_root(values: Mapping[str, Any]) -> bool:
    """Whether all keys that belong to no group exist, with values of the right type."""
    return not any(_check_root(values))


def is_complete_part(group: str, node: Any) -> bool:
    """Whether a part has all required parameters, and no problems."""
    return isinstance(node, dict) and "_target_" in node and not any(_check_parts({group: node}))


def _check_root(values: Mapping[str, Any]) -> Iterator[Problem]:
    """The keys that belong to no group, and those of the sections."""
    known = settings("Settings")
    for key in values:
        if key not in known and key not in defaults():
            yield Problem(str(key), f"unknown key; {suggest_name(key, [*known, *defaults()])}")
    yield from _check_arguments({key: value for key, value in values.items() if key in known}, known, "")
    for name, described in SECTIONS.items():
        section = values.get(name, {})
        if isinstance(section, dict):
            yield from _check_arguments(section, settings(described), name)
        else:
            yield from find_problems(section, dict[str, Any], name)


def _check_groups(values: Mapping[str, Any]) -> Iterator[Problem]:
    """The shape of each group: a part, or parts by name."""
    for group in values:
        if group == "feature":
            yield from _check_feature(values[group])
        elif group in defaults() and group != EXPERIMENT:
            yield from find_problems(values[group], SCHEMA[group], group)


def _check_feature(feature: Any) -> Iterator[Problem]:
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


def _find_misplaced(values: Mapping[str, Any]) -> Iterator[Problem]:
    """Parts of a kind that their place doesn't take."""
    for place, hint in SCHEMA.items():
        group, _, name = place.partition(".")
        value = values.get(group)
        value = value.get(name) if name and isinstance(value, dict) else value
        yield from find_misplaced_parts(value, hint, place)


def _check_parts(values: Mapping[str, Any]) -> Iterator[Problem]:
    """Each target and its arguments, at any depth. Of a misplaced part, only that is a problem."""
    misplaced = list(_find_misplaced(values))
    yield from misplaced
    misplaced_keys = {problem.key for problem in misplaced}
    for path, node in parts(values):
        key = dotted(path)
        if f"{key}._target_" in misplaced_keys:
            continue
        filled_in = FILLED_IN.get(key, {})
        arguments = {name: value for name, value in node.items() if name != "_target_"}
        try:
            known = signature(node["_target_"])
        except TargetError as error:
            yield Problem(f"{key}._target_", str(error))
            continue
        if known is not None and key in REQUIRED and (needed := REQUIRED[key])[0] not in known:
            yield Problem(f"{key}._target_", f"{node['_target_']} lacks the parameter `{needed[0]}`: {needed[1]}")
        for name, reason in filled_in.items():
            if name in arguments:
                del arguments[name]
                yield Problem(f"{key}.{name}", reason)
        if known is not None and key == "data":
            if "split" in known:
                yield Problem(f"{key}._target_", f"{node['_target_']} takes `split`, but data.split is Titrate's own")
            if values.get("mode") in RUN_MODES:
                known = known | {"split": Parameter(str, required=False)}
        if known is not None:
            known = {name: parameter for name, parameter in known.items() if name not in filled_in}
            yield from _check_arguments(arguments, known, key, f"parameter of {node['_target_']}")


def _check_arguments(values: Mapping[str, Any], known: Parameters, owner: str, what: str = "key") -> Iterator[Problem]:
    """Values against the parameters that they are for."""
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


def _check_inputs(values: Mapping[str, Any]) -> Iterator[Problem]:
    """The columns of inputs, and the inputs of the architecture."""
    feature = values.get("feature")
    columns, inputs = map(feature.get, ("columns", "inputs")) if isinstance(feature, dict) else (None, None)
    if not isinstance(columns, dict) or not isinstance(inputs, dict):
        return
    for name, listed in inputs.items():
        for column in listed if isinstance(listed, list) else ():
            if isinstance(column, str) and column not in columns:
                yield Problem(f"feature.inputs.{name}", f"no column {column}; {suggest_name(column, columns)}")
    if target := _architecture_target(values):
        yield from _match_inputs(inputs, target)


def _architecture_target(values: Mapping[str, Any]) -> str | None:
    """The target of the architecture, or None if it is no architecture."""
    node = values.get("architecture")
    target = node.get("_target_") if isinstance(node, dict) else None
    try:
        return target if isinstance(target, str) and not find_misplacement(target, ("architecture",)) else None
    except TargetError:
        return None


def _match_inputs(inputs: Mapping[str, Any], target: str) -> Iterator[Problem]:
    """The names of inputs against those of the architecture. A single input may have any name."""
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


def _check_monitor(values: Mapping[str, Any]) -> Iterator[Problem]:
    metrics, training = values.get("metric"), values.get("training")
    if not isinstance(metrics, dict) or not isinstance(training, dict):
        return
    names = [f"{split}/{name}" for name in ("loss", *metrics) for split in ("valid", "train")]
    monitor = training.get("monitor")
    if isinstance(monitor, str) and monitor not in names:
        yield Problem("training.monitor", f"no {monitor}; {suggest_name(monitor, names)}")


def _check_folds(values: Mapping[str, Any]) -> Iterator[Problem]:
    folds, fold = values.get("folds"), values.get("fold")
    if isinstance(fold, int) and folds is None:
        yield Problem("fold", f"{fold} of how many? set folds too")
    elif isinstance(fold, int) and isinstance(folds, int) and fold >= folds:
        yield Problem("fold", f"{fold} is none of the {folds} folds, which count from 0")


def _check_precision(values: Mapping[str, Any]) -> Iterator[Problem]:
    """Only an architecture with a field `dtype` computes in another precision."""
    training, target = values.get("training"), _architecture_target(values)
    if not isinstance(training, dict) or training.get("precision") in (None, "float32"):
        return
    known = signature(target) if target else None
    if known is not None and "dtype" not in known:
        yield Problem("training.precision", f"{target} computes in float32 only; it would need a field `dtype`")


def _check_mode_keys(values: Mapping[str, Any]) -> Iterator[Problem]:
    """Keys that only some modes take."""
    mode = values.get("mode")
    if mode in ("evaluate", "predict") and values.get("run") is None:
        yield Problem("run", f"is missing; mode={mode} needs a run's folder, its MLflow run id or last, see mode=runs")
    if mode not in RUN_MODES and values.get("run") is not None:
        yield Problem("run", f"is for mode={', '.join(RUN_MODES)}; resume=… goes on training a run")
    if mode == "look" and values.get("run") is None and "split" in (values.get("data") or {}):
        yield Problem("data.split", "is for a run that is done; set run too")
    if mode != "predict" and values.get("output") is not None:
        yield Problem("output", "is for mode=predict")
    if mode == "predict" and values.get("output") is None:
        yield Problem("output", "is missing; mode=predict writes a .csv, .parquet or .json file")


def _join(owner: str, name: str) -> str:
    return f"{owner}.{name}" if owner else str(name)
