"""What is written into files of each format is read with the values, masks and types of the source."""

import io
import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from components.data import Arrays, Frame, ImageFolders, TableFile
from components.data.writing import formats
from components.data.writing.formats import COMPRESSIONS, DigestFile, RecordOptions, write_tables
from components.data.writing.images import write_image_folders
from components.data.writing.reading import Flags, add_flags, find_reading_options
from components.data.writing.rows import read_rows, split_tables
from components.image_files import Decoding, decode_image, encode_png
from components.types import DataError, Ragged, Strings

DECODING = Decoding(None, "stretch", None, draft=False, max_pixels=1000)
KINDS = [(kind, each) for kind, allowed in COMPRESSIONS.items() for each in allowed]


def write(source: Any, path: Path, kind: Any = "parquet", compression: Any = None, **record_options: Any) -> Any:
    """Writes all rows of a source, and opens the file with the options that are found."""
    rows = np.arange(sum(source.sizes().values()))
    zoned = source.times_with_zone() if isinstance(source, Frame) else ()
    tables = [*read_rows(source, rows, zoned)]
    flags: Flags = {}
    for table in tables:
        add_flags(flags, table)
    how = RecordOptions(**record_options)
    with path.open("wb") as file:
        write_tables(file, tables, kind, compression or COMPRESSIONS[kind][0], how)
    options = find_reading_options(tables[0].schema, flags, kind, how)
    return TableFile(path=str(path), **options).open()


def assert_equal(source: Any, other: Any) -> None:
    """Two tables have the same values, masks and types. Times may have other units."""
    assert source.table.types == {name: other.table.types[name] for name in source.table.types}
    for name, expected in other.table.values.items():
        mask, expected_mask = (each.table.valid.get(name, np.ones(each.table.rows, bool)) for each in (source, other))
        if (found := source.table.values.get(name)) is None:  # TFRecord files don't have a column without values
            assert not expected_mask.any()
            continue
        np.testing.assert_array_equal(mask, expected_mask, name)
        if isinstance(expected, Strings):
            assert [*found.iterate_bytes()] == [*expected.iterate_bytes()]
        else:
            np.testing.assert_array_equal(found, expected, name)


TEXT = st.sampled_from(["007", "1", "NA", "true", "1.5", "2020-01-31", "-", "inf", "x"]) | st.text(
    st.characters(codec="utf-8", exclude_characters="\0"), max_size=4
)
FLOAT = st.floats(allow_nan=False) | st.sampled_from([1.0, 1.5, 1.234, 999.0, 0.1])
TIME = st.datetimes().map(lambda time: np.datetime64(time, "us"))
CELLS: dict[str, Any] = {
    "int": st.integers(-(2**63), 2**63 - 1),
    "float": FLOAT,
    "text": TEXT,
    "bool": st.booleans(),
    "time": TIME,
    "moment": TIME,
}
COLUMNS = {name: st.tuples(cell, *[st.none() | cell] * 3) for name, cell in CELLS.items()}


@settings(max_examples=15, deadline=None)
@given(st.fixed_dictionaries(COLUMNS), st.sampled_from(KINDS))
def test_a_written_table_equals_its_source(
    tmp_path_factory: Any, columns: dict[str, tuple[Any, ...]], kind: tuple[Any, Any]
) -> None:
    arrays: dict[str, Any] = {name: [*cells] for name, cells in columns.items()}
    for name in ("time", "moment"):
        arrays[name] = pyarrow.array(np.array(arrays[name], "M8[us]"))
    arrays["moment"] = arrays["moment"].cast(pyarrow.timestamp("us", "UTC"))
    options: dict[str, Any] = {"types": {"text": "string"}}
    if {"NA", ""} & {*columns["text"]}:  # they aren't gaps
        options["nulls"] = {"text": ["?"]}
    if kind[0] == "csv" and {"", None} <= {*columns["text"]}:
        return  # both are an empty field
    source = Frame(columns=arrays, **options)
    assert source.times_with_zone() == ["moment"]
    path = tmp_path_factory.mktemp("table") / "table"
    found = write(source, path, *kind, float64="text" if kind[0] == "tfrecord" else None)
    assert_equal(found, source)
    if path.read_bytes()[:2] == b"\x1f\x8b":
        assert path.read_bytes()[4:8] == bytes(4)  # no time, so that equal tables give equal bytes
    assert found.times_with_zone() == ["moment"]
    if kind[0] != "tfrecord":
        assert [*found.table.values] == [*source.table.values]


def test_floats_show_that_they_are_floats(tmp_path: Path) -> None:
    source = Frame(columns={"whole": [1.0, 2.0], "thousands": [1.234, 56.0], "small": np.float32([0.1, 0.5])})
    for kind, float64 in (("csv", None), ("parquet", None), ("tfrecord", "text")):
        assert_equal(write(source, tmp_path / kind, kind, float64=float64), source)
    rounded = write(source, tmp_path / "rounded", "tfrecord", float64="round")
    assert rounded.table.values["thousands"].tolist() == np.float32([1.234, 56]).tolist()


