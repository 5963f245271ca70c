"""Observers of a run, called at its evaluations and at its end."""

from __future__ import annotations

import csv
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from components.paths import leaves_with_paths
from components.types import Event, UserError, Variables


@dataclass(frozen=True)
class ParameterNorms:
    """Writes the Euclidean norm of each parameter at each evaluation, one row each, into `parameter_norms.csv`.

    The columns are `step`, `epoch`, and the paths of the parameters.
    """

    def __call__(self, event: Event, record: Mapping[str, float], variables: Variables) -> None:
        """Adds a row. Raises UserError if the file is damaged."""
        if event.name == "evaluation":
            norms = {path: float(np.linalg.norm(leaf)) for path, leaf in leaves_with_paths(variables["params"])}
            row = {"step": event.step, "epoch": event.epoch, **norms}
            _write_rows(path := event.folder / "parameter_norms.csv", [*_read_rows(path, event.step), row])


def _read_rows(path: Path, step: int) -> list[dict[str, Any]]:
    """The rows of the evaluations before a step. A killed run may have written later rows, which it writes again."""
    if not path.exists():
        return []
    try:
        with path.open(encoding="utf-8", newline="") as file:
            return [row for row in csv.DictReader(file, strict=True) if int(row["step"]) < step]
    except (ValueError, KeyError, TypeError, csv.Error) as error:
        raise UserError(f"{path} is damaged. Remove it.") from error


def _write_rows(path: Path, rows: list[dict[str, Any]]) -> None:
    """Writes a CSV file as a whole. A cell that a row lacks is empty."""
    temporary = path.with_suffix(".tmp")
    with temporary.open("w", encoding="utf-8", newline="") as file:
        columns = dict.fromkeys(column for row in rows for column in row)
        writer = csv.DictWriter(file, list(columns), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)
