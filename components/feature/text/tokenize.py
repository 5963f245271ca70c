"""Splits texts into tokens and makes n-grams, for all rows of a block at once.

    "No way!", "Yes."                         one text for each row
    b"No way!<END>Yes.<END>"                  join_texts
    b"no way<END>yes<END>"                    standardize
    [["no", "way"], ["yes"]]                  split
    [["no", "way", "no way"], ["yes"]]        make_ngrams

Tokens are Ragged: the tokens of all rows as Strings, and the offsets of the rows: 0, 2, 3 after `split`.
"""

from __future__ import annotations

import string
from collections.abc import Sequence
from typing import Literal, TypeAlias

import numpy as np

from components.feature.text.fingerprint import fingerprint64, fingerprint_cat64
from components.feature.text.string_ops import gather
from components.types import Ragged, Strings

Standard: TypeAlias = Literal["lower_and_strip_punctuation", "lower", "strip_punctuation"]
Split: TypeAlias = Literal["whitespace", "character"]

# Bytes that don't occur in UTF-8.
SEPARATOR = 0xFE  # between two tokens of a text
END = 0xFF  # after each text

TO_LOWER_CASE = bytes.maketrans(string.ascii_uppercase.encode(), string.ascii_lowercase.encode())
PUNCTUATION = string.punctuation.encode()
IS_WHITESPACE = np.isin(np.arange(256), list(b" \t\n\v\f\r"))  # (256,), bool: for each byte
CHUNK_NGRAMS = 1 << 16  # n-grams that are copied at once: the positions of their bytes fit into the cache


def join_texts(texts: Strings) -> bytes:
    """Concatenates texts, with END after each text: "ab", "c" -> b"ab<END>c<END>"."""
    first, last = texts.offsets[0], texts.offsets[-1]
    ends = texts.offsets[1:] - first
    return np.insert(texts.data[first:last], ends, END).tobytes()


def standardize(text: bytes, mode: Standard | None) -> bytes:
    """Converts to lower case and removes punctuation, both for ASCII only: b"No way!" -> b"no way".

    A mode of None returns the text unchanged.
    """
    table = TO_LOWER_CASE if mode in ("lower", "lower_and_strip_punctuation") else None
    removed = PUNCTUATION if mode in ("strip_punctuation", "lower_and_strip_punctuation") else b""
    return text.translate(table, removed)


def split(joined: bytes, mode: Split | None) -> Ragged:
    """Splits texts into tokens: b"no way<END>yes<END>" -> [["no", "way"], ["yes"]].

    Empty tokens are left out.

    Args:
        joined: the texts, each with END after it.
        mode: where to split, in addition to END and SEPARATOR: at whitespace, or before every character. None: nowhere.
    """
    data = np.frombuffer(joined, np.uint8)  # (bytes,)
    in_token = data < SEPARATOR  # neither SEPARATOR nor END
    if mode == "whitespace":
        in_token &= ~IS_WHITESPACE[data]
    if mode == "character":
        is_continuation = (data & 0xC0) == 0x80  # 10xxxxxx: not the first byte of a character in UTF-8
        is_token_start = in_token & ~is_continuation
    else:
        is_token_start = in_token.copy()
        is_token_start[1:] &= ~in_token[:-1]

    # Offsets count only the bytes of tokens, because all other bytes are dropped.
    token_starts = np.flatnonzero(is_token_start[in_token])
    token_offsets = np.append(token_starts, np.count_nonzero(in_token))

    text_ends = np.flatnonzero(data == END)  # (rows,)
    tokens_before_end = np.searchsorted(np.flatnonzero(is_token_start), text_ends)
    row_offsets = np.append(0, tokens_before_end)
    return Ragged(Strings(data[in_token], token_offsets), row_offsets)


