"""Escapes and cuts names and texts that MLflow doesn't accept.

A character that MLflow refuses becomes `_xHHHH_`, its code in hexadecimal (eight digits beyond U+FFFF), as in XML names
(.NET's `EncodeName`): `area (m2)` is `area _x0028_m2_x0029_`. An underscore that would start such an escape is itself
escaped, so different names stay different. A name that is too long is cut, and ends in its digest.
"""

from __future__ import annotations

import hashlib
import math
import posixpath
import re
from collections.abc import Mapping, Sequence
from typing import Any

# Facts of a run rather than of its model. MLflow shows metrics below `system/` on a page of their own.
RUN_FACTS = (
    "epochs",
    "steps_per_second",
    "input_wait_fraction",
    "compile_seconds",
    "peak_memory_bytes",
    "parameters",
    "sparsity",
    "skipped_rows",
)
SLICES = "slices/"  # starts the names of metrics of slices
LONGEST_NAME = 250  # characters that MLflow accepts
LONGEST_FILE_NAME = 120  # characters; file systems allow 255 bytes

_REFUSED = re.compile(r"[^/\w.\- :]")
_LOOKS_ESCAPED = re.compile(r"_(?=x([0-9A-F]{4}|sha256))")
_ESCAPED_EMPTY_NAME = "_x00000000_"  # no character has this escape


def escape_name(name: str, longest: int = LONGEST_NAME) -> str:
    """The name under which MLflow stores a metric, a parameter, a tag or a data set. Most names need no change."""
    escaped = _escape(name)
    if len(escaped) <= longest:
        return escaped
    digest = f"_xsha256_{hashlib.sha256(name.encode('utf-8', 'surrogatepass')).hexdigest()[:32]}"
    return escaped[: longest - len(digest)] + digest


def name_final_metric(name: str) -> str:
    """The name in MLflow of a figure that a run has once, at its end: `test_loss`, `system/compile_seconds`.

    MLflow draws a chart for each metric, in sections by the part of the name before the last slash, sorted by name.
    Metrics without a slash come last, so the learning curves `train/loss` and `valid/loss` come before them.
    Those of slices would be many charts, so they are on the page of facts.
    """
    is_apart = name in RUN_FACTS or name.startswith(SLICES)
    return f"system/{name}" if is_apart else name.replace("/", "_")


def name_slices(slices: Mapping[str, Sequence[Mapping[str, Any]]]) -> dict[str, float]:
    """The metrics of slices by name, such as `slices/test/ocean_proximity/INLAND/rmse`; without undefined ones.

    A slash in a name or a value becomes `_`, because it would start another level.
    """
    return {
        "/".join([f"{SLICES}{split}", *(each[key].replace("/", "_") for key in ("column", "value")), name]): value
        for split, own in slices.items()
        for each in own
        for name, value in {"rows": each["rows"], **each["metrics"]}.items()
        if not math.isnan(value)
    }


def escape_file_name(name: str) -> str:
    """Escapes a name for one file or folder. Without separators, its path stays inside the parent folder."""
    escaped = escape_name(name, LONGEST_FILE_NAME)
    return escaped.replace("/", _escape_character("/")).replace(":", _escape_character(":"))


def escape_text(text: str, longest: int, *, full_copy: str) -> str:
    """A value that MLflow accepts: invalid characters are escaped, and a long text is cut.

    Args:
        text: the value.
        longest: characters that MLflow accepts.
        full_copy: the file that holds the whole value.
    """
    escaped = text.encode("utf-8", "backslashreplace").decode().replace("\0", "\\x00")
    if len(escaped) <= longest:
        return escaped
    note = f" … ({len(text):,} characters, in full in {full_copy})"
    return escaped[: longest - len(note)] + note


def _escape(name: str) -> str:
    text = _LOOKS_ESCAPED.sub(_escape_character("_"), name)
    text = _REFUSED.sub(lambda match: _escape_character(match[0]), text)
    if not text:
        return _ESCAPED_EMPTY_NAME
    if posixpath.normpath(text) != text or text[0] == "/":  # MLflow refuses `a//b`, `a/../b` and `/a`
        text = text.replace("/", _escape_character("/"))
    if text == "." or text.startswith(".."):  # MLflow refuses these too, even `..a`
        text = text.replace(".", _escape_character("."))
    return text


def _escape_character(character: str) -> str:
    return f"_x{ord(character):04X}_" if ord(character) < 0x10000 else f"_x{ord(character):08X}_"
