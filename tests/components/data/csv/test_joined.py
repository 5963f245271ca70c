"""A table in several CSV files is that of one file, and errors name the file."""

import bz2
import contextlib
import csv
import gzip
import hashlib
import io
import itertools
import lzma
import re
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from components.data import Csv
from components.data.csv.dialect import CsvFile, JoinedFile
from components.data.csv.reader import Columns
from components.data.packed import MemoryFile
from components.types import DataError, Strings

NAMES = ["word", 'size "in"\nmm', "price"]
ROWS = st.tuples(
    st.sampled_from(["north", 'say "hi"', "one\ntwo", "p,q;r", "é", "NA", "007", "x"]),
    st.sampled_from(["1", "2.5", "-3", "?", "unknown", "", "1e3", "+4"]),
    st.sampled_from(["$1,000", "$2", "$3.50", "-"]),
)


class Dialect(NamedTuple):
    """How all files of a table are written.

    Attributes:
        options: the values of the options of `Csv` that read it.
    """

    options: dict[str, Any]
    delimiter: str
    separator_line: bool
    quote_all: bool


class Layout(NamedTuple):
    """How one file of a table is written."""

    line_end: str
    ends_with_line_end: bool
    blank_lines: int
    comments: bool
    byte_order_mark: bool
    packing: Callable[[bytes], bytes]


DIALECTS = st.builds(
    lambda delimiter, separator_line, comment, escape, encoding, quote_all: Dialect(
        ({} if separator_line or delimiter == "," else {"delimiter": delimiter})
        | ({"comment": comment} if comment and not separator_line else {})
        | ({"escape": escape} if escape else {})
        | {"encoding": encoding},
        delimiter,
        separator_line,
        quote_all,
    ),
    st.sampled_from([",", ";", "\t"]),
    st.booleans(),
    st.sampled_from([None, "#"]),
    st.sampled_from([None, "\\"]),
    st.sampled_from(["utf-8", "utf-16", "cp1252"]),
    st.booleans(),
)
LAYOUTS = st.builds(
    Layout,
    st.sampled_from(["\n", "\r\n", "\r"]),
    st.booleans(),
    st.integers(0, 2),
    st.booleans(),
    st.booleans(),
    st.sampled_from([bytes, gzip.compress, bz2.compress, lzma.compress]),
)
PLAIN = Layout("\n", True, 0, False, False, bytes)


def write_file(path: Path, rows: list[tuple[str, ...]], dialect: Dialect, layout: Layout) -> list[int]:
    """Writes a file. Returns the line, from 1, of each row."""
    text = io.StringIO(newline="")
    lines = []
    text.write((f"sep={dialect.delimiter}" if dialect.separator_line else "") + layout.line_end)
    text.write(layout.line_end * layout.blank_lines)
    # QUOTE_MINIMAL doesn't quote a "\n" if lines end with "\r".
    quote_all = dialect.quote_all or layout.line_end == "\r"
    writer = csv.writer(
        text,
        delimiter=dialect.delimiter,
        lineterminator=layout.line_end,
        quoting=csv.QUOTE_ALL if quote_all else csv.QUOTE_MINIMAL,
        escapechar=dialect.options.get("escape"),
        doublequote="escape" not in dialect.options,
    )
    for row in (NAMES, *rows):
        lines.append(len(re.findall("\r\n|\r|\n", text.getvalue())) + 1)
        writer.writerow(row)
        if layout.comments and "comment" in dialect.options:
            text.write(f'# a comment with a "{layout.line_end}')
    written = text.getvalue() if layout.ends_with_line_end else text.getvalue().removesuffix(layout.line_end)
    content = written.encode(dialect.options["encoding"])
    if layout.byte_order_mark and dialect.options["encoding"] == "utf-8":
        content = b"\xef\xbb\xbf" + content
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(layout.packing(content))
    return lines[1:]


