"""The URI of the MLflow store: which URI is used, and the file of a SQLite store. MLflow is not imported here."""

from __future__ import annotations

import os
import re
import shlex
import sqlite3
from contextlib import closing
from pathlib import Path

from components.types import UserError
from runner.credentials import MASK, URI_VARIABLE, mask_uri, reveal


def resolve_store_uri(uri: str | None) -> str:
    """The whole URI of the store, with the absolute path of a SQLite file.

    Args:
        uri: `tracking.uri`; None: the environment's, or else `sqlite:///mlflow.db`.
    """
    whole = reveal(uri or os.environ.get(URI_VARIABLE) or "sqlite:///mlflow.db")
    database = find_sqlite_file(whole)
    return whole if database is None else format_sqlite_uri(database.absolute(), whole)


def check_recorded_uri(uri: object, given: str | None) -> str:
    """The whole URI of the store that a run's record names.

    A run folder may come from somebody else, and a server receives this user's credentials. So a record's store is
    used only if the user names it too, or if it is an existing SQLite store.

    Args:
        uri: the URI in the record.
        given: `tracking.uri` of the user's command; None: the environment's.

    Raises:
        UserError: nothing may be sent to that store.
    """
    if not isinstance(uri, str):
        raise UserError(f"record.json is damaged: its tracking.uri is {uri!r}, not the URI of a store")
    if is_named_by_user(uri, given):
        return resolve_store_uri(given)
    shown = uri if uri.isprintable() else repr(uri)
    if (database := find_sqlite_file(uri)) is None:
        if MASK in uri:
            remedy = f"its credentials aren't kept; give the whole URI, by {URI_VARIABLE} or tracking.uri"
        else:
            remedy = f"to allow it, write tracking.uri={shown} in the same command, or set {URI_VARIABLE} to it"
        raise UserError(f"only the record names {shown}, so nothing was sent there; {remedy}")
    if not database.parent.is_dir():
        raise UserError(f"there is no folder {database.parent}")
    if not _is_mlflow_store(database):
        raise UserError(f"{database} is no MLflow store, and a record alone makes none; tracking.uri={shown} makes it")
    return uri


def is_named_by_user(uri: str, given: str | None) -> bool:
    """Whether the user's command (`given`) or environment names the store of a record too."""
    return uri.rstrip("/") == mask_uri(resolve_store_uri(given)).rstrip("/")


def find_sqlite_file(uri: str) -> Path | None:
    """The file of a SQLite store; None for other stores, and for a database in memory."""
    found = re.fullmatch(r"sqlite(?:\+\w+)?:///(?!file:|:memory:)(.+)", uri, re.DOTALL)
    if found is None:
        return None
    if not {"%", "?"} & {*uri}:  # the usual case: it avoids importing SQLAlchemy, which takes half a second
        return Path(os.path.expanduser(found[1]))
    from sqlalchemy.engine import make_url

    return Path(os.path.expanduser(make_url(uri).database or ""))


def format_sqlite_uri(database: Path, like: str = "sqlite:///") -> str:
    """The URI of a SQLite file, with the driver and the query of the URI `like`."""
    driver, (_, sign, query) = like.partition("///")[0], like.partition("?")
    return f"{driver}///{encode_sqlite_path(str(database))}{sign}{query}"


def format_view_command(uri: str) -> str:
    """How to view a store: the command of MLflow's own server for a database, or the address of a server."""
    if "sql" not in uri.partition(":")[0]:
        return uri
    if uri == format_sqlite_uri(Path.cwd() / "mlflow.db"):
        return "mlflow ui"
    return f"mlflow ui --backend-store-uri {shlex.quote(uri)}"


def _is_mlflow_store(database: Path) -> bool:
    """Whether a file has MLflow's tables. True for a file that can't be read now, such as a locked one."""
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
    """Encodes the characters of a path that have a meaning in SQLAlchemy's URIs."""
    return path.replace("%", "%25").replace("?", "%3F")
