"""Keys of rows: one or several columns whose values are compared exactly."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from components.arrow import array_to_arrow, convert_numbers, strings_to_arrow
from components.expression import operators
from components.expression.operands import Kind, Operand, format_value, join_masks, read_operand
from components.hashing import combine_hashes, hash_values
from components.ragged import compact_texts, offsets_of, take_rows
from components.types import Block, Strings, row_dtype

if TYPE_CHECKING:
    import pyarrow


class KeyGroups(NamedTuple):
    """The groups of rows with equal keys, in the order of their first rows.

    Attributes:
        first_rows: the first row of each group, int64 (groups,).
        group_of: the group of each row, int64 (rows,).
    """

    first_rows: np.ndarray
    group_of: np.ndarray

    def find_repeated(self) -> np.ndarray:
        """Which rows have the key of a row before them, (rows,), bool."""
        is_repeated = np.ones(len(self.group_of), bool)
        is_repeated[self.first_rows] = False
        return is_repeated


@dataclass(frozen=True, eq=False)
class Keys:
    """The keys of rows.

    Attributes:
        names: the columns.
        kinds: the types of their values.
        operands: their values, and the masks of what is missing.
    """

    names: Sequence[str]
    kinds: Sequence[Kind]
    operands: Sequence[Operand]

    @cached_property
    def hashes(self) -> np.ndarray:
        """A hash of each key, uint64. Equal keys have equal hashes, but two keys may also have the same."""
        return combine_hashes(hash_values(each.values, each.valid_mask) for each in self.operands)

    @property
    def valid_mask(self) -> np.ndarray | None:
        """(rows,), bool: False where a part of the key is missing. None: no part is missing."""
        return join_masks(self.operands)

    def describe(self, row: int) -> str:
        """The key of a row, for messages: `store=7 and day='x'`."""
        values = [
            "missing" if each.valid_mask is not None and not each.valid_mask[row] else format_value(each.values, row)
            for each in self.operands
        ]
        return " and ".join(f"{name}={value}" for name, value in zip(self.names, values, strict=True))

    def find_equal(self, rows: np.ndarray, other: Keys, other_rows: np.ndarray) -> np.ndarray:
        """Which pairs of rows have equal keys: (pairs,), bool. Missing values are equal to each other only.

        Args:
            rows: the rows of these keys, int64 (pairs,).
            other: other keys, whose columns have values of the same types; whole numbers may be numbers.
            other_rows: the rows of the other keys, int64 (pairs,).
        """
        pairs = zip(self.operands, other.operands, strict=True)
        equal = [_find_equal(_take(first, rows), _take(second, other_rows)) for first, second in pairs]
        return functools.reduce(np.logical_and, equal)

    def group_rows(self) -> KeyGroups:
        """Finds the rows with equal keys. Missing values are equal to each other."""
        numbers, *others = map(_number_values, self.operands)
        for each in others:
            numbers = _number(array_to_arrow(numbers * np.int64(each.max(initial=0) + 1) + each))
        highest = np.maximum.accumulate(numbers)
        is_first = np.diff(highest, prepend=-1) > 0  # the numbers are in the order in which they first occur
        return KeyGroups(np.flatnonzero(is_first), numbers.astype(np.int64))


def read_keys(block: Block, names: Sequence[str]) -> Keys:
    """Reads the keys of the rows of a block. Raises DataError if a column isn't there, or has no single values."""
    kinds, operands = zip(*(read_operand(block, name) for name in names), strict=True)
    return Keys(names, kinds, operands)