def make_ngrams(tokens: Ragged, widths: Sequence[int], *, by_token: bool) -> Ragged:
    """Returns the n-grams of each row, with spaces between their tokens.

    For the tokens a, b, c and the widths (1, 2):

        by_token=True   "a", "a b", "b", "b c", "c"
        by_token=False  "a", "b", "c", "a b", "b c"

    Args:
        tokens: the tokens of each row.
        widths: the numbers of tokens of an n-gram.
        by_token: whether n-grams are ordered by first token, then by width. False: by width, then by first token.
    """
    token_count = tokens.offsets[-1]
    tokens_per_row = np.diff(tokens.offsets)
    row_end = np.repeat(tokens.offsets[1:], tokens_per_row)  # (tokens,): the end of the row of each token
    # Whether an n-gram that starts at a token ends in the same row.
    fits = np.array([np.arange(token_count) + width <= row_end for width in widths])  # (widths, tokens)

    # The first token and the width of each n-gram.
    if by_token:
        first, width_index = np.nonzero(fits.T)
    else:
        width_index, first = np.nonzero(fits)
        row_of_token = np.repeat(np.arange(len(tokens_per_row)), tokens_per_row)
        order = np.argsort(row_of_token[first], kind="stable")  # by row; within a row still by width
        width_index, first = width_index[order], first[order]
    end = first + np.array(widths)[width_index]  # the token after the n-gram

    ngrams_before_token = np.append(0, np.cumsum(fits.sum(axis=0)))  # (tokens + 1,)
    row_offsets = ngrams_before_token[tokens.offsets]

    # With a space after each token, an n-gram is a slice without its last space. Token i moves by i bytes.
    strings = tokens.values
    spaced = np.insert(strings.data, strings.offsets[1:], ord(" "))
    start_byte = strings.offsets[first] + first
    end_byte = strings.offsets[end] + end - 1
    return Ragged(_copy_slices(spaced, start_byte, end_byte), row_offsets)


def drop_duplicates(tokens: Ragged) -> Ragged:
    """Keeps the first of equal tokens in each row: [["a", "b", "a"], ["a"]] -> [["a", "b"], ["a"]].

    Tokens are equal if their Fingerprint64 is.
    """
    tokens_per_row = np.diff(tokens.offsets)
    row_of_token = np.repeat(np.arange(len(tokens_per_row), dtype=np.uint64), tokens_per_row)
    hashes = fingerprint64(tokens.values.data, tokens.values.offsets)
    hashes_with_row = fingerprint_cat64(row_of_token, hashes)
    _, first_positions = np.unique(hashes_with_row, return_index=True)
    return _select_tokens(tokens, np.sort(first_positions))


def truncate(tokens: Ragged, max_tokens: int) -> Ragged:
    """Keeps the first `max_tokens` tokens of each row."""
    row_start = np.repeat(tokens.offsets[:-1], np.diff(tokens.offsets))  # (tokens,)
    position_in_row = np.arange(tokens.offsets[-1]) - row_start
    return _select_tokens(tokens, np.flatnonzero(position_in_row < max_tokens))


def _select_tokens(tokens: Ragged, positions: np.ndarray) -> Ragged:
    """Keeps the tokens at ascending positions."""
    kept_before_row = np.searchsorted(positions, tokens.offsets)
    return Ragged(gather(tokens.values, positions), kept_before_row)


def _copy_slices(data: np.ndarray, starts: np.ndarray, ends: np.ndarray) -> Strings:
    """Returns the strings `data[starts[i]:ends[i]]`. Slices may overlap."""
    offsets = np.append(0, np.cumsum(ends - starts))
    copied = np.empty(offsets[-1], np.uint8)
    for first in range(0, len(starts), CHUNK_NGRAMS):
        chunk_starts = starts[first : first + CHUNK_NGRAMS]
        chunk_offsets = offsets[first : first + CHUNK_NGRAMS + 1]
        # Byte p of `copied`, in string i, is byte p + starts[i] - offsets[i] of `data`.
        targets = np.arange(chunk_offsets[0], chunk_offsets[-1])
        shifts = np.repeat(chunk_starts - chunk_offsets[:-1], np.diff(chunk_offsets))
        copied[chunk_offsets[0] : chunk_offsets[-1]] = data[targets + shifts]
    return Strings(copied, offsets)
