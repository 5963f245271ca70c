"""Opening databases for reading, and their errors in plain words. SQLAlchemy is imported only when it is used."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, NamedTuple, cast
from urllib.parse import quote

from components.closest import join_names, suggest_name
from components.input_files import find_path
from components.types import DataError

if TYPE_CHECKING:
    import sqlalchemy

EXAMPLES = "sqlite:///shop.db or postgresql://host/shop"
MAX_SHOWN = 60  # characters of a query in a message


class Driver(NamedTuple):
    """How a kind of database is opened.

    Attributes:
        name: the name of the dialect and the driver in SQLAlchemy.
        package: what to install for it. "": it is always there.
        extra: the extra of Titrate that has the package.
        options: SQLAlchemy's options of a connection that can't write.
        arguments: the driver's arguments of a connection that can't write.
        statement: a statement that forbids to write.
    """

    name: str
    package: str = ""
    extra: str = ""
    options: Mapping[str, Any] = {}
    arguments: Mapping[str, Any] = {}
    statement: str = ""


MYSQL = Driver("mysql+pymysql", "pymysql", "mysql", statement="SET TRANSACTION READ ONLY")
DRIVERS = {
    "sqlite": Driver("sqlite"),
    "duckdb": Driver("duckdb", "duckdb-engine", "duckdb", arguments={"read_only": True}),
    "postgresql": Driver("postgresql+psycopg", "psycopg[binary]", "postgresql", options={"postgresql_readonly": True}),
    "mysql": MYSQL,
    "mariadb": MYSQL._replace(name="mariadb+pymysql"),
}
"""The drivers by the first word of a URI. Those of other databases are SQLAlchemy's defaults."""
IN_FILES = ("sqlite", "duckdb")  # databases that are files
MEMORY = (None, "", ":memory:")  # names of databases in memory

READING = ("select", "with", "values", "from", "table")  # the first words of statements that only read
BLANKS = re.compile(r"(?:\s|\(|--[^\n]*(?:\n|$)|/\*.*?\*/)*", re.DOTALL)  # before the first word of a statement
SECRET = r"\w*(?:password|passwd|pwd|secret|token|access_key)\w*"  # the name of a parameter
PASSWORD = re.compile(rf"://[^\s/:@'\"]*:[^\s@'\"]+@|'[^']*\b{SECRET}=[^\s'&]", re.IGNORECASE)  # in a URI, or in a text


def is_statement(query: str) -> bool:
    """Whether a text is a statement that reads, and not the name of a table."""
    words = query[cast(re.Match[str], BLANKS.match(query)).end() :].split(maxsplit=1)
    return len(words) > 1 and words[0].lower().partition("(")[0] in READING


def select_table(connection: sqlalchemy.Connection, name: str, database: str) -> str:
    """A statement for all rows of a table. Raises DataError if there is no such table."""
    import sqlalchemy

    inspector = sqlalchemy.inspect(connection)
    found = _list_tables(inspector, None)
    schema, table = None, name
    if name not in found and "." in name:
        schema, _, table = name.rpartition(".")
        found = [f"{schema}.{each}" for each in _list_tables(inspector, schema)] or found
    if name not in found:
        if len(name.split()) > 1:
            raise DataError(
                f"`query` (={name[:MAX_SHOWN]}…) isn't a statement that only reads. It must start with select, with, "
                "values, from or table; or it is the name of a table."
            )
        raise DataError(f"{database} has no table `{name}`. {suggest_name(name, found)}")
    quoting = connection.dialect.identifier_preparer
    place = ".".join(quoting.quote_identifier(each) for each in (schema, table) if each)
    try:
        keys = inspector.get_pk_constraint(table, schema)["constrained_columns"]
    except (sqlalchemy.exc.SQLAlchemyError, NotImplementedError):  # of DuckDB, for example
        connection.rollback()
        keys = []
    order = f" order by {', '.join(map(quoting.quote_identifier, keys))}" if keys else ""
    return f"select * from {place}{order}"


def _list_tables(inspector: sqlalchemy.Inspector, schema: str | None) -> list[str]:
    return [*inspector.get_table_names(schema), *inspector.get_view_names(schema)]


