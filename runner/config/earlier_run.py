"""The configuration of an earlier run, which `resume=` goes on with and `run=` reads."""

from __future__ import annotations

import copy
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar, cast

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from components.types import UserError
from runner import yaml_file
from runner.config.catalog import RUN_YAML, find_options
from runner.config.config import Config
from runner.config.legacy import rename_targets
from runner.config.overrides import apply_override, classify_overrides, drop_overridden, override_origin
from runner.config.provenance import find_origins
from runner.credentials import mask_uri
from runner.errors import ConfigError
from runner.signature.parameters import UNKNOWN, read_signature
from runner.signature.source import PartNotFoundError
from runner.store_uri import check_recorded_uri, resolve_store_uri
from runner.tree import iterate_parts
from runner.yaml_file import CONFIGURATION_LIMITS

Contents = TypeVar("Contents", dict[str, Any], list[Any])

# Keys that a command may set for a finished run. The user alone says where a record goes, never the run.
COMMAND_KEYS = ("mode", "run", "output", "folder", "quiet", "runs", "tracking")
ALLOWED = re.compile(rf"({'|'.join(COMMAND_KEYS)})(\..*)?|data\..*|training\.(evaluation_batch_size|check_memory)")


def read_config(folder: Path) -> dict[str, Any]:
    """The `config.yaml` of a run folder, with today's names. Raises UserError if it is missing or damaged."""
    return rename_targets(_read_yaml(folder / "config.yaml", dict))[0]


def add_missing_keys(values: dict[str, Any]) -> dict[str, Any]:
    """The configuration of a run with the default values of keys that its version of Titrate didn't have."""
    defaults = _read_yaml(RUN_YAML, dict)
    return {**defaults, "augmentation": {}, **values, "training": defaults["training"] | values["training"]}


def add_defaults(tree: dict[str, Any]) -> dict[str, Any]:
    """A configuration with the defaults of the parameters that its parts are not given, as far as source tells them.

    A part with a default spelt out equals the same part without it.
    """
    tree = copy.deepcopy(tree)
    for _, node in [*iterate_parts(tree)]:
        try:
            known = read_signature(node["_target_"]) or {}
        except PartNotFoundError:
            continue
        node |= {name: one.default for name, one in known.items() if name not in node and one.default is not UNKNOWN}
    return tree


def merge_words(folder: Path, words: Sequence[str]) -> list[str]:
    """The words that began a run, without those that `words` replace, and then `words`."""
    before = _read_yaml(folder / "overrides.yaml", list)
    return [*drop_overridden(map(str, before), words), *words]


def check_server(resumed: Config, config: Config) -> None:
    """Raises UserError if only the words of the resumed run name a server.

    The credentials of this user would go there.
    """
    uri, own_uri = (one.values["tracking"].get("uri") for one in (resumed, config))
    if uri not in (None, own_uri):
        check_recorded_uri(mask_uri(resolve_store_uri(uri)), own_uri)


def overlay_run(config: Config, folder: Path) -> Config:
    """The configuration of a finished run, with the words of this command that say what to do with it.

    Raises ConfigError for words that would make another run of it.
    """
    choices, settings, _ = classify_overrides(config.overrides, find_options().files)
    before = read_config(folder)
    try:
        tree = OmegaConf.create({**config.values, **before, **{key: config.values[key] for key in COMMAND_KEYS}})
    except OmegaConfBaseException as error:
        raise UserError(f"{folder / 'config.yaml'} is damaged: {str(error).splitlines()[0]}") from error
    if wrong := [one for one in (*choices, *settings) if not ALLOWED.fullmatch(one.key_or_group)]:
        words = ", ".join(str(one.input_line) for one in wrong)
        raise ConfigError(f"{words}: run={config.values['run']} stays as it was trained; leave this away")
    for setting in settings:
        apply_override(tree, setting)
    values = cast(dict[str, Any], OmegaConf.to_container(tree))
    by_words = [(one.key_or_group, one.value(), override_origin(one)) for one in settings]
    origins = find_origins(values, [("", before, str(folder / "config.yaml")), *by_words])
    other_data = any(one.key_or_group == "data.path" for one in settings)
    return replace(config, values=values, raw=values, choices={}, origins=origins, other_data=other_data)


def _read_yaml(path: Path, kind: type[Contents]) -> Contents:
    content = yaml_file.read(path, str(path), CONFIGURATION_LIMITS)
    if not isinstance(content, kind):
        raise UserError(f"{path} is damaged: it holds {type(content).__name__}, not a {kind.__name__}")
    return content
