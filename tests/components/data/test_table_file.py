"""Tables in files of every format give the same columns as a frame, with errors that name the file."""

import gzip
import itertools
import json
import re
import subprocess
import sys
import zipfile
from collections.abc import Callable, Mapping
from datetime import date, datetime, time
from decimal import Decimal
from pathlib import Path
from typing import Any, cast
from uuid import UUID

import numpy as np
import pyarrow
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import csv, feather, ipc, orc, parquet

import components.data.column_store as column_store
import components.data.file_columns as file_columns
from components.data import Csv, Frame, TableFile
from components.data.table_file import TypedFile
from components.data.tfrecord.example import Feature
from components.data.tfrecord.framing import write_records
from components.data.tfrecord.serialize import serialize_examples
from components.data.typed_table import TypedTable
from components.data.writing.formats import write_tables
from components.types import DataError, Ragged, Strings
from runner.data.copied_columns import copy_columns


def write_lines(table: pyarrow.Table, path: Path) -> None:
    path.write_text("".join(json.dumps(row, default=str) + "\n" for row in table.to_pylist()))


def write_packed_lines(table: pyarrow.Table, path: Path) -> None:
    write_lines(table, path)
    path.write_bytes(gzip.compress(path.read_bytes(), mtime=0))


def write_stream(table: pyarrow.Table, path: Path) -> None:
    with ipc.new_stream(path, table.schema) as writer:
        writer.write_table(table, 2)


TYPED: dict[str, Callable[[pyarrow.Table, Path], Any]] = {
    "parquet": lambda table, path: parquet.write_table(table, path, row_group_size=2, write_page_checksum=True),
    "arrow": lambda table, path: feather.write_feather(table, str(path), chunksize=2),
    "stream": write_stream,
    "orc": lambda table, path: orc.write_table(table, str(path)),
}
DAY = datetime(2020, 1, 31)
FORMATS = TYPED | {"json_lines": write_lines, "packed": write_packed_lines}

HIVE_NULL = "__HIVE_DEFAULT_PARTITION__"
ROWS = pyarrow.table(
    {
        "count": [3, 1, None, 2],
        "size": [0.5, None, 1.25, -2.0],
        "name": ["a", None, "b, c", ""],
        "price": ["$1,200", "$950", "$3", "$4"],
        "code": ["007", "010", "123", "000"],
        "truth": [True, False, None, True],
    }
)
TIMES = pyarrow.table(
    {
        "day": [date(2020, 1, 31), None, date(1969, 7, 20), date(2024, 2, 29)],
        "moment": [datetime(2020, 1, 31, 12, 30), None, datetime(1969, 7, 20, 20, 17, 40), datetime(2024, 2, 29)],
        "hour": [time(12, 30), None, time(0, 0, 1), time(23, 59, 59)],
        "money": [Decimal("1.25"), None, Decimal("-0.50"), Decimal("100.00")],
        "level": pyarrow.array(["1", "2", None, "1"]).dictionary_encode(),
    }
)


def assert_equal_columns(source: Any, other: Any) -> None:
    """Two tables have the same columns."""
    assert source.table.types == other.table.types
    for name, expected in other.table.values.items():
        found = source.table.values[name]
        mask, expected_mask = (each.table.valid.get(name, np.ones(each.table.rows, bool)) for each in (source, other))
        np.testing.assert_array_equal(mask, expected_mask, name)
        if isinstance(expected, Strings):
            assert found.tolist() == expected.tolist()
        else:
            np.testing.assert_array_equal(found, expected, name)


def open_table(path: Path, **options: Any) -> Any:
    return TableFile(**{"path": str(path), **options}).open()


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("table", [ROWS, TIMES], ids=["rows", "times"])
def test_a_file_has_the_columns_of_a_frame(
    table: pyarrow.Table, format: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost = {"orc": ["hour", "level"], "json_lines": ["level", "money"], "packed": ["level", "money"]}
    table = table.drop([name for name in lost.get(format, ()) if name in table.column_names])
    path = tmp_path / "table"  # the bytes show the format, and not the name
    FORMATS[format](table, path)
    frame = Frame(columns=table)
    if format in ("json_lines", "packed"):
        frame = Frame(columns={name: values_in_json(table[name]) for name in table.column_names})
    assert_equal_columns(open_table(path), frame)
    monkeypatch.setattr(column_store, "MAX_ARRAY_BYTES", 0)
    source = open_table(path)
    assert_equal_columns(source, frame)
    if format in TYPED:
        assert source._store.maps
        source._store.release()
        assert_equal_columns(source, frame)


def values_in_json(column: pyarrow.ChunkedArray) -> Any:
    """The values of a column, as JSON can hold them."""
    if pyarrow.types.is_temporal(column.type):
        return [value and str(value) for value in column.to_pylist()]
    return column


TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=4)
COLUMNS = {
    "int": st.lists(st.none() | st.integers(-(2**63), 2**63 - 1), min_size=3, max_size=3),
    "float": st.lists(st.none() | st.floats(allow_nan=False), min_size=3, max_size=3),
    "text": st.lists(st.none() | TEXT, min_size=3, max_size=3),
    "bool": st.lists(st.none() | st.booleans(), min_size=3, max_size=3),
}
TYPES = {"int": pyarrow.int64(), "float": pyarrow.float64(), "text": pyarrow.string(), "bool": pyarrow.bool_()}


@settings(max_examples=30, deadline=None)
@given(st.fixed_dictionaries(COLUMNS), st.sampled_from([*TYPED]))
def test_any_values_are_those_of_a_frame(tmp_path_factory: Any, columns: dict[str, list[Any]], format: str) -> None:
    table = pyarrow.table({name: pyarrow.array(values, TYPES[name]) for name, values in columns.items()})
    path = tmp_path_factory.mktemp("table") / "table"
    TYPED[format](table, path)
    options: Any = {"types": {"text": "string"}}
    assert_equal_columns(open_table(path, **options), Frame(columns=table, **options))


