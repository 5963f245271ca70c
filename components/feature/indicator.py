"""Categories as vectors with one element for each id."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, NoReturn

import jax
import jax.numpy as jnp
import numpy as np

from components.feature.base.column import count_ids, get_buckets, multi_hot
from components.feature.base.sequences import apply_to_steps
from components.feature.base.values import NO_ID
from components.feature.statistic.document_frequency import (
    Bags,
    DocumentFrequency,
    Formula,
    make_bags,
    number_rows,
    weigh_ids,
    weigh_vocabulary,
)
from components.layer.lowering.sparse import clear_invalid
from components.ragged import Layout, layout_of, offsets_of
from components.types import (
    Block,
    Constants,
    Encoded,
    FieldError,
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

    Ids that are missing or out of range are ignored.

    Attributes:
        key: the categorical column.
        mode: the value of an element. `count`: how often the id occurs in the row, or the sum of its weights; this is
            also the default for a categorical column in an input. `multi_hot`: 1 if the id occurs, else 0. `tf_idf`:
            term frequency times inverse document frequency.
        formula: the formula of `tf_idf` for an id that occurs in df of N rows. `keras`: count * log(1 + N / (1 + df)),
            as in TextVectorization. `tft`: count / ids of the row * (1 + log((N + 1) / (df + 1))), as in TensorFlow
            Transform. `tft_unsmoothed`: count / ids of the row * (1 + log(N / max(df, 1))).
        documents: the origin of df. `learned`: from the column `key`, a Vocabulary whose list is learned; as in Keras,
            unknown values get the mean over the list. `counted`: from the training split, for any categorical column.
        sequence: whether each value becomes a vector of its own, as Keras's `one_hot`, with a mask that is False for
            missing values.
    """

    key: str
    mode: Literal["count", "multi_hot", "tf_idf"] = "count"
    formula: Formula = "keras"
    documents: Literal["learned", "counted"] = "learned"
    sequence: bool = False

    def __post_init__(self) -> None:
        if self.sequence and self.mode == "tf_idf":
            raise FieldError("mode", "tf_idf can't be combined with `sequence`; leave `sequence` out")

    @property
    def keys(self) -> tuple[str, ...]:
        return (self.key,)

    def statistics(self) -> Mapping[str, Statistic]:
        counted = self.mode == "tf_idf" and self.documents == "counted"
        return {"documents": DocumentFrequency(self.key)} if counted else {}

    def fit(self, results: Mapping[str, Any], parents: Mapping[str, Constants]) -> Constants:
        """Raises UserError if `key` is no categorical column, or has no document frequencies for `tf_idf`."""
        buckets = get_buckets("indicator", parents, self.key)
        device = {"idf": self._idf(results, parents[self.key], buckets)} if self.mode == "tf_idf" else {}
        return Constants(device=device, static={"buckets": buckets})

    def encode(
        self, block: Block, parents: Mapping[str, Mapping[str, Values]], constants: Constants
    ) -> Mapping[str, Encoded]:
        """`ids`, each once per row unless `sequence` is set, and `weights` unless all are 1."""
        arrays: Mapping[str, Any] = parents[self.key]
        ids, weights = arrays["ids"], None if self.mode == "multi_hot" else arrays.get("weights")
        if self.sequence or (isinstance(ids, np.ndarray) and ids.ndim == 1):
            return {"ids": ids} if weights is None else {"ids": ids, "weights": weights}
        if (layout := layout_of(ids)).is_nested:
            return self._encode_steps(ids, weights, layout)
        bags = make_bags(ids, weights)
        if self.mode == "tf_idf" and self.formula != "keras":
            bags = bags._replace(weights=bags.weights / _count_values(ids)[bags.rows])
        encoded: dict[str, Encoded] = {"ids": _to_rows(bags, bags.ids.astype(np.int32), NO_ID, ids)}
        if self.mode == "multi_hot":
            return encoded
        return {**encoded, "weights": _to_rows(bags, bags.weights, np.float32(0), ids)}

    def _encode_steps(self, ids: Any, weights: Any, layout: Layout) -> Mapping[str, Encoded]:
        """Encodes lists of lists: each of the innermost lists as a row."""
        if self.mode == "tf_idf":
            raise UserError(
                f"indicator of `{self.key}`: rows have {layout}, but `mode` (=tf_idf) needs lists, because a row is a "
                "document. Use count or multi_hot"
            )
        steps = {"ids": ids.values} if weights is None else {"ids": ids.values, "weights": weights.values}
        encoded = self.encode(Block({}), {self.key: steps}, Constants())
        return {name: Ragged(values, ids.offsets) for name, values in encoded.items()}

    def host_output(self, block: Block, parents: Mapping[str, Mapping[str, Values]], constants: Constants) -> NoReturn:
        """Raises UserError: no other column can read an indicator."""
        raise UserError(
            f"indicator of `{self.key}`: another column can't read it, because its vectors exist only in the model; "
            f"read `{self.key}`"
        )

    def layer(self, static: Mapping[str, Any]) -> Callable[[Mapping[str, Any], Mapping[str, Any]], MultiHot | Padded]:
        """Returns MultiHot (B, buckets); for sequences, and for lists of lists, Padded (B, T, buckets)."""
        return functools.partial(_make_one_hots if self.sequence else _make_multi_hot, size=static["buckets"])

    def _idf(self, results: Mapping[str, Any], parent: Constants, buckets: int) -> np.ndarray:
        if self.documents == "counted":
            return weigh_ids(results["documents"], buckets, self.formula)
        if "documents" not in parent.host:
            raise UserError(
                f"tf_idf of `{self.key}`: it has no document frequencies, because it isn't a Vocabulary whose list is "
                "learned; set `documents=counted`"
            )
        return weigh_vocabulary(parent.host, self.formula)


