"""Document frequency: the number of rows in which each id occurs, and the inverse document frequency."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeAlias, cast

import numpy as np

from components.feature.statistic.elements import merge_unique
from components.ragged import layout_of, split_levels
from components.types import Block, DataError, Encoded, Ragged, Strings, row_count

Formula: TypeAlias = Literal["keras", "tft", "tft_unsmoothed"]


class Bags(NamedTuple):
    """Rows as bags of ids: each id occurs once per row. Entries are ordered by row, then by id.

    Attributes:
        rows: (n,), int64: the row of each entry.
        ids: (n,), int64, at least 0.
        weights: (n,), float32: how often the id occurs in the row, or the sum of its weights.
    """

    rows: np.ndarray
    ids: np.ndarray
    weights: np.ndarray


class Frequencies(NamedTuple):
    """The number of rows in which each id occurs.

    Attributes:
        rows: the number of rows.
        ids: (n,), int64, ascending.
        documents: (n,), int64: the number of rows in which each id occurs.
    """

    rows: int
    ids: np.ndarray
    documents: np.ndarray


@dataclass(frozen=True)
class DocumentFrequency:
    """Counts the rows in which each id of a categorical column occurs."""

    key: str

    def summarize(self, block: Block) -> Frequencies:
        values = block.columns[self.key]
        layout, (flat, _) = layout_of(values), split_levels(values)
        if layout.is_nested:
            raise DataError(
                f"column `{self.key}` of {block.origin} has {layout} in its rows, but a row with a list is a document. "
                "Use an indicator with the mode count or multi_hot"
            )
        if isinstance(flat, Strings) or flat.dtype != np.int32:
            raise DataError(f"column `{self.key}` of {block.origin} has no ids to count; use a categorical column")
        ids = cast(Encoded, values)
        return Frequencies(row_count(ids), *np.unique(make_bags(ids).ids, return_counts=True))

    def merge(self, state: Frequencies, other: Frequencies) -> Frequencies:
        ids, _, positions = merge_unique(state.ids, other.ids)
        documents = np.zeros(len(ids), np.int64)
        np.add.at(documents, positions, np.concatenate([state.documents, other.documents]))
        return Frequencies(state.rows + other.rows, ids, documents)

    def result(self, state: Frequencies) -> Frequencies:
        return state


def make_bags(ids: Encoded, weights: Encoded | None = None) -> Bags:
    """Collects the ids of each row and the sums of their weights. Ids below 0 are ignored. The default weight is 1."""
    flat = _flatten(ids)
    valid, span = flat >= 0, int(flat.max(initial=0)) + 1
    keys = (number_rows(ids) * span + flat)[valid]  # one integer for each pair of row and id
    if weights is None:
        keys, counts = np.unique(keys, return_counts=True)
    else:
        keys, positions = np.unique(keys, return_inverse=True)
        counts = np.bincount(positions, _flatten(weights)[valid], len(keys))
    return Bags(keys // span, keys % span, counts.astype(np.float32))


def number_rows(values: Encoded) -> np.ndarray:
    """The row of each value, int64."""
    if isinstance(values, Ragged):
        return np.repeat(np.arange(len(values.offsets) - 1), np.diff(values.offsets))
    return np.repeat(np.arange(len(values)), values.size // max(len(values), 1))


def weigh_vocabulary(host: Mapping[str, np.ndarray], formula: Formula) -> np.ndarray:
    """The inverse document frequency of each id of a learned vocabulary, float32.

    As in Keras, the ids of unknown values get the mean over the list. The id of a mask gets 0.
    """
    documents, rows = host["documents"], int(host["rows"])
    weights = inverse_document_frequency(documents, rows, formula)
    is_listed = documents > 0
    weights[~is_listed] = weights[is_listed].mean()
    mask_ids = host["ids"][documents[host["ids"]] == 0]
    weights[mask_ids] = 0
    return weights.astype(np.float32)


def weigh_ids(frequencies: Frequencies, buckets: int, formula: Formula) -> np.ndarray:
    """The inverse document frequency of each of `buckets` ids, float32."""
    in_range = frequencies.ids < buckets
    documents = np.zeros(buckets, np.int64)
    documents[frequencies.ids[in_range]] = frequencies.documents[in_range]
    return inverse_document_frequency(documents, frequencies.rows, formula).astype(np.float32)


def inverse_document_frequency(documents: np.ndarray, rows: int, formula: Formula) -> np.ndarray:
    """The inverse document frequency of ids that occur in df of N rows.

    `keras`: log(1 + N / (1 + df)); `tft`: 1 + log((N + 1) / (df + 1)); `tft_unsmoothed`: 1 + log(N / max(df, 1)).
    """
    if formula == "keras":
        return np.log(1 + rows / (1 + documents))
    if formula == "tft":
        return 1 + np.log((rows + 1) / (documents + 1))
    return 1 + np.log(rows / np.maximum(documents, 1))


def _flatten(values: Encoded) -> np.ndarray:
    return (values.values if isinstance(values, Ragged) else values).reshape(-1)
