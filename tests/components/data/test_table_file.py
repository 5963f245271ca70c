"""Tables in files of every format give the same columns as a frame, with errors that name the file."""

import gzip
import json
import re
import subprocess
import sys
from collections.abc import Callable
from datetime import date, datetime, time
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import feather, ipc, orc, parquet

import components.data.column_store as column_store
from components.data import Csv, Frame, TableFile
from components.data.table_file import TypedFile
from components.data.typed_table import TypedTable
from components.types import DataError, Strings


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
FORMATS = TYPED | {"json_lines": write_lines, "packed": write_packed_lines}

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
    original = column_store.FileColumns.read
    monkeypatch.setattr(
        column_store.FileColumns, "read", lambda self, name: (read.append(name), original(self, name))[1]
    )
    source = open_table(tmp_path / "t", target="count", seed=None).with_used_columns({"size"})
    (block,) = source.blocks("all")
    assert source.splits()["train"].tolist() == [0, 1]
    assert {*read} == {"count", "size"}
    assert set(block.columns) == set(ROWS.column_names)
    assert block.columns["truth"].tolist()[:2] == [True, False]  # is read when it is asked for
    assert block.columns["name"].tolist() == ["a", "", "b, c", ""]
    assert np.isnan(block.columns["truth"][2])
    assert {*read} == {"count", "size", "truth", "name"}


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
    assert "year" not in open_table(tmp_path / "t/*/*/*.parquet").table.values


def test_shards_have_their_columns_in_any_order_and_numbers_of_several_types(tmp_path: Path) -> None:
    first = pyarrow.table({"x": pyarrow.array([1, 2], pyarrow.int16()), "y": pyarrow.nulls(2)})
    second = pyarrow.table({"y": ["a", "b"], "x": [0.5, None]})
    for name, table in (("0", first), ("1", second)):
        parquet.write_table(table, tmp_path / name)
    source = open_table(tmp_path / "?")
    assert source.table.values["x"].tolist()[:3] == [1.0, 2.0, 0.5]
    assert source.table.values["y"].tolist() == ["", "", "a", "b"]


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


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"x": 1}\n\n{"x": "a"}\n', "t, line 3: column `x` has a value of the type string, but number before; write"),
        ('{"x": {"y": 1}}\n{"x": {"y": "a"}}\n', "t, line 2: column `x.y` has a value of the type string"),
        ('{"x": 1}\n{"x":\n', "t, line 2: it is no JSON object: Invalid value"),
        ('{"x": 1}\n[1]\n', "t, line 2: there is a value of the type array, but object before"),
        ('{"x": 1, "x": 2}\n', "t, line 1: `x` is there twice"),
        (b'{"x": "\xff"}\n', "t, line 1: column `x` has a text that isn't UTF-8"),
        ("{}\n", "t has no columns"),
        ('{"x": 1}{"x": 2}\n', "t has 2 objects in 1 lines; write one in each line"),
        ('{"x": 1}\n{"x":\n2}\n', "t has 2 objects in 3 lines"),
        (b'{"\xff": 1}\n', "t has a name that isn't UTF-8"),
    ],
)
def test_wrong_json_is_an_error_with_its_line(tmp_path: Path, content: Any, message: str) -> None:
    path = tmp_path / "t"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(DataError, match=re.escape(message)):
        _ = open_table(path).table


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
    path = tmp_path / "table.parquet"  # the bytes decide
    path.write_text("x;y\n1;2\n3;4\n")
    source = open_table(path, delimiter="semicolon")
    assert type(source) is Csv
    assert source.fingerprint() == Csv(path=str(path), delimiter="semicolon").fingerprint()


def test_columns_that_are_named_like_a_format_are_text(tmp_path: Path) -> None:
    for name in ("ORC", "PAR1", "ARROW1"):
        (tmp_path / "t").write_text(f"{name},y\n1,2\n")
        assert [*open_table(tmp_path / "t").table.values] == [name, "y"]
        assert [*Csv(path=str(tmp_path / "t")).table.values] == [name, "y"]


def test_wrong_options_and_formats_are_errors(tmp_path: Path) -> None:
    parquet.write_table(ROWS, tmp_path / "t")
    with pytest.raises(DataError, match=r"`delimiter` \(=;\) is for CSV files, but .*t is Parquet. Leave it out."):
        open_table(tmp_path / "t", delimiter=";")
    with pytest.raises(DataError, match="t is Parquet, not CSV; choose data=table, which reads both"):
        Csv(path=str(tmp_path / "t")).sizes()
    with pytest.raises(DataError, match=r"t has no column `prise`, which `types` lists. Did you mean price\?"):
        _ = open_table(tmp_path / "t", types={"prise": "string"}).table
    (tmp_path / "u").write_text("x\n1\n")
    with pytest.raises(DataError, match=r"t is Parquet, but .*u is CSV or of another format. Save all in one format."):
        open_table(tmp_path / "*").fingerprint()
    with pytest.raises(DataError, match=r"\*.parquet; .*; correct the pa"):
        open_table(tmp_path / "*.parquet").fingerprint()
    (tmp_path / "book.xlsx").write_bytes(b"PK\x03\x04" + bytes(30))
    with pytest.raises(DataError, match="is a spreadsheet, not a CSV file; save it as CSV or Parquet"):
        open_table(tmp_path / "book.xlsx").sizes()


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
