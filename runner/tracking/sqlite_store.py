"""Prepares the SQLite file of a store for MLflow: creates it, checks that it can be written, enables WAL mode."""

from __future__ import annotations

import atexit
import fcntl
import functools
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from runner.store_uri import encode_sqlite_path, format_sqlite_uri

LOCK_SECONDS = 5.0  # the longest wait for a file that another process has locked; MLflow would wait for 20 s


@contextmanager
def prepared_database(uri: str, database: Path) -> Iterator[str]:
    """Creates the file if it is missing or empty, and checks that it can be written. Other processes wait meanwhile.

    Args:
        uri: the URI of the store.
        database: its SQLite file.

    Yields:
        The URI for MLflow.

    Raises:
        OSError, sqlite3.Error: the file can't be created or written.
    """
    with _creation_lock(database):
        if not database.exists() or not database.stat().st_size:
            _create_database(database)
        _check_writable(database)
        _enable_wal(database)
        yield _format_mlflow_uri(uri, database)


@contextmanager
def _creation_lock(database: Path) -> Iterator[None]:
    """Locks a database while it is created: MLflow fails if two processes create its tables at the same time."""
    if not database.parent.is_dir():
        raise FileNotFoundError(f"there is no folder {database.parent}")
    with database.with_name(f"{database.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _create_database(database: Path) -> None:
    """Creates MLflow's tables in a temporary file, then renames it, so that a full disk leaves no damaged store."""
    from mlflow.store.db.utils import _initialize_tables, create_sqlalchemy_engine

    temporary = database.with_name(f".{database.name}.new")
    for path in (temporary, Path(f"{temporary}-journal")):
        path.unlink(missing_ok=True)  # of a process that was killed
    try:
        engine = create_sqlalchemy_engine(_format_mlflow_uri(format_sqlite_uri(temporary), temporary))
        try:
            _initialize_tables(engine)
        finally:
            engine.dispose()
        temporary.replace(database)
    finally:
        temporary.unlink(missing_ok=True)


def _check_writable(database: Path) -> None:
    """Raises a one-line error for a locked or read-only file. MLflow would wait, then print a hundred lines."""
    with closing(sqlite3.connect(database, timeout=LOCK_SECONDS, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("ROLLBACK")


def _enable_wal(database: Path) -> None:
    """Switches to WAL mode, in which processes may read while another one writes, unless the file is in use.

    The file stores the mode, so one success suffices.
    """
    connection = sqlite3.connect(database, timeout=LOCK_SECONDS, isolation_level=None)
    with closing(connection), suppress(sqlite3.OperationalError):
        connection.execute("PRAGMA journal_mode=WAL")


def _format_mlflow_uri(uri: str, database: Path) -> str:
    """The URI of a database as MLflow can read it.

    MLflow does not decode the path of a SQLite URI: for `/a%3Fb/x.db` it would create a folder `a%3Fb`. So if the path
    has characters that a URI encodes, the URI has a link to the folder: `/tmp/titrate_1234/store/x.db`.
    """
    folder = database.parent.absolute()
    if encode_sqlite_path(str(folder)) == str(folder):
        return uri
    return format_sqlite_uri(_link_to(folder) / database.name, template=uri)


@functools.cache
def _link_to(folder: Path) -> Path:
    """A link to a folder, which is removed when this process ends."""
    parent = Path(tempfile.mkdtemp(prefix="titrate_"))
    atexit.register(shutil.rmtree, parent, ignore_errors=True)
    link = parent / "store"
    link.symlink_to(folder)
    return link