@dataclass(frozen=True, eq=False)
class KeyIndex:
    """Finds rows by their keys.

    Attributes:
        keys: the keys, each of which occurs once unless a part of it is missing.
    """

    keys: Keys

    def find(self, keys: Keys) -> np.ndarray:
        """The row of each key, int64. -1: there is none, also because a part of the key is missing."""
        table = self._table
        found = np.full(len(keys.hashes), -1)
        pending = np.arange(len(found)) if keys.valid_mask is None else np.flatnonzero(keys.valid_mask)
        positions = table.starts[keys.hashes[pending] >> table.shift]
        while len(pending) and len(table.rows):
            hashes, known = keys.hashes[pending], table.hashes.take(positions, mode="clip")
            is_inside = positions < len(table.rows)
            equal = np.flatnonzero(is_inside & (known == hashes))
            rows = table.rows[positions[equal]]
            is_same = keys.find_equal(pending[equal], self.keys, rows)
            found[pending[equal[is_same]]] = rows[is_same]
            is_left = is_inside & (known <= hashes)  # the row may follow, also after another key of the same hash
            is_left[equal[is_same]] = False
            pending, positions = pending[is_left], positions[is_left] + 1
        return found

    @cached_property
    def _table(self) -> _HashTable:
        hashes, valid_mask = self.keys.hashes, self.keys.valid_mask
        rows = np.arange(len(hashes)) if valid_mask is None else np.flatnonzero(valid_mask)
        return _HashTable.of(rows, hashes[rows])


class _HashTable(NamedTuple):
    """Rows in the order of their hashes, which are found in a few steps instead of those of a binary search.

    Attributes:
        rows: the rows, int64.
        hashes: their hashes, uint64.
        shift: by how many bits a hash is shifted to get its bucket.
        starts: the position of the first row of each bucket.
    """

    rows: np.ndarray
    hashes: np.ndarray
    shift: np.uint64
    starts: np.ndarray

    @classmethod
    def of(cls, rows: np.ndarray, hashes: np.ndarray) -> _HashTable:
        order = np.argsort(hashes, kind="stable")
        hashes = hashes[order]
        bits = len(rows).bit_length() + 1  # two to four buckets for each row
        shift = np.uint64(64 - bits)
        sizes = np.bincount((hashes >> shift).astype(np.int64), minlength=1 << bits)
        return cls(rows[order], hashes, shift, offsets_of(sizes)[:-1].astype(row_dtype(len(rows))))


def _number_values(operand: Operand) -> np.ndarray:
    """Numbers the different values in the order in which they first occur, (rows,). A missing one is a value, too."""
    values: Any = compact_texts(operand.values)
    if isinstance(values, Strings):
        numbers, indices = _number(strings_to_arrow(values._replace(indices=None))), values.indices
    else:
        words = values + 0.0 if values.dtype.kind == "f" else values.view(f"i{values.itemsize}")  # -0.0 is 0.0
        numbers, indices = _number(array_to_arrow(words)), None
    if indices is None and operand.valid_mask is None:
        return numbers
    numbers = numbers if indices is None else numbers[indices]
    return _number(array_to_arrow(numbers if operand.valid_mask is None else np.where(operand.valid_mask, numbers, -1)))


def _number(values: pyarrow.Array) -> np.ndarray:
    """Numbers the different values of an array in the order in which they first occur, int32."""
    return convert_numbers(values.dictionary_encode().indices, "i4", None, 0)


def _take(operand: Operand, rows: np.ndarray) -> Operand:
    mask = None if operand.valid_mask is None else operand.valid_mask[rows]
    return Operand(take_rows(operand.values, rows), mask)


def _find_equal(first: Operand, second: Operand) -> np.ndarray:
    result = operators.compare("==", first, second)
    equal: np.ndarray = result.values
    for each in (first.values, second.values):
        if not isinstance(each, Strings) and each.dtype.kind == "M" and first.values.dtype != second.values.dtype:
            equal = equal & (each.astype("M8[us]").astype(each.dtype) == each)  # `compare` rounds to microseconds
    if result.valid_mask is None:
        return equal
    is_first, is_second = (np.True_ if each.valid_mask is None else each.valid_mask for each in (first, second))
    return np.where(result.valid_mask, equal, is_first == is_second)
