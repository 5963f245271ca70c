"""Records of one length: numbers of every type, order and shape, files and archives, and sizes that don't fit."""

import gzip
import io
import re
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from components.data import FixedLengthRecords
from components.data.records import NumberType
from components.types import DataError

IMAGES: dict[str, Any] = {
    "label": {"dtype": "uint8"},
    "image": {"dtype": "uint8", "shape": (3, 2, 2), "axes": (1, 2, 0)},
}


def make_records(*labels: int) -> bytes:
    """Records of a label and three planes, whose pixels are 10 · label, plus 0 to 11 in the order of the file."""
    return b"".join(bytes([label, *(10 * label + number for number in range(12))]) for label in labels)


def write_folder(path: Path, files: dict[str, bytes]) -> None:
    for name, content in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(content)


def write_tar(path: Path, files: dict[str, bytes]) -> None:
    with tarfile.open(path, "w:gz") as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))


def write_zip(path: Path, files: dict[str, bytes]) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)


FILES = {
    "inner/data_batch_2.bin": make_records(3, 4),
    "inner/data_batch_1.bin": make_records(1, 2),
    "inner/test_batch.bin": make_records(5, 6),
    "inner/readme.html": b"hello",
}


@pytest.mark.parametrize("write", [write_folder, write_tar, write_zip])
def test_files_of_a_folder_or_archive_are_read_in_the_order_of_their_names(
    tmp_path: Path, write: Callable[[Path, dict[str, bytes]], None]
) -> None:
    write(tmp_path / "set", FILES)
    source = FixedLengthRecords(
        path=str(tmp_path / "set"), fields=IMAGES, train="data_batch_*.bin", test="test_batch.bin", valid=1, seed=None
    )
    assert source.sizes() == {"train": 4, "test": 2}
    (train,), (test,) = source.blocks("train"), source.blocks("test")
    assert (train.columns["label"].tolist(), test.columns["label"].tolist()) == ([1, 2, 3, 4], [5, 6])
    assert train.columns["image"].shape == (4, 2, 2, 3)
    assert train.columns["image"][1].tolist() == [[[20, 24, 28], [21, 25, 29]], [[22, 26, 30], [23, 27, 31]]]
    assert {name: rows.tolist() for name, rows in source.splits().items()} == {
        "train": [0, 1, 2],
        "valid": [3],
        "test": [4, 5],
    }
    assert train.locate(3) == f"record 1 of inner/data_batch_2.bin in {tmp_path}/set (byte 13)"
    assert source.origin("test") == f"{tmp_path}/set (test)"


def test_one_file_is_split(tmp_path: Path) -> None:
    for content in (make_records(*range(10)), gzip.compress(make_records(*range(10)))):
        (tmp_path / "a.bin").write_bytes(content)
        source = FixedLengthRecords(path=str(tmp_path / "a.bin"), fields=IMAGES, valid=2, test=3, seed=None)
        assert source.sizes() == {"all": 10}
        assert source.splits()["test"].tolist() == [7, 8, 9]
        (block,) = source.blocks("all")
        assert block.locate(2) == f"record 2 of {tmp_path}/a.bin (byte 26)"
    split = FixedLengthRecords(path=str(tmp_path), fields=IMAGES, train="*.bin", valid=2, test=3, seed=None)
    write_folder(tmp_path, {"a.bin": make_records(*range(10))})
    assert split.sizes() == {"all": 10}


FIELDS = st.dictionaries(
    st.sampled_from(["a", "b", "a b", "é"]),
    st.tuples(st.sampled_from(get_args(NumberType)), st.lists(st.integers(1, 3), max_size=3).map(tuple), st.randoms()),
    min_size=1,
)


@given(fields=FIELDS, rows=st.integers(1, 4), order=st.sampled_from(["little", "big"]), header=st.integers(0, 9))
@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_numbers_of_every_type_order_and_shape_are_read(
    tmp_path: Path, fields: dict[str, Any], rows: int, order: Any, header: int
) -> None:
    arrays, described = {}, {}
    for seed, (name, (dtype, shape, random)) in enumerate(fields.items()):
        numbers = np.random.default_rng(seed).integers(0, 100, (rows, *shape))
        arrays[name] = numbers.astype(dtype)
        axes = tuple(random.sample(range(len(shape)), len(shape)))
        described[name] = {"dtype": dtype, "shape": shape, "axes": axes}
    swapped = {name: array.astype(array.dtype.newbyteorder(order)) for name, array in arrays.items()}
    content = b"h" * header
    content += b"".join(array[row : row + 1].tobytes() for row in range(rows) for array in swapped.values())
    (tmp_path / "a.bin").write_bytes(content)
    source = FixedLengthRecords(
        path=str(tmp_path / "a.bin"), fields=described, byte_order=order, header_bytes=header, valid=1, test=1
    )
    columns = source.columns_by_part["all"]
    assert [*columns] == [*arrays]
    for name, array in arrays.items():
        expected = array.transpose(0, *(axis + 1 for axis in described[name]["axes"]))
        assert columns[name].dtype == array.dtype
        assert columns[name].tolist() == expected.tolist()


