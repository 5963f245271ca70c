"""Embedding vectors of categories."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, NoReturn, TypeAlias

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from components.feature.base.column import get_buckets, multi_hot
from components.feature.base.sequences import apply_to_steps
from components.feature.base.values import NO_ID
from components.feature.text import word_vectors
from components.feature.text.vocabulary_file import find_file
from components.feature.text.vocabulary_index import match_ids
from components.input_files import hash_file
from components.layer import Initializer, TruncatedNormal, get_initializer
from components.layer.lowering.sparse import clear_invalid, multiply_sparse
from components.sequences import join_sequences
from components.types import Block, Constants, MultiHot, Padded, Range, Statistic, UserError, Values, Variables
from components.uri_mask import represent_masked

Combiner: TypeAlias = Literal["mean", "sum", "sqrtn"]
MAX_STACKED_SIZE = 1 << 16  # numbers of an embedding: 256 KiB. Stacks of larger ones would take much memory
LIST_CONSTANTS = ("data", "offsets", "values", "ids")  # constants of a vocabulary that hold its list


@dataclass(frozen=True, kw_only=True)
class Embedding:
    """A learned vector for each id of a categorical column: TensorFlow's `embedding_column`.

    The combiners of the vectors e of a row with their weights w are: `mean`, sum(w e) / sum(w); `sqrtn`,
    sum(w e) / sqrt(sum(w^2)); and `sum`, sum(w e). `mean` and `sqrtn` ignore weights below 0. Ids that are missing or
    out of range are ignored. A row without ids is zero.

    Of rows with lists of lists, such as the baskets of a session, the vectors of each innermost list are combined: a
    row becomes a sequence of vectors, in which an empty list is a zero vector.

    Attributes:
        key: the categorical column. Or several with the same list of values: they share the vectors, as in TensorFlow's
            `shared_embeddings`, and their results are concatenated in this order.
        dimension: the number of elements of a vector.
        combiner: how the vectors of a row are combined. None: they are a sequence, each multiplied by its weight, with
            a mask that is False for missing values.
        initializer: the initializer of the vectors. None: a truncated normal distribution with standard deviation
            1 / sqrt(dimension), as in TensorFlow.
        max_norm: the maximum length of a vector; longer vectors are scaled down before they are combined. None: none.
        trainable: whether the vectors are trained.
        vectors: a file of initial vectors. Either text with lines "word v1 v2 ..." (GloVe; word2vec with its header),
            whose words are the values of the column, or .npy with a row for each id. A relative path is looked up below
            $TITRATE_DATA, then below the working folder. Ids without a vector are initialized by `initializer`.
    """

    key: str | tuple[str, ...]
    dimension: Annotated[int, Range(1)]
    combiner: Combiner | None = "mean"
    initializer: Initializer | None = None
    max_norm: Annotated[float, Range(0, bounds="()")] | None = None
    trainable: bool = True
    vectors: str | None = None

    __repr__ = represent_masked

    def __post_init__(self) -> None:
        if self.dimension < 1:
            raise self._make_error(f"dimension={self.dimension} must be at least 1")
        if not self.keys or len(set(self.keys)) < len(self.keys):
            raise self._make_error("`key` must be one column, or several different columns")
        if self.combiner is None and len(self.keys) > 1:
            raise self._make_error("without a combiner there must be only one column; choose a combiner")

    @property
    def keys(self) -> tuple[str, ...]:
        return (self.key,) if isinstance(self.key, str) else self.key

    def fingerprint(self) -> str:
        """A digest of the file of vectors; "" without a file."""
        if self.vectors is None:
            return ""
        return hash_file(find_file(self.vectors)).hexdigest()

    def statistics(self) -> Mapping[str, Statistic]:
        return {}

    def fit(self, results: Mapping[str, Any], parents: Mapping[str, Constants]) -> Constants:
        """Reads the file of vectors.

        Returns:
            `static`: `buckets`, the number of ids, and with a file `with_vectors`, the number of ids with a vector in
            the file. `init_only`: the fields of `WordVectors`.

        Raises:
            UserError: a key is no categorical column, or the keys have different lists of values.
            DataError: the file is missing, damaged, or doesn't fit the column.
        """
        buckets = {key: get_buckets("embedding", parents, key) for key in self.keys}
        first, *others = self.keys
        for other in others:
            if buckets[other] != buckets[first]:
                raise self._make_error(
                    f"`{first}` has {buckets[first]} ids, but `{other}` has {buckets[other]}; columns that share "
                    "vectors must have the same ids"
                )
            if not _have_same_list(parents[first].host, parents[other].host):
                raise self._make_error(
                    f"`{first}` and `{other}` have different values for the same id; set the same `values` or `path` "
                    "for both"
                )
        static = {"buckets": buckets[first]}
        if self.vectors is None:
            return Constants(static=static)
        vectors = word_vectors.read_vectors(self.vectors, first, parents[first], self.dimension)
        return Constants(init_only=vectors._asdict(), static={**static, "with_vectors": int(vectors.known.sum())})

    def encode(
        self, block: Block, parents: Mapping[str, Mapping[str, Values]], constants: Constants
    ) -> Mapping[str, Values]:
        """`ids`, and `weights` if the column has weights; for the n-th of several columns `ids_n` and `weights_n`."""
        return {
            name + suffix: parents[key][name]
            for key, suffix in zip(self.keys, _make_suffixes(len(self.keys)), strict=True)
            for name in ("ids", "weights")
            if name in parents[key]
        }

    def match_rows(self, parents: Sequence[Constants], others: Sequence[Constants]) -> np.ndarray | None:
        """The ids of the same values in the other column. Ids of unknown values correspond if both have as many."""
        own, other = parents[0], others[0]
        shared = match_ids(own.host, other.host) if "ids" in own.host and "ids" in other.host else None
        if shared is None:
            return None
        rows = np.full(own.static["buckets"], -1)
        rows[shared[0]] = shared[1]
        unknown = [np.setdiff1d(np.arange(each.static["buckets"]), each.host["ids"]) for each in (own, other)]
        if len(unknown[0]) == len(unknown[1]):
            rows[unknown[0]] = unknown[1]
        return rows

    def host_output(self, block: Block, parents: Mapping[str, Mapping[str, Values]], constants: Constants) -> NoReturn:
        """Raises UserError: no other column can read an embedding."""
        fault = "another column can't read it, because its vectors exist only in the model"
        raise self._make_error(f"{fault}; read {' or '.join(f'`{key}`' for key in self.keys)}")

    def layer(self, static: Mapping[str, Any]) -> EmbeddingLayer:
        """Returns (B, dimension), or (B, keys * dimension); without a combiner Padded (B, T, dimension).

        For lists of lists, Padded with these of each step.
        """
        initializer = TruncatedNormal(self.dimension**-0.5) if self.initializer is None else self.initializer
        shape = (static["buckets"], self.dimension)
        return EmbeddingLayer(
            shape, self.combiner, initializer, self.max_norm, self.trainable, _make_suffixes(len(self.keys))
        )

    def _make_error(self, fault: str) -> UserError:
        return UserError(f"embedding of {', '.join(f'`{key}`' for key in self.keys)}: {fault}")


class EmbeddingLayer(nn.Module):
    """The layer with the parameter `embedding`. If it isn't trained, it is in the collection `frozen`."""

    shape: tuple[int, int]
    combiner: Combiner | None
    initializer: Initializer
    max_norm: float | None
    trainable: bool
    suffixes: tuple[str, ...]

    @nn.compact
    def __call__(self, encoded: Mapping[str, Any], constants: Mapping[str, Any]) -> jax.Array | Padded:
        table = self._make_table(constants)

        def look_up(rows: Mapping[str, Any]) -> jax.Array | Padded:
            x = multi_hot(rows, len(table))
            if self.combiner is None:
                return _make_sequence(x, table, self.max_norm)
            return _combine(x, table, self.combiner, self.max_norm)

        columns = [
            apply_to_steps(
                look_up,
                {name: encoded[name + suffix] for name in ("ids", "weights") if name + suffix in encoded},
            )
            for suffix in self.suffixes
        ]
        if len(columns) == 1:
            return columns[0]
        if any(isinstance(column, Padded) for column in columns):
            return self._join_sequences(columns)
        return jnp.concatenate(columns, axis=1)

    @staticmethod
    def _join_sequences(columns: list[Any]) -> Padded:
        if not all(isinstance(column, Padded) for column in columns):
            raise UserError(
                "embedding of several columns: only some of them have lists of lists. Give each its own embedding."
            )
        return join_sequences(columns)

    @property
    def is_stackable(self) -> bool:
        """Whether it is computed together with embeddings that have equal layers."""
        return math.prod(self.shape) <= MAX_STACKED_SIZE

    def draw_variables(self, key: jax.Array, constants: Mapping[str, Any]) -> Variables:
        """The initial variables. Embeddings of other columns with equal layers are drawn at once."""
        return {"params" if self.trainable else "frozen": {"embedding": self._draw_table(key, constants)}}

    def _draw_table(self, key: jax.Array, constants: Mapping[str, Any]) -> jax.Array:
        drawn = get_initializer(self.initializer)(key, self.shape, jnp.float32)
        known = constants.get("known")
        return drawn if known is None else jnp.where(jnp.reshape(known, (-1, 1)), constants["vectors"], drawn)

    def _make_table(self, constants: Mapping[str, Any]) -> jax.Array:
        if self.trainable:
            return self.param("embedding", self._draw_table, constants)
        draw = functools.partial(self._draw_table, constants=constants)
        return self.variable("frozen", "embedding", lambda: draw(self.make_rng("params"))).value