def describe(columns: Columns, locations: Mapping[str, str]) -> dict[str, Any]:
    """All that is known of each column. Locations in a file are replaced."""
    readings = {
        name: (
            re.sub(r"line \d+", lambda match: locations[match[0]], reading.describe())
            if locations
            else reading.describe()
        )
        for name, reading in columns.readings.items()
    }
    return {
        name: (
            values.tolist() if isinstance(values, Strings) else repr(np.asarray(values).tolist()),
            columns.valid[name].tolist() if name in columns.valid else None,
            columns.types[name],
            readings.get(name),
            columns.problems.get(name),
        )
        for name, values in columns.values.items()
    }


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    shards=st.lists(st.tuples(st.lists(ROWS, max_size=5), LAYOUTS), min_size=2, max_size=4).filter(
        lambda shards: any(rows for rows, _ in shards)
    ),
    dialect=DIALECTS,
    chunk_bytes=st.sampled_from([3, 16, 1 << 20]),
)
def test_a_table_in_several_files_is_that_of_one(
    tmp_path: Path, shards: list[tuple[list[Any], Layout]], dialect: Dialect, chunk_bytes: int
) -> None:
    everything = list(itertools.chain(*(rows for rows, _ in shards)))
    lines = write_file(tmp_path / "whole.csv", everything, dialect, PLAIN)
    locations = {}
    paths, numbers = [], iter(lines)
    for number, (rows, layout) in enumerate(shards):
        path = tmp_path / f"{number}.csv"
        for line in write_file(path, rows, dialect, layout):
            locations[f"line {next(numbers)}"] = f"line {line} of {path.name}"
        paths.append(str(path))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("components.data.csv.lines.CHUNK_BYTES", chunk_bytes)
        whole, joined = Csv(path=str(tmp_path / "whole.csv"), **dialect.options), Csv(path=paths, **dialect.options)
        assert describe(joined.table, {}) == describe(whole.table, locations)
        found = [joined.locate_row(row).rpartition(", ")[2] for row in range(len(everything))]
    assert found == list(locations.values())


def write_files(folder: Path, files: Mapping[str, str | bytes]) -> None:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())


A = "price,kind\n1,x\n2,y\n"


@pytest.mark.parametrize(
    ("second", "options", "message"),
    [
        # the columns
        ("kind,price\nx,1\n", {}, "b.csv has the columns of .*a.csv in another order: column 1 is kind, not price; "),
        (
            "prise,kind\n1,x\n",
            {},
            r"b.csv has other columns than .*a.csv, .* Missing: price. Unexpected: prise. Is prise meant to be price\?",
        ),
        ("price\n1\n", {}, r"b.csv has other columns than .*a.csv, .* Missing: kind. Its first line must name"),
        ("price,kind,kind\n1,x,y\n", {}, "b.csv has other columns than .*a.csv, .* Unexpected: kind."),
        ("price;kind\n1;x\n", {}, r"b.csv has only one column, 'price;kind'; set `delimiter=semicolon`"),
        ("sep=;\nprice;kind\n1;x\n", {}, "b.csv has the delimiter semicolon, but .*a.csv has comma; a first line"),
        ("# made by a test\nprice,kind\n1,x\n", {}, "b.csv has only one column; .* set `comment=hash`"),
        # the file
        ("", {}, "b.csv is empty; its first line must name the columns"),
        ("\n# nothing", {"comment": "#"}, "b.csv is empty; its first line must name the columns"),
        (b"PAR1\x15\x04", {}, "b.csv is Parquet, not CSV; save all files of a table in one format"),
        ("price,kind\n1,x\n".encode("utf-16"), {}, "b.csv looks like UTF-16: set `encoding=utf-16`"),
        (b"price,k\xefnd\n1,x\n", {}, "b.csv, line 1: byte 0xef isn't UTF-8"),
        (b"price,kind\n1,x\n2,\xe9\n", {}, "b.csv, line 3: byte 0xe9 isn't UTF-8"),
        (b"price,kind\n1,x\n2,\x81\n", {"encoding": "cp1252"}, "b.csv, line 3: byte 0x81 doesn't fit `encoding`"),
        ("price,kind\n1,x\n2,y\0\n", {}, "line 3 of b.csv: there is a byte 0x00"),
        (gzip.compress(b"price,kind\n1,x\n", mtime=0)[:-9], {}, "b.csv is damaged gzip"),
        # quotes
        ('price,kind\n1,"x\n2,y\n', {}, "b.csv, line 2: a quote is opened and never closed; close it"),
        ('price,"kind\n1,x\n2,y\n', {}, "b.csv, line 1: a quote is opened and never closed; close it"),
        # rows
        ("price,kind\n1,x\n\n2\n", {}, "line 4 of b.csv: the number of fields is 1, not 2 as in the first"),
        (
            "price,kind\n1,x\n# no\n2,x\n",
            {},
            "line 3 of b.csv: the number .*; line 3 of b.csv, '# no', looks like a com",
        ),
        ("price,kind\n1,x\nmany,x\n", {"types": {"price": "int"}}, "line 3 of b.csv: column `price` is 'many', not of"),
    ],
)
def test_an_error_names_the_file(tmp_path: Path, second: str | bytes, options: Any, message: str) -> None:
    write_files(tmp_path, {"a.csv": A, "b.csv": second, "c.csv": A})
    for path in (str(tmp_path / "*.csv"), [str(tmp_path / f"{name}.csv") for name in "abc"]):
        with pytest.raises(DataError, match=message):
            Csv(path=path, **options).sizes()


