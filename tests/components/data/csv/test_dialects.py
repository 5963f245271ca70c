"""A table in any dialect is read back, or an error names the option that reads it."""

import bz2
import csv
import gzip
import io
import lzma
import math
import re
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from components.data import Csv
from components.types import DataError, Strings

ROWS = 24


class Dialect(NamedTuple):
    """How a table is written.

    Attributes:
        options: the values of the options of `Csv` that read it.
    """

    options: dict[str, Any]
    decimal: str
    thousands: str
    line_end: str
    quote_all: bool
    byte_order_mark: bool
    separator_line: bool
    packing: Callable[[bytes], bytes]


class Column(NamedTuple):
    """A column: its values (None: missing), and how one of them is written."""

    name: str
    values: list[Any]
    write: Callable[[Any, Dialect], str]
    gap: str


def group(digits: str, separator: str) -> str:
    return re.sub(r"(?<=\d)(?=(\d{3})+$)", lambda _: separator, digits) if separator else digits


def write_number(value: float, dialect: Dialect, decimals: int = 2) -> str:
    whole, _, fraction = f"{abs(value):.{decimals}f}".partition(".")
    text = group(whole, dialect.thousands) + (dialect.decimal + fraction if fraction else "")
    return f"-{text}" if value < 0 else text


def number_columns() -> st.SearchStrategy[Column]:
    cents = st.integers(-(10**8), 10**8).map(lambda value: value / 100)
    whole = st.integers(-(10**7), 10**7)
    marks = [
        ("", ""), ("", ""), ("$", ""), ("", " kg"), ("", "%"), ("", " €"), ("EUR ", ""), ("", "km/h"), ("£", "")
    ]  # fmt: skip

    def make(values: list[float], mark: tuple[str, str], name: str, gap: str, decimals: int) -> Column:
        def write(value: float, dialect: Dialect) -> str:
            return mark[0] + write_number(value, dialect, decimals) + mark[1]

        return Column(name, values, write, gap)

    gaps = st.sampled_from(["", "NA", "?", "-", "n/a", "nan", "unknown"])
    return st.one_of(
        st.builds(make, lists(cents), st.sampled_from(marks), st.just("amount"), gaps, st.just(2)),
        st.builds(make, lists(whole), st.sampled_from(marks), st.just("count"), gaps, st.just(0)),
    )


def lists(values: st.SearchStrategy[Any]) -> st.SearchStrategy[list[Any]]:
    """Columns of ROWS values of which some are missing."""
    present = st.lists(values, min_size=ROWS, max_size=ROWS)
    missing = st.sets(st.integers(0, ROWS - 1), max_size=4)
    return st.builds(
        lambda values, missing: [None if n in missing else value for n, value in enumerate(values)], present, missing
    )


def text_columns() -> st.SearchStrategy[Column]:
    words = st.sampled_from(
        ["north", "Köln", "a b", 'say "hi"', "one\ntwo", "x;y", "p,q", "no #5", "tab\there", "é|è", "c'est"]
    )
    return st.builds(lambda values: Column("text", values, lambda value, _: value, ""), lists(words))


def code_columns() -> st.SearchStrategy[Column]:
    codes = st.integers(0, 99_999).map(lambda value: f"{value:05d}")
    return st.builds(lambda values: Column("code", ["00501", *values[1:]], lambda value, _: value, ""), lists(codes))


def time_columns() -> st.SearchStrategy[Column]:
    days = st.integers(-25_000, 40_000).map(lambda days: datetime(2000, 1, 1) + timedelta(days=days))
    formats = ["%Y-%m-%d", "%Y-%m-%d %H:%M:%S", "%d.%m.%Y", "%d/%m/%Y", "%m/%d/%Y", "%d %b %Y", "%B %d, %Y", "%Y/%m/%d"]

    def make(values: list[datetime | None], format: str, gap: str) -> Column:
        def write(value: datetime, dialect: Dialect) -> str:
            return value.strftime(format).replace(f"{value.year:04d}", f"{value.year:04d}")

        return Column(f"when {format[1]}", values, write, gap)

    return st.builds(make, lists(days), st.sampled_from(formats), st.sampled_from(["", "NA", "unknown", "-"]))