def _make_multi_hot(encoded: Mapping[str, Any], constants: Mapping[str, Any], *, size: int) -> MultiHot | Padded:
    if "idf" not in constants:
        return count_ids(encoded, size)
    x = multi_hot(encoded, size)
    ids, weights = clear_invalid(x)
    return MultiHot(ids, weights * jnp.asarray(constants["idf"])[ids], size)


def _make_one_hots(encoded: Mapping[str, Any], constants: Mapping[str, Any], *, size: int) -> Padded:
    def one_hots(rows: Mapping[str, Any]) -> Padded:
        x = multi_hot(rows, size)
        ids, weights = clear_invalid(x)
        return Padded(weights[..., None] * jax.nn.one_hot(ids, size), x.ids != NO_ID)

    return apply_to_steps(one_hots, encoded)


def _count_values(ids: Encoded) -> np.ndarray:
    """The number of values of each row, float32."""
    has_id = (ids.values if isinstance(ids, Ragged) else ids.reshape(-1)) != NO_ID
    return np.bincount(number_rows(ids)[has_id], minlength=row_count(ids)).astype(np.float32)


def _to_rows(bags: Bags, values: np.ndarray, padding: Any, ids: Encoded) -> Encoded:
    """Groups `values`, one for each entry of the bags, by row.

    Args:
        bags: the entries.
        values: (entries,).
        padding: fills rows with fewer entries, if the result is an array.
        ids: the ids that the bags were made from.

    Returns:
        Ragged if `ids` is Ragged; otherwise an array (rows, K), where K is the number of ids of each row.
    """
    lengths = np.bincount(bags.rows, minlength=row_count(ids))
    offsets = offsets_of(lengths)
    if isinstance(ids, Ragged):
        return Ragged(values, offsets)
    ids_per_row = ids.size // max(len(ids), 1)
    position_in_row = np.arange(len(values)) - offsets[bags.rows]
    dense = np.full((len(ids), ids_per_row), padding)
    dense[bags.rows, position_in_row] = values
    return dense
