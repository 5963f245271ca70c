"""Operations on `Strings`, and on categories, which are strings without a dictionary or int64."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from components.types import Strings, UserError


def apply_to_strings(strings: Strings, function: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> np.ndarray:
    """Applies a function of (data, offsets) to the string of each row; to a repeated one only once."""
    distinct, inverse = compact(strings)
    results = function(distinct.data, distinct.offsets)
    return results if inverse is None else results[inverse]


def compact(strings: Strings) -> tuple[Strings, np.ndarray | None]:
    """Separates a dictionary from the rows that refer to it.

    Returns:
        The strings, and the number of each row's string; None: row i is string i. A dictionary that isn't larger than
        the rows is returned whole, so some of its strings may not occur.
    """
    if strings.indices is None:
        return strings, None
    if len(strings.offsets) - 1 <= len(strings.indices):
        return strings._replace(indices=None), strings.indices
    used, inverse = np.unique(strings.indices, return_inverse=True)
    return gather(strings, used), inverse


def gather(strings: Strings, places: np.ndarray) -> Strings:
    """The strings at some places of a dictionary, in that order, without a dictionary."""
    starts, lengths = strings.offsets[places], np.diff(strings.offsets)[places]
    offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths, dtype=np.int64)])
    return Strings(strings.data[np.arange(offsets[-1]) + np.repeat(starts - offsets[:-1], lengths)], offsets)


def to_strings(texts: Sequence[str]) -> Strings:
    """Converts Python strings; raises UserError for one that UTF-8 can't encode."""
    try:
        encoded = [text.encode() for text in texts]
    except UnicodeEncodeError as error:
        raise UserError(f"{error.object!r} has no UTF-8; correct it") from error
    return Strings.from_bytes(encoded)


def is_encodable(text: str) -> bool:
    """Whether UTF-8 can encode a string. It can't encode half of a surrogate pair."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def to_categories(values: Sequence[str | int]) -> Strings | np.ndarray:
    """Converts Python strings or integers."""
    texts = [value for value in values if isinstance(value, str)]
    return to_strings(texts) if texts else np.array(values, np.int64)


def take(values: Strings | np.ndarray, places: np.ndarray) -> Strings | np.ndarray:
    """The categories at some places, in that order."""
    return gather(values, places) if isinstance(values, Strings) else values[places]


def concatenate_categories(values: Strings | np.ndarray, others: Strings | np.ndarray) -> Strings | np.ndarray:
    """Concatenates categories of the same type."""
    if not isinstance(values, Strings) or not isinstance(others, Strings):
        return np.concatenate([np.asarray(values), np.asarray(others)])
    parts = [one.data[one.offsets[0] : one.offsets[-1]] for one in (values, others)]
    behind = others.offsets[1:] - others.offsets[0] + len(parts[0])
    return Strings(np.concatenate(parts), np.concatenate([values.offsets - values.offsets[0], behind]))


def format_category(values: Strings | np.ndarray, place: int) -> str | int:
    """One of the categories, for a message."""
    if not isinstance(values, Strings):
        return int(values[place])
    place = place if values.indices is None else int(values.indices[place])
    return values.data[values.offsets[place] : values.offsets[place + 1]].tobytes().decode(errors="replace")
