"""The formats of tables in files, and how the first bytes show them."""

from __future__ import annotations

import re

from components.data.array_record import ARRAY_RECORD_START
from components.data.tfrecord.framing import is_record
from components.file_formats import FORMATS, FileFormat

CONTROLS = re.compile(rb"[\x00-\x08\x0e-\x1f]")


def find_format(start: bytes) -> FileFormat | None:
    """The format of a file that isn't packed. None: another one, such as CSV.

    Args:
        start: its first bytes, some thousands.
    """
    if is_record(start) or start.startswith(ARRAY_RECORD_START):  # which has the same records
        return "tfrecord"
    is_binary = CONTROLS.search(start) is not None  # in a text, ORC may be the name of a column
    kinds = (kind for kind, format in FORMATS.items() if format.magics and start.startswith(format.magics))
    kind = next(kinds, None) if is_binary else None
    text = start.removeprefix(b"\xef\xbb\xbf").lstrip()
    is_json_line = text[:1] == b"{" and text.splitlines()[0].strip() != b"{"
    return "json_lines" if kind is None and is_json_line else kind
