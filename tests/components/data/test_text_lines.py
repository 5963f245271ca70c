"""Lines of text files as rows: their ends, encodings, classes, splits and errors."""

import gzip
import lzma
from pathlib import Path
from typing import Any

import pytest

from components.data import TextLines, column_store
from components.data.csv import lines as csv_lines
from components.types import DataError


def write(folder: Path, **files: bytes) -> str:
    """Writes files NAME.txt, and returns the pattern that matches them."""
    for name, content in files.items():
        (folder / f"{name}.txt").write_bytes(content)
    return str(folder / "*.txt")


def rows(source: TextLines, part: str = "all") -> dict[str, list[Any]]:
    columns: dict[str, list[Any]] = {}
    for block in source.blocks(part):
        for name, values in block.columns.items():
            columns.setdefault(name, []).extend(values.tolist())
    return columns


def locations(source: TextLines, part: str = "all") -> list[str]:
    return [block.locate(row) for block in source.blocks(part) for row in range(len(block.columns["text"].tolist()))]


CONTENTS = {
    "ends": (b"a\nb\r\nc\rd", ["a", "b", "c", "d"]),
    "empty lines": (b"\n\na\n\r\n\r\rb\n\n", ["a", "b"]),
    "blanks": (b" \n\ta \n", [" ", "\ta "]),
    "texts that other sources read as values": (b"NA\n1\ntrue\n", ["NA", "1", "true"]),
    "a byte order mark": (b"\xef\xbb\xbfa\n\xef\xbb\xbfb", ["a", "\ufeffb"]),
    "other ends of Unicode": ("a\u2028b\x85c\x0bd\n".encode(), ["a\u2028b\x85c\x0bd"]),
}


@pytest.mark.parametrize("content", CONTENTS)
@pytest.mark.parametrize("chunk_bytes", [1, 3, 1 << 20])
def test_lines_are_rows(content: str, chunk_bytes: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(csv_lines, "CHUNK_BYTES", chunk_bytes)
    text, expected = CONTENTS[content]
    assert rows(TextLines(path=write(tmp_path, a=text))) == {"text": expected}


@pytest.mark.parametrize("encoding", ["utf-16", "latin1", "utf-8-sig"])
def test_an_encoding_is_read(encoding: str, tmp_path: Path) -> None:
    source = TextLines(path=write(tmp_path, a="é\nü\n".encode(encoding)), encoding=encoding)
    assert rows(source) == {"text": ["é", "ü"]}


def test_rows_are_located_by_their_lines(tmp_path: Path) -> None:
    source = TextLines(path=write(tmp_path, a=b"head\n\nx\r\n\ny", b=b"head\nz\n"), skip_lines=1)
    assert rows(source) == {"text": ["x", "y", "z"]}
    assert locations(source) == ["line 3 of a.txt", "line 5 of a.txt", "line 2 of b.txt"]
    assert source.locate_row(2) == "line 2 of b.txt"


def test_files_or_folders_are_classes(tmp_path: Path) -> None:
    for name, content in {"pos/1.txt": b"a\nb", "neg/2.txt.gz": gzip.compress(b"c"), "neg/3.x.txt": b"d"}.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
    expected = {"text": ["c", "d", "a", "b"], "label": ["neg", "neg", "pos", "pos"]}
    assert rows(TextLines(path=str(tmp_path), label="folder")) == expected
    assert rows(TextLines(path=str(tmp_path), label="file")) == expected | {"label": ["2", "3.x", "1", "1"]}


def test_given_files_are_splits(tmp_path: Path) -> None:
    for name in ("train", "test"):
        (tmp_path / name).mkdir()
        write(tmp_path / name, a=f"{name} a\n".encode() * 4, b=f"{name} b\n".encode() * 4)
    source = TextLines(path=str(tmp_path / "train"), test=str(tmp_path / "test"), valid=2, label="file")
    assert source.sizes() == {"train": 8, "test": 8}
    assert {split: len(rows) for split, rows in source.splits().items()} == {"train": 6, "valid": 2, "test": 8}
    assert rows(source, "test")["text"] == ["test a"] * 4 + ["test b"] * 4
    assert locations(source, "test")[5] == "line 2 of b.txt"
    assert source.locate_row(13) == "line 2 of b.txt"


def test_a_large_text_is_kept_in_a_temporary_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(column_store, "MAX_ARRAY_BYTES", 100)
    monkeypatch.setattr(csv_lines, "CHUNK_BYTES", 64)
    texts = [f"line {n}" for n in range(100)]
    source = TextLines(path=write(tmp_path, a="\n".join(texts).encode()))
    assert rows(source) == {"text": texts}
    data = source.columns_by_part["all"]["text"].data  # type: ignore[union-attr]
    assert not data.flags.writeable
    assert data.base is not None
    assert type(data.base).__name__ == "Buffer"


ERRORS = {
    "invalid": (
        {"a": b"ok\n", "b": b"ok\nfine\nb\xe4d\n"},
        {},
        "b.txt, line 3: byte 0xe4 doesn't fit `encoding` (=utf-8): invalid continuation byte. Set `encoding` to that "
        "of the file.",
    ),
    "a NUL": ({"a": b"x\0y\n"}, {}, "a.txt has a NUL character, so it is no text in utf-8. Remove it, or set `enc"),
    "no lines": ({"a": b"\n\n"}, {}, "a.txt has no lines; choose files"),
    "no lines in one file": ({"a": b"x\n", "b": b"\n"}, {}, "b.txt has no lines; choose files"),
    "only a header": (
        {"a": b"head\n"},
        {"skip_lines": 2},
        "a.txt has no lines after the first 2; set `skip_l",
    ),
    "an encoding": ({"a": b""}, {"encoding": "utf-9"}, "`encoding` (=utf-9) is not a text encoding of Python. Did you"),
}


@pytest.mark.parametrize("fault", ERRORS)
def test_errors(fault: str, tmp_path: Path) -> None:
    files, options, message = ERRORS[fault]
    with pytest.raises(DataError) as caught:
        rows(TextLines(path=write(tmp_path, **files), **options))  # type: ignore[arg-type]
    assert message in str(caught.value)


def test_a_damaged_packed_file_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(lzma.compress(b"x\n" * 100)[:-20])
    with pytest.raises(DataError, match=r"a\.txt is damaged xz"):
        rows(TextLines(path=str(tmp_path / "a.txt")))


def test_a_suggestion_needs_classes(tmp_path: Path) -> None:
    path = write(tmp_path, a=b"x y z\n" * 9, b=b"u v w\n" * 9)
    assert TextLines(path=path, label="file").profile().target == "label"
    with pytest.raises(DataError, match=r"has no classes to predict\. Set `label=file` if each file"):
        TextLines(path=path).profile()
