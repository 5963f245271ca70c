"""Categories as vectors with a place for each id."""

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
from components.layer.sparse import named
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
    """Which ids of a categorical column a row has: TensorFlow's `indicator_column`, and Keras's `CategoryEncoding`.

    An id that is out of range, or that a cell lacks, stands for nothing.

    Attributes:
        key: the categorical column.
        mode: `count`: how often each id occurs, or the sum of its weights; a categorical column that an input lists
            is that already. `multi_hot`: 1 for those that occur. `tf_idf`: how often they do, times how rare that is.
        formula: of `tf_idf`, in N rows of which the id occurs in df. `keras`: count * log(1 + N / (1 + df)), as in
            TextVectorization; `tft`: count / cells of the row * (1 + log((N + 1) / (df + 1))), as in TensorFlow
            Transform; `tft_unsmoothed`: with 1 + log(N / df), and a df of 1 at least.
        documents: where df is from. `learned`: the vocabulary that `key` names has learned it; values that it lacks
            have, as in Keras, the mean weight of those of its list. `counted`: counted in the training split, which
            `key`, a column that learns nothing itself, makes ids of (Hashed, a vocabulary that is given).
        sequence: a vector for each cell, with a mask of those that hold a value (Keras's `one_hot`).
    """

    key: str
    mode: Literal["count", "multi_hot", "tf_idf"] = "count"
    formula: document_frequency.Formula = "keras"
    documents: Literal["learned", "counted"] = "learned"
    sequence: bool = False

    def __post_init__(self) -> None:
        if self.sequence and self.mode == "tf_idf":
            raise UserError(f"indicator of `{self.key}`: tf_idf is about whole rows; leave `sequence` out")

    @property
    def keys(self) -> tuple[str, ...]:
        return (self.key,)

    def statistics(self) -> Mapping[str, Statistic]:
        counted = self.mode == "tf_idf" and self.documents == "counted"
        return {"documents": document_frequency.DocumentFrequency(self.key)} if counted else {}

    def fit(self, results: Mapping[str, Any], parents: Mapping[str, Constants]) -> Constants:
        """Raises UserError where `key` is no categorical column, or hasn't learned what `tf_idf` is to take from it."""
        buckets = get_buckets("indicator", parents, self.key)
        device = {"idf": self._idf(results, parents[self.key], buckets)} if self.mode == "tf_idf" else {}
        return Constants(device=device, static={"buckets": buckets})

    def encode(
        self, block: Block, parents: Mapping[str, Mapping[str, Values]], constants: Constants
    ) -> Mapping[str, Encoded]:
        """`ids`, each once in a row but of a sequence or single cells, and `weights` where they are not all 1."""
        arrays: Mapping[str, Any] = parents[self.key]
        ids, weights = arrays["ids"], None if self.mode == "multi_hot" else arrays.get("weights")
        if self.sequence or (isinstance(ids, np.ndarray) and ids.ndim == 1):
            return {"ids": ids} if weights is None else {"ids": ids, "weights": weights}
        found = document_frequency.make_bags(ids, weights)
        if self.mode == "tf_idf" and self.formula != "keras":
            found = found._replace(weights=found.weights / _cells(ids)[found.rows])
        together = {"ids": _as_rows(found, found.ids.astype(np.int32), NO_ID, ids)}
        if self.mode == "multi_hot":
            return together
        return {**together, "weights": _as_rows(found, found.weights, np.float32(0), ids)}

    def layer(self, static: Mapping[str, Any]) -> Callable[[Mapping[str, Any], Mapping[str, Any]], MultiHot | Padded]:
        """MultiHot (B, buckets); of a sequence Padded (B, T, buckets)."""
        return functools.partial(_one_hots if self.sequence else _weighted, size=static["buckets"])

    def _idf(self, results: Mapping[str, Any], parent: Constants, buckets: int) -> np.ndarray:
        if self.documents == "counted":
            return document_frequency.weigh_ids(results["documents"], buckets, self.formula)
        if "documents" not in parent.host:
            raise UserError(
                f"tf_idf of `{self.key}`: it hasn't learned how many rows its ids occur in, as a Vocabulary without "
                "`values` and `path` does; documents=counted counts them"
            )
        return document_frequency.weigh_vocabulary(parent.host, self.formula)


def _weighted(encoded: Mapping[str, Any], constants: Mapping[str, Any], *, size: int) -> MultiHot:
    x = multi_hot(encoded, size)
    if "idf" not in constants:
        return x
    ids, weights = named(x)
    return MultiHot(ids, weights * jnp.asarray(constants["idf"])[ids], size)


def _one_hots(encoded: Mapping[str, Any], constants: Mapping[str, Any], *, size: int) -> Padded:
    x = multi_hot(encoded, size)
    ids, weights = named(x)
    return Padded(weights[..., None] * jax.nn.one_hot(ids, size), x.ids != NO_ID)


def _cells(ids: Encoded) -> np.ndarray:
    """How many cells of each row hold a value, float32."""
    held = (ids.values if isinstance(ids, Ragged) else ids.reshape(-1)) != NO_ID
    return np.bincount(document_frequency.number_rows(ids)[held], minlength=row_count(ids)).astype(np.float32)


def _as_rows(found: document_frequency.Bags, values: np.ndarray, nothing: Any, like: Encoded) -> Encoded:
    """An array with an element for each of what was found, as rows: of any length, or as wide as those of `like`."""
    lengths = np.bincount(found.rows, minlength=row_count(like))
    offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)])
    if isinstance(like, Ragged):
        return Ragged(values, offsets)
    wide = np.full((len(like), like.size // max(len(like), 1)), nothing)
    wide[found.rows, np.arange(len(values)) - offsets[found.rows]] = values
    return wide