def test_structs_are_columns(tmp_path: Path) -> None:
    (tmp_path / "t").write_text('{"a": {"b": 1, "c": {"d": "x"}}}\n\n{"a": {"b": 2, "c": null}}\n{"a": null}\n')
    source = open_table(tmp_path / "t")
    assert source.table.types == {"a.b": "int", "a.c.d": "string"}
    assert source.table.values["a.b"].tolist() == [1, 2, 0]
    assert source.table.valid["a.c.d"].tolist() == [True, False, False]
    assert next(source.blocks("all")).locate(1) == f"{tmp_path / 't'}, line 3"


def test_columns_of_lists_are_kept_and_have_no_profile(tmp_path: Path) -> None:
    table = ROWS.append_column("list", pyarrow.array([[1, 2], [], [3], [4]]))
    parquet.write_table(table, tmp_path / "t")
    source = open_table(tmp_path / "t", target="count")
    assert [column.name for column in source.profile().columns] == ROWS.column_names
    (note,) = source.profile().notes
    assert note.startswith("list is left out: it has lists, for which nothing is inferred; a feature file can")
    assert source.table.values["list"].offsets.tolist() == [0, 2, 2, 3, 4]


@pytest.mark.parametrize("format", TYPED)
def test_only_used_columns_are_read(format: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    TYPED[format](ROWS, tmp_path / "t")
    read: list[str] = []
    original = file_columns.FileColumns.read
    monkeypatch.setattr(
        file_columns.FileColumns, "read", lambda self, name: (read.append(name), original(self, name))[1]
    )
    source = open_table(tmp_path / "t", target="count", seed=None).with_used_columns({"size"})
    (block,) = source.blocks("all")
    assert source.splits()["train"].tolist() == [0, 1]
    assert {*read} == {"count", "size"}
    assert set(block.columns) == set(ROWS.column_names)
    assert block.columns["truth"].tolist() == [True, False, None, True]  # is read when it is asked for
    assert block.columns["name"].tolist() == ["a", None, "b, c", ""]
    assert {*read} == {"count", "size", "truth", "name"}


def test_columns_beside_predictions_keep_whole_numbers_with_gaps(tmp_path: Path) -> None:
    columns = {"y": [1, 2, 3], "id": [2**53 + 1, None, 7], "big": [2**64 - 1, None, 1], "name": ["", None, "b"]}
    table = pyarrow.table(columns, pyarrow.schema([("y", "i8"), ("id", "i8"), ("big", "u8"), ("name", "string")]))
    parquet.write_table(table, tmp_path / "t")
    source = open_table(tmp_path / "t", target="y").with_used_columns({"y"})
    copied = copy_columns(source, ["id", "big", "name"], np.array([2, 0, 1]))
    assert {name: values.tolist() for name, values in copied.items()} == {
        "id": [7, 2**53 + 1, None],
        "big": [1, 2**64 - 1, None],
        "name": ["b", "", None],
    }


def test_a_damaged_column_matters_where_it_is_used(tmp_path: Path) -> None:
    table = pyarrow.table({"x": [1.5, 2.5, 3.5], "y": ["zz-top", "zz-top", "zz-top"], "z": [1, 2, 3]})
    path = tmp_path / "t"
    parquet.write_table(table, path, write_page_checksum=True, compression="none")
    content = path.read_bytes()
    path.write_bytes(content.replace(b"zz-top", b"zz-tap", 1))
    source = open_table(path, target="z")
    assert source.with_used_columns({"x"}).table.values["x"].tolist() == [1.5, 2.5, 3.5]
    with pytest.raises(DataError, match=rf"^{path} is damaged, or no Parquet file: .*CRC"):
        _ = source.table


def test_folders_name_columns(tmp_path: Path) -> None:
    for year, kind, rows in (("2020", "a", ROWS[:1]), ("2021", "b%20c", ROWS[1:3]), ("2021", "d", ROWS[3:])):
        folder = tmp_path / "t" / f"year={year}" / f"kind={kind}"
        folder.mkdir(parents=True)
        parquet.write_table(rows, folder / "part.parquet")
    (tmp_path / "t" / "_SUCCESS").touch()
    source = open_table(tmp_path / "t")
    assert source.table.values["year"].tolist() == [2020, 2021, 2021, 2021]
    assert source.table.values["kind"].tolist() == ["a", "b c", "b c", "d"]
    assert_equal_columns(open_table(tmp_path / "t", drop=("year", "kind")), Frame(columns=ROWS))
    location = f"{tmp_path / 't'}, row 0 of year=2021/kind=d/part.parquet"
    assert next(source.blocks("all")).locate(3) == location


def write_examples(table: pyarrow.Table, path: Path) -> None:
    numbers = Feature("int64", table["x"].to_numpy(), np.arange(len(table) + 1))
    with path.open("wb") as file:
        write_records(file, serialize_examples({"x": numbers}, len(table)).tolist())


@pytest.mark.parametrize("format", ["csv", "parquet", "json_lines", "tfrecord"])
def test_folders_name_columns_of_all_formats_and_patterns(format: str, tmp_path: Path) -> None:
    write = {"csv": csv.write_csv, "tfrecord": write_examples, **FORMATS}[format]
    places = [f"year={year}/the%20kind={kind}" for year, kind in ((2020, "a"), (2021, HIVE_NULL), (2021, "b%2C c"))]
    for row, place in enumerate(places):
        (tmp_path / "t" / place).mkdir(parents=True)
        write(pyarrow.table({"x": [2 * row, 2 * row + 1]}), tmp_path / "t" / place / "part.csv")
    for path in ("t", "t/*/*/*.csv", [f"t/{place}/part.csv" for place in places]):
        paths = [str(tmp_path / each) for each in ([path] if isinstance(path, str) else path)]
        source = TableFile(path=paths if len(paths) > 1 else paths[0]).open()
        table = source.table
        assert [np.asarray(table.values[name]).tolist() for name in ("x", "year")] == [
            [0, 1, 2, 3, 4, 5],
            [2020, 2020, 2021, 2021, 2021, 2021],
        ]
        assert cast(Strings, table.values["the kind"]).tolist() == ["a", "a", "", "", "b, c", "b, c"]
    single = TableFile(path=str(tmp_path / "t" / places[2] / "part.csv"), test=str(tmp_path / "t" / places[0])).open()
    assert [block.columns["year"].tolist() for part in ("train", "test") for block in single.blocks(part)] == [
        [2021, 2021],
        [2020, 2020],
    ]
    before = source.fingerprint()
    (tmp_path / "t" / "year=2020").rename(tmp_path / "t" / "year=2019")
    assert TableFile(path=str(tmp_path / "t")).open().fingerprint() != before
    write(pyarrow.table({"x": [9]}), tmp_path / "t" / "part.csv")
    with pytest.raises(DataError, match=r"is in a folder the kind=…, which names a column, but .*t/part.csv isn't"):
        _ = TableFile(path=str(tmp_path / "t")).open().table
    (tmp_path / "t" / "part.csv").unlink()
    (tmp_path / "t" / "year=2019").rename(tmp_path / "t" / "x=3")
    with pytest.raises(DataError, match=r"`x` is a column of the files, and a folder is named x=…. Rename one"):
        _ = TableFile(path=str(tmp_path / "t/x=3")).open().table


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"a.csv": "csv", "b.parquet": "parquet"}, "a.csv (CSV), b.parquet (Parquet). Choose those to read, such as"),
        ({"a.parquet": "parquet", "b/c.csv": "csv"}, "a.parquet (Parquet), b/c.csv (CSV). Choose those to read"),
        ({"README.md": "csv", "a.csv": "csv"}, "a.csv (CSV), README.md (another format). Choose"),
        (
            {"a.jsonl": "json_lines", "a.jsonl.gz": "packed"},
            "with a.jsonl and a.jsonl.gz, which may be one",
        ),
        ({"_a.csv": "csv"}, "without files; it has _a.csv, whose names start with . or _; choose a file"),
    ],
)
def test_a_folder_of_several_formats_is_an_error(files: Mapping[str, str], message: str, tmp_path: Path) -> None:
    for name, format in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        {"csv": csv.write_csv, **FORMATS}[format](pyarrow.table({"x": [1]}), tmp_path / name)
    with pytest.raises(DataError, match=re.escape(message)):
        open_table(tmp_path)