IMAGES = np.random.default_rng(0).integers(0, 256, (4, 3, 5, 3), np.uint8)


@pytest.mark.parametrize("kind", ["parquet", "tfrecord", "tensors"])
def test_images_become_png_files_and_arrays_become_lists(kind: str, tmp_path: Path) -> None:
    columns = {
        "image": IMAGES,
        "grey": IMAGES[..., 0],
        "pixels": IMAGES.astype(np.float32),
        "many": IMAGES[..., :2],
        "list": Ragged(np.arange(5), np.array([0, 2, 2, 4, 5])),
        "words": Ragged(Strings.from_bytes([b"a", b"", b"c"]), np.array([0, 1, 2, 2, 3])),
        "points": Ragged(np.arange(8.0).reshape(4, 2), np.array([0, 1, 1, 3, 4])),
        "one": np.arange(4)[:, None],
    }
    if kind == "tensors":  # they have all types
        columns |= {
            "double": np.full((4, 2), 1 / 3),
            "half": np.ones((4, 1), np.float16),
            "bools": np.ones((4, 2), bool),
        }
    is_tensor = kind == "tensors"
    written = "tfrecord" if is_tensor else kind
    source = write(Arrays(columns=columns, valid=1, test=1), tmp_path / "t", written, tensors=is_tensor)
    (block,) = source.blocks("all")
    assert block.files == {"image", "grey"}
    for name in ("image", "grey"):
        decoded = [decode_image(file, DECODING) for file in block.columns[name].iterate_bytes()]
        np.testing.assert_array_equal(decoded, IMAGES if name == "image" else IMAGES[..., :1])
    for name in columns.keys() - {"image", "grey", "list", "words", "points"}:
        assert not is_tensor or block.columns[name].dtype == columns[name].dtype
        np.testing.assert_array_equal(block.columns[name], columns[name])
    for name in ("list", "points"):
        np.testing.assert_array_equal(block.columns[name].values, columns[name].values)
        np.testing.assert_array_equal(block.columns[name].offsets, columns[name].offsets)
    assert block.columns["words"].values.tolist() == ["a", "", "c"]


@pytest.mark.parametrize(
    "values", [[b"\xff", b"a"], [b"22", b"a"], ["22", "a"]], ids=["bytes", "bytes of texts", "texts"]
)
def test_raw_records_are_read_as_they_were(values: Any, tmp_path: Path) -> None:
    source = Frame(columns={"x": values}, types={"x": "string"} if values == ["22", "a"] else None)
    found = write(source, tmp_path / "t", "tfrecord", raw=True)
    (block,) = found.blocks("all")
    assert [*block.columns["record"].iterate_bytes()] == [v if isinstance(v, bytes) else v.encode() for v in values]
    assert ("record" in block.files) == isinstance(values[0], bytes)
    for columns, fault in (
        ({"x": ["a"], "y": ["b"]}, "one column of bytes or texts"),
        ({"x": ["a", None]}, "row 1 has no"),
    ):
        with pytest.raises(DataError, match=fault):
            write(Frame(columns=columns), tmp_path / "t", "tfrecord", raw=True)


@pytest.mark.parametrize(
    ("values", "kind", "message"),
    [
        (IMAGES, "csv", "column `x` has bytes, such as images, which CSV files can't hold. Write Parquet or TFRecord"),
        (IMAGES[..., 0] * 1.0, "csv", "column `x` has arrays or lists, which CSV files can't hold"),
        (Ragged(np.arange(4), np.arange(5)), "csv", "column `x` has arrays or lists, which CSV files can't hold"),
        (np.array(["a\0e", "b", "c", "d"]), "csv", "has a text with a NUL character"),
        (
            Ragged(Ragged(np.arange(4), np.arange(5)), np.arange(5)),
            "csv",
            "lists, which CSV files can't hold. Write Parquet, or leave",
        ),
        (Ragged(IMAGES[..., 0], np.arange(5)), "csv", "lists, which CSV files can't hold. Write Parquet or TFRecord"),
        (np.arange(4).astype("m8[s]"), "csv", "column `x` has durations, which CSV files can't hold"),
        (np.arange(4).astype("m8[s]"), "tfrecord", "column `x` has durations, which TFRecord files can't hold"),
        (np.uint64([1, 2, 3, 2**63]), "tfrecord", "column `x` has an integer beyond 63 bits"),
        (np.array([1, 2, 3, 0.1]), "tfrecord", "such as 0.1, and TFRecord files have float32 only"),
        (np.array([1, 2, 3, 1e300]), "round", "column `x` has 1e+300, which is beyond float32"),
        (Ragged(Ragged(np.arange(4), np.arange(5)), np.arange(5)), "tfrecord", "column `x` has lists of lists"),
    ],
)
def test_a_column_that_a_format_can_t_hold_is_an_error(values: Any, kind: str, message: str) -> None:
    source = Arrays(columns={"x": values}, valid=1, test=1)
    float64: Any = "round" if kind == "round" else None
    with pytest.raises(DataError) as error:
        write_tables(
            io.BytesIO(),
            read_rows(source, np.arange(4)),
            "csv" if kind == "csv" else "tfrecord",
            "none",
            RecordOptions(float64),
        )
    assert message in str(error.value)


