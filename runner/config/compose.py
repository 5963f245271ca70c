"""From the words of the command line to plain values: files are merged in order, and every value keeps its origin."""

from __future__ import annotations

import contextlib
import copy
import os
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias, TypeVar, cast

from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from components.types import UserError
from runner import store_uri, yaml_file
from runner.config.catalog import EXPERIMENT, MAIN, catalog, display_path
from runner.config.choices import Choices, File, choose_options, find_source_to_profile, load_yaml
from runner.config.config import Config
from runner.config.overrides import apply, drop_overridden, find_repeated, override_origin, parse_overrides
from runner.config.provenance import find_origins, format_problem, origin_of
from runner.config.scalars import normalize_scalars
from runner.config.verbs import RUN_VERBS
from runner.credentials import mask, withhold_values, withhold_words
from runner.errors import ConfigError
from runner.run_folder import find_run
from runner.suggest.suggestions import Suggestion, Suggestions, show_suggestion
from runner.tree import resolve_references
from runner.yaml_file import CONFIGURATION

Contents = TypeVar("Contents", dict[str, Any], list[Any])
Words: TypeAlias = tuple[list[Override], list[Override], list[str]]  # choices, settings, and what is wrong with others

# What a word may change of a run that is done; where its record goes is the user's word, never the run's.
COMMAND_KEYS = ("mode", "run", "output", "folder", "quiet", "runs", "tracking")
UNMERGED = (OmegaConfBaseException, TypeError)  # TypeError: a list where others have a mapping
PATHS = ("folder", "resume", "run", "output")


class Merged(NamedTuple):
    """The files of some choices."""

    chosen: Choices
    tree: DictConfig  # all of them merged
    problems: list[str]
    settings: tuple[tuple[str, Any, str], ...]  # (key, value, origin), the last one last


class Composer:
    """Composes configurations of one instant: files are read once, and choices that recur are merged once."""

    def __init__(self) -> None:
        self.catalog = catalog()
        self._merged: dict[tuple[str, ...], Merged] = {}
        self.suggestions = Suggestions()
        self._told: set[str] = set()

    def merged(self, given: Sequence[Override], suggested: Suggestion | None, *, unknown: bool = False) -> Merged:
        """What the files say that were chosen, and what was suggested; its tree is a copy to change."""
        words = (*(str(one.input_line) for one in given), repr(suggested), str(unknown))
        if words not in self._merged:
            chosen = choose_options(self.catalog, given, suggested, unknown=unknown)
            tree, problems = _composed(chosen)
            settings = list(_set(chosen))
            if suggested is not None:
                tree.merge_with(dict(suggested.values))
                settings.append(("", dict(suggested.values), suggested.origin))
            self._merged[words] = Merged(chosen, tree, problems, tuple(settings))
        merged = self._merged[words]
        return merged._replace(tree=copy.deepcopy(merged.tree))

    def show_suggestion(self, config: Config) -> None:
        """Shows which words don't count, and what was inferred, once."""
        for text in find_repeated(config.overrides):
            if text not in self._told:
                self._told.add(text)
                print(f"warning: {text}", file=sys.stderr)
        suggested = config.inferred
        if suggested is not None and suggested.origin not in self._told and not config.values["quiet"]:
            self._told.add(suggested.origin)
            show_suggestion(suggested)


def compose(overrides: Sequence[str], composer: Composer | None = None) -> Config:
    """The configuration that the overrides describe.

    Raises ConfigError with everything that is wrong; then what `check` finds in the rest is told too.
    """
    from runner.config.check import find_config_problems

    config, found = _draft(withhold_words(overrides), composer or Composer())
    if found:
        raise ConfigError(*found, *find_config_problems(config))
    return config


