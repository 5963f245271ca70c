"""Decides which option each group takes, and which files are merged for it."""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, cast

from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from components.closest import suggest_name
from components.types import UserError
from runner import yaml_file
from runner.config.catalog import EXPERIMENT, Catalog, display_path, explain_missing_option, read_default_options
from runner.config.overrides import apply_override, override_origin
from runner.config.provenance import format_problem
from runner.suggest.suggestions import (
    GROUPS_WITHOUT_SUGGESTION,
    INFERRED_FEATURE,
    SUGGESTING_MODES,
    Question,
    Suggestion,
    can_suggest,
)
from runner.yaml_file import OPTION_LIMITS

OVERRIDE = re.compile(r"override /(\w+)")


class File(NamedTuple):
    """A chosen YAML file.

    Attributes:
        path: the file.
        group: the key under which its content is merged; "" and `experiment`: the root.
        content: its content.
        origin: the origin of its values in messages; None: the file.
    """

    path: Path
    group: str
    content: DictConfig
    origin: str | None = None


@dataclass
class Choices:
    """The chosen options.

    Attributes:
        options: the option, or list of options, of each group.
        origins: the file or word that chose it, by group.
        files: the files, in the order of merging.
        broken: the groups whose option can't be used.
        problems: a message for each problem.
    """

    options: dict[str, Any] = field(default_factory=dict)
    origins: dict[str, str] = field(default_factory=dict)
    files: list[File] = field(default_factory=list)
    broken: set[str] = field(default_factory=set)
    problems: list[str] = field(default_factory=list)


def choose_options(
    catalog: Catalog, given: Sequence[Override], suggested: Suggestion | None = None, *, unknown: bool = False
) -> Choices:
    """Chooses an option for each group.

    The command line goes before the source's suggestion, this before the experiment, and this before `conf/run.yaml`.

    Args:
        catalog: the options that exist.
        given: the choices of the command line.
        suggested: the suggestion for the source; None: there is none.
        unknown: whether the source may still suggest options, so that these groups can't be used yet.
    """
    choices = Choices()
    on_command_line = {
        override.key_or_group: (_option_names(override.value()), override_origin(override)) for override in given
    }
    words = {override.key_or_group: override.input_line for override in given}
    chosen_by_files = {group: (option, "conf/run.yaml") for group, option in read_default_options().items()}
    name, origin = on_command_line.get(EXPERIMENT, chosen_by_files[EXPERIMENT])
    experiment = [] if name is None else _load_option_files(choices, catalog, EXPERIMENT, name, origin)
    for file in experiment:
        experiment_choices = _read_experiment_choices(choices, file)
        _drop_unchosen(file, experiment_choices, on_command_line)
        chosen_by_files |= experiment_choices
    if suggested is not None:
        chosen_by_files |= {
            group: (_option_names(option), suggested.origin) for group, option in suggested.choices.items()
        }
        chosen_by_files |= {"feature": (INFERRED_FEATURE, suggested.origin)}
    if unknown:
        choices.broken |= chosen_by_files.keys() - on_command_line.keys() - {*GROUPS_WITHOUT_SUGGESTION}
    if EXPERIMENT in choices.broken:  # its choices are unknown
        choices.broken |= set(chosen_by_files) - set(on_command_line)
    for group, (option, origin) in (chosen_by_files | on_command_line).items():
        choices.options[group], choices.origins[group] = option, origin
        if group == "feature" and suggested is not None:
            content = OmegaConf.create(dict(suggested.feature))
            choices.files.append(File(Path(f"{INFERRED_FEATURE}.yaml"), group, content, suggested.origin))
        elif group != EXPERIMENT and group not in choices.broken:
            files = _load_option_files(choices, catalog, group, option, origin)
            if group in words:  # otherwise a file chose it
                files = [file._replace(origin=f"{display_path(file.path)}, chosen by {words[group]}") for file in files]
            choices.files += files
    choices.files += experiment
    return choices


def find_source_to_profile(
    catalog: Catalog, given: Sequence[Override], settings: Sequence[Override]
) -> Question | None:
    """The source that the command line chooses, if it should be profiled for suggestions.

    Returns:
        The question; None where the mode needs no suggestion, or the words choose no complete source or the features.
    """
    from runner.config.check import is_complete_part

    words = {one.key_or_group: one.value() for one in settings}
    node = _read_chosen_source(catalog, given, settings)
    if words.get("mode", "train") not in SUGGESTING_MODES or words.get("run") or node is None:
        return None
    if not is_complete_part("data", node) or not can_suggest(node["_target_"]):
        return None
    return Question(node, tuple(sorted(one.key_or_group for one in given)))


