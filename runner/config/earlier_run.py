"""The configuration of an earlier run, for `resume=` and `run=`."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from hydra.core.override_parser.types import Override

from components.uri_mask import MASK, mask_uri
from runner.config.catalog import FRAME, MIXED, RUN_FEATURES, TABLE_FILE, find_options
from runner.config.check_targets import target_of
from runner.config.config import Config
from runner.config.features_run import read_source_of_rows
from runner.config.merge import MergedTree
from runner.config.options import OptionReader
from runner.config.overrides import ParsedOverrides, drop_overridden
from runner.config.provenance import find_origin, find_origins, format_problem
from runner.config.recorded_config import add_missing_keys, read_config, read_yaml
from runner.config.slips import suggest_for_finished_run
from runner.credentials import DATA_URI_VARIABLE
from runner.store_uri import check_recorded_uri, resolve_store_uri

# Keys of the command, not of the finished run: a copied run must not choose where records are sent (`tracking`).
COMMAND_KEYS = (
    *("mode", "run", "ensemble", "output", "folder", "quiet", "convert", "find_lr", "runs", "intervals", "mc_samples"),
    "tracking",
)
TRAINING_KEYS = ("evaluation_batch_size", "check_memory", "compile")
NEW_ROWS_KEY = re.compile(r"data\.(path|query|function)(\..*)?")
MASKED_LOGIN = re.compile(rf"{re.escape(MASK)}@|[?&;][^=&;]*=?{re.escape(MASK)}")  # in a URI
ALLOWED_KEY = re.compile(
    rf"({'|'.join(COMMAND_KEYS)})(\..*)?|data\..*|metric_slices|training\.({'|'.join(TRAINING_KEYS)})"
)


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


def select_command_settings(parsed: ParsedOverrides) -> ParsedOverrides:
    """The overrides that don't depend on the run, and the path of new rows, whose file is checked without the run."""
    keys = (*COMMAND_KEYS, "data.path")
    settings = [item for item in parsed.settings if item.key_or_group.startswith(keys)]
    choices, settings = (list(filter(_is_allowed, items)) for items in (parsed.choices, settings))
    return parsed._replace(choices=choices, settings=settings)


def _is_allowed(override: Override) -> bool:
    return ALLOWED_KEY.fullmatch(override.key_or_group) is not None


def _names_other_database(settings: Sequence[Override], of_run: Mapping[str, Any]) -> bool:
    """Whether an override names another database than that of the run, and not the same one, whatever the login."""
    uris = [str(setting.value()) for setting in settings if setting.key_or_group == "data.uri"]
    data = of_run.get("data")
    own = (data.get("uri") if isinstance(data, dict) else None) or os.environ.get(DATA_URI_VARIABLE)
    return (
        bool(uris)
        and own is not None
        and len({MASKED_LOGIN.sub("", mask_uri(uri)) for uri in (uris[-1], str(own))}) > 1
    )


def _find_rows_problems(settings: Sequence[Override], of_run: Mapping[str, Any]) -> list[str]:
    """The problem of `data.rows`, where the features of a run are those of the rows of another run."""
    data = of_run.get("data")
    if target_of(data) != RUN_FEATURES or not isinstance(data, Mapping) or data.get("rows") is not None:
        return []
    texts = [str(item.input_line) for item in settings if item.key_or_group.split(".")[:2] == ["data", "rows"]]
    remedy = "Name the file of new rows by data.path=…, or pass rows in Python to runner.load(RUN).predict"
    return [f"{text}: the run was trained on the rows of data.run. {remedy}." for text in texts]


def _read_options(settings: Sequence[Override]) -> set[str]:
    """The options of `data` that overrides set."""
    keys = [setting.key_or_group.split(".") for setting in settings]
    return {key[1] for key in keys if key[0] == "data" and len(key) > 1}


def find_forbidden(parsed: ParsedOverrides, run: Any, mode: str) -> list[str]:
    """The problems of overrides that would change how a finished run was trained, or that name no key.

    Args:
        parsed: the overrides.
        run: the name of the run; None: it is unknown.
        mode: the mode that reads it.
    """
    forbidden = [item for item in (*parsed.choices, *parsed.settings) if not _is_allowed(item)]
    remedies = {item.input_line: suggest_for_finished_run(item.key_or_group, item.value()) for item in forbidden}
    problems = [f"{text}: {remedy}" for text, remedy in remedies.items() if remedy is not None]
    if texts := [str(text) for text, remedy in remedies.items() if remedy is None]:
        which = f"a finished run, which mode={mode} reads" if run is None else f"the finished run {run}"
        problems.append(
            f"{', '.join(texts)}: not allowed for {which}. Leave {'this' if len(texts) == 1 else 'these'} out."
        )
    return problems


def overlay_run(config: Config, parsed: ParsedOverrides, folder: Path) -> tuple[Config, list[str]]:
    """The configuration of a finished run, with the overrides that a command may add to it: data, mode, output, ….

    Args:
        config: the configuration of the command.
        parsed: the overrides of the command.
        folder: the folder of the run.

    Returns:
        The configuration, and the problems of overrides that can't be applied to it.

    Raises:
        UserError: the configuration of the run is damaged.
    """
    path = folder / "config.yaml"
    catalog = find_options()
    settings = [item for item in parsed.settings if _is_allowed(item)]
    of_run = read_config(folder) | {"observer": {}}  # only training calls observers
    if isinstance(of_run.get("training"), dict):  # otherwise the file is damaged, and the check reports it
        of_run = add_missing_keys(of_run)
    names_new_rows = any(NEW_ROWS_KEY.fullmatch(setting.key_or_group) for setting in settings)
    names_new_rows |= _names_other_database(settings, of_run)
    rows_problems = _find_rows_problems(settings, of_run)
    if names_new_rows and config.values["mode"] in ("evaluate", "predict"):
        of_run["data"] = read_source_of_rows(of_run, config.values["folder"])
    if names_new_rows and isinstance(data := of_run.get("data"), dict) and data.get("_target_") == FRAME:
        of_run["data"] = data | {"_target_": TABLE_FILE}  # the file is read like the table from Python
    if names_new_rows and isinstance(data := of_run.get("data"), dict) and data.get("_target_") == MIXED:
        from runner.config.mixed_rows import make_source_of_new_rows  # imports NumPy

        of_run["data"] = make_source_of_new_rows(data, _read_options(settings))
    values = {**config.values, **of_run, **{key: config.values[key] for key in COMMAND_KEYS}}
    merged = MergedTree(OptionReader(catalog), values, [("", of_run, str(path))])
    merged.apply_settings(settings)
    values = merged.values
    origins = find_origins(values, merged.settings)
    overlaid = replace(
        config,
        values=values,
        raw=values,
        choices={},
        origins=origins,
        option_problems=tuple(merged.option_problems),
        names_new_rows=names_new_rows,
    )
    problems = [*merged.problems, *rows_problems]
    if names_new_rows and (split := (values.get("data") or {}).get("split")) and values["mode"] != "look":
        text = f"data.split: {split} is a split of the run's own data, and the command names other rows."
        remedy = (
            "Leave one of them out. If the data of the run was moved, move it back, or set TITRATE_DATA to its folder."
        )
        problems.append(format_problem(f"{text} {remedy}", find_origin(origins, "data.split")))
    return overlaid, problems
