"""A table in any dialect is read back, or an error names the option that reads it."""

import bz2
import csv
import gzip
import io
import lzma
import math
import re
import shlex
import subprocess
import sys
import tarfile
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas
import pyarrow
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from components.data import Csv
from components.types import DataError, Strings

ROWS = 24
NO_NUMBERS = ("string", "bool", "timestamp")


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
    marks = [("", ""), ("", ""), ("$", ""), ("", " kg"), ("", "%"), ("", " €"), ("EUR ", ""), ("", "km/h"), ("£", "")]

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


def pack_tar(content: bytes) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        member = tarfile.TarInfo("table.csv")
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content))
    return packed.getvalue()


def write_table(path: Path, columns: list[Column], dialect: Dialect, *, has_names: bool = True) -> None:
    text = io.StringIO(newline="")
    if dialect.separator_line:
        text.write(f"sep={dialect.options['delimiter']}{dialect.line_end}")
    if dialect.options["comment"]:
        text.write(f"{dialect.options['comment']} made by a test{dialect.line_end}")
    # QUOTE_MINIMAL doesn't quote a "\n" if lines end with "\r".
    quoting = csv.QUOTE_ALL if dialect.quote_all or dialect.line_end == "\r" else csv.QUOTE_MINIMAL
    writer = csv.writer(text, delimiter=dialect.options["delimiter"], lineterminator=dialect.line_end, quoting=quoting)
    if has_names:
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
            problems = source.table.problems
        except DataError as error:
            named = re.findall(r"`(\w+)[`=.]", str(error))
        else:
            if not problems:
                return source, used
            named = [setting.option for problem in problems.values() for setting in problem.settings]
        useful = [name for name in named if options.get(name) is not None and name not in used]
        assert useful, f"no option helps: {named}, {used}"
        used[useful[0]] = options[useful[0]]
    raise AssertionError(f"the table can't be read: {used}")


def found_values(source: Csv, name: str) -> list[Any]:
    values, valid = source.table.values[name], source.table.valid.get(name)
    listed = values.tolist() if isinstance(values, Strings) else np.asarray(values).tolist()
    if isinstance(values, np.ndarray) and values.dtype.kind == "M":
        listed = values.astype("datetime64[us]").tolist()
    return listed if valid is None else [v if there else None for v, there in zip(listed, valid, strict=True)]


@settings(
    max_examples=100,
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


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    columns=st.lists(
        st.one_of(number_columns(), text_columns(), code_columns()),
        min_size=2,
        max_size=4,
        unique_by=lambda column: column.name,
    ),
    dialect=dialects(),
)
def test_a_table_without_names_is_the_same_table(tmp_path: Path, columns: list[Column], dialect: Dialect) -> None:
    named, nameless = tmp_path / "named", tmp_path / "nameless"
    write_table(named, columns, dialect)
    write_table(nameless, columns, dialect, has_names=False)
    names = [column.name for column in columns]
    sources = (
        Csv(path=str(named), **dialect.options),
        Csv(path=str(nameless), **dialect.options, names=names),  # type: ignore[arg-type]
    )
    results = []
    for source in sources:
        try:
            values = {name: found_values(source, name) for name in names}
            line = int(source.locate_row(len(values[names[0]]) - 1).rpartition(" ")[2])
            results.append(repr((values, source.table.types, line - (source.names is None))))
        except DataError as error:
            results.append(re.sub(r"\d+", "", str(error).replace("nameless", "named")))
    assert results[0] == results[1]


