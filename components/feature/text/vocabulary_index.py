"""An index of a list of values. Strings are looked up by their sorted fingerprints; then their bytes are compared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from components.closest import closest_name
from components.feature.text.fingerprint import fingerprint64
from components.feature.text.string_ops import format_category, gather, is_encodable
from components.types import Strings, UserError

MAX_COMPARED = 1000  # values that an unknown value is compared with for a suggestion


def build_index(tokens: Strings | np.ndarray) -> dict[str, np.ndarray]:
    """Builds the index of distinct values, as arrays by name.

    Args:
        tokens: the values: strings without a dictionary, or int64.

    Returns:
        `data` and `offsets` of strings, or `values` of integers; `sorted`, the sorted fingerprints or integers; and
        `order`, their positions in the list.

    Raises:
        UserError: two strings have the same fingerprint.
    """
    keys = fingerprint64(tokens.data, tokens.offsets) if isinstance(tokens, Strings) else tokens
    order = np.argsort(keys, kind="stable")
    sorted_keys = keys[order]
    if not isinstance(tokens, Strings):
        return {"values": tokens, "sorted": sorted_keys, "order": order}
    repeated = np.flatnonzero(sorted_keys[1:] == sorted_keys[:-1])
    if repeated.size:
        value, other = gather(tokens, order[[repeated[0], repeated[0] + 1]]).tolist()
        raise UserError(f"{value!r} and {other!r} have the same fingerprint; remove one")
    return {"data": tokens.data, "offsets": tokens.offsets, "sorted": sorted_keys, "order": order}


def is_text(host: Mapping[str, np.ndarray]) -> bool:
    """Whether the values of an index are strings."""
    return "data" in host


def look_up(values: Strings | np.ndarray, keys: np.ndarray, host: Mapping[str, np.ndarray]) -> np.ndarray:
    """The position of each value in the list, int64; -1 for unknown values.

    Args:
        values: strings without a dictionary, or int64.
        keys: the fingerprints of strings, or the integers.
        host: the index.
    """
    if not len(host["order"]):
        return np.full(len(keys), -1)
    candidates = np.minimum(np.searchsorted(host["sorted"], keys), len(host["order"]) - 1)
    positions = np.where(host["sorted"][candidates] == keys, host["order"][candidates], -1)
    if isinstance(values, Strings):
        _verify(values, Strings(host["data"], host["offsets"]), positions)
    return positions


def match_ids(host: Mapping[str, np.ndarray], other: Mapping[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray] | None:
    """The ids of the values that two vocabularies share, in each of them; None: only one of them is of text.

    Args:
        host: the host constants of a vocabulary: its index, and the `ids` of its values.
        other: those of another one.
    """
    if is_text(host) != is_text(other):
        return None
    values = Strings(host["data"], host["offsets"]) if is_text(host) else host["values"]
    keys = fingerprint64(values.data, values.offsets) if isinstance(values, Strings) else values
    positions = look_up(values, keys, other)
    is_shared = positions >= 0
    return host["ids"][is_shared], other["ids"][positions[is_shared]]


def _verify(values: Strings, tokens: Strings, positions: np.ndarray) -> None:
    """Sets the position to -1 if a string differs from that of the list, although their fingerprints are equal."""
    rows = np.flatnonzero(positions >= 0)
    lengths, expected_lengths = np.diff(values.offsets)[rows], np.diff(tokens.offsets)[positions[rows]]
    positions[rows[lengths != expected_lengths]] = -1
    rows = rows[lengths == expected_lengths]
    expected = gather(tokens, positions[rows])
    if len(rows) == len(positions):  # the usual case, which needs no copy
        actual = values.data[values.offsets[0] : values.offsets[-1]]
    else:
        actual = gather(values, rows).data
    different_bytes = np.flatnonzero(actual != expected.data)
    positions[rows[np.searchsorted(expected.offsets, different_bytes, side="right") - 1]] = -1


def suggest_value(value: str | int, host: Mapping[str, np.ndarray]) -> str:
    """`Did you mean …? ` with the most similar of the first values of the list; "" if no value is similar."""
    tokens = Strings(host["data"], host["offsets"]) if is_text(host) else host["values"]
    known = [str(format_category(tokens, position)) for position in range(min(len(host["order"]), MAX_COMPARED))]
    nearest = closest_name(value, known)
    return f"Did you mean {nearest!r}? " if nearest else ""


def check_values(key: str, values: Sequence[str | int], mask: str | int | None) -> None:
    """Raises UserError for an empty list, values of two types, a repeated value, or a value that UTF-8 can't encode."""
    prefix = f"vocabulary of column `{key}`: "
    if not values:
        raise UserError(f"{prefix}`values` is empty; leave it out to learn the list")
    all_values = [*values] if mask is None else [mask, *values]
    if len({isinstance(value, str) for value in all_values}) > 1:
        raise UserError(f"{prefix}`values` and `mask` must be all text or all whole numbers")
    number_of_value: dict[str | int, int] = {}
    for number, value in enumerate(all_values, start=int(mask is None)):  # number 0 is the mask
        name = f"number {number} of `values`" if number else "the mask"
        if isinstance(value, str) and not is_encodable(value):
            raise UserError(f"{prefix}{name}, {value!r}, can't be encoded in UTF-8; correct it")
        if value in number_of_value:
            first_number = number_of_value[value]
            first = f"number {first_number}" if first_number else "the mask"
            raise UserError(f"{prefix}{name}, {value!r}, is the same as {first}; remove one")
        number_of_value[value] = number
