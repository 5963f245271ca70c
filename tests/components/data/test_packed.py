"""Packed files are recognized by their content; damaged or too large ones are errors."""

import bz2
import gzip
import io
import lzma
import struct
import tarfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pytest

from components.data import Csv, Idx, TextFolders, read_idx, write_idx
from components.types import DataError

PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "bzip2": bz2.compress,
    "xz": lzma.compress,
    "Zstandard": lambda content: pyarrow.compress(content, "zstd", asbytes=True),
}
CODES = b"zip,place\n01001,here\n8001,\n" + b"07070,there\n" * 40
UNSEEN = ("Zstandard", "flipped")  # Arrow packs without a checksum, which the tool `zstd` adds
ZEROS = 6_000_000  # bytes that little is unpacked to


@pytest.mark.parametrize("kind", PACKERS)
def test_a_packed_table_equals_the_plain_table_under_any_name(tmp_path: Path, kind: str) -> None:
    for name, content in {"plain.csv": CODES, "packed.csv": PACKERS[kind](CODES), "a.gz": PACKERS[kind](CODES)}.items():
        (tmp_path / name).write_bytes(content)
        source = Csv(path=str(tmp_path / name))
        assert source.table.types == {"zip": "string", "place": "string"}
        assert source.table.values["zip"].tolist()[:2] == ["01001", "8001"]
        assert source.table.valid["place"].tolist() == [True, False] + [True] * 40
        assert source.sizes() == {"all": 42}


@pytest.mark.parametrize("kind", PACKERS)
def test_a_wrong_row_is_named_by_its_line_in_a_packed_table_too(tmp_path: Path, kind: str) -> None:
    for wrong, message in {
        b"1,2,3\n": "line 4: the number of fields is 3, not 2",
        b'1,"2\n3,4\n': "line 4: a quote is opened and never closed",
        b"1,\xe9\n": "line 4: byte 0xe9 isn't UTF-8",
        b"1,\0\n": "line 4: there is a byte 0x00",
    }.items():
        (tmp_path / "table.csv").write_bytes(PACKERS[kind](b"zip,place\n1,a\n2,b\n" + wrong))
        with pytest.raises(DataError, match=rf"table\.csv, {message}"):
            Csv(path=str(tmp_path / "table.csv")).sizes()


@pytest.mark.parametrize("inner", PACKERS)
def test_a_file_that_is_packed_twice_raises_an_error(tmp_path: Path, inner: str) -> None:
    for outer in PACKERS:
        (tmp_path / "table.csv").write_bytes(PACKERS[outer](PACKERS[inner](CODES)))
        with pytest.raises(DataError, match=rf"table\.csv is packed twice: {inner} inside {outer}; unpack it once"):
            Csv(path=str(tmp_path / "table.csv")).sizes()


