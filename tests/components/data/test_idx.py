"""IDX: sources, files of every type and rank there and back, and every way in which a file can be wrong."""

import gzip
import os
import re
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from components.data import Idx, read_idx, write_idx
from components.types import DataError

TRAIN, TEST = ("images", "labels"), ("test-images", "test-labels")


def write(folder: Path, names: tuple[str, str], rows: int, suffix: str = "") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    images = np.arange(rows * 6, dtype=np.uint8).reshape(rows, 2, 3)
    for name, array in zip(names, (images, np.arange(rows, dtype=np.uint8) % 2), strict=True):
        write_idx(folder / f"{name}{suffix}", array)


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_parts_are_read_with_a_channel_and_named_columns(tmp_path: Path, suffix: str) -> None:
    write(tmp_path, TRAIN, 5, suffix)
    write(tmp_path, TEST, 3, suffix)
    source = Idx(path=str(tmp_path), train=TRAIN, test=TEST, valid=2, seed=None)
    assert source.sizes() == {"train": 5, "test": 3}
    (block,) = source.blocks("train")
    assert block.columns["image"].shape == (5, 2, 3, 1)
    assert block.columns["image"].dtype == np.uint8
    assert block.columns["label"].tolist() == [0, 1, 0, 1, 0]
    assert {name: rows.tolist() for name, rows in source.splits().items()} == {
        "train": [0, 1, 2],
        "valid": [3, 4],
        "test": [5, 6, 7],
    }


def test_a_number_for_the_test_set_holds_rows_out_of_the_only_part(tmp_path: Path) -> None:
    write(tmp_path, TRAIN, 10)
    source = Idx(path=str(tmp_path), train=TRAIN, test=0.3, valid=2, stratify="label")
    assert source.sizes() == {"all": 10}
    splits = source.splits()
    assert {name: len(rows) for name, rows in splits.items()} == {"train": 5, "valid": 2, "test": 3}
    assert sorted(splits["valid"] % 2) == [0, 1]


def test_a_relative_path_is_found_below_the_data_folder_before_the_working_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    source = Idx(path="set", train=TRAIN, test=1, valid=1)
    write(tmp_path / "here" / "set", TRAIN, 4)
    monkeypatch.delenv("TITRATE_DATA", raising=False)
    assert source.sizes() == {"all": 4}
    write(tmp_path / "there" / "set", TRAIN, 7, ".gz")
    monkeypatch.setenv("TITRATE_DATA", str(tmp_path / "there"))
    assert source.sizes() == {"all": 7}


def test_an_absolute_path_and_a_path_from_home_are_used_unchanged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "set", TRAIN, 4)
    monkeypatch.setenv("TITRATE_DATA", "/elsewhere")
    monkeypatch.setenv("HOME", str(tmp_path))
    for path in (str(tmp_path / "set"), "~/set"):
        assert Idx(path=path, train=TRAIN, test=1, valid=1).sizes() == {"all": 4}


def test_a_missing_file_names_both_places_and_the_remedies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TITRATE_DATA", "/elsewhere")
    expected = (
        "there is no file /elsewhere/set/images or /elsewhere/set/images.gz or "
        f"{tmp_path}/set/images or {tmp_path}/set/images.gz; "
        "TITRATE_DATA is /elsewhere, which is no folder; correct it, or the path"
    )
    with pytest.raises(DataError) as caught:
        Idx(path="set", train=TRAIN, test=1, valid=1).fingerprint()
    assert str(caught.value) == expected


def test_images_and_labels_of_different_length_raise_an_error(tmp_path: Path) -> None:
    write(tmp_path, TRAIN, 5)
    write_idx(tmp_path / "labels", np.zeros(4, np.uint8))
    with pytest.raises(DataError, match=r"images has the shape \(5, 2, 3\), .*labels has the shape \(4,\); there must"):
        list(Idx(path=str(tmp_path), train=TRAIN, test=1, valid=1).blocks("all"))


def test_the_fingerprint_follows_the_content_and_the_split_but_not_the_place(tmp_path: Path) -> None:
    def fingerprint(folder: str, valid: int = 1) -> str:
        return Idx(path=str(tmp_path / folder), train=TRAIN, test=1, valid=valid).fingerprint()

    for folder, rows in (("one", 4), ("two", 4), ("three", 5)):
        write(tmp_path / folder, TRAIN, rows)
    assert fingerprint("one") == fingerprint("two")
    assert fingerprint("one") != fingerprint("three")
    assert fingerprint("one") != fingerprint("one", valid=2)


def test_rows_of_a_later_block_know_their_number(tmp_path: Path) -> None:
    write(tmp_path, TRAIN, 40_000)
    blocks = list(Idx(path=str(tmp_path), train=TRAIN, test=1, valid=1).blocks("all"))
    assert sum(len(block.columns["label"]) for block in blocks) == 40_000
    assert blocks[1].locate(3) == f"row {blocks[1].first_row + 3} of {tmp_path}"
    assert blocks[1].columns["label"][3] == (blocks[1].first_row + 3) % 2


@pytest.mark.skipif("TITRATE_DATA" not in os.environ, reason="TITRATE_DATA names no folder of real data")
def test_fashion_mnist_as_it_is_published() -> None:
    train = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte")
    test = ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")
    source = Idx(path="fashion_mnist", train=train, test=test, valid=5000, seed=None)
    assert source.sizes() == {"train": 60_000, "test": 10_000}
    labels = np.concatenate([block.columns["label"] for block in source.blocks("train")])
    assert np.bincount(labels).tolist() == [6000] * 10
    first = next(source.blocks("test"))
    assert first.columns["image"].shape[1:] == (28, 28, 1)
    assert source.splits()["valid"].tolist() == list(range(55_000, 60_000))


