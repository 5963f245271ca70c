"""An index of a list of values: it finds them by sorted fingerprints, then compares the bytes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from components.closest import closest_name
from components.feature.text.fingerprint import fingerprint64
from components.feature.text.string_ops import format_category, gather, is_encodable
from components.types import Strings, UserError

COMPARED = 1000  # values that an unknown one is compared with


def build_index(tokens: Strings | np.ndarray) -> dict[str, np.ndarray]:
    """The index of distinct values, as arrays by name.

    Args:
        tokens: strings without a dictionary, or int64.

    Returns:
        `data` and `offsets` of strings, or `values`; and `sorted`, their keys in order, with `order`, their numbers.

    Raises:
        UserError: two strings have the same fingerprint.
    """
    keys = fingerprint64(tokens.data, tokens.offsets) if isinstance(tokens, Strings) else tokens
    order = np.argsort(keys, kind="stable")
    ranked = keys[order]
    if isinstance(tokens, Strings) and (same := np.flatnonzero(ranked[1:] == ranked[:-1])).size:
        one, other = gather(tokens, order[[same[0], same[0] + 1]]).tolist()
        raise UserError(f"{one!r} and {other!r} have the same fingerprint; leave one out")
    kept = {"data": tokens.data, "offsets": tokens.offsets} if isinstance(tokens, Strings) else {"values": tokens}
    return {**kept, "sorted": ranked, "order": order}


def is_text(host: Mapping[str, np.ndarray]) -> bool:
    """Whether an index is one of strings."""
    return "data" in host


def look_up(values: Strings | np.ndarray, keys: np.ndarray, host: Mapping[str, np.ndarray]) -> np.ndarray:
    """The number of each value in the list, int64; -1 for an unknown one.

    Args:
        values: strings without a dictionary, or int64.
        keys: the fingerprints of strings, or the integers.
        host: the index.
    """
    if not len(host["order"]):
        return np.full(len(keys), -1)
    place = np.minimum(np.searchsorted(host["sorted"], keys), len(host["order"]) - 1)
    found = np.where(host["sorted"][place] == keys, host["order"][place], -1)
    if isinstance(values, Strings):
        _verify(values, Strings(host["data"], host["offsets"]), found)
    return found


def _verify(values: Strings, tokens: Strings, found: np.ndarray) -> None:
    """Replaces by -1 the numbers of strings that differ from those of the list, which takes equal fingerprints."""
    rows = np.flatnonzero(found >= 0)
    lengths, wanted = np.diff(values.offsets)[rows], np.diff(tokens.offsets)[found[rows]]
    found[rows[lengths != wanted]] = -1
    rows = rows[lengths == wanted]
    expected = gather(tokens, found[rows])
    every = len(rows) == len(found)  # the usual case, without a copy
    actual = values.data[values.offsets[0] : values.offsets[-1]] if every else gather(values, rows).data
    wrong = np.flatnonzero(actual != expected.data)
    found[rows[np.searchsorted(expected.offsets, wrong, side="right") - 1]] = -1


def suggest_value(value: str | int, host: Mapping[str, np.ndarray]) -> str:
    """`did you mean …? ` with the most similar of the first values of the list, or "" if none is similar."""
    tokens = Strings(host["data"], host["offsets"]) if is_text(host) else host["values"]
    known = [str(format_category(tokens, place)) for place in range(min(len(host["order"]), COMPARED))]
    near = closest_name(value, known)
    return f"did you mean {near!r}? " if near else ""


def check_values(key: str, values: Sequence[str | int], mask: str | int | None) -> None:
    """Raises UserError for an empty list, values of two types, a value twice, or one that UTF-8 can't encode."""
    start = f"vocabulary of column `{key}`: "
    if not values:
        raise UserError(f"{start}`values` is empty; leave it out to learn the list")
    every = [*values] if mask is None else [mask, *values]
    if len({isinstance(value, str) for value in every}) > 1:
        raise UserError(f"{start}`values` and `mask` must be all text or all whole numbers")
    numbers: dict[str | int, int] = {}
    for number, value in enumerate(every, start=int(mask is None)):
        if isinstance(value, str) and not is_encodable(value):
            which = f"number {number} of `values`" if number else "the mask"
            raise UserError(f"{start}{which}, {value!r}, has no UTF-8; correct it")
        if numbers.setdefault(value, number) != number:
            first = f"number {numbers[value]}" if numbers[value] else "the mask"
            raise UserError(f"{start}number {number} of `values`, {value!r}, is {first} too; leave one out")
