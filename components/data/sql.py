"""The source for tables in databases. SQLAlchemy is imported only when a database is read."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from functools import cached_property, partial
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple, NoReturn, cast
from urllib.parse import quote
from uuid import UUID

from components.arrow import convert_column
from components.closest import join_names, suggest_name
from components.data.column_store import SpooledColumns
from components.data.csv.errors import format_setting
from components.data.table_file import StoredTable
from components.data.typed_table import format_decimal, format_texts
from components.input_files import find_path
from components.types import DataError, Range, Remedy

if TYPE_CHECKING:
    import pyarrow
    import sqlalchemy

URI_VARIABLE = "TITRATE_DATA_URI"
BATCH_CELLS = 200_000  # of a batch of rows
BATCH_ROWS = 10_000
EXAMPLES = "sqlite:///shop.db or postgresql://me:password@host/shop"


class Driver(NamedTuple):
    """How a kind of database is opened.

    Attributes:
        name: the name of the dialect and the driver in SQLAlchemy.
        package: what to install for it. "": it is always there.
        options: SQLAlchemy's options of a connection that can't write.
        arguments: the driver's arguments of a connection that can't write.
        statement: a statement that forbids to write.
    """

    name: str
    package: str = ""
    options: Mapping[str, Any] = {}
    arguments: Mapping[str, Any] = {}
    statement: str = ""


MYSQL = Driver("mysql+pymysql", "pymysql", statement="SET TRANSACTION READ ONLY")
DRIVERS = {
    "sqlite": Driver("sqlite"),
    "duckdb": Driver("duckdb", "duckdb-engine", arguments={"read_only": True}),
    "postgresql": Driver("postgresql+psycopg", "psycopg[binary]", options={"postgresql_readonly": True}),
    "mysql": MYSQL,
    "mariadb": MYSQL._replace(name="mariadb+pymysql"),
}
"""The drivers by the first word of a URI. Those of other databases are SQLAlchemy's defaults."""
IN_FILES = ("sqlite", "duckdb")  # databases that are files
MEMORY = (None, "", ":memory:")  # names of databases in memory

READING = ("select", "with", "values", "from", "table")  # the first words of statements that only read
BLANKS = re.compile(r"(?:\s|\(|--[^\n]*(?:\n|$)|/\*.*?\*/)*", re.DOTALL)  # before the first word of a statement
PASSWORD = re.compile(r"://[^\s/:@'\"]*:[^\s/@'\"]+@")  # in a URI
MAX_SHOWN = 60  # characters of a value in a message

