"""From the words of the command line to a checked `Config`: YAML files are merged, and every value keeps its origin."""

from __future__ import annotations

import contextlib
import copy
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias, cast

from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from components.types import UserError
from runner.config.catalog import EXPERIMENT, RUN_YAML, display_path, find_options
from runner.config.check import check_config, find_config_problems, has_valid_root
from runner.config.choices import Choices, File, choose_options, find_source_to_profile, load_yaml
from runner.config.config import Config
from runner.config.earlier_run import check_server, merge_words, overlay_run
from runner.config.legacy import move_keys, rename_targets
from runner.config.modes import RUN_MODES
from runner.config.overrides import apply_override, classify_overrides, find_repeated, override_origin
from runner.config.provenance import find_origin, find_origins, format_problem
from runner.config.scalars import normalize_scalars
from runner.credentials import mask_arguments, mask_values
from runner.errors import ConfigError
from runner.run_folder import find_run
from runner.suggest.suggestions import Suggestion, Suggestions, print_suggestion
from runner.tree import resolve_references

ParsedWords: TypeAlias = tuple[list[Override], list[Override], list[str]]
"""Choices of options, settings of values, and what is wrong with the other words."""

MERGE_ERRORS = (OmegaConfBaseException, TypeError)  # TypeError: a list where another file has a mapping
PATHS = ("folder", "resume", "run", "output")


def configure(words: Sequence[str], composer: Composer | None = None) -> Config:
    """The checked configuration that the words of a command line describe.

    With `resume` it stands on top of the words of that run, with `run` on top of the configuration of that run.

    Raises:
        ConfigError: all that is wrong with the words and the files.
        UserError: there is no such run.
    """
    composer = composer or Composer()
    words = mask_arguments(words)
    config = compose(words, composer)
    if not has_valid_root(config.values):
        check_config(config)
    config = _expand_home(config)
    if (name := config.values["resume"]) and config.values["mode"] != "deliver":
        config = _resume(config, words, name)
    if (name := config.values["run"]) and config.values["mode"] in RUN_MODES:
        config = overlay_run(config, find_run(Path(config.values["folder"]), name, "run"))
    check_config(_without_python_source(config))
    composer.print_notes(config)
    if config.values["mode"] in RUN_MODES:
        values = {**config.values, "data": dict(config.values["data"])}
        config = replace(config, values=values, split=values["data"].pop("split", None))
    return normalize_scalars(config)


def compose(words: Sequence[str], composer: Composer | None = None) -> Config:
    """The configuration that the words describe, unchecked.

    Raises ConfigError for words and files that can't be composed, with what `check_config` finds in the rest.
    """
    config, problems = _compose(mask_arguments(words), composer or Composer())
    if problems:
        raise ConfigError(*problems, *find_config_problems(config))
    return config


class Merged(NamedTuple):
    """The merged files of some choices.

    Attributes:
        choices: the choices.
        tree: the content of all files.
        problems: what is wrong with the files.
        settings: (key, value, origin) of each file, in the order of merging.
    """

    choices: Choices
    tree: DictConfig
    problems: list[str]
    settings: tuple[tuple[str, Any, str], ...]


class Composer:
    """Composes several configurations from the same files: it reads each file once, and merges equal choices once."""

    def __init__(self) -> None:
        self.catalog = find_options()
        self.suggestions = Suggestions()
        self._merged: dict[tuple[str, ...], Merged] = {}
        self._printed: set[str] = set()

    def merge(self, words: Sequence[Override], suggestion: Suggestion | None, *, unknown: bool = False) -> Merged:
        """Merges the files of the options that were chosen or suggested. The caller may change the tree.

        Args:
            words: the choices of the command line.
            suggestion: choices and values that stand between the files and the words.
            unknown: whether choices are still open that a suggestion will answer.
        """
        key = (*(str(word.input_line) for word in words), repr(suggestion), str(unknown))
        if key not in self._merged:
            choices = choose_options(self.catalog, words, suggestion, unknown=unknown)
            tree, problems = _merge_files(choices)
            settings = list(_list_settings(choices))
            if suggestion is not None:
                tree.merge_with(dict(suggestion.values))
                settings.append(("", dict(suggestion.values), suggestion.origin))
            self._merged[key] = Merged(choices, tree, problems, tuple(settings))
        merged = self._merged[key]
        return merged._replace(tree=copy.deepcopy(merged.tree))

    def print_notes(self, config: Config) -> None:
        """Prints each warning about the words, and each suggestion, once."""
        for text in (*find_repeated(config.overrides), *config.warnings):
            if text not in self._printed:
                self._printed.add(text)
                print(f"warning: {text}", file=sys.stderr)
        suggestion = config.suggestion
        if suggestion is not None and suggestion.origin not in self._printed and not config.values["quiet"]:
            self._printed.add(suggestion.origin)
            print_suggestion(suggestion)