def test_a_file_without_names_has_the_lines_of_its_rows(tmp_path: Path) -> None:
    text = "1,a\n2,b\n\n3,c\n4,d\n"
    path = write(tmp_path / "table", text)
    source = Csv(path=str(path), names=["x", "y"])  # type: ignore[arg-type]
    assert (found_values(source, "x"), found_values(source, "y")) == ([1, 2, 3, 4], ["a", "b", "c", "d"])
    assert source.locate_row(3) == f"{path}, line 5"
    assert Csv(path=str(path)).fingerprint() != source.fingerprint()
    assert Csv(path=str(write(tmp_path / "table", "\ufeff" + text)), names=("x", "y")).table.values["x"][0] == 1
    for wrong, options, message in (
        ("1,a\nb,b\n3,c\n", {"types": {"x": "int"}}, "line 2: column `x` is 'b', not of type int"),
        (
            "1,a\n2,b,c\n",
            {},
            "line 2: the number of fields is 3, not 2 as `names` lists; list the names of all",
        ),
        ("1;a\n2;b\n", {}, "line 1: the number of fields is 1, not 2 as `names` lists; set `delimiter=semicolon`"),
        ("1,a\n2,\0\n", {}, "line 2: there is a byte 0x00"),
        ('1,a\n2,"b\n', {}, "line 2: a quote is opened and never closed"),
        ("1,a\n2,\xff\n", {}, "line 2: byte 0xff isn't UTF-8"),
        ("x,y\n1,a\n", {}, "the first line of .*table has the names of the columns; set `names=null`"),
        ("", {}, "table has no rows$"),
    ):
        write(path, wrong.encode("latin1"))
        with pytest.raises(DataError, match=message):
            Csv(path=str(path), names=("x", "y"), **options).sizes()  # type: ignore[arg-type]
    write(path, "1,a\n2,b\n?,c\n3,d\nx,e\n4,f\n5,g\n")
    skipping = Csv(path=str(path), names=("x", "y"), types={"x": "int"}, on_bad_row="skip")
    assert found_values(skipping, "x") == [1, 2, None, 3, 4, 5]
    assert [message for _, message in skipping.bad_rows.messages] == [
        f"{path}, line 5: column `x` is 'x', not of type int"
    ]


def test_both_ends_of_fields_are_stripped(tmp_path: Path) -> None:
    """As in the data set Adult: blanks after the delimiter, and in the test file a remark and a point in each line."""
    write(tmp_path / "adult.data", "39, State-gov, <=50K\r\n50, ?, >50K\r\n38,Private ,<=50K\r\n7, a b.c, >50K\r\n\r\n")
    write(tmp_path / "adult.test", "|1x3 Cross validator\n25, Private, <=50K.\n38, ?, >50K.\n")
    paths = {"path": str(tmp_path / "adult.data"), "test": str(tmp_path / "adult.test")}
    options: dict[str, Any] = {"names": ("age", "work", "income"), "comment": "pipe", "nulls": ("?",), "quote": None}
    source = Csv(**paths, **options, strip=" .", target="income")
    assert found_values(source, "work") == ["State-gov", None, "Private", "a b.c"]
    assert found_values(source, "income") == ["<=50K", ">50K", "<=50K", ">50K"]
    assert [label for block in source.blocks("test") for label in block.columns["income"].tolist()] == ["<=50K", ">50K"]
    assert source.locate_row(5) == f"{tmp_path}/adult.test, line 3"
    assert source.fingerprint() != Csv(**paths, **options, strip=" ", target="income").fingerprint()


def write(path: Path, text: str | bytes) -> Path:
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


@pytest.mark.parametrize("packing", [gzip.compress, bz2.compress, lzma.compress, pack_zstandard])
def test_a_packed_file_is_the_same_table(tmp_path: Path, packing: Callable[[bytes], bytes]) -> None:
    codes = b"zip,y\n01001,1\n00501,2\n"
    source = Csv(path=str(write(tmp_path / "codes", packing(codes))))
    assert found_values(source, "zip") == ["01001", "00501"]
    rows = "".join(f"{n},{n}\n" for n in range(23))
    for text, message in {
        f"x,y\n{rows}1,2,3\n": "line 25: the number of fields is 3",
        f"x,y\n{rows}1,\xff\n": "line 25: byte 0xff isn't UTF-8",
        f'x,y\n{rows}1,"2\n': "line 25: a quote is opened and never closed",
    }.items():
        path = write(tmp_path / "wrong", packing(text.encode("latin1")))
        with pytest.raises(DataError, match=message):
            Csv(path=str(path)).sizes()
    path = write(tmp_path / "wide", packing("x,y\n1,2\n".encode("utf-16")))
    with pytest.raises(DataError, match="looks like UTF-16: set `encoding=utf-16`"):
        Csv(path=str(path)).sizes()
    assert found_values(Csv(path=str(path), encoding="utf-16"), "y") == [2]


