"""The configuration of an earlier run, for `resume=` and `run=`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from components.types import UserError
from runner.config.catalog import CSV, FRAME, find_options
from runner.config.config import Config
from runner.config.merge import MergedTree
from runner.config.options import OptionReader
from runner.config.overrides import drop_overridden, parse_overrides
from runner.config.provenance import find_origins
from runner.config.recorded_config import add_missing_keys, read_config, read_yaml
from runner.errors import ConfigError
from runner.store_uri import check_recorded_uri, resolve_store_uri
from runner.uri_mask import mask_uri

# Keys of the command, not of the finished run: a copied run must not choose where records are sent (`tracking`).
COMMAND_KEYS = ("mode", "run", "output", "folder", "quiet", "runs", "intervals", "tracking")
TRAINING_KEYS = ("evaluation_batch_size", "check_memory", "compile")
NEW_ROWS_KEY = re.compile(r"data\.(path|function)(\..*)?")
ALLOWED_KEY = re.compile(rf"({'|'.join(COMMAND_KEYS)})(\..*)?|data\..*|training\.({'|'.join(TRAINING_KEYS)})")


def merge_overrides(folder: Path, overrides: Sequence[str]) -> list[str]:
    """The overrides of a run, without those that `overrides` replace, followed by `overrides`."""
    of_run = read_yaml(folder / "overrides.yaml", list)
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
    names_new_rows = any(NEW_ROWS_KEY.fullmatch(setting.key_or_group) for setting in settings)
    if names_new_rows and isinstance(data := of_run.get("data"), dict) and data.get("_target_") == FRAME:
        of_run["data"] = data | {"_target_": CSV}  # the file is read like the table from Python
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
    return replace(
        config,
        values=values,
        raw=values,
        choices={},
        origins=origins,
        option_problems=tuple(merged.option_problems),
        names_new_rows=names_new_rows,
    )
