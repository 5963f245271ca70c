"""In how many rows ids occur, and how much that says of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeAlias, cast

import numpy as np

from components.types import Block, DataError, Encoded, Ragged, Strings, row_count

Formula: TypeAlias = Literal["keras", "tft", "tft_unsmoothed"]


class Bags(NamedTuple):
    """Rows as sets: each id once in each row that it occurs in, row by row, and there by increasing id."""

    rows: np.ndarray  # (n,), int64
    ids: np.ndarray  # (n,), int64, not below 0
    weights: np.ndarray  # (n,), float32: how often it occurs there, or the sum of its weights


class Frequencies(NamedTuple):
    """The rows that ids occur in."""

    rows: int  # all of them
    ids: np.ndarray  # (n,), int64, increasing
    documents: np.ndarray  # (n,), int64: how many rows each occurs in


@dataclass(frozen=True)
class DocumentFrequency:
    """In how many rows each id of a categorical column occurs; of one that learns nothing itself."""

    key: str

    def summarize(self, block: Block) -> Frequencies:
        values = block.columns[self.key]
        flat = values.values if isinstance(values, Ragged) else values
        if isinstance(flat, Strings) or flat.dtype != np.int32:
            raise DataError(f"column `{self.key}` of {block.origin} has no ids to count: give a categorical column")
        ids = cast(Encoded, values)
        return Frequencies(row_count(ids), *np.unique(make_bags(ids).ids, return_counts=True))

    def merge(self, state: Frequencies, other: Frequencies) -> Frequencies:
        ids, places = np.unique(np.concatenate([state.ids, other.ids]), return_inverse=True)
        documents = np.zeros(len(ids), np.int64)
        np.add.at(documents, places, np.concatenate([state.documents, other.documents]))
        return Frequencies(state.rows + other.rows, ids, documents)

    def result(self, state: Frequencies) -> Frequencies:
        return state


def make_bags(ids: Encoded, weights: Encoded | None = None) -> Bags:
    """The ids of each row, without those below 0, with the sums of their weights (1 each)."""
    flat = _flat(ids)
    kept, span = flat >= 0, int(flat.max(initial=0)) + 1
    keys = (number_rows(ids) * span + flat)[kept]
    if weights is None:
        keys, counts = np.unique(keys, return_counts=True)
    else:
        keys, places = np.unique(keys, return_inverse=True)
        counts = np.bincount(places, _flat(weights)[kept], len(keys))
    return Bags(keys // span, keys % span, counts.astype(np.float32))


def number_rows(values: Encoded) -> np.ndarray:
    """The row of each cell, int64."""
    if isinstance(values, Ragged):
        return np.repeat(np.arange(len(values.offsets) - 1), np.diff(values.offsets))
    return np.repeat(np.arange(len(values)), values.size // max(len(values), 1))


def weigh_vocabulary(host: Mapping[str, np.ndarray], formula: Formula) -> np.ndarray:
    """The inverse document frequency of each id of a learned vocabulary, float32.

    Values that it lacks have, as in Keras, the mean of those of its list; a mask has 0.
    """
    documents, rows = host["documents"], int(host["rows"])
    weights = inverse_document_frequency(documents, rows, formula)
    learned = documents > 0
    weights[~learned] = weights[learned].mean()
    weights[host["ids"][documents[host["ids"]] == 0]] = 0
    return weights.astype(np.float32)


def weigh_ids(found: Frequencies, buckets: int, formula: Formula) -> np.ndarray:
    """That of each of `buckets` ids, float32, from their own counts."""
    in_range = found.ids < buckets
    documents = np.zeros(buckets, np.int64)
    documents[found.ids[in_range]] = found.documents[in_range]
    return inverse_document_frequency(documents, found.rows, formula).astype(np.float32)


def inverse_document_frequency(documents: np.ndarray, rows: int, formula: Formula) -> np.ndarray:
    """`keras`: log(1 + N / (1 + df)); `tft`: 1 + log((N + 1) / (df + 1)), unsmoothed 1 + log(N / df), with df >= 1."""
    if formula == "keras":
        return np.log(1 + rows / (1 + documents))
    if formula == "tft":
        return 1 + np.log((rows + 1) / (documents + 1))
    return 1 + np.log(rows / np.maximum(documents, 1))


def _flat(values: Encoded) -> np.ndarray:
    return (values.values if isinstance(values, Ragged) else values).reshape(-1)