@pytest.mark.parametrize(
    ("kind", "damage"),
    [(kind, damage) for kind in PACKERS for damage in ("cut", "flipped", "behind") if (kind, damage) != UNSEEN],
)
def test_a_damaged_file_raises_an_error(tmp_path: Path, kind: str, damage: str) -> None:
    content = bytearray(PACKERS[kind](np.random.default_rng(0).bytes(3000).hex().encode()))
    if damage == "flipped":
        content[len(content) // 2] ^= 0xFF
    path = tmp_path / "table.csv"
    path.write_bytes({"cut": content[:-20], "flipped": content, "behind": content + b"label,text"}[damage])
    with pytest.raises(
        DataError, match=rf"table\.csv is damaged {kind} at or before byte [\d,]+, after [\d,]+ unpacked bytes"
    ):
        Csv(path=str(path)).sizes()


@pytest.mark.parametrize("kind", PACKERS)
def test_concatenated_packed_files_are_one_file(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "table.csv"
    path.write_bytes(PACKERS[kind](CODES[:100]) + PACKERS[kind](CODES[100:]))
    assert Csv(path=str(path)).sizes() == {"all": 42}
    second = bytearray(PACKERS[kind](CODES[100:]))
    second[0] ^= 1
    path.write_bytes(PACKERS[kind](CODES[:100]) + second)
    with pytest.raises(DataError, match=f"is damaged {kind}"):
        Csv(path=str(path)).sizes()


def table(path: Path, kind: str, **options: Any) -> None:
    path.write_bytes(PACKERS[kind](b"x,y\n" + b"0,1\n" * (ZEROS // 4)))
    Csv(path=str(path), **options).sizes()


def images(path: Path, kind: str, **options: Any) -> None:
    header = struct.pack(">HBBI", 0, 0x08, 1, ZEROS)
    path.write_bytes(PACKERS[kind](header + bytes(ZEROS)))
    (path.parent / "labels").write_bytes(header + bytes(ZEROS))
    Idx(path=str(path.parent), train=(path.name, "labels"), test=1, valid=1, **options).read()


def texts(path: Path, kind: str, **options: Any) -> None:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        for name in ("train/a/1.txt", "test/a/1.txt"):
            member = tarfile.TarInfo(name)
            member.size = ZEROS // 2
            archive.addfile(member, io.BytesIO(bytes(ZEROS // 2)))
    path.write_bytes(PACKERS[kind](file.getvalue()))
    TextFolders(path=str(path), valid=1, **options).sizes()


@pytest.mark.parametrize("reader", [table, images, texts])
@pytest.mark.parametrize("kind", ["gzip", "Zstandard"])
def test_nothing_is_unpacked_beyond_a_limit_that_can_be_raised(
    tmp_path: Path, kind: str, reader: Callable[..., None]
) -> None:
    path = tmp_path / "bomb"
    with pytest.raises(
        DataError, match=r"bomb unpacks to more than 0.003 GB; .* increase `max_unpacked_gb` \(=0.003\)"
    ):
        reader(path, kind, max_unpacked_gb=0.003)
    assert path.stat().st_size < ZEROS // 100
    reader(path, kind, max_unpacked_gb=0.01)
    reader(path, kind)


@pytest.mark.parametrize("kind", PACKERS)
def test_an_array_is_unpacked_no_further_than_its_header_says(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "array"
    write_idx(path, np.arange(24, dtype=np.uint8))
    path.write_bytes(PACKERS[kind](path.read_bytes() + bytes(ZEROS)))
    with pytest.raises(DataError, match=r"array has more than the 24 bytes of data that its header specifies"):
        read_idx(path, max_unpacked_gb=0.003)
    path.write_bytes(PACKERS[kind](struct.pack(">HBBII", 0, 0x0E, 2, 2**31, 2**28)))
    with pytest.raises(
        DataError,
        match=r"array unpacks to more than 2 GB; if the file should be that large, increase `max_unpacked_gb`",
    ):
        read_idx(path)


def test_no_dictionary_of_gigabytes_is_made_for_xz(tmp_path: Path) -> None:
    content = bytearray(lzma.compress(CODES))
    length = (content[12] + 1) * 4  # of the block's header, whose last four bytes are its checksum
    content[16] = 40  # a dictionary of 4 GiB
    content[12 + length - 4 : 12 + length] = struct.pack("<I", zlib.crc32(content[12 : 12 + length - 4]))
    (tmp_path / "table.csv").write_bytes(content)
    with pytest.raises(DataError, match=r"is damaged xz .*: Memory usage limit exceeded"):
        Csv(path=str(tmp_path / "table.csv")).sizes()


def test_a_name_of_a_column_is_not_taken_for_a_packed_file(tmp_path: Path) -> None:
    (tmp_path / "table.csv").write_bytes(b"BZh9,y\n1,2\n")
    assert Csv(path=str(tmp_path / "table.csv")).table.types == {"BZh9": "int", "y": "int"}
