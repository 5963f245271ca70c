"""Files and records that a function parses: what it gets, splits, fingerprints and errors."""

import functools
import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from components.data import ParsedFiles
from components.data.tfrecord.framing import write_records
from components.types import DataError


def parse(content: bytes) -> dict[str, Any]:
    return {"text": content.decode(), "size": len(content)}


def parse_with_path(content: bytes, path: str) -> dict[str, Any]:
    return {"x": content[0], "file": Path(path).name, "part": Path(path).parent.name}


def parse_numbers(content: bytes, dtype: str = "<i2") -> dict[str, Any]:
    return {"x": np.frombuffer(content, dtype)}


def parse_blocks(contents: list[bytes], path: list[str]) -> dict[str, Any]:
    return {"x": np.array([len(each) for each in contents for _ in range(2)]), "n": np.repeat(range(len(path)), 2)}


def rows(source: ParsedFiles) -> dict[str, list[Any]]:
    columns: dict[str, list[Any]] = {}
    for block in source.blocks("all"):
        for name, values in block.columns.items():
            columns.setdefault(name, []).extend(values.tolist())  # type: ignore[union-attr]
    return columns


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("train/b.bin", "train/a.bin", "test/c.bin"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(name[-5:].encode())
    return tmp_path


def source(folder: Path, function: Callable[..., Any] = parse, pattern: str = "*/*.bin", **options: Any) -> ParsedFiles:
    return ParsedFiles(path=str(folder / pattern), function=function, **{"valid": 1, "test": 1, **options})


def test_files_are_rows(folder: Path) -> None:
    (folder / "train" / "d.bin").write_bytes(gzip.compress(b"packed"))
    found = source(folder)
    assert rows(found) == {"text": ["c.bin", "a.bin", "b.bin", "packed"], "size": [5, 5, 5, 6]}
    assert found.locate_row(3) == "train/d.bin"
    assert [block.locate(0) for block in found.blocks("all")] == ["test/c.bin"]


def test_a_function_gets_the_path(folder: Path) -> None:
    found = source(folder, parse_with_path, valid=1, test=None, split_column="part")
    assert rows(found)["file"] == ["c.bin", "a.bin", "b.bin"]
    assert found.splits()["test"].tolist() == [0]


def test_pieces_are_rows(tmp_path: Path) -> None:
    (tmp_path / "a.raw").write_bytes(b"head" + np.arange(6, dtype="<i2").tobytes())
    (tmp_path / "b.raw").write_bytes(b"head" + np.arange(2, dtype="<i2").tobytes())
    found = source(tmp_path, parse_numbers, "*.raw", framing=4, header_bytes=4)
    assert rows(found) == {"x": [[0, 1], [2, 3], [4, 5], [0, 1]]}
    assert [found.locate_row(row) for row in (3, 1)] == ["piece 0 of b.raw", "piece 1 of a.raw"]
    as_bytes = functools.partial(parse_numbers, dtype="u1")
    assert rows(source(tmp_path, as_bytes, "b.raw", framing=2))["x"][0] == [104, 101]


def test_records_are_rows(tmp_path: Path) -> None:
    for name, records in {"a.rec": [b"x", b"yy"], "b.rec": [b"zzz"]}.items():
        with (tmp_path / name).open("wb") as file:
            write_records(file, records)
    found = source(tmp_path, pattern="*.rec", framing="tfrecord")
    assert rows(found) == {"text": ["x", "yy", "zzz"], "size": [1, 2, 3]}
    assert found.with_sizes({"all": 3}).locate_row(1) == "record 1 of a.rec"


def test_a_function_may_parse_blocks(folder: Path) -> None:
    found = source(folder, parse_blocks, yields="blocks")
    assert rows(found) == {"x": [5] * 6, "n": [0, 0, 1, 1, 2, 2]}
    assert found.sizes() == {"all": 6}
    assert rows(source(folder, parse_blocks, yields="blocks", limit=3)) == {"x": [5] * 3, "n": [0, 0, 1]}


def fail_at_a(content: bytes) -> dict[str, Any]:
    if content == b"a.bin":
        raise ValueError("no signal")
    return {"x": 1}


def change_names(content: bytes) -> dict[str, Any]:
    return {content.decode(): 1}


def change_types(content: bytes) -> dict[str, Any]:
    return {"x": 1 if content == b"c.bin" else "1"}


def return_bytes(content: bytes) -> Any:
    return content


def fail_in_block(contents: list[bytes]) -> dict[str, Any]:
    return {"x": contents[9]}


LINE = "at test_parsed_files.py:"
ERRORS: dict[str, tuple[Callable[..., Any], dict[str, Any], str]] = {
    "an exception": (fail_at_a, {}, f"train/a.bin raised ValueError: no signal, {LINE}"),
    "other columns": (change_names, {}, "train/a.bin has the columns a.bin, those before it c.bin. All rows must have"),
    "other types": (
        change_types,
        {},
        "train/a.bin: `x` is '1' (str), of the type str, and of the type int in",
    ),
    "no mapping": (return_bytes, {}, "test/c.bin is b'c.bin' (bytes). A mapping is needed"),
    "an exception in a block": (
        *(fail_in_block, {"yields": "blocks"}),
        f"test/c.bin to train/b.bin raised IndexError: list index out of range, {LINE}",
    ),
    "a rest": (parse_numbers, {"framing": 4}, "c.bin ends with 1 bytes after 1 pieces of 4 bytes. Set `framing` to"),
    "a short header": (parse_numbers, {"framing": 4, "header_bytes": 6}, "c.bin has 5 bytes, fewer than `header_byt"),
    "a header of files": (parse, {"header_bytes": 6}, "`header_bytes` (=6) is for pieces of a fixed length, but"),
    "no records": (parse, {"framing": "tfrecord"}, "c.bin, record 0 at byte 0 is cut off"),
}


@pytest.mark.parametrize("fault", ERRORS)
def test_errors(fault: str, folder: Path) -> None:
    function, options, message = ERRORS[fault]
    with pytest.raises(DataError) as caught:
        rows(source(folder, function, **options))
    assert message in str(caught.value)


def test_a_bad_record_is_skipped(folder: Path) -> None:
    found = source(folder, fail_at_name, on_bad_row="skip")
    assert rows(found) == {"x": [1, 1]}
    assert [block.locate(row) for block in found.blocks("all") for row in (0, 1)] == ["test/c.bin", "train/b.bin"]
    assert "train/a.bin" in found.left_out()[0]


def fail_at_name(content: bytes) -> dict[str, Any]:
    return {"x": None if content == b"nothing" else 1, **({"y": 2} if content == b"a.bin" else {})}


def test_the_fingerprint_follows_content_and_options(folder: Path) -> None:
    def fingerprints() -> list[str]:
        options = ({}, {"framing": 5}, {"framing": 5, "header_bytes": 1}, {"function": fail_at_a}, {"version": 1})
        of_paths = source(folder, parse_with_path).fingerprint()
        return [of_paths, *(source(folder, **each).fingerprint() for each in options)]

    before = fingerprints()
    assert fingerprints() == before
    (folder / "train" / "a.bin").write_bytes(b"other")
    after = fingerprints()
    assert len({*before, *after}) == len(before) + len(after)
    (folder / "train" / "a.bin").rename(folder / "train" / "a2.bin")
    renamed = fingerprints()
    assert renamed[0] not in (before[0], after[0])  # the function reads the path
    assert renamed[1:] == after[1:]