@pytest.mark.parametrize("format", ["csv", "parquet"])
def test_files_beside_folders_are_read_with_those_in_them(format: str, tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    for row, name in enumerate(("a.csv", "sub/b.csv", "sub/_c.csv", ".d.csv")):
        {"csv": csv.write_csv, **FORMATS}[format](pyarrow.table({"x": [row]}), tmp_path / name)
    assert np.asarray(open_table(tmp_path).table.values["x"]).tolist() == [0, 1]


def test_files_of_other_splits_have_the_same_format(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("x\n1\n")
    parquet.write_table(pyarrow.table({"x": [1]}), tmp_path / "b")
    with pytest.raises(DataError, match=r"`valid` \(=.*b\) is Parquet, but .*a.csv is CSV. Save both in one format."):
        open_table(tmp_path / "a.csv", valid=str(tmp_path / "b"))
    with pytest.raises(DataError, match=r"`test` \(=.*a.csv\) is CSV, but .*b is Parquet. Save both in one format."):
        open_table(tmp_path / "b", test=str(tmp_path / "a.csv"))
    with pytest.raises(DataError, match=r"a.csv is CSV or of another format, but .*b is Parquet. Save all in one"):
        open_table(tmp_path / "*")
    with pytest.raises(
        DataError, match=r"column `x` has the shape \[\], and `shapes` declares \[2\]\. .* leave out `shapes.x`"
    ):
        _ = open_table(tmp_path / "b", shapes={"x": (2,)}).table


@pytest.mark.parametrize("format", ["parquet", "arrow", "json_lines"])
def test_a_declared_shape_makes_arrays_of_lists_and_names_a_row_of_another_length(tmp_path: Path, format: str) -> None:
    rows = pyarrow.table({"x": [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]], "y": [[[1, 2]], [[3, 4], [5, 6]], []]})
    FORMATS[format](rows, tmp_path / "t")
    lists, arrays = (open_table(tmp_path / "t", shapes=each) for each in (None, {"x": (2,), "y": (None, 2)}))
    assert isinstance(lists.table.values["x"], Ragged)
    assert arrays.table.values["x"].tolist() == [[1, 2], [3, 4], [5, 6]]
    assert arrays.table.values["y"].values.tolist() == [[1, 2], [3, 4], [5, 6]]
    assert arrays.table.values["y"].offsets.tolist() == [0, 1, 3, 3]
    assert lists.fingerprint() != arrays.fingerprint()
    for shapes, row, fault in (
        ({"x": (3,)}, 0, "has a list of length 2, not 3, for the declared shape [3]"),
        ({"y": (1, 2)}, 1, "has a list of length 2, not 1, for the declared shape [1,2]"),
        ({"y": (None, 3)}, 0, "has a list of length 2 within its list, not 3, for the declared shape [null,3]"),
    ):
        location = f"line {row + 1}" if format == "json_lines" else f"row {row}"
        with pytest.raises(
            DataError, match=re.escape(f"{location}: column `{next(iter(shapes))}` {fault}; correct it")
        ):
            _ = open_table(tmp_path / "t", shapes=shapes).table


def test_arrays_may_be_declared_lists_and_gaps_stay_gaps(tmp_path: Path) -> None:
    arrays = pyarrow.array([[1, 2], [3, 4]], pyarrow.list_(pyarrow.int64(), 2))
    parquet.write_table(pyarrow.table({"x": arrays, "y": [[1], None]}), tmp_path / "t")
    table = open_table(tmp_path / "t", shapes={"x": (None,), "y": (1,)}).table
    assert table.values["x"].offsets.tolist() == [0, 2, 4]
    assert table.valid["y"].tolist() == [True, False]


def test_shards_have_their_columns_in_any_order_and_numbers_of_several_types(tmp_path: Path) -> None:
    first = pyarrow.table({"x": pyarrow.array([1, 2], pyarrow.int16()), "y": pyarrow.nulls(2)})
    second = pyarrow.table({"y": ["a", "b"], "x": [0.5, None]})
    for name, table in (("0", first), ("1", second)):
        parquet.write_table(table, tmp_path / name)
    source = open_table(tmp_path / "?")
    assert source.table.values["x"].tolist()[:3] == [1.0, 2.0, 0.5]
    assert source.table.values["y"].tolist() == ["", "", "a", "b"]


BERLIN = pyarrow.timestamp("ms", tz="Europe/Berlin")


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        (pyarrow.array([1, 2**60], "int64"), pyarrow.array([7], "int8"), [1, 2**60, 7]),
        (pyarrow.array([2**60]), pyarrow.array([0.5]), [2.0**60, 0.5]),
        (pyarrow.array([2**53 + 1], "uint64"), pyarrow.array([-1]), [2**53 + 1, -1]),
        (pyarrow.array([Decimal("1.25")]), pyarrow.array([Decimal("100.5")]), [1.25, 100.5]),
        (pyarrow.array([Decimal(2**60)]), pyarrow.array([2**60 + 1]), [2**60, 2**60 + 1]),
        (pyarrow.array([Decimal("0.5")]), pyarrow.array([0.25]), [0.5, 0.25]),
        (pyarrow.array(["7"]).dictionary_encode(), pyarrow.array(["8"]), ["7", "8"]),
        (
            pyarrow.array(["7"]).cast(pyarrow.dictionary("int8", "large_string")),
            pyarrow.array(["8"]).dictionary_encode(),
            ["7", "8"],
        ),
        (pyarrow.nulls(1), pyarrow.array(["7"]).dictionary_encode(), ["", "7"]),
        (pyarrow.array(["a"]), pyarrow.array(["b"], "large_string"), ["a", "b"]),
        (pyarrow.array(["a"], "string_view"), pyarrow.array(["b"]), ["a", "b"]),
        (pyarrow.array([b"ab"], pyarrow.binary(2)), pyarrow.array([b"c"]), [b"ab", b"c"]),
        (pyarrow.array([b"ab"], pyarrow.binary(2)), pyarrow.array([b"c"], pyarrow.binary(1)), [b"ab", b"c"]),
        (pyarrow.array([DAY], "timestamp[s]"), pyarrow.array([DAY], "timestamp[us]"), [DAY, DAY]),
        (pyarrow.array([DAY], BERLIN), pyarrow.array([DAY], pyarrow.timestamp("s", "UTC")), [DAY, DAY]),
        (pyarrow.array([DAY.date()]), pyarrow.array([DAY.date()], "date64"), [DAY.date(), DAY.date()]),
        (pyarrow.array([DAY.date()]), pyarrow.array([DAY]), [DAY, DAY]),
        (pyarrow.array([time(0, 0, 1)], "time32[s]"), pyarrow.array([time(0, 0, 2)]), [1.0, 2.0]),
        (pyarrow.array([[1]]), pyarrow.array([[0.5, 2.0], []]), [[1.0], [0.5, 2.0], []]),
        (pyarrow.array([[1, 2]], pyarrow.list_(pyarrow.int8(), 2)), pyarrow.array([[3]]), [[1, 2], [3]]),
        (pyarrow.nulls(1), pyarrow.array([[3]]), [[], [3]]),
    ],
    ids=lambda each: str(getattr(each, "type", "")),
)
@pytest.mark.parametrize("reverse", [False, True])
def test_shards_may_have_types_of_one_kind(
    first: Any, second: Any, expected: list[Any], reverse: bool, tmp_path: Path
) -> None:
    for name, column in zip("ba" if reverse else "ab", (first, second), strict=True):
        feather.write_feather(pyarrow.table({"x": column}), str(tmp_path / name), compression="uncompressed")
    source = open_table(tmp_path / "?")
    values = source.table.values["x"]
    found = [*values.iterate_bytes()] if "x" in source._files else rows_of(values)
    count = len(first)
    found = found[-count:] + found[:-count] if reverse else found
    assert found == expected
    assert [type(each) for each in found] == [type(each) for each in expected]
    is_text = any(pyarrow.types.is_dictionary(each.type) for each in (first, second))
    assert not is_text or source.table.types["x"] == "string"


