"""Chooses an option for each group, and loads its file."""

from __future__ import annotations

import copy
import functools
import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from hydra.core.override_parser.types import Override
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from components.closest import suggest_name
from components.types import UserError
from runner import yaml_file
from runner.config.catalog import (
    EXPERIMENT,
    FROM_PYTHON,
    Catalog,
    display_path,
    explain_missing_option,
    read_default_options,
)
from runner.config.overrides import describe_error, override_origin
from runner.config.provenance import format_problem
from runner.config.slips import explain_data_file, explain_part
from runner.signature.schema import SCHEMA
from runner.signature.type_hints import find_problems
from runner.suggest.suggestions import (
    GROUPS_WITHOUT_SUGGESTION,
    INFERRED_FEATURE,
    Suggestion,
)
from runner.yaml_file import OPTION_LIMITS

DEFAULTS_ENTRY = re.compile(r"override /(\w+)")


class File(NamedTuple):
    """A chosen YAML file.

    Attributes:
        path: the file.
        group: the group, which is the key of the content; `experiment`: the content is merged at the root.
        content: the content.
        origin: the origin of its values in messages; None: the path.
    """

    path: Path
    group: str
    content: dict[str, Any]
    origin: str | None = None


@dataclass
class Choices:
    """The chosen options.

    Attributes:
        options: the option, or list of options, of each group.
        origins: the file or override that chose the option, by group.
        files: the files, in the order of merging.
        chosen_on_command_line: the groups whose option the command line chooses.
        broken: the groups whose option is unknown or can't be loaded.
        problems: a message for each problem.
    """

    options: dict[str, Any] = field(default_factory=dict)
    origins: dict[str, str] = field(default_factory=dict)
    files: list[File] = field(default_factory=list)
    chosen_on_command_line: set[str] = field(default_factory=set)
    broken: set[str] = field(default_factory=set)
    problems: list[str] = field(default_factory=list)


def choose_options(
    catalog: Catalog, overrides: Sequence[Override], suggestion: Suggestion | None = None, *, is_partial: bool = False
) -> Choices:
    """Chooses an option for each group.

    The order of precedence is: the command line, the suggestion for the source, the experiment, `conf/run.yaml`.

    Args:
        catalog: the options that exist.
        overrides: the overrides of the command line that choose options.
        suggestion: the suggestion for the source; None: there is none.
        is_partial: whether groups that a suggestion may still choose are marked as broken.
    """
    on_command_line = {
        override.key_or_group: (_option_names(override.value()), override_origin(override)) for override in overrides
    }
    choices = Choices(chosen_on_command_line={*on_command_line})
    override_texts = {override.key_or_group: override.input_line for override in overrides}
    chosen_by_files = {group: (option, "conf/run.yaml") for group, option in read_default_options().items()}
    name, origin = on_command_line.get(EXPERIMENT, chosen_by_files[EXPERIMENT])
    experiment = [] if name is None else _load_option_files(choices, catalog, EXPERIMENT, name, origin)
    for file in experiment:
        experiment_choices = _read_experiment_choices(choices, file)
        _drop_unchosen(file, experiment_choices, on_command_line)
        chosen_by_files |= experiment_choices
    if suggestion is not None:
        for group, option in suggestion.choices.items():
            if "." not in group:
                chosen_by_files[group] = (_option_names(option), suggestion.origin)
        chosen_by_files["feature"] = (INFERRED_FEATURE, suggestion.origin)
    if is_partial:
        choices.broken |= chosen_by_files.keys() - on_command_line.keys() - {*GROUPS_WITHOUT_SUGGESTION}
    if EXPERIMENT in choices.broken:  # the choices of the experiment are unknown
        choices.broken |= set(chosen_by_files) - set(on_command_line)
    for group, (option, origin) in (chosen_by_files | on_command_line).items():
        choices.options[group], choices.origins[group] = option, origin
        if group == "feature" and suggestion is not None:
            content = dict(suggestion.feature)
            choices.files.append(File(Path(f"{INFERRED_FEATURE}.yaml"), group, content, suggestion.origin))
        elif group != EXPERIMENT and group not in choices.broken:
            for file in _load_option_files(choices, catalog, group, option, origin):
                if group in override_texts:
                    file = file._replace(origin=f"{display_path(file.path)}, chosen by {override_texts[group]}")
                choices.files.append(file)
    choices.files += experiment
    return choices


def load_yaml(path: Path) -> dict[str, Any]:
    """Reads a YAML file with a mapping at its root, as plain values, with references as text. They must not change.

    Raises:
        UserError: the file can't be read. The message has the line if it is known.
    """
    try:
        content = yaml_file.read(path, display_path(path), OPTION_LIMITS, _parse)
    except OmegaConfBaseException as error:
        raise UserError(f"{display_path(path)}: can't be read: {describe_error(error)}") from error
    if not isinstance(content, dict):
        raise UserError(f"{display_path(path)}: the file is not a mapping. Write `key: value` on each line.")
    for key in content:
        if not isinstance(key, str):
            raise UserError(f"{display_path(path)}: the key {key!r} is not text. Put it in quotes.")
    return content


@functools.lru_cache(maxsize=256)  # a sweep reads the same files for each of its runs
def _parse(text: str) -> Any:
    return OmegaConf.to_container(OmegaConf.load(io.StringIO(text)))