def dialects() -> st.SearchStrategy[Dialect]:
    def make(
        delimiter: str, decimal: str, grouped: bool, encoding: str, comment: str | None, line_end: str, **rest: Any
    ) -> Dialect:
        thousands = {".": ",", ",": "."}[decimal] if grouped else ""
        options = {"delimiter": delimiter, "encoding": encoding, "comment": comment, "decimal": decimal}
        options["thousands"] = thousands or None
        if rest["separator_line"]:
            options["comment"] = None  # the line `sep=;` must be the first
        return Dialect(options, decimal, thousands, line_end, **rest)

    return st.builds(
        make,
        st.sampled_from([",", ";", "\t", "|"]),
        st.sampled_from([".", ","]),
        st.booleans(),
        st.sampled_from(["utf-8", "utf-8", "utf-16", "cp1252"]),
        st.sampled_from([None, None, "#", "%"]),
        st.sampled_from(["\n", "\r\n", "\r"]),
        quote_all=st.booleans(),
        byte_order_mark=st.booleans(),
        separator_line=st.booleans(),
        packing=st.sampled_from([bytes, gzip.compress, bz2.compress, lzma.compress, pack_zstandard]),
    )


def pack_zstandard(content: bytes) -> bytes:
    return pyarrow.Codec("zstd").compress(content, asbytes=True) if content else content


def write_table(path: Path, columns: list[Column], dialect: Dialect) -> None:
    text = io.StringIO(newline="")
    if dialect.separator_line:
        text.write(f"sep={dialect.options['delimiter']}{dialect.line_end}")
    if dialect.options["comment"]:
        text.write(f"{dialect.options['comment']} made by a test{dialect.line_end}")
    # QUOTE_MINIMAL doesn't quote a "\n" if lines end with "\r".
    quoting = csv.QUOTE_ALL if dialect.quote_all or dialect.line_end == "\r" else csv.QUOTE_MINIMAL
    writer = csv.writer(text, delimiter=dialect.options["delimiter"], lineterminator=dialect.line_end, quoting=quoting)
    writer.writerow([column.name for column in columns])
    for values in zip(*(column.values for column in columns), strict=True):
        cells = [
            column.gap if value is None else column.write(value, dialect)
            for column, value in zip(columns, values, strict=True)
        ]
        writer.writerow(cells)
    content = text.getvalue().encode(dialect.options["encoding"])
    if dialect.byte_order_mark and dialect.options["encoding"] == "utf-8":
        content = b"\xef\xbb\xbf" + content
    path.write_bytes(dialect.packing(content))


def read_with_remedies(path: Path, options: dict[str, Any]) -> tuple[Csv, dict[str, Any]]:
    """Reads a table. Whenever an error or a problem names options, the first that isn't set yet is set."""
    used: dict[str, Any] = {}
    for _ in range(8):
        source = Csv(path=str(path), **used)
        try:
            problems = source.columns.problems
        except DataError as error:
            named = re.findall(r"`(\w+)`", str(error))
        else:
            if not problems:
                return source, used
            named = [remedy.option for problem in problems.values() for remedy in problem.remedies]
        useful = [name for name in named if options.get(name) is not None and name not in used]
        assert useful, f"no option helps: {named}, {used}"
        used[useful[0]] = options[useful[0]]
    raise AssertionError(f"the table can't be read: {used}")


def found_values(source: Csv, name: str) -> list[Any]:
    values, valid = source.columns.values[name], source.columns.valid.get(name)
    listed = values.tolist() if isinstance(values, Strings) else np.asarray(values).tolist()
    if isinstance(values, np.ndarray) and values.dtype.kind == "M":
        listed = values.astype("datetime64[us]").tolist()
    return listed if valid is None else [v if there else None for v, there in zip(listed, valid, strict=True)]


@settings(
    phases=(Phase.generate,),
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    columns=st.lists(
        st.one_of(number_columns(), text_columns(), code_columns(), time_columns()),
        min_size=2,
        max_size=5,
        unique_by=lambda column: column.name,
    ),
    dialect=dialects(),
)
def test_a_table_in_any_dialect_is_read_back(tmp_path: Path, columns: list[Column], dialect: Dialect) -> None:
    path = tmp_path / "table"  # its name doesn't say whether it is packed
    write_table(path, columns, dialect)
    orders = {"when d": "day_first", "when m": "month_first"}
    names = {column.name for column in columns}
    dates = {name: order for name, order in orders.items() if name in names}
    source, used = read_with_remedies(path, dialect.options | {"dates": dates})
    for column in columns:
        found = found_values(source, column.name)
        expected = column.values
        if all(isinstance(value, float | int) for value in expected if value is not None):
            assert [value is None for value in found] == [value is None for value in expected], (column.name, used)
            pairs = [(a, b) for a, b in zip(found, expected, strict=True) if b is not None]
            assert all(math.isclose(float(a), b, abs_tol=1e-9) for a, b in pairs), (column.name, used, pairs)
        else:
            assert found == expected, (column.name, used)