PLAIN_TIME, ZONED_TIME = "time without a zone", "time with a zone"
KINDS: dict[type, str] = {
    int: "int",
    float: "float",
    bool: "bool",
    str: "text",
    bytes: "bytes",
    date: "date",
    datetime: PLAIN_TIME,
    time: "time of a day",
    timedelta: "duration",
    list: "list",
}
"""The kinds of columns by the types of their values."""
PLAIN_TYPES = {*KINDS, type(None)}
JOINED = {frozenset(("int", "float")): "float", frozenset(("date", PLAIN_TIME)): PLAIN_TIME}
"""The kind of a column whose values have two kinds. Other kinds can't be in one column."""
FORMATTED = {*KINDS.values(), ZONED_TIME} - {"bytes", "duration", "list"}
"""The kinds of values that can be texts."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Sql(StoredTable):
    """A table in a database, or the result of a query.

    Columns of numbers, booleans and times keep their type, unless `types` lists them. Texts are read as in CSV files:
    as numbers, times or booleans where all are such. More than 256 MB of rows are kept in a temporary file. Nothing is
    written to the database. The rows have the order of the query: without `order by`, a database may change it, and
    then other rows are in the splits. The rows of a table have the order of its primary key.

    Attributes:
        uri: the database, as SQLAlchemy writes it: `sqlite:///shop.db`, `duckdb:///shop.duckdb`,
            `postgresql://me:password@host/shop`, `mysql://…`. A file is looked up below $TITRATE_DATA, then below the
            working folder. A user and a password are never recorded. None: $TITRATE_DATA_URI.
        query: a statement that returns rows, such as `select * from orders order by id`; or the name of a table.
        valid: the share of the validation split in (0, 1), or a count from 1. None: 0.15.
        test: the rows of the test split, likewise. None: 0.15; with `split_by` 0.2.
    """

    uri: str | None = field(default=None, repr=False)
    query: str
    valid: Annotated[float, Range(0, bounds="()")] | None = None
    test: Annotated[float, Range(0, bounds="()")] | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if PASSWORD.search(self.query):
            raise DataError("`query` has a password, which would be recorded. Leave it out; `uri` may have one.")

    def __repr__(self) -> str:
        return f"Sql({self.label})"

    @property
    def _whole_uri(self) -> str:
        if (uri := self.uri or os.environ.get(URI_VARIABLE)) is None:
            raise DataError(f"`uri` is missing, the database to read. Write it as {EXAMPLES}, or set {URI_VARIABLE}.")
        return uri

    @cached_property
    def label(self) -> str:
        name = _name_database(_parse_uri(self._whole_uri))
        return f"the query of {name}" if is_statement(self.query) else f"{self.query} of {name}"

    @cached_property
    def _store(self) -> QueryResult:
        texts = [name for name, kind in self._declared_types.items() if kind == "string"]
        return QueryResult(self._whole_uri, self.query, self.label, texts)

    def content_digest(self) -> str:
        return self._content_digest


@dataclass(frozen=True, eq=False)
class QueryResult(SpooledColumns):
    """The rows that a query returns.

    Attributes:
        uri: the URI of the database.
        query: the query, or the name of a table.
        label: the name of the table for messages.
        texts: the columns whose values are converted to texts.
    """

    uri: str
    query: str
    label: str
    texts: Collection[str]

    @property
    def name(self) -> str:
        return self.label

    def read_batches(self) -> Iterator[pyarrow.RecordBatch]:
        url = _parse_uri(self.uri)
        database, backend = _name_database(url), url.get_backend_name()
        driver = DRIVERS.get(backend, Driver(url.drivername))
        with _explain_errors(url, f"{database} can't be opened"):
            engine = _make_engine(url)
            connection = engine.connect().execution_options(**driver.options)
        with ExitStack() as opened:
            opened.callback(connection.close)  # nothing is committed
            with _explain_errors(url, f"{database} can't be read"):
                if driver.statement:
                    connection.exec_driver_sql(driver.statement)
                statement = self.query if is_statement(self.query) else _select_table(connection, self.query, database)
            with _explain_errors(url, f"{self.label} fails", partial(_suggest_table, engine)):
                # Without parameters, % and : are characters of the statement.
                options = {"stream_results": True, "no_parameters": True}
                result = connection.execution_options(**options).exec_driver_sql(statement)
            opened.callback(result.close)
            names = [*result.keys()] if result.returns_rows else []
            if not names:
                raise DataError(f"{self.label} returns no columns. Write a `select` that names some.")
            if repeated := next((name for name in names if names.count(name) > 1), None):
                raise DataError(f"{self.label} has two columns `{repeated}`. Rename one by `as`, or leave it out.")
            columns = [_ColumnBuilder(self.label, name, name in self.texts) for name in names]
            batches, rows = result.partitions(max(min(BATCH_ROWS, BATCH_CELLS // len(names)), 1)), 0
            while True:
                with _explain_errors(url, f"{self.label} stops after {rows:,} rows"):
                    batch = next(batches, None)
                if batch is None:
                    return
                yield _make_batch(columns, batch, rows)
                self.errors.update({column.name: column.error for column in columns if column.error is not None})
                rows += len(batch)


def _make_batch(columns: Sequence[_ColumnBuilder], rows: Sequence[Any], first_row: int) -> pyarrow.RecordBatch:
    import pyarrow

    by_column = zip(columns, zip(*rows, strict=True), strict=True)
    arrays = [column.convert(values, first_row) for column, values in by_column]
    return pyarrow.record_batch(arrays, names=[column.name for column in columns])


class _ColumnBuilder:
    """Converts the values of a column from Python to Arrow, batch by batch. Its type never gets narrower.

    Args:
        label: the name of the table for messages.
        name: the name of the column.
        is_text: whether its values are converted to texts.
    """

    def __init__(self, label: str, name: str, is_text: bool) -> None:
        self.name = name
        self.error: DataError | None = None  # of the first value that can't be read
        self._label, self._is_text = label, is_text
        self._kind = ""  # "": all values are missing
        self._type: pyarrow.DataType | None = None  # of the last batch
        self._first: tuple[int, Any] | None = None  # the row of the first value that isn't missing, and the value

    def convert(self, values: Sequence[Any], first_row: int) -> pyarrow.Array:
        """Converts the values of some rows, of which `first_row` is the first. After an error, all are missing."""
        import pyarrow

        try:
            array = pyarrow.nulls(len(values), self._type) if self.error else self._convert(values, first_row)
        except DataError as error:
            self.error = error
            return self.convert(values, first_row)
        self._type = array.type
        return array

    def _convert(self, values: Sequence[Any], first_row: int) -> pyarrow.Array:
        if not {*map(type, values)} <= PLAIN_TYPES:
            values = [self._simplify(value, row) for row, value in enumerate(values, first_row)]
        kinds = _find_kinds(values)
        if self._is_text and kinds <= FORMATTED:
            values, kinds = self._format(values), {"text"} if kinds else set()
        if self._first is None and kinds:
            self._first = next((row, value) for row, value in enumerate(values, first_row) if value is not None)
        for kind in kinds:
            self._kind = _join_kinds(self._kind or kind, kind) or self._raise_conflict(values, first_row)
        return self._make_array(values, first_row)

    def _simplify(self, value: Any, row: int) -> Any:
        """A value of one of `PLAIN_TYPES`. Raises DataError if it has no meaning in a table."""
        if type(value) in PLAIN_TYPES:
            return value
        if isinstance(value, Decimal):
            if value.is_nan():
                return None
            if self._is_text:
                return format_decimal(value) if value.is_finite() else str(float(value))
            return int(value) if value.is_finite() and value == value.to_integral_value() else float(value)
        if isinstance(value, UUID):
            return str(value)
        if isinstance(value, memoryview | bytearray):
            return bytes(value)
        raise self._make_error(
            f"{_show(value)} in row {row}", "Take a number, a text or a time from it in the query, or `cast` it to text"
        )

    def _make_array(self, values: Sequence[Any], first_row: int) -> pyarrow.Array:
        import pyarrow

        if self._kind == "float":
            values = [value if value is None else float(value) for value in values]
        elif self._kind == PLAIN_TIME:
            values = [datetime.combine(value, time()) if type(value) is date else value for value in values]
        try:
            is_list = self._kind == "list"
            kind = _join_lists(self._type, pyarrow.array(values).type) if is_list else _make_type(self._kind)
            return pyarrow.array(values, kind)
        except OverflowError as error:
            row, value = next(
                (row, value) for row, value in enumerate(values, first_row) if value is not None and not _fits(value)
            )
            raise self._make_error(
                f"{_show(value)} in row {row}, which exceeds 64 bits", f"`cast` it in the query, {self._text_remedy}"
            ) from error
        except (pyarrow.ArrowException, TypeError, ValueError) as error:
            message = str(error).splitlines()[0]
            raise self._make_error(
                f"values that can't be read together: {message}", "`cast` it in the query"
            ) from error

    def _format(self, values: Sequence[Any]) -> list[Any]:
        """The values as texts, each as in a column of its own kind."""
        import pyarrow

        texts = [str(value) if type(value) is int else value for value in values]
        for kind in _find_kinds(texts) - {"text"}:
            rows = [row for row, value in enumerate(texts) if value is not None and _find_kind(value) == kind]
            column = pyarrow.chunked_array([pyarrow.array([texts[row] for row in rows], _make_type(kind))])
            for row, text in zip(rows, format_texts(self.name, *convert_column(self.name, column)), strict=True):
                texts[row] = text.as_py()
        return texts

    def _raise_conflict(self, values: Sequence[Any], first_row: int) -> NoReturn:
        """Raises DataError for the first value that can't be in one column with the first one of the column."""
        assert self._first is not None
        first, example = self._first
        row, value = next(
            (row, value)
            for row, value in enumerate(values, first_row)
            if value is not None and not _join_kinds(_find_kind(example), _find_kind(value))
        )
        remedy = f", {self._text_remedy}" if {_find_kind(example), _find_kind(value)} <= FORMATTED else ""
        raise self._make_error(
            f"{_show(example)} in row {first}, but {_show(value)} in row {row}", f"`cast` it in the query{remedy}"
        )

    @property
    def _text_remedy(self) -> str:
        setting = format_setting(self.name, Remedy("for text", "types", "string"))
        return f"or for text, set {setting}"

    def _make_error(self, fault: str, remedy: str) -> DataError:
        return DataError(f"{self._label}: column `{self.name}` has {fault}. {remedy}.")


