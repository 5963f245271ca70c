"""The store and the experiment of a record, checked before the run without importing MLflow."""

from __future__ import annotations

import importlib.metadata
import os
import re
import sqlite3
from contextlib import closing, suppress
from pathlib import Path
from urllib.parse import urlsplit

from components.types import UserError
from components.uri_mask import MASK, mask_uri
from runner.credentials import URI_VARIABLE
from runner.errors import LocatedError
from runner.store_uri import find_sqlite_file, resolve_store_uri
from runner.tracking.identity import RUN_VARIABLE

EXPERIMENT_VARIABLE, ID_VARIABLE = "MLFLOW_EXPERIMENT_NAME", "MLFLOW_EXPERIMENT_ID"
EXPERIMENT = "titrate"  # the experiment of runs that earlier versions have recorded
FIRST_ID, FIRST_NAME = "0", "Default"  # of the experiment that MLflow creates in every new store
MAX_NAME_LENGTH = 500  # characters of an experiment's name that MLflow accepts
FILES_VARIABLE = "MLFLOW_ALLOW_FILE_STORE"
SERVERS, DATABASES = ("http", "https"), ("sqlite", "postgresql", "mysql", "mssql")
PLUGINS = "mlflow.tracking_store"  # the entry points by which other packages add stores
DATABRICKS = ("databricks", "databricks-uc", "uc")


def check_store(uri: str | None) -> str:
    """Checks the store of a record, as far as that is possible without MLflow.

    Args:
        uri: `tracking.uri`; None: the environment's, or else a SQLite file in the working folder.

    Returns:
        The whole URI.

    Raises:
        UserError: no record can be delivered there.
    """
    whole = resolve_store_uri(uri)
    if problem := _find_problem(whole):
        shown = mask_uri(whole) if whole.isprintable() else repr(mask_uri(whole))
        set_by = URI_VARIABLE if os.environ.get(URI_VARIABLE) else "the working folder"
        raise LocatedError("tracking.uri" if uri else set_by, f"{shown}: {problem}")
    _check_joined_run(whole)
    return whole


def choose_experiment(name: str | None, uri: str) -> dict[str, str | None]:
    """The experiment of a record.

    Args:
        name: `tracking.experiment`; None: the environment's.
        uri: the whole URI of the store.

    Returns:
        `experiment`, its name; and `experiment_id`, if MLFLOW_EXPERIMENT_ID names it. Empty: none is named.

    Raises:
        UserError: MLflow accepts no such name, or a SQLite store lacks the id. The delivery asks a server for it later.
    """
    key, experiment_id = "tracking.experiment", None
    if name is None:
        key = EXPERIMENT_VARIABLE
        name, experiment_id = os.environ.get(EXPERIMENT_VARIABLE) or None, os.environ.get(ID_VARIABLE) or None
    if name is not None and (not name.strip() or not name.isprintable() or len(name) > MAX_NAME_LENGTH):
        shown = name if len(name) < 80 else f"{name[:80]}…"
        raise LocatedError(key, f"{shown!r}: choose a name of 1 to {MAX_NAME_LENGTH} printable characters")
    if not experiment_id:
        return {"experiment": name} if name else {}
    database = find_sqlite_file(uri)
    stored_name = None if database is None else _read_experiment_name(database, experiment_id, uri)
    if None not in (stored_name, name) and stored_name != name:
        raise UserError(
            f"{ID_VARIABLE}={experiment_id}: that experiment is {stored_name}, but {EXPERIMENT_VARIABLE}={name}; "
            "unset one of them"
        )
    return {"experiment": name or stored_name, "experiment_id": experiment_id}