def test_a_quote_of_one_file_is_not_closed_by_another(tmp_path: Path) -> None:
    write_files(tmp_path, {"a.csv": 'x,y\n1,"p\n', "b.csv": 'x,y\n2,"\n', "c.csv": "x,y\n3,q\n"})
    with pytest.raises(DataError, match=r"a.csv, line 2: a quote is opened and never closed"):
        Csv(path=str(tmp_path)).sizes()
    assert Csv(path=str(tmp_path), quote=None).sizes() == {"all": 3}


def test_texts_that_are_no_numbers_are_named_by_their_file(tmp_path: Path) -> None:
    numbers = "".join(f"{number},1\n" for number in range(30))
    write_files(tmp_path, {"a.csv": f"x,y\n{numbers}", "b.csv": "x,y\n3,1\nmany,01\n5,2\n", "c.csv": "x,y\n"})
    table = Csv(path=str(tmp_path)).table
    assert table.types == {"x": "string", "y": "string"}
    assert table.problems["x"].fault == "1 of 33 values is not a number; the first is 'many' (line 3 of b.csv)"
    assert table.readings["y"].description == "text, since '01' (line 3 of b.csv) has a leading zero"


class _SlowContent(io.RawIOBase):
    """Content that arrives only when it may."""

    def __init__(self) -> None:
        self.is_read, self.may_arrive = threading.Event(), threading.Event()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        self.is_read.set()
        assert self.may_arrive.wait(10)
        return 0


def test_files_may_be_closed_while_another_thread_reads_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """Arrow reads ahead in a thread of its own."""
    content = _SlowContent()
    monkeypatch.setattr(MemoryFile, "open", lambda _: contextlib.nullcontext(io.BufferedReader(content)))
    joined = JoinedFile((CsvFile(MemoryFile(b"", "a.csv")),), ("a.csv",), "*.csv")

    def read(file: io.BufferedReader) -> None:
        with contextlib.suppress(ValueError):  # it is closed
            file.read()

    with joined.open() as opened:
        thread = threading.Thread(target=read, args=(opened,))
        thread.start()
        assert content.is_read.wait(10)
        threading.Timer(0.05, content.may_arrive.set).start()
    thread.join()


def test_large_files_are_read_as_small_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [f"{number},{'x' * 100},{number / 4}\n" for number in range(10_000)]
    rows[9_000] = "9000,,many\n"
    for number in range(10):
        write_files(tmp_path, {f"{number}.csv": "a,b,c\n" + "".join(rows[number * 1000 : (number + 1) * 1000])})
    small = Csv(path=str(tmp_path)).table
    monkeypatch.setattr("components.data.csv.reader.LARGE_BYTES", 0)
    monkeypatch.setattr("components.data.csv.reader.BLOCK_BYTES", 1 << 16)
    large = Csv(path=str(tmp_path)).table  # Arrow reads ahead in a thread of its own, while the file is closed
    assert describe(small, {}) == describe(large, {})
    assert large.problems["c"].fault == "1 of 10,000 values is not a number; the first is 'many' (line 2 of 9.csv)"


def test_bad_rows_of_all_files_are_skipped(tmp_path: Path) -> None:
    write_files(tmp_path, {"a.csv": "x,y\n1,1\n2\n3,3\n", "b.csv": "x,y\nmany,4\n5,5\n", "c.csv": "x,y\n6,6\n7,7\n"})
    source = Csv(path=str(tmp_path / "*"), on_bad_row="skip", types={"x": "int"})
    assert np.asarray(source.table.values["x"]).tolist() == [1, 3, 5, 6, 7]
    numbers = source.row_numbers()
    assert numbers is not None
    assert numbers.tolist() == [0, 2, 4, 5, 6]
    assert source.skipped_rows() == 2
    (sentence,) = source.left_out()
    assert "2 of 7 rows are skipped" in sentence
    assert "line 3 of a.csv: the number of fields is 1" in sentence
    assert "line 2 of b.csv: column `x` is 'many'" in sentence
    assert [source.locate_row(row).rpartition(", ")[2] for row in (1, 2)] == ["line 4 of a.csv", "line 3 of b.csv"]