def configure(overrides: Sequence[str], composer: Composer | None = None) -> Config:
    """The checked configuration that the overrides describe; with `resume`, on top of those of the run it names.

    Raises ConfigError with everything that can be known to be wrong, UserError where there is no such run.
    """
    from runner.config.check import check_config, has_valid_root

    composer = composer or Composer()
    overrides = withhold_words(overrides)
    config = compose(overrides, composer)
    if not has_valid_root(config.values):
        check_config(config)
    config = _at_home(config)
    if (name := config.values["resume"]) and config.values["mode"] != "deliver":
        config = _resumed(config, overrides, find_run(Path(config.values["folder"]), name, "resume"))
    if (name := config.values["run"]) and config.values["mode"] in RUN_VERBS:
        config = _frozen(config, find_run(Path(config.values["folder"]), name, "run"))
    check_config(_configured(config))
    composer.show_suggestion(config)
    if config.values["mode"] in RUN_VERBS:
        values = {**config.values, "data": dict(config.values["data"])}
        config = replace(config, values=values, split=values["data"].pop("split", None))
    return normalize_scalars(config)


def _resumed(config: Config, overrides: Sequence[str], folder: Path) -> Config:
    """The configuration of a run that goes on: its words, and the command's on top.

    Raises UserError where the run's words alone name a server, to which this user's credentials would go.
    """
    before = read_yaml(folder / "overrides.yaml", list)
    found = _at_home(compose([*drop_overridden(map(str, before), overrides), *overrides]))
    uri, given = (one.values["tracking"].get("uri") for one in (found, config))
    if uri not in (None, given):
        store_uri.check_recorded_uri(mask(store_uri.resolve_store_uri(uri)), given)
    # The name stands for what it was found as: the run's own words may have had another `folder`, with its original.
    return replace(found, values=found.values | {"folder": config.values["folder"]})


def _at_home(config: Config) -> Config:
    """The configuration with the home folder for the `~` of paths at the root."""
    paths = {key: os.path.expanduser(config.values[key]) for key in PATHS if config.values[key] is not None}
    return replace(config, values=config.values | paths)


def _configured(config: Config) -> Config:
    """What of a configuration can be checked: all but data that a run was given from Python."""
    given = "given" in (config.values.get("data") or {})
    return replace(config, values={key: one for key, one in config.values.items() if not (given and key == "data")})


def _frozen(config: Config, folder: Path) -> Config:
    """The configuration of an earlier run, with the words that say what to do with it and with which data.

    Raises ConfigError for words that would make another run of it.
    """
    found = catalog()
    choices, settings, _ = parse_overrides(config.overrides, found.files)
    before = read_yaml(folder / "config.yaml", dict)
    try:
        mine = OmegaConf.create({**config.values, **before, **{key: config.values[key] for key in COMMAND_KEYS}})
    except OmegaConfBaseException as error:
        raise UserError(f"{folder / 'config.yaml'} is damaged: {str(error).splitlines()[0]}") from error
    allowed = re.compile(rf"({'|'.join(COMMAND_KEYS)})(\..*)?|data\..*|training\.(evaluation_batch_size|check_memory)")
    wrong = [one for one in (*choices, *settings) if not allowed.fullmatch(one.key_or_group)]
    if wrong:
        words = ", ".join(str(one.input_line) for one in wrong)
        raise ConfigError(f"{words}: run={config.values['run']} stands as it was trained; leave this away")
    for one in settings:
        apply(mine, one)
    values = cast(dict[str, Any], OmegaConf.to_container(mine))
    other = any(one.key_or_group == "data.path" for one in settings)
    given = [(one.key_or_group, one.value(), override_origin(one)) for one in settings]
    marks = find_origins(values, [("", before, str(folder / "config.yaml")), *given])
    return replace(config, values=values, raw=values, choices={}, origins=marks, other_data=other)


def read_yaml(path: Path, kind: type[Contents]) -> Contents:
    """The mapping or the list in a file of a run's folder; raises UserError where that is missing or damaged."""
    found = yaml_file.read(path, str(path), CONFIGURATION)
    if not isinstance(found, kind):
        raise UserError(f"{path} is damaged: it holds {type(found).__name__}, not a {kind.__name__}")
    return found


