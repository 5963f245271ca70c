"""The plan of a sweep: all its runs, composed and checked before the first one starts."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from runner.config.check import has_valid_root
from runner.config.check_targets import WEIGHTED, has_member
from runner.config.compose import Composer, compose, configure
from runner.config.config import Config
from runner.config.losses import losses_by_key, may_read_teacher
from runner.config.modes import SWEEP_MODES
from runner.config.overrides import COMMAND_LINE
from runner.config.provenance import errors_with_origin, find_origin
from runner.credentials import mask_arguments
from runner.errors import ConfigError
from runner.override_text import overridden_key
from runner.run_folder import run_digest
from runner.signature.parameters import read_signature
from runner.sweep import Grid
from runner.sweep.grid import Axis, count_combinations, list_combinations, make_axes, parse_axes
from runner.terminal import print_line

OVER = "sweep.over"
ANNOUNCED_RUNS = 300  # composing more runs than these takes seconds, so a line announces it


MIXING = "augmentations that mix examples"
EVALUATING = "augmentations that change evaluations"
PARAMETERS = "parameters of the metric"
OTHER_MONITORS = {
    "weights of examples": "an unweighted metric",
    MIXING: "a loss or metric of valid",
    EVALUATING: "a loss or metric of train",
    PARAMETERS: "another metric",
}


class PlannedRun(NamedTuple):
    """A run of a sweep that has not started.

    Attributes:
        overrides: the overrides that tell it from the other runs.
        config: its configuration.
        digest: the digest of its configuration.
    """

    overrides: tuple[str, ...]
    config: Config
    digest: str


class Plan(NamedTuple):
    """A sweep that has not started.

    Attributes:
        overrides: the overrides of the command line.
        common: the overrides that all runs share.
        runs: the runs.
    """

    overrides: tuple[str, ...]
    common: tuple[str, ...]
    runs: tuple[PlannedRun, ...]

    def varied_keys(self) -> list[str]:
        """The keys that differ between the runs, in the order of the overrides."""
        return list(dict.fromkeys(override_key(override) for run in self.runs for override in run.overrides))


def make_plan(overrides: Sequence[str], *, multirun: bool, composer: Composer | None = None) -> Plan | Config:
    """Composes a command: the plan of a sweep, by `multirun`, `folds` or `sweep.over`, or the configuration of a run.

    Args:
        overrides: the overrides of the command line.
        multirun: whether an override with several values is a sweep; if not, it is an error.
        composer: composes the configurations. None: a new one.

    Raises:
        ConfigError: all problems of all runs, or there are too many runs.
    """
    composer = composer or Composer()
    overrides = mask_arguments(overrides)
    if not multirun:
        config = _configure_or_find_sweep(overrides, composer)
        if find_several_runs(config.values, overrides) is None:
            return config
        axes = [Axis([override]) for override in overrides]
        first: Config | None = config
    else:
        axes = parse_axes(overrides, composer.catalog.files)
        first = _compose_first(axes, composer)
    origins: dict[str, str] = {}
    if first and find_several_runs(first.values, overrides) == OVER:
        over = {key: values for key, values in first.values["sweep"]["over"].items() if key not in _keys(axes)}
        with errors_with_origin(first):
            own = make_axes(over, composer.catalog.files)
        origins = {override: _find_sweep_origin(first, override) for axis in own for override in axis}
        axes = [*own, *axes]
    if first:
        _check_count(axes, first.values)
    count = count_combinations(axes)
    if count > ANNOUNCED_RUNS:
        print_line(f"composing and checking {count:,} runs", error=True)
    varied = {override for axis in axes if len(axis) > 1 for override in axis}
    runs, problems = _compose_runs(axes, varied, composer)
    problems = [_replace_origins(problem, origins) for problem in problems]
    if problems or (problems := _find_sweep_problems(runs)):
        raise ConfigError(*problems)
    return Plan(tuple(overrides), tuple(axis[0] for axis in axes if len(axis) == 1), tuple(runs))


def find_several_runs(values: Mapping[str, Any], overrides: Sequence[str]) -> str | None:
    """The key that makes several runs of one configuration; None: it is one run.

    Args:
        values: the configuration.
        overrides: those of the command line. A key that they set isn't swept.
    """
    if values["mode"] not in SWEEP_MODES or values["resume"]:
        return None
    if (values["sweep"].get("over") or {}).keys() - set(map(overridden_key, overrides)):
        return OVER
    return "folds" if values["folds"] is not None and values["fold"] is None else None


def explain_incomparable(runs: Sequence[PlannedRun]) -> str | None:
    """Why the monitored metric can't rank the runs; None: it can."""
    values = [run.config.values for run in runs]
    monitor = values[0]["training"]["monitor"]
    if len({str(run.config.choices.get("data")) for run in runs}) > 1:
        return "runs on different data are not ranked"
    if _differ([(value["feature"].get("target"), value["feature"].get("targets")) for value in values]):
        return "runs with different targets are not ranked"
    settings = [_monitored_settings(value) for value in values]
    for subject in settings[0]:
        if _differ([setting.get(subject) for setting in settings]):
            other = OTHER_MONITORS.get(subject, "a metric")
            return f"{monitor} can't be compared between {subject}; set training.monitor to {other}"
    return None


