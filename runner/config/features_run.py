"""The run whose network computes the features that a finished run reads (`data=features`)."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from runner.config.catalog import RUN_FEATURES
from runner.config.check_targets import target_of
from runner.config.recorded_config import read_config
from runner.run_folder import find_run


def find_features_run(values: Mapping[str, Any], root: str) -> Path | None:
    """The folder of the run whose network computes the features that a run reads. None: it reads none.

    Args:
        values: the configuration of the run that reads them.
        root: the folder of all runs.

    Raises:
        UserError: there is no such run.
    """
    data = values.get("data")
    if not isinstance(data, Mapping) or target_of(data) != RUN_FEATURES:
        return None
    return find_run(Path(root), os.path.expanduser(str(data.get("run"))), "data.run")


def read_source_of_rows(values: Mapping[str, Any], root: str) -> Any:
    """The configuration of the source that reads new rows: that of a run, or that of the rows of its features.

    Args:
        values: the configuration of the run.
        root: the folder of all runs.

    Raises:
        UserError: there is no run that computes the features.
    """
    folder = find_features_run(values, root)
    if folder is None:
        return values.get("data")
    rows = values["data"].get("rows")
    return read_config(folder).get("data") if rows is None else rows
