"""How often each value of a column occurs."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from components.feature.base.values import CategoryValues, Layout, read_values
from components.feature.text.fingerprint import fingerprint64
from components.feature.text.string_ops import compact, concatenate_categories, take
from components.types import Block, DataError, Strings


class Tally(NamedTuple):
    """Distinct values, by their fingerprints (or themselves, if integers), and how often they occur."""

    keys: np.ndarray  # (values,), increasing: uint64 fingerprints of strings, or int64
    tokens: Strings | np.ndarray  # the values in that order: plain strings, or int64
    counts: np.ndarray  # (values,), int64
    documents: np.ndarray  # (values,), int64: the rows that they occur in
    rows: int  # all of them


@dataclass(frozen=True)
class Counts:
    """The number of times, and of rows, that each string or integer of a column occurs; exact.

    Strings are told apart by their Fingerprint64: two of a million have the same one by a chance of 3e-8, and are then
    counted as one.

    Attributes:
        key: the column, or one that learns nothing itself.
        missing: what stands in for a cell without a value; None: it isn't counted.
        blank: whether "" and -1 are no values where every row has as many cells.
    """

    key: str
    missing: str | int | None = None
    empty_is_missing: bool = True

    def summarize(self, block: Block) -> Tally:
        found = read_values(block, self.key, missing=self.missing, empty_is_missing=self.empty_is_missing)
        distinct, inverse = compact(found.values) if isinstance(found.values, Strings) else (found.values, None)
        keys = fingerprint64(distinct.data, distinct.offsets) if isinstance(distinct, Strings) else distinct
        unique, first, codes = _unique(keys)
        codes = codes if inverse is None else codes[inverse]
        counts, documents = _occurrences(found, codes, len(unique))
        kept = np.flatnonzero(counts)
        tokens = take(distinct, first[kept])
        return Tally(unique[kept], tokens, counts[kept], documents[kept], _rows(found.layout))

    def merge(self, state: Tally, other: Tally) -> Tally:
        rows = state.rows + other.rows
        if not (len(state.keys) and len(other.keys)):
            return (state if len(state.keys) else other)._replace(rows=rows)
        if state.keys.dtype != other.keys.dtype:
            raise DataError(f"column `{self.key}` holds text in some rows and whole numbers in others")
        unique, first, codes = _unique(np.concatenate([state.keys, other.keys]))
        counts, documents = (
            _added(codes, np.concatenate(pair), len(unique))
            for pair in ((state.counts, other.counts), (state.documents, other.documents))
        )
        return Tally(unique, take(concatenate_categories(state.tokens, other.tokens), first), counts, documents, rows)

    def result(self, state: Tally) -> Tally:
        return state


def find_most_frequent(tally: Tally, top: int | None, least: int, without: Collection[Any]) -> np.ndarray:
    """The places of values, the most frequent first, and of those equally frequent the greatest (as Keras has them).

    At most `top`, each of which occurs `least` times or more, and is none of `without`.
    """
    places = np.flatnonzero(tally.counts >= least)
    if top is not None and len(places) > (most := top + len(without)):
        counts = tally.counts[places]
        places = places[counts >= np.partition(counts, -most)[-most]]
    values = take(tally.tokens, places)
    texts = values.tolist()
    kept = [number for number, text in enumerate(texts) if text not in without]
    kept.sort(key=lambda number: (tally.counts[places[number]], texts[number]), reverse=True)
    return places[kept[:top]]


def _unique(keys: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The distinct keys, increasing, a place of each, and which of them each key is; np.unique in half the time."""
    order = np.argsort(keys)
    ranked = keys[order]
    new = np.ones(len(keys), bool)
    np.not_equal(ranked[1:], ranked[:-1], out=new[1:])
    codes = np.empty(len(keys), np.int64)
    codes[order] = np.cumsum(new) - 1
    return ranked[new], order[new], codes


def _occurrences(found: CategoryValues, codes: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """How many cells, and how many rows, hold each of `size` values."""
    rows = _row_numbers(found.layout)
    if found.valid_mask is not None:
        codes, rows = codes[found.valid_mask], None if rows is None else rows[found.valid_mask]
    counts = np.bincount(codes, minlength=size)
    if rows is None:
        return counts, counts
    pairs = np.sort(rows * size + codes)
    return counts, np.bincount(pairs[np.diff(pairs, prepend=-1) != 0] % max(size, 1), minlength=size)


def _row_numbers(layout: Layout) -> np.ndarray | None:
    """The row of each cell; None where each has one."""
    if not isinstance(layout, tuple):
        return np.repeat(np.arange(len(layout) - 1), np.diff(layout))
    width = int(np.prod(layout[1:]))
    return None if width == 1 else np.repeat(np.arange(layout[0]), width)


def _rows(layout: Layout) -> int:
    return layout[0] if isinstance(layout, tuple) else len(layout) - 1


def _added(codes: np.ndarray, numbers: np.ndarray, size: int) -> np.ndarray:
    total = np.zeros(size, np.int64)
    np.add.at(total, codes, numbers)
    return total