def test_a_line_break_in_a_quoted_field_is_kept_wherever_a_block_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("components.data.csv.reader.BLOCK_BYTES", 96)
    for length in range(40, 90):
        texts = ["a" * length, "b\r\n" * 12, "c"]
        path = write(tmp_path / "table.csv", "x,y\r\n" + "".join(f'1,"{text}"\r\n' for text in texts))
        assert found_values(Csv(path=str(path)), "y") == texts


def test_comments_and_the_line_of_the_delimiter_are_no_rows(tmp_path: Path) -> None:
    text = 'sep=;\r\n# made by a test\r\nx;y\r\n1;"a\r\n# b"\r\n#2;c\r\n3;d;e\r\n'
    path = write(tmp_path / "table.csv", text)
    with pytest.raises(DataError, match="line 7: the number of fields is 3"):
        Csv(path=str(path), comment="hash").sizes()
    source = Csv(path=str(write(path, text.replace(";e", ""))), comment="#")
    assert found_values(source, "y") == ["a\r\n# b", "d"]
    (block,) = source.blocks("all")
    assert [block.locate(row) for row in range(2)] == [f"{path}, line 4", f"{path}, line 7"]
    assert source.profile().options == {"delimiter": "semicolon"}


@pytest.mark.parametrize(
    ("text", "options", "expected"),
    [
        ('x,y\n12" disk,5\n#old,900\nb,1\n', {}, ['12" disk', "b"]),
        ("x,y\nit's,5\n#old,900\nb,1\n", {"quote": "single_quote"}, ["it's", "b"]),
        ('x,y\n"12"" disk",5\n#old,900\n"a\n#b""",1\n#"old,900\nc,2\n', {}, ['12" disk', 'a\n#b"', "c"]),
        ('x,y\n"a" 5",5\n#old,900\nb,1\n', {"quote": None}, ['"a" 5"', "b"]),
        ('x,y\n"",5\n#old,900\n"""",1\n#old,9\n', {"nulls": ["none"]}, ["", '"']),
        ('x;y\na\\;"b;5\n#old;900\n"c\\"\n#d";1\n', {"escape": "backslash"}, ['a;"b', 'c"\n#d']),
    ],
)
def test_a_comment_is_left_out_whatever_quotes_stand_above(
    tmp_path: Path, text: str, options: Any, expected: list[str]
) -> None:
    delimiter = "semicolon" if ";" in text else "comma"
    path = write(tmp_path / "table.csv", text)
    assert found_values(Csv(path=str(path), comment="hash", delimiter=delimiter, **options), "x") == expected


@pytest.mark.parametrize(
    ("text", "options", "expected"),
    [
        (r"a,1|\N,2|b,3", {}, ["a", None, "b"]),
        (r'"a,",1|\N,\N|"\N",3|\\N,4', {}, ["a,", None, "N", r"\N"]),
        (r'"a|\N,b",1|"x \" y",2|\N,3', {}, ["a\nN,b", 'x " y', None]),
        (r"a\,\N,1|\Na,2|\N,\N", {"quote": None}, ["a,N", "Na", None]),
    ],
)
def test_a_field_of_backslash_n_is_missing_where_a_backslash_escapes(
    tmp_path: Path, text: str, options: Any, expected: list[str | None]
) -> None:
    path = write(tmp_path / "table.csv", f"x,y|{text}|".replace("|", "\n"))
    source = Csv(path=str(path), escape="backslash", **options)
    assert found_values(source, "x") == expected
    numbers = source.table.values["y"]
    assert source.table.types["y"] in ("int", "float")
    assert len(numbers) == len(expected)


def test_a_line_of_backslash_n_stays_a_row(tmp_path: Path) -> None:
    path = write(tmp_path / "table.csv", "x\na\n\\N\nb\n")
    assert found_values(Csv(path=str(path), escape="backslash"), "x") == ["a", None, "b"]
    with pytest.raises(DataError, match=r"an empty line is no row. Set `quote`"):
        Csv(path=str(path), escape="backslash", quote=None).sizes()


