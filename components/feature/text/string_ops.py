"""Operations on `Strings`, and on categories, which are either strings without a dictionary or int64."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from components.ragged import select_lists
from components.types import Strings, UserError


def map_strings(strings: Strings, function: Callable[[Strings], np.ndarray]) -> np.ndarray:
    """Applies a function of strings without a dictionary: once to each string of the dictionary, or else to each row's.

    Returns:
        The result for each row.
    """
    values, positions = split_dictionary(strings)
    results = function(values)
    return results if positions is None else results[positions]


def split_dictionary(strings: Strings) -> tuple[Strings, np.ndarray | None]:
    """Splits dictionary-encoded strings into the strings of the dictionary and the positions of the rows.

    Returns:
        The strings, and the position of each row's string among them; None: there is no dictionary, row i is string i.
        A dictionary may have a string twice, or strings that no row has. The latter are removed only if it has more
        strings than there are rows.
    """
    if strings.indices is None:
        return strings, None
    if len(strings.offsets) - 1 <= len(strings.indices):
        return strings._replace(indices=None), strings.indices
    used, positions = np.unique(strings.indices, return_inverse=True)
    return gather(strings, used), positions


def gather(strings: Strings, positions: np.ndarray) -> Strings:
    """Copies the strings at some positions in `offsets`, in that order. Ignores `indices`; the result has none."""
    sources, offsets = select_lists(strings.offsets, positions)  # the position of each byte in `strings.data`
    return Strings(strings.data[sources], offsets)


def to_strings(texts: Sequence[str]) -> Strings:
    """Converts Python strings; raises UserError for one that UTF-8 can't encode."""
    try:
        encoded = [text.encode() for text in texts]
    except UnicodeEncodeError as error:
        raise UserError(f"UTF-8 can't encode {error.object!r}; correct it") from error
    return Strings.from_bytes(encoded)


def is_encodable(text: str) -> bool:
    """Whether UTF-8 can encode a string. It can't encode half of a surrogate pair."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def to_categories(values: Sequence[str | int]) -> Strings | np.ndarray:
    """Converts Python values to categories. Either all values are strings, or all are integers."""
    texts = [value for value in values if isinstance(value, str)]  # all values or none
    return to_strings(texts) if texts else np.array(values, np.int64)


def take(values: Strings | np.ndarray, positions: np.ndarray) -> Strings | np.ndarray:
    """The categories at some positions, in that order."""
    return gather(values, positions) if isinstance(values, Strings) else values[positions]


def concatenate_categories(values: Strings | np.ndarray, others: Strings | np.ndarray) -> Strings | np.ndarray:
    """Concatenates categories of the same type."""
    if isinstance(values, Strings) and isinstance(others, Strings):
        parts = [strings.data[strings.offsets[0] : strings.offsets[-1]] for strings in (values, others)]
        other_offsets = others.offsets[1:] - others.offsets[0] + len(parts[0])
        return Strings(np.concatenate(parts), np.concatenate([values.offsets - values.offsets[0], other_offsets]))
    return np.concatenate([np.asarray(values), np.asarray(others)])  # both are arrays, which mypy can't infer


def format_category(values: Strings | np.ndarray, position: int) -> str | int:
    """The category at a position as a Python value, for messages. `values` may have a dictionary."""
    if not isinstance(values, Strings):
        return int(values[position])
    position = position if values.indices is None else int(values.indices[position])
    return values.data[values.offsets[position] : values.offsets[position + 1]].tobytes().decode(errors="replace")
