"""Which store and which experiment of it a record goes to, checked before the run without importing MLflow."""

from __future__ import annotations

import importlib.metadata
import os
import re
import sqlite3
from contextlib import closing, suppress
from pathlib import Path
from urllib.parse import urlsplit

from components.types import UserError
from runner.credentials import MASK, URI_VARIABLE, mask_uri
from runner.errors import LocatedError
from runner.store_uri import find_sqlite_file, resolve_store_uri
from runner.tracking.identity import RUN_VARIABLE

EXPERIMENT_VARIABLE, EXPERIMENT = "MLFLOW_EXPERIMENT_NAME", "titrate"
ID_VARIABLE = "MLFLOW_EXPERIMENT_ID"
DEFAULT_ID, DEFAULT = "0", "Default"  # of the experiment that MLflow makes with a store
LONGEST_EXPERIMENT = 500  # characters that MLflow takes
FILES_VARIABLE = "MLFLOW_ALLOW_FILE_STORE"
SERVERS, DATABASES = ("http", "https"), ("sqlite", "postgresql", "mysql", "mssql")
PLUGINS = "mlflow.tracking_store"  # the entry points of others
DATABRICKS = ("databricks", "databricks-uc", "uc")


def check_store(uri: str | None) -> str:
    """The same; raises UserError where no record can go there."""
    whole = resolve_store_uri(uri)
    if problem := _problem(whole):
        shown = mask_uri(whole) if whole.isprintable() else repr(mask_uri(whole))
        set_by = URI_VARIABLE if os.environ.get(URI_VARIABLE) else "the working folder"
        raise LocatedError("tracking.uri" if uri else set_by, f"{shown}: {problem}")
    _check_run(whole)
    return whole


def choose_experiment(name: str | None, uri: str) -> dict[str, str | None]:
    """The experiment of a store: its name, and its id where only the environment names one, by MLFLOW_EXPERIMENT_ID.

    Raises UserError where MLflow takes no such name, or where a SQLite store lacks the id; a server is asked later.
    """
    key, found, number = "tracking.experiment", name, None
    if found is None:
        key, found, number = (
            EXPERIMENT_VARIABLE,
            *(os.environ.get(one) or None for one in (EXPERIMENT_VARIABLE, ID_VARIABLE)),
        )
    if found is not None and (not found.strip() or not found.isprintable() or len(found) > LONGEST_EXPERIMENT):
        shown = found if len(found) < 80 else f"{found[:80]}…"
        raise LocatedError(key, f"{shown!r}: choose a name of 1 to {LONGEST_EXPERIMENT} printable characters")
    if not number:
        return {"experiment": found or EXPERIMENT}
    database = find_sqlite_file(uri)
    own = None if database is None else _experiment_name(database, number, uri)
    if None not in (own, found) and own != found:
        raise UserError(
            f"{ID_VARIABLE}={number}: that experiment is {own}, but {EXPERIMENT_VARIABLE}={found}; unset one of them"
        )
    return {"experiment": found or own, "experiment_id": number}


def _problem(uri: str) -> str | None:
    """Why no record can go to a store; None where nothing is known to hinder it."""
    if not uri.isprintable() or uri != uri.strip():
        return "no URI holds line breaks, other control characters, or spaces at its ends"
    if MASK in uri:
        return f"its credentials aren't kept; give the whole URI, by {URI_VARIABLE} or tracking.uri"
    scheme = re.match(r"([A-Za-z][A-Za-z0-9+.-]*):", uri)
    kind = scheme[1].partition("+")[0].lower() if scheme else uri
    if kind == "sqlite":
        return _sqlite_problem(uri)
    if kind in (*SERVERS, *DATABASES):
        return _host_problem(uri, kind)
    if kind in DATABRICKS or kind in _plugins():
        return None
    if kind == "file" or scheme is None:
        allowed = os.environ.get(FILES_VARIABLE, "").lower() in ("true", "1")
        return None if allowed else f"MLflow keeps no records in plain folders, unless {FILES_VARIABLE}=true is set"
    return f"MLflow has no such store; allowed: {', '.join([*SERVERS, *DATABASES, *DATABRICKS])}"


def _host_problem(uri: str, kind: str) -> str | None:
    try:
        found = urlsplit(uri)
        host = found.hostname if found.port is None or found.port else None
    except ValueError:
        return "it can't be read; in a user or a password write @ : / ? # as %40 %3A %2F %3F %23"
    local = kind in DATABASES and uri.partition(":")[2].startswith("///")  # by a socket of this machine
    return None if host or local else f"write {kind}://HOST"


def _sqlite_problem(uri: str) -> str | None:
    database = find_sqlite_file(uri)
    if database is None:
        return (
            None if "///file:" in uri else "write sqlite:///FILE; a database in memory would be gone with its process"
        )
    if not database.parent.is_dir():
        return f"there is no folder {database.parent}; make it, or choose another `tracking.uri`"
    return f"{database} is a folder; name a file in it" if database.is_dir() else None


def _plugins() -> set[str]:
    return {point.name for point in importlib.metadata.entry_points(group=PLUGINS)}


def _check_run(uri: str) -> None:
    """Raises UserError where a SQLite store lacks the run that MLFLOW_RUN_ID names; a server is asked later."""
    run_id, database = os.environ.get(RUN_VARIABLE), find_sqlite_file(uri)
    if not run_id or database is None:
        return
    if not database.exists() or not _has_run(database, run_id):
        raise UserError(
            f"{RUN_VARIABLE}={run_id}: {mask_uri(uri)} has no such run; unset it, or name one of `mlflow runs list`"
        )


def _has_run(database: Path, run_id: str) -> bool:
    with suppress(sqlite3.Error), closing(sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True)) as connection:
        found = connection.execute("SELECT 1 FROM runs WHERE run_uuid = ? AND lifecycle_stage = 'active'", (run_id,))
        return found.fetchone() is not None
    return True  # it can't be read now: the delivery will tell


def _experiment_name(database: Path, number: str, uri: str) -> str | None:
    """The name of the experiment of an id; None where that can't be read now, so that the delivery will tell."""
    query = "SELECT name FROM experiments WHERE experiment_id = ? AND lifecycle_stage = 'active'"
    found = None
    if database.exists():
        try:
            with closing(sqlite3.connect(f"{database.absolute().as_uri()}?mode=ro", uri=True)) as connection:
                found = connection.execute(query, (number,)).fetchone()
        except sqlite3.Error:
            return None
    elif number == DEFAULT_ID:
        return DEFAULT  # which every new store has
    if found is None:
        raise UserError(
            f"{ID_VARIABLE}={number}: {mask_uri(uri)} has no such experiment; unset it, or name one of "
            "`mlflow experiments search`"
        )
    return str(found[0])
