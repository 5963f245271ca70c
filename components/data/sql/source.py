"""The source for tables in databases, and for results of queries."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import TYPE_CHECKING, Annotated, Any

from components.data.column_store import SpooledColumns
from components.data.sql.database import (
    DRIVERS,
    PASSWORD,
    Driver,
    explain_errors,
    is_statement,
    make_engine,
    name_database,
    parse_uri,
    select_table,
    suggest_table,
)
from components.data.sql.values import ColumnBuilder
from components.data.table_file import StoredTable
from components.read_once import read_once
from components.types import DataError, Range

if TYPE_CHECKING:
    import pyarrow

URI_VARIABLE = "TITRATE_DATA_URI"
BATCH_CELLS = 200_000  # of a batch of rows
BATCH_ROWS = 10_000


@dataclass(frozen=True, kw_only=True, eq=False)
class Sql(StoredTable):
    """A table in a database, or the result of a query.

    Columns of numbers, booleans and times keep their type, unless `types` lists them. Texts are read as in CSV files:
    as numbers, times or booleans where all are such. More than 134 MB of rows are kept in a temporary file. Nothing is
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

    uri: str | None = None
    query: str
    valid: Annotated[float, Range(0, bounds="()")] | None = None
    test: Annotated[float, Range(0, bounds="()")] | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if PASSWORD.search(self.query):
            raise DataError("`query` has a password, which would be recorded. Leave it out; `uri` may have one.")

    @property
    def _whole_uri(self) -> str:
        if (uri := self.uri or os.environ.get(URI_VARIABLE)) is None:
            raise DataError(f"no database is named; set `uri=sqlite:///shop.db`, or the variable {URI_VARIABLE}")
        return uri

    @cached_property
    def label(self) -> str:
        name = name_database(parse_uri(self._whole_uri))
        return f"the query of {name}" if is_statement(self.query) else f"{self.query} of {name}"

    @cached_property
    def _store(self) -> QueryResult:
        texts = tuple(sorted(name for name, kind in self._declared_types.items() if kind == "string"))
        key = (self._whole_uri, self.query, self.label, texts)
        return read_once("sql", key, lambda: QueryResult(*key))

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

    uri: str = field(repr=False)
    query: str
    label: str
    texts: Collection[str]

    @property
    def name(self) -> str:
        return self.label

    def read_batches(self) -> Iterator[pyarrow.RecordBatch]:
        url = parse_uri(self.uri)
        database, backend = name_database(url), url.get_backend_name()
        driver = DRIVERS.get(backend, Driver(url.drivername))
        with explain_errors(url, f"{database} can't be opened"):
            engine = make_engine(url)
            connection = engine.connect().execution_options(**driver.options)
        with ExitStack() as opened:
            opened.callback(connection.close)  # nothing is committed
            with explain_errors(url, f"{database} can't be read"):
                if driver.statement:
                    connection.exec_driver_sql(driver.statement)
                statement = self.query if is_statement(self.query) else select_table(connection, self.query, database)
            with explain_errors(url, f"{self.label} fails", partial(suggest_table, engine)):
                # Without parameters, % and : are characters of the statement.
                options = {"stream_results": True, "no_parameters": True}
                result = connection.execution_options(**options).exec_driver_sql(statement)
            opened.callback(result.close)
            names = [*result.keys()] if result.returns_rows else []
            if not names:
                raise DataError(f"{self.label} returns no columns. Write a `select` that names some.")
            if repeated := next((name for name in names if names.count(name) > 1), None):
                raise DataError(f"{self.label} has two columns `{repeated}`. Rename one by `as`, or leave it out.")
            columns = [ColumnBuilder(self.label, name, name in self.texts) for name in names]
            batches, rows = result.partitions(max(min(BATCH_ROWS, BATCH_CELLS // len(names)), 1)), 0
            while True:
                with explain_errors(url, f"{self.label} stops after {rows:,} rows"):
                    batch = next(batches, None)
                if batch is None:
                    return
                yield _make_batch(columns, batch, rows)
                self.errors.update({column.name: column.error for column in columns if column.error is not None})
                rows += len(batch)


def _make_batch(columns: Sequence[ColumnBuilder], rows: Sequence[Any], first_row: int) -> pyarrow.RecordBatch:
    import pyarrow

    by_column = zip(columns, zip(*rows, strict=True), strict=True)
    arrays = [column.convert(values, first_row) for column, values in by_column]
    return pyarrow.record_batch(arrays, names=[column.name for column in columns])
