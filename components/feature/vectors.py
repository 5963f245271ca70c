"""Vectors of words from files."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from components.feature.value_file import find_file
from components.types import Constants, DataError, Strings

HEADER = re.compile(rb"\d+ \d+")  # of word2vec's text: how many words, and the width


class Found(NamedTuple):
    """The vectors of a column's ids."""

    vectors: np.ndarray  # (ids, dimension), float32; zeros where there is none
    known: np.ndarray  # (ids,), bool: where there is one


def read(path: str, key: str, parent: Constants, dimension: int) -> Found:
    """The vectors of the ids of a categorical column; of a word that is there twice, the first.

    Raises DataError where the file is missing, of another width, or damaged, and where it has none of the words.
    """
    file, buckets = find_file(path), parent.static["buckets"]
    if file.suffix == ".npy":
        return Found(_rows(file, (buckets, dimension)), np.ones(buckets, bool))
    words = _words(parent.host)
    if not words:
        raise DataError(f"column `{key}` has no list of words to look up in {file}: give a .npy with a row for each id")
    found = Found(np.zeros((buckets, dimension), np.float32), np.zeros(buckets, bool))
    _read_text(file, words, found)
    if not found.known.any():
        shown = ", ".join(repr(word.decode()) for word in list(words)[:3])
        raise DataError(f"none of the {len(words)} words of column `{key}` ({shown}, …) has a vector in {file}")
    return found


def _words(host: Mapping[str, np.ndarray]) -> dict[bytes, int]:
    """The words of a vocabulary, in UTF-8, and their ids."""
    if "data" in host:
        texts = [text.encode() for text in Strings(host["data"], host["offsets"]).tolist()]
    else:
        texts = [str(number).encode() for number in host.get("values", np.zeros(0)).tolist()]
    return dict(zip(texts, host["ids"].tolist(), strict=True)) if texts else {}


def _rows(file: Path, shape: tuple[int, int]) -> np.ndarray:
    try:
        array = np.load(file, allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise DataError(f"{file} can't be read: {error}") from error
    if array.shape != shape or array.dtype.kind != "f":
        raise DataError(f"{file} holds {array.dtype} {array.shape}; floats {shape}, (ids, dimension), are needed")
    if not np.isfinite(array).all():
        raise DataError(f"row {int(np.argwhere(~np.isfinite(array))[0, 0])} of {file} is not finite")
    return array.astype(np.float32)


def _read_text(file: Path, words: Mapping[bytes, int], found: Found) -> None:
    """Fills in the vectors of the words that the file has."""
    dimension, first = found.vectors.shape[1], True
    with file.open("rb") as lines:
        for number, line in enumerate(map(bytes.rstrip, lines), start=1):
            width = line.count(b" ")
            if number == 1 and width != dimension and HEADER.fullmatch(line):
                continue
            if width < dimension or (first and width > dimension):  # later ones may have a space in the word
                raise DataError(f"line {number} of {file} has {width} numbers, and dimension={dimension}")
            first = False
            word = line.partition(b" ")[0] if width == dimension else line.rsplit(b" ", dimension)[0]
            place = words.get(word)
            if place is not None and not found.known[place]:
                found.vectors[place], found.known[place] = _numbers(file, number, line[len(word) :]), True


def _numbers(file: Path, number: int, text: bytes) -> np.ndarray:
    try:
        values = np.array(text.split(), np.float32)
    except ValueError as error:
        raise DataError(f"line {number} of {file}: {error}") from error
    if not np.isfinite(values).all():
        raise DataError(f"line {number} of {file} has {values[~np.isfinite(values)][0]}; finite numbers are needed")
    return values
