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
from components.ragged import layout_of
from components.types import Block, Constants, DataError, FieldError, Ragged, Range, Strings, UserError, Values


@dataclass(frozen=True, kw_only=True)
class Tokens(Stateless):
    """The tokens of a text, as strings: "Hello, you!" -> "hello", "you". Vocabulary or Hashed converts them to ids.

    The parameters after `key` are the steps, in this order. The defaults are those of Keras's TextVectorization. Only
    ASCII letters, punctuation and whitespace are standardized and split; for example, no-break spaces stay. A missing
    text has no tokens.

    Attributes:
        key: the raw column of strings.
        remove: strings, such as `<br />`, that are replaced by a space, one string after the other.
        standardize: converts to lower case, removes punctuation, or both. None: neither.
        split: where the text is split. With `character`, each character is a token, also a space. None: the whole text
            is one token.
        separator: a string between tokens. If it is set, `split` is ignored. Empty tokens are left out.
        ngrams: the maximum length of n-grams, or the lengths. The tokens of an n-gram are joined by a space. For the
            tokens a, b, c: 2 -> "a", "b", "c", "a b", "b c"; (2, 3) -> "a b", "b c", "a b c". None: tokens only.
        order: the order of n-grams. `keras`: by length, then by first token. `tft`: by first token, then by length, as
            in TensorFlow Transform: "a", "a b", "b", "b c", "c".
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
        for text in (*self.remove, self.separator):
            if text is not None and not (text and is_encodable(text)):
                raise UserError(f"`remove` and `separator` must be valid strings that aren't empty, got {text!r}")
        if self.separator is not None:
            separator = self.separator.encode()
            if tokenize.standardize(separator, self.standardize) != separator:
                raise FieldError(
                    "separator",
                    f"{self.separator!r} never occurs in a text after `standardize` "
                    f"(={self.standardize}) has changed it; "
                    "write the separator in its standardized form, or set `standardize=null`",
                )
        lengths = self._ngram_lengths
        if not lengths or len(set(lengths)) < len(lengths):
            raise FieldError("ngrams", f"{self.ngrams} must be one length, or several different lengths")

    def encode(
        self, block: Block, parents: Mapping[str, Mapping[str, Values]], constants: Constants
    ) -> Mapping[str, Values]:
        """`tokens`: Ragged with Strings."""
        # The strings of a dictionary are tokenized once, even if many rows have the same string.
        texts, text_of_row = split_dictionary(self._read_texts(block, parents))
        tokens = self._tokenize(texts)
        return {"tokens": tokens if text_of_row is None else _select_rows(tokens, text_of_row)}

    def layer(self, static: Mapping[str, Any]) -> Callable[..., Any]:
        raise UserError(f"the tokens of `{self.key}` are strings; list a column that reads them, such as Vocabulary")

    @property
    def _ngram_lengths(self) -> tuple[int, ...]:
        """The lengths of n-grams, in the order in which they are made. For `tft` the lengths ascend."""
        if self.ngrams is None:
            return (1,)
        lengths = tuple(range(1, self.ngrams + 1)) if isinstance(self.ngrams, int) else self.ngrams
        return tuple(sorted(lengths)) if self.order == "tft" else lengths

    def _read_texts(self, block: Block, parents: Mapping[str, Mapping[str, Values]]) -> Strings:
        column = read_values(block, self.key, parents, empty_is_missing=False)
        texts = column.values
        if column.is_all_missing and not isinstance(texts, Strings):  # without a value, the type is unknown
            texts = to_strings([""] * column.value_count)
        if not (isinstance(texts, Strings) and column.is_one_dimensional):
            found = f", but its rows have {column.layout}" if column.layout.levels else ""
            raise DataError(f"column `{self.key}` of {block.origin} must have one string in each row{found}")
        return texts if column.valid_mask is None else _replace_missing_by_empty(texts, ~column.valid_mask)

    def _tokenize(self, texts: Strings) -> Ragged:
        joined = tokenize.join_texts(texts)  # all texts in one `bytes`, so that each step is one call
        for text in self.remove:
            joined = joined.replace(text.encode(), b" ")
        joined = tokenize.standardize(joined, self.standardize)
        if self.separator is None:
            tokens = tokenize.split(joined, self.split)
        else:
            joined = joined.replace(self.separator.encode(), bytes([tokenize.SEPARATOR]))
            tokens = tokenize.split(joined, mode=None)  # only at the byte tokenize.SEPARATOR
        if self._ngram_lengths != (1,):
            tokens = tokenize.make_ngrams(tokens, self._ngram_lengths, by_token=self.order == "tft")
        if self.distinct:
            tokens = tokenize.drop_duplicates(tokens)
        if self.max_tokens is not None:
            tokens = tokenize.truncate(tokens, self.max_tokens)
        return tokens


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
        if not isinstance(tokens, Ragged) or layout_of(tokens).is_nested:
            found = f"has {layout_of(tokens)} in its rows" if isinstance(tokens, Ragged) else "has no tokens"
            raise DataError(f"`{self.key}` {found}; `key` must be a column of Tokens")
        return {"counts": np.diff(tokens.offsets).astype(np.int32)}

    def layer(self, static: Mapping[str, Any]) -> Callable[[Mapping[str, Any], Mapping[str, Any]], jax.Array]:
        return _get_counts


def _get_counts(encoded: Mapping[str, Any], constants: Mapping[str, Any]) -> jax.Array:
    return jnp.asarray(encoded["counts"], jnp.float32)[:, None]


def _replace_missing_by_empty(texts: Strings, is_missing: np.ndarray) -> Strings:
    """Replaces the strings of missing rows by empty strings."""
    string_count = len(texts.offsets) - 1
    string_of_row = np.arange(string_count) if texts.indices is None else texts.indices
    lengths = np.diff(texts.offsets)
    if not lengths[string_of_row[is_missing]].any():
        return texts  # the strings are empty already
    empty_string = string_count  # the position of the empty string that is appended
    offsets = np.append(texts.offsets, texts.offsets[-1])
    return Strings(texts.data, offsets, indices=np.where(is_missing, empty_string, string_of_row))


def _select_rows(tokens: Ragged, rows: np.ndarray) -> Ragged:
    """Returns the tokens of the rows at some positions, in that order. A row may occur several times."""
    counts = np.diff(tokens.offsets)[rows]
    offsets = np.append(0, np.cumsum(counts))
    starts = tokens.offsets[rows]  # the position of each row's first token in `tokens`
    position_in_row = np.arange(offsets[-1]) - np.repeat(offsets[:-1], counts)  # of each token of the result
    return Ragged(tokens.values._replace(indices=np.repeat(starts, counts) + position_in_row), offsets)
