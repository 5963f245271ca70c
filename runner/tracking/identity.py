"""Which run of MLflow a folder's record goes to: a folder that was moved keeps its own, a copy gets another."""

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
    """The value of the tag by which the run of a folder is found in MLflow."""
    return record.get("id") or f"{folder.name} {record['digest']} {record['created']}".replace("'", "")


def claim_folder(folder: Path) -> bool:
    """Notes where a folder stands; one that was copied gets an id of its own. Whether it is a copy.

    It is a copy where the folder that it was in still stands there. Where that is gone, it was moved.
    """
    record = read_record(folder)
    before, here = record.get("path"), str(folder.resolve())
    if before == here:
        return False
    copied = before is not None and _is_another(folder, Path(before), record.get("id"))
    changes = {"id": uuid.uuid4().hex, "joins": None, "copied_from": before} if copied else {}
    if copied:
        (folder / "delivered.json").unlink(missing_ok=True)  # which tells of the run of the original
    _write(folder, record | changes | {"path": here})
    return copied


def redirect_record(folder: Path, tracking: Mapping[str, Any]) -> None:
    """Notes where the record goes; what was delivered elsewhere goes there from its beginning."""
    record = read_record(folder)
    if record["tracking"] != tracking:
        _write(folder, record | {"tracking": dict(tracking)})
        (folder / "delivered.json").unlink(missing_ok=True)  # which tells of another store


def join_active_run(folder: Path) -> None:
    """Notes that the record of a run or a sweep goes to the run that MLFLOW_RUN_ID names, where that is set."""
    record, run_id = read_record(folder), os.environ.get(RUN_VARIABLE)
    if run_id and record.get("kind") != "look" and record.get("joins") != run_id:
        _write(folder, record | {"joins": run_id})
        (folder / "delivered.json").unlink(missing_ok=True)  # which tells of another run


def _is_another(folder: Path, other: Path, identity: str | None) -> bool:
    with suppress(OSError, ValueError):
        return not other.samefile(folder) and read_record(other).get("id") == identity
    return False


def _write(folder: Path, record: Mapping[str, Any]) -> None:
    write_atomically(folder / "record.json", json.dumps(record, indent=1))
