"""How often each value of a column occurs."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from components.feature.base.values import CategoryValues, read_values
from components.feature.text.fingerprint import fingerprint64
from components.feature.text.string_ops import compact, concatenate_categories, take
from components.types import Block, DataError, Strings


class Tally(NamedTuple):
    """Distinct values and how often they occur.

    Attributes:
        keys: (values,), increasing: fingerprints of strings in uint64, or the integers themselves in int64.
        tokens: the values in the order of `keys`: strings without a dictionary, or int64.
        counts: (values,), int64: how often each occurs.
        documents: (values,), int64: in how many rows each occurs.
        rows: the number of rows.
    """

    keys: np.ndarray
    tokens: Strings | np.ndarray
    counts: np.ndarray
    documents: np.ndarray
    rows: int


@dataclass(frozen=True)
class Counts:
    """How often, and in how many rows, each string or integer of a column occurs; exact.

    Strings with equal Fingerprint64 count as one. Among a million strings, two have equal ones with a probability of
    3e-8.

    Attributes:
        key: a raw column, or a stateless feature column.
        missing: replaces missing values. None: they aren't counted.
        empty_is_missing: whether "" and -1 are missing values where all rows have the same number of values.
    """

    key: str
    missing: str | int | None = None
    empty_is_missing: bool = True

    def summarize(self, block: Block) -> Tally:
        found = read_values(block, self.key, missing=self.missing, empty_is_missing=self.empty_is_missing)
        distinct, inverse = compact(found.values) if isinstance(found.values, Strings) else (found.values, None)
        keys = fingerprint64(distinct.data, distinct.offsets) if isinstance(distinct, Strings) else distinct
        unique, first, codes = _find_unique(keys)
        codes = codes if inverse is None else codes[inverse]
        counts, documents = _count(found, codes, len(unique))
        kept = np.flatnonzero(counts)
        tokens = take(distinct, first[kept])
        return Tally(unique[kept], tokens, counts[kept], documents[kept], found.row_count)

    def merge(self, state: Tally, other: Tally) -> Tally:
        rows = state.rows + other.rows
        if not (len(state.keys) and len(other.keys)):
            return (state if len(state.keys) else other)._replace(rows=rows)
        if state.keys.dtype != other.keys.dtype:
            raise DataError(f"column `{self.key}` holds text in some rows and whole numbers in others")
        unique, first, codes = _find_unique(np.concatenate([state.keys, other.keys]))
        counts, documents = (
            _add(codes, np.concatenate(pair), len(unique))
            for pair in ((state.counts, other.counts), (state.documents, other.documents))
        )
        return Tally(unique, take(concatenate_categories(state.tokens, other.tokens), first), counts, documents, rows)

    def result(self, state: Tally) -> Tally:
        return state


def find_most_frequent(tally: Tally, top: int | None, least: int, without: Collection[Any]) -> np.ndarray:
    """The places of the most frequent values; of those equally frequent the greatest first, as in Keras.

    Args:
        tally: the values.
        top: how many are returned at most. None: all.
        least: how often each occurs at least.
        without: values that are left out.
    """
    places = np.flatnonzero(tally.counts >= least)
    if top is not None and len(places) > (most := top + len(without)):
        # Only these can be among the first `top`: sorting Python's strings takes longest.
        counts = tally.counts[places]
        places = places[counts >= np.partition(counts, -most)[-most]]
    values = take(tally.tokens, places)
    texts = values.tolist()
    kept = [number for number, text in enumerate(texts) if text not in without]
    kept.sort(key=lambda number: (tally.counts[places[number]], texts[number]), reverse=True)
    return places[kept[:top]]


def _find_unique(keys: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The distinct keys, increasing; a place of each; and the number of each key among them.

    It takes half as long as np.unique.
    """
    order = np.argsort(keys)
    ranked = keys[order]
    new = np.ones(len(keys), bool)
    np.not_equal(ranked[1:], ranked[:-1], out=new[1:])
    codes = np.empty(len(keys), np.int64)
    codes[order] = np.cumsum(new) - 1
    return ranked[new], order[new], codes


def _count(found: CategoryValues, codes: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """How many values, and how many rows, have each of `size` codes."""
    rows = found.row_numbers()
    if found.valid_mask is not None:
        codes, rows = codes[found.valid_mask], None if rows is None else rows[found.valid_mask]
    counts = np.bincount(codes, minlength=size)
    if rows is None:
        return counts, counts
    pairs = np.sort(rows * size + codes)
    return counts, np.bincount(pairs[np.diff(pairs, prepend=-1) != 0] % max(size, 1), minlength=size)


def _add(codes: np.ndarray, numbers: np.ndarray, size: int) -> np.ndarray:
    total = np.zeros(size, np.int64)
    np.add.at(total, codes, numbers)
    return total
