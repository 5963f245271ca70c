"""Reads word vectors from text files, such as those of GloVe and word2vec, or from arrays of NumPy."""

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

WORD2VEC_HEADER = re.compile(rb"(\d+) (\d+)")  # the first line: the number of words, and the dimension
MAX_LINE_BYTES = 16 << 20


class WordVectors(NamedTuple):
    """The vectors of the ids of a column.

    Attributes:
        vectors: (ids, dimension), float32; zeros for ids without a vector.
        known: (ids,), bool: whether an id has a vector.
    """

    vectors: np.ndarray
    known: np.ndarray


def read_vectors(path: str, key: str, parent: Constants, dimension: int) -> WordVectors:
    """Reads the vectors of the ids of a categorical column. If a word occurs twice in a file, the first vector is read.

    Args:
        path: the file.
        key: the name of the column, for messages.
        parent: the constants of the column.
        dimension: the number of elements of a vector.

    Raises:
        DataError: the file is missing or damaged, has another dimension, or has none of the words.
    """
    file, buckets = find_file(path), parent.static["buckets"]
    if file.suffix == ".npy":
        return WordVectors(_read_npy(file, (buckets, dimension)), np.ones(buckets, bool))
    words = _list_words(parent.host)
    if not words:
        raise DataError(
            f"column `{key}` has no list of words to look up in {file}; use a .npy file with a row for each id"
        )
    result = WordVectors(np.zeros((buckets, dimension), np.float32), np.zeros(buckets, bool))
    _read_text(file, words, result)
    if not result.known.any():
        examples = ", ".join(repr(word.decode()) for word in list(words)[:3])
        raise DataError(f"none of the {len(words)} words of column `{key}` ({examples}, …) has a vector in {file}")
    return result


def _list_words(host: Mapping[str, np.ndarray]) -> dict[bytes, int]:
    """The ids of the words of a vocabulary, by their UTF-8."""
    if "data" in host:
        texts = [text.encode() for text in Strings(host["data"], host["offsets"]).tolist()]
    else:
        texts = [str(number).encode() for number in host.get("values", np.zeros(0)).tolist()]
    return dict(zip(texts, host["ids"].tolist(), strict=True)) if texts else {}


def _read_npy(file: Path, shape: tuple[int, int]) -> np.ndarray:
    """Reads an array of floats in NumPy's format; raises DataError if it doesn't have the shape."""
    with open_file(file) as opened:
        try:
            file_shape, is_fortran, dtype = read_npy_header(opened)
        except ValueError as error:
            raise DataError(f"{file} is no array in NumPy's format (.npy): {_first_line(error)}") from error
        if file_shape != shape or dtype.kind != "f":
            raise DataError(f"{file} has {dtype} {file_shape}; floats of shape {shape}, (ids, dimension), are needed")
        size = dtype.itemsize * math.prod(shape)
        content = opened.read(size + 1)
    if len(content) != size:
        fault = f"is truncated after {len(content):,} of the" if len(content) < size else "has more than the"
        raise DataError(f"{file} {fault} {size:,} bytes of its array")
    array = np.frombuffer(content, dtype).reshape(shape, order="F" if is_fortran else "C")
    with np.errstate(over="ignore", invalid="ignore"):
        return _check_finite(array.astype(np.float32), array, lambda row: f"row {row} of {file}")


def _read_text(file: Path, words: Mapping[bytes, int], result: WordVectors) -> None:
    """Reads the vectors of the words into `result`."""
    dimension, is_first, announced, number = result.vectors.shape[1], True, None, 0
    with open_file(file) as opened:
        for number, line in enumerate(iter(lambda: opened.readline(MAX_LINE_BYTES), b""), start=1):
            if len(line) == MAX_LINE_BYTES:
                raise DataError(f"line {number} of {file} is longer than {MAX_LINE_BYTES >> 20} MiB")
            line = line.rstrip()
            width = line.count(b" ")
            if number == 1 and (announced := _read_header(file, line, dimension)) is not None:
                continue
            if width < dimension or (is_first and width > dimension):  # words after the first may contain spaces
                raise DataError(f"line {number} of {file} has {width} numbers, not dimension={dimension}")
            is_first = False
            word = line.partition(b" ")[0] if width == dimension else line.rsplit(b" ", dimension)[0]
            position = words.get(word)
            if position is not None and not result.known[position]:
                result.vectors[position] = _parse_numbers(file, number, line[len(word) :], dimension)
                result.known[position] = True
    if announced is not None and announced != number - 1:
        raise DataError(
            f"line 1 of {file} announces {announced:,} words, and {number - 1:,} lines follow. The file is incomplete, "
            "or its first line needs the right number."
        )


def _read_header(file: Path, line: bytes, dimension: int) -> int | None:
    """The number of words that the first line of a file of word2vec announces. None: it has a word, as in GloVe.

    Of vectors of one number, "3 1" may be either. It is a header if three lines follow.

    Raises:
        DataError: the line announces vectors of another dimension.
    """
    match = WORD2VEC_HEADER.fullmatch(line)
    if match is None:
        return None
    count, width = int(match[1]), int(match[2])
    if dimension == 1:
        return count if width == 1 and count == _count_lines(file) - 1 else None
    if width != dimension:
        raise DataError(f"line 1 of {file} announces vectors of {width} numbers, not dimension={dimension}")
    return count


def _count_lines(file: Path) -> int:
    with open_file(file) as opened:
        return sum(1 for _ in iter(lambda: opened.readline(MAX_LINE_BYTES), b""))


def _parse_numbers(file: Path, number: int, text: bytes, dimension: int) -> np.ndarray:
    try:
        with np.errstate(over="ignore"):
            values = np.array(text.split(), np.float32)
    except ValueError as error:  # a UnicodeDecodeError is one
        raise DataError(f"line {number} of {file}: {error}") from error
    if len(values) != dimension:
        raise DataError(f"line {number} of {file} has {len(values)} numbers, not dimension={dimension}")
    return _check_finite(values, values, lambda _: f"line {number} of {file}")


def _check_finite(converted: np.ndarray, values: np.ndarray, locate: Callable[[int], str]) -> np.ndarray:
    """Returns `converted`, in float32; raises DataError if a number isn't finite. `values` are the original numbers."""
    is_finite = np.isfinite(converted)
    if not is_finite.all():
        position = tuple(np.argwhere(~is_finite)[0])
        raise DataError(f"{locate(position[0])} has {values[position]}; the numbers must be finite in float32")
    return converted


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0] or type(error).__name__
