"""The URI of the MLflow store. MLflow is not imported."""

from __future__ import annotations

import os
import re
import shlex
import sqlite3
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit

from components.types import UserError
from components.uri_mask import MASK, mask_uri
from runner.credentials import URI_VARIABLE, reveal

PORT_VARIABLE, DEFAULT_PORT = "MLFLOW_PORT", "5000"  # of `mlflow ui`


def resolve_store_uri(uri: str | None) -> str:
    """The URI of the store, with credentials and with the absolute path of a SQLite file.

    Args:
        uri: `tracking.uri`; None: the environment variable is used, or else `sqlite:///mlflow.db`.
    """
    revealed = reveal(uri or os.environ.get(URI_VARIABLE) or "sqlite:///mlflow.db")
    database = find_sqlite_file(revealed)
    return revealed if database is None else format_sqlite_uri(database.absolute(), revealed)


def check_recorded_uri(recorded_uri: object, uri: str | None) -> str:
    """Checks the store that a run's record names, and returns its URI with credentials.

    A run folder may come from somebody else, and the user's credentials would be sent to a server that it names. So the
    store must be named by the user, too, or be an existing SQLite store.

    Args:
        recorded_uri: the URI in the record.
        uri: `tracking.uri` of the user's command; None: the environment variable is used.

    Raises:
        UserError: the store is not allowed.
    """
    if not isinstance(recorded_uri, str):
        raise UserError(f"record.json is damaged: its tracking.uri is {recorded_uri!r}, not the URI of a store")
    if is_named_by_user(recorded_uri, uri):
        return resolve_store_uri(uri)
    shown = recorded_uri if recorded_uri.isprintable() else repr(recorded_uri)
    if (database := find_sqlite_file(recorded_uri)) is None:
        if MASK in recorded_uri:
            remedy = f"Its credentials are not saved. Give the whole URI by {URI_VARIABLE} or tracking.uri."
        else:
            remedy = f"To allow it, add tracking.uri={shown} to the command, or set {URI_VARIABLE} to it."
        raise UserError(f"only the record names the store {shown}, so nothing was sent to it. {remedy}")
    if not database.parent.is_dir():
        raise UserError(f"there is no folder {database.parent}")
    if not _is_mlflow_store(database):
        remedy = f"To create it, add tracking.uri={shown} to the command."
        raise UserError(f"{database} is not an MLflow store, and only the record names it. {remedy}")
    return recorded_uri


def is_named_by_user(recorded_uri: str, uri: str | None) -> bool:
    """Whether `tracking.uri` of the command, or the environment variable if it is None, names the store of a record."""
    return recorded_uri.rstrip("/") == mask_uri(resolve_store_uri(uri)).rstrip("/")


def find_sqlite_file(uri: str) -> Path | None:
    """The file of a SQLite store; None for other stores and for a database in memory."""
    match = re.fullmatch(r"sqlite(?:\+\w+)?:///(?!file:|:memory:)(.+)", uri, re.DOTALL)
    if match is None:
        return None
    if not {"%", "?"} & {*uri}:  # usually, so that SQLAlchemy, which takes half a second, is not imported
        return Path(os.path.expanduser(match[1]))
    from sqlalchemy.engine import make_url

    return Path(os.path.expanduser(make_url(uri).database or ""))


def format_sqlite_uri(database: Path, template: str = "sqlite:///") -> str:
    """The URI of a SQLite file, with the driver and the query of another URI."""
    driver = template.partition("///")[0]
    _, question_mark, query = template.partition("?")
    return f"{driver}///{encode_sqlite_path(str(database))}{question_mark}{query}"


def format_view_command(uri: str) -> str:
    """The command that shows a store in MLflow's user interface, or the address if the store is a server."""
    if "sql" not in uri.partition(":")[0]:
        return uri
    if uri == format_sqlite_uri(Path.cwd() / "mlflow.db"):
        return "mlflow ui"
    return f"mlflow ui --backend-store-uri {shlex.quote(uri)}"


def format_run_link(uri: str, experiment_id: str, run_id: str) -> str | None:
    """The address of a run's page in MLflow's user interface; None: it has none, or it is not known.

    The page of a local store is that of `mlflow ui`, on the port of MLflow's variable or its usual one. `workflowType`
    opens the pages for training: MLflow shows those for language models otherwise.
    """
    if "sql" in uri.partition(":")[0]:
        server = f"http://127.0.0.1:{os.environ.get(PORT_VARIABLE) or DEFAULT_PORT}"
    elif uri.startswith(("http://", "https://")):
        address = urlsplit(uri)
        server = f"{address.scheme}://{address.netloc.rpartition('@')[2]}{address.path.rstrip('/')}"  # no credentials
    else:
        return None
    return f"{server}/#/experiments/{experiment_id}/runs/{run_id}?workflowType=machine_learning"


def _is_mlflow_store(database: Path) -> bool:
    """Whether a file has MLflow's tables. True for a file that can't be read now, such as a locked file."""
    if not database.is_file():
        return False
    try:
        with closing(sqlite3.connect(f"{database.absolute().as_uri()}?mode=ro", uri=True)) as connection:
            return connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'experiments'").fetchone() is not None
    except sqlite3.OperationalError:
        return True
    except sqlite3.Error:
        return False


def encode_sqlite_path(path: str) -> str:
    """Encodes the characters of a path that have a special meaning in SQLAlchemy's URIs."""
    return path.replace("%", "%25").replace("?", "%3F")