def _have_same_list(host: Mapping[str, np.ndarray], other: Mapping[str, np.ndarray]) -> bool:
    """Whether two columns have the same list of values, or both have no list."""
    for name in LIST_CONSTANTS:
        array, other_array = host.get(name), other.get(name)
        if array is None or other_array is None:
            if array is not other_array:
                return False
        elif not np.array_equal(array, other_array):
            return False
    return True


def _make_suffixes(count: int) -> tuple[str, ...]:
    return ("",) if count == 1 else tuple(f"_{number}" for number in range(count))


def _combine(x: MultiHot, table: jax.Array, combiner: Combiner, max_norm: float | None) -> jax.Array:
    ids, weights = clear_invalid(x)
    if combiner != "sum":
        weights = jnp.maximum(weights, 0)
    total = multiply_sparse(MultiHot(ids, _limit(weights, ids, table, max_norm), x.size), table)
    if combiner == "sum":
        return total
    divisor = weights.sum(1, keepdims=True)
    if combiner == "sqrtn":
        divisor = jnp.sqrt(jnp.square(weights).sum(1, keepdims=True))
    return total / jnp.where(divisor > 0, divisor, 1)  # without weights the total is zero


def _make_sequence(x: MultiHot, table: jax.Array, max_norm: float | None) -> Padded:
    ids, weights = clear_invalid(x)
    weights = _limit(weights, ids, table, max_norm)
    return Padded(jnp.asarray(table)[ids] * weights[..., None], x.ids != NO_ID)


def _limit(weights: jax.Array, ids: jax.Array, table: jax.Array, max_norm: float | None) -> jax.Array:
    """Multiplies the weights (B, K) so that no vector is longer than `max_norm`."""
    if max_norm is None:
        return weights
    table = jnp.asarray(table)
    if 4 * ids.size < len(table):  # it is faster to read the vectors of the ids than the whole table
        return weights * _norm_factors(table[ids], max_norm)
    return weights * _norm_factors(table, max_norm)[ids]


def _norm_factors(vectors: jax.Array, max_norm: float) -> jax.Array:
    """The factors, (…), that scale vectors (…, dimension) down to the maximum length."""
    squares = jnp.square(vectors).sum(-1)
    length = jnp.sqrt(jnp.where(squares > 0, squares, 1))  # the gradient of the root at 0 would be infinite
    return jnp.minimum(1, max_norm / length)