def _read_chosen_source(
    catalog: Catalog, given: Iterable[Override], settings: Iterable[Override]
) -> dict[str, Any] | None:
    """The node `data` by the command line alone; None without a valid source, or with an experiment or features."""
    on_command_line = {override.key_or_group: override.value() for override in given}
    path = catalog.files["data"].get(str(on_command_line.get("data")))
    if path is None or {"feature", EXPERIMENT} & on_command_line.keys():
        return None
    try:
        tree = OmegaConf.create({"data": load_yaml(path)})
        for one in settings:
            if one.key_or_group.startswith("data."):
                apply_override(tree, one)
    except UserError:
        return None
    return cast(dict[str, Any], OmegaConf.to_container(tree))["data"]


def load_yaml(path: Path) -> DictConfig:
    """Reads a YAML file with a mapping at its root. Raises UserError, with the line where it is known."""
    try:
        content = yaml_file.read(
            path, display_path(path), OPTION_LIMITS, lambda text: OmegaConf.load(io.StringIO(text))
        )
    except OmegaConfBaseException as error:
        raise UserError(f"{display_path(path)}: can't be read: {str(error).splitlines()[0]}") from error
    if not isinstance(content, DictConfig):
        raise UserError(f"{display_path(path)}: keys and values are needed, not a list")
    if wrong := [key for key in content if not isinstance(key, str)]:
        raise UserError(f"{display_path(path)}: the key {wrong[0]!r} is not text; put it in quotes")
    return content


def _load_option_files(choices: Choices, catalog: Catalog, group: str, option: Any, origin: str) -> list[File]:
    """Loads the files of a choice. Where one is unknown or can't be read, the group is marked as broken."""
    several = isinstance(option, list)
    try:
        if several and not isinstance(read_default_options()[group], list):
            raise UserError(format_problem(f"{group}: one option is needed, not a list", origin))
        if several and (twice := [name for place, name in enumerate(option) if name in option[:place]]):
            raise UserError(format_problem(f"{group}: {twice[0]} is there twice; leave one out", origin))
        return [_load_option_file(catalog, group, name, origin) for name in (option if several else [option])]
    except UserError as error:
        choices.problems.append(str(error))
        choices.broken.add(group)
        return []


def _load_option_file(catalog: Catalog, group: str, name: str | None, origin: str) -> File:
    files = catalog.files[group]
    if name is None or name not in files:
        hint = explain_missing_option(group, name or "null") or suggest_name(name, files)
        raise UserError(format_problem(f"{group}: there is no {name or 'null'}. {hint}", origin))
    content = load_yaml(files[name])
    if group == EXPERIMENT and EXPERIMENT in content:
        raise UserError(f"{display_path(files[name])}: an experiment can't choose another; copy its lines")
    if group == EXPERIMENT and "hydra" in content:
        raise UserError(f"{display_path(files[name])}: Hydra's own settings have no effect here; leave `hydra` out")
    if group != EXPERIMENT and "defaults" in content:
        raise UserError(f"{display_path(files[name])}: only experiments may have a defaults list")
    return File(files[name], group, content)


def _read_experiment_choices(choices: Choices, experiment: File) -> dict[str, tuple[Any, str]]:
    """The choices in the defaults list of an experiment. The list is removed from the file's content."""
    origin = display_path(experiment.path)
    groups = [group for group in read_default_options() if group != EXPERIMENT]
    found = {}
    for entry in _pop_defaults(experiment.content):
        key, option = next(iter(entry.items())) if isinstance(entry, dict) and entry else (str(entry), None)
        group = OVERRIDE.fullmatch(str(key))
        if group is None:
            choices.problems.append(f"{origin}: write `- override /group: option` in its defaults, not {key}")
        elif group[1] not in groups:
            choices.problems.append(f"{origin}: there is no group {group[1]}. {suggest_name(group[1], groups)}")
        else:
            found[group[1]] = (_option_names(option), origin)
    return found


def _drop_unchosen(experiment: File, experiment_choices: Mapping[str, Any], on_command_line: Mapping[str, Any]) -> None:
    """Removes an experiment's settings of options that it chose but the command line did not, in a group of several."""
    for group in experiment_choices.keys() & on_command_line.keys():
        before, now = (
            {*option} if isinstance(option, list) else {option}
            for option, _ in (experiment_choices[group], on_command_line[group])
        )
        if isinstance(read_default_options()[group], list) and isinstance(
            settings := experiment.content.get(group), DictConfig
        ):
            for name in before - now:
                settings.pop(name, None)


def _option_names(option: Any) -> Any:
    """The names of options as text, since YAML reads `2024` as a number; None chooses no experiment."""
    if isinstance(option, list):
        return [str(name) for name in option]
    return None if option is None else str(option)


def _pop_defaults(content: DictConfig) -> list[Any]:
    """Removes the defaults list from a file's content, and returns its entries."""
    entries = cast(dict[str, Any], OmegaConf.to_container(content)).get("defaults", [])
    if "defaults" in list(content):  # even where it is `???`
        del content["defaults"]
    return entries if isinstance(entries, list) else [entries]
