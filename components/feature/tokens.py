"""Tokens of texts, and their number."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from components.feature.base.column import Stateless
from components.feature.base.values import read_values
from components.feature.text import tokenize
from components.feature.text.string_ops import compact, is_encodable, to_strings
from components.types import Block, Constants, DataError, Ragged, Range, Strings, UserError, Values


@dataclass(frozen=True, kw_only=True)
class Tokens(Stateless):
    """The tokens of a text, as strings. `Vocabulary` or `Hashed` makes ids of them. It is stateless.

    By default they are those of Keras's TextVectorization: lower case, punctuation and whitespace are those of ASCII
    only, so no-break spaces stay. A missing text has no tokens.

    Attributes:
        key: the raw column of strings.
        remove: strings that are replaced by a space first, one after the other, such as `<br />`.
        standardize: what is done to the text next. None: nothing.
        split: where the text is split; at `character`, spaces are tokens too. None: the whole text is one token.
        separator: a string at which the text is split in place of `split`. No token is empty.
        ngrams: 2: tokens and pairs of neighbours, joined by a space, and so on; (2, 3): pairs and triples only.
            None: tokens only.
        order: `keras`: n-grams of the first length first; `tft`: n-grams with the first token first, as in TensorFlow
            Transform.
        distinct: whether to keep each n-gram only where it first occurs in a text (TensorFlow Transform's
            `bag_of_words`).
        max_tokens: how many n-grams of a text are kept, the first ones. None: all.
    """

    key: str
    remove: tuple[str, ...] = ()
    standardize: tokenize.Standard | None = "lower_and_strip_punctuation"
    split: tokenize.Split | None = "whitespace"
    separator: str | None = None
    ngrams: Annotated[int, Range(1)] | tuple[Annotated[int, Range(1)], ...] | None = None
    order: Literal["keras", "tft"] = "keras"
    distinct: bool = False
    max_tokens: Annotated[int, Range(1)] | None = None

    def __post_init__(self) -> None:
        for unwanted in (*self.remove, *([] if self.separator is None else [self.separator])):
            if not (unwanted and is_encodable(unwanted)):
                raise UserError(f"`remove` and `separator` must be strings of a character or more, not {unwanted!r}")
        if self.separator is not None and self._standardize(self.separator.encode()) != self.separator.encode():
            raise UserError(
                f"`separator` (={self.separator!r}) is never found after `standardize` (={self.standardize}); "
                "write the separator in its standardized form, or set `standardize` to null"
            )
        if not self._widths or len(set(self._widths)) < len(self._widths):
            raise UserError(f"`ngrams` (={self.ngrams}) must be a length, or different lengths")

    def encode(
        self, block: Block, parents: Mapping[str, Mapping[str, Values]], constants: Constants
    ) -> Mapping[str, Values]:
        """`tokens`: Ragged, of Strings."""
        texts, row = compact(self._texts(block, parents))
        joined = self._standardize(self._remove(tokenize.join_texts(texts)))
        if self.separator is not None:
            joined = joined.replace(self.separator.encode(), bytes([tokenize.CUT]))
        tokens = tokenize.split(joined, self.split if self.separator is None else None)
        if self._widths != (1,):
            tokens = tokenize.make_ngrams(tokens, self._widths, by_token=self.order == "tft")
        if self.distinct:
            tokens = tokenize.drop_repetitions(tokens)
        if self.max_tokens is not None:
            tokens = tokenize.truncate(tokens, self.max_tokens)
        return {"tokens": tokens if row is None else _select_rows(tokens, row)}

    def layer(self, static: Mapping[str, Any]) -> Callable[..., Any]:
        raise UserError(f"the tokens of `{self.key}` are strings: list a column that makes ids or numbers of them")

    @property
    def _widths(self) -> tuple[int, ...]:
        """The lengths of n-grams, in the order of those with the same first token."""
        ngrams = self.ngrams if self.ngrams is not None else 1
        widths = tuple(range(1, ngrams + 1)) if isinstance(ngrams, int) else ngrams
        return widths if self.order == "keras" else tuple(sorted(widths))

    def _texts(self, block: Block, parents: Mapping[str, Mapping[str, Values]]) -> Strings:
        found = read_values(block, self.key, parents, empty_is_missing=False)
        if found.is_empty and not isinstance(found.values, Strings):
            found = found._replace(values=to_strings([""] * found.total))
        if not isinstance(found.values, Strings) or not isinstance(found.layout, tuple) or len(found.layout) > 1:
            raise DataError(f"column `{self.key}` of {block.origin} holds no strings, one a row; a text is a string")
        return found.values if found.valid_mask is None else _empty(found.values, ~found.valid_mask)

    def _remove(self, joined: bytes) -> bytes:
        for unwanted in self.remove:
            joined = joined.replace(unwanted.encode(), b" ")
        return joined

    def _standardize(self, joined: bytes) -> bytes:
        return tokenize.standardize(joined, self.standardize)


@dataclass(frozen=True, kw_only=True)
class WordCount(Stateless):
    """The number of tokens of a text, (B, 1), float32 (TensorFlow Transform's `word_count`). It is stateless.

    Attributes:
        key: the feature column of the tokens.
    """

    key: str

    def encode(
        self, block: Block, parents: Mapping[str, Mapping[str, Values]], constants: Constants
    ) -> Mapping[str, Values]:
        """`counts`: int32 (rows,)."""
        tokens = next(iter(parents[self.key].values())) if self.key in parents else block.columns.get(self.key)
        if not isinstance(tokens, Ragged):
            raise DataError(f"`{self.key}` has no rows of tokens to count; name a column of Tokens")
        return {"counts": np.diff(tokens.offsets).astype(np.int32)}

    def layer(self, static: Mapping[str, Any]) -> Callable[[Mapping[str, Any], Mapping[str, Any]], jax.Array]:
        return _get_counts


def _get_counts(encoded: Mapping[str, Any], constants: Mapping[str, Any]) -> jax.Array:
    return jnp.asarray(encoded["counts"], jnp.float32)[:, None]


def _empty(texts: Strings, gaps: np.ndarray) -> Strings:
    """Replaces the strings of some rows by empty ones."""
    strings = len(texts.offsets) - 1
    rows = np.arange(strings) if texts.indices is None else texts.indices
    if not np.diff(texts.offsets)[rows[gaps]].any():
        return texts  # they are empty already
    return Strings(texts.data, np.append(texts.offsets, texts.offsets[-1]), np.where(gaps, strings, rows))


def _select_rows(tokens: Ragged, rows: np.ndarray) -> Ragged:
    """The tokens of rows that refer to texts as to a dictionary."""
    counts = np.diff(tokens.offsets)[rows]
    offsets = np.append(0, np.cumsum(counts))
    places = np.arange(offsets[-1]) + np.repeat(tokens.offsets[rows] - offsets[:-1], counts)
    return Ragged(tokens.values._replace(indices=places), offsets)