def _monitored_settings(values: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of one run that define the monitored loss or metric, in addition to the data and the targets.

    Augmentation and dropout change the value of `train/loss`, as all of the training does, but not its definition,
    unless an augmentation mixes the targets. Those that also change evaluations define the values of held-out splits.
    """
    split, _, name = values["training"]["monitor"].partition("/")
    is_weighted, name = name.startswith(WEIGHTED), name.removeprefix(WEIGHTED)
    target, _, own_name = name.rpartition("/")
    metrics = values["metric"].get(target) if target else values["metric"]
    settings: dict[str, Any] = {}
    is_loss = own_name in ("loss", "objective")
    if is_loss:
        settings["losses"] = (values["loss"] or {}).get(target) if target else values["loss"]
        if any(map(may_read_teacher, losses_by_key(settings["losses"]).values())):
            settings["teachers"] = values["teacher"]
    elif own_name in (metrics or {}):
        settings[PARAMETERS] = metrics[own_name]
    if split != "train":
        augmentations = values["augmentation"].items()
        settings[EVALUATING] = {name: node for name, node in augmentations if _changes_evaluations(node)}
    if split == "train" and values["loss"] is not None and (is_loss or own_name in (metrics or {})):
        augmentations = values["augmentation"].items()
        settings[MIXING] = {name: node for name, node in augmentations if has_member(node, "mixes_classes")}
    several = values["feature"].get("targets") or {}
    if name == "objective" or (name == "loss" and several):
        factors = values["loss_weights"]
        settings["weights of losses"] = {key: float(factors.get(key, 1)) for key in several or factors}
    if name == "objective":
        settings["regularizers"] = values["regularizer"]
    if is_weighted or (split == "train" and own_name not in (metrics or {})):
        settings["weights of examples"] = values["feature"].get("weight")
    return settings


def _changes_evaluations(node: Mapping[str, Any]) -> bool:
    """Whether an augmentation also changes evaluations: its class has an attribute or a parameter `evaluates`."""
    parameter = (read_signature(node["_target_"]) or {}).get("evaluates")
    return has_member(node, "evaluates") if parameter is None else bool(node.get("evaluates", parameter.default))


def _differ(values: Sequence[Any]) -> bool:
    return len(set(map(repr, values))) > 1


def override_key(override: str) -> str:
    """The key that an override sets."""
    return override.partition("=")[0].lstrip("+")


def _keys(axes: Sequence[Axis]) -> set[str]:
    return {overridden_key(axis[0]) for axis in axes}


def _find_sweep_origin(config: Config, override: str) -> str:
    """The file, or the word of the command line, that has the values of an override in `sweep.over`."""
    key = f"{OVER}.{overridden_key(override)}"
    origin = config.origins.get(key) or find_origin(config.origins, key) or ""
    return origin if origin.startswith(COMMAND_LINE) else f"{origin} ({key})"


def _replace_origins(problem: str, origins: Mapping[str, str]) -> str:
    """A problem of a run with the origins of the overrides that no command line has."""
    for override, origin in origins.items():
        problem = problem.replace(f"{COMMAND_LINE} ({override})", origin)
    return problem


def _configure_or_find_sweep(overrides: Sequence[str], composer: Composer) -> Config:
    """The configuration. One that has a sweep of its own is returned unchecked if it isn't valid, as no run has it."""
    try:
        return configure(overrides, composer)
    except ConfigError as error:
        if any(problem.startswith("sweep") for problem in error.problems):
            raise
        with contextlib.suppress(ConfigError):
            config = compose(overrides, composer)
            if has_valid_root(config.values) and find_several_runs(config.values, overrides) == OVER:
                return config
        raise


def _compose_first(axes: Sequence[Axis], composer: Composer) -> Config | None:
    """The configuration of the first run. None: it isn't valid, which the composition of all runs reports."""
    try:
        return configure([axis[0] for axis in axes], composer)
    except ConfigError:
        if count_combinations(axes) > Grid.limit:
            raise
        return None


def _check_count(axes: Sequence[Axis], values: Mapping[str, Any]) -> None:
    """Raises ConfigError for more runs than the sweep's limit. `values`: the configuration of the first run."""
    grid = Grid(**{name: value for name, value in values["sweep"].items() if name != "_target_"})
    folds = values["folds"] if values["folds"] is not None and values["fold"] is None else 1
    if problem := grid.find_problem(count_combinations(axes) * folds):
        raise ConfigError(problem)


def _compose_runs(axes: Sequence[Axis], varied: set[str], composer: Composer) -> tuple[list[PlannedRun], list[str]]:
    """Composes all runs. Returns the valid ones, and the problems of the others."""
    runs: list[PlannedRun] = []
    problems: list[str] = []
    for combination in list_combinations(axes):
        own = tuple(override for override in combination if override in varied)
        try:
            config = configure(combination, composer)
            folds = config.values["folds"] if config.values["fold"] is None else None
            if folds is None:
                runs.append(PlannedRun(own, config, run_digest(config.values, "")))
                continue
            for fold in range(folds):
                fold_config = configure([*combination, f"fold={fold}"], composer)
                digest = run_digest(fold_config.values, "")
                runs.append(PlannedRun((*own, f"fold={fold}"), fold_config, digest))
        except ConfigError as error:
            problems += error.problems
    return runs, problems


def _find_sweep_problems(runs: Sequence[PlannedRun]) -> list[str]:
    """The problems of valid runs as parts of one sweep."""
    values = runs[0].config.values
    problems = []
    if values["mode"] not in SWEEP_MODES:
        return [f"mode={values['mode']}: this mode takes one run, not a sweep; leave out -m"]
    if values["resume"]:
        problems.append(f"resume={values['resume']}: only one run is resumed by name; a sweep, by its own command")
    monitors = {run.config.values["training"]["monitor"] for run in runs}
    if len(monitors) > 1:
        names = ", ".join(sorted(monitors))
        problems.append(f"training.monitor: the runs of a sweep need the same one, got {names}; choose one of them")
    first_by_digest: dict[str, PlannedRun] = {}
    for run in runs:
        if run.digest in first_by_digest:
            first = first_by_digest[run.digest]
            problems.append(f"{' '.join(first.overrides)} and {' '.join(run.overrides)} are the same run")
        else:
            first_by_digest[run.digest] = run
    return problems