def _find_problem(uri: str) -> str | None:
    """Why no record can be delivered to a store; None: no reason is known before the delivery."""
    if not uri.isprintable() or uri != uri.strip():
        return "a URI can't hold line breaks, other control characters, or spaces at its ends"
    if MASK in uri:
        return f"its credentials are not saved. Give the whole URI by {URI_VARIABLE} or tracking.uri."
    scheme = re.match(r"([A-Za-z][A-Za-z0-9+.-]*):", uri)
    kind = scheme[1].partition("+")[0].lower() if scheme else uri
    if kind == "sqlite":
        return _find_sqlite_problem(uri)
    if kind in (*SERVERS, *DATABASES):
        return _find_host_problem(uri, kind)
    if kind in DATABRICKS or kind in _plugin_schemes():
        return None
    if kind == "file" or scheme is None:
        allowed = os.environ.get(FILES_VARIABLE, "").lower() in ("true", "1")
        return None if allowed else f"MLflow keeps no records in plain folders, unless {FILES_VARIABLE}=true is set"
    return f"MLflow has no such store; allowed: {', '.join([*SERVERS, *DATABASES, *DATABRICKS])}"


def _find_host_problem(uri: str, kind: str) -> str | None:
    try:
        address = urlsplit(uri)
        host = None if address.port == 0 else address.hostname
    except ValueError:
        return "it can't be read; in a user or a password write @ : / ? # as %40 %3A %2F %3F %23"
    by_socket = kind in DATABASES and uri.partition(":")[2].startswith("///")  # a database on this machine
    return None if host or by_socket else f"write {kind}://HOST"


def _find_sqlite_problem(uri: str) -> str | None:
    database = find_sqlite_file(uri)
    if database is None:
        if "///file:" in uri:
            return None
        return "write sqlite:///FILE; a database in memory would be lost at the end of its process"
    if not database.parent.is_dir():
        return f"there is no folder {database.parent}; create it, or choose another `tracking.uri`"
    if not os.access(database.parent, os.W_OK | os.X_OK):  # SQLite writes beside the database too
        other = "tracking.uri=sqlite:////OTHER_FOLDER/mlflow.db, or tracking=none to record nothing"
        return f"the folder {database.parent} allows no new file; allow it, or set {other}"
    return f"{database} is a folder; name a file in it" if database.is_dir() else None


def _plugin_schemes() -> set[str]:
    return {point.name for point in importlib.metadata.entry_points(group=PLUGINS)}


def _check_joined_run(uri: str) -> None:
    """Raises UserError if a SQLite store lacks the run that MLFLOW_RUN_ID names. The delivery asks a server later."""
    run_id, database = os.environ.get(RUN_VARIABLE), find_sqlite_file(uri)
    if not run_id or database is None:
        return
    if not database.exists() or not _has_run(database, run_id):
        raise UserError(
            f"{RUN_VARIABLE}={run_id}: {mask_uri(uri)} has no such run; unset it, or name one of `mlflow runs list`"
        )


def _has_run(database: Path, run_id: str) -> bool:
    """Whether a database has a run. True if it can't be read now, since the delivery checks it again."""
    query = "SELECT 1 FROM runs WHERE run_uuid = ? AND lifecycle_stage = 'active'"
    with suppress(sqlite3.Error), closing(sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True)) as connection:
        return connection.execute(query, (run_id,)).fetchone() is not None
    return True


def _read_experiment_name(database: Path, experiment_id: str, uri: str) -> str | None:
    """The name of an experiment. None: the database can't be read now, and the delivery checks it again."""
    query = "SELECT name FROM experiments WHERE experiment_id = ? AND lifecycle_stage = 'active'"
    row = None
    if database.exists():
        try:
            with closing(sqlite3.connect(f"{database.absolute().as_uri()}?mode=ro", uri=True)) as connection:
                row = connection.execute(query, (experiment_id,)).fetchone()
        except sqlite3.Error:
            return None
    elif experiment_id == FIRST_ID:
        return FIRST_NAME
    if row is None:
        raise UserError(
            f"{ID_VARIABLE}={experiment_id}: {mask_uri(uri)} has no such experiment; unset it, or name one of "
            "`mlflow experiments search`"
        )
    return str(row[0])
