"""Checks the files that a mode of a finished run reads and writes, before anything is loaded."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.closest import suggest_name
from components.input_files import find_paths
from components.types import DataError, UserError
from runner.config.overrides import COMMAND_LINE
from runner.config.provenance import format_problem

if TYPE_CHECKING:
    from runner.config.config import Config

FORMATS = (".csv", ".parquet", ".json")
"""The suffixes of the tables that `mode=predict` writes."""


def check_output(output: Mapping[str, Any]) -> None:
    """Raises UserError if a table can't be written to `output.path`."""
    path = Path(str(output["path"]))
    if path.suffix not in FORMATS:
        problem = f"{path.suffix} is no format" if path.suffix else "the name must end with the format"
        raise UserError(f"output={path}: {problem}. {suggest_name(path.suffix, FORMATS)}")
    if path.is_dir():
        raise UserError(f"output={path} is a folder. Choose another name.")
    if os.path.lexists(path) and not output["overwrite"]:
        raise UserError(
            f"output={path} exists already. Remove it, choose another name, or replace it with output.overwrite=true."
        )
    if not path.parent.is_dir():
        problem = f"{path.parent} is no folder" if path.parent.exists() else f"there is no folder {path.parent}"
        raise UserError(f"output={path}: {problem}. Create it, or choose another one.")
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise UserError(f"output={path} can't be written: the folder {path.parent} allows no new file. Choose another.")


def find_file_problems(config: Config) -> list[str]:
    """The problems of the files that a command names. Other values of its configuration may have the wrong types."""
    problems: list[str] = []
    output, data = config.values.get("output"), config.values.get("data")
    if config.values.get("mode") == "predict" and isinstance(output, dict) and isinstance(output.get("path"), str):
        try:
            check_output({"overwrite": False, **output})
        except UserError as error:
            problems.append(str(error))
    origin, path = config.origins.get("data.path", ""), data.get("path") if isinstance(data, dict) else None
    paths = path if isinstance(path, list) else [path]
    for each in paths if origin.startswith(COMMAND_LINE) else ():
        if not isinstance(each, str) or "://" in each:  # a source of the user's may take a URI
            continue
        try:
            find_paths(each)
        except DataError as error:
            problems.append(format_problem(f"data.path: {error}", origin))
    return problems
