"""Splits texts into tokens and makes n-grams, for all rows of a block at once.

Tokens are Ragged: the strings of all tokens, and the offsets of the rows.
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

END, SEPARATOR = 0xFF, 0xFE  # bytes that don't occur in UTF-8: the end of a text, and a separator within a text
LOWER = bytes.maketrans(string.ascii_uppercase.encode(), string.ascii_lowercase.encode())
IS_BETWEEN_WORDS = np.isin(np.arange(256), [*b" \t\n\v\f\r", SEPARATOR, END])  # for each byte
CHUNK_STRINGS = 1 << 16  # strings that are copied at once: the positions of their bytes stay in the cache


def join_texts(texts: Strings) -> bytes:
    """Concatenates texts, with END after each text."""
    data = texts.data[texts.offsets[0] : texts.offsets[-1]]
    return np.insert(data, texts.offsets[1:] - texts.offsets[0], END).tobytes()


def standardize(text: bytes, mode: Standard | None) -> bytes:
    """Converts to lower case and removes punctuation, both for ASCII only. None: returns the text unchanged."""
    lower = LOWER if mode in ("lower", "lower_and_strip_punctuation") else None
    strip = mode in ("strip_punctuation", "lower_and_strip_punctuation")
    return text.translate(lower, string.punctuation.encode() if strip else b"")


def split(text: bytes, mode: Split | None) -> Ragged:
    """Splits joined texts at END and SEPARATOR, and also at whitespace or between characters if `mode` says so.

    Empty tokens are left out.
    """
    data = np.frombuffer(text, np.uint8)
    if mode == "character":
        inside = data < SEPARATOR
        begins = inside & ((data & 0xC0) != 0x80)  # the later bytes of a UTF-8 character are 10xxxxxx
    else:
        inside = ~IS_BETWEEN_WORDS[data] if mode == "whitespace" else data < SEPARATOR
        begins = inside.copy()
        begins[1:] &= ~inside[:-1]
    offsets = np.append(np.flatnonzero(begins[inside]), np.count_nonzero(inside))
    row_stops = np.searchsorted(np.flatnonzero(begins), np.flatnonzero(data == END))
    return Ragged(Strings(data[inside], offsets), np.append(0, row_stops))


def make_ngrams(tokens: Ragged, widths: Sequence[int], *, by_token: bool) -> Ragged:
    """All n-grams of each row, with spaces between their tokens.

    Args:
        tokens: the tokens.
        widths: the lengths of n-grams.
        by_token: whether the n-grams of a row are ordered by first token, then by length. False: by length first.
    """
    counts = np.diff(tokens.offsets)
    row_stop = np.repeat(tokens.offsets[1:], counts)  # where the row of each token ends
    fits = np.array([np.arange(len(row_stop)) + width <= row_stop for width in widths])  # (widths, tokens)
    if by_token:
        start, width_index = np.nonzero(fits.T)
    else:
        width_index, start = np.nonzero(fits)
        row_of_token = np.repeat(np.arange(len(counts)), counts)
        order = np.argsort(row_of_token[start], kind="stable")  # by row, then by length
        width_index, start = width_index[order], start[order]
    stop = start + np.array(widths)[width_index]
    row_offsets = np.append(0, np.cumsum(fits.sum(axis=0)))[tokens.offsets]
    strings = tokens.values
    spaced = np.insert(strings.data, strings.offsets[1:], ord(" "))  # so token i begins i bytes later
    return Ragged(_copy(spaced, strings.offsets[start] + start, strings.offsets[stop] + stop - 1), row_offsets)


def drop_duplicates(tokens: Ragged) -> Ragged:
    """Keeps the first of equal tokens in a row, by their Fingerprint64."""
    row_of_token = np.repeat(np.arange(len(tokens.offsets) - 1), np.diff(tokens.offsets))
    hashes = fingerprint64(tokens.values.data, tokens.values.offsets)
    _, first = np.unique(fingerprint_cat64(row_of_token.astype(np.uint64), hashes), return_index=True)
    return _select(tokens, np.sort(first))


def truncate(tokens: Ragged, max_tokens: int) -> Ragged:
    """Keeps the first `max_tokens` tokens of each row."""
    position_in_row = np.arange(tokens.offsets[-1]) - np.repeat(tokens.offsets[:-1], np.diff(tokens.offsets))
    return _select(tokens, np.flatnonzero(position_in_row < max_tokens))


def _select(tokens: Ragged, positions: np.ndarray) -> Ragged:
    return Ragged(gather(tokens.values, positions), np.searchsorted(positions, tokens.offsets))


def _copy(data: np.ndarray, start: np.ndarray, stop: np.ndarray) -> Strings:
    """Copies each `data[start[i]:stop[i]]` as a string."""
    offsets = np.append(0, np.cumsum(stop - start))
    pieces = np.empty(offsets[-1], np.uint8)
    for first in range(0, len(start), CHUNK_STRINGS):
        bounds = offsets[first : first + CHUNK_STRINGS + 1]
        shifts = start[first : first + CHUNK_STRINGS] - bounds[:-1]  # from a position in `pieces` to that in `data`
        pieces[bounds[0] : bounds[-1]] = data[np.arange(bounds[0], bounds[-1]) + np.repeat(shifts, np.diff(bounds))]
    return Strings(pieces, offsets)