def test_pages_of_parquet_files_have_checksums(tmp_path: Path) -> None:
    write(Frame(columns={"x": ["zz-top"] * 3}), tmp_path / "t", "parquet", "none")
    content = (tmp_path / "t").read_bytes()
    (tmp_path / "t").write_bytes(content.replace(b"zz-top", b"zz-tap", 1))
    with pytest.raises(DataError, match="CRC"):
        _ = TableFile(path=str(tmp_path / "t")).open().table


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 5), min_size=1, max_size=6), st.lists(st.integers(1, 6), min_size=1, max_size=9))
def test_tables_are_cut_into_pieces_of_some_sizes(lengths: list[int], sizes: list[int]) -> None:
    bounds = np.cumsum([0, *lengths])
    tables = [pyarrow.table({"x": np.arange(start, stop)}) for start, stop in itertools.pairwise(bounds)]
    sizes = [size for size, end in zip(sizes, np.cumsum(sizes), strict=True) if end <= bounds[-1]]
    pieces = [[value for table in piece for value in table["x"].to_pylist()] for piece in split_tables(tables, sizes)]
    assert [*map(len, pieces)] == sizes
    assert sum(pieces, start=list[int]()) == [*range(sum(sizes))]


def test_rows_are_read_across_parts_and_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("components.data.table.BLOCK_ROWS", 3)
    columns = {"x": np.arange(10), "text": np.array([*"abcdefghij"])}
    source = Arrays(columns=columns, valid=2, test=2)
    rows = np.array([0, 2, 3, 9])
    table = pyarrow.concat_tables(read_rows(source, rows))
    assert table.to_pydict() == {"x": rows.tolist(), "text": [*"acdj"]}


def test_row_groups_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(formats, "GROUP_BYTES", 80)
    tables = [pyarrow.table({"x": np.arange(5)})] * 5
    with (tmp_path / "t").open("wb") as file:
        digest = DigestFile(file)
        write_tables(digest, tables, "parquet", "zstd")  # type: ignore[arg-type]
    found = parquet.ParquetFile(tmp_path / "t")
    assert [found.metadata.row_group(index).num_rows for index in range(3)] == [10, 10, 5]
    assert digest.size == (tmp_path / "t").stat().st_size


def test_images_are_written_into_folders_of_classes(tmp_path: Path) -> None:
    jpeg = b"\xff\xd8\xff" + b"1"
    files = [encode_png(IMAGES[0]), jpeg, encode_png(IMAGES[2])]
    table = pyarrow.table({"image": pyarrow.array(files, pyarrow.large_binary()), "label": ["a", "b c", "a"]})
    size, digest = write_image_folders(tmp_path, [table.slice(0, 2), table.slice(2)], "image", "label")
    assert (tmp_path / "b c" / "000001.jpg").read_bytes() == jpeg
    assert size == sum(map(len, files))
    assert len(digest) == 32
    found = ImageFolders(path=str(tmp_path))
    assert found.columns_by_part["all"]["path"].tolist() == ["a/000000.png", "a/000002.png", "b c/000001.jpg"]  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("label", "image", "message"),
    [
        ("a/b", IMAGES[0], "the class 'a/b' of the column `label` can't be the name of a folder, in row 0"),
        (".a", IMAGES[0], "the class '.a'"),
        ("", IMAGES[0], "the class ''"),
        (" a", IMAGES[0], "the class ' a'"),
        (None, IMAGES[0], "row 0 has no value of the column `label`"),
        ("a", None, "row 0 has no image in the column `image`"),
        ("a", b"no image", "the column `image` has no image in row 0: the bytes start with b'no image'"),
    ],
)
def test_an_unsafe_class_or_a_missing_image_is_an_error(label: Any, image: Any, message: str, tmp_path: Path) -> None:
    content = encode_png(image) if isinstance(image, np.ndarray) else image
    table = pyarrow.table(
        {"image": pyarrow.array([content], pyarrow.large_binary()), "label": pyarrow.array([label], pyarrow.string())}
    )
    with pytest.raises(DataError) as error:
        write_image_folders(tmp_path, [table], "image", "label")
    assert message in str(error.value)