def rows_of(values: Any) -> list[Any]:
    """The rows of a column as values of Python."""
    if isinstance(values, Ragged):
        return [values.values[start:stop].tolist() for start, stop in itertools.pairwise(values.offsets)]
    return values if isinstance(values, list) else values.tolist()


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        ([1.5, 0.5], [3, 2**53 + 1], "row 1 of 1: column `x` is 9007199254740993, which the type double can't hold ex"),
        ([3, 2**53 + 1], [0.5], "row 1 of 0: column `x` is 9007199254740993, which the type double can't hold exactly"),
        (pyarrow.array([2**63], "uint64"), [1], "row 0 of 0: column `x` is 9223372036854775808, which the type int64"),
        (
            pyarrow.array([datetime(3020, 1, 1)], "timestamp[s]"),
            pyarrow.array([DAY], "timestamp[ns]"),
            r"row 0 of 0: column `x` is 3020-01-01 00:00:00, which the type timestamp\[ns\] can't hold exactly",
        ),
        (pyarrow.array([DAY], BERLIN), [DAY], r"`x` has the type timestamp\[us\] in .*/1, but timestamp\[ms, tz=.*/0"),
        ([True], [1], "column `x` has the type int64 in .*/1, but bool in .*/0. Write it with one type in all files"),
        (["a"], [b"a"], "column `x` has the type binary in .*/1, but string in .*/0"),
    ],
)
def test_values_that_a_common_type_can_not_hold_are_errors(
    first: Any, second: Any, message: str, tmp_path: Path
) -> None:
    for name, column in (("0", first), ("1", second)):
        parquet.write_table(pyarrow.table({"x": column}), tmp_path / name)
    with pytest.raises(DataError, match=message):
        _ = open_table(tmp_path / "?").table


BYTES = [b"\xff\0", None, b"", b"abc"]


