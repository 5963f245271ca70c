"""Categories as vectors with an element for each id."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from components.feature.base.column import get_buckets, multi_hot
from components.feature.base.values import NO_ID
from components.feature.statistic import document_frequency
from components.layer.lowering.sparse import clear_invalid
from components.types import (
    Block,
    Constants,
    Encoded,
    MultiHot,
    Padded,
    Ragged,
    Statistic,
    UserError,
    Values,
    row_count,
)


@dataclass(frozen=True, kw_only=True)
class Indicator:
    """One-hot, multi-hot and tf-idf vectors: TensorFlow's `indicator_column`, and Keras's `CategoryEncoding`.

    Ids that are out of range, or missing, count for nothing.

    Attributes:
        key: the categorical column.
        mode: `count`: how often each id occurs, or the sum of its weights; an input makes that of a categorical column
            without an indicator too. `multi_hot`: 1 for ids that occur. `tf_idf`: term frequency times inverse document
            frequency.
        formula: of `tf_idf`, for an id that occurs in df of N rows. `keras`: count * log(1 + N / (1 + df)), as in
            TextVectorization; `tft`: count / ids of the row * (1 + log((N + 1) / (df + 1))), as in TensorFlow
            Transform; `tft_unsmoothed`: with 1 + log(N / max(df, 1)).
        documents: where df is from. `learned`: from the vocabulary `key`, which has learned its list; as in Keras,
            unknown values have the mean weight of the list. `counted`: from the training split; `key` is a stateless
            column then, like Hashed, or a vocabulary with a given list.
        sequence: whether each value becomes a vector of its own, with a mask of the missing ones (Keras's `one_hot`).
    """

    key: str
    mode: Literal["count", "multi_hot", "tf_idf"] = "count"
    formula: document_frequency.Formula = "keras"
    documents: Literal["learned", "counted"] = "learned"
    sequence: bool = False

    def __post_init__(self) -> None:
        if self.sequence and self.mode == "tf_idf":
            raise UserError(f"indicator of `{self.key}`: tf_idf needs whole rows; leave `sequence` out")

    @property
    def keys(self) -> tuple[str, ...]:
        return (self.key,)

    def statistics(self) -> Mapping[str, Statistic]:
        counted = self.mode == "tf_idf" and self.documents == "counted"
        return {"documents": document_frequency.DocumentFrequency(self.key)} if counted else {}

    def fit(self, results: Mapping[str, Any], parents: Mapping[str, Constants]) -> Constants:
        """Raises UserError where `key` is no categorical column, or hasn't learned the df that `tf_idf` needs."""
        buckets = get_buckets("indicator", parents, self.key)
        device = {"idf": self._idf(results, parents[self.key], buckets)} if self.mode == "tf_idf" else {}
        return Constants(device=device, static={"buckets": buckets})

    def encode(
        self, block: Block, parents: Mapping[str, Mapping[str, Values]], constants: Constants
    ) -> Mapping[str, Encoded]:
        """`ids`, each once per row unless `sequence` is set, and `weights` where they aren't all 1."""
        arrays: Mapping[str, Any] = parents[self.key]
        ids, weights = arrays["ids"], None if self.mode == "multi_hot" else arrays.get("weights")
        if self.sequence or (isinstance(ids, np.ndarray) and ids.ndim == 1):
            return {"ids": ids} if weights is None else {"ids": ids, "weights": weights}
        found = document_frequency.make_bags(ids, weights)
        if self.mode == "tf_idf" and self.formula != "keras":
            found = found._replace(weights=found.weights / _count_values(ids)[found.rows])
        encoded = {"ids": _as_rows(found, found.ids.astype(np.int32), NO_ID, ids)}
        if self.mode == "multi_hot":
            return encoded
        return {**encoded, "weights": _as_rows(found, found.weights, np.float32(0), ids)}

    def layer(self, static: Mapping[str, Any]) -> Callable[[Mapping[str, Any], Mapping[str, Any]], MultiHot | Padded]:
        """MultiHot (B, buckets); for sequences Padded (B, T, buckets)."""
        return functools.partial(_make_one_hots if self.sequence else _weigh, size=static["buckets"])

    def _idf(self, results: Mapping[str, Any], parent: Constants, buckets: int) -> np.ndarray:
        if self.documents == "counted":
            return document_frequency.weigh_ids(results["documents"], buckets, self.formula)
        if "documents" not in parent.host:
            raise UserError(
                f"tf_idf of `{self.key}`: it hasn't learned in how many rows its ids occur, as a Vocabulary without "
                "`values` and `path` does; `documents: counted` counts them"
            )
        return document_frequency.weigh_vocabulary(parent.host, self.formula)


def _weigh(encoded: Mapping[str, Any], constants: Mapping[str, Any], *, size: int) -> MultiHot:
    x = multi_hot(encoded, size)
    if "idf" not in constants:
        return x
    ids, weights = clear_invalid(x)
    return MultiHot(ids, weights * jnp.asarray(constants["idf"])[ids], size)


def _make_one_hots(encoded: Mapping[str, Any], constants: Mapping[str, Any], *, size: int) -> Padded:
    x = multi_hot(encoded, size)
    ids, weights = clear_invalid(x)
    return Padded(weights[..., None] * jax.nn.one_hot(ids, size), x.ids != NO_ID)


def _count_values(ids: Encoded) -> np.ndarray:
    """How many values each row has, float32."""
    held = (ids.values if isinstance(ids, Ragged) else ids.reshape(-1)) != NO_ID
    return np.bincount(document_frequency.number_rows(ids)[held], minlength=row_count(ids)).astype(np.float32)


def _as_rows(found: document_frequency.Bags, values: np.ndarray, padding: Any, like: Encoded) -> Encoded:
    """Arranges an array with an element per id of the bags as rows: of any length, or of the width of `like`."""
    lengths = np.bincount(found.rows, minlength=row_count(like))
    offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)])
    if isinstance(like, Ragged):
        return Ragged(values, offsets)
    wide = np.full((len(like), like.size // max(len(like), 1)), padding)
    wide[found.rows, np.arange(len(values)) - offsets[found.rows]] = values
    return wide