@pytest.mark.parametrize(
    ("text", "comment", "message"),
    [
        (
            " # hello\nx,y\n1,2\n",
            "hash",
            "' # hello', looks like a comment, but starts with a blank; remove the blank$",
        ),
        (" # hello\nx,y\n1,2\n", None, "remove the blank, and set `comment=hash`"),
        ("x,y\n1,2\n # hello\n", "hash", "line 3, ' # hello', looks like a comment, but .*; remove the blank; to skip"),
        ("x,y\n1,2\n# hello\n", None, "line 3, '# hello', looks like a comment; set `comment=hash`; to skip such rows"),
        ("x,y\n-6,0\n5,11\n-- exported 2020\n", None, "'-- exported 2020', looks like a comment; remove it; to skip"),
        ("x,y\n/a/b,0\n/c,11\n// exported\n", None, "looks like a comment; remove it; to skip such rows"),
        ("x,y\na,0\nc,11\n// exported\n", None, "looks like a comment; set `comment=/`; to skip such rows"),
        ("#x,y\n1,0\n5,11\n# exported 2020\n", None, "looks like a comment; remove it; to skip such rows"),
        ("# exported\n# 2020\nx\n#5\n1\n", None, "looks like a comment; remove it$"),
        ("x,y\n1,2\n# a,b,c\n", None, "line 3: the number of fields is 3, not 2 .* needs quotes"),
    ],
)
def test_a_line_that_looks_like_a_comment_is_named(
    tmp_path: Path, text: str, comment: str | None, message: str
) -> None:
    with pytest.raises(DataError, match=message):
        Csv(path=str(write(tmp_path / "table.csv", text)), comment=comment).sizes()


@pytest.mark.parametrize(
    ("text", "options", "expected"),
    [
        ("x,y\n'a,b',1\n'it''s',2\n", {"quote": "single_quote"}, ["a,b", "it's"]),
        ('x,y\na\\,b,1\n"c\\"d",2\n', {"escape": "backslash"}, ["a,b", 'c"d']),
        ('x,y\n5" pipe,1\n"7,2\n', {"quote": None}, ['5" pipe', '"7']),
        ("x\ty\na b\t1\nc\t2\n", {"delimiter": "tab"}, ["a b", "c"]),
        ("x y\na 1\nc 2\n", {"delimiter": "space"}, ["a", "c"]),
    ],
)
def test_quotes_and_escapes_can_be_set(tmp_path: Path, text: str, options: Any, expected: list[str]) -> None:
    assert found_values(Csv(path=str(write(tmp_path / "table.csv", text)), **options), "x") == expected


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"PK\x03\x04" + bytes(30), "a zip archive, or an Excel or OpenDocument file, not a CSV file"),
        (b"PAR1" + bytes(30), "is Parquet, not CSV; choose data=table"),
        (b"\x89PNG" + bytes(30), "is an image, not a CSV file; list the paths .*, or choose data=images for a folder"),
        (b"SQLite format 3\0" + bytes(30), "is an SQLite database"),
        (b'{"x": 0, "y": 0}\n{"x": 1, "y": 1}\n', "is JSON lines, not CSV; choose data=table"),
        (b'[{"x": 0, "y": 0}]\n', "is in JSON, and neither a CSV file nor JSON lines"),
        (b"<!DOCTYPE html><html>", "is in HTML or XML"),
        (b"# exported 2024\nx,y\n1,2\n", "'# exported 2024', looks like a comment; set `comment=hash`"),
        (b"% exported 2024\nx,y\n1,2\n", "looks like a comment; set `comment=percent`"),
        (b"A report\nx,y\n1,2\n", "the first line, 'A report', must name the columns: remove what stands above"),
        (b"x,y\n1,K\xf6ln\n", "it looks like Latin-1: set `encoding=cp1252`, which reads '1,K\u00f6ln'"),
        ("x,y\n1,2\n".encode("utf-16"), "looks like UTF-16: set `encoding=utf-16`"),
        ("x,y\n1,2\n".encode("utf-16-le"), "looks like UTF-16-LE: set `encoding=utf-16-le`"),
        ("x,y\n1,2\n".encode("utf-32"), "looks like UTF-32: set `encoding=utf-32`"),
        (pack_tar(b"x,y\n1,2\n"), "is a tar archive, not a CSV file; unpack it"),
        (gzip.compress(pack_tar(b"x,y\n1,2\n"), mtime=0), "is a tar archive, not a CSV file; unpack it"),
        (
            gzip.compress(b"PK\x03\x04" + bytes(30), mtime=0),
            "a zip archive, or an Excel .* file; unpack it, or save it as CSV",
        ),
        (lzma.compress(b"PAR1" + bytes(30)), "is Parquet, not CSV"),
        (b"7z\xbc\xaf'\x1c" + bytes(30), "is a 7z archive"),
        (b"\x93NUMPY\x01\0" + bytes(30), "is a NumPy file"),
    ],
)
def test_another_kind_of_file_is_recognized(tmp_path: Path, content: bytes, message: str) -> None:
    with pytest.raises(DataError, match=message):
        Csv(path=str(write(tmp_path / "table.csv", content))).sizes()