@pytest.mark.parametrize("kind", [pyarrow.binary(), pyarrow.large_binary(), pyarrow.dictionary("int8", "binary")])
@pytest.mark.parametrize("max_bytes", [0, 1 << 28])
def test_bytes_are_packed(kind: Any, max_bytes: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(column_store, "MAX_ARRAY_BYTES", max_bytes)
    column = pyarrow.array(BYTES)
    column = column.dictionary_encode() if pyarrow.types.is_dictionary(kind) else column.cast(kind)
    table = pyarrow.table({"image": column, "y": [1, None, 3, 4], "n": [1, 2, 3, 4], "kind": [*"abab"]})
    feather.write_feather(table, str(tmp_path / "t"), compression="uncompressed")
    source = open_table(tmp_path / "t", target="y", on_missing_target="drop")
    (block,) = source.blocks("all")
    assert [*block.columns["image"].iterate_bytes()] == [b"\xff\0", b"", b"abc"]
    assert block.columns["kind"].tolist() == [*"aab"]
    assert block.files == {"image"}
    assert bool(source._store.maps) == (max_bytes == 0)
    assert source.profile().notes == (
        "image is left out: it has bytes: components.feature.Image reads images; decode texts",
    )
    whole = open_table(tmp_path / "t")
    assert whole.table.valid["image"].tolist() == [True, False, True, True]
    assert "image" not in whole.table.types
    unused = next(open_table(tmp_path / "t", target="n").with_used_columns({"n"}).blocks("all"))
    assert [*unused.columns["image"].iterate_bytes()] == [each or b"" for each in BYTES]
    with pytest.raises(
        DataError,
        match=r"`types` lists the column `image`, but it has bytes: components.feature.Image reads",
    ):
        _ = open_table(tmp_path / "t", types={"image": "string"}).table


def test_bytes_may_be_the_keys_of_groups(tmp_path: Path) -> None:
    keys = [bytes([255 - row % 5]) for row in range(20)]
    parquet.write_table(pyarrow.table({"key": keys, "y": [*range(20)]}), tmp_path / "t")
    splits = open_table(tmp_path / "t", group="key", target="y").splits()
    groups = [{row % 5 for row in rows} for rows in splits.values()]
    assert sorted(key for group in groups for key in group) == [*range(5)]


def test_only_columns_beyond_the_memory_limit_are_in_temporary_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(column_store, "MAX_ARRAY_BYTES", 3000)
    columns = {"n": [*range(100)], "text": [f"{row} {'x' * 40}" for row in range(100)], "m": [*range(100)]}
    parquet.write_table(pyarrow.table(columns), tmp_path / "t")
    source = open_table(tmp_path / "t")
    assert source.table.values["m"].tolist() == columns["m"]
    assert sum(each.size for each in source._store.maps) > 4000
    assert {*source._store._held} == {"n", "m"}


def test_a_struct_may_be_null_in_a_file(tmp_path: Path) -> None:
    full = pyarrow.table({"a": [{"b": 1, "c": {"d": "x"}}], "y": [1]})
    for name, table in (("0", pyarrow.table({"a": pyarrow.nulls(2), "y": [2, 3]})), ("1", full)):
        parquet.write_table(table, tmp_path / name)
    table = open_table(tmp_path / "?").table
    assert table.values["a.b"].tolist() == [0, 0, 1]
    assert table.values["a.c.d"].tolist() == ["", "", "x"]
    assert table.types == {"a.b": "int", "a.c.d": "string", "y": "int"}


def test_a_struct_may_be_null_at_another_depth_in_each_file(tmp_path: Path) -> None:
    inner = pyarrow.array([{"b": None}], pyarrow.struct([("b", pyarrow.null())]))
    for name, column in (("0", pyarrow.nulls(1)), ("1", inner), ("2", pyarrow.array([{"b": {"c": 1}}]))):
        parquet.write_table(pyarrow.table({"a": column, "y": [1.5]}), tmp_path / name)
    table = open_table(tmp_path / "?").table
    assert table.values["a.b.c"].tolist() == [0, 0, 1]
    assert table.valid["a.b.c"].tolist() == [False, False, True]
    assert {*table.values} == {"a.b.c", "y"}


@pytest.mark.parametrize("kind", ["list", "dictionary", "text"])
def test_the_row_of_a_text_that_is_not_utf_8_is_named(kind: str, tmp_path: Path) -> None:
    texts = pyarrow.array([b"a", b"\xff", b"b"]).view(pyarrow.string())
    column: Any = texts.take(pyarrow.array([0, 0, 2, 0, 1, 0]))
    if kind == "list":
        column = pyarrow.ListArray.from_arrays(pyarrow.array([0, 0, 0, 1, 1, 2, 3], pyarrow.int32()), texts)
    elif kind == "dictionary":
        column = pyarrow.DictionaryArray.from_arrays(pyarrow.array([0, 0, 2, 0, 1, 0], pyarrow.int8()), texts)
    write_stream(pyarrow.table({"x": pyarrow.chunked_array([column.slice(0, 2), column.slice(2)])}), tmp_path / "t")
    with pytest.raises(DataError, match="t, row 4: column `x` has a text that isn't UTF-8"):
        _ = open_table(tmp_path / "t").table


def test_uuids_are_texts(tmp_path: Path) -> None:
    ids = [UUID(int=1), None, UUID(int=2**127)]
    storage = pyarrow.array([each and each.bytes for each in ids], pyarrow.binary(16))
    table = pyarrow.table({"x": pyarrow.ExtensionArray.from_storage(pyarrow.uuid(), storage), "y": [1, 2, 3]})
    parquet.write_table(table, tmp_path / "t")
    for source in (open_table(tmp_path / "t"), Frame(columns=table)):
        assert source.table.values["x"].tolist() == [str(ids[0]), "", str(ids[2])]
        assert source.table.valid["x"].tolist() == [True, False, True]


def test_types_that_arrow_defines_by_others_are_read_and_unknown_ones_are_an_error() -> None:
    flags = pyarrow.ExtensionArray.from_storage(pyarrow.bool8(), pyarrow.array([2, 0, None], pyarrow.int8()))
    texts = pyarrow.ExtensionArray.from_storage(pyarrow.json_(), pyarrow.array(["{}", None, "[1]"]))
    table = Frame(columns=pyarrow.table({"flag": flags, "text": texts})).table
    assert table.types == {"flag": "bool", "text": "string"}
    assert np.asarray(table.values["flag"]).tolist() == [True, False, False]
    other = pyarrow.ExtensionArray.from_storage(pyarrow.opaque(pyarrow.int64(), "x", "y"), pyarrow.array([1]))
    with pytest.raises(DataError, match=r"`x` has Arrow's type extension<arrow.opaque.*convert the column first"):
        _ = Frame(columns=pyarrow.table({"x": other})).table


def test_gaps_among_arrays_in_parquet_are_an_error(tmp_path: Path) -> None:
    column = pyarrow.array([[1, 2], None], pyarrow.list_(pyarrow.int64(), 2))
    parquet.write_table(pyarrow.table({"x": column}), tmp_path / "t")
    with pytest.raises(DataError, match="t has gaps among arrays of a fixed size, which Arrow can't read from Parquet"):
        _ = open_table(tmp_path / "t").table
    write_stream(pyarrow.table({"x": column}), tmp_path / "t")
    assert open_table(tmp_path / "t").table.valid["x"].tolist() == [True, False]


def test_lists_of_structs_that_nothing_reads_may_differ(tmp_path: Path) -> None:
    structs = ([[{"a": 1}]], [[{"b": "t", "a": 1.5}]], [None])
    for number, column in enumerate(structs):
        parquet.write_table(pyarrow.table({"x": column, "y": [number]}), tmp_path / str(number))
    source = open_table(tmp_path / "?")
    assert source.with_used_columns({"y"}).table.values["y"].tolist() == [0, 1, 2]
    assert source._store.read("x").to_pylist() == [[{"a": 1, "b": None}], [{"a": 1.5, "b": "t"}], None]
    parquet.write_table(pyarrow.table({"x": [[{"a": "t"}]], "y": [3]}), tmp_path / "3")
    with pytest.raises(DataError, match=r"column `x` has the type .* in .*/3, but .* in .*/1. Write it with one type"):
        _ = open_table(tmp_path / "?").with_used_columns({"y"}).table


@pytest.mark.parametrize(
    ("second", "message"),
    [
        ({"xs": [0.5], "y": [1]}, r".*/1 has other columns than .*/0. Missing: x. Unexpected: xs. Did you mean x\?"),
        ({"x": ["7"], "y": [1]}, "column `x` has the type string in .*/1, but double in .*/0. Write it with one type"),
        ({"z": [0.5], "y": [1]}, r".*/1 has other columns than .*/0. Missing: x. Unexpected: z.$"),
        ({"x": [0.5]}, ".*/1 has other columns than .*/0. Missing: y.$"),
    ],
)
def test_shards_that_disagree_are_an_error(tmp_path: Path, second: dict[str, Any], message: str) -> None:
    for name, columns in (("0", {"x": [0.5], "y": [2]}), ("1", second)):
        parquet.write_table(pyarrow.table(columns), tmp_path / name)
    with pytest.raises(DataError, match=message):
        _ = open_table(tmp_path / "?").table


@pytest.mark.parametrize("format", TYPED)
def test_a_file_without_rows_or_with_a_cut_is_an_error(format: str, tmp_path: Path) -> None:
    TYPED[format](ROWS[:0], tmp_path / "empty")
    with pytest.raises(DataError, match="empty has no rows"):
        _ = open_table(tmp_path / "empty").table
    TYPED[format](ROWS, tmp_path / "t")
    content = (tmp_path / "t").read_bytes()
    (tmp_path / "t").write_bytes(content[: len(content) // 2])
    with pytest.raises(DataError, match=rf"^{tmp_path / 't'} "):
        _ = open_table(tmp_path / "t").table


@pytest.mark.parametrize("format", TYPED)
def test_given_files_are_read_like_the_training_file(format: str, tmp_path: Path) -> None:
    table = ROWS.append_column("late", pyarrow.array(["1", "2", "3", "x"]))
    TYPED[format](table[:3], tmp_path / "train")
    TYPED[format](table[2:3].append_column("more", [[1]]), tmp_path / "test")
    source = open_table(tmp_path / "train", test=str(tmp_path / "test"), target="count")
    assert source.sizes() == {"train": 3, "test": 1}
    (block,) = source.blocks("test")
    assert block.columns["late"].tolist() == [3]
    assert block.columns["price"].tolist() == [3]
    TYPED[format](table[:1].drop(["size"]), tmp_path / "test")
    with pytest.raises(DataError, match=f"test has no column `size`, which {tmp_path}/train has. Add the column"):
        open_table(tmp_path / "train", test=str(tmp_path / "test"), target="count").sizes()


def test_the_fingerprint_follows_the_bytes_of_all_files(tmp_path: Path) -> None:
    for name in ("0", "1", "test"):
        parquet.write_table(ROWS, tmp_path / name)
    options = {"test": str(tmp_path / "test")}
    found = {open_table(tmp_path / "?", **options).fingerprint()}
    for name in ("0", "1", "test"):
        parquet.write_table(ROWS[:3], tmp_path / name)
        found.add(open_table(tmp_path / "?", **options).fingerprint())
    assert len(found) == 4


@pytest.mark.parametrize("names", [("train.parquet", "test.parquet"), ("train/0", "valid/0"), ("train-0-of-1", "x")])
def test_a_folder_of_splits_is_no_table(names: tuple[str, ...], tmp_path: Path) -> None:
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        parquet.write_table(ROWS, tmp_path / name)
    with pytest.raises(DataError, match="seems to be a split; set `path`, and `valid` and `test` if there are such"):
        open_table(tmp_path).fingerprint()


def test_csv_files_are_read_as_ever(tmp_path: Path) -> None:
    path = tmp_path / "table.txt"
    path.write_text("x;y\n1;2\n3;4\n")
    source = open_table(path, delimiter="semicolon")
    assert type(source) is Csv
    assert source.fingerprint() == Csv(path=str(path), delimiter="semicolon").fingerprint()


@pytest.mark.parametrize(
    ("suffix", "name"),
    [
        *(
            ("parquet", "Parquet"),
            ("feather", "Arrow"),
            ("orc", "ORC"),
            ("jsonl", "JSON lines"),
            ("tfrecord", "TFRecord"),
        ),
        ("jsonl.gz", "JSON lines"),
    ],
)
def test_a_suffix_of_another_format_than_the_content_is_an_error(suffix: str, name: str, tmp_path: Path) -> None:
    path = tmp_path / f"t.{suffix}"
    for content, message in (
        (b"", f"t.{suffix} is empty, and no {name} file. Write it again, or leave it out"),
        (b"a,b\n1,2\n", rf"t.{suffix} is no {name} file: it starts with 'a,b'. .* choose data=csv, or rename it"),
        (b"version https://git-lfs.github.com/spec/v1\n", "is a pointer of Git LFS, .* by `git lfs pull`"),
    ):
        path.write_bytes(gzip.compress(content) if suffix.endswith("gz") else content)
        with pytest.raises(DataError, match=message):
            open_table(path)
    path.write_text("a,b\n1,2\n")
    assert Csv(path=str(path)).sizes() == {"all": 1}
    parquet.write_table(ROWS, path := tmp_path / "t.csv")
    assert open_table(path).sizes() == {"all": len(ROWS)}
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\n")
    with pytest.raises(DataError, match=r"t\.csv is a pointer of Git LFS, not a CSV file; fetch the file itself"):
        open_table(path).sizes()


def test_columns_that_are_named_like_a_format_are_text(tmp_path: Path) -> None:
    for name in ("ORC", "PAR1", "ARROW1"):
        (tmp_path / "t").write_text(f"{name},y\n1,2\n")
        assert [*open_table(tmp_path / "t").table.values] == [name, "y"]
        assert [*Csv(path=str(tmp_path / "t")).table.values] == [name, "y"]


def test_wrong_options_and_formats_are_errors(tmp_path: Path) -> None:
    parquet.write_table(ROWS, tmp_path / "t")
    with pytest.raises(DataError, match=r"`delimiter` \(=;\) is for CSV files, but .*t is Parquet. Leave out"):
        open_table(tmp_path / "t", delimiter=";")
    with pytest.raises(DataError, match="t is Parquet, not CSV; choose data=table, or save it as CSV if other"):
        Csv(path=str(tmp_path / "t")).sizes()
    with pytest.raises(DataError, match=r"t has no column `prise`, which `types` lists. Did you mean price\?"):
        _ = open_table(tmp_path / "t", types={"prise": "string"}).table
    (tmp_path / "u").write_text("x\n1\n")
    with pytest.raises(DataError, match=r"t is Parquet, but .*u is CSV or of another format. Save all in one format."):
        open_table(tmp_path / "*").fingerprint()
    with pytest.raises(DataError, match=r"\*.parquet; .*; correct the pa"):
        open_table(tmp_path / "*.parquet").fingerprint()


@pytest.mark.parametrize(
    ("name", "files", "message"),
    [
        ("book.xlsx", None, "is a spreadsheet, not a CSV file; save it as CSV or Parquet"),
        (
            "book.csv",
            ["[Content_Types].xml", "xl/workbook.xml"],
            "is an Excel file, not a CSV file; save it as",
        ),
        ("book.csv", ["mimetype", "content.xml"], "is an OpenDocument file, not a CSV file; save it as CSV or Parquet"),
        ("t.zip", ["t.csv"], "is a zip archive of t.csv, not a CSV file; unpack it, or save it as CSV"),
    ],
)
def test_zip_archives_are_named_by_their_content(
    name: str, files: list[str] | None, message: str, tmp_path: Path
) -> None:
    if files is None:
        (tmp_path / name).write_bytes(b"PK\x03\x04" + bytes(30))
    else:
        with zipfile.ZipFile(tmp_path / name, "w") as archive:
            for each in files:
                archive.writestr(each, "x\n1\n")
    with pytest.raises(DataError, match=message):
        open_table(tmp_path / name).sizes()


@pytest.mark.parametrize("format", TYPED)
def test_packed_files_of_typed_columns_are_named(format: str, tmp_path: Path) -> None:
    TYPED[format](ROWS, tmp_path / "t")
    (tmp_path / "t").write_bytes(gzip.compress((tmp_path / "t").read_bytes()))
    with pytest.raises(DataError, match=r"t is \w+ inside gzip, which can't be read column by column. Unpack it"):
        open_table(tmp_path / "t")


def test_rows_with_texts_that_cant_be_read_are_skipped(tmp_path: Path) -> None:
    table = pyarrow.table({"x": ["1", "2", "?!", "4"], "y": [1, 2, 3, 4]})
    parquet.write_table(table, tmp_path / "t")
    with pytest.raises(DataError, match=rf"^{tmp_path / 't'}, row 2: column `x` is '\?!', not of type float"):
        _ = open_table(tmp_path / "t", types={"x": "float"}).table
    source = open_table(tmp_path / "t", types={"x": "float"}, on_bad_row="skip", target="y")
    (block,) = source.with_used_columns({"x"}).blocks("all")
    assert (block.columns["x"].tolist(), block.columns["y"].tolist()) == ([1, 2, 4], [1, 2, 4])
    assert block.locate(2) == f"{tmp_path / 't'}, row 3"


def test_reading_imports_no_other_library_of_tables(tmp_path: Path) -> None:
    for format, write in TYPED.items():
        write(pyarrow.table({"x": [0.5, None], "y": [1, 2], "kind": ["a", "a"]}), tmp_path / format)
    code = f"""if True:
        import sys
        from components.data import TableFile
        for format in {[*TYPED]}:
            assert TableFile(path={str(tmp_path)!r} + "/" + format).open().sizes() == {{"all": 2}}
        assert not {{"pandas", "jax"}} & sys.modules.keys()"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_all_typed_tables_are_tested_here() -> None:
    assert {kind.__name__ for kind in TypedTable.__subclasses__()} >= {"Frame"}
    assert issubclass(TypedFile, TypedTable)


def test_files_of_a_list_are_one_table(tmp_path: Path) -> None:
    for name, rows in {"a": [1, 2], "b": [3]}.items():
        pyarrow.parquet.write_table(pyarrow.table({"x": rows}), tmp_path / f"{name}.parquet")
        (tmp_path / f"{name}.csv").write_text("x\n" + "".join(f"{row}\n" for row in rows))
    for suffix in ("parquet", "csv"):
        paths = tuple(str(tmp_path / f"{name}.{suffix}") for name in "ba")
        source = TableFile(path=paths).open()
        assert np.asarray(source.table.values["x"]).tolist() == [3, 1, 2]
        assert source.locate_row(0).rpartition(", ")[0] == ", ".join(paths)
    with pytest.raises(DataError, match=r"a\.parquet twice; its rows would be read twice"):
        TableFile(path=(str(tmp_path / "a.parquet"), str(tmp_path / "*.parquet"))).open()


def write_all_examples(table: pyarrow.Table, path: Path) -> None:
    with path.open("wb") as file:
        write_tables(file, [table], "tfrecord", "none")


SELF_NAMED: dict[str, Callable[[pyarrow.Table, Path], Any]] = {
    "json_lines": lambda table, path: path.write_text(
        "".join(
            json.dumps({name: value for name, value in row.items() if value is not None}) + "\n"
            for row in table.to_pylist()
        )
    ),
    "tfrecord": write_all_examples,
}
"""The formats in which each row names its own values."""
OPTIONAL = pyarrow.table(
    {
        "x": pyarrow.array([1, 2, 3]),
        "size": pyarrow.array([0.5, None, 2.0], pyarrow.float32()),
        "name": pyarrow.array(["a", None, "b"], pyarrow.large_string()),
    }
)
NAMES = ["x", "size", "name"]


def check_gaps(table: Any) -> None:
    """Checks that a table has gaps in all rows of two columns."""
    assert {name: table.types[name] for name in NAMES} == {"x": "int", "size": "float", "name": "string"}
    assert np.isnan(table.values["size"]).all()
    assert set(table.values["name"].tolist()) == {""}
    assert not table.valid["size"].any()
    assert not table.valid["name"].any()


@pytest.mark.parametrize("used", [None, ["x", "tags"]])
def test_a_missing_list_of_a_given_split_is_no_empty_list(used: list[str] | None, tmp_path: Path) -> None:
    table = pyarrow.table({"x": [1, 2, 3], "tags": [["a"], None, []], "y": [0, 1, 0]})
    parquet.write_table(table, tmp_path / "t.parquet")
    source = open_table(tmp_path / "t.parquet", valid=str(tmp_path / "t.parquet"), target="y")
    source = source if used is None else source.with_used_columns(used, ["y"])
    for part in ("train", "valid"):
        (block,) = source.blocks(part)
        assert block.valid["tags"].tolist() == [True, False, True]
        assert cast(Ragged, block.columns["tags"]).offsets.tolist() == [0, 1, 1, 1]


@pytest.mark.parametrize("format", SELF_NAMED)
def test_columns_that_no_row_has_are_gaps_where_rows_name_their_values(format: str, tmp_path: Path) -> None:
    write = SELF_NAMED[format]
    write(OPTIONAL, tmp_path / "train")
    write(OPTIONAL.select(["x"]), tmp_path / "new")
    note = f"{tmp_path}/new: no row has a value of name, size, so all have gaps"
    source = open_table(tmp_path / "train", valid=str(tmp_path / "new"))
    check_gaps(source.tables["valid"].table)
    assert [each.replace("size, name", "name, size") for each in source.reading_notes(NAMES, declared=True)] == [note]
    options = source.inferred_options(dict.fromkeys(NAMES, "int"))
    new = open_table(tmp_path / "new", **options).with_used_columns(NAMES).with_known_columns(NAMES)
    check_gaps(new.table)
    assert new.reading_notes(NAMES, declared=True) == (note,)
    assert new.with_known_columns(["x"]) is new
    other_order = open_table(tmp_path / "new", **options).with_known_columns(NAMES).with_used_columns(NAMES)
    check_gaps(other_order.table)
    check_gaps(open_table(tmp_path / "new").with_known_columns(NAMES, options["types"]).table)
    write(OPTIONAL.select(["size"]).rename_columns(["other"]), tmp_path / "new")
    with pytest.raises(DataError, match=r"new has no column that the run reads: none of name, size, x\. .*: other\.$"):
        _ = open_table(tmp_path / "new").with_used_columns(NAMES).with_known_columns(NAMES).table


def test_lists_that_no_row_has_are_gaps(tmp_path: Path) -> None:
    (tmp_path / "new.jsonl").write_text('{"x": 1}\n{"x": 2}\n')
    source = open_table(tmp_path / "new.jsonl").with_known_columns(["x", "tags"])
    assert source.with_known_columns(["x", "tags"], None, ["x"]) is source  # only `tags` has no value
    (block,) = source.with_known_columns(["x", "tags"], None, ["tags"]).blocks("all")
    assert block.valid["tags"].tolist() == [False, False]
    assert cast(Ragged, block.columns["tags"]).offsets.tolist() == [0, 0, 0]


@pytest.mark.parametrize("format", SELF_NAMED)
def test_files_in_which_no_row_has_a_column_have_gaps(format: str, tmp_path: Path) -> None:
    SELF_NAMED[format](OPTIONAL.select(["x"]), tmp_path / "0")
    SELF_NAMED[format](OPTIONAL, tmp_path / "1")
    table = open_table(tmp_path / "?").table
    np.testing.assert_array_equal(table.values["size"], [np.nan] * 3 + [0.5, np.nan, 2])
    assert table.values["name"].tolist() == ["", "", "", "a", "", "b"]


@pytest.mark.parametrize("format", TYPED)
def test_columns_that_a_file_does_not_list_are_an_error(format: str, tmp_path: Path) -> None:
    TYPED[format](OPTIONAL.select(["x"]), tmp_path / "new")
    with pytest.raises(DataError, match="new has no column `size`, which the run reads"):
        _ = (
            open_table(tmp_path / "new", types={"size": "float"})
            .with_used_columns(NAMES)
            .with_known_columns(NAMES)
            .table
        )
