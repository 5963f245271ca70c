"""Composes a checked `Config` from the overrides of the command line and YAML files. Each value keeps its origin."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple, cast

from hydra.core.override_parser.types import Override

from components.types import UserError
from runner.config.catalog import (
    EXPERIMENT,
    OPTION,
    RUN_YAML,
    Catalog,
    add_python_table,
    display_path,
    find_options,
    read_default_options,
)
from runner.config.check import (
    RUN_EXAMPLES,
    check_config,
    find_command_problems,
    find_config_problems,
    has_valid_root,
)
from runner.config.check_files import find_file_problems
from runner.config.check_targets import target_of
from runner.config.choices import Choices, choose_options, load_yaml
from runner.config.config import Config
from runner.config.earlier_run import (
    COMMAND_KEYS,
    check_server,
    find_forbidden,
    merge_overrides,
    overlay_run,
    select_command_settings,
)
from runner.config.legacy import keep_read_as, move_keys, rename_targets
from runner.config.merge import MergedTree, start_tree
from runner.config.modes import ENSEMBLE_MODES, RUN_MODES
from runner.config.options import OptionReader
from runner.config.overrides import (
    COMMAND_LINE,
    ParsedOverrides,
    describe_repetitions,
    format_command,
    override_origin,
    parse_overrides,
)
from runner.config.profiled_source import find_source_to_profile
from runner.config.provenance import find_origin, find_origins, format_problem
from runner.config.python_words import format_override
from runner.config.recorded_config import read_config, read_yaml
from runner.config.scalars import normalize_scalars
from runner.config.slips import explain_unknown_parameter
from runner.credentials import mask_arguments, mask_values
from runner.ensemble_members import Members, find_members
from runner.errors import ConfigError
from runner.override_text import overridden_key
from runner.run_folder import LAST_RUN, check_trains, find_folder, find_run, is_sweep
from runner.suggest.suggestions import Suggestion, Suggestions, print_suggestion
from runner.terminal import print_line
from runner.tree import dotted_leaves, resolve_references

LIST_OF_PARTS = re.compile(r"([^=]*?)\.\d+\..*", re.DOTALL)  # such as architecture.layers.0.rate=0.1
PATH_KEYS = ("folder", "resume", "run")


def configure(overrides: Sequence[str], composer: Composer | None = None) -> Config:
    """Composes and checks the configuration that the overrides of a command describe.

    With `resume`, the overrides are added to those of the named run. With `run` in a mode that reads a finished run,
    they are applied to the configuration of the named run.

    Raises:
        ConfigError: all problems of the overrides and the files.
        UserError: there is no such run.
    """
    composer = composer or Composer()
    overrides = mask_arguments(overrides)
    parsed = parse_overrides(overrides, composer.catalog.files)
    set_values = {setting.key_or_group: setting.value() for setting in parsed.settings}
    if set_values.get("run") is None and str(set_values.get("mode")) not in RUN_EXAMPLES:
        config = compose(overrides, composer)
        if not has_valid_root(config.values):  # the code below reads keys at the root
            check_config(config)
        config = _expand_home(config)
        if (name := config.values["resume"]) and config.values["mode"] != "deliver":
            config = _resume(config, overrides, name, composer)
        check_config(_without_python_source(config))
    else:
        config = _configure_finished_run(overrides, parsed, composer)
    composer.print_notes(config)
    members = tuple(normalize_scalars(_separate_split(member)) for member in config.members)
    return replace(normalize_scalars(_separate_split(config)), members=members)


def _separate_split(config: Config) -> Config:
    """The configuration with `data.split` and `data.on_missing` in fields of their own, in modes that have them."""
    if config.values["mode"] not in RUN_MODES:
        return config
    data = dict(config.values["data"])
    split, on_missing = data.pop("split", None), data.pop("on_missing", "error")
    return replace(config, values=config.values | {"data": data}, split=split, on_missing=on_missing)


def compose(overrides: Sequence[str], composer: Composer | None = None) -> Config:
    """Composes the configuration that overrides describe, without checking it.

    Raises:
        ConfigError: some overrides or files can't be composed. The problems of the rest are included.
    """
    config, problems = _compose(mask_arguments(overrides), composer or Composer())
    if problems:
        raise ConfigError(*problems, *find_config_problems(config))
    return config


class MergedFiles(NamedTuple):
    """The merged files of the chosen options.

    Attributes:
        choices: the chosen options.
        tree: the merged content.
    """

    choices: Choices
    tree: MergedTree


class Composer:
    """Composes the configurations of a command. Files are merged once for all configurations with the same choices.

    Args:
        table: the table that a call from Python passes. None: there is none.
    """

    def __init__(self, table: Any = None) -> None:
        self.catalog = find_options() if table is None else add_python_table(find_options())
        self.options = OptionReader(self.catalog)
        self.suggestions = Suggestions(table)
        self._merged: dict[tuple[str, ...], MergedFiles | None] = {}  # None: they were needed once
        self._printed: set[str] = set()

    def merge(
        self, choices_on_command_line: Sequence[Override], suggestion: Suggestion | None, *, is_partial: bool = False
    ) -> MergedFiles:
        """Merges the files of the chosen and suggested options. The caller may change the returned tree.

        Args:
            choices_on_command_line: the overrides that choose options.
            suggestion: suggested choices and values; its values replace those of the files.
            is_partial: whether groups that a suggestion may still choose are skipped.
        """
        key = (*(str(choice.input_line) for choice in choices_on_command_line), repr(suggestion), str(is_partial))
        merged = self._merged.get(key)
        if merged is None:
            choices = choose_options(self.catalog, choices_on_command_line, suggestion, is_partial=is_partial)
            tree = start_tree(self.options, choices)
            tree.merge_files(choices)
            if suggestion is not None:
                tree.merge_options(
                    {place: each for place, each in suggestion.choices.items() if "." in place}, suggestion.origin
                )
                tree.merge_values(suggestion.values, suggestion.origin)
            merged = MergedFiles(choices, tree)
            if key not in self._merged:  # most commands need them once, and copying takes time
                self._merged[key] = None
                return merged
            self._merged[key] = merged
        return merged._replace(tree=merged.tree.copy())

    def print_notes(self, config: Config) -> None:
        """Prints each warning once, and each suggestion, but of a run that `resume` names."""
        for text in (*describe_repetitions(config.overrides), *config.warnings):
            if text not in self._printed:
                self._printed.add(text)
                print_line(f"warning: {text}", error=True)
        suggestion = None if config.values["resume"] else config.suggestion  # a resumed run has printed it
        if suggestion is not None and suggestion.origin not in self._printed and not config.values["quiet"]:
            self._printed.add(suggestion.origin)
            settings, changes = _list_suggested(config, suggestion), _list_changed(config, suggestion)
            print_suggestion(suggestion, settings, changes, whole=config.values["mode"] != "train")


def _list_changed(config: Config, suggestion: Suggestion) -> list[str]:
    """What the command, an experiment or a recipe sets in the feature columns in place of what is suggested."""
    suggested = dict(dotted_leaves({"feature": suggestion.feature}))
    found = dict(dotted_leaves({"feature": config.values["feature"]}))
    origins = {key: find_origin(config.origins, key) or "" for key in found}
    return [
        shlex.quote(format_override(key, value))
        for key, value in found.items()
        if value != suggested.get(key) and not origins[key].startswith((suggestion.origin, "conf/"))
    ]


def _list_suggested(config: Config, suggestion: Suggestion) -> list[str]:
    """The suggested options and values that the command keeps, as overrides. Those of the columns are in the table."""
    values = {key: value for key, value in suggestion.values.items() if key != "data"}
    suggested = {**suggestion.choices, **dict(dotted_leaves(values))}
    targets = {group: config.origins.get(f"{group}._target_", "") for group in config.choices}
    choices = {group: option for group, option in config.choices.items() if not targets[group].startswith(COMMAND_LINE)}
    current = {**dict(dotted_leaves(config.values)), **choices}
    kept = {
        key: value
        for key, value in suggested.items()
        if key in current
        and current[key] == value
        and not (find_origin(config.origins, key) or "").startswith(COMMAND_LINE)
    }
    overridden = [*map(overridden_key, config.overrides)]
    kept |= {
        place: option
        for place, option in suggestion.choices.items()
        if "." in place and not {place, f"{place}._target_", f"{place}.{OPTION}"} & {*overridden}
    }
    texts = (LIST_OF_PARTS.sub(r"\1=[…]", format_override(key, value)) for key, value in kept.items())
    return list(dict.fromkeys(map(shlex.quote, texts)))


def _compose(overrides: Sequence[str], composer: Composer) -> tuple[Config, list[str]]:
    """Composes all groups whose choice is valid, and returns the configuration and the problems."""
    parsed = parse_overrides(overrides, composer.catalog.files)
    question = find_source_to_profile(composer.catalog, parsed.choices, parsed.settings)
    if question is None:
        return _merge(overrides, composer, parsed, None)
    if question not in composer.suggestions:  # profiling the source may take a while, so the rest is checked before
        config, problems = _merge(overrides, composer, parsed, None, is_partial=True)
        if problems := [*problems, *find_config_problems(config)]:
            return config, [*problems, *_find_unknown_parameters(parsed.settings, config)]
    try:
        return _merge(overrides, composer, parsed, composer.suggestions[question])
    except UserError as error:
        config, problems = _merge(overrides, composer, parsed, None, is_partial=True)
        return config, [str(error), *problems]


def _find_unknown_parameters(settings: Sequence[Override], config: Config) -> Iterator[str]:
    """The problems of settings of the groups that a suggestion may still choose: parameters that no option has.

    Groups whose part a setting chooses are left out, and so is the loss of several targets: it has their names.
    """
    values: dict[str, Any] = {setting.key_or_group: setting.value() for setting in settings}
    below_mappings = {f"{key}.{name}" for key, value in values.items() if isinstance(value, dict) for name in value}
    keys = values.keys() | below_mappings
    has_targets = isinstance(values.get("data.target"), list)
    for setting in settings:
        group, _, below = setting.key_or_group.partition(".")
        takes_one = isinstance(read_default_options().get(group), str)
        if not takes_one or not below or group in config.values or setting.is_delete():
            continue
        if {f"{group}._target_", f"{group}.{OPTION}"} & keys or (group == "loss" and has_targets):
            continue
        if problem := explain_unknown_parameter(group, below.partition(".")[0], setting.value()):
            yield format_problem(f"{setting.key_or_group}: {problem}", override_origin(setting))


def _merge(
    overrides: Sequence[str],
    composer: Composer,
    parsed: ParsedOverrides,
    suggestion: Suggestion | None,
    *,
    is_partial: bool = False,
) -> tuple[Config, list[str]]:
    """Merges files and overrides, resolves references, and finds the origin of each value."""
    choices, tree = composer.merge(parsed.choices, suggestion, is_partial=is_partial)
    settings = [setting for setting in parsed.settings if setting.key_or_group.partition(".")[0] not in choices.broken]
    tree.apply_settings(settings)
    raw = _complete_groups(choices, tree)
    origins = find_origins(raw, tree.settings)
    raw = _without_default_parts(raw, origins, choices, composer.catalog)
    raw, renamed = rename_targets(raw)
    origins = move_keys(origins, renamed)
    values, reference_problems = resolve_references(raw)
    options = choices.options | tree.choices | _metrics_of_targets(raw)
    config = Config(
        values=values,
        raw=raw,
        origins=origins,
        overrides=tuple(overrides),
        choices={group: option for group, option in options.items() if group not in choices.broken},
        option_problems=tuple(tree.option_problems),
        suggestion=None if suggestion is None else _without_settled_notes(suggestion, overrides),
        warnings=tuple(rename.note for rename in renamed),
    )
    problems = [*composer.catalog.clashes, *parsed.problems, *choices.problems, *tree.problems]
    for key, text in reference_problems.items():
        problems.append(format_problem(f"{key}: {text}", find_origin(origins, key)))
    return config, problems


def _without_settled_notes(suggestion: Suggestion, overrides: Sequence[str]) -> Suggestion:
    """The suggestion without the notes that advise about a key which the command sets.

    A source knows the keys of `data`, so what it notes holds with them.
    """
    keys = [key for key in map(overridden_key, overrides) if key.partition(".")[0] != "data"]
    return suggestion._replace(
        notes=[note for note in suggestion.notes if not any(f" {key}=" in f" {note}" for key in keys)]
    )


def _complete_groups(choices: Choices, tree: MergedTree) -> dict[str, Any]:
    """The values of a tree with a key for each group, without groups whose option is unknown."""
    raw = cast(dict[str, Any], mask_values(tree.values))
    for group, option in choices.options.items():
        raw.setdefault(group, None if option is None else {})  # {}: of several options none is chosen
    for group in choices.broken:
        raw.pop(group, None)
    return raw | {EXPERIMENT: choices.options[EXPERIMENT]}


def _without_default_parts(
    raw: dict[str, Any], origins: Mapping[str, str], choices: Choices, catalog: Catalog
) -> dict[str, Any]:
    """The values without the default loss and metrics, unless there is a single target, which they are for."""
    feature = raw.get("feature")
    if not isinstance(feature, dict) or feature.get("target") is not None or "feature" in choices.broken:
        return raw
    changed = dict(raw)
    for group in ("loss", "metric"):
        option, part = read_default_options()[group], raw.get(group)
        if choices.origins.get(group) != display_path(RUN_YAML) or not isinstance(part, dict):
            continue
        files = [catalog.files[group][name] for name in (option if isinstance(option, list) else [option])]
        # A target's own loss may be of the same file, but its key is the name of the target.
        keys, default_origins = {key for file in files for key in load_yaml(file)}, set(map(display_path, files))
        kept = {
            key: value
            for key, value in part.items()
            if key not in keys or find_origin(origins, f"{group}.{key}") not in default_origins
        }
        changed[group] = kept or (None if group == "loss" else {})
    return changed


def _metrics_of_targets(raw: Mapping[str, Any]) -> dict[str, list[str]]:
    """The names of the metrics below the targets, as the options of `metric`; empty: there are not several targets."""
    feature, metric = raw.get("feature"), raw.get("metric")
    if not isinstance(feature, dict) or not feature.get("targets") or not isinstance(metric, dict):
        return {}
    below = [metrics for metrics in metric.values() if isinstance(metrics, dict) and target_of(metrics) is None]
    return {"metric": list(dict.fromkeys(name for metrics in below for name in metrics))}


def _resume(config: Config, overrides: Sequence[str], name: str, composer: Composer) -> Config:
    """The configuration of the run that `resume` names. The overrides of this command are added to those of the run."""
    folder = find_folder(Path(config.values["folder"]), name)
    check_trains(folder, name, "resume")
    if is_sweep(folder):
        command = format_command([*map(str, read_yaml(folder / "overrides.yaml", list))], "-m")
        raise UserError(f"resume={name} is a sweep. The command that started it resumes it: {command}")
    resumed = _expand_home(compose(merge_overrides(folder, overrides), composer))
    check_server(resumed, config)
    # The overrides of a copied run may name the folder of the original. The copy is resumed where it was found.
    values = resumed.values | {"folder": config.values["folder"]}
    recorded = read_config(folder).get("feature")
    if isinstance(recorded, dict) and isinstance(values.get("feature"), dict):
        values["feature"] = keep_read_as(values["feature"], recorded)
    return replace(resumed, values=values)


def _configure_finished_run(overrides: Sequence[str], parsed: ParsedOverrides, composer: Composer) -> Config:
    """The configuration of the run that `run` names, with the overrides of this command, checked.

    Raises:
        ConfigError: all problems of the overrides, there is no such run, or its configuration is damaged.
    """
    config, problems = _merge(overrides, composer, select_command_settings(parsed), None)
    run, mode = config.values.get("run"), str(config.values.get("mode"))
    if mode not in RUN_MODES:
        raise ConfigError(*problems, *find_command_problems(config))
    problems += find_forbidden(parsed, run, mode)
    run_problems = _find_run_problems(config)
    is_complete = config.values.keys() >= {*COMMAND_KEYS}  # a group whose option is unknown is missing
    if run_problems or run is None or not is_complete or not has_valid_root(config.values):
        raise ConfigError(*run_problems, *problems, *find_command_problems(config))
    config = _expand_home(config)
    found = _find_runs(config)
    configs = []
    for folder in found.folders:
        own, new_problems = overlay_run(config, parsed, folder)
        own = _expand_home(own)  # the overrides were applied again
        if len(found.folders) > 1:
            own = replace(own, values=own.values | {"run": str(folder)})
        if problems := [*problems, *new_problems, *find_config_problems(_without_python_source(own))]:
            last = [f"run={run} is {folder}"] if run == LAST_RUN else []
            raise ConfigError(*problems, *find_file_problems(own), *last)
        configs.append(own)
    notes = (found.note,) if found.note else ()
    return replace(configs[0], members=tuple(configs[1:]), warnings=(*configs[0].warnings, *notes))


def _find_runs(config: Config) -> Members:
    """The runs that `run` names. Raises UserError if there are none."""
    root, run = Path(os.path.expanduser(config.values["folder"])), config.values["run"]
    if config.values["mode"] not in ENSEMBLE_MODES:
        if not isinstance(run, str):
            raise UserError(f"run: mode={config.values['mode']} shows a single run. Name one of them.")
        return Members((find_run(root, os.path.expanduser(run), "run"),))
    return find_members(root, run, config.values["ensemble"])


def _find_run_problems(config: Config) -> list[str]:
    """The problem of the run that `run` names. Values of the wrong type are left to the check."""
    values = config.values
    folder, names, best = values.get("folder"), values.get("run"), values.get("ensemble")
    names_runs = isinstance(names, str) or (isinstance(names, list) and all(isinstance(name, str) for name in names))
    if isinstance(folder, str) and names_runs and (best is None or (type(best) is int and best >= 2)):
        try:
            _find_runs(config)
        except UserError as error:
            return [str(error)]
    return []


def _expand_home(config: Config) -> Config:
    """The configuration with `~` expanded in the paths at the root."""
    paths = {key: os.path.expanduser(config.values[key]) for key in PATH_KEYS if isinstance(config.values[key], str)}
    output = config.values["output"]
    if output["path"] is not None:
        paths["output"] = output | {"path": os.path.expanduser(output["path"])}
    return replace(config, values=config.values | paths)


def _without_python_source(config: Config) -> Config:
    """The configuration without `data` if the source was passed from Python, since its class is unknown."""
    if "given" not in (config.values.get("data") or {}):
        return config
    return replace(config, values={key: value for key, value in config.values.items() if key != "data"})
