"""Tokens of texts, and the number of tokens."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from components.feature.base.column import Stateless
from components.feature.base.values import first_array, read_values
from components.feature.text import tokenize
from components.feature.text.string_ops import is_encodable, split_dictionary, to_strings
from components.types import Block, Constants, DataError, Ragged, Range, Strings, UserError, Values


@dataclass(frozen=True, kw_only=True)
class Tokens(Stateless):
    """The tokens of a text, as strings. Vocabulary or Hashed converts them to ids.

    By default the tokens are those of Keras's TextVectorization. Only ASCII letters, punctuation and whitespace are
    standardized and split; for example, no-break spaces stay. A missing text has no tokens.

    Attributes:
        key: the raw column of strings.
        remove: strings, such as `<br />`, that are first replaced by a space, one string after the other.
        standardize: the standardization after `remove`. None: none.
        split: where the text is split. With `character`, each character is a token, also a space. None: the whole text
            is one token.
        separator: a string at which the text is split instead of `split`. Empty tokens are left out.
        ngrams: the maximum length of n-grams, or the lengths: 2 means tokens and pairs of neighbours, joined by a
            space; (2, 3) means pairs and triples only. None: tokens only.
        order: the order of n-grams. `keras`: by length, then by first token. `tft`: by first token, then by length, as
            in TensorFlow Transform.
        distinct: whether to keep only the first occurrence of each n-gram of a text, as TensorFlow Transform's
            `bag_of_words`.
        max_tokens: the maximum number of n-grams of a text; the first ones are kept. None: all.
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
        for text in (*self.remove, *([] if self.separator is None else [self.separator])):
            if not (text and is_encodable(text)):
                raise UserError(f"`remove` and `separator` must be valid strings that aren't empty, got {text!r}")
        if self.separator is not None and self._standardize(self.separator.encode()) != self.separator.encode():
            raise UserError(
                f"`separator` (={self.separator!r}) can't occur after `standardize` (={self.standardize}); "
                "write the separator in its standardized form, or set `standardize` to null"
            )
        if not self._widths or len(set(self._widths)) < len(self._widths):
            raise UserError(f"`ngrams` (={self.ngrams}) must be one length, or several different lengths")

    def encode(
        self, block: Block, parents: Mapping[str, Mapping[str, Values]], constants: Constants
    ) -> Mapping[str, Values]:
        """`tokens`: Ragged with Strings."""
        texts, text_of_row = split_dictionary(self._read_texts(block, parents))
        joined = self._standardize(self._remove(tokenize.join_texts(texts)))
        if self.separator is not None:
            joined = joined.replace(self.separator.encode(), bytes([tokenize.SEPARATOR]))
        mode = self.split if self.separator is None else None  # None: only at SEPARATOR
        tokens = tokenize.split(joined, mode)
        if self._widths != (1,):
            tokens = tokenize.make_ngrams(tokens, self._widths, by_token=self.order == "tft")
        if self.distinct:
            tokens = tokenize.drop_duplicates(tokens)
        if self.max_tokens is not None:
            tokens = tokenize.truncate(tokens, self.max_tokens)
        return {"tokens": tokens if text_of_row is None else _select_rows(tokens, text_of_row)}

    def layer(self, static: Mapping[str, Any]) -> Callable[..., Any]:
        raise UserError(f"the tokens of `{self.key}` are strings; list a column that reads them, such as Vocabulary")

    @property
    def _widths(self) -> tuple[int, ...]:
        """The lengths of n-grams, in the order in which they are made. For `tft` the lengths ascend."""
        ngrams = self.ngrams if self.ngrams is not None else 1
        widths = tuple(range(1, ngrams + 1)) if isinstance(ngrams, int) else ngrams
        return widths if self.order == "keras" else tuple(sorted(widths))

    def _read_texts(self, block: Block, parents: Mapping[str, Mapping[str, Values]]) -> Strings:
        column = read_values(block, self.key, parents, empty_is_missing=False)
        texts = column.values
        if column.is_all_missing and not isinstance(texts, Strings):  # without a value, the type is unknown
            texts = to_strings([""] * column.value_count)
        if not (isinstance(texts, Strings) and column.is_one_dimensional):
            raise DataError(f"column `{self.key}` of {block.origin} must have one string in each row")
        return texts if column.valid_mask is None else _clear(texts, ~column.valid_mask)

    def _remove(self, joined: bytes) -> bytes:
        for text in self.remove:
            joined = joined.replace(text.encode(), b" ")
        return joined

    def _standardize(self, joined: bytes) -> bytes:
        return tokenize.standardize(joined, self.standardize)


@dataclass(frozen=True, kw_only=True)
class WordCount(Stateless):
    """The number of tokens of a text, float32 (B, 1), as TensorFlow Transform's `word_count`.

    Attributes:
        key: the feature column of the tokens.
    """

    key: str

    def encode(
        self, block: Block, parents: Mapping[str, Mapping[str, Values]], constants: Constants
    ) -> Mapping[str, Values]:
        """`counts`: int32 (rows,)."""
        tokens = first_array(parents[self.key]) if self.key in parents else block.columns.get(self.key)
        if not isinstance(tokens, Ragged):
            raise DataError(f"`{self.key}` has no tokens; `key` must be a column of Tokens")
        return {"counts": np.diff(tokens.offsets).astype(np.int32)}

    def layer(self, static: Mapping[str, Any]) -> Callable[[Mapping[str, Any], Mapping[str, Any]], jax.Array]:
        return _get_counts


def _get_counts(encoded: Mapping[str, Any], constants: Mapping[str, Any]) -> jax.Array:
    return jnp.asarray(encoded["counts"], jnp.float32)[:, None]


def _clear(texts: Strings, is_missing: np.ndarray) -> Strings:
    """Replaces the strings of missing rows by empty strings."""
    string_count = len(texts.offsets) - 1
    string_of_row = np.arange(string_count) if texts.indices is None else texts.indices
    if not np.diff(texts.offsets)[string_of_row[is_missing]].any():
        return texts  # they are empty already
    offsets, empty_string = np.append(texts.offsets, texts.offsets[-1]), string_count  # an empty string is appended
    return Strings(texts.data, offsets, np.where(is_missing, empty_string, string_of_row))


def _select_rows(tokens: Ragged, rows: np.ndarray) -> Ragged:
    """Selects the tokens of some rows; a row may be selected several times."""
    counts = np.diff(tokens.offsets)[rows]
    offsets = np.append(0, np.cumsum(counts))
    shifts = tokens.offsets[rows] - offsets[:-1]  # from the position of a token in the result to that in `tokens`
    positions = np.arange(offsets[-1]) + np.repeat(shifts, counts)
    return Ragged(tokens.values._replace(indices=positions), offsets)