def suggest_table(engine: sqlalchemy.Engine, message: str) -> str:
    """A hint for an error about a table that doesn't exist. "": the error is another one."""
    import sqlalchemy

    if not re.search(r"no such table|does not exist|doesn't exist", message):
        return ""
    with suppress(sqlalchemy.exc.SQLAlchemyError):
        return f". Tables: {join_names(_list_tables(sqlalchemy.inspect(engine), None))}"
    return ""


def parse_uri(uri: str) -> sqlalchemy.URL:
    """The parts of a URI. Raises DataError without the URI, since the place of its password is unknown."""
    import sqlalchemy

    try:
        url = sqlalchemy.make_url(uri)
    except (sqlalchemy.exc.ArgumentError, ValueError):
        raise DataError(
            f"`uri` can't be read. Write it as {EXAMPLES}, with user:password@ before the host where it is needed; in "
            "these, write @ : / ? # as %40 %3A %2F %3F %23."
        ) from None  # its message may have a part of the password
    if url.drivername == "postgres":
        url = url.set(drivername="postgresql")
    backend = url.get_backend_name()
    if backend in IN_FILES and url.host:
        raise DataError(f"`uri`: the name of a file follows three slashes. Write {backend}:///{url.host}")
    return url.set(drivername=DRIVERS[backend].name) if url.drivername in DRIVERS else url


def name_database(url: sqlalchemy.URL) -> str:
    """The name of a database for messages, without the user and the password."""
    if url.get_backend_name() in IN_FILES:
        return "a database in memory" if url.database in MEMORY else str(url.database)
    return f"{url.host or 'localhost'}/{url.database or ''}"


def make_engine(url: sqlalchemy.URL) -> sqlalchemy.Engine:
    """Opens a database for reading. Raises DataError if there is no file, or no driver."""
    import sqlalchemy

    backend, arguments = url.get_backend_name(), dict[str, Any]()
    driver = DRIVERS.get(backend, Driver(url.drivername))
    if backend in IN_FILES and url.database not in MEMORY:
        path, arguments = str(find_path(str(url.database), file=True)), dict(driver.arguments)
        if backend == "sqlite":
            query = {**url.query, "mode": "ro", "uri": "true"}
            url = url.set(database=f"file:{quote(path)}", query=query)
        else:
            url = url.set(database=path)
    try:
        return sqlalchemy.create_engine(url, poolclass=sqlalchemy.NullPool, connect_args=arguments)
    except (sqlalchemy.exc.NoSuchModuleError, ImportError) as error:
        package = driver.package or getattr(error, "name", None)
        if package is not None:
            by_extra = f"uv sync --inexact --extra {driver.extra}, or " if driver.extra else "uv "
            raise DataError(
                f"a database of {backend} needs the package {package}. Install it: {by_extra}pip install '{package}'"
            ) from error
        raise DataError(
            f"`uri`: there is no driver for a database of `{url.drivername}`. {suggest_name(backend, DRIVERS)} For "
            "others, install their package for SQLAlchemy."
        ) from error


@contextmanager
def explain_errors(url: sqlalchemy.URL, failure: str, hint: Callable[[str], str] = lambda _: "") -> Iterator[None]:
    """Errors of a database become DataError with its message.

    Args:
        url: the database.
        failure: what fails, which starts the message.
        hint: what follows the message.
    """
    import sqlalchemy

    try:
        yield
    except sqlalchemy.exc.SQLAlchemyError as error:
        cause = error.orig if isinstance(error, sqlalchemy.exc.DBAPIError) else error
        lines = str(cause.args[-1] if cause is not None and cause.args else cause).strip().splitlines()
        message = lines[0].strip().rstrip(".") if lines else type(cause).__name__
        private = [str(value) for name, value in url.query.items() if re.fullmatch(SECRET, name, re.IGNORECASE)]
        for secret in filter(None, (url.password, quote(url.password or ""), *private)):
            message = re.sub(rf"(?<!\w){re.escape(secret)}(?!\w)", "***", message)
        remedy = hint(message)
        if re.search("is locked|set lock|lock timeout", message):
            remedy = ". Another program uses it: wait until it has finished"
            remedy += ", or wait longer by `?timeout=60` (seconds) in the URI" if url.drivername == "sqlite" else ""
        raise DataError(f"{failure}: {message}{remedy}.") from None  # its message may have the password
