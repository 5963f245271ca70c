"""Categories as embedding vectors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeAlias

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from components.feature.base.column import get_buckets, multi_hot
from components.feature.base.values import NO_ID
from components.feature.text import word_vectors
from components.feature.text.vocabulary_file import find_file
from components.input_files import hash_file
from components.layer import Initializer, TruncatedNormal, get_initializer
from components.layer.lowering.sparse import clear_invalid, multiply_sparse
from components.types import Block, Constants, MultiHot, Padded, Range, Statistic, UserError, Values

Combiner: TypeAlias = Literal["mean", "sum", "sqrtn"]
LISTED = ("data", "offsets", "values", "ids")  # constants of a vocabulary that hold its list


@dataclass(frozen=True, kw_only=True)
class Embedding:
    """A learned vector for each id of a categorical column: TensorFlow's `embedding_column`.

    The vectors e of a row are combined with their weights w: `mean` is sum(w e) / sum(w), `sqrtn` is
    sum(w e) / sqrt(sum(w^2)), both without weights of 0 and below; `sum` is sum(w e) of all. Ids that are out of range,
    or missing, add nothing. A row without any is zero.

    Attributes:
        key: the categorical column; or several, with ids of the same meaning, which share the vectors (TensorFlow's
            `shared_embeddings`) and are concatenated in this order.
        dimension: of the vectors.
        combiner: how the vectors of a row are combined. None: they are a sequence, each times its weight, with a mask
            of the missing values.
        initializer: of the vectors. None: a truncated normal of standard deviation 1 / sqrt(dimension), as in
            TensorFlow.
        max_norm: the length that longer vectors are cut to before they are combined. None: any length.
        trainable: whether the vectors are trained.
        vectors: a file of initial vectors: text with lines "word v1 v2 ..." (GloVe; word2vec with its header), whose
            words are matched with the column's list, or .npy with a row for each id. A relative path is looked up
            below $TITRATE_DATA, then below the working folder. Other vectors begin as `initializer` draws them.
    """

    key: str | tuple[str, ...]
    dimension: Annotated[int, Range(1)]
    combiner: Combiner | None = "mean"
    initializer: Initializer | None = None
    max_norm: Annotated[float, Range(0, bounds="()")] | None = None
    trainable: bool = True
    vectors: str | None = None

    def __post_init__(self) -> None:
        if self.dimension < 1:
            raise self._wrong(f"dimension={self.dimension}; at least 1 is needed")
        if not self.keys or len(set(self.keys)) < len(self.keys):
            raise self._wrong("`key` is one column, or several different ones")
        if self.combiner is None and len(self.keys) > 1:
            raise self._wrong("sequences of several columns can't be concatenated: choose a combiner")

    @property
    def keys(self) -> tuple[str, ...]:
        return (self.key,) if isinstance(self.key, str) else self.key

    def fingerprint(self) -> str:
        """The digest of the file of vectors; "" without one."""
        if self.vectors is None:
            return ""
        return hash_file(find_file(self.vectors)).hexdigest()

    def statistics(self) -> Mapping[str, Statistic]:
        return {}

    def fit(self, results: Mapping[str, Any], parents: Mapping[str, Constants]) -> Constants:
        """Reads the file of vectors.

        Returns:
            `static`: `buckets`, and with a file `with_vectors`, how many of them have a vector there.

        Raises:
            UserError: a key is no categorical column, or the keys have different ids.
            DataError: the file is wrong.
        """
        buckets = {key: get_buckets("embedding", parents, key) for key in self.keys}
        first, *others = self.keys
        for other in others:
            if buckets[other] != buckets[first]:
                raise self._wrong(
                    f"`{first}` has {buckets[first]} ids and `{other}` {buckets[other]}; columns that share vectors "
                    "have the same ids"
                )
            if not _have_same_list(parents[first].host, parents[other].host):
                raise self._wrong(
                    f"the same id means one value of `{first}` and another of `{other}`; give both the same "
                    "`values` or `path`"
                )
        static = {"buckets": buckets[first]}
        if self.vectors is None:
            return Constants(static=static)
        found = word_vectors.read_vectors(self.vectors, first, parents[first], self.dimension)
        return Constants(init_only=found._asdict(), static={**static, "with_vectors": int(found.known.sum())})

    def encode(
        self, block: Block, parents: Mapping[str, Mapping[str, Values]], constants: Constants
    ) -> Mapping[str, Values]:
        """`ids` of the column, and `weights` if it has any; of the n-th of several columns `ids_n` and `weights_n`."""
        return {
            name + ending: parents[key][name]
            for key, ending in zip(self.keys, _endings(len(self.keys)), strict=True)
            for name in ("ids", "weights")
            if name in parents[key]
        }

    def layer(self, static: Mapping[str, Any]) -> Vectors:
        """(B, dimension), or (B, keys * dimension); without a combiner Padded (B, T, dimension)."""
        spread = TruncatedNormal(self.dimension**-0.5) if self.initializer is None else self.initializer
        shape = (static["buckets"], self.dimension)
        return Vectors(shape, self.combiner, spread, self.max_norm, self.trainable, _endings(len(self.keys)))

    def _wrong(self, fault: str) -> UserError:
        return UserError(f"embedding of {', '.join(f'`{key}`' for key in self.keys)}: {fault}")


class Vectors(nn.Module):
    """The layer with the parameter `embedding`; it is in the collection `frozen` where it isn't trained."""

    shape: tuple[int, int]
    combiner: Combiner | None
    initializer: Initializer
    max_norm: float | None
    trainable: bool
    endings: tuple[str, ...]

    @nn.compact
    def __call__(self, encoded: Mapping[str, Any], constants: Mapping[str, Any]) -> jax.Array | Padded:
        table = self._table(constants)
        columns = [
            multi_hot({name: encoded[name + end] for name in ("ids", "weights") if name + end in encoded}, len(table))
            for end in self.endings
        ]
        if self.combiner is None:
            return _make_sequence(columns[0], table, self.max_norm)
        return jnp.concatenate([_combine(column, table, self.combiner, self.max_norm) for column in columns], axis=1)

    def _table(self, constants: Mapping[str, Any]) -> jax.Array:
        def begin(key: jax.Array) -> jax.Array:
            drawn = get_initializer(self.initializer)(key, self.shape, jnp.float32)
            known = constants.get("known")
            return drawn if known is None else jnp.where(jnp.reshape(known, (-1, 1)), constants["vectors"], drawn)

        if self.trainable:
            return self.param("embedding", begin)
        return self.variable("frozen", "embedding", lambda: begin(self.make_rng("params"))).value