def _find_kind(value: Any) -> str:
    return ZONED_TIME if type(value) is datetime and value.tzinfo is not None else KINDS[type(value)]


def _find_kinds(values: Sequence[Any]) -> set[str]:
    """The kinds of some values that aren't missing."""
    types = {*map(type, values)} - {type(None)}
    if datetime in types:
        return {_find_kind(value) for value in values if value is not None}
    return {KINDS[each] for each in types}


def _join_kinds(first: str, second: str) -> str:
    """The kind of a column that has values of two kinds. "": there is none."""
    return first if first == second else JOINED.get(frozenset((first, second)), "")


def _join_lists(first: pyarrow.DataType | None, second: pyarrow.DataType) -> pyarrow.DataType:
    import pyarrow

    schemas = [pyarrow.schema([("x", each)]) for each in (first, second) if each is not None]
    return pyarrow.unify_schemas(schemas, promote_options="permissive").field(0).type


def _make_type(kind: str) -> pyarrow.DataType:
    import pyarrow

    return {
        "": pyarrow.null(),
        "int": pyarrow.int64(),
        "float": pyarrow.float64(),
        "bool": pyarrow.bool_(),
        "text": pyarrow.large_string(),
        "bytes": pyarrow.large_binary(),
        "date": pyarrow.date32(),
        PLAIN_TIME: pyarrow.timestamp("us"),
        ZONED_TIME: pyarrow.timestamp("us", "UTC"),
        "time of a day": pyarrow.time64("us"),
        "duration": pyarrow.duration("us"),
    }[kind]


