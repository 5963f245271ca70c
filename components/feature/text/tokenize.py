"""Splitting of texts into tokens, and n-grams, for all rows of a block at once.

Tokens are Ragged: the strings of all tokens, and where the tokens of each row begin.
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

END, CUT = 0xFF, 0xFE  # bytes that UTF-8 never uses: the end of a text, and a separator
LOWER = bytes.maketrans(string.ascii_uppercase.encode(), string.ascii_lowercase.encode())
BETWEEN = np.isin(np.arange(256), [*b" \t\n\v\f\r", CUT, END])
GATHERED = 1 << 16  # strings that are copied at once: the places of their bytes stay in the cache


def join_texts(texts: Strings) -> bytes:
    """Concatenates texts, each followed by END."""
    data = texts.data[texts.offsets[0] : texts.offsets[-1]]
    return np.insert(data, texts.offsets[1:] - texts.offsets[0], END).tobytes()


def standardize(text: bytes, how: Standard | None) -> bytes:
    """Converts to lower case and removes punctuation, both for ASCII only. None: returns the text unchanged."""
    lower = LOWER if how in ("lower", "lower_and_strip_punctuation") else None
    strip = how in ("strip_punctuation", "lower_and_strip_punctuation")
    return text.translate(lower, string.punctuation.encode() if strip else b"")


def split(text: bytes, how: Split | None) -> Ragged:
    """Splits joined texts at END, CUT and `how`: at whitespace, between characters, or (None) nowhere else.

    No token is empty.
    """
    data = np.frombuffer(text, np.uint8)
    if how == "character":
        inside = data < CUT
        begins = inside & (data & 0xC0 != 0x80)  # not the later bytes of a character
    else:
        inside = ~BETWEEN[data] if how == "whitespace" else data < CUT
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


def drop_repetitions(tokens: Ragged) -> Ragged:
    """Keeps the first of equal tokens in a row, by their Fingerprint64."""
    rows = np.repeat(np.arange(len(tokens.offsets) - 1), np.diff(tokens.offsets))
    values = fingerprint_cat64(rows.astype(np.uint64), fingerprint64(tokens.values.data, tokens.values.offsets))
    _, first = np.unique(values, return_index=True)
    return _select(tokens, np.sort(first))


def truncate(tokens: Ragged, most: int) -> Ragged:
    """Keeps the first `most` tokens of each row."""
    place = np.arange(tokens.offsets[-1]) - np.repeat(tokens.offsets[:-1], np.diff(tokens.offsets))
    return _select(tokens, np.flatnonzero(place < most))


def _select(tokens: Ragged, places: np.ndarray) -> Ragged:
    return Ragged(gather(tokens.values, places), np.searchsorted(places, tokens.offsets))


def _copy(data: np.ndarray, start: np.ndarray, stop: np.ndarray) -> Strings:
    """Copies each `data[start[i]:stop[i]]` as a string."""
    offsets = np.append(0, np.cumsum(stop - start))
    pieces = np.empty(offsets[-1], np.uint8)
    for at in range(0, len(start), GATHERED):
        bounds = offsets[at : at + GATHERED + 1]
        shift = start[at : at + GATHERED] - bounds[:-1]
        pieces[bounds[0] : bounds[-1]] = data[np.arange(bounds[0], bounds[-1]) + np.repeat(shift, np.diff(bounds))]
    return Strings(pieces, offsets)
