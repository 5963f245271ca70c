"""The identity of a run's folder in MLflow: a moved folder keeps its MLflow run, and a copy gets a new one."""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from runner.files import write_atomically
from runner.run_folder import read_record

RUN_VARIABLE = "MLFLOW_RUN_ID"


def record_key(folder: Path, record: Mapping[str, Any]) -> str:
    """The value of the tag `titrate.folder`, by which the MLflow run of a folder is found."""
    return record.get("id") or f"{folder.name} {record['digest']} {record['created']}".replace("'", "")


def claim_folder(folder: Path) -> bool:
    """Writes the path of a folder into its record. A copy of another folder gets a new id.

    If the recorded path still holds the original folder, this folder is a copy. Otherwise this folder was moved.

    Returns:
        Whether it is a copy.
    """
    record = read_record(folder)
    recorded_path, path = record.get("path"), str(folder.resolve())
    if recorded_path == path:
        return False
    is_copy = recorded_path is not None and _is_original(Path(recorded_path), folder, record.get("id"))
    if is_copy:
        record |= {"id": uuid.uuid4().hex, "joins": None, "copied_from": recorded_path}
        (folder / "delivered.json").unlink(missing_ok=True)  # it describes the MLflow run of the original
    _write(folder, record | {"path": path})
    return is_copy


def redirect_record(folder: Path, tracking: Mapping[str, Any]) -> None:
    """Writes the address of a record. If the address changes, all points are delivered there, from the first one."""
    record = read_record(folder)
    if record["tracking"] != tracking:
        _write(folder, record | {"tracking": dict(tracking)})
        (folder / "delivered.json").unlink(missing_ok=True)  # it describes the delivery to the other store


def join_active_run(folder: Path) -> None:
    """Records that a run or a sweep is delivered to the MLflow run that MLFLOW_RUN_ID names, if it is set."""
    record, run_id = read_record(folder), os.environ.get(RUN_VARIABLE)
    if run_id and record.get("joins") != run_id:
        _write(folder, record | {"joins": run_id})
        (folder / "delivered.json").unlink(missing_ok=True)  # it describes the delivery to another run


def _is_original(path: Path, folder: Path, record_id: str | None) -> bool:
    """Whether another folder with the same id is at `path`."""
    with suppress(OSError, ValueError):
        return not path.samefile(folder) and read_record(path).get("id") == record_id
    return False


def _write(folder: Path, record: Mapping[str, Any]) -> None:
    write_atomically(folder / "record.json", json.dumps(record, indent=1))
