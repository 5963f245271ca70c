"""The formats of tables in files: their names, suffixes and first bytes."""

from __future__ import annotations

import re
from typing import Literal, NamedTuple

FileFormat = Literal["parquet", "arrow", "orc", "json_lines", "tfrecord"]
"""The formats whose columns have types."""


class _Format(NamedTuple):
    """A format.

    Attributes:
        name: its name.
        suffixes: the suffixes that its files usually have. The first bytes of a file count, and not its suffix.
        magics: the first bytes of its files.
    """

    name: str
    suffixes: tuple[str, ...]
    magics: tuple[bytes, ...] = ()


FORMATS: dict[FileFormat | None, _Format] = {
    None: _Format("CSV", ("csv", "tsv")),
    "parquet": _Format("Parquet", ("parquet", "pq"), (b"PAR1",)),
    "arrow": _Format("Arrow", ("arrow", "feather", "ipc"), (b"ARROW1", b"\xff\xff\xff\xff")),
    "orc": _Format("ORC", ("orc",), (b"ORC",)),
    "json_lines": _Format("JSON lines", ("jsonl", "ndjson")),
    "tfrecord": _Format("TFRecord", ("tfrecord", "tfrecords")),
}
FORMAT_NAMES = {format: each.name for format, each in FORMATS.items()}
PACKED_SUFFIX = r"\.(gz|bz2|xz|zst|zstd)"  # at the end of a name


def match_suffix(*formats: FileFormat | None) -> re.Pattern[str]:
    """A pattern of the names of files of some formats, packed or not, whose group `stem` is the name without suffix."""
    suffixes = "|".join(suffix for format in formats for suffix in FORMATS[format].suffixes)
    return re.compile(rf"(?P<stem>.+?)\.({suffixes})({PACKED_SUFFIX})?", re.IGNORECASE | re.DOTALL)


def find_suffix(name: str) -> FileFormat | None:
    """The format that the suffix of a file's name stands for. None: CSV, or another one."""
    return next((format for format in FORMATS if format and match_suffix(format).fullmatch(name)), None)


def strip_packed_suffix(name: str) -> str:
    """The name of a file without a suffix such as .gz."""
    return re.sub(rf"(?<=.){PACKED_SUFFIX}\Z", "", name, flags=re.IGNORECASE | re.DOTALL)
