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

END, CUT = 0xFF, 0xFE  # bytes that don't occur in UTF-8: for the end of a text, and for a separator
LOWER = bytes.maketrans(string.ascii_uppercase.encode(), string.ascii_lowercase.encode())
IS_SEPARATOR = np.isin(np.arange(256), [*b" \t\n\v\f\r", CUT, END])
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
    """Splits joined texts at END, CUT and `mode`: at whitespace, between characters, or (None) nowhere else.

    No token is empty.
    """
    data = np.frombuffer(text, np.uint8)
    if mode == "character":
        inside = data < CUT
        begins = inside & (data & 0xC0 != 0x80)  # not the later bytes of a character
    else:
        inside = ~IS_SEPARATOR[data] if mode == "whitespace" else data < CUT
        begins = inside.copy()
        begins[1:] &= ~inside[:-1]
    offsets = np.append(np.flatnonzero(begins[inside]), np.count_nonzero(inside))
    rows = np.searchsorted(np.flatnonzero(begins), np.flatnonzero(data == END))
    return Ragged(Strings(data[inside], offsets), np.append(0, rows))


def make_ngrams(tokens: Ragged, widths: Sequence[int], *, by_token: bool) -> Ragged:
    """All n-grams of each row, with spaces between their tokens.

    Args:
        tokens: the tokens.
        widths: the lengths of n-grams.
        by_token: whether they are ordered by their first token, then by width. False: by width first.
    """
    count = np.diff(tokens.offsets)
    stop = np.repeat(tokens.offsets[1:], count)  # where the row of each token ends
    fits = np.array([np.arange(len(stop)) + width <= stop for width in widths])  # (widths, tokens)
    if by_token:
        first, which = np.nonzero(fits.T)
    else:
        which, first = np.nonzero(fits)
        order = np.argsort(np.repeat(np.arange(len(count)), count)[first], kind="stable")
        which, first = which[order], first[order]
    last = first + np.array(widths)[which]
    rows = np.append(0, np.cumsum(fits.sum(axis=0)))[tokens.offsets]
    strings = tokens.values
    spaced = np.insert(strings.data, strings.offsets[1:], ord(" "))  # so token i begins i bytes later
    return Ragged(_copy(spaced, strings.offsets[first] + first, strings.offsets[last] + last - 1), rows)


def drop_duplicates(tokens: Ragged) -> Ragged:
    """Keeps the first of equal tokens in a row, by their Fingerprint64."""
    rows = np.repeat(np.arange(len(tokens.offsets) - 1), np.diff(tokens.offsets))
    values = fingerprint_cat64(rows.astype(np.uint64), fingerprint64(tokens.values.data, tokens.values.offsets))
    _, first = np.unique(values, return_index=True)
    return _select(tokens, np.sort(first))


def truncate(tokens: Ragged, max_tokens: int) -> Ragged:
    """Keeps the first `max_tokens` tokens of each row."""
    position = np.arange(tokens.offsets[-1]) - np.repeat(tokens.offsets[:-1], np.diff(tokens.offsets))
    return _select(tokens, np.flatnonzero(position < max_tokens))


def _select(tokens: Ragged, positions: np.ndarray) -> Ragged:
    return Ragged(gather(tokens.values, positions), np.searchsorted(positions, tokens.offsets))


def _copy(data: np.ndarray, start: np.ndarray, stop: np.ndarray) -> Strings:
    """Copies each `data[start[i]:stop[i]]` as a string."""
    offsets = np.append(0, np.cumsum(stop - start))
    pieces = np.empty(offsets[-1], np.uint8)
    for at in range(0, len(start), CHUNK_STRINGS):
        bounds = offsets[at : at + CHUNK_STRINGS + 1]
        shift = start[at : at + CHUNK_STRINGS] - bounds[:-1]
        pieces[bounds[0] : bounds[-1]] = data[np.arange(bounds[0], bounds[-1]) + np.repeat(shift, np.diff(bounds))]
    return Strings(pieces, offsets)