def test_the_files_of_a_split_are_read_like_those_of_the_path(tmp_path: Path) -> None:
    files = {"train/a.csv": "x,y\n01,1\n02,2\n", "train/b.csv": "x,y\n03,3\n", "new/c.csv": "x,y\n4,4\n"}
    write_files(tmp_path, files | {"new/d.csv": "x,y\n5,5\n6,6\n"})
    source = Csv(path=str(tmp_path / "train"), valid=str(tmp_path / "new/*.csv"), test=[str(tmp_path / "new/d.csv")])
    assert source.sizes() == {"train": 3, "valid": 3, "test": 2}
    assert source.table.types == {"x": "string", "y": "int"}
    assert [source.locate_row(row).rpartition("/")[2] for row in (2, 4, 6)] == [
        "train, line 2 of b.csv",
        "*.csv, line 2 of d.csv",
        "d.csv, line 2",
    ]
    before = source.fingerprint()
    write_files(tmp_path, {"new/d.csv": "x,y\n5,5\n6,7\n"})
    assert Csv(path=source.path, valid=source.valid, test=source.test).fingerprint() != before
    write_files(tmp_path, {"new/d.csv": "x\n5\n"})
    with pytest.raises(DataError, match=r"d.csv has no column `y`, which .*/train has. Add the column"):
        Csv(path=source.path, test=source.test).sizes()


def test_files_are_read_in_the_order_of_their_names_and_those_of_a_list_in_its_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ["10.csv", "2.csv.gz", "B.TSV", "a/1.csv", "a/b/0.csv", ".hidden.csv", "notes.txt"]
    contents = {name: f"x\n{number}\n" for number, name in enumerate(names)}
    write_files(tmp_path / "in", {**contents, "2.csv.gz": gzip.compress(b"x\n1\n")})
    monkeypatch.chdir(tmp_path)

    def read(path: str | list[str]) -> list[int]:
        return list(np.asarray(Csv(path=path).table.values["x"]).tolist())

    assert read("in") == [0, 1, 2, 3, 4]
    assert read("in/*.*") == [0, 1, 2, 6]
    assert read("in/**/*.csv") == [0, 3, 4]
    assert read("in/[1B]*") == [0, 2]
    assert read(["in/B.TSV", "in/a/1.csv"]) == [2, 3]
    assert read(["in/a", "in/?.csv.gz"]) == [3, 4, 1]
    write_files(tmp_path, {"in/[1B]*": "x\n9\n"})
    assert read("in/[1B]*") == [9]  # a file of this name
    monkeypatch.setenv("TITRATE_DATA", str(tmp_path / "in"))
    assert read("a/*.csv") == [3]
    assert read("in/a/*.csv") == [3]  # below the working folder only


@pytest.mark.parametrize(
    ("files", "path", "message"),
    [
        ({}, "in/*.csv", r"no file matches .*/in/\*\.csv; there is no folder .*/in; correct"),
        ({"in/b.tsv": A, "in/c": A}, "in/*.csv", r"no file matches .*/in/\*\.csv; .*/in holds b.tsv, c; correct"),
        (
            {"in/b.parquet": "", "in/c": A},
            "in",
            r"is a folder \(.*/in\) without files that end .*; it has b.parquet, c; ch",
        ),
        (
            {"in/a.csv": A, "in/b.parquet": ""},
            "in",
            r"formats: a.csv \(CSV\), b.parquet \(another f.*=in/\*\*/\*.c",
        ),
        (
            {"in/a.csv": A, "in/a.csv.gz": A},
            "in",
            r"is a folder \(.*\) with a.csv and a.csv.gz, which may be one table twice",
        ),
        (
            {"in/train.csv": A, "in/test.csv": A},
            "in",
            r"is a folder \(.*/in\) of test.csv, train.csv, and test.csv seems to be a split; set `path`, and .* file",
        ),
        ({"a.csv": A, "b.csv": A}, ["*.csv", "b.csv"], r"`path` \(=\*\.csv, b\.csv\) has .*/b.csv twice; its rows"),
        ({}, [], "`path` is an empty list; list the files"),
        ({"a.csv": A}, ["a.csv", "c.csv"], r"there is no file .*/c.csv; did you mean a.csv\?"),
    ],
)
def test_files_that_can_not_be_found_or_chosen_are_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: Mapping[str, str], path: Any, message: str
) -> None:
    write_files(tmp_path, files)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match=message):
        Csv(path=path).fingerprint()


