"""A statistic of categories: how often each value of a column occurs."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from components.feature.base.values import CategoryValues, read_values
from components.feature.statistic.elements import find_unique, merge_unique
from components.feature.text.fingerprint import fingerprint64
from components.feature.text.string_ops import concatenate_categories, split_dictionary, take
from components.types import Block, DataError, Strings


class Tally(NamedTuple):
    """Distinct values and how often they occur.

    Attributes:
        keys: (values,), ascending: fingerprints of strings in uint64, or the integers themselves in int64.
        tokens: the values in the order of `keys`: strings without a dictionary, or int64.
        counts: (values,), int64: how often each value occurs.
        documents: (values,), int64: the number of rows in which each value occurs.
        rows: the number of rows.
    """

    keys: np.ndarray
    tokens: Strings | np.ndarray
    counts: np.ndarray
    documents: np.ndarray
    rows: int


@dataclass(frozen=True)
class Counts:
    """Counts how often, and in how many rows, each string or integer of a column occurs.

    Strings with the same Fingerprint64 are counted as one string. Among a million strings, the probability that two
    have the same fingerprint is 3e-8.

    Attributes:
        key: a raw column, or a feature column.
        missing: replaces missing values. None: missing values aren't counted.
        empty_is_missing: whether "" and -1 are missing values, except in a ragged column.
    """

    key: str
    missing: str | int | None = None
    empty_is_missing: bool = True

    def summarize(self, block: Block) -> Tally:
        column = read_values(block, self.key, missing=self.missing, empty_is_missing=self.empty_is_missing)
        values, positions = (
            split_dictionary(column.values) if isinstance(column.values, Strings) else (column.values, None)
        )
        keys = fingerprint64(values.data, values.offsets) if isinstance(values, Strings) else values
        unique, example_positions, codes = find_unique(keys)
        codes = codes if positions is None else codes[positions]
        counts, documents = _count(column, codes, len(unique))
        present = np.flatnonzero(counts)  # a dictionary may have values that don't occur
        tokens = take(values, example_positions[present])
        return Tally(unique[present], tokens, counts[present], documents[present], column.row_count)

    def merge(self, state: Tally, other: Tally) -> Tally:
        rows = state.rows + other.rows
        if not (len(state.keys) and len(other.keys)):
            return (state if len(state.keys) else other)._replace(rows=rows)
        if state.keys.dtype != other.keys.dtype:
            raise DataError(f"column `{self.key}` has text in some rows and whole numbers in others; use one type")
        unique, example_positions, codes = merge_unique(state.keys, other.keys)
        counts, documents = (
            _add(codes, np.concatenate(pair), len(unique))
            for pair in ((state.counts, other.counts), (state.documents, other.documents))
        )
        tokens = take(concatenate_categories(state.tokens, other.tokens), example_positions)
        return Tally(unique, tokens, counts, documents, rows)

    def result(self, state: Tally) -> Tally:
        return state


def find_most_frequent(tally: Tally, max_values: int | None, min_count: int, exclude: Collection[Any]) -> np.ndarray:
    """The positions of the most frequent values, in descending order of count, then of value, as in Keras.

    Args:
        tally: the values and their counts.
        max_values: the maximum number of values. None: all.
        min_count: the minimum count of a value.
        exclude: values that are left out.
    """
    positions = np.flatnonzero(tally.counts >= min_count)
    max_candidates = None if max_values is None else max_values + len(exclude)
    if max_candidates is not None and len(positions) > max_candidates:
        # Sorting Python strings is slow, so values that can't be among the result are dropped first.
        counts = tally.counts[positions]
        positions = positions[counts >= np.partition(counts, -max_candidates)[-max_candidates]]
    values = take(tally.tokens, positions).tolist()
    order = [index for index, value in enumerate(values) if value not in exclude]
    order.sort(key=lambda index: (tally.counts[positions[index]], values[index]), reverse=True)
    return positions[order[:max_values]]


def _count(column: CategoryValues, codes: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """How many values, and how many rows, have each of `size` codes."""
    rows = column.number_rows()
    if column.valid_mask is not None:
        codes, rows = codes[column.valid_mask], None if rows is None else rows[column.valid_mask]
    counts = np.bincount(codes, minlength=size)
    if rows is None:
        return counts, counts
    pairs = np.sort(rows * size + codes)
    return counts, np.bincount(pairs[np.diff(pairs, prepend=-1) != 0] % max(size, 1), minlength=size)


def _add(codes: np.ndarray, numbers: np.ndarray, size: int) -> np.ndarray:
    total = np.zeros(size, np.int64)
    np.add.at(total, codes, numbers)
    return total
