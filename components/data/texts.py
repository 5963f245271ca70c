"""What the texts of a column with many different ones are: numbers but for a few, dates, prose, or names."""

from __future__ import annotations

import re
from typing import NamedTuple

import numpy as np

from components.types import Strings

LOOKED_AT = 1000  # texts, from the first
WORDS = 4.0  # a text, on average, from which on they are prose
GROUPED = re.compile(r"[-+]?\d{1,3}([,.]\d{3})+([.,]\d+)?")
COMMA = re.compile(r"[-+]?\d*,\d+")
DATE = re.compile(r"(\d{1,2}|\d{4})([/.-])\d{1,2}\2(\d{4}|\d{1,2})( .*)?")


class Odd(NamedTuple):
    """Texts among numbers."""

    rows: int  # that hold one
    first: int  # of these rows
    texts: tuple[str, ...]  # the different ones


def odd(strings: Strings, present: int) -> Odd | None:
    """The texts that are no numbers, where most of those present are; else None."""
    texts = strings._replace(indices=None).tolist()
    number = np.array([is_number(text) for text in texts], bool)
    held = number if strings.indices is None else number[strings.indices]
    rows = int((~held).sum())
    if not 0 < 2 * rows < present:
        return None
    return Odd(rows, int(np.argmin(held)), tuple(dict.fromkeys(np.array(texts, object)[~number].tolist())))


def foreign(strings: Strings) -> str | None:
    """What texts are that are all numbers or dates, but spelt as nothing reads them; None where they aren't."""
    texts = [text for text in _first(strings) if text]
    other = next((text for text in texts if not is_number(text)), None)
    if other and all(GROUPED.fullmatch(text) or COMMA.fullmatch(text) or is_number(text) for text in texts):
        return f"numbers such as {other!r} need a point before decimals and nothing between thousands; mend the file"
    if texts and all(DATE.fullmatch(text) for text in texts):
        return f"dates such as {texts[0]!r} aren't ISO 8601; a column `Time` takes them with `format`, as '%d/%m/%Y'"
    return None


def is_prose(strings: Strings) -> bool:
    """Whether texts have some words each."""
    texts = [text for text in _first(strings) if text]
    return sum(len(text.split()) for text in texts) >= WORDS * max(len(texts), 1)


def _first(strings: Strings) -> list[str]:
    """The first of the different texts."""
    return strings._replace(indices=None, offsets=strings.offsets[: LOOKED_AT + 1]).tolist()


def is_number(text: str) -> bool:
    """Whether a text is one, or empty."""
    try:
        float(text)
    except ValueError:
        return not text
    return True
