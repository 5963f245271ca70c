"""Word vectors from files: text like GloVe's and word2vec's, or arrays of NumPy."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from components.feature.text.vocabulary_file import find_file
from components.input_files import open_file, read_npy_header
from components.types import Constants, DataError, Strings

HEADER = re.compile(rb"\d+ \d+")  # the first line of word2vec's text: number of words, dimension
LINE_BYTES = 16 << 20  # of the longest line


class WordVectors(NamedTuple):
    """The vectors of a column's ids.

    Attributes:
        vectors: (ids, dimension), float32; zeros for an id without a vector.
        known: (ids,), bool: which ids have a vector.
    """

    vectors: np.ndarray
    known: np.ndarray


def read_vectors(path: str, key: str, parent: Constants, dimension: int) -> WordVectors:
    """Reads the vectors of the ids of a categorical column; of a word that occurs twice, the first.

    Args:
        path: the file.
        key: the column, for messages.
        parent: its constants.
        dimension: of the vectors.

    Raises:
        DataError: the file is missing, damaged, of another dimension, or has none of the words.
    """
    file, buckets = find_file(path), parent.static["buckets"]
    if file.suffix == ".npy":
        return WordVectors(_read_npy(file, (buckets, dimension)), np.ones(buckets, bool))
    words = _list_words(parent.host)
    if not words:
        raise DataError(f"column `{key}` has no list of words to look up in {file}: give a .npy with a row for each id")
    found = WordVectors(np.zeros((buckets, dimension), np.float32), np.zeros(buckets, bool))
    _read_text(file, words, found)
    if not found.known.any():
        shown = ", ".join(repr(word.decode()) for word in list(words)[:3])
        raise DataError(f"none of the {len(words)} words of column `{key}` ({shown}, …) has a vector in {file}")
    return found


def _list_words(host: Mapping[str, np.ndarray]) -> dict[bytes, int]:
    """The ids of a vocabulary's words, by their UTF-8."""
    if "data" in host:
        texts = [text.encode() for text in Strings(host["data"], host["offsets"]).tolist()]
    else:
        texts = [str(number).encode() for number in host.get("values", np.zeros(0)).tolist()]
    return dict(zip(texts, host["ids"].tolist(), strict=True)) if texts else {}


def _read_npy(file: Path, shape: tuple[int, int]) -> np.ndarray:
    """Reads an array in NumPy's format, of floats, and of that shape."""
    with open_file(file) as opened:
        try:
            found, in_columns, dtype = read_npy_header(opened)
        except ValueError as error:
            raise DataError(f"{file} is no array in NumPy's format (.npy): {_first_line(error)}") from error
        if found != shape or dtype.kind != "f":
            raise DataError(f"{file} holds {dtype} {found}; floats {shape}, (ids, dimension), are needed")
        size = dtype.itemsize * math.prod(shape)
        content = opened.read(size + 1)
    if len(content) != size:
        fault = f"is truncated after {len(content):,} of the" if len(content) < size else "has bytes behind the"
        raise DataError(f"{file} {fault} {size:,} bytes of its array")
    array = np.frombuffer(content, dtype).reshape(shape, order="F" if in_columns else "C")
    with np.errstate(over="ignore", invalid="ignore"):
        return _check_finite(array.astype(np.float32), array, lambda row: f"row {row} of {file}")


def _read_text(file: Path, words: Mapping[bytes, int], found: WordVectors) -> None:
    """Reads the vectors of the words into `found`."""
    dimension, first = found.vectors.shape[1], True
    with open_file(file) as opened:
        for number, line in enumerate(iter(lambda: opened.readline(LINE_BYTES), b""), start=1):
            if len(line) == LINE_BYTES:
                raise DataError(f"line {number} of {file} is longer than {LINE_BYTES >> 20} MiB")
            line = line.rstrip()
            width = line.count(b" ")
            if number == 1 and width != dimension and HEADER.fullmatch(line):
                continue
            if width < dimension or (first and width > dimension):  # later words may contain spaces
                raise DataError(f"line {number} of {file} has {width} numbers, not dimension={dimension}")
            first = False
            word = line.partition(b" ")[0] if width == dimension else line.rsplit(b" ", dimension)[0]
            place = words.get(word)
            if place is not None and not found.known[place]:
                found.vectors[place] = _parse_numbers(file, number, line[len(word) :], dimension)
                found.known[place] = True


def _parse_numbers(file: Path, number: int, text: bytes, dimension: int) -> np.ndarray:
    try:
        with np.errstate(over="ignore"):
            values = np.array(text.split(), np.float32)
    except ValueError as error:  # a UnicodeDecodeError is one
        raise DataError(f"line {number} of {file}: {error}") from error
    if len(values) != dimension:
        raise DataError(f"line {number} of {file} has {len(values)} numbers, not dimension={dimension}")
    return _check_finite(values, values, lambda _: f"line {number} of {file}")


def _check_finite(found: np.ndarray, values: np.ndarray, where: Callable[[int], str]) -> np.ndarray:
    """Returns numbers in float32; raises DataError where one isn't finite, with its original from `values`."""
    if not (finite := np.isfinite(found)).all():
        place = tuple(np.argwhere(~finite)[0])
        raise DataError(f"{where(place[0])} has {values[place]}; finite numbers are needed, in float32")
    return found


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0] or type(error).__name__
