"""The data of a run: its source, opened, read and encoded as its configuration says."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import Any

from components.types import Constants, DataError, NeedsFeatures, Remedy, Source, UserError
from runner.config.catalog import display_path, find_options, read_default_options
from runner.config.config import Config
from runner.config.settings import Training
from runner.data.encode import MissingColumnError
from runner.data.load import Data, Features, load_encoded
from runner.data.python_rows import PythonData, PythonTable
from runner.display.progress import Progress
from runner.errors import error_location, located_settings
from runner.execution.run_features import check_same_rows, compute_features, configure_rows, load_run
from runner.execution.trained_rows import warn_of_trained_rows
from runner.log import LOG
from runner.memory import memory_error_location
from runner.override_text import format_override, locate_settings
from runner.platform import cache_folder
from runner.public_data import download_suggested
from runner.signature.build import build_source
from runner.signature.code import digest_code, part_packages
from runner.signature.operations import build_operations, explain_computed_columns, operate, separate_options
from runner.suggest.suggestions import take_rows
from runner.tree import iterate_leaves, join_path

READ_LESS = "Free some, or read less: fewer rows, or fewer columns."


def load_data(
    config: Config,
    source: PythonData | None,
    progress: Progress,
    constants: Mapping[str, Constants] | None = None,
    training: Training | None = None,
    *,
    key: str = "data",
    keeps_columns: bool = False,
) -> tuple[Data, Features]:
    """Loads and encodes the data, from the cache if it has the same configuration, rows and code.

    Args:
        config: a checked configuration.
        source: replaces the source that `data` names, without the cache. None: that source.
        progress: the progress display.
        constants: the constants of the columns and targets of a finished run. None: they are fitted.
        training: the settings that decide about the order of the training examples. None: they aren't ordered.
        key: the key of the source in the configuration of the command, for messages.
        keeps_columns: whether the rows of `Data.source` have all columns, also those that nothing reads.

    Returns:
        The encoded data, and the columns and the target that encode it.
    """
    operations, examples = build_operations(config.values["operations"]), config.values["examples"]
    features = Features.from_config(config.values["feature"], examples)
    nodes = [config.values["data"], config.values["feature"], config.values["operations"]]
    keys = [] if features.examples is None else [sorted(features.example_keys)]  # not their sizes: rows are the same
    identity = json.dumps([nodes, digest_code(part_packages([*nodes, examples])), *keys], sort_keys=True)
    fold = None if config.values["fold"] is None else (config.values["folds"], config.values["fold"])
    with progress.working("preparing the data"):
        cache = cache_folder() if source is None else None
        options: dict[str, Any] = {}
        remedies: AbstractContextManager[None] = nullcontext()  # `data` has no keys of a source from Python
        if source is None or isinstance(source, PythonTable):
            remedies = located_settings(key)
            with error_location(key), download_suggested():
                node, options = separate_options(config.values["data"], operations)
                source = build_source(node) if source is None else source.make_source(node)
        with error_location(key):
            if isinstance(source, NeedsFeatures):
                operated = _bind_features(source, config, progress)
            else:
                operated = operate(source, operations, kept=take_rows(config.suggestion), **options)
        explained = explain_computed_columns(config.values["data"], operations)
        with memory_error_location("preparing the data", READ_LESS), remedies, download_suggested(), explained:
            try:
                data = load_encoded(
                    operated,
                    features,
                    identity=identity,
                    cache=cache,
                    fold=fold,
                    constants=constants,
                    needs_files=training is not None and training.interleave is not None,
                    needs_sources=training is not None and bool(training.source_weights),
                    keeps_columns=keeps_columns,
                )
            except MissingColumnError as error:
                default = find_options().files["feature"][str(read_default_options()["feature"])]
                places = tuple(f"{key}." for key in error.keys)
                origins = {origin for key, origin in config.origins.items() if f"{key}.".startswith(places)}
                if origins != {display_path(default)}:
                    raise
                remedy = "Write a feature file with the target and the columns, conf/feature/NAME.yaml"
                raise UserError(f"{error} The command chooses no columns. {remedy}, and add feature=NAME.") from error
            except DataError as error:
                if config.suggestion is not None and error.missing is not None:  # otherwise a feature file has the name
                    dropped = [*(config.values["data"].get("drop") or ()), error.missing]
                    drop = Remedy(f"leave it out: set {format_override('data.drop', dropped)}", "leaving_out")
                    error.replace_remedies(drop if each.changes == drop.changes else each for each in error.remedies)
                raise
    LOG.info("the data is ready")
    warnings = _leave_out_settled(data.warnings, config)
    if "given" not in config.values["data"]:
        warnings = [locate_settings(warning, key) for warning in warnings]
    return replace(data, warnings=tuple(warnings)), features


def _bind_features(part: NeedsFeatures, config: Config, progress: Progress) -> Source:
    """The source of the features of a finished run. The operations of the command change the rows before."""
    with error_location("data.run"):
        run = load_run(config, part.run, progress.note)
        rows = configure_rows(config, run.config)
    key = "data.run" if part.rows is None else "data.rows"
    data, _ = load_data(rows, None, progress, run.transform.constants, key=key, keeps_columns=True)
    if part.rows is None and not config.values["operations"]:
        with error_location("data.run"):
            check_same_rows(run, data)
    if part.rows is not None and (text := warn_of_trained_rows(run, rows, data, _loader(progress))):
        progress.note(text)
    with progress.working("computing the features"):
        return part.bind(compute_features(run, data, part.stage))


def _loader(progress: Progress) -> Callable[[Config, Mapping[str, Constants]], Data]:
    """Returns a function that loads the data of a finished run: (configuration, constants) -> data."""
    return lambda config, constants: load_data(config, None, progress, constants)[0]


def _leave_out_settled(warnings: Sequence[str], config: Config) -> list[str]:
    """The warnings without those that advise to set a key of `feature` that the configuration sets to null."""
    leaves = iterate_leaves(config.values["feature"], ("feature",))
    settled = [join_path(path) for path, value in leaves if value is None]
    return [warning for warning in warnings if not any(f" {key}=" in warning for key in settled)]
