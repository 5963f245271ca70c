"""Strings as Arrow has them, and categories, which are plain strings or int64: worked on, chosen, joined, made."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from components.types import Strings, UserError


def apply_to_strings(strings: Strings, function: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> np.ndarray:
    """What a function of (data, offsets) makes of the strings, row by row; those that repeat are worked on once."""
    distinct, inverse = compact(strings)
    results = function(distinct.data, distinct.offsets)
    return results if inverse is None else results[inverse]


def compact(strings: Strings) -> tuple[Strings, np.ndarray | None]:
    """The strings that occur, without a dictionary, and which of them each row is; None: row i is string i.

    A dictionary that isn't larger than the rows is taken whole, so some of its strings may not occur.
    """
    if strings.indices is None:
        return strings, None
    if len(strings.offsets) - 1 <= len(strings.indices):
        return strings._replace(indices=None), strings.indices
    used, inverse = np.unique(strings.indices, return_inverse=True)
    return gather(strings, used), inverse


def gather(strings: Strings, places: np.ndarray) -> Strings:
    """Some strings of a dictionary, in that order, as plain ones."""
    starts, lengths = strings.offsets[places], np.diff(strings.offsets)[places]
    offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths, dtype=np.int64)])
    return Strings(strings.data[np.arange(offsets[-1]) + np.repeat(starts - offsets[:-1], lengths)], offsets)


def to_strings(texts: Sequence[str]) -> Strings:
    """Python's strings as Arrow has them; raises UserError for one that has no UTF-8."""
    try:
        encoded = [text.encode() for text in texts]
    except UnicodeEncodeError as error:
        raise UserError(f"{error.object!r} has no UTF-8; correct it") from error
    offsets = np.cumsum([0, *map(len, encoded)], dtype=np.int64)
    return Strings(np.frombuffer(b"".join(encoded), np.uint8), offsets)


def is_encodable(text: str) -> bool:
    """Whether a string has UTF-8; one with half of a surrogate pair has not."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def to_categories(values: Sequence[str | int]) -> Strings | np.ndarray:
    """Python's strings or integers."""
    texts = [value for value in values if isinstance(value, str)]
    return to_strings(texts) if texts else np.array(values, np.int64)


def take(values: Strings | np.ndarray, places: np.ndarray) -> Strings | np.ndarray:
    """Some categories, in that order."""
    return gather(values, places) if isinstance(values, Strings) else values[places]


def concatenate_categories(values: Strings | np.ndarray, others: Strings | np.ndarray) -> Strings | np.ndarray:
    """Categories, and others of the same kind behind them."""
    if not isinstance(values, Strings) or not isinstance(others, Strings):
        return np.concatenate([np.asarray(values), np.asarray(others)])
    parts = [one.data[one.offsets[0] : one.offsets[-1]] for one in (values, others)]
    behind = others.offsets[1:] - others.offsets[0] + len(parts[0])
    return Strings(np.concatenate(parts), np.concatenate([values.offsets - values.offsets[0], behind]))


def format_category(values: Strings | np.ndarray, place: int) -> str | int:
    """One of many strings or integers, for a message."""
    if not isinstance(values, Strings):
        return int(values[place])
    place = place if values.indices is None else int(values.indices[place])
    return values.data[values.offsets[place] : values.offsets[place + 1]].tobytes().decode(errors="replace")