def test_the_fingerprint_is_that_of_the_contents_in_their_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_files(tmp_path, {"a.csv": A, "b.csv": "price,kind\n3,z\n", "one/a.csv": A})
    monkeypatch.chdir(tmp_path)
    single = Csv(path="a.csv").fingerprint()
    assert Csv(path=["a.csv"]).fingerprint() == Csv(path="one").fingerprint() == single
    assert single.startswith(f"{hashlib.blake2b(A.encode(), digest_size=16).hexdigest()}, self.delimiter=")  # as ever
    both = Csv(path="*.csv").fingerprint()
    assert Csv(path=["a.csv", "b.csv"]).fingerprint() == both
    assert len({single, both, Csv(path=["b.csv", "a.csv"]).fingerprint()}) == 3


def test_files_without_lines_of_names_are_joined(tmp_path: Path) -> None:
    for name, text in (("a.csv", "1,x\n2,y"), ("b.csv", "3,z\n4,\n"), ("c.csv", "5,v\nbad,w\n")):
        (tmp_path / name).write_text(text)
    options: Any = {"path": str(tmp_path / "[ab].csv"), "names": ("n", "text")}
    source = Csv(**options)
    assert source.table.values["n"].tolist() == [1, 2, 3, 4]
    (block,) = source.blocks("all")
    assert block.locate(2) == f"{options['path']}, line 1 of b.csv"
    with pytest.raises(DataError, match=r"line 2 of c.csv: column `n` is 'bad'"):
        _ = Csv(**options | {"path": str(tmp_path / "*.csv"), "types": {"n": "int"}}).table
    (tmp_path / "b.csv").write_text("n,text\n3,z\n")
    with pytest.raises(DataError, match=r"the first line of .*b.csv has the names of the columns; set `names=null`"):
        _ = Csv(**options).table


@pytest.mark.parametrize(
    ("content", "options"),
    [
        ('\ufeff"n",text\r\n\r\n1,"a\r\n\r\n""b"\r\n2,', {}),
        ("n,text\n#1,x\n1,a\n2,\n", {"comment": "#"}),
        ("1;a\r2;\r", {"names": ("n", "text"), "delimiter": ";"}),
        ("sep=|\nn|text\n1|a\nbad|x\n\n2|\\N\n", {"types": {"n": "int"}, "on_bad_row": "skip", "escape": "\\"}),
    ],
)
def test_fields_of_folders_end_each_row(content: str, options: Any, tmp_path: Path) -> None:
    for place in ("of=3/k=a;,%22b|", "of=4/k=__HIVE_DEFAULT_PARTITION__"):
        write_files(tmp_path / place, {"x.csv": content})
    for path, rows in (("of=3/*/x.csv", 1), ("**/x.csv", 2)):
        table = Csv(path=str(tmp_path / path), **options).table
        assert np.asarray(table.values["n"]).tolist() == [1, 2] * rows
        assert np.asarray(table.values["of"]).tolist() == [3, 3, 4, 4][: 2 * rows]
        assert cast(Strings, table.values["k"]).tolist() == ['a;,"b|', 'a;,"b|', "", ""][: 2 * rows]


def test_errors_do_not_count_the_fields_of_folders(tmp_path: Path) -> None:
    write_files(tmp_path, {"y=1/a.csv": "a,b\n1,2\n3\n", "z=1/b.csv": "a;b\n1;2\n", "z=2/c.csv": "a;b\n1;2\n"})
    with pytest.raises(DataError, match="line 3: the number of fields is 1, not 2 as in the first line"):
        _ = Csv(path=str(tmp_path / "y=1/a.csv")).table
    for path in ("z=1", "z=*/*"):
        with pytest.raises(DataError, match="has only one column, 'a;b'; set `delimiter=semicolon`"):
            _ = Csv(path=str(tmp_path / path)).table
