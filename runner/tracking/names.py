"""Names and texts that MLflow accepts: a name of any characters and length becomes a valid one.

A character that MLflow refuses becomes `_xHHHH_`, its code in hexadecimal, as in XML names (.NET's `EncodeName`):
`area (m2)` is `area _x0028_m2_x0029_`. An underscore that would start such an escape is itself escaped, so no two
names become one. A name that is too long is cut, and ends in its digest.
"""

from __future__ import annotations

import hashlib
import posixpath
import re

LONGEST_NAME = 250  # characters that MLflow accepts

_REFUSED = re.compile(r"[^/\w.\- :]")
_LOOKS_ESCAPED = re.compile(r"_(?=x([0-9A-F]{4}|sha256))")
_EMPTY = "_x00000000_"


def fit(name: str, longest: int = LONGEST_NAME) -> str:
    """The name under which MLflow keeps a metric, a parameter, a tag or a data set; most stay as they are."""
    escaped = _escape(name)
    if len(escaped) <= longest:
        return escaped
    digest = f"_xsha256_{hashlib.sha256(name.encode('utf-8', 'surrogatepass')).hexdigest()[:32]}"
    return escaped[: longest - len(digest)] + digest


def fit_file(name: str) -> str:
    """A name as that of a single folder or file, which can't point out of its parent folder."""
    return fit(name, 120).replace("/", _escape_character("/")).replace(":", _escape_character(":"))


def fit_text(text: str, longest: int, elsewhere: str) -> str:
    """A value that MLflow accepts: invalid characters are escaped, and a long text is cut.

    Args:
        text: the value.
        longest: characters that MLflow accepts.
        elsewhere: the file that holds the whole value.
    """
    legible = text.encode("utf-8", "backslashreplace").decode().replace("\0", "\\x00")
    if len(legible) <= longest:
        return legible
    note = f" … ({len(text):,} characters, in full in {elsewhere})"
    return legible[: longest - len(note)] + note


def _escape(name: str) -> str:
    text = _REFUSED.sub(lambda found: _escape_character(found[0]), _LOOKS_ESCAPED.sub(_escape_character("_"), name))
    if not text:
        return _EMPTY
    if posixpath.normpath(text) != text or text[0] == "/":  # MLflow takes no name that is another file's
        text = text.replace("/", _escape_character("/"))
    return text.replace(".", _escape_character(".")) if text == "." or text.startswith("..") else text


def _escape_character(character: str) -> str:
    return f"_x{ord(character):04X}_" if ord(character) < 0x10000 else f"_x{ord(character):08X}_"