def _fits(value: Any) -> bool:
    return not isinstance(value, int) or -(2**63) <= value < 2**63


def _show(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= MAX_SHOWN else f"{text[: MAX_SHOWN - 1]}…"


def is_statement(query: str) -> bool:
    """Whether a text is a statement that reads, and not the name of a table."""
    words = query[cast(re.Match[str], BLANKS.match(query)).end() :].split(maxsplit=1)
    return len(words) > 1 and words[0].lower().partition("(")[0] in READING


def _select_table(connection: sqlalchemy.Connection, name: str, database: str) -> str:
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


def _suggest_table(engine: sqlalchemy.Engine, message: str) -> str:
    """A hint for an error about a table that doesn't exist. "": the error is another one."""
    import sqlalchemy

    if not re.search(r"no such table|does not exist|doesn't exist", message):
        return ""
    with suppress(sqlalchemy.exc.SQLAlchemyError):
        return f". Tables: {join_names(_list_tables(sqlalchemy.inspect(engine), None))}"
    return ""


def _parse_uri(uri: str) -> sqlalchemy.URL:
    """The parts of a URI. Raises DataError without the URI, since the place of its password is unknown."""
    import sqlalchemy

    try:
        url = sqlalchemy.make_url(uri)
    except (sqlalchemy.exc.ArgumentError, ValueError) as error:
        raise DataError(
            f"`uri` can't be read. Write it as {EXAMPLES}; in a user or a password, write @ : / ? # as %40 %3A %2F %3F "
            "%23."
        ) from error
    if url.drivername == "postgres":
        url = url.set(drivername="postgresql")
    backend = url.get_backend_name()
    if backend in IN_FILES and url.host:
        raise DataError(f"`uri`: the name of a file follows three slashes. Write {backend}:///{url.host}")
    return url.set(drivername=DRIVERS[backend].name) if url.drivername in DRIVERS else url


def _name_database(url: sqlalchemy.URL) -> str:
    """The name of a database for messages, without the user and the password."""
    if url.get_backend_name() in IN_FILES:
        return "a database in memory" if url.database in MEMORY else str(url.database)
    return f"{url.host or 'localhost'}/{url.database or ''}"


def _make_engine(url: sqlalchemy.URL) -> sqlalchemy.Engine:
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
            raise DataError(
                f"a database of {backend} needs the package {package}. Install it: pip install '{package}'"
            ) from error
        raise DataError(
            f"`uri`: there is no driver for a database of `{url.drivername}`. {suggest_name(backend, DRIVERS)} For "
            "others, install their package for SQLAlchemy."
        ) from error


@contextmanager
def _explain_errors(url: sqlalchemy.URL, failure: str, hint: Callable[[str], str] = lambda _: "") -> Iterator[None]:
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
        for secret in filter(None, (url.password, quote(url.password or ""))):
            message = message.replace(secret, "***")
        remedy = hint(message)
        if "lock" in message.lower():
            remedy = ". Another program uses it: wait until it has finished"
            remedy += ", or wait longer by `?timeout=60` (seconds) in the URI" if url.drivername == "sqlite" else ""
        raise DataError(f"{failure}: {message}{remedy}.") from error