def _load_option_files(choices: Choices, catalog: Catalog, group: str, option: Any, origin: str) -> list[File]:
    """Loads the files of a choice. If one is unknown or can't be read, marks the group as broken and returns none."""
    names = option if isinstance(option, list) else [option]
    if option is None and group != EXPERIMENT and not find_problems(None, SCHEMA.get(group, dict), group):
        return []
    try:
        if isinstance(option, list) and not isinstance(read_default_options()[group], list):
            raise UserError(format_problem(f"{group}: a list of options is not allowed. Choose one option.", origin))
        for index, name in enumerate(names):
            if name in names[:index]:
                raise UserError(format_problem(f"{group}: {name} is listed twice. Leave one out.", origin))
    except UserError as error:
        choices.problems.append(str(error))
        choices.broken.add(group)
        return []
    files = []
    for name in names:
        try:
            files.append(_load_option_file(catalog, group, name, origin))
        except UserError as error:
            choices.problems.append(str(error))
            choices.broken.add(group)
    return [] if group in choices.broken else files


def _load_option_file(catalog: Catalog, group: str, name: str | None, origin: str) -> File:
    files = catalog.files[group]
    if name is None or name not in files:
        explanation = explain_data_file(name) if name is not None and group == "data" else None
        hint = explanation or explain_missing_option(group, name or "null")
        if hint is None and name is not None and group != EXPERIMENT:
            hint = explain_part(group, name)
        hint = hint or suggest_name(name, files)
        raise UserError(format_problem(f"{group}: unknown option {name or 'null'}. {hint}", origin))
    path = files[name]
    content = load_yaml(path)
    if group == EXPERIMENT and EXPERIMENT in content:
        raise UserError(f"{display_path(path)}: an experiment can't choose another experiment. Copy its lines.")
    if group == EXPERIMENT and "hydra" in content:
        raise UserError(f"{display_path(path)}: Hydra's own settings have no effect. Leave `hydra` out.")
    if group != EXPERIMENT and "defaults" in content:
        raise UserError(f"{display_path(path)}: a defaults list is allowed in experiments only. Leave it out.")
    check_key(content, group, name, path)
    return File(path, group, copy.deepcopy(content) if group == EXPERIMENT else content)


def check_key(content: Mapping[str, Any], group: str, name: str, path: Path) -> None:
    """Raises UserError if the part of an option stands at the root of its file, in a group of several options."""
    if "_target_" in content and isinstance(read_default_options().get(group), list):
        raise UserError(f"{display_path(path)} needs one key, its own name. Write `{name}: {{_target_: …}}`.")


def _read_experiment_choices(choices: Choices, experiment: File) -> dict[str, tuple[Any, str]]:
    """Reads the choices in the defaults list of an experiment, and removes the list from the file's content."""
    origin = display_path(experiment.path)
    groups = [group for group in read_default_options() if group != EXPERIMENT]
    chosen: dict[str, tuple[Any, str]] = {}
    for entry in _pop_defaults(experiment.content):
        key, option = next(iter(entry.items())) if isinstance(entry, dict) and entry else (str(entry), None)
        match = DEFAULTS_ENTRY.fullmatch(str(key))
        if match is None:
            choices.problems.append(f"{origin}: wrong entry in defaults, {key}. Write `- override /group: option`.")
        elif (group := match[1]) not in groups:
            choices.problems.append(f"{origin}: unknown group {group}. {suggest_name(group, groups)}")
        elif isinstance(option, dict):
            written = ", ".join(f"{name}: …" for name in option)
            choices.problems.append(
                f"{origin}: `override /{group}` in `defaults` takes the name of an option, got a mapping. Write "
                f"`{group}: {{{written}}}` outside `defaults`."
            )
        else:
            chosen[group] = (_option_names(option), origin)
    return chosen


def _drop_unchosen(experiment: File, experiment_choices: Mapping[str, Any], on_command_line: Mapping[str, Any]) -> None:
    """Removes an experiment's settings of options that the command line replaces or leaves out.

    They are those of a group that the command line sets to null, those of a source that a table from Python replaces,
    and those of replaced options in groups of several options.
    """
    replaced_groups = [group for group, (option, _) in on_command_line.items() if option in (None, FROM_PYTHON)]
    for group in replaced_groups:
        experiment.content.pop(group, None)
    for group in experiment_choices.keys() & on_command_line.keys():
        settings = experiment.content.get(group)
        if isinstance(read_default_options()[group], list) and isinstance(settings, dict):
            replaced = _as_set(experiment_choices[group][0]) - _as_set(on_command_line[group][0])
            for name in replaced:
                settings.pop(name, None)


def _as_set(option: Any) -> set[Any]:
    return {*option} if isinstance(option, list) else {option}


def _option_names(option: Any) -> Any:
    """The names of options as text, because YAML reads `2024` as a number. None, which chooses nothing, is kept."""
    if isinstance(option, list):
        return [str(name) for name in option]
    return None if option is None else str(option)


def _pop_defaults(content: dict[str, Any]) -> list[Any]:
    """Removes the defaults list from a file's content, and returns its entries."""
    entries = content.pop("defaults", [])
    return entries if isinstance(entries, list) else [entries]