DTYPES = ["uint8", "int8", "int16", "int32", "float32", "float64"]
ARRAYS = st.sampled_from(DTYPES).flatmap(
    lambda dtype: hnp.arrays(dtype, hnp.array_shapes(min_dims=0, max_dims=5, min_side=0, max_side=4))
)


@given(array=ARRAYS, suffix=st.sampled_from(["", ".gz"]))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_every_type_and_rank_survives_a_round_trip(tmp_path: Path, array: np.ndarray, suffix: str) -> None:
    path = tmp_path / f"array{suffix}"
    write_idx(path, array)
    back = read_idx(path)
    assert (back.dtype, back.shape, back.tobytes()) == (array.dtype, array.shape, array.tobytes())


def test_the_bytes_equal_those_of_the_format(tmp_path: Path) -> None:
    write_idx(tmp_path / "array", np.array([[1, -2, 300]], np.int16))
    assert (tmp_path / "array").read_bytes() == bytes.fromhex("00000b02 00000001 00000003 0001 fffe 012c")


def test_equal_arrays_are_equal_files_when_compressed_too(tmp_path: Path) -> None:
    for name in ("one.gz", "two.gz"):
        write_idx(tmp_path / name, np.arange(9, dtype=np.uint8))
    assert (tmp_path / "one.gz").read_bytes() == (tmp_path / "two.gz").read_bytes()


def test_a_type_that_the_format_lacks_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"int64 can't be written as IDX; allowed: uint8, int8, int16"):
        write_idx(tmp_path / "array", np.arange(3))


HEADER = struct.pack(">HBBI", 0, 0x0D, 1, 3)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is truncated: it has 0 bytes, but an IDX header has at least 4"),
        (b"\x89PNG....", "is no IDX file: it starts with 89 50 4e 47 instead of 00 00"),
        (b"\0\0\x0a\x01", r"unknown type code 0x0a; allowed: 0x08 uint8, .* 0x0e float64"),
        (HEADER[:6], "is truncated: it has 6 bytes, but a header of rank 1 has 8"),
        (HEADER + bytes(11), r"is truncated after 11 of the 12 bytes of data .* specifies, float32 \(3,\)"),
        (HEADER + bytes(13), r"has more than the 12 bytes of data .* specifies, float32 \(3,\)"),
        (b"\0\0\x08\x41" + struct.pack(">65I", *[1] * 65) + bytes(1), "has an array of rank 65; the maximum is 64"),
        (b"\0\0\x08\xff" + bytes(4 * 255), "has an array of rank 255; the maximum is 64"),
        (b"\0\0\x0e\x08" + b"\xff" * 32 + bytes(9), "has an array of shape .*, which is too large"),
        (
            b"\0\0\x08\x03" + bytes(4) + b"\xff" * 8,
            r"has an array of shape \(0, 4294967295, 4294967295\), which is too large",
        ),
    ],
)
@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_a_wrong_file_raises_an_error_that_names_the_fault(
    tmp_path: Path, content: bytes, message: str, suffix: str
) -> None:
    path = tmp_path / f"array{suffix}"
    path.write_bytes(gzip.compress(content) if suffix else content)
    with pytest.raises(DataError, match=message):
        read_idx(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nothing\.gz can't be read: No such file"):
        read_idx(tmp_path / "nothing.gz")


@pytest.fixture
def compressed(tmp_path: Path) -> Path:
    path = tmp_path / "array.gz"
    write_idx(path, np.random.default_rng(0).integers(0, 256, 3_000_000, np.uint8))
    return path


def test_damaged_gzip_raises_an_error_with_its_place(compressed: Path) -> None:
    content = bytearray(compressed.read_bytes())
    content[2_500_000] ^= 0xFF
    compressed.write_bytes(content)
    with pytest.raises(DataError) as caught:
        read_idx(compressed)
    found = re.search(r"array\.gz is damaged gzip at or before byte ([\d,]+), after ([\d,]+)", str(caught.value))
    assert found
    assert 2_500_000 <= int(found[1].replace(",", "")) <= len(content)
    assert int(found[2].replace(",", "")) >= 2**20


def test_truncated_gzip_raises_an_error(compressed: Path) -> None:
    compressed.write_bytes(compressed.read_bytes()[:-5])
    with pytest.raises(DataError, match=r"is damaged gzip .*: Compressed file ended"):
        read_idx(compressed)


def test_the_name_of_a_file_does_not_decide_whether_it_is_packed(tmp_path: Path) -> None:
    (tmp_path / "array.gz").write_bytes(HEADER + bytes(12))
    (tmp_path / "array").write_bytes(gzip.compress(HEADER + bytes(12)))
    for name in ("array.gz", "array"):
        np.testing.assert_array_equal(read_idx(tmp_path / name), np.zeros(3, np.float32))


def test_64_axes_are_read_and_an_empty_array_too(tmp_path: Path) -> None:
    (tmp_path / "array").write_bytes(b"\0\0\x08\x40" + struct.pack(">64I", *[1] * 64) + b"\7")
    assert read_idx(tmp_path / "array").shape == (1,) * 64
    (tmp_path / "array").write_bytes(b"\0\0\x08\x02" + struct.pack(">2I", 0, 2**32 - 1))
    assert read_idx(tmp_path / "array").shape == (0, 2**32 - 1)