def _compose(words: Sequence[str], composer: Composer) -> tuple[Config, list[str]]:
    """As much of the configuration as can be composed, without groups whose choice is wrong; and the problems."""
    parsed = classify_overrides(words, composer.catalog.files)
    question = find_source_to_profile(composer.catalog, parsed[0], parsed[1])
    if question is None:
        return _merge_words(words, composer, parsed, None)
    if question not in composer.suggestions:  # a profile may take a while, so all else is checked before
        config, problems = _merge_words(words, composer, parsed, None, unknown=True)
        if problems := [*problems, *find_config_problems(config)]:
            return config, problems
    try:
        return _merge_words(words, composer, parsed, composer.suggestions[question])
    except UserError as error:
        config, problems = _merge_words(words, composer, parsed, None, unknown=True)
        return config, [str(error), *problems]


def _merge_words(
    words: Sequence[str],
    composer: Composer,
    parsed: ParsedWords,
    suggestion: Suggestion | None,
    *,
    unknown: bool = False,
) -> tuple[Config, list[str]]:
    """Merges files and words, resolves references, and notes who set each value."""
    choices_of_words, settings, wrong_words = parsed
    choices, tree, wrong_files, file_settings = composer.merge(choices_of_words, suggestion, unknown=unknown)
    settings = [one for one in settings if one.key_or_group.partition(".")[0] not in choices.broken]
    raw, wrong_settings = _apply_settings(choices, tree, settings)
    word_settings = [(one.key_or_group, one.value(), override_origin(one)) for one in settings]
    origins = find_origins(raw, [*file_settings, *word_settings])
    raw, renamed = rename_targets(raw)
    origins = move_keys(origins, renamed)
    values, wrong_references = resolve_references(raw)
    config = Config(
        values=values,
        raw=raw,
        origins=origins,
        overrides=tuple(words),
        choices={group: option for group, option in choices.options.items() if group not in choices.broken},
        suggestion=suggestion,
        warnings=tuple(one.note for one in renamed),
    )
    problems = [*composer.catalog.clashes, *wrong_words, *choices.problems, *wrong_files, *wrong_settings]
    problems += [format_problem(f"{key}: {text}", find_origin(origins, key)) for key, text in wrong_references.items()]
    return config, problems


def _merge_files(choices: Choices) -> tuple[DictConfig, list[str]]:
    """Merges `conf/run.yaml` and the chosen files in their order. A file that doesn't fit the others is a problem."""
    merged, problems = load_yaml(RUN_YAML), []
    del merged["defaults"]
    with contextlib.suppress(*MERGE_ERRORS):  # all at once: each merge copies all that is merged so far
        return cast(DictConfig, OmegaConf.merge(merged, *map(_at_its_key, choices.files))), []
    for file in choices.files:
        try:
            merged = cast(DictConfig, OmegaConf.merge(merged, _at_its_key(file)))
        except MERGE_ERRORS as error:
            problems.append(f"{file.origin or display_path(file.path)}: {str(error).splitlines()[0]}")
    return merged, problems


def _apply_settings(
    choices: Choices, tree: DictConfig, settings: Sequence[Override]
) -> tuple[dict[str, Any], list[str]]:
    """The raw tree with the settings of the command line, and the settings that have no place in it."""
    problems = []
    for setting in settings:
        try:
            apply_override(tree, setting)
        except UserError as error:
            problems.append(str(error))
    raw = cast(dict[str, Any], mask_values(OmegaConf.to_container(tree)))
    for group in choices.options:
        raw.setdefault(group, {})  # a group of which none of several was chosen
    for group in choices.broken:
        del raw[group]
    return raw | {EXPERIMENT: choices.options[EXPERIMENT]}, problems


def _list_settings(choices: Choices) -> Iterator[tuple[str, Any, str]]:
    """What the files set, in the order of merging: (key, value, origin)."""
    for group, origin in choices.origins.items():
        yield group, {}, origin
    for file in (File(RUN_YAML, EXPERIMENT, load_yaml(RUN_YAML)), *choices.files):
        yield "", OmegaConf.to_container(_at_its_key(file)), file.origin or display_path(file.path)


def _at_its_key(file: File) -> DictConfig:
    """The content of a file below the key of its group. An experiment's content stands at the root."""
    return file.content if file.group == EXPERIMENT else OmegaConf.create({file.group: file.content})


def _resume(config: Config, words: Sequence[str], name: str) -> Config:
    """The configuration of the run that `resume` names: its words, and on top those of this command."""
    folder = find_run(Path(config.values["folder"]), name, "resume")
    resumed = _expand_home(compose(merge_words(folder, words)))
    check_server(resumed, config)
    # The words of a copied run may name the folder of the original. The run goes on in the folder that was found.
    return replace(resumed, values=resumed.values | {"folder": config.values["folder"]})


def _expand_home(config: Config) -> Config:
    """The configuration with the home folder in place of `~` in the paths at the root."""
    paths = {key: os.path.expanduser(config.values[key]) for key in PATHS if config.values[key] is not None}
    return replace(config, values=config.values | paths)


def _without_python_source(config: Config) -> Config:
    """The configuration without `data`, if a run got its data from Python: there is nothing to check."""
    from_python = "given" in (config.values.get("data") or {})
    return replace(config, values={k: v for k, v in config.values.items() if not (from_python and k == "data")})
