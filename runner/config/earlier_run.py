"""The configuration of an earlier run, for `resume=` and `run=`."""

from __future__ import annotations

import copy
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from components.types import UserError
from runner import yaml_file
from runner.config.catalog import RUN_YAML, find_options, read_default_options
from runner.config.config import Config
from runner.config.legacy import rename_targets, steps_to_durations
from runner.config.merge import MergedTree
from runner.config.options import OptionReader
from runner.config.overrides import drop_overridden, parse_overrides
from runner.config.provenance import find_origins
from runner.errors import ConfigError
from runner.signature.parameters import UNKNOWN, read_signature
from runner.signature.source import PartNotFoundError
from runner.store_uri import check_recorded_uri, resolve_store_uri
from runner.tree import iterate_parts
from runner.uri_mask import mask_uri
from runner.yaml_file import CONFIGURATION_LIMITS

Contents = TypeVar("Contents", dict[str, Any], list[Any])

# Keys of the command, not of the finished run: a copied run must not choose where records are sent (`tracking`).
COMMAND_KEYS = ("mode", "run", "output", "folder", "quiet", "runs", "tracking")
TRAINING_KEYS = ("evaluation_batch_size", "check_memory", "compile")
ALLOWED_KEY = re.compile(rf"({'|'.join(COMMAND_KEYS)})(\..*)?|data\..*|training\.({'|'.join(TRAINING_KEYS)})")


def read_config(folder: Path) -> dict[str, Any]:
    """Reads the `config.yaml` of a run folder, with today's names and spellings.

    Raises:
        UserError: the file is missing or damaged.
    """
    values: dict[str, Any] = rename_targets(_read_yaml(folder / "config.yaml", dict))[0]
    training = values.get("training")
    is_without_durations = isinstance(training, dict) and "steps" not in training  # of an earlier version
    return steps_to_durations(values) if is_without_durations else values


def add_missing_keys(values: dict[str, Any]) -> dict[str, Any]:
    """Adds the keys that an earlier version of Titrate did not have, with their default values."""
    defaults = _read_yaml(RUN_YAML, dict)
    del defaults["defaults"]
    no_parts: dict[str, Any] = {group: {} for group, option in read_default_options().items() if option == []}
    no_parts["step"] = _read_yaml(RUN_YAML.parent / "step" / f"{read_default_options()['step']}.yaml", dict)
    return {**defaults, **no_parts, **values, "training": defaults["training"] | values["training"]}


def add_defaults(tree: dict[str, Any]) -> dict[str, Any]:
    """Adds the default values of all parameters that are not set, so that equal configurations compare as equal.

    Defaults that are not literals are left out.
    """
    tree = copy.deepcopy(tree)
    for _, node in [*iterate_parts(tree)]:
        try:
            known = read_signature(node["_target_"]) or {}
        except PartNotFoundError:
            continue
        for name, parameter in known.items():
            if parameter.default is not UNKNOWN:
                node.setdefault(name, parameter.default)
    return tree


def merge_overrides(folder: Path, overrides: Sequence[str]) -> list[str]:
    """The overrides of a run, without those that `overrides` replace, followed by `overrides`."""
    of_run = _read_yaml(folder / "overrides.yaml", list)
    return [*drop_overridden(map(str, of_run), overrides), *overrides]


def check_server(resumed: Config, config: Config) -> None:
    """Raises UserError if a server is named by the overrides of the resumed run only.

    A copied run must not choose a server, since the user's credentials would be sent there.
    """
    uri, own_uri = resumed.values["tracking"].get("uri"), config.values["tracking"].get("uri")
    if uri not in (None, own_uri):
        check_recorded_uri(mask_uri(resolve_store_uri(uri)), own_uri)


def overlay_run(config: Config, folder: Path) -> Config:
    """The configuration of a finished run, with the overrides that a command may add to it: data, mode, output, ….

    Raises:
        ConfigError: an override would change how the run was trained.
    """
    path = folder / "config.yaml"
    catalog = find_options()
    choices, settings, _ = parse_overrides(config.overrides, catalog.files)
    of_run = read_config(folder) | {"observer": {}}  # only training calls observers
    if isinstance(of_run.get("training"), dict):  # otherwise the file is damaged, and the check reports it
        of_run = add_missing_keys(of_run)
    try:
        tree = OmegaConf.create({**config.values, **of_run, **{key: config.values[key] for key in COMMAND_KEYS}})
    except OmegaConfBaseException as error:
        raise UserError(f"{path} is damaged: {str(error).splitlines()[0]}") from error
    forbidden = [item.input_line for item in (*choices, *settings) if not ALLOWED_KEY.fullmatch(item.key_or_group)]
    if forbidden:
        texts = ", ".join(map(str, forbidden))
        raise ConfigError(f"{texts}: not allowed for the finished run {config.values['run']}. Leave this out.")
    merged = MergedTree(OptionReader(catalog), tree, [("", of_run, str(path))])
    merged.apply_settings(settings)
    if merged.problems:
        raise ConfigError(*merged.problems)
    values = merged.values()
    origins = find_origins(values, merged.settings)
    sets_data_path = any(setting.key_or_group == "data.path" for setting in settings)
    return replace(
        config,
        values=values,
        raw=values,
        choices={},
        origins=origins,
        option_problems=tuple(merged.option_problems),
        sets_data_path=sets_data_path,
    )


def _read_yaml(path: Path, kind: type[Contents]) -> Contents:
    content = yaml_file.read(path, str(path), CONFIGURATION_LIMITS)
    if not isinstance(content, kind):
        raise UserError(f"{path} is damaged: it holds {type(content).__name__}, not a {kind.__name__}")
    return content