@pytest.mark.parametrize(
    ("files", "options", "message"),
    [
        ({}, {}, r"a.bin has 27 bytes, no whole number of records of 13 bytes\. The last whole one ends at byte 26\."),
        ({}, {"header_bytes": 2}, "of 13 bytes after 2 header bytes. The last whole one ends at byte 15"),
        (
            {},
            {"header_bytes": 28},
            "after 28 header bytes. The header is incomplete. Correct `fields` or",
        ),
        ({}, {"header_bytes": 40}, "after 40 header bytes. The header is incomplete"),
        ({"b.bin": bytes(12)}, {"train": "b.*"}, "b.bin in .* has 12 bytes, .* The last whole one ends at byte 0"),
        ({"b.bin": b""}, {"train": "c.*"}, r"set has no file c\.\* \(`train`\)\. Files: a\.bin, b\.bin\."),
        (
            {"a.bin": make_records(1), "b.bin": make_records(1)},
            {"train": "b.bin", "test": "*.bin"},
            r"b.bin in .* is in two parts, because its name fits `train` \(=b.bin\) and `test` \(=\*.bin\)\. Write",
        ),
        ({}, {"test": "a.bin"}, r"`test` \(=a.bin\) is the name of files, so `train` must be that of others"),
        ({}, {"fields": {}}, "`fields` is empty; list the fields of a record"),
        (
            {},
            {"fields": {"x": {"dtype": "int8", "shape": (2, 3), "axes": (1,)}}},
            r"`fields.x.axes` \(=\[1\]\) must be the axes 0 to 1, each of them once",
        ),
        (
            {},
            {"fields": {"x": {"dtype": "int8", "axes": (0,)}}},
            r"`fields.x.axes` \(=\[0\]\) must be no axes, because the field is a single number",
        ),
    ],
)
def test_what_does_not_fit_is_an_error(
    tmp_path: Path, files: dict[str, bytes], options: dict[str, Any], message: str
) -> None:
    write_folder(tmp_path / "set", {"a.bin": make_records(1, 2) + b"x"} | files)
    path = tmp_path / "set" if "train" in options else tmp_path / "set/a.bin"
    with pytest.raises(DataError, match=message):
        FixedLengthRecords(**{"path": str(path), "fields": IMAGES, "valid": 1, "test": 1} | options).sizes()


def test_a_folder_needs_the_names_of_files(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"is a folder; set `train` to the names of the files in it, such as \*\.bin"):
        FixedLengthRecords(path=str(tmp_path), fields=IMAGES).sizes()


def test_a_damaged_or_large_archive_is_an_error(tmp_path: Path) -> None:
    write_tar(tmp_path / "set", FILES)
    options: dict[str, Any] = {"path": str(tmp_path / "set"), "fields": IMAGES, "train": "data*", "test": "test*"}
    with pytest.raises(DataError, match="unpacks to more than 1e-08 GB"):
        FixedLengthRecords(**options, max_unpacked_gb=1e-8).sizes()
    (tmp_path / "set").write_bytes((tmp_path / "set").read_bytes()[:-20])
    with pytest.raises(DataError, match="set is damaged gzip"):
        FixedLengthRecords(**options).sizes()
    (tmp_path / "set").write_bytes(make_records(1))
    with pytest.raises(DataError, match=re.escape("is a file, but no tar or zip archive")):
        FixedLengthRecords(**options).sizes()


def test_the_fingerprint_follows_the_content_and_not_the_place(tmp_path: Path) -> None:
    write_tar(tmp_path / "one", FILES)
    write_folder(tmp_path / "two", FILES)
    options: dict[str, Any] = {"fields": IMAGES, "train": "data*", "test": "test*"}
    fingerprints = [FixedLengthRecords(path=str(tmp_path / name), **options).fingerprint() for name in ("one", "two")]
    assert fingerprints[0] == fingerprints[1]
    write_folder(tmp_path / "two", {"inner/test_batch.bin": make_records(5, 7)})
    assert FixedLengthRecords(path=str(tmp_path / "two"), **options).fingerprint() != fingerprints[0]


@pytest.mark.parametrize(
    ("fields", "fault"),
    [
        ({"": {"dtype": "uint8"}}, "`fields` has a field without a name"),
        (
            {"x": {"dtype": "uint8", "shape": (2**40, 2**40)}},
            "`fields.x.shape` (=[1099511627776, 1099511627776]) is too",
        ),
        ({"a": {"dtype": "uint8"}, "x": {"dtype": "float64", "shape": (2**28,)}}, "and here 2,147,483,649 with this"),
        ({"x": {"dtype": "uint8", "shape": (1,) * 64}}, "an array at most 63 axes"),
    ],
)
def test_fields_that_no_record_can_have_are_errors(fields: Any, fault: str) -> None:
    with pytest.raises(DataError, match=re.escape(fault)):
        FixedLengthRecords(path="x", fields=fields)