def _have_same_list(host: Mapping[str, np.ndarray], other: Mapping[str, np.ndarray]) -> bool:
    """Whether two columns have the same list of values, or both have none."""
    pairs = [(host.get(name), other.get(name)) for name in LISTED]
    return all(a is b if a is None or b is None else np.array_equal(a, b) for a, b in pairs)


def _endings(count: int) -> tuple[str, ...]:
    return ("",) if count == 1 else tuple(f"_{number}" for number in range(count))


def _combine(x: MultiHot, table: jax.Array, combiner: Combiner, longest: float | None) -> jax.Array:
    ids, weights = clear_invalid(x)
    if combiner != "sum":
        weights = jnp.maximum(weights, 0)
    total = multiply_sparse(MultiHot(ids, _limit(weights, ids, table, longest), x.size), table)
    if combiner == "sum":
        return total
    divisor = weights.sum(1, keepdims=True)
    if combiner == "sqrtn":
        divisor = jnp.sqrt(jnp.square(weights).sum(1, keepdims=True))
    return total / jnp.where(divisor > 0, divisor, 1)  # without weights the total is zero


def _make_sequence(x: MultiHot, table: jax.Array, longest: float | None) -> Padded:
    ids, weights = clear_invalid(x)
    weights = _limit(weights, ids, table, longest)
    return Padded(jnp.asarray(table)[ids] * weights[..., None], x.ids != NO_ID)


def _limit(weights: jax.Array, ids: jax.Array, table: jax.Array, longest: float | None) -> jax.Array:
    """The weights (B, K), multiplied so that no vector counts as longer than `longest`."""
    if longest is None:
        return weights
    table = jnp.asarray(table)
    few = 4 * ids.size < len(table)
    return weights * (_norm_factors(table[ids], longest) if few else _norm_factors(table, longest)[ids])


def _norm_factors(vectors: jax.Array, longest: float) -> jax.Array:
    """The factors that cut vectors (…, dimension) to the length, (…)."""
    squares = jnp.square(vectors).sum(-1)
    length = jnp.sqrt(jnp.where(squares > 0, squares, 1))  # the gradient of the root at 0 would be infinite
    return jnp.minimum(1, longest / length)