@pytest.mark.parametrize("name", ["table.json", "it's a table.json"])
def test_the_command_that_converts_another_kind_of_file_works(tmp_path: Path, name: str) -> None:
    frame = pandas.DataFrame({"x": [0.5, 1.5], "y": ["a", "b"]})
    path = tmp_path / name
    frame.to_json(path, orient="records")
    with pytest.raises(DataError) as caught:
        Csv(path=str(path)).sizes()
    _, _, command = str(caught.value).partition("for example with ")
    python, *arguments = shlex.split(command)
    subprocess.run([sys.executable if python == "python" else "", *arguments], check=True)
    assert found_values(Csv(path=str(path.with_suffix(".csv"))), "y") == ["a", "b"]


def test_the_command_that_converts_a_file_overwrites_none(tmp_path: Path) -> None:
    frame = pandas.DataFrame({"x": [0.5, 1.5]})
    for name in ("table.csv", "table.json"):
        frame.to_json(tmp_path / name, orient="records")
        with pytest.raises(DataError, match=r"to_csv\(\S*/table_converted\.csv"):
            Csv(path=str(tmp_path / name)).sizes()


def test_a_spreadsheet_is_recognized(tmp_path: Path) -> None:
    path = tmp_path / "table.xlsx"
    path.write_bytes(b"PK\x03\x04" + bytes(30))
    with pytest.raises(DataError, match="is a spreadsheet, not a CSV file; save it as CSV or Parquet"):
        Csv(path=str(path)).sizes()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"quote": "ab"}, r"`quote` \(='ab'\) must be one ASCII character"),
        ({"escape": "\n"}, "`escape` .* must be one ASCII character"),
        ({"comment": "//"}, "`comment` .* must be one ASCII character"),
        ({"thousands": "ab"}, r"`thousands` \(='ab'\) must be one character other than a line break"),
        ({"delimiter": '"'}, "`delimiter` and `quote` must be different, both are double_quote"),
        ({"delimiter": "#", "comment": "hash"}, "`delimiter` and `comment` must be different, both are hash"),
        *(
            ({"names": names}, r"`names` \(=.*\) must be a list of the names of all columns, in their order")
            for names in ("x", [], [1, 2], ["x", None])
        ),
        ({"names": ["x", " "]}, "`names`: name 2 is blank; name all columns of the file"),
        ({"names": ["x", "x"]}, "`names`: 'x' is there twice; rename one"),
        ({"names": ["x", "a,b"]}, "`names`: 'a,b' has the character ',', which has a meaning in the file"),
        ({"names": ["x", "a\nb"]}, "`names`: .* has the character"),
        ({"strip": " "}, r"`strip` \(=' '\) is for files without quotes and escapes; set `quote=null`"),
        ({"strip": " ", "quote": None, "escape": "backslash"}, "quotes and escapes; set `escape=null`"),
        ({"strip": " ,", "quote": None}, r"`strip` \(=' ,'\) has the character of `delimiter`, comma"),
        ({"strip": "\n", "quote": None}, "`strip` .* must be ASCII characters other than line breaks"),
        ({"strip": "é", "quote": None}, "`strip` .* must be ASCII characters other than line breaks"),
        ({"decimal": "x"}, r"`decimal` \(=x\) must be point or comma"),
        ({"decimal": "space"}, r"`decimal` \(= \) must be point or comma"),
        ({"decimal": {"x": "space"}}, r"`decimal` \(= \) must be point or comma"),
        *(
            ({"thousands": one}, rf"`thousands` \(={re.escape(one)}\) separates no thousands. Allowed are point, comma")
            for one in ("5", "·", ";", "pipe", "*", "٬", "tab", "+")
        ),
        ({"decimal": ",", "thousands": "comma"}, "`decimal` and `thousands` must be different, both are comma"),
        ({"encoding": "utf8x"}, r"`encoding` \(=utf8x\) is not a text encoding of Python. Did you mean utf-8\?"),
        ({"encoding": "base64"}, "is not a text encoding of Python"),
        ({"encoding": "rot13"}, "is not a text encoding of Python"),
        ({"dates": "dayfirst"}, r"`dates` \(=dayfirst\) must be one of .* Did you mean day_first\?"),
        ({"dates": "%d/%m/%Y"}, "`dates` .* must be one of day_first, month_first, utc"),
        ({"dates": {"x": "%Q"}}, "`dates.x` .* is not a format of Python's strptime"),
        ({"dates": {"x": "%Y-W%W"}}, r"`dates.x` \(=%Y-W%W\) loses %W, .* only with a day of the week"),
        ({"dates": {"x": "day"}}, "`dates.x` .* must be one of .*, or a format such as"),
        *(
            (options, rf"column `x` has `{one}` \(=.*\), but `{other}` \(=.*\); remove one of them")
            for one, other, options in [
                ("dates", "types", {"dates": {"x": "utc"}, "types": {"x": "float"}}),
                ("dates", "marks", {"dates": {"x": "seconds"}, "marks": {"x": "kg"}}),
                ("dates", "decimal", {"dates": {"x": "seconds"}, "decimal": {"x": "comma"}}),
                *(("marks", "types", {"marks": {"x": "kg"}, "types": {"x": kind}}) for kind in NO_NUMBERS),
                *(("decimal", "types", {"decimal": {"x": "comma"}, "types": {"x": kind}}) for kind in NO_NUMBERS),
            ]
        ),
    ],
)
def test_an_option_that_can_not_be_is_refused(options: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        Csv(path="table.csv", **options)


@pytest.mark.parametrize("option", ["types", "nulls", "dates", "marks"])
def test_an_option_of_a_column_that_does_not_exist_is_refused(tmp_path: Path, option: str) -> None:
    path = write(tmp_path / "table.csv", "price,y\n1,2\n")
    value: Any = {"types": "float", "nulls": ("",), "dates": "utc", "marks": "kg"}[option]
    with pytest.raises(DataError, match=f"has no column `prise`, which `{option}` lists. Did you mean price"):
        Csv(path=str(path), **{option: {"prise": value}}).sizes()


@pytest.mark.parametrize("line_end", ["\n", "\r", "\r\n"])
def test_bytes_that_do_not_fit_the_encoding_are_named_by_their_line(
    tmp_path: Path, line_end: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for chunk in (1 << 20, 1, 2):
        monkeypatch.setattr("components.data.csv.dialect.CHUNK_BYTES", chunk)
        text = b"x,y\n" + b"1,a\n" * 200 + b"2,\x81\n"  # more than the start that may name the delimiter
        path = write(tmp_path / "table.csv", text.replace(b"\n", line_end.encode()))
        with pytest.raises(DataError, match=r"line 202: byte 0x81 doesn't fit `encoding` \(=cp1252\)"):
            Csv(path=str(path), encoding="cp1252").sizes()
    write(path, "x,y\n1,a\n".encode("utf-16")[:-1])
    with pytest.raises(DataError, match=r"line 2: byte 0x0a doesn't fit `encoding` \(=utf-16\): truncated data"):
        Csv(path=str(path), encoding="utf-16").sizes()


@pytest.mark.parametrize(
    ("written", "encoding", "remedy"),
    [
        ("utf-16-le", "utf-16", "`encoding=utf-16-le`."),
        ("utf-16-be", "UTF16", "`encoding=utf-16-be`."),
        ("utf-32-le", "utf-32", "`encoding=utf-32-le` or `encoding=utf-32-be`."),
        ("utf-8", "utf-16", "`encoding=utf-16-le` or `encoding=utf-16-be`."),
    ],
)
def test_a_missing_byte_order_mark_is_named(tmp_path: Path, written: str, encoding: str, remedy: str) -> None:
    path = write(tmp_path / "table.csv", "x,y\n1,a\n".encode(written))
    with pytest.raises(DataError, match=rf"doesn't fit `encoding` \(={encoding}\): .* Set {remedy}"):
        Csv(path=str(path), encoding=encoding).sizes()
