"""Vectors of words from files."""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np

from components.feature.text.vocabulary_file import find_file
from components.place import open_file
from components.types import Constants, DataError, Strings

HEADER = re.compile(rb"\d+ \d+")  # of word2vec's text: how many words, and the width
LINE_BYTES = 16 << 20  # of a line, at most


class WordVectors(NamedTuple):
    """The vectors of a column's ids."""

    vectors: np.ndarray  # (ids, dimension), float32; zeros where there is none
    known: np.ndarray  # (ids,), bool: where there is one


def read_vectors(path: str, key: str, parent: Constants, dimension: int) -> WordVectors:
    """The vectors of the ids of a categorical column; of a word that is there twice, the first.

    Raises DataError where the file is missing, of another width, or damaged, and where it has none of the words.
    """
    file, buckets = find_file(path), parent.static["buckets"]
    if file.suffix == ".npy":
        return WordVectors(_rows(file, (buckets, dimension)), np.ones(buckets, bool))
    words = _words(parent.host)
    if not words:
        raise DataError(f"column `{key}` has no list of words to look up in {file}: give a .npy with a row for each id")
    found = WordVectors(np.zeros((buckets, dimension), np.float32), np.zeros(buckets, bool))
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
    """An array in NumPy's format, of floats and of that shape."""
    with open_file(file) as opened:
        found, in_columns, dtype = _header(file, opened)
        if found != shape or dtype.kind != "f":
            raise DataError(f"{file} holds {dtype} {found}; floats {shape}, (ids, dimension), are needed")
        size = dtype.itemsize * math.prod(shape)
        content = opened.read(size + 1)
    if len(content) != size:
        fault = f"is truncated after {len(content):,} of the" if len(content) < size else "has bytes behind the"
        raise DataError(f"{file} {fault} {size:,} bytes of its array")
    array = np.frombuffer(content, dtype).reshape(shape, order="F" if in_columns else "C")
    with np.errstate(over="ignore", invalid="ignore"):
        return _finite(array.astype(np.float32), array, lambda row: f"row {row} of {file}")


def _header(file: Path, opened: BinaryIO) -> tuple[tuple[int, ...], bool, np.dtype]:
    """The shape, whether it is in Fortran's order, and the type of the array that follows."""
    read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            return read[np.lib.format.read_magic(opened)](opened)
    except Exception as error:  # NumPy evaluates it: SyntaxError, RecursionError and others are possible
        raise DataError(f"{file} is no array in NumPy's format (.npy): {_line(error)}") from error


def _read_text(file: Path, words: Mapping[bytes, int], found: WordVectors) -> None:
    """Fills in the vectors of the words that the file has."""
    dimension, first = found.vectors.shape[1], True
    with open_file(file) as opened:
        for number, line in enumerate(iter(lambda: opened.readline(LINE_BYTES), b""), start=1):
            if len(line) == LINE_BYTES:
                raise DataError(f"line {number} of {file} is longer than {LINE_BYTES >> 20} MiB")
            line = line.rstrip()
            width = line.count(b" ")
            if number == 1 and width != dimension and HEADER.fullmatch(line):
                continue
            if width < dimension or (first and width > dimension):  # later ones may have a space in the word
                raise DataError(f"line {number} of {file} has {width} numbers, and dimension={dimension}")
            first = False
            word = line.partition(b" ")[0] if width == dimension else line.rsplit(b" ", dimension)[0]
            place = words.get(word)
            if place is not None and not found.known[place]:
                found.vectors[place], found.known[place] = _numbers(file, number, line[len(word) :], dimension), True


def _numbers(file: Path, number: int, text: bytes, dimension: int) -> np.ndarray:
    try:
        with np.errstate(over="ignore"):
            values = np.array(text.split(), np.float32)
    except ValueError as error:  # a UnicodeDecodeError is one
        raise DataError(f"line {number} of {file}: {error}") from error
    if len(values) != dimension:
        raise DataError(f"line {number} of {file} has {len(values)} numbers, and dimension={dimension}")
    return _finite(values, values, lambda _: f"line {number} of {file}")


def _finite(found: np.ndarray, values: np.ndarray, where: Callable[[int], str]) -> np.ndarray:
    """Numbers in float32, which `values` became; raises DataError for one that isn't finite."""
    if not (finite := np.isfinite(found)).all():
        place = tuple(np.argwhere(~finite)[0])
        raise DataError(f"{where(place[0])} has {values[place]}; finite numbers are needed, in float32")
    return found


def _line(error: Exception) -> str:
    return str(error).partition("\n")[0] or type(error).__name__