def _draft(overrides: Sequence[str], composer: Composer) -> tuple[Config, list[str]]:
    """As much of the configuration as can be made, without groups whose choice is broken; and what is wrong."""
    from runner.config.check import find_config_problems

    words = parse_overrides(overrides, composer.catalog.files)
    question = find_source_to_profile(composer.catalog, words[0], words[1])
    if question is None:
        return _drafted(overrides, composer, words, None)
    if question not in composer.suggestions:  # that may take a while: not before all else is right
        config, found = _drafted(overrides, composer, words, None, unknown=True)
        if found := [*found, *find_config_problems(config)]:
            return config, found
    try:
        return _drafted(overrides, composer, words, composer.suggestions[question])
    except UserError as error:
        config, found = _drafted(overrides, composer, words, None, unknown=True)
        return config, [str(error), *found]


def _drafted(
    overrides: Sequence[str], composer: Composer, words: Words, suggested: Suggestion | None, *, unknown: bool = False
) -> tuple[Config, list[str]]:
    given, settings, problems = words
    chosen, tree, unmerged, by_files = composer.merged(given, suggested, unknown=unknown)
    settings = [one for one in settings if one.key_or_group.partition(".")[0] not in chosen.broken]
    raw, unapplied = _applied(chosen, tree, settings)
    values, unresolved = resolve_references(raw)
    by_words = [(one.key_or_group, one.value(), override_origin(one)) for one in settings]
    marks = find_origins(raw, [*by_files, *by_words])
    lost = [format_problem(f"{key}: {text}", origin_of(marks, key)) for key, text in unresolved.items()]
    options = {group: option for group, option in chosen.options.items() if group not in chosen.broken}
    config = Config(values, raw, marks, tuple(overrides), options, inferred=suggested)
    return config, [*composer.catalog.clashes, *problems, *chosen.problems, *unmerged, *unapplied, *lost]


def _applied(chosen: Choices, merged: DictConfig, settings: Sequence[Override]) -> tuple[dict[str, Any], list[str]]:
    """The raw tree with the settings in it, and which of them have no place there."""
    problems = []
    for one in settings:
        try:
            apply(merged, one)
        except UserError as error:
            problems.append(str(error))
    raw = cast(dict[str, Any], withhold_values(OmegaConf.to_container(merged)))
    for group in chosen.options:
        raw.setdefault(group, {})  # where several may be chosen, and none is
    for group in chosen.broken:
        del raw[group]
    return raw | {EXPERIMENT: chosen.options[EXPERIMENT]}, problems


def _composed(chosen: Choices) -> tuple[DictConfig, list[str]]:
    """`conf/run.yaml` and the files chosen, merged in their order; without one that doesn't fit the others."""
    merged, problems = load_yaml(MAIN), []
    del merged["defaults"]
    with contextlib.suppress(*UNMERGED):  # at once: each merging copies all that is merged so far
        return cast(DictConfig, OmegaConf.merge(merged, *map(_placed, chosen.files))), []
    for file in chosen.files:
        try:
            merged = cast(DictConfig, OmegaConf.merge(merged, _placed(file)))
        except UNMERGED as error:
            problems.append(f"{file.origin or display_path(file.path)}: {str(error).splitlines()[0]}")
    return merged, problems


def _placed(file: File) -> DictConfig:
    """What a file says, at its place in the whole."""
    return file.content if file.group == EXPERIMENT else OmegaConf.create({file.group: file.content})


def _set(chosen: Choices) -> Iterator[tuple[str, Any, str]]:
    """What the files set, the last word last: (key, value, origin)."""
    for group, origin in chosen.origins.items():
        yield group, {}, origin
    for file in (File(MAIN, EXPERIMENT, load_yaml(MAIN)), *chosen.files):
        yield "", OmegaConf.to_container(_placed(file)), file.origin or display_path(file.path)
